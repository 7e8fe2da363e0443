//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/rules.rs"]
mod rules;
#[path = "../fuzz/harness/schemas.rs"]
mod schemas;

fn seeds(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const SCHEMAS: [(&str, &str, &str); 9] = [
    (
        r#"{"type":"object","properties":{"spec":{"type":"object","default":{"a":1},"properties":{"a":{"type":"integer","default":3,"maximum":9},"b":{"type":"string","enum":["x","y"],"nullable":true}}}}}"#,
        r#"{"apiVersion":"g/v","kind":"K","metadata":{"name":"n"},"spec":{"a":null,"b":"z","c":1}}"#,
        r#"{"spec":{"a":10,"b":null}}"#,
    ),
    (
        r#"{"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k","p"],"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"},"p":{"type":"string","default":"TCP"}}}}}}"#,
        r#"{"l":[{"k":"a"},{"k":"a","p":"TCP"},{"p":"x"},null,1]}"#,
        r#"{"l":[{"k":"a","p":"UDP"},{"k":7}]}"#,
    ),
    (
        r#"{"type":"object","properties":{"p":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}],"pattern":"^[0-9]+%?$"},"q":{"x-kubernetes-preserve-unknown-fields":true}}}"#,
        r#"{"p":"80%","q":{"any":[{"thing":null}]}}"#,
        r#"{"p":1.0}"#,
    ),
    (
        r#"{"type":"object","properties":{"t":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true,"properties":{"spec":{"type":"object"}}},"m":{"type":"object","additionalProperties":{"type":"array","items":{"type":"number","multipleOf":0.1}},"maxProperties":2}}}"#,
        r#"{"t":{"apiVersion":"v1","kind":"P","metadata":{"labels":{"a":"b"}},"spec":{"x":1},"y":2},"m":{"a":[1,0.1,1e300],"b":[],"c":{}}}"#,
        r#"{"t":null,"m":[]}"#,
    ),
    (
        r#"{"type":"object","properties":{"s":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"oneOf":[{"required":["a"]},{"required":["b"]}],"anyOf":[{"properties":{"a":{"minLength":2}}},{"not":{"required":["b"]}}],"allOf":[{"maxProperties":1}]}}}"#,
        r#"{"s":{"a":"x","b":"y"}}"#,
        r#"{"s":{}}"#,
    ),
    (
        r#"{"type":"object","properties":{"d":{"type":"string","format":"date-time"},"b":{"type":"string","format":"byte"},"u":{"type":"string","format":"uuid"},"c":{"type":"string","format":"cidr"},"i":{"type":"integer","format":"int32","minimum":0,"exclusiveMinimum":true}}}"#,
        r#"{"d":"2026-01-02T03:04:05Z","b":"aGk=","u":"705ab4f5-6393-11e8-b7cc-42010a800002","c":"10.0.0.0/8","i":0}"#,
        r#"{"d":"yesterday","b":"*","u":"-","c":"::/129","i":3000000000}"#,
    ),
    (
        r#"{"type":"object","$ref":"x","definitions":{"x":{"type":"null"}},"items":[{}],"additionalProperties":false,"nullable":true,"properties":{"a":{"items":{"not":{"additionalProperties":{}}}},"metadata":{"type":"string","properties":{"labels":{}}}},"required":[1,"a"],"enum":[null,{"a":1},1.0]}"#,
        r#"{"a":[[]]}"#,
        "[]",
    ),
    (
        r#"{"type":"object","properties":{"r":{"type":"object","properties":{"min":{"type":"integer"},"max":{"type":"integer"}},"x-kubernetes-validations":[{"rule":"self.min <= self.max","messageExpression":"'%d'.format([self.min])","fieldPath":".max","reason":"FieldValueForbidden"}],"default":{"min":1,"max":2}}}}"#,
        r#"{"r":{"min":3,"max":2}}"#,
        r#"{"r":{"min":3,"max":2}}"#,
    ),
    (
        r#"{"type":"object","properties":{"s":{"type":"array","x-kubernetes-list-type":"set","maxItems":3,"minItems":1,"items":{"type":"string","maxLength":1,"minLength":1,"pattern":"(a|b)*"}},"n":{"type":"array","items":{"type":"array","items":{"type":"boolean"}}}},"required":["s","t"]}"#,
        r#"{"s":["a","a","","abc"],"n":[[true],[null,0]]}"#,
        r#"{"s":[],"t":1}"#,
    ),
];

#[test]
fn a_schema_makes_the_same_of_an_object_each_time() {
    let all = SCHEMAS.map(|(schema, object, old)| format!("{schema}\n{object}\n{old}"));
    damaged::run(seeds(&all), 6000, schemas::run);
}

const OBJECT: &str = r#"{"type":"object","properties":{"n":{"type":"integer"},"f":{"type":"number"},"t":{"type":"string","maxLength":64},"l":{"type":"array","maxItems":9,"items":{"type":"string","maxLength":9}},"m":{"type":"object","maxProperties":9,"additionalProperties":{"type":"integer"}},"p":{"x-kubernetes-int-or-string":true},"d":{"type":"string","format":"duration"},"w":{"type":"string","format":"date-time"},"b":{"type":"string","format":"byte"},"o":{"type":"string"}}}"#;
const VALUE: &str = r#"{"n":-3,"f":1.5e300,"t":"10.0.0.1/8 é","l":["b","a","a"],"m":{"x":1,"y":-9223372036854775808},"p":"80%","d":"1h3s","w":"2026-01-02T03:04:05Z","b":"aGk="}"#;

const RULES: [&str; 34] = [
    "self.n > 0 && self.l.all(x, x.size() < 3)",
    "self.l.exists_one(x, x == 'b') || self.m.exists(k, self.m[k] > 9223372036854775807)",
    "self.l.map(x, x.size() > 1, x + 'y').join(',').matches('^(a|b)*$')",
    "self.t.split(' ').size() == 2 && self.t.substring(1, 3).lowerAscii().charAt(0) == 'x'",
    "self.t.replace('1', self.t, 2).indexOf('é') > self.t.lastIndexOf('0')",
    "isIP(self.t) || isCIDR(self.t) && cidr(self.t).containsIP('10.0.0.2')",
    "url('https://[::1]:80/a?b=c#d').getHostname() == 'x' || isURL(self.t)",
    "quantity('1.5Gi').isGreaterThan(quantity(self.t)) || isQuantity(self.t)",
    "duration(self.d) > duration('1h') || self.d.getHours() == 1",
    "timestamp(self.w) < timestamp('9999-12-31T23:59:59Z') && self.w.getDayOfWeek('Europe/Berlin') == 5",
    "self.b == b'hi' || self.b.size() == 2",
    "type(self.p) == string ? self.p.endsWith('%') : self.p > 3",
    "has(self.o) ? self.o == '' : oldSelf.n <= self.n",
    "optional.of(self.n).orValue(1) == oldSelf.value().n",
    "[1, 2.0, 3u, 'x', null, true, b'a', {'a': [1]}].size() == 8",
    "{1: 2, 'a': self.n}[1] == dyn(2.0)",
    "self.m.transformMap(k, v, v * 2).size() == 2",
    "self.l.sortBy(x, x.size())[0] == 'a' && self.l.isSorted() && self.l.sum() == ''",
    "'%s %d %.3f %x %b %e'.format([self.t, self.n, self.f, self.n, self.n, self.f]) != ''",
    "format.dns1123Label().validate(self.t).hasValue()",
    "sets.intersects(self.l, ['a']) && sets.equivalent([1], [1.0])",
    "semver('1.2.3-a+b').isLessThan(semver(self.t)) || isSemver(self.t)",
    "-self.n / 0 == 1 || self.n % -1 == 0 || self.n - 9223372036854775807 - 7 < 0",
    "int(self.f) == 1 && uint(self.n) == 1u && double('NaN') == 0.0",
    "self.t.find('[0-9]+') != '' && self.t.findAll('.', 3).size() == 3",
    "r'\\d' == \"\\\\d\" && '\\u00e9\\U0001F600\\x41\\101' != '''a\nb'''",
    "cel.bind(x, self.l, x + x).all(y, cel.bind(z, y, z == y))",
    "self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d != ''))))",
    "true ? self : self.l",
    "((((((((((((((((self.n))))))))))))))))) == 1 // end",
    "self.n in [1, 2] || 'x' in self.m || !(self.f < 1.0) || ---self.n == 1",
    "self.?o.orValue('x') == 'x' && self[?'o'].hasValue()",
    "self.l[-1] == '' || self.l[99] == '' || self.m['none'] == 1",
    "self.__t__ == 1 || self.`t` == '' || self.t.reverse().trim().quote() == ''",
];

#[test]
fn a_rule_is_refused_or_says_the_same_each_time() {
    let scalars = [
        ("self > 1 && oldSelf < self", r#"{"type":"integer"}"#, "5", "7"),
        ("self.startsWith('a') && self != oldSelf", r#"{"type":"string","maxLength":9}"#, "\"ab\"", "\"é\""),
        (
            "self.all(k, v, v == oldSelf[k])",
            r#"{"type":"object","maxProperties":3,"additionalProperties":{"type":"boolean"}}"#,
            r#"{"a":true}"#,
            "{}",
        ),
    ];
    let mut all: Vec<String> = RULES
        .iter()
        .map(|rule| format!("{rule}\n'n is ' + string(self.n)\n{OBJECT}\n{VALUE}\n{VALUE}"))
        .collect();
    all.extend(scalars.map(|(rule, part, new, old)| format!("{rule}\n'x'\n{part}\n{new}\n{old}")));
    damaged::run(seeds(&all), 6000, rules::run);
}

//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/expressions.rs"]
mod expressions;

const ABOUT: &str = r#"{"text":"a-b","number":-3,"share":0.5,"is":true,"at":"2026-01-02T03:04:05Z","during":"1h30m","octets":"YWI=","either":"50%","list":["a","b"],"map":{"a":1,"b":2}}"#;
const ANY: &str = r#"{"a":{"b":[1,-2.5,"x",null,true]},"c":"d"}"#;

const SOURCES: &[&str] = &[
    "self.text.startsWith('a') && self.number < 0 || !self.is",
    "self.list.all(one, one in ['a', 'b']) ? self.map.map(key, key + 'x') : [self.text]",
    "has(self.text) && self.?either.orValue(1) == '50%' && type(self.either) == string",
    "self.at + self.during > timestamp('2026-01-02T00:00:00Z') && self.during.getMinutes() == 90",
    "any.a.b.exists_one(one, one == null) && any.a.b[1] < 0.0 && size(any) == 2",
    "self.text.matches('^[a-z]+(-[a-z]+)*$') && self.text.find('[0-9]{2,4}') == ''",
    "quantity('1Gi').add(quantity('512Mi')).compareTo(quantity('2Gi')) < 0 && isQuantity(self.text)",
    "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && url('https://h:1/a?b=c').getPort() == '1'",
    "'%s %d %.2f %x'.format([self.text, self.number, self.share, 255]) + string(self.octets) + b'\\xff\\000'.size()",
    "cel.bind(x, self.list, x.join(',').split(',').map(y, y.upperAscii())).sum() + sets.intersects([1], [2])",
    "Object{spec: Object.spec{a: 1, list: [Object.spec.list{b: ?any.?c}]}}",
    "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey(self.text), value: any}]",
    "{1: 'a', 2u: b'c', 'x': r'\\n', true: 1e300 * 1e300, -9223372036854775808: 0x7fffffffffffffff}[self.number]",
    "9223372036854775807 + 1 == -5 % 0 / 2 || 1.0 / 0.0 > double('inf') || uint(-1) == 3u",
    "semver('1.2.3').isGreaterThan(semver('1.0.0-a')) && format.dns1123Label().validate(self.text).hasValue()",
    "any.all(a, any.all(b, any.all(c, any.all(d, any.all(e, a + b + c + d + e != '')))))",
    "self.list.sort().reverse().slice(0, 1).distinct().flatten().indexOf('a') == lists.range(5).max()",
    "\"\"\"a\n\"\"\" + '\\u00e4\\U0001F600\\377' // and so on",
    "((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))",
    "self.undeclared + 1 == 'a' && nothing(self) && [1, 'a'].exists(x, x) && {}.a.b",
];

#[test]
fn an_expression_is_refused_or_comes_to_the_same_each_time_for_what_it_may_cost() {
    let seeds = SOURCES.iter().map(|source| format!("{source}\n{ABOUT}\n{ANY}").into_bytes());
    damaged::run(seeds.collect(), 4000, expressions::run);
}

#[test]
fn pieces_of_expressions_are_expressions_or_none() {
    // Without what they are about, so that most of what is put together is text of expressions.
    let mut seeds: Vec<Vec<u8>> = SOURCES.iter().map(|source| source.as_bytes().to_vec()).collect();
    seeds.push("(".repeat(600).into_bytes());
    seeds.push("[".repeat(600).into_bytes());
    seeds.push("-".repeat(600).into_bytes());
    seeds.push("!".repeat(600).into_bytes());
    seeds.push("a.".repeat(600).into_bytes());
    seeds.push("1+".repeat(600).into_bytes());
    seeds.push("1?".repeat(600).into_bytes());
    damaged::run(seeds, 4000, expressions::run);
}

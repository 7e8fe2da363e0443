//! The language and its libraries by example: an expression, and what it gives or why it does not.

use crate::{Declared, Env, EvalError, ListKind, Patterns, Type, Value};
use serde_json::json;
use std::sync::{Arc, Mutex};

const LIMIT: u64 = 1_000_000;

/// A custom resource's declared type with something of everything.
fn widget() -> Declared {
    let spec = [
        ("replicas".to_owned(), Declared::int(), true),
        ("ratio".to_owned(), Declared::double(), false),
        ("name".to_owned(), Declared::string(Some(16)), true),
        ("namespace".to_owned(), Declared::string(None), false),
        ("x-y".to_owned(), Declared::bool(), false),
        ("port".to_owned(), Declared::int_or_string(None), false),
        ("every".to_owned(), Declared::duration(), false),
        ("since".to_owned(), Declared::date_time(), false),
        ("data".to_owned(), Declared::bytes(None), false),
        ("labels".to_owned(), Declared::map(Declared::string(None), Some(8)), false),
        ("tags".to_owned(), Declared::list(Declared::string(Some(8)), Some(10), ListKind::Set), false),
        ("hosts".to_owned(), Declared::list(host(), Some(5), ListKind::Map(vec!["name".to_owned()])), false),
    ];
    Declared::object("Widget", [("spec".to_owned(), Declared::object("Widget.spec", spec), true)])
}

fn host() -> Declared {
    let fields =
        [("name".to_owned(), Declared::string(None), true), ("port".to_owned(), Declared::int(), false)];
    Declared::object("Widget.spec.hosts.@idx", fields)
}

fn document() -> serde_json::Value {
    json!({"spec": {
        "replicas": 3, "ratio": 2, "name": "web", "namespace": "prod", "x-y": true, "port": "80%",
        "every": "1h30m", "since": "2024-02-29T12:30:45.5Z", "data": "aGVsbG8=", "labels": {"app": "web", "tier": "1"},
        "tags": ["b", "a"], "hosts": [{"name": "one", "port": 80}, {"name": "two"}],
    }})
}

fn env() -> Env {
    Env::new().with("self", widget()).with("any", Declared::dynamic())
}

/// The value of an expression that must be true, or what is wrong.
fn outcome(source: &str) -> Result<bool, String> {
    let program = env().compile(source).map_err(|error| error.to_string())?;
    let (document, declared) = (document(), widget());
    let (any, dynamic) =
        (json!({"n": 1, "f": 1.5, "list": [1, "a", null], "big": u64::MAX}), Declared::dynamic());
    let variables = [Value::json(&document, &declared), Value::json(&any, &dynamic)];
    let evaluated = program.evaluate(&variables[..], LIMIT);
    match evaluated.result {
        Ok(Value::Bool(value)) => Ok(value),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn all_hold(sources: &[&str]) {
    for source in sources {
        assert_eq!(outcome(source), Ok(true), "{source}");
    }
}

fn fails(source: &str, with: &str) {
    let error = outcome(source).expect_err(source);
    assert!(error.contains(with), "{source}: {error}");
}

#[test]
fn literals_and_arithmetic_are_of_the_language() {
    all_hold(&[
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 / 2 == 3 && -7 % 3 == -1",
        "0x10 == 16 && 5u - 3u == 2u && 1.5e3 == 1500.0 && .5 == 0.5",
        "-9223372036854775808 < 0 && --1 == 1 && !!true",
        r#""a\tb\u00e9\x41\101" == 'a	béAA' && r"\n" == "\\n" && """a"b""" == 'a"b'"#,
        r#"b"\xff\101" == b'\377A' && b"é" == bytes("é") && size(b"é") == 2 && size("é") == 1"#,
        "dyn(1) == 1.0 && dyn(1u) == 1 && 1 < 1.5 && 2u > 1 && dyn(1) != dyn('1')",
        "[1, 2] + [3] == [1, 2, 3] && {'a': 1}.a == 1 && {1: 'x'}[dyn(1u)] == 'x' && 2 in [1, 2] && 'a' in {'a': 1}",
        "'abc' < 'abd' && b'a' < b'b' && false < true && duration('1s') < duration('1m')",
        "true ? true : 1 / 0 == 0",
        "1.0 / 0.0 > 1e300 && !(0.0 / 0.0 == 0.0 / 0.0)",
        "type(1) == int && type('') == string && type([]) == list && type(type(1)) == type",
    ]);
    fails("9223372036854775807 + 1 > 0", "integer overflow");
    fails("0u - 1u > 0u", "unsigned integer overflow");
    fails("1 / 0 == 1", "division by zero");
    fails("1 % 0 == 1", "modulus by zero");
    fails("[1][1] == 1", "index out of bounds: 1");
    fails("{'a': 1}['b'] == 1", "no such key: b");
    fails("-(-9223372036854775808) > 0", "integer overflow");
}

#[test]
fn a_decisive_side_hides_errors_of_the_other() {
    all_hold(&[
        "true || 1 / 0 == 0",
        "1 / 0 == 0 || true",
        "!(false && 1 / 0 == 0)",
        "!(1 / 0 == 0 && false)",
        "[1, 0].exists(x, 1 / x == 1)",
        "[0, 1].exists(x, 1 / x == 1)",
        "![0, 2].all(x, 1 / x == 1)",
    ]);
    fails("false || 1 / 0 == 0", "division by zero");
    fails("[0, 1].all(x, 1 / x == 1)", "division by zero");
}

#[test]
fn macros_walk_lists_and_maps() {
    all_hold(&[
        "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2, 2].exists_one(x, x == 1)",
        "[1, 2, 3].filter(x, x > 1).map(x, x * 2) == [4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "{'a': 1, 'b': 2}.all(k, k < 'c') && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "[5, 6].all(i, v, v == i + 5) && [5].existsOne(i, v, i == 0 && v == 5)",
        "[1, 2].transformList(i, v, v * i) == [0, 2] && [1, 2].transformList(i, v, i > 0, v) == [2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && ['x'].transformMap(i, v, v) == {0: 'x'}",
        "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
        "[[1, 2], [3]].map(x, x.map(y, y + 1)) == [[2, 3], [4]]",
        "[3, 1, 2].sortBy(x, -x) == [3, 2, 1] && ['b', 'a'].sort() == ['a', 'b']",
        "has(self.spec) && has(any.n) && !has(any.missing) && !has({}.a)",
    ]);
    fails("[1].all(x.y, true)", "argument must be a simple name");
    fails("has(1)", "invalid argument to has() macro");
    fails("{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k}) == {}", "key x already exists");
}

#[test]
fn objects_are_read_through_their_declared_types() {
    all_hold(&[
        "self.spec.replicas == 3 && self.spec.ratio == 2.0 && type(self.spec.ratio) == double",
        "self.spec.x__dash__y && self.spec.namespace == 'prod' && self.spec.__namespace__ == 'prod'",
        "type(self.spec.port) == string && self.spec.port.endsWith('%')",
        "self.spec.every == duration('90m') && self.spec.since.getFullYear() == 2024",
        "string(self.spec.data) == 'hello' && self.spec.labels['app'] == 'web' && self.spec.labels.tier == '1'",
        "self.spec.tags == ['a', 'b'] && size(self.spec.tags + ['a', 'c']) == 3",
        "self.spec.hosts.exists(h, h.name == 'two' && !has(h.port))",
        "any.n == 1 && any.f == 1.5 && any.list[1] == 'a' && any.list[2] == null && any.big > 1u",
    ]);
    fails("self.spec.missing == 1", "undefined field 'missing'");
    fails("self.spec.hosts[1].port == 1", "no such key: port");
    fails("any.missing == 1", "no such key: missing");
}

/// The value of an expression about `self` and `old`, of which both are declared as widgets.
fn about_two(source: &str, document: &serde_json::Value, old: &serde_json::Value) -> Result<bool, String> {
    let declared = widget();
    let env = Env::new().with("self", widget()).with("old", widget());
    let program = env.compile(source).map_err(|error| error.to_string())?;
    let variables = [Value::json(document, &declared), Value::json(old, &declared)];
    match program.evaluate(&variables[..], LIMIT).result {
        Ok(Value::Bool(value)) => Ok(value),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_field_that_is_null_is_absent() {
    let null = json!({"spec": {"name": null, "labels": {"app": null}, "hosts": [null, {"name": "a", "port": null}]}});
    for (source, wanted) in [
        ("!has(self.spec.name) && self.spec.?name == optional.none()", Ok(true)),
        (
            "self.spec.labels.size() == 1 && 'app' in self.spec.labels && type(self.spec.labels['app']) == null_type",
            Ok(true),
        ),
        ("type(self.spec.hosts[0]) == null_type && !has(self.spec.hosts[1].port)", Ok(true)),
        ("self.spec.name == ''", Err("no such key: name")),
    ] {
        match (about_two(source, &null, &null), wanted) {
            (found, Ok(wanted)) => assert_eq!(found, Ok(wanted), "{source}"),
            (found, Err(fault)) => assert!(found.clone().unwrap_err().contains(fault), "{source}: {found:?}"),
        }
    }
}

#[test]
fn objects_are_the_same_if_also_what_expressions_cannot_name_is_the_same() {
    let old = json!({"spec": {"name": "a", "labels": {"x": "y"}}, "un!known": {"deep": [1]}, "other": null});
    for (change, same) in [
        (json!({}), true),
        (json!({"un!known": {"deep": [2]}}), false),
        (json!({"more": 1}), false),
        (json!({"other": 1}), false),
        (json!({"spec": {"labels": {"x": "y"}, "name": "a"}}), true),
        (json!({"spec": {"name": "b", "labels": {"x": "y"}}}), false),
        (json!({"spec": {"name": "a", "labels": {"x": "y"}, "extra": 1}}), false),
        (json!({"spec": {"name": null, "labels": {"x": "y"}}}), false),
    ] {
        let mut new = old.clone();
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(about_two("self == old", &new, &old), Ok(same), "{change}");
        assert_eq!(about_two("old != self", &new, &old), Ok(!same), "{change}");
    }
}

#[test]
fn lists_by_key_stay_so_when_they_are_added() {
    let hosts = |hosts: serde_json::Value| json!({"spec": {"hosts": hosts}});
    let one = hosts(json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]));
    let other = hosts(json!([{"name": "b", "port": 3}, {"name": "a", "port": 1}]));
    for source in [
        "self.spec.hosts + old.spec.hosts == old.spec.hosts",
        "old.spec.hosts + self.spec.hosts == self.spec.hosts",
        "(self.spec.hosts + old.spec.hosts).size() == 2",
        "self.spec.hosts + old.spec.hosts + self.spec.hosts == self.spec.hosts",
    ] {
        assert_eq!(about_two(source, &one, &other), Ok(true), "{source}");
    }
}

#[test]
fn types_are_checked_before_anything_runs() {
    for (source, fault) in [
        ("1 + 'a' == 2", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("unknown == 1", "undeclared reference to 'unknown' (in container '')"),
        ("nothing(1)", "undeclared reference to 'nothing' (in container '')"),
        ("[1, 'a'] == []", "expected type 'int' but found 'string'"),
        ("'%d'.format([1]) == 'a' && {'a': 1, 'b': 'x'} == {}", "expected type 'int' but found 'string'"),
        (
            "self.spec.name.startsWith(1)",
            "found no matching overload for 'startsWith' applied to 'string.(int)'",
        ),
        ("1.all(x, true)", "cannot be range of a comprehension"),
        ("'a'.matches('(')", "invalid matches argument"),
        ("'a'.find('(') == ''", "program instantiation failed"),
        ("'a'.findAll(')', 1) == []", "program instantiation failed"),
        ("duration('x') == duration('1s')", "invalid duration argument"),
        ("self.spec.replicas.x == 1", "type 'int' does not support field selection"),
        ("namespace == 1", "reserved identifier: namespace"),
        ("1 +", "Syntax error"),
        ("'a", "unterminated string literal"),
        ("1 == 1 1", "mismatched input '1'"),
        ("@", "token recognition error at: '@'"),
    ] {
        fails(source, fault);
    }
}

#[test]
fn faults_have_their_place() {
    let error = env().compile("self.spec.replicas > 1 &&\n  unknown").unwrap_err().to_string();
    let expected =
        "ERROR: <input>:2:3: undeclared reference to 'unknown' (in container '')\n |   unknown\n | ..^";
    assert_eq!(error, expected);
}

#[test]
fn optional_values_stand_for_what_may_be_absent() {
    all_hold(&[
        "optional.of(1).value() == 1 && !optional.none().hasValue() && optional.none().orValue(2) == 2",
        "any.?missing.orValue(5) == 5 && any.?n.hasValue() && any.?missing.?deeper == optional.none()",
        "[1][?0] == optional.of(1) && !([1][?4]).hasValue() && {'a': 1}[?'a'].orValue(0) == 1",
        "any.?n.optMap(x, x + 1).orValue(0) == 2 && any.?missing.optMap(x, x + 1).orValue(7) == 7",
        "optional.of(1).optFlatMap(x, optional.none()) == optional.none()",
        "[?any.?n, 2, ?any.?missing] == [1, 2] && size({?'a': any.?missing}) == 0",
        "optional.ofNonZeroValue('') == optional.none() && optional.none().or(optional.of(1)).value() == 1",
        "self.spec.hosts[?0].name == optional.of('one') && [optional.of(1), optional.none()].unwrapOpt() == [1]",
    ]);
    fails("optional.none().value() == 1", "optional.none() dereference");
}

#[test]
fn a_value_gets_a_name_where_the_environment_has_that() {
    let env = Env::new().with_bind();
    for source in [
        "cel.bind(x, [1, 2], x.size() == 2 && x[0] == 1)",
        "cel.bind(x, 1, cel.bind(y, x + 1, x + y == 3))",
        "[1, 2].all(x, cel.bind(y, x * 2, y > x))",
    ] {
        let program = env.compile(source).unwrap();
        assert!(matches!(program.evaluate(&[][..], LIMIT).result, Ok(Value::Bool(true))), "{source}");
    }
    for (source, fault) in [
        ("cel.bind(x.y, 1, true)", "argument must be a simple name"),
        ("cel.bind(x, 1, x == 'a')", "no matching overload"),
        ("cel.bind(x, 1, true) && x == 1", "undeclared reference to 'x'"),
    ] {
        let error = env.compile(source).unwrap_err().to_string();
        assert!(error.contains(fault), "{source}: {error}");
    }
    fails("cel.bind(x, 1, x == 1)", "undeclared reference to 'cel'");
}

#[test]
fn strings_are_cut_and_joined() {
    all_hold(&[
        "'tacocat'.charAt(3) == 'o' && 'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.lastIndexOf('ello') == 7",
        "'hello mellow'.lastIndexOf('ello', 6) == 1 && 'ABC'.lowerAscii() == 'abc' && 'é'.upperAscii() == 'é'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && '  x '.trim() == 'x'",
        "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab'",
        "'%s %d %.2f %x %b %o'.format(['a', 1, 2.5, 255, 5, 8]) == 'a 1 2.50 ff 101 10' && '100%%'.format([]) == '100%'",
        "'%f %.1f %f'.format([1234567.5, -999.95, 999.0]) == '1,234,567.500000 -1,000.0 999.000000'",
        "'%e %e'.format([1234.5, 0.00012]) == '1.234500×10⁰³ 1.200000×10⁻⁰⁴' && '%.15e'.format([3.14]) == '  3.140000×10⁰⁰'",
        "'%s'.format([[1, 'a', 1.5, b'x', duration('90s'), null]]) == '[1, \"a\", 1.500000, b\"x\", duration(\"90s\"), null]'",
        "'%s %s'.format([{'k': true, 'a': [1, 'x']}, 1.5]) == '{\"a\":[1, \"x\"], \"k\":true} 1.5'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'abc'.matches('^a.c$') && matches('abc', 'b') && 'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "string(1.5) == '1.5' && string(1000000.0) == '1e+06' && string(true) == 'true' && int('42') == 42 && double('1.5') == 1.5",
        "string(timestamp('2011-08-18T19:03:37.01+01:00') + duration('1h')) == '2011-08-18T20:03:37.01+01:00'",
        "optional.ofNonZeroValue(timestamp('0001-01-01T00:00:00Z')) == optional.none()",
        "bool('true') && string(duration('90s')) == '90s' && int(3.9) == 3 && uint(3) == 3u && int(timestamp('1970-01-01T00:01:00Z')) == 60",
    ]);
    fails("'abc'.substring(2, 1) == ''", "invalid substring range");
    fails("'abc'.charAt(9) == ''", "index out of range: 9");
    fails("int('x') == 1", "type conversion error from 'x' to 'int'");
    fails("'%d'.format(['a']) == ''", "decimal clause can only be used on integers, was given string");
    fails("'%f'.format([1]) == ''", "fixed-point clause can only be used on doubles, was given int");
    fails("'%s %s'.format(['a']) == ''", "index 1 out of range");
}

#[test]
fn lists_and_sets_have_their_libraries() {
    all_hold(&[
        "[1, 2].isSorted() && [1, 2].sum() == 3 && [1.5].max() == 1.5 && ['b', 'a'].min() == 'a' && [1, 2, 1].lastIndexOf(1) == 2",
        "[1, 2].indexOf(9) == -1 && [[1], [2, 3]].flatten() == [1, 2, 3] && [1, 1, 2].distinct() == [1, 2]",
        "[1, 2, 3].slice(1, 3) == [2, 3] && [1, 2].reverse() == [2, 1] && lists.range(3) == [0, 1, 2]",
        "[1, 2].first() == optional.of(1) && [].last() == optional.none() && [1, 2].includes(2)",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2, 2], [2, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [2])",
        "self.spec.tags.join('') == 'ba' && [].sum() == 0 && dyn([1.0, 2.0]).sum() == 3.0",
    ]);
    fails("[].max() == 1", "max called on empty list");
    fails("[1].slice(1, 0) == []", "start index must be less than or equal to end index");
    fails("[1].slice(-1, 0) == []", "negative indexes not supported");
    fails("[1].slice(0, 2) == []", "cannot slice(0, 2), list is length 1");
    fails("lists.range(1000000000) == []", "at most");
}

#[test]
fn times_have_their_parts() {
    all_hold(&[
        "timestamp('2023-12-31T23:59:59Z').getMonth() == 11 && timestamp('2023-12-31T23:59:59Z').getDate() == 31",
        "timestamp('2023-12-31T23:59:59Z').getDayOfWeek() == 0 && timestamp('2023-01-01T00:00:00Z').getDayOfYear() == 0",
        "timestamp('2023-12-31T23:30:00Z').getHours('+01:00') == 0 && timestamp('2023-12-31T23:30:00Z').getMinutes('-00:30') == 0",
        "timestamp('2023-01-01T00:00:00Z') + duration('24h') == timestamp('2023-01-02T00:00:00Z')",
        "timestamp('9999-12-31T23:59:59Z').getSeconds() == 59 && timestamp('2023-06-01T12:00:00Z').getHours('Europe/Rome') == 14",
        "timestamp('2023-01-02T00:00:00Z') - timestamp('2023-01-01T00:00:00Z') == duration('24h')",
        "duration('90m').getHours() == 1 && duration('1500ms').getSeconds() == 1 && duration('1.5s').getMilliseconds() == 1500",
    ]);
    fails(
        "timestamp('9999-12-31T23:59:59Z') + duration('24h') > timestamp('2023-01-01T00:00:00Z')",
        "timestamp overflow",
    );
}

#[test]
fn kubernetes_libraries_know_addresses_urls_quantities_and_versions() {
    all_hold(&[
        "isIP('127.0.0.1') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0') && !isIP('127.0.0.01') && ip('::1').family() == 6",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD') && ip('127.0.0.1').isLoopback() && string(ip('10.0.0.1')) == '10.0.0.1'",
        "ip('169.254.1.1').isLinkLocalUnicast() && ip('ff02::1').isLinkLocalMulticast() && ip('192.168.0.1').isGlobalUnicast() && ip('0.0.0.0').isUnspecified()",
        "cidr('192.168.0.0/24').containsIP('192.168.0.9') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.9')) && isCIDR('::1/128') && !isCIDR('1.2.3.4/33')",
        "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24') && !cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/16')) && cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
        "cidr('10.0.0.1/8').prefixLength() == 8 && cidr('10.0.0.1/8').ip() == ip('10.0.0.1') && type(ip('::1')) == net.IP",
        "url('https://user@example.com:8443/a%20b?x=1&x=2').getHost() == 'example.com:8443' && url('https://[::1]:80/').getHostname() == '::1'",
        "url('https://example.com:8443/a%20b?x=1&x=2').getEscapedPath() == '/a%20b' && url('/p?x=1').getQuery() == {'x': ['1']} && !isURL('not a url') && url('HTTP://a').getScheme() == 'http'",
        "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/' && url('/ü').getEscapedPath() == '/%C3%BC'",
        "isURL('https://example.com/path?key with spaces=value with spaces') && url('https://example.com/path?key with spaces=value with spaces').getQuery() == {'key with spaces': ['value with spaces']}",
        "quantity('1.5Gi').isGreaterThan(quantity('1G')) && quantity('50k').asInteger() == 50000 && !quantity('1.5').isInteger() && quantity('1k').add(1).sub(quantity('1')) == quantity('1000')",
        "isQuantity('9223372036854775808') && isQuantity('1000E') && isQuantity('100Ei') && isQuantity('1e30')",
        "!quantity('9999999999999999999999999999999999999G').isInteger() && quantity('9999999999999999999999999999999999999G').sign() == 1",
        "quantity('1e30').add(quantity('1e30')) == quantity('2e30') && quantity('1e30').isLessThan(quantity('1e31')) && quantity('1e30').asApproximateFloat() == 1e30",
        "isQuantity('1Mi') && !isQuantity('1MB') && quantity('-1').sign() == -1 && quantity('100m').asApproximateFloat() == 0.1 && quantity('1').compareTo(quantity('2')) == -1",
        "semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1')) && isSemver('v1.2', true) && !isSemver('v1.2') && semver('v01.1', true) == semver('1.1.0') && semver('1.2.3').minor() == 2",
        "!format.dns1123Label().validate('my-label').hasValue() && format.dns1123Label().validate('No').hasValue() && format.named('uuid').hasValue() && !format.named('x').hasValue()",
        "!format.date().validate('2024-01-01').hasValue() && format.datetime().validate('2024-01-01').hasValue() && !format.dns1123LabelPrefix().validate('a-').hasValue()",
    ]);
    fails("ip('256.0.0.1') == ip('::1')", "parse error during conversion from string");
    fails("quantity('x') == quantity('1')", "is not a quantity");
    fails("quantity('1.5').asInteger() == 1", "cannot convert value to integer");
}

#[test]
fn authorization_is_asked_of_the_host() {
    use crate::{Authorize, Check, Decision, Opaque};
    #[derive(Debug)]
    struct OnlyPods;
    impl Authorize for OnlyPods {
        fn check(&self, request: &Check) -> Decision {
            let of_account = request.service_account.as_ref().is_none_or(|(_, name)| name == "robot");
            let allowed = request.resource == "pods" && request.verb == "get" && of_account;
            Decision { allowed, reason: format!("{}/{}", request.namespace, request.name), error: None }
        }
    }
    let env =
        Env::new().with("authorizer", Declared::of(Type::Opaque("kubernetes.authorization.Authorizer")));
    let host = [Value::Opaque(Opaque::authorizer(std::sync::Arc::new(OnlyPods)))];
    for (source, cost) in [
        (
            "authorizer.group('').resource('pods').namespace('a').name('b').check('get').reason() == 'a/b'",
            350_008,
        ),
        ("!authorizer.group('').resource('secrets').check('get').allowed()", 350_005),
        ("!authorizer.path('/healthz').check('get').allowed()", 350_004),
        (
            "authorizer.serviceAccount('ns', 'robot').group('').resource('pods').check('get').allowed()",
            350_005,
        ),
        (
            "!authorizer.serviceAccount('ns', 'human').group('').resource('pods').check('get').allowed()",
            350_006,
        ),
    ] {
        let program = env.compile(source).unwrap();
        let evaluated = program.evaluate(&host[..], LIMIT);
        assert!(matches!(evaluated.result, Ok(Value::Bool(true))), "{source}: {:?}", evaluated.result);
        assert!(evaluated.cost.abs_diff(cost) <= 3, "{source}: {}", evaluated.cost);
    }
}

#[test]
fn asking_for_a_type_costs_no_more_than_what_the_expression_is_about() {
    let most = |about: Declared, source: &str| {
        let env = Env::new().with("self", about.clone()).with("oldSelf", about);
        env.compile(source).unwrap().estimate().max
    };
    let object = Declared::object("o", [("port".to_owned(), Declared::int_or_string(None), true)]);
    assert_eq!(most(object, "type(self.port) == string"), 4);
    let source = "type(self) == int ? self > 0 : self.matches('^[0-9]+%$')";
    // A number is longer than no text of 100 characters; a text may be as long as a request.
    assert!(most(Declared::int_or_string(Some(100)), source) < 500);
    let most = most(Declared::int_or_string(None), source);
    assert!((1_000_000..2_000_000).contains(&most), "{most}");
}

#[test]
fn lists_that_are_made_cost_what_is_in_them() {
    let env = Env::new().with("x", Declared::list(Declared::string(None), Some(3), ListKind::Atomic));
    let x = json!(["hello", "hello"]);
    let declared = Declared::list(Declared::string(None), None, ListKind::Atomic);
    for (source, estimated, actual) in [
        ("lists.range(4) == [0, 1, 2, 3]", Some(26), 26),
        ("lists.range(4 / 2) == [0, 1]", None, 25),
        ("[[1, 2], [3]].flatten() == [1, 2, 3]", Some(54), 54),
        ("[1, 2, 3].distinct() == [1, 2, 3]", Some(50), 50),
        ("x.distinct() == ['hello']", Some(41), 31),
        ("['b', 'a'].sort() == ['a', 'b']", Some(41), 40),
        ("[1, 2, 3, 4, 5].slice(1, 3) == [2, 3]", Some(34), 34),
        ("['a'].reverse().size() == 1", Some(24), 24),
    ] {
        let program = env.compile(source).unwrap();
        let most = program.estimate().max;
        assert!(estimated.map_or(most > LIMIT, |estimated| most == estimated), "{source}: {most}");
        let evaluated = program.evaluate(&[Value::json(&x, &declared)][..], LIMIT);
        assert_eq!(evaluated.cost, actual, "{source}: {:?}", evaluated.result);
    }
}

#[test]
fn variables_may_have_dots_and_types_may_be_made() {
    let object = Declared::object("Object", [("n".to_owned(), Declared::int(), false)]);
    let env = Env::new().with("variables.x", Declared::int()).with_type(&object);
    let program = env.compile("Object{n: variables.x + 1}.n == 3 && has(Object{n: 1}.n)").unwrap();
    assert!(program.uses(0));
    let evaluated = program.evaluate(&[Value::Int(2)][..], LIMIT);
    assert!(matches!(evaluated.result, Ok(Value::Bool(true))), "{:?}", evaluated.result);
    assert!(env.compile("Object{m: 1}").unwrap_err().to_string().contains("undefined field 'm'"));
    assert!(env.compile("Object{n: 'a'}").unwrap_err().to_string().contains("expected type of field 'n'"));
}

#[test]
fn a_host_may_make_variables_only_when_they_are_read() {
    struct Lazy;
    impl<'a> crate::Variables<'a> for Lazy {
        fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
            assert_eq!(index, 0, "the second is never read");
            Ok(Value::Bool(true))
        }
    }
    let env = Env::new().with("a", Declared::bool()).with("b", Declared::bool());
    let program = env.compile("a || b").unwrap();
    assert!(program.evaluate(&Lazy, LIMIT).result.is_ok());
}

#[test]
fn expressions_that_explode_are_given_up() {
    let deep = |times: usize| format!("{}1{} == 1", "(".repeat(times), ")".repeat(times));
    assert!(env().compile(&deep(100)).is_ok());
    for source in [
        deep(300),
        format!("{}true", "!(".repeat(5_000)),
        format!("1{}", " + 1".repeat(5_000)),
        "[".repeat(100_000),
        "a.".repeat(60_000),
        "x".repeat(200_000),
        format!("self{}", ".all(x, self".repeat(3_000)),
    ] {
        assert!(env().compile(&source).is_err(), "{}", &source[..20]);
    }
    // A chain of `&&` is as deep as its logarithm.
    assert!(env().compile(&vec!["true"; 5_000].join(" && ")).is_ok());
    for source in [
        "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0))))))".to_owned(),
        format!("optional.of([1]){}.hasValue()", ".optMap(x, x + x)".repeat(40)),
        format!("optional.of('aaaa'){}.hasValue()", ".optMap(x, x + x)".repeat(40)),
        format!("optional.of('aaaa'){}.hasValue()", ".optMap(x, x.replace('a', x))".repeat(40)),
    ] {
        let error = outcome(&source).expect_err(&source);
        assert!(error.contains("cost limit exceeded") || error.contains("longer than"), "{error}");
    }
}

/// An expression in which `Z` is a list of two lists of two lists, and so on.
fn doubled(levels: usize, expression: &str) -> String {
    let inner = expression.replace('Z', &format!("x{levels}"));
    let inner =
        (0..levels).rev().fold(inner, |inner, at| format!("[[x{at}, x{at}]].all(x{}, {inner})", at + 1));
    format!("[[1, 1]].all(x0, {inner})")
}

#[test]
fn values_that_double_again_and_again_end_an_evaluation() {
    let none: [Value<'_>; 0] = [];
    for expression in [
        "{'a': Z} == {'a': Z}",
        "Z in [Z]",
        "sets.contains([Z], [Z])",
        "'%s'.format([Z]) != ''",
        "Z.flatten(60).size() > 0",
        "[Z, Z].distinct().size() == 1",
    ] {
        let program = Env::new().compile(&doubled(60, expression)).unwrap();
        let evaluated = program.evaluate(&none[..], 1_000_000);
        assert_eq!(evaluated.result.unwrap_err(), EvalError::CostExceeded, "{expression}");
        assert!(evaluated.cost > 300_000, "it is paid for: {}", evaluated.cost);
        let program = Env::new().compile(&doubled(8, expression)).unwrap();
        let evaluated = program.evaluate(&none[..], 1_000_000);
        assert!(matches!(evaluated.result, Ok(Value::Bool(true))), "{expression}");
        assert!(evaluated.cost < 5_000, "{}", evaluated.cost);
    }
}

#[test]
fn texts_and_lists_that_are_made_large_of_small_ones_end_an_evaluation() {
    let none: [Value<'_>; 0] = [];
    let text = "a".repeat(2_000);
    for one in [format!("'{text}'.replace('a', '{text}')"), "lists.range(100000)".to_owned()] {
        let all = [one.as_str(); 12].join(", ");
        let program = Env::new().compile(&format!("[{all}].size() > 0")).unwrap();
        assert_eq!(
            program.evaluate(&none[..], 1_000_000).result.unwrap_err(),
            EvalError::CostExceeded,
            "{one}"
        );
    }
}

#[test]
fn what_doubles_is_not_written_out_as_json() {
    let none: [Value<'_>; 0] = [];
    let source = (0..60).fold("[1]".to_owned(), |inner, at| format!("[{inner}].map(x{at}, [x{at}, x{at}])"));
    let program = Env::new().compile(&source).unwrap();
    let value = program.evaluate(&none[..], 1_000_000).result.unwrap();
    assert_eq!(value.to_json().unwrap_err(), EvalError::CostExceeded);
}

#[test]
fn patterns_of_expressions_that_belong_together_are_bounded_together() {
    let patterns = Arc::new(Mutex::new(Patterns::of_size(64 * 1024)));
    let together = Env::new().with("self", Declared::of(Type::String)).with_patterns(patterns);
    let expressions =
        |env: &Env| (0..8).filter(|at| env.compile(&format!("self.matches('^a{at}$')")).is_ok()).count();
    assert_eq!(expressions(&together), 4, "each takes a quarter");
    let error = together.compile("self.matches('b')").unwrap_err().to_string();
    assert!(error.contains("invalid matches argument") && error.contains("together"), "{error}");
    assert!(together.compile("self.matches('^a0$') && self == 'c'").is_ok(), "equal ones are compiled once");
    let alone = Env::new().with("self", Declared::of(Type::String));
    assert_eq!(expressions(&alone), 8);
    let all: Vec<String> = (0..1_100).map(|at| format!("self.matches('^a{at}$')")).collect();
    assert!(
        alone.compile(&all.join(" || ")).unwrap_err().to_string().contains("together"),
        "those of one, too"
    );
}

#[test]
fn whole_numbers_written_as_floats_are_integers_as_far_as_schemas_take_them() {
    let env = Env::new().with("self", Declared::of(Type::Int));
    let program = env.compile("self > 0").unwrap();
    for (json, expected) in [
        (json!(3.0), true),
        (json!(9_007_199_254_740_991.0), true),
        (json!(9_007_199_254_740_994.0), false),
        (json!(1.5), false),
    ] {
        let declared = Declared::of(Type::Int);
        let evaluated = program.evaluate(&[Value::json(&json, &declared)][..], LIMIT);
        assert_eq!(evaluated.result.is_ok(), expected, "{json}");
    }
}

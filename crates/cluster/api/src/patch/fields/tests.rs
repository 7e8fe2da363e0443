use super::*;
use crate::schema::model;
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn sets_of_objects_encode_as_fields_v1() {
    let model = model();
    let object = json!({"metadata":{"labels":{"a":"b"}},"spec":{"replicas":1,"selector":{"matchLabels":{}},
        "template":{"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]}}}});
    let set = FieldSet::of(model, model.shape("io.k8s.api.apps.v1.Deployment"), &object);
    let encoded = set.encode();
    assert_eq!(
        encoded,
        json!({"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":
            {"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:ports":
            {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}})
    );
    assert_eq!(FieldSet::decode(&encoded), set);
    let mut text = Vec::new();
    set.write(&mut text);
    assert_eq!(String::from_utf8(text.clone()).unwrap(), encoded.to_string());
    assert_eq!(serde_json::from_slice::<FieldSet>(&text).unwrap(), set);
    assert_eq!(FieldSet::read(str::from_utf8(&text).unwrap()), set);
}

#[test]
fn what_is_malformed_is_left_out() {
    for (fields, wanted) in [
        (
            json!({"f:a": 1, "f:b": [{}, 2], "f:c": null, "f:d": "{}"}),
            json!({"f:a": {}, "f:b": {}, "f:c": {}, "f:d": {}}),
        ),
        (json!({"a": {}, "x:b": {}, "i:c": {}, "v:{": {}, "k:[]": {}, "f:d": {}}), json!({"f:d": {}})),
        (
            json!({".": 7, "f:a": {".": {}, "i:2": {}, "i:10": {}}}),
            json!({".": {}, "f:a": {".": {}, "i:2": {}, "i:10": {}}}),
        ),
        (json!({"f:a": {"b": {}}}), json!({})),
        (json!([{"f:a": {}}]), json!({})),
        (json!(null), json!({})),
    ] {
        assert_eq!(FieldSet::decode(&fields).encode(), wanted, "{fields}");
        let text = fields.to_string();
        assert_eq!(serde_json::from_str::<FieldSet>(&text).unwrap().encode(), wanted, "{text}");
        assert_eq!(FieldSet::read(&text).encode(), wanted, "{text}");
    }
}

#[test]
fn keys_that_are_written_in_two_ways_are_one() {
    let text = r#"{"k:{\"b\":1, \"a\":2}":{"f:x":{}},"k:{\"a\":2,\"b\":1}":{"f:y":{}}}"#;
    let set: FieldSet = serde_json::from_str(text).unwrap();
    assert_eq!(FieldSet::read(text), set);
    assert_eq!(set.encode(), json!({"k:{\"a\":2,\"b\":1}": {"f:x": {}, "f:y": {}}}));
}

#[test]
fn paths_read_as_the_api_shows_them() {
    let mut set = FieldSet::default();
    set.insert(&[
        Step::Field("spec".into()),
        Step::Field("containers".into()),
        Step::Key(r#"{"name":"c"}"#.into()),
    ]);
    assert_eq!(show(&set.paths()[0]), r#".spec.containers[name="c"]"#);
}

#[test]
fn sets_do_what_sets_of_paths_do() {
    let names = ["a", "b", "c"];
    let path = |number: usize| -> Path {
        let digits = [number % 4, number / 4 % 4, number / 16 % 4];
        let steps = digits.into_iter().take_while(|digit| *digit > 0);
        steps.map(|digit| Step::Field(names[digit - 1].into())).collect()
    };
    // As a generator of numbers that come again: what matters is that there are many sets.
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for _ in 0..500 {
        let mut pair = [(FieldSet::default(), BTreeSet::new()), (FieldSet::default(), BTreeSet::new())];
        for (set, plain) in &mut pair {
            for _ in 0..random() % 12 {
                let path = path(random() % 64);
                set.insert(&path);
                plain.insert(path);
            }
        }
        let [(one, plain_one), (other, plain_other)] = pair;
        let of = |set: &FieldSet| set.paths().into_iter().collect::<BTreeSet<_>>();
        assert_eq!(of(&one), plain_one);
        let mut all = one.clone();
        all.union(other.clone());
        assert_eq!(of(&all), plain_one.union(&plain_other).cloned().collect());
        assert_eq!(of(&one.difference(&other)), plain_one.difference(&plain_other).cloned().collect());
        assert_eq!(of(&one.intersection(&other)), plain_one.intersection(&plain_other).cloned().collect());
        let mut rest = one.clone();
        rest.subtract_below(&other);
        let is_left = |path: &&Path| !plain_other.iter().any(|gone| path.starts_with(gone));
        assert_eq!(of(&rest), plain_one.iter().filter(is_left).cloned().collect());
        let mut below = Below::default();
        for path in plain_one.iter().rev().filter(|path| !path.is_empty()) {
            let mut rest = FieldSet::default();
            rest.insert(&path[1..]);
            below.put(path[0].clone(), rest);
        }
        let mut again = FieldSet { is_member: plain_one.contains(&Path::new()), ..FieldSet::default() };
        again.add(below);
        assert_eq!(again, one);
        for path in &plain_one {
            all.remove(path);
        }
        assert_eq!(of(&all), plain_other.difference(&plain_one).cloned().collect());
    }
}

#[test]
fn sets_subtract_and_unite() {
    let path = |name: &str| vec![Step::Field("a".into()), Step::Field(name.into())];
    let (mut one, mut other) = (FieldSet::default(), FieldSet::default());
    one.insert(&path("x"));
    one.insert(&path("y"));
    other.insert(&path("y"));
    assert_eq!(one.difference(&other).paths(), [path("x")]);
    other.union(one.clone());
    assert!(other.has(&path("x")) && other.has_below(&path("x")[..1]));
    other.remove_below(&path("x")[..1]);
    assert!(other.is_empty());
}

#[test]
fn sets_are_read_the_same_however_they_are_written() {
    let keys = [
        r#"{"name":"a"}"#,
        r#"{"name":"a","port":1}"#,
        r#"{"port":1}"#,
        r#"{ "name":"a"}"#,
        r#"{"name": "a"}"#,
        r#"{"na\\"me":"a\\\\"}"#,
        r#"{"a":"b":"c"}"#,
        r#"{"":""}"#,
        r#"{"a":"\u00e9"}"#,
        r#"{"a":["b"]}"#,
        "{}",
        "[]",
        "",
    ];
    let names = ["f:a", "f:", "f:é\"\\\n", "v:\"x\"", "v: 1 ", "i:3", "i:x", ".", "", "f", "ab:c", "é:"]
        .map(str::to_owned);
    let names = names.into_iter().chain(keys.iter().map(|key| format!("k:{key}")));
    let all: Map<String, Value> =
        names.map(|name| (name, json!({".": {}, "f:below": {"i:0": {}}}))).collect();
    let deep = (0..200).fold(json!({}), |below, _| json!({"f:a": below}));
    for fields in [Value::Object(all), deep, json!({}), json!({"f:a": {}})] {
        let set = FieldSet::decode(&fields);
        let spaced = serde_json::to_string_pretty(&fields).unwrap();
        for text in [fields.to_string(), spaced] {
            let plain: FieldSet = serde_json::from_str(&text).unwrap_or_default();
            assert_eq!(FieldSet::read(&text), plain, "{text}");
            assert!(plain == set || plain.is_empty(), "{text}");
        }
    }
    for cut in
        ["", "{", "{\"f:a\"", "{\"f:a\":{}", "{\"f:a\":{},}", "{\"f:a\":{}}}", "{\"f:\u{1}\":{}}", "{\"f:a\\"]
    {
        assert!(FieldSet::read(cut).is_empty(), "{cut}");
    }
}

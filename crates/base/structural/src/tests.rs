//! Schemas by example: what is dropped, filled in and refused, and what rules say.

use crate::{
    Budget, Rules, Schema, check_rules, default, duplicates, fill, prune, validate, validate_update,
};
use hako_kube::field;
use serde_json::{Value, json};

fn schema(json: Value) -> Schema {
    Schema::read(&json, "schema").expect("a sound schema")
}

fn lines(faults: &[hako_error::FieldCause]) -> Vec<String> {
    faults.iter().map(field::line).collect()
}

/// A schema of a resource whose `spec` is `spec`.
fn resource(spec: Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

#[test]
fn what_the_schema_does_not_know_is_dropped() {
    let schema = schema(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "strict": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        }},
    }}));
    let mut value = json!({"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"a": "b"}}, "other": 1, "spec": {
        "known": "x", "unknown": {"deep": 1}, "map": {"k": {"a": 1, "b": 2}},
        "free": {"any": {"thing": 1}, "strict": {"a": 1, "b": 2}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "x": 1, "spec": {"y": 1}},
        "list": [{"a": 1, "b": 2}],
    }});
    let dropped = prune(&mut value, &schema);
    assert_eq!(
        dropped,
        [
            "other",
            "spec.free.strict.b",
            "spec.list[0].b",
            "spec.map.k.b",
            "spec.pod.spec.y",
            "spec.pod.x",
            "spec.unknown",
        ]
    );
    assert_eq!(
        value,
        json!({"apiVersion": "v1", "kind": "K", "metadata": {"labels": {"a": "b"}}, "spec": {
            "known": "x", "map": {"k": {"a": 1}}, "free": {"any": {"thing": 1}, "strict": {"a": 1}},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}, "list": [{"a": 1}],
        }})
    );
}

#[test]
fn defaults_are_filled_in_also_below_defaults_and_for_wrong_nulls() {
    let schema = schema(resource(json!({"type": "object", "default": {}, "properties": {
        "replicas": {"type": "integer", "default": 1},
        "maybe": {"type": "string", "nullable": true, "default": "x"},
        "plain": {"type": "string"},
        "ports": {"type": "array", "items": {"type": "object", "properties": {"protocol": {"type": "string", "default": "TCP"}}}},
        "levels": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
    }})));
    for (given, expected) in [
        (json!({}), json!({"spec": {"replicas": 1, "maybe": "x"}})),
        (
            json!({"spec": {"replicas": null, "maybe": null, "plain": null}}),
            json!({"spec": {"replicas": 1, "maybe": null}}),
        ),
        (
            json!({"spec": {"ports": [{}], "levels": {"a": null}}}),
            json!({"spec": {"ports": [{"protocol": "TCP"}], "levels": {"a": 7}, "replicas": 1, "maybe": "x"}}),
        ),
    ] {
        let mut value = given.clone();
        fill(&mut value, &schema);
        assert_eq!(value, expected, "{given}");
        default(&mut value, &schema);
        assert_eq!(value, expected, "twice is as once: {given}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn values_are_refused_in_the_words_of_the_original() {
    for (part, value, expected) in [
        (
            json!({"type": "integer"}),
            json!("x"),
            r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "string"}),
            json!(null),
            r#"spec: Invalid value: "null": spec in body must be of type string: "null""#,
        ),
        (
            json!({"type": "boolean"}),
            json!([]),
            r#"spec: Invalid value: "array": spec in body must be of type boolean: "array""#,
        ),
        (json!({"type": "object", "required": ["a"]}), json!({}), "spec.a: Required value"),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"spec: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            "spec: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("é"),
            r#"spec: Invalid value: "é": spec in body should be at least 2 chars long"#,
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            r#"spec: Invalid value: "b": spec in body should match '^a+$'"#,
        ),
        (
            json!({"type": "string", "format": "date"}),
            json!("b"),
            r#"spec: Invalid value: "b": spec in body must be of type date: "b""#,
        ),
        (
            json!({"type": "integer", "maximum": 5}),
            json!(6),
            "spec: Invalid value: 6: spec in body should be less than or equal to 5",
        ),
        (
            json!({"type": "integer", "minimum": 5, "exclusiveMinimum": true}),
            json!(5),
            "spec: Invalid value: 5: spec in body should be greater than 5",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(0.7),
            "spec: Invalid value: 0.7: spec in body should be a multiple of 0.5",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {}}),
            json!([1, 2]),
            "spec: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {}}),
            json!([]),
            "spec: Invalid value: 0: spec in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "uniqueItems": true}),
            json!([1, 1]),
            r#"spec: Invalid value: "": spec in body shouldn't contain duplicates"#,
        ),
        (
            json!({"type": "object", "maxProperties": 1}),
            json!({"a": 1, "b": 2}),
            "spec: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "spec: Invalid value: 0: spec in body should have at least 1 properties",
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}),
            json!([{"n": 1.5}]),
            r#"spec[0].n: Invalid value: "number": spec[0].n in body must be of type integer: "number""#,
        ),
        (
            json!({"type": "integer", "format": "int64"}),
            json!(9_223_372_036_854_775_808_u64),
            r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#,
        ),
        (
            json!({"type": "integer"}),
            json!(1e30),
            r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#,
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(-9_007_199_254_740_992.0),
            r#"spec: Invalid value: "number": spec in body must be of type integer,string: "number""#,
        ),
        (
            json!({"type": "object", "not": {"required": ["a"]}}),
            json!({"a": 1}),
            r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#,
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3_000_000_000_i64),
            r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec"#,
        ),
    ] {
        let schema = schema(resource(part.clone()));
        assert_eq!(lines(&validate(&json!({"spec": value}), &schema)), [expected], "{part} {value}");
    }
    for (part, value) in [
        (json!({"type": "string", "nullable": true}), json!(null)),
        (json!({"x-kubernetes-int-or-string": true}), json!("80%")),
        (json!({"x-kubernetes-int-or-string": true}), json!(80)),
        (json!({"type": "number"}), json!(1)),
        (json!({"type": "integer"}), json!(3.0)),
        (json!({"type": "integer"}), json!(i64::MIN)),
        (json!({"type": "integer"}), json!(9_007_199_254_740_991.0)),
        (json!({"type": "number"}), json!(1e30)),
        (json!({"type": "string", "format": "made-up"}), json!("x")),
        (json!({"type": "integer", "enum": [1, 2]}), json!(2)),
    ] {
        let schema = schema(resource(part.clone()));
        assert_eq!(lines(&validate(&json!({"spec": value}), &schema)), [""; 0], "{part} {value}");
    }
}

#[test]
fn alternatives_say_what_the_closest_lacks() {
    let of = |part: Value, value: Value| lines(&validate(&json!({"spec": value}), &schema(resource(part))));
    let one = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    assert_eq!(of(one.clone(), json!({"a": 1})), [""; 0]);
    assert_eq!(
        of(one.clone(), json!({"a": 1, "b": 1})),
        [
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ]
    );
    assert_eq!(
        of(one, json!({})),
        [
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
            "spec.a: Required value",
        ]
    );
    let any = json!({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]});
    assert_eq!(of(any.clone(), json!(7)), [""; 0]);
    assert_eq!(
        of(any, json!(3)),
        [
            r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
            "spec: Invalid value: 3: spec in body should be greater than or equal to 5",
        ]
    );
    let all = json!({"type": "integer", "allOf": [{"minimum": 5}, {"maximum": 9}]});
    assert_eq!(
        of(all, json!(3)),
        [
            "spec: Invalid value: 3: spec in body should be greater than or equal to 5",
            r#"<nil>: Invalid value: "": "spec" must validate all the schemas (allOf)"#,
        ]
    );
}

#[test]
fn alternatives_that_multiply_are_given_up() {
    let mut part = json!({"type": "integer", "minimum": 5});
    for _ in 0..10 {
        part = json!({"anyOf": [part.clone(), part.clone()]});
    }
    let list = json!({"type": "array", "items": part});
    let faults = validate(&json!({"spec": vec![1; 100]}), &schema(resource(list)));
    assert!(lines(&faults)[0].contains("takes more than 100000 alternatives"), "{:?}", lines(&faults));
}

#[test]
fn what_was_wrong_before_and_has_not_changed_is_let_be() {
    let schema = schema(resource(json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "integer"},
        "hosts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer", "maximum": 9}}}},
    }})));
    let old = json!({"spec": {"a": "long", "b": 1, "hosts": [{"name": "x", "port": 80}]}});
    let moved = json!({"spec": {"a": "long", "b": 2, "hosts": [{"name": "y", "port": 1}, {"name": "x", "port": 80}]}});
    assert_eq!(lines(&validate_update(&moved, &old, &schema)), [""; 0]);
    let changed = json!({"spec": {"a": "longer", "b": 2, "hosts": [{"name": "x", "port": 81}]}});
    assert_eq!(lines(&validate_update(&changed, &old, &schema)).len(), 2);
}

#[test]
fn sets_and_lists_by_key_hold_nothing_twice() {
    let schema = schema(resource(json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}}},
    }})));
    let value = json!({"spec": {"set": ["a", "b", "a", "a"],
        "map": [{"port": 1}, {"port": 1, "protocol": "UDP"}, {"port": 1, "protocol": "TCP", "x": 1}]}});
    assert_eq!(
        lines(&duplicates(&value, &schema)),
        [
            r#"spec.set[2]: Duplicate value: "a""#,
            r#"spec.map[2]: Duplicate value: {"port":1,"protocol":"TCP"}"#,
        ]
    );
}

#[test]
fn patterns_and_depths_that_explode_are_refused() {
    let faults = Schema::read(&resource(json!({"type": "string", "pattern": "("})), "schema").unwrap_err();
    assert!(
        lines(&faults)[0].starts_with("schema.properties[spec].pattern: Invalid value"),
        "{:?}",
        lines(&faults)
    );
    assert!(
        Schema::read(&resource(json!({"type": "string", "pattern": "((a{999}){999}){999}"})), "schema")
            .is_err()
    );
    let mut deep = json!({"type": "string"});
    for _ in 0..200 {
        deep = json!({"type": "array", "items": deep});
    }
    assert!(lines(&Schema::read(&deep, "schema").unwrap_err())[0].contains("at most 100 levels"));
}

fn with_rules(rules: Value) -> Schema {
    schema(resource(json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string", "maxLength": 10},
        "hosts": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "port": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.port >= oldSelf.port", "message": "ports only grow"}]}},
    }})))
}

fn rules_say(rules: Value, value: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = with_rules(rules);
    assert_eq!(lines(&check_rules(&schema, "schema")), [""; 0]);
    let outcome = Rules::compile(&schema).evaluate(value, old, &mut Budget::default());
    outcome
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}"))
        .chain(lines(&outcome.faults))
        .collect()
}

#[test]
fn rules_see_durations_in_days_and_words() {
    let rule = json!([{"rule": "self.wait == duration('36h')"}]);
    let schema = schema(resource(json!({"type": "object", "x-kubernetes-validations": rule, "properties": {
        "wait": {"type": "string", "format": "duration"}}})));
    let of = |wait: &str| {
        let value = json!({"spec": {"wait": wait}});
        lines(&Rules::compile(&schema).evaluate(&value, None, &mut Budget::default()).faults)
    };
    assert_eq!(of("1d 12 hours"), [""; 0]);
    assert_eq!(of("1d"), ["spec: Invalid value: failed rule: self.wait == duration('36h')"]);
}

#[test]
fn rules_are_evaluated_on_their_part_with_the_old_one() {
    let value = json!({"spec": {"min": 3, "max": 2, "name": "x"}});
    for (rules, expected) in [
        (json!([{"rule": "self.min <= self.max"}]), "spec: Invalid value: failed rule: self.min <= self.max"),
        (json!([{"rule": "self.min <= self.max", "message": "no range"}]), "spec: Invalid value: no range"),
        (
            json!([{"rule": "self.min <= self.max", "messageExpression": "'%d over %d'.format([self.min, self.max])"}]),
            "spec: Invalid value: 3 over 2",
        ),
        (
            json!([{"rule": "self.min <= self.max", "fieldPath": ".max", "reason": "FieldValueForbidden", "message": "no"}]),
            "spec.max: Forbidden: no",
        ),
        (
            json!([{"rule": "self.hosts.size() > 0"}]),
            "spec: Invalid value: \"object\": no such key: hosts evaluating rule: self.hosts.size() > 0",
        ),
    ] {
        assert_eq!(rules_say(rules, &value, None), [expected]);
    }
    let grown = |port: i64| json!({"spec": {"min": 1, "max": 2, "hosts": [{"name": "a", "port": port}]}});
    assert_eq!(rules_say(json!([]), &grown(1), None), [""; 0], "nothing to compare with");
    assert_eq!(rules_say(json!([]), &grown(2), Some(&grown(1))), [""; 0]);
    assert_eq!(
        rules_say(json!([]), &grown(1), Some(&grown(2))),
        ["spec.hosts[0]: Invalid value: ports only grow"]
    );
    let optional = json!([{"rule": "oldSelf.hasValue() || self.min == 0", "optionalOldSelf": true, "message": "new ones begin at 0"}]);
    assert_eq!(rules_say(optional.clone(), &value, None), ["spec: Invalid value: new ones begin at 0"]);
    assert_eq!(rules_say(optional, &value, Some(&value)), [""; 0]);
    let unchanged =
        rules_say(json!([{"rule": "self.min <= self.max", "message": "no range"}]), &value, Some(&value));
    assert_eq!(unchanged, ["warning: spec: Invalid value: no range"]);
}

#[test]
fn the_budget_ends_all_rules() {
    let slow = "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a + b + c + d > 0))))";
    let schema = with_rules(json!(vec![json!({"rule": slow, "message": "m"}); 120]));
    let outcome =
        Rules::compile(&schema).evaluate(&json!({"spec": {"min": 1}}), None, &mut Budget::default());
    assert_eq!(outcome.faults.len(), 1);
    assert!(lines(&outcome.faults)[0].contains("running out of cost budget"), "{:?}", lines(&outcome.faults));
}

#[test]
fn rules_of_a_definition_are_checked_with_their_paths_and_costs() {
    let of = |rules: Value| lines(&check_rules(&with_rules(rules), "schema"));
    let path = "schema.properties[spec].x-kubernetes-validations[0]";
    for (rule, at, fault) in [
        (json!({"rule": "self.none > 1"}), "rule", "undefined field 'none'"),
        (json!({"rule": "self.min"}), "rule", "cel expression must evaluate to a bool"),
        (json!({"rule": " "}), "rule", "Required value: rule is not specified"),
        (
            json!({"rule": "true", "messageExpression": "1"}),
            "messageExpression",
            "messageExpression must evaluate to a string",
        ),
        (json!({"rule": "true\n"}), "", ""),
        (
            json!({"rule": "true ||\n true"}),
            "message",
            "message must be specified if rule contains line breaks",
        ),
        (json!({"rule": "true", "reason": "X"}), "reason", "Unsupported value: \"X\""),
        (json!({"rule": "true", "fieldPath": ".none"}), "fieldPath", "must be a valid path"),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            "optionalOldSelf",
            "may not be set if oldSelf is not used in rule",
        ),
    ] {
        let found = of(json!([rule]));
        match fault {
            "" => assert_eq!(found, [""; 0], "{rule}"),
            fault => {
                assert!(
                    found[0].starts_with(&format!("{path}.{at}: ")) && found[0].contains(fault),
                    "{rule}: {found:?}"
                );
            }
        }
    }
    let unlimited = schema(resource(json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]})));
    let found = lines(&check_rules(&unlimited, "schema"));
    assert!(
        found[0].contains("Forbidden: estimated rule cost exceeds budget by factor of more than 100x"),
        "{found:?}"
    );
    let uncorrelated = schema(resource(json!({"type": "array", "maxItems": 3, "items": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}})));
    let found = lines(&check_rules(&uncorrelated, "schema"));
    assert!(
        found[0].contains("oldSelf cannot be used on the uncorrelatable portion of the schema"),
        "{found:?}"
    );
}

#[test]
fn the_faults_of_one_object_have_an_end_whatever_its_names() {
    let schema = schema(resource(json!({"type": "object", "additionalProperties": {"type": "array",
        "x-kubernetes-list-type": "set", "items": {"type": "integer"}}})));
    let mut value = json!({"spec": {"n".repeat(100_000): vec!["x"; 2_000]}});
    let found = validate(&value, &schema);
    assert!(found.len() < 15, "{}", found.len());
    assert!(lines(&found)[found.len() - 1].contains("there is more wrong than is shown"));
    assert_eq!(duplicates(&value, &schema).len(), 1);
    value["spec"]["n"] = json!(vec![json!({}); 1]);
    let closed = super::Schema::read(&resource(json!({"type": "object"})), "s").unwrap();
    assert_eq!(prune(&mut value, &closed).len(), 2);
}

#[test]
fn large_objects_are_no_alternatives_and_long_lists_find_their_old_items_at_once() {
    let schema = schema(resource(json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object",
            "properties": {"k": {"type": "integer"}, "v": {"type": "integer", "maximum": 1, "enum": [1, 2]}}}})));
    let items: Vec<Value> = (0..50_000).map(|at| json!({"k": at, "v": 2})).collect();
    let (old, mut new) = (json!({"spec": items}), json!({"spec": items}));
    new["spec"].as_array_mut().unwrap().reverse();
    assert_eq!(lines(&validate_update(&new, &old, &schema)), [""; 0]);
    new["spec"][0]["v"] = 3.into();
    assert_eq!(validate_update(&new, &old, &schema).len(), 2);
}

#[test]
fn values_of_atomic_maps_have_no_counterparts() {
    let schema =
        schema(resource(json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
        "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}}})));
    let found = lines(&check_rules(&schema, "s"));
    assert!(
        found[0].ends_with(
            "oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[spec]"
        ),
        "{found:?}"
    );
    let outcome = Rules::compile(&schema).evaluate(
        &json!({"spec": {"a": 1}}),
        Some(&json!({"spec": {"a": 2}})),
        &mut Budget::default(),
    );
    assert_eq!(lines(&outcome.faults), [""; 0]);
}

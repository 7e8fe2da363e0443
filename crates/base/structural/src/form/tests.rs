//! Schemas that are refused, each with the path and the words of upstream.

use super::check_schema;
use crate::patterns::Patterns;
use hako_kube::field;
use serde_json::{Value, json};

fn faults_of(schema: &Value, has_status: bool) -> Vec<String> {
    let found = check_schema(schema, "s", has_status, &mut Patterns::default()).err().unwrap_or_default();
    found.iter().map(field::line).collect()
}

fn faults(schema: &Value) -> Vec<String> {
    faults_of(schema, false)
}

/// What is wrong with a resource that has `part` as its `a`.
fn of_part(part: Value) -> Vec<String> {
    faults(&json!({"type": "object", "properties": {"a": part}}))
}

#[track_caller]
fn refused<const N: usize>(cases: [(Value, &str); N]) {
    for (part, expected) in cases {
        assert_eq!(of_part(part.clone()), [format!("s.properties[a]{expected}")], "{part}");
    }
}

#[test]
fn conditions_say_nothing_of_what_values_there_are() {
    for (name, value, word) in [
        ("type", json!("string"), "must be empty"),
        ("title", json!("x"), "must be empty"),
        ("default", json!(""), "must be undefined"),
        ("nullable", json!(true), "must be false"),
        ("additionalProperties", json!({}), "must be undefined"),
        ("additionalProperties", json!(true), "must be undefined"),
        ("x-kubernetes-int-or-string", json!(true), "must be false"),
        ("x-kubernetes-preserve-unknown-fields", json!(true), "must be false"),
        ("x-kubernetes-embedded-resource", json!(true), "must be false"),
        ("x-kubernetes-validations", json!([{"rule": "true"}]), "must be empty"),
    ] {
        let condition = json!({"not": {"allOf": [{"properties": {"b": {"items": {name: value}}}}]}});
        let mut schema = json!({"type": "object", "properties": {"a": {"type": "object"}}});
        schema["properties"]["a"]["not"] = condition["not"].clone();
        let at = "s.properties[a].not.allOf[0].properties[b].items";
        assert_eq!(faults(&schema), [format!("{at}.{name}: Forbidden: {word} to be structural")]);
    }
    let free =
        json!({"type": "string", "anyOf": [{"minLength": 1}], "not": {"nullable": false, "description": ""}});
    assert_eq!(of_part(free), [""; 0]);
    refused([(
        json!({"type": "object", "oneOf": [{"properties": {"metadata": {}}}]}),
        ".oneOf[0].properties[metadata]: Forbidden: must not be specified in a nested context",
    )]);
}

#[test]
fn numbers_or_texts_are_told_by_one_condition_and_no_other() {
    let types = json!([{"type": "integer"}, {"type": "string"}]);
    for part in [json!({"anyOf": types}), json!({"allOf": [{"anyOf": types}, {"pattern": "x"}]})] {
        let mut part = part;
        part["x-kubernetes-int-or-string"] = true.into();
        assert_eq!(of_part(part), [""; 0]);
    }
    let turned =
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "string"}, {"type": "integer"}]});
    assert_eq!(of_part(turned).len(), 2);
    refused([
        (
            json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}),
            ".x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true",
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "allOf": [{"pattern": "x"}, {"anyOf": [{"type": "string"}]}]}),
            ".allOf[1].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
    ]);
}

#[test]
fn what_conditions_on_the_whole_speak_of_is_described() {
    let mut schema = json!({
        "type": "object", "properties": {"spec": {"type": "object", "properties": {"b": {"type": "array", "items": {"type": "string"}}}}},
        "anyOf": [{"properties": {"spec": {"properties": {"b": {"items": {"minLength": 1}}}}}}],
    });
    assert_eq!(faults(&schema), [""; 0]);
    schema["anyOf"][0]["properties"]["spec"]["properties"]["c"] = json!({"minimum": 1});
    let there = "s.properties[spec].properties[c]";
    let here = "s.anyOf[0].properties[spec].properties[c]";
    assert_eq!(faults(&schema), [format!("{there}: Required value: because it is defined in {here}")]);
}

#[test]
fn types_and_metadata_of_resources_are_not_for_their_schema() {
    let root = |properties: Value| faults(&json!({"type": "object", "properties": properties}));
    assert_eq!(
        root(
            json!({"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}}})
        ),
        [""; 0]
    );
    let only =
        "must not specify anything other than name and generateName, but metadata is implicitly specified";
    for metadata in [
        json!({"type": "object", "properties": {"labels": {"type": "object"}}}),
        json!({"type": "object", "required": ["name"]}),
    ] {
        assert_eq!(
            root(json!({"metadata": metadata})),
            [format!("s.properties[metadata]: Forbidden: {only}")]
        );
    }
    for (properties, expected) in [
        (
            json!({"kind": {"type": "integer"}}),
            "s.properties[kind].type: Invalid value: \"integer\": must be string",
        ),
        (
            json!({"metadata": {"type": "string"}}),
            "s.properties[metadata].type: Invalid value: \"string\": must be object",
        ),
        (
            json!({"apiVersion": {"type": "string", "default": "v1"}}),
            "s.properties[apiVersion].default: Forbidden: must not be set in top-level apiVersion",
        ),
    ] {
        assert_eq!(root(properties), [expected]);
    }
    refused([
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true}),
            ".properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
                "additionalProperties": {"type": "string"}}),
            ".additionalProperties: Forbidden: must not be used if x-kubernetes-embedded-resource is set",
        ),
        (
            json!({"x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            ".type: Required value: must be object if x-kubernetes-embedded-resource is true",
        ),
    ]);
    let open = json!({"type": "object", "additionalProperties": {"type": "string"}});
    assert_eq!(faults(&open), ["s.additionalProperties: Forbidden: must not be used at the root"]);
}

#[test]
fn a_status_that_is_checked_alone_is_not_checked_by_the_whole() {
    let schema = json!({"type": "object", "properties": {"status": {"type": "object"}}, "minProperties": 1});
    assert_eq!(faults(&schema), [""; 0]);
    let found = faults_of(&schema, true);
    assert!(found[0].starts_with("s: Invalid value: only [Description Type Format"), "{found:?}");
    assert!(found[0].contains("if the status subresource is enabled, not minProperties"), "{found:?}");
}

#[test]
fn keys_of_lists_are_there_and_have_one_value() {
    let list = |sharing: Value| {
        let mut list = json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "o": {"type": "object"}}}});
        for (name, value) in sharing.as_object().unwrap() {
            list[name] = value.clone();
        }
        list
    };
    assert_eq!(of_part(list(json!({}))), [""; 0]);
    let keys = "x-kubernetes-list-map-keys";
    refused([
        (
            list(json!({"items": {"type": "object", "properties": {"k": {"type": "string"}}}})),
            ".items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            list(json!({keys: []})),
            ".x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            list(json!({keys: ["none"]})),
            ".x-kubernetes-list-map-keys: Invalid value: [\"none\"]: entries must all be names of item properties",
        ),
        (
            list(json!({keys: ["k", "k"]})),
            ".x-kubernetes-list-map-keys: Invalid value: [\"k\",\"k\"]: must not contain duplicate entries",
        ),
        (
            list(json!({"x-kubernetes-list-type": "set", "items": {"type": "string"}})),
            ".x-kubernetes-list-type: Invalid value: \"set\": must be map if x-kubernetes-list-map-keys is non-empty",
        ),
        (
            list(json!({"items": {"type": "string"}})),
            ".items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}),
            ".items.x-kubernetes-map-type: Invalid value: \"\": must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": true}}),
            ".items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "bag", "items": {"type": "string"}}),
            ".x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\"",
        ),
    ]);
}

#[test]
fn what_is_filled_in_is_itself_sound() {
    for part in [
        json!({"type": "string", "default": "x", "maxLength": 2}),
        json!({"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}}),
        json!({"type": "integer", "default": 3, "x-kubernetes-validations": [{"rule": "self > 2"}]}),
    ] {
        assert_eq!(of_part(part), [""; 0]);
    }
    refused([
        (
            json!({"type": "integer", "default": "x"}),
            ".default: Invalid value: \"string\": must be of type integer: \"string\"",
        ),
        (
            json!({"type": "object", "default": {"b": 1, "c": 2}, "properties": {"b": {"type": "integer"}}}),
            ".default: Invalid value: {\"b\":1,\"c\":2}: must not have unknown fields",
        ),
        (
            json!({"type": "array", "default": [1], "items": {"type": "integer", "minimum": 2}}),
            ".default[0]: Invalid value: 1: [0] in body should be greater than or equal to 2",
        ),
        (
            json!({"type": "integer", "default": 1, "x-kubernetes-validations": [{"rule": "self > 2", "message": "too small"}]}),
            ".default: Invalid value: 1: too small",
        ),
    ]);
}

#[test]
fn defaults_around_each_other_are_checked_within_bounds() {
    let rule = json!({"rule": "true"});
    let mut part = json!({"type": "object", "x-kubernetes-validations": vec![rule; 200]});
    for _ in 0..60 {
        part = json!({"type": "object", "default": {}, "properties": {"b": part}});
    }
    let found = of_part(part);
    assert!(found[0].contains("checking the defaults of the schema takes more than 5000 rules"), "{found:?}");
}

#[test]
fn what_is_told_of_a_schema_with_long_names_has_an_end() {
    let empty: serde_json::Map<String, Value> = (0..2_000).map(|at| (at.to_string(), json!({}))).collect();
    let schema = json!({"type": "object", "properties": {"n".repeat(100_000): {"type": "object", "properties": empty}}});
    let found = faults(&schema);
    assert!(found.len() < 15, "{}", found.len());
    assert!(found[found.len() - 1].contains("there is more wrong than is shown"));
}

#[test]
fn the_dearest_rules_are_named_when_all_together_cost_too_much() {
    let list = |max: u64| {
        json!({"type": "array", "maxItems": max, "items": {"type": "string", "maxLength": 10},
        "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]})
    };
    let mut properties: serde_json::Map<String, Value> =
        (0..20).map(|at| (format!("l{at}"), list(800))).collect();
    properties.insert("dear".into(), list(950));
    let found = faults(&json!({"type": "object", "properties": properties}));
    let named = "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    assert!(
        found[0].starts_with("s.properties[dear].x-kubernetes-validations[0].rule: ")
            && found[0].ends_with(named),
        "{found:?}"
    );
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[4].starts_with("s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of"), "{found:?}");
}

//! Definitions of custom resources.

use super::samples::{change, changed, refused, sample};
use super::*;

const CRD: &str = "CustomResourceDefinition";
const VERSION: &str = "spec.versions.0";

#[test]
fn a_definition_gets_names_and_is_accepted_by_nobody_yet() {
    let made = created(CRD, sample(CRD));
    assert_eq!(
        made["spec"]["names"],
        json!({"plural": "samples", "kind": "Sample", "singular": "sample", "listKind": "SampleList"})
    );
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(
        made["status"],
        json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]})
    );
    let mut dated = made;
    dated["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(cells(CRD, &dated), ["samples.example.com", "2026-01-01T00:00:00Z"]);
}

#[test]
fn a_definition_is_named_for_what_it_defines() {
    refused(
        CRD,
        [
            (
                "metadata.name",
                json!("a.b"),
                "metadata.name: Invalid value: \"a.b\": must be spec.names.plural+\".\"+spec.group",
            ),
            (
                "spec.group",
                json!("x"),
                "spec.group: Invalid value: \"x\": should be a domain with at least one dot",
            ),
            ("spec.group", Value::Null, "spec.group: Required value"),
            ("spec.scope", Value::Null, "spec.scope: Required value"),
            (
                "spec.scope",
                json!("x"),
                "spec.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            ("spec.names.kind", json!(""), "spec.names.kind: Required value"),
            (
                "spec.names.listKind",
                json!("Sample"),
                "spec.names.listKind: Invalid value: \"Sample\": kind and listKind may not be the same",
            ),
        ],
    );
    let mut object = sample(CRD);
    object["spec"]["names"]["kind"] = "1A".into();
    object["spec"]["names"]["shortNames"] = json!(["A"]);
    let found = faults(CRD, object);
    let label = "a DNS-1035 label must consist of lower case";
    for expected in [
        format!(
            "spec.names.kind: Invalid value: \"1A\": may have mixed case, but should otherwise match: {label}"
        ),
        format!("spec.names.shortNames[0]: Invalid value: \"A\": {label}"),
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(&expected)), "{expected}\nnot in {found:#?}");
    }
}

#[test]
fn one_version_is_stored_and_all_have_other_names() {
    let with = |change: Value| {
        let mut second = sample(CRD)["spec"]["versions"][0].clone();
        merge(&mut second, change);
        let versions = json!([sample(CRD)["spec"]["versions"][0], second]);
        faults(CRD, changed(CRD, &[("spec.versions", versions)]))
    };
    assert_eq!(with(json!({"name": "v2", "storage": false})), [""; 0]);
    assert!(
        with(json!({"name": "v2"}))
            .iter()
            .any(|fault| { fault.ends_with("must have exactly one version marked as storage version") })
    );
    assert!(with(json!({"storage": false})).iter().any(|fault| {
        fault.starts_with("spec.versions: Invalid value: [")
            && fault.ends_with("must contain unique version names")
    }));
}

#[test]
fn every_version_has_a_schema_in_which_values_have_types() {
    let schema = "spec.validation.openAPIV3Schema";
    let of = |change: Value, expected: &str| {
        refused(
            CRD,
            [(&format!("{VERSION}.schema.openAPIV3Schema"), change, &format!("{schema}{expected}"))],
        );
    };
    refused(
        CRD,
        [(
            &format!("{VERSION}.schema"),
            Value::Null,
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        )],
    );
    of(json!({}), ".type: Required value: must not be empty at the root");
    of(json!({"type": "array"}), ".type: Invalid value: \"array\": must be object at the root");
    of(
        json!({"type": "object", "properties": {"spec": {}}}),
        ".properties[spec].type: Required value: must not be empty for specified object fields",
    );
    of(
        json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
        ".properties[a].items.type: Required value: must not be empty for specified array items",
    );
    of(
        json!({"type": "object", "properties": {"a": {"type": "array"}}}),
        ".properties[a].items: Required value: must be specified",
    );
    of(
        json!({"type": "object", "properties": {"a": {"type": "null"}}}),
        ".properties[a].type: Unsupported value: \"null\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
    );
    of(
        json!({"type": "object", "properties": {"a": {"type": "string", "$ref": "x"}}}),
        ".properties[a].$ref: Forbidden: $ref is not supported",
    );
    of(
        json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-list-type": "set"}}}),
        ".properties[a].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified",
    );
    of(
        json!({"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"type": "string"}]}}}),
        ".properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
    );
    of(
        json!({"type": "object", "nullable": true}),
        ".nullable: Forbidden: nullable cannot be true at the root",
    );
}

#[test]
fn values_that_are_numbers_or_texts_or_anything_need_no_type() {
    let free = json!({"type": "object", "properties": {
        "a": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "b": {"x-kubernetes-preserve-unknown-fields": true},
        "c": {"type": "object", "additionalProperties": {"type": "string"}},
        "d": {"type": "object", "x-kubernetes-map-type": "atomic", "oneOf": [{"required": ["e"]}],
            "properties": {"e": {"type": "string", "not": {"enum": ["x"]}}}},
    }});
    let free = changed(CRD, &[(&format!("{VERSION}.schema.openAPIV3Schema"), free)]);
    assert_eq!(faults(CRD, free), [""; 0]);
}

#[test]
fn what_versions_have_apart_is_named_by_version() {
    let mut versions = json!([sample(CRD)["spec"]["versions"][0], sample(CRD)["spec"]["versions"][0]]);
    versions[1]["name"] = "v2".into();
    versions[1]["storage"] = false.into();
    versions[1]["schema"]["openAPIV3Schema"] = json!({});
    versions[1]["additionalPrinterColumns"] = json!([{"name": "a", "type": "string"}]);
    assert_eq!(
        faults(CRD, changed(CRD, &[("spec.versions", versions)])),
        [
            "spec.versions[1].schema.openAPIV3Schema.type: Required value: must not be empty at the root",
            "spec.versions[1].additionalPrinterColumns[0].JSONPath: Required value",
        ]
    );
}

#[test]
fn groups_of_kubernetes_itself_are_for_what_is_approved() {
    let mut object = sample(CRD);
    object["metadata"]["name"] = "samples.x.k8s.io".into();
    object["spec"]["group"] = "x.k8s.io".into();
    let at = "metadata.annotations[api-approved.kubernetes.io]";
    let head = "protected groups must have approval annotation \"api-approved.kubernetes.io\"";
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    assert_eq!(faults(CRD, object.clone()), [format!("{at}: Required value: {head}, {see}")]);
    let mut with = |value: &str| {
        object["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": value});
        faults(CRD, object.clone())
    };
    assert_eq!(
        with("yes"),
        [format!(
            "{at}: Invalid value: \"yes\": {head} with either a URL or a reason starting with \"unapproved\", {see}"
        )]
    );
    assert_eq!(with("https://github.com/kubernetes/kubernetes/pull/1"), [""; 0]);
    assert_eq!(with("unapproved, experimental-only"), [""; 0]);
}

#[test]
fn columns_parts_and_warnings_of_a_version_are_whole() {
    let at = |name: &str| format!("{VERSION}.{name}");
    refused(
        CRD,
        [
            (
                &at("additionalPrinterColumns"),
                json!([{"name": "a", "jsonPath": ".a"}]),
                "spec.additionalPrinterColumns[0].type: Required value: must be one of boolean,date,integer,number,string",
            ),
            (
                &at("additionalPrinterColumns"),
                json!([{"name": "a", "type": "x", "jsonPath": ".a"}]),
                "spec.additionalPrinterColumns[0].type: Invalid value: \"x\": must be one of boolean,date,integer,number,string",
            ),
            (
                &at("additionalPrinterColumns"),
                json!([{"name": "a", "type": "string"}]),
                "spec.additionalPrinterColumns[0].JSONPath: Required value",
            ),
            (
                &at("subresources"),
                json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.b"}}),
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.a\": should be a json path under .spec",
            ),
            (
                &at("deprecationWarning"),
                json!("old"),
                "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
            ),
        ],
    );
}

#[test]
fn fields_that_objects_are_selected_by_are_texts_numbers_or_flags_of_the_schema() {
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"}, "o": {"type": "object"}, "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        }},
    }});
    let with = |paths: &[&str]| {
        let fields: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
        let version = |name: &str| format!("{VERSION}.{name}");
        let changes = [
            (version("schema.openAPIV3Schema"), schema.clone()),
            (version("selectableFields"), fields.into()),
        ];
        faults(CRD, changed(CRD, &changes.each_ref().map(|(path, value)| (path.as_str(), value.clone()))))
    };
    assert_eq!(with(&[".spec.a", ".spec.m.x"]), [""; 0]);
    for (paths, expected) in [
        (&[""][..], "[0].jsonPath: Required value"),
        (
            &["spec.a"],
            "[0].jsonPath: Invalid value: \"spec.a\": is an invalid path: expected [ or . but got: spec.a",
        ),
        (
            &[".spec.none"],
            "[0].jsonPath: Invalid value: \".spec.none\": is an invalid path: does not refer to a valid field",
        ),
        (
            &[".spec.m['x']"],
            "[0].jsonPath: Invalid value: \".spec.m['x']\": is an invalid path: array notation is not allowed",
        ),
        (
            &[".spec.o"],
            "[0].jsonPath: Invalid value: \".spec.o\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
        ),
        (
            &[".metadata.name"],
            "[0].jsonPath: Invalid value: \".metadata.name\": must not point to fields in metadata",
        ),
        (&[".spec.a", ".spec.a"], "[1].jsonPath: Duplicate value: \".spec.a\""),
        (
            &[
                ".spec.m.a",
                ".spec.m.b",
                ".spec.m.c",
                ".spec.m.d",
                ".spec.m.e",
                ".spec.m.f",
                ".spec.m.g",
                ".spec.m.h",
                ".spec.m.i",
            ],
            ": Too many: 9: must have at most 8 items",
        ),
    ] {
        assert_eq!(with(paths), [format!("spec.selectableFields{expected}")]);
    }
}

#[test]
fn a_schema_is_checked_when_it_changes() {
    let mut old = created(CRD, sample(CRD));
    // As an earlier release may have let it pass.
    old["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}});
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(update_faults(CRD, &old, &new), [""; 0]);
    new["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "changed".into();
    let found = update_faults(CRD, &old, &new);
    assert!(
        found[0].starts_with("spec.validation.openAPIV3Schema.properties[a].default: Invalid value"),
        "{found:?}"
    );
}

#[test]
fn conversion_is_by_nobody_or_by_a_webhook() {
    refused(
        CRD,
        [
            (
                "spec.conversion",
                json!({"strategy": "x"}),
                "spec.conversion.strategy: Unsupported value: \"x\": supported values: \"None\", \"Webhook\"",
            ),
            (
                "spec.conversion",
                json!({"strategy": "Webhook"}),
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            ),
            (
                "spec.conversion",
                json!({"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
            ),
            (
                "spec.conversion",
                json!({"strategy": "Webhook", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v2"]}}),
                "spec.conversion.conversionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
            ),
            (
                "spec.preserveUnknownFields",
                json!(true),
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            ),
        ],
    );
}

#[test]
fn versions_once_stored_stay_named() {
    let made = created(CRD, sample(CRD));
    let mut new = made.clone();
    new["spec"]["versions"][0]["storage"] = false.into();
    let mut second = sample(CRD)["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    new["spec"]["versions"].as_array_mut().unwrap().push(second);
    (row(CRD).prepare_update)(&mut new, &made);
    assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!((update_faults(CRD, &made, &new), &new["metadata"]["generation"]), (vec![], &json!(2)));
    new["spec"]["versions"].as_array_mut().unwrap().remove(0);
    assert_eq!(
        update_faults(CRD, &made, &new),
        [
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
        ]
    );
}

#[test]
fn what_clients_use_does_not_change_its_path() {
    let old = created(CRD, sample(CRD));
    let mut new = old.clone();
    change(&mut new, "spec.scope", json!("Cluster"));
    assert_eq!(update_faults(CRD, &old, &new), [""; 0]);
    let mut used = old.clone();
    used["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    assert_eq!(
        update_faults(CRD, &used, &new),
        ["spec.scope: Invalid value: \"Cluster\": field is immutable"]
    );
    change(&mut new, "spec.group", json!("other.com"));
    change(&mut new, "metadata.name", json!("samples.other.com"));
    let found = update_faults(CRD, &old, &new);
    assert!(
        found.contains(&"spec.group: Invalid value: \"other.com\": field is immutable".to_owned()),
        "{found:?}"
    );
}

#[test]
fn rules_of_a_schema_compile_and_have_their_price() {
    let schema = |part: Value| {
        let path = format!("{VERSION}.schema.openAPIV3Schema");
        faults(CRD, changed(CRD, &[(&path, json!({"type": "object", "properties": {"spec": part}}))]))
    };
    let limited = |rule: &str| {
        json!({"type": "array", "maxItems": 9, "items": {"type": "string", "maxLength": 9},
            "x-kubernetes-validations": [{"rule": rule}]})
    };
    assert_eq!(schema(limited("self.all(x, self.exists_one(y, x == y))")), [""; 0]);
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: ";
    for (part, fault) in [
        (
            limited("self.none"),
            "Invalid value: {\"rule\":\"self.none\"}: compilation failed: ERROR: <input>:1:5: type 'list(string)'",
        ),
        (limited("size(self)"), "cel expression must evaluate to a bool"),
        (
            json!({"type": "array", "items": {"type": "string"},
                "x-kubernetes-validations": [{"rule": "self.all(x, self.exists_one(y, x == y))"}]}),
            "Forbidden: estimated rule cost exceeds budget by factor of more than 100x",
        ),
    ] {
        let found = schema(part);
        assert!(found[0].starts_with(at) && found[0].contains(fault), "{found:?}");
    }
}

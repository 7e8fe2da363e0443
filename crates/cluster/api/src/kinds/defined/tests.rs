use super::json_path::JsonPath;
use super::*;
use crate::kinds::PartWrite;
use crate::openapi::Dialect;
use crate::patch::fields::FieldSet;
use crate::schema::model;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A definition with two versions that are alike but for their schemas.
fn definition(stored: &str, v1: Value, v2: Value) -> Arc<Definition> {
    let version = |name: &str, spec: Value| {
        json!({
            "name": name, "served": true, "storage": name == stored,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": {
                "type": "object", "properties": {"replicas": {"type": "integer"}}}}}},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
            "selectableFields": [{"jsonPath": ".spec.color"}],
        })
    };
    read(json!([version("v1", v1), version("v2", v2)]))
}

fn read(versions: Value) -> Arc<Definition> {
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"group": "stable.example.com", "scope": "Namespaced", "versions": versions, "names": {
            "plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList", "shortNames": ["t"]}},
    });
    Arc::new(Definition::read(&Bytes::from(object.to_string())).unwrap())
}

fn rows(definition: &Arc<Definition>) -> Vec<Served> {
    served(definition, &definition.names, false)
}

fn spec() -> Value {
    json!({"type": "object", "properties": {
        "color": {"type": "string", "default": "blue"}, "replicas": {"type": "integer"}}})
}

fn tab(spec: Value) -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "Tab",
        "metadata": {"name": "a", "namespace": "n", "generation": 3}, "spec": spec,
    })
}

#[test]
fn a_definition_becomes_a_kind_for_each_served_version() {
    let definition = definition("v1", spec(), spec());
    let rows = rows(&definition);
    let [v1, v2] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((v1.api_version(), v2.api_version()), ("stable.example.com/v1", "stable.example.com/v2"));
    assert_eq!((v1.is_kept, v2.is_kept), (true, false));
    assert_eq!((&*v1.type_name, &*v1.list_kind), ("com.example.stable.v1.Tab", "TabList"));
    let parts: Vec<&str> = v1.subresources.iter().map(|part| part.name).collect();
    assert_eq!(parts, ["status", "scale"]);
    assert_eq!(v1.selectable_fields, ["spec.color"]);
    assert_eq!(v1.strategy().selectable(&tab(json!({"color": "red"}))), [("spec.color", "red".to_owned())]);
    assert!(v1.is_namespaced() && v1.write_rules.needs_version && !v1.takes_strategic_patches);
}

#[test]
fn what_is_sent_is_pruned_and_defaulted_and_unknown_fields_are_named() {
    let rows = rows(&definition("v1", spec(), spec()));
    let mut object = tab(json!({"replicas": 1, "size": 2, "color": null}));
    object["metadata"]["surprise"] = true.into();
    object["extra"] = 1.into();
    assert_eq!(
        rows[0].strategy().fit(&mut object).unwrap(),
        ["metadata.surprise", "extra", "spec.size"].map(str::to_owned)
    );
    rows[0].default(&mut object);
    assert_eq!(object["spec"], json!({"replicas": 1, "color": "blue"}));
    let mut wrong = tab(json!({}));
    wrong["metadata"]["labels"] = json!({"a": 1});
    let fault = rows[0].strategy().fit(&mut wrong).unwrap_err();
    assert_eq!(
        fault,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    );
}

#[test]
fn generations_count_changes_of_all_but_metadata_and_status() {
    let with_status = rows(&definition("v1", spec(), spec()));
    let bare = read(json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]));
    let bare = rows(&bare);
    let old = tab(json!({"color": "red"}));
    for (pointer, value, counted, counted_bare) in [
        ("/metadata/labels", json!({"a": "b"}), 3, 3),
        ("/status", json!({"replicas": 1}), 3, 4),
        ("/spec", json!({"color": "blue"}), 4, 4),
        ("/other", json!(1), 4, 4),
    ] {
        for (row, wanted) in [(&with_status[0], counted), (&bare[0], counted_bare)] {
            let mut new = old.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent).unwrap()[name] = value.clone();
            row.strategy().prepare_update(&mut new, &old);
            assert_eq!(new["metadata"]["generation"], wanted, "{pointer}");
        }
    }
    let mut new = tab(json!({"color": "green"}));
    new["status"] = json!({"replicas": 7});
    with_status[0].strategy().prepare_part(&mut new, &old, &PartWrite { name: "status", now: "" });
    assert_eq!((&new["spec"], &new["status"]), (&old["spec"], &json!({"replicas": 7})));
    with_status[0].strategy().prepare_create(&mut new);
    assert_eq!((&new["metadata"]["generation"], new.get("status")), (&json!(1), None));
}

#[test]
fn objects_are_checked_by_types_rules_and_scale_and_what_was_wrong_before_may_stay() {
    let mut strict = spec();
    strict["properties"]["color"] = json!({"type": "string", "enum": ["red", "blue"]});
    strict["properties"]["since"] = json!({"type": "string", "format": "date"});
    strict["x-kubernetes-validations"] =
        json!([{"rule": "!has(self.replicas) || self.replicas < 10", "message": "too many"}]);
    let rows = rows(&definition("v1", strict, spec()));
    let faults = |object: &Value, old: Option<&Value>| -> Vec<String> {
        let found = match old {
            Some(old) => rows[0].check_update(object, old),
            None => rows[0].check_create(object),
        };
        found.iter().map(hako_kube::field::line).collect()
    };
    assert_eq!(faults(&tab(json!({"color": "red", "replicas": 1})), None), [""; 0]);
    let green = tab(json!({"color": "green", "replicas": 11}));
    let found = faults(&green, None);
    assert_eq!(found[0], r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#);
    assert!(found[1].contains("some validation rules were not checked"), "{found:?}");
    let undated = faults(&tab(json!({"color": "red", "replicas": 11, "since": "today"})), None);
    assert!(
        undated[0].contains("must be of type date") && undated[1].contains("were not checked"),
        "{undated:?}"
    );
    assert_eq!(faults(&tab(json!({"replicas": 11})), None), ["spec: Invalid value: too many"]);
    assert_eq!(faults(&tab(json!({"color": "green"})), Some(&tab(json!({"color": "green"})))), [""; 0]);
    let negative = faults(&tab(json!({"replicas": -1})), None);
    assert_eq!(negative, [".spec.replicas: Invalid value: -1: should be a non-negative integer"]);
}

#[test]
fn what_is_kept_in_the_form_of_now_is_served_as_it_is() {
    let before = rows(&definition("v1", spec(), spec()));
    let mut object = tab(json!({"color": "red"}));
    let stored = crate::resource::encode_stored(&before[0], &mut object).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stored).unwrap(), tab(json!({"color": "red"})));
    assert!(before[0].is_served_as_kept(&stored) && !before[1].is_served_as_kept(&stored));
    let mut wider = spec();
    wider["properties"]["size"] = json!({"type": "integer", "default": 5});
    let after = rows(&definition("v1", wider, spec()));
    assert!(!after[0].is_served_as_kept(&stored) && !after[0].strategy().is_current(&stored));
    let mut read = serde_json::from_slice(&stored).unwrap();
    after[0].read_stored(&mut read);
    assert_eq!(read["spec"], json!({"color": "red", "size": 5}));
}

#[test]
fn objects_are_kept_in_one_version_and_served_in_all() {
    let mut renamed = spec();
    renamed["properties"]["size"] = json!({"type": "integer", "default": 5});
    let rows = rows(&definition("v2", spec(), renamed));
    let mut object = tab(json!({"color": "red"}));
    rows[0].write_stored(&mut object);
    assert_eq!(
        (&object["apiVersion"], &object["spec"]["size"]),
        (&json!("stable.example.com/v2"), &json!(5))
    );
    rows[0].read_stored(&mut object);
    assert_eq!(
        (&object["apiVersion"], &object["spec"]),
        (&json!("stable.example.com/v1"), &json!({"color": "red"}))
    );
}

#[test]
fn fields_are_shared_as_the_schema_says() {
    let schema = json!({"type": "object", "properties": {
        "atomic": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "at"],
            "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "at": {"type": "string", "default": "x"}, "value": {"type": "string"}}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true},
    }});
    let rows = rows(&definition("v1", schema, spec()));
    let object = tab(json!({
        "atomic": ["a"], "set": ["b"], "map": [{"name": "c", "value": "d"}], "whole": {"a": "e"},
        "labels": {"f": "g"}, "any": {"h": {"i": [1]}, "j": 1}, "port": 80,
    }));
    let set = FieldSet::of(model(), rows[0].shape(), &object).encode();
    assert_eq!(
        set["f:spec"],
        json!({
            "f:any": {"f:h": {".": {}, "f:i": {}}, "f:j": {}},
            "f:atomic": {},
            "f:labels": {"f:f": {}},
            "f:map": {"k:{\"at\":\"x\",\"name\":\"c\"}": {".": {}, "f:name": {}, "f:value": {}}},
            "f:port": {},
            "f:set": {"v:\"b\"": {}},
            "f:whole": {},
        })
    );
}

#[test]
fn columns_show_what_their_paths_find() {
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = read(json!([{"name": "v1", "served": true, "storage": true, "schema": schema,
    "additionalPrinterColumns": [
        column("Color", "string", ".spec.color"), column("Number", "string", ".spec.replicas"),
        column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status"),
        column("Replicas", "integer", ".spec.replicas"), column("Wrong", "integer", ".spec.color"),
        column("App", "string", ".metadata.labels.app\\.kubernetes\\.io/name"),
        column("Since", "date", ".metadata.creationTimestamp"), column("None", "string", ".spec.none"),
    ]}]));
    let row = &rows(&definition)[0];
    let mut object = tab(json!({"color": "red", "replicas": 3}));
    object["status"] =
        json!({"conditions": [{"type": "Other", "status": "x"}, {"type": "Ready", "status": "True"}]});
    object["metadata"]["labels"] = json!({"app.kubernetes.io/name": "web"});
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
    let cells = row.cells(&object, now);
    assert_eq!(
        cells,
        json!(["a", "red", "3", "True", 3, null, "web", "2m", null]).as_array().unwrap().clone()
    );
    let names: Vec<&str> = row.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["Name", "Color", "Number", "Ready", "Replicas", "Wrong", "App", "Since", "None"]);
    assert!(row.columns[1].description.contains(".spec.color"));
}

#[test]
fn paths_are_read_or_refused() {
    let value = json!({"a": [{"n": 1, "b": "x"}, {"n": 2, "b": "y"}], "c": {"d.e": 5, "b": "z"}});
    for (path, wanted) in [
        (".a[0].b", json!("x")),
        (".a[-1].b", json!("y")),
        (".a[*].n", json!(1)),
        (".a[?(@.n>1)].b", json!("y")),
        (".a[?(@.b=='y')].n", json!(2)),
        (".c['d.e']", json!(5)),
        (".c.d\\.e", json!(5)),
        ("..n", json!(1)),
        (".a[?(@.none)].n", Value::Null),
        (".a[9].n", Value::Null),
    ] {
        let found = JsonPath::parse(path).unwrap();
        assert_eq!(found.first(&value).cloned().unwrap_or_default(), wanted, "{path}");
    }
    for path in ["a", ".a[", ".a[x]", ".a[?(b==1)]", ".a[?(@.n=1)]", "..", &".a".repeat(65)] {
        assert!(JsonPath::parse(path).is_err(), "{path}");
    }
}

#[test]
fn schemas_are_published_in_both_dialects() {
    let schema = json!({"type": "object", "properties": {
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "maybe": {"type": "string", "nullable": true, "description": "d"},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true},
    }});
    let row = &rows(&definition("v1", schema, spec()))[0];
    let v3 = row.strategy().published(Dialect::V3).unwrap();
    let spec = &v3["properties"]["spec"]["properties"];
    assert!(spec["port"]["anyOf"].is_array() && spec["maybe"]["nullable"] == true);
    for metadata in [&v3["properties"]["metadata"], &spec["template"]["properties"]["metadata"]] {
        let target = metadata["allOf"][0]["$ref"].as_str().unwrap();
        assert!(target.ends_with("/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), "{target}");
    }
    let v2 = row.strategy().published(Dialect::V2).unwrap();
    let spec = &v2["properties"]["spec"]["properties"];
    assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(spec["maybe"], json!({"description": "d"}));
    assert!(v2["properties"]["metadata"]["$ref"].is_string());
}

#[test]
fn where_unknown_fields_are_kept_clients_of_version_2_are_told_of_no_form() {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"known": {"type": "string"}}});
    let mut embedded = open.clone();
    embedded["x-kubernetes-embedded-resource"] = json!(true);
    let schema = json!({"type": "object", "required": ["maybe", "sure"], "properties": {
        "open": open, "embedded": embedded, "sure": {"type": "string"}, "maybe": {"type": "string", "nullable": true},
        "bare": {"type": "object", "x-kubernetes-embedded-resource": true},
    }});
    let row = &rows(&definition("v1", schema.clone(), spec()))[0];
    let v2 = row.strategy().published(Dialect::V2).unwrap();
    let spec = &v2["properties"]["spec"];
    assert_eq!(spec["properties"]["open"], json!({"x-kubernetes-preserve-unknown-fields": true}));
    for form in ["type", "properties", "required"] {
        assert!(spec["properties"]["embedded"].get(form).is_none(), "{form}");
    }
    assert_eq!(spec["properties"]["bare"]["required"], json!(["kind", "apiVersion"]));
    assert_eq!(spec["required"], json!(["sure"]));
    let all = read(json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]));
    let all = rows(&all)[0].strategy().published(Dialect::V2).unwrap();
    assert!(all["type"] == "object" && all.get("properties").is_none(), "{all}");
    let v3 = row.strategy().published(Dialect::V3).unwrap();
    let spec = &v3["properties"]["spec"];
    assert_eq!(spec["properties"]["open"], schema["properties"]["open"]);
    assert_eq!(spec["required"], json!(["maybe", "sure"]));
}

//! The schema of a definition as it is published to clients.

use crate::openapi::Dialect;
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should \
     convert recognized schemas to the latest internal value, and may reject unrecognized values.";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
     endpoint the client submits requests to. Cannot be updated. In CamelCase.";
const METADATA: &str = "Standard object's metadata.";
/// What version 2 has no words for.
const NOT_IN_V2: [&str; 5] = ["allOf", "anyOf", "not", "nullable", "oneOf"];
/// What says of which form a value is; clients of version 2 refuse nulls where it is said.
const FORM: [&str; 6] = ["additionalProperties", "enum", "format", "items", "properties", "type"];

/// The schema of a resource, as written in the definition, in a dialect.
pub(super) fn schema(written: &Value, dialect: Dialect) -> Value {
    let mut schema = written.clone();
    if dialect == Dialect::V2 {
        simplify(&mut schema);
    }
    resources(&mut schema, dialect, true);
    schema
}

/// Whatever is a resource has a type and metadata.
fn resources(schema: &mut Value, dialect: Dialect, is_resource: bool) {
    let Some(members) = schema.as_object_mut() else { return };
    let is_embedded = members.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(|property| resources(property, dialect, false));
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(name) {
            resources(inner, dialect, false);
        }
    }
    if is_resource || is_embedded {
        let properties = members.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": API_VERSION}));
            properties.insert("kind".to_owned(), json!({"type": "string", "description": KIND}));
            properties.insert("metadata".to_owned(), metadata(dialect));
        }
        members.entry("type").or_insert_with(|| "object".into());
    }
}

fn metadata(dialect: Dialect) -> Value {
    let target = dialect.reference(META);
    match dialect {
        Dialect::V2 => json!({"description": METADATA, "$ref": target}),
        Dialect::V3 => json!({"description": METADATA, "allOf": [{"$ref": target}], "default": {}}),
    }
}

/// Leaves out what clients of version 2 cannot take.
fn simplify(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    let is = |members: &Map<String, Value>, name: &str| members.get(name) == Some(&Value::Bool(true));
    let is_formless = is(members, "nullable") || is(members, "x-kubernetes-int-or-string");
    let keeps_all = is(members, "x-kubernetes-preserve-unknown-fields");
    members.retain(|name, _| {
        let name = name.as_str();
        let is_within = matches!(name, "additionalProperties" | "items" | "properties");
        !(NOT_IN_V2.contains(&name) || (is_formless && FORM.contains(&name)) || (keeps_all && is_within))
    });
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(name) {
            simplify(inner);
        }
    }
}

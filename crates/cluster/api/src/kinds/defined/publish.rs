//! The schema of a definition as it is published to clients.

use crate::openapi::Dialect;
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should \
     convert recognized schemas to the latest internal value, and may reject unrecognized values.";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the \
     endpoint the client submits requests to. Cannot be updated. In CamelCase.";
const METADATA: &str = "Standard object's metadata.";
const KEEPS_ALL: &str = "x-kubernetes-preserve-unknown-fields";
/// What version 2 has no words for.
const NOT_IN_V2: [&str; 5] = ["allOf", "anyOf", "not", "nullable", "oneOf"];
/// What says of which form a value is; clients of version 2 refuse nulls where it is said.
const FORM: [&str; 6] = ["additionalProperties", "enum", "format", "items", "properties", "type"];

/// The schema of a resource, as written in the definition, in a dialect.
pub(super) fn schema(written: &Value, dialect: Dialect) -> Value {
    if dialect == Dialect::V2 && written.get(KEEPS_ALL) == Some(&Value::Bool(true)) {
        return json!({"type": "object"});
    }
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
    let is_embedded = is(members, "x-kubernetes-embedded-resource");
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(|property| resources(property, dialect, false));
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(name) {
            resources(inner, dialect, false);
        }
    }
    // Clients of version 2 that are told of some properties take all others for faults.
    let keeps_all = dialect == Dialect::V2 && is(members, KEEPS_ALL);
    if (is_resource || is_embedded) && !keeps_all {
        members.entry("type").or_insert_with(|| "object".into());
        let properties = members.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": API_VERSION}));
            properties.insert("kind".to_owned(), json!({"type": "string", "description": KIND}));
            properties.insert("metadata".to_owned(), metadata(dialect));
        }
        if is_embedded {
            require(members, ["kind", "apiVersion"]);
        }
    }
}

fn is(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name) == Some(&Value::Bool(true))
}

fn require(members: &mut Map<String, Value>, names: [&str; 2]) {
    let required = members.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    let Some(required) = required.as_array_mut() else { return };
    for name in names {
        if !required.iter().any(|there| there == name) {
            required.push(name.into());
        }
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
    let is_formless = is(members, "nullable") || is(members, "x-kubernetes-int-or-string");
    let keeps_all = is(members, KEEPS_ALL);
    require_no_nulls(members);
    members.retain(|name, value| {
        let name = name.as_str();
        let is_within = matches!(name, "additionalProperties" | "items" | "properties");
        // An object is one of known properties to them, and a list one of known items.
        let is_outside = name == "type" && matches!(value.as_str(), Some("object" | "array"));
        !(NOT_IN_V2.contains(&name)
            || (is_formless && FORM.contains(&name))
            || (keeps_all && (is_within || is_outside)))
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

/// What may be null is not required: these clients take a null for nothing.
fn require_no_nulls(members: &mut Map<String, Value>) {
    let may_be_null =
        |of: Option<&Value>| of.and_then(|schema| schema.get("nullable")) == Some(&Value::Bool(true));
    if may_be_null(members.get("additionalProperties")) {
        members.remove("required");
        return;
    }
    let Some(Value::Array(mut required)) = members.remove("required") else { return };
    required.retain(|name| {
        let properties = members.get("properties");
        !may_be_null(properties.and_then(|properties| properties.get(name.as_str()?)))
    });
    if !required.is_empty() {
        members.insert("required".to_owned(), Value::Array(required));
    }
}

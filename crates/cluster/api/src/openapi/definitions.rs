//! The types, as either dialect writes them.

use super::Dialect;
use crate::kinds::Served;
use crate::schema::{Field, ListKind, Model, Scalar, Shape, TypeDef, model};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// The name of the type of a kind's lists.
pub(super) fn list_name(row: &Served) -> String {
    match row.type_name.rsplit_once('.') {
        Some((before, _)) => format!("{before}.{}", row.list_kind),
        None => row.list_kind.to_string(),
    }
}

/// All types of the model, and those of the kinds given.
pub(super) fn definitions(dialect: Dialect, rows: &[Arc<Served>]) -> Map<String, Value> {
    let model = model();
    let types = model.types().iter();
    let mut all: Map<String, Value> =
        types.map(|named| (named.name.clone(), type_def(model, dialect, named))).collect();
    for row in rows {
        all.extend(of_kind(dialect, row));
    }
    all.sort_keys();
    all
}

/// The types that documents of the kinds given refer to.
pub(super) fn reached(dialect: Dialect, rows: &[&Arc<Served>]) -> Map<String, Value> {
    let model = model();
    let mut own: Map<String, Value> = rows.iter().flat_map(|row| of_kind(dialect, row)).collect();
    let mut open: Vec<String> = own.keys().cloned().collect();
    open.extend([DELETE_OPTIONS, STATUS].map(str::to_owned));
    let mut all = Map::new();
    while let Some(name) = open.pop() {
        if all.contains_key(&name) {
            continue;
        }
        let found = own.shift_remove(&name);
        let found = found.or_else(|| Some(type_def(model, dialect, model.named(&name)?)));
        if let Some(schema) = found {
            collect(&schema, &mut open);
            all.insert(name, schema);
        }
    }
    all.sort_keys();
    all
}

/// The types of a kind's objects and lists.
fn of_kind(dialect: Dialect, row: &Served) -> [(String, Value); 2] {
    let model = model();
    let published = row.strategy().published(dialect);
    let of_model = || model.named(&row.type_name).map(|named| type_def(model, dialect, named));
    let mut schema = published.or_else(of_model).unwrap_or_else(|| json!({ "type": "object" }));
    schema["x-kubernetes-group-version-kind"] = group_version_kind(row, &row.kind);
    [(row.type_name.to_string(), schema), (list_name(row), list(dialect, row))]
}

fn collect(value: &Value, open: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                match inner {
                    Value::String(target) if name == "$ref" => {
                        open.push(target.rsplit('/').next().unwrap_or("").to_owned());
                    }
                    inner => collect(inner, open),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, open)),
        _ => {}
    }
}

fn group_version_kind(row: &Served, kind: &str) -> Value {
    json!([{ "group": row.group, "kind": kind, "version": row.version }])
}

fn list(dialect: Dialect, row: &Served) -> Value {
    let kind = &row.list_kind;
    json!({
        "description": format!("{kind} is a collection of {}.", row.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string", "description": "The group and version." },
            "items": {
                "description": "The objects.",
                "type": "array",
                "items": reference(dialect, &row.type_name, ""),
            },
            "kind": { "type": "string", "description": "The kind." },
            "metadata": reference(dialect, LIST_META, "The metadata of the list."),
        },
        "x-kubernetes-group-version-kind": group_version_kind(row, kind),
    })
}

/// A reference beside a description, which version 3 allows only by `allOf`.
fn reference(dialect: Dialect, name: &str, description: &str) -> Value {
    let target = dialect.reference(name);
    match (dialect, description) {
        (_, "") => json!({ "$ref": target }),
        (Dialect::V2, text) => json!({ "description": text, "$ref": target }),
        (Dialect::V3, text) => json!({ "description": text, "allOf": [{ "$ref": target }], "default": {} }),
    }
}

fn type_def(model: &Model, dialect: Dialect, named: &TypeDef) -> Value {
    let mut schema = shape(model, dialect, &named.shape, &named.description);
    if named.is_atomic
        && let Some(map) = schema.as_object_mut()
    {
        map.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    }
    schema
}

fn shape(model: &Model, dialect: Dialect, shape: &Shape, description: &str) -> Value {
    if let Some(named) = model.type_of(shape) {
        return reference(dialect, &named.name, description);
    }
    let mut schema = match shape {
        Shape::Object(fields) | Shape::Open(fields) => object(model, dialect, fields),
        Shape::List { item, kind } => list_of(model, dialect, item, kind),
        Shape::Map { value, is_atomic } => {
            let inner = self::shape(model, dialect, value, "");
            let mut map = json!({ "type": "object", "additionalProperties": inner });
            if *is_atomic {
                map["x-kubernetes-map-type"] = json!("atomic");
            }
            map
        }
        Shape::Scalar(scalar) => self::scalar(dialect, *scalar),
        Shape::Any | Shape::Named(_) => json!({ "type": "object" }),
    };
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    schema
}

fn object(model: &Model, dialect: Dialect, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = shape(model, dialect, &field.shape, &field.description);
        let strategy = match (field.patch.merge, field.patch.retain_keys) {
            (true, true) => "merge,retainKeys",
            (true, false) => "merge",
            (false, true) => "retainKeys",
            (false, false) => "",
        };
        if !strategy.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategy.into();
        }
        if let Some(key) = field.patch.key {
            schema["x-kubernetes-patch-merge-key"] = key.into();
        }
        if let Some(default) = &field.default {
            schema["default"] = default.clone();
        }
        properties.insert(field.name.clone(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|it| it.is_required).map(|it| it.name.as_str()).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn list_of(model: &Model, dialect: Dialect, item: &Shape, kind: &ListKind) -> Value {
    let mut schema = json!({ "type": "array", "items": shape(model, dialect, item, "") });
    match kind {
        ListKind::Atomic => schema["x-kubernetes-list-type"] = json!("atomic"),
        ListKind::Set => schema["x-kubernetes-list-type"] = json!("set"),
        ListKind::Map(keys) => {
            schema["x-kubernetes-list-type"] = json!("map");
            schema["x-kubernetes-list-map-keys"] = json!(keys);
        }
    }
    schema
}

fn scalar(dialect: Dialect, scalar: Scalar) -> Value {
    match (scalar, dialect) {
        (Scalar::Text, _) => json!({ "type": "string" }),
        (Scalar::Bytes, _) => json!({ "type": "string", "format": "byte" }),
        (Scalar::Time | Scalar::MicroTime, _) => json!({ "type": "string", "format": "date-time" }),
        (Scalar::Int32, _) => json!({ "type": "integer", "format": "int32" }),
        (Scalar::Int64, _) => json!({ "type": "integer", "format": "int64" }),
        (Scalar::Number, _) => json!({ "type": "number", "format": "double" }),
        (Scalar::Bool, _) => json!({ "type": "boolean" }),
        (Scalar::IntOrString, Dialect::V2) => json!({ "type": "string", "format": "int-or-string" }),
        (Scalar::IntOrString, Dialect::V3) => {
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
        }
        (Scalar::Quantity, Dialect::V2) => json!({ "type": "string" }),
        (Scalar::Quantity, Dialect::V3) => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
    }
}

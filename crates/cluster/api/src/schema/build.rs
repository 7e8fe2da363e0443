//! Builds the model from the JSON schemas that come with the types, and the facts they lack.

use super::facts;
use super::model::{Field, ListKind, Model, Patch, Scalar, Shape, TypeDef};
use k8s_openapi::api::{apps, autoscaling, coordination, core, discovery, policy};
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The schemas of all served and exchanged types, by full name.
fn definitions() -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    macro_rules! add {
        ($($kind:ty),* $(,)?) => { $( let _ = generator.subschema_for::<$kind>(); )* };
    }
    add!(
        core::v1::Binding,
        core::v1::ConfigMap,
        core::v1::Endpoints,
        core::v1::Event,
        core::v1::Namespace,
        core::v1::Node,
        core::v1::Pod,
        core::v1::Secret,
        core::v1::Service,
        core::v1::ServiceAccount,
        apps::v1::Deployment,
        apps::v1::ReplicaSet,
        autoscaling::v1::Scale,
        coordination::v1::Lease,
        discovery::v1::EndpointSlice,
        policy::v1::Eviction,
        meta::v1::DeleteOptions,
        meta::v1::Status,
    );
    generator.take_definitions(false)
}

pub(super) fn build() -> Model {
    let mut definitions: Vec<(String, Value)> = definitions().into_iter().collect();
    definitions.sort_by(|one, other| one.0.cmp(&other.0));
    let names: HashMap<String, usize> =
        definitions.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    let mut builder = Builder { names };
    let types = definitions.iter().map(|(name, schema)| builder.type_def(name, schema)).collect();
    Model { types, by_name: builder.names }
}

struct Builder {
    names: HashMap<String, usize>,
}

fn description(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or("").to_owned()
}

impl Builder {
    fn type_def(&mut self, name: &str, schema: &Value) -> TypeDef {
        let shape = match facts::short(name) {
            "IntOrString" => Shape::Scalar(Scalar::IntOrString),
            "Quantity" => Shape::Scalar(Scalar::Quantity),
            "Time" | "MicroTime" => Shape::Scalar(Scalar::Time),
            "FieldsV1" | "RawExtension" => Shape::Any,
            _ => self.object(name, schema),
        };
        TypeDef {
            name: name.to_owned(),
            description: description(schema),
            shape,
            is_atomic: facts::is_atomic_type(name),
        }
    }

    fn object(&self, name: &str, schema: &Value) -> Shape {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return self.shape(name, "", schema);
        };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut fields: Vec<Field> = properties
            .iter()
            .map(|(field, schema)| Field {
                name: field.clone(),
                description: description(schema),
                // Metadata is required in the Rust types only.
                is_required: required.contains(&field.as_str()) && field != "metadata",
                shape: self.shape(name, field, schema),
                patch: facts::of(name, field).map_or(Patch::default(), |fact| fact.patch),
                default: facts::key_default(name, field),
            })
            .collect();
        fields.sort_by(|one, other| one.name.cmp(&other.name));
        Shape::Object(fields)
    }

    fn shape(&self, type_name: &str, field: &str, schema: &Value) -> Shape {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or("");
            return self.names.get(name).map_or(Shape::Any, |at| Shape::Named(*at));
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        match schema.get("type").and_then(Value::as_str).unwrap_or("") {
            "string" => Shape::Scalar(match format {
                "byte" => Scalar::Bytes,
                "date-time" => Scalar::Time,
                _ => Scalar::Text,
            }),
            "integer" if format == "int32" => Shape::Scalar(Scalar::Int32),
            "integer" => Shape::Scalar(Scalar::Int64),
            "number" => Shape::Scalar(Scalar::Number),
            "boolean" => Shape::Scalar(Scalar::Bool),
            "array" => Shape::List {
                item: Box::new(self.inner(schema, "items")),
                kind: facts::of(type_name, field).map_or(ListKind::Atomic, |fact| fact.list),
            },
            "object" if schema.get("additionalProperties").is_some() => Shape::Map {
                value: Box::new(self.inner(schema, "additionalProperties")),
                is_atomic: facts::is_atomic_map(type_name, field),
            },
            _ => Shape::Any,
        }
    }

    fn inner(&self, schema: &Value, name: &str) -> Shape {
        schema.get(name).map_or(Shape::Any, |inner| self.shape("", "", inner))
    }
}

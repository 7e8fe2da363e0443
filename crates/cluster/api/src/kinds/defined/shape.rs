//! From a schema to what server-side apply has to know: how two writers share what is in an object.

use crate::schema::{Field, ListKind, Patch, Scalar, Shape, model};
use hako_structural::{Additional, ListKind as Sharing, Schema, Ty};
use serde_json::Value;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The shape of a whole resource: whatever its schema says, it has a type and metadata.
pub(super) fn of_resource(schema: &Schema) -> Shape {
    let mut fields = fields_of(schema);
    fields.retain(|field| !matches!(field.name.as_str(), "apiVersion" | "kind" | "metadata"));
    fields.push(field("apiVersion", Shape::Scalar(Scalar::Text)));
    fields.push(field("kind", Shape::Scalar(Scalar::Text)));
    fields.push(field("metadata", model().reference(META)));
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    if schema.preserves_unknown { Shape::Open(fields) } else { Shape::Object(fields) }
}

fn of(schema: &Schema) -> Shape {
    if schema.is_int_or_string {
        return Shape::Scalar(Scalar::IntOrString);
    }
    match schema.ty {
        Some(Ty::Object) if schema.is_atomic_map => Shape::Any,
        Some(Ty::Object) if schema.is_embedded => of_resource(schema),
        Some(Ty::Object) => object(schema),
        Some(Ty::Array) => list(schema),
        Some(Ty::String) => Shape::Scalar(Scalar::Text),
        Some(Ty::Integer) => Shape::Scalar(Scalar::Int64),
        Some(Ty::Number) => Shape::Scalar(Scalar::Number),
        Some(Ty::Boolean) => Shape::Scalar(Scalar::Bool),
        None if schema.preserves_unknown => Shape::Open(Vec::new()),
        None => Shape::Any,
    }
}

fn object(schema: &Schema) -> Shape {
    match &schema.additional {
        _ if schema.preserves_unknown => Shape::Open(fields_of(schema)),
        Additional::Fits(value) => Shape::Map { value: Box::new(of(value)), is_atomic: false },
        Additional::Any => Shape::Open(fields_of(schema)),
        Additional::None => Shape::Object(fields_of(schema)),
    }
}

fn list(schema: &Schema) -> Shape {
    let mut item = schema.items.as_deref().map_or(Shape::Any, of);
    let kind = match &schema.list {
        Sharing::Atomic => ListKind::Atomic,
        Sharing::Set => ListKind::Set,
        Sharing::Map(keys) => {
            if let Some(items) = &schema.items {
                default_keys(&mut item, keys, items);
            }
            ListKind::Map(keys.clone())
        }
    };
    Shape::List { item: Box::new(item), kind }
}

/// Members of a key that may be left out have a meaning all the same.
fn default_keys(item: &mut Shape, keys: &[String], schema: &Schema) {
    let (Shape::Object(fields) | Shape::Open(fields)) = item else { return };
    for field in fields.iter_mut().filter(|field| keys.contains(&field.name)) {
        field.default = schema.properties.get(&field.name).and_then(|property| property.default.clone());
    }
}

fn fields_of(schema: &Schema) -> Vec<Field> {
    // INVARIANT: properties are sorted by name, as the fields of a shape have to be.
    schema.properties.iter().map(|(name, property)| field(name, of(property))).collect()
}

fn field(name: &str, shape: Shape) -> Field {
    let (name, description) = (name.to_owned(), String::new());
    let patch = Patch::default();
    Field {
        name,
        description,
        is_required: false,
        shape,
        patch,
        default: None::<Value>,
        zero: None,
        leaves_zero: false,
    }
}

//! What expressions see of a schema, with the sizes that costs are reckoned from.

use crate::schema::{Additional, ListKind, Schema, Ty};
use hako_cel::Declared;

/// The type of a resource, whose apiVersion, kind and name are always visible.
pub(super) fn resource(schema: &Schema, name: &str) -> Option<Declared> {
    of(schema, name, true)
}

/// The type of a part of a resource.
pub(super) fn part(schema: &Schema, name: &str) -> Option<Declared> {
    of(schema, name, schema.is_embedded)
}

fn of(schema: &Schema, name: &str, is_resource: bool) -> Option<Declared> {
    let checks = &schema.checks;
    if schema.is_int_or_string {
        return Some(Declared::int_or_string(checks.max_length));
    }
    let ty = if is_resource { Some(Ty::Object) } else { schema.ty };
    Some(match ty? {
        Ty::Boolean => Declared::bool(),
        Ty::Integer => Declared::int(),
        Ty::Number => Declared::double(),
        Ty::String => text(schema),
        Ty::Array => {
            let items = schema.items.as_ref()?;
            let element = of(items, &format!("{name}.@idx"), items.is_embedded)?;
            Declared::list(element, checks.max_items, list_kind(&schema.list))
        }
        Ty::Object => match &schema.additional {
            Additional::Fits(values) => {
                let value = of(values, &format!("{name}.@elem"), values.is_embedded)?;
                Declared::map(value, checks.max_properties)
            }
            _ => object(schema, name, is_resource),
        },
    })
}

fn text(schema: &Schema) -> Declared {
    let checks = &schema.checks;
    match checks.format.as_deref() {
        Some("byte") => return Declared::bytes(checks.max_length),
        Some("duration") => return Declared::duration(),
        Some("date") => return Declared::date(),
        Some("date-time") => return Declared::date_time(),
        _ => {}
    }
    if checks.max_length.is_none() && !checks.any_value.is_empty() {
        return Declared::one_of(checks.any_value.longest() as u64);
    }
    Declared::string(checks.max_length)
}

fn list_kind(kind: &ListKind) -> hako_cel::ListKind {
    match kind {
        ListKind::Atomic => hako_cel::ListKind::Atomic,
        ListKind::Set => hako_cel::ListKind::Set,
        ListKind::Map(keys) => hako_cel::ListKind::Map(keys.clone()),
    }
}

fn object(schema: &Schema, name: &str, is_resource: bool) -> Declared {
    let mut fields: Vec<(String, Declared, bool)> = Vec::new();
    for (property, below) in schema.properties.iter() {
        if is_resource && OF_RESOURCES.contains(&property.as_str()) {
            continue;
        }
        let Some(declared) = of(below, &format!("{name}.{property}"), below.is_embedded) else { continue };
        let is_required = schema.checks.required.contains(property) && below.default.is_none();
        fields.push((property.clone(), declared, is_required));
    }
    if is_resource {
        let named = ["name", "generateName"].map(|name| (name.to_owned(), Declared::string(None), false));
        fields.push(("apiVersion".to_owned(), Declared::string(None), false));
        fields.push(("kind".to_owned(), Declared::string(None), false));
        fields.push(("metadata".to_owned(), Declared::object(&format!("{name}.metadata"), named), false));
    }
    Declared::object(name, fields)
}

const OF_RESOURCES: [&str; 3] = ["apiVersion", "kind", "metadata"];

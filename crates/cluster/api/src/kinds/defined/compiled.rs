//! A schema as it is used to serve objects.

use super::shape;
use crate::metrics::cel;
use crate::schema::Shape;
use hako_structural::{Additional, Rules, Schema};
use serde_json::Value;

/// Everything that is made of a schema.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub schema: Schema,
    pub rules: Rules,
    pub shape: Shape,
    /// Whether there are resources within objects.
    pub has_embedded: bool,
}

impl Compiled {
    /// From the schema as written. One that cannot be read, which is never stored today, lets everything be: nothing of
    /// an object is lost by it.
    pub(super) fn of(json: &Value) -> Self {
        let schema = Schema::read(json, "").unwrap_or_else(|_| {
            tracing::warn!("the schema of a stored CustomResourceDefinition cannot be read");
            Schema { preserves_unknown: true, ..Schema::default() }
        });
        Self {
            rules: cel::compiling(|| Rules::compile(&schema)),
            shape: shape::of_resource(&schema),
            has_embedded: has_embedded(&schema),
            schema,
        }
    }
}

fn has_embedded(schema: &Schema) -> bool {
    let below = schema.properties.values().chain(schema.items.as_deref()).chain(match &schema.additional {
        Additional::Fits(schema) => Some(&**schema),
        _ => None,
    });
    schema.is_embedded || below.into_iter().any(has_embedded)
}

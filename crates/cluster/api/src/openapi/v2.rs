//! Version 2: one document of everything.

use super::{Dialect, Document, definitions, info, paths, proto};
use crate::kinds;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

fn build() -> Value {
    let mut all = Map::new();
    for row in kinds::table() {
        paths::add(Dialect::V2, row, &mut all);
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": all,
        "definitions": definitions::definitions(Dialect::V2),
    })
}

/// `/openapi/v2` as JSON.
#[must_use]
pub fn v2_json() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::of(&build()))
}

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
#[must_use]
pub fn v2_proto() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(proto::encode(&build())))
}

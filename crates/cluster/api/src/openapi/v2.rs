//! Version 2: one document of everything.

use super::{Dialect, Document, definitions, etag, info, paths, proto};
use crate::kinds::{Kinds, Registry};
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn build(kinds: &Kinds) -> Value {
    let mut all = Map::new();
    for row in kinds.all() {
        paths::add(Dialect::V2, row, &mut all);
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": all,
        "definitions": definitions::definitions(Dialect::V2, kinds.all()),
    })
}

/// What stands for everything that is served.
fn edition(kinds: &Kinds) -> String {
    let editions: Vec<_> = kinds.all().iter().map(|row| (row.gvk().to_string(), &row.edition)).collect();
    etag(&editions)
}

/// `/openapi/v2` as JSON.
pub(crate) fn v2_json(registry: &Registry) -> Arc<Document> {
    let kinds = registry.now();
    let key = format!("v2 {}", edition(&kinds));
    registry.documents.get(key, || Document::of(&build(&kinds)))
}

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
pub(crate) fn v2_proto(registry: &Registry) -> Arc<Document> {
    let kinds = registry.now();
    let key = format!("v2 protobuf {}", edition(&kinds));
    registry.documents.get(key, || Document::new(proto::encode(&build(&kinds))))
}

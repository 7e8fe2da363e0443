//! Version 2: one document of everything.

use super::{Dialect, Document, Swagger, definitions, etag, info, paths, proto};
use crate::kinds::{Kinds, Registry};
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn build(kinds: &Kinds, others: &[Arc<Swagger>]) -> Value {
    let mut all = Map::new();
    for row in kinds.all() {
        paths::add(Dialect::V2, row, &mut all);
    }
    let mut types = definitions::definitions(Dialect::V2, kinds.all());
    for other in others {
        other.add(&mut all, &mut types);
    }
    types.sort_keys();
    json!({"swagger": "2.0", "info": info(), "paths": all, "definitions": types})
}

/// What stands for everything that is served, by this server and by others.
fn edition(kinds: &Kinds, others: &[Arc<Swagger>]) -> String {
    let editions: Vec<_> = kinds.all().iter().map(|row| (row.gvk().to_string(), &row.edition)).collect();
    let others: Vec<_> = others.iter().map(|other| &other.edition).collect();
    etag(&(editions, others))
}

/// `/openapi/v2` as JSON.
pub(crate) fn v2_json(registry: &Registry, others: &[Arc<Swagger>]) -> Arc<Document> {
    let kinds = registry.now();
    let key = format!("v2 {}", edition(&kinds, others));
    registry.documents.get(key, || Document::of(&build(&kinds, others)))
}

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
pub(crate) fn v2_proto(registry: &Registry, others: &[Arc<Swagger>]) -> Arc<Document> {
    let kinds = registry.now();
    let key = format!("v2 protobuf {}", edition(&kinds, others));
    registry.documents.get(key, || {
        let built = build(&kinds, others);
        // Who asks in the one form or the other has the same document.
        Document { etag: Document::of(&built).etag, bytes: proto::v2(&built).into() }
    })
}

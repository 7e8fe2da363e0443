//! Version 3: an index, and a document for each group and version.

use super::{Dialect, Document, definitions, info, paths};
use crate::kinds;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;

type Documents = BTreeMap<(&'static str, &'static str), Document>;

fn documents() -> &'static Documents {
    static DOCUMENTS: OnceLock<Documents> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let types = definitions::definitions(Dialect::V3);
        let mut all = Documents::new();
        for row in kinds::table() {
            all.entry((row.group, row.version))
                .or_insert_with(|| Document::of(&build(&types, row.group, row.version)));
        }
        all
    })
}

fn build(types: &Map<String, Value>, group: &str, version: &str) -> Value {
    let (mut all, mut roots) = (Map::new(), Vec::new());
    for row in kinds::table().iter().filter(|row| row.group == group && row.version == version) {
        paths::add(Dialect::V3, row, &mut all);
        roots.push(row.type_name.to_owned());
        roots.push(definitions::list_name(row));
    }
    roots.extend([definitions::DELETE_OPTIONS, definitions::STATUS].map(str::to_owned));
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": all,
        "components": { "schemas": definitions::reached(types, &roots) },
    })
}

/// `/openapi/v3`.
#[must_use]
pub fn v3_index() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut all = Map::new();
        for ((group, version), document) in documents() {
            let base = paths::base(group, version);
            let url = format!("/openapi/v3{base}?hash={}", document.etag);
            all.insert(base.trim_start_matches('/').to_owned(), json!({ "serverRelativeURL": url }));
        }
        Document::of(&json!({ "paths": all }))
    })
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/<group>/<version>`; `None` if nothing of it is served.
#[must_use]
pub fn v3_doc(group: &str, version: &str) -> Option<&'static Document> {
    documents().iter().find(|(key, _)| **key == (group, version)).map(|(_, document)| document)
}

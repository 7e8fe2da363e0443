//! Version 3: an index, and a document for each group and version.

use super::{Dialect, Document, definitions, etag, info, paths, proto};
use crate::kinds::{Kinds, Registry, Served};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// What stands for all that the program itself knows of types: its own kinds change with it alone.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let rows: Vec<&Arc<Served>> = Kinds::built_in().all().iter().collect();
    etag(&build(&rows).to_string())
});

fn build(rows: &[&Arc<Served>]) -> Value {
    let mut all = Map::new();
    for row in rows {
        paths::add(Dialect::V3, row, &mut all);
    }
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": all,
        "components": { "schemas": definitions::reached(Dialect::V3, rows) },
    })
}

/// What stands for the document of these kinds.
fn edition(rows: &[&Arc<Served>]) -> String {
    let editions: Vec<_> = rows.iter().map(|row| (row.gvk().to_string(), &row.edition)).collect();
    etag(&(&*PROGRAM, editions))
}

/// `/openapi/v3`.
pub(crate) fn v3_index(kinds: &Kinds) -> &Document {
    kinds.told.index.get_or_init(|| {
        let mut rows: BTreeMap<_, Vec<&Arc<Served>>> = BTreeMap::new();
        for row in kinds.all() {
            rows.entry((&*row.group, &*row.version)).or_default().push(row);
        }
        let mut all = Map::new();
        for ((group, version), rows) in rows {
            let base = paths::base(group, version);
            let url = format!("/openapi/v3{base}?hash={}", edition(&rows));
            all.insert(base.trim_start_matches('/').to_owned(), json!({ "serverRelativeURL": url }));
        }
        Document::of(&json!({ "paths": all }))
    })
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/<group>/<version>` as JSON; `None` if nothing of it is served.
pub(crate) fn v3_doc(registry: &Registry, group: &str, version: &str) -> Option<Arc<Document>> {
    document(registry, group, version, "v3", |built| built.to_string().into_bytes())
}

/// The same as `application/com.github.proto-openapi.spec.v3@v1.0+protobuf`.
pub(crate) fn v3_proto(registry: &Registry, group: &str, version: &str) -> Option<Arc<Document>> {
    document(registry, group, version, "v3 protobuf", proto::v3)
}

fn document(
    registry: &Registry,
    group: &str,
    version: &str,
    form: &str,
    write: impl FnOnce(&Value) -> Vec<u8>,
) -> Option<Arc<Document>> {
    let kinds = registry.now();
    let rows: Vec<&Arc<Served>> = kinds.of(group, version).collect();
    if rows.is_empty() {
        return None;
    }
    let edition = edition(&rows);
    let make = || Document { etag: edition.clone(), bytes: write(&build(&rows)).into() };
    Some(registry.documents.get(format!("{form} {edition}"), make))
}

//! The paths of the kinds, with the parameters by which clients tell what a server can do.

use super::Dialect;
use super::definitions::{DELETE_OPTIONS, STATUS, list_name};
use crate::kinds::Served;
use serde_json::{Map, Value, json};

/// What an operation takes and gives.
struct Operation<'a> {
    action: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<&'a str>,
    answer: &'a str,
}

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// What each verb of a kind is on which path: verb, is on one object, method, action.
const VERBS: &[(&str, bool, &str, &str)] = &[
    ("list", false, "get", "list"),
    ("create", false, "post", "post"),
    ("deletecollection", false, "delete", "deletecollection"),
    ("get", true, "get", "get"),
    ("update", true, "put", "put"),
    ("patch", true, "patch", "patch"),
    ("delete", true, "delete", "delete"),
];

/// The path of a kind's group and version.
pub(super) fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// Adds the paths of a kind.
pub(super) fn add(dialect: Dialect, row: &Served, paths: &mut Map<String, Value>) {
    let base = base(&row.group, &row.version);
    let collection = if row.is_namespaced() {
        format!("{base}/namespaces/{{namespace}}/{}", row.plural)
    } else {
        format!("{base}/{}", row.plural)
    };
    let list = list_name(row);
    for (verb, is_object, method, action) in VERBS {
        if !row.verbs.contains(verb) {
            continue;
        }
        let path = if *is_object { format!("{collection}/{{name}}") } else { collection.clone() };
        let operation = operation(row, action, &list);
        insert(dialect, row, paths, path, method, &operation);
    }
    if row.is_namespaced() && row.verbs.contains(&"list") {
        let operation = operation(row, "list", &list);
        insert(dialect, row, paths, format!("{base}/{}", row.plural), "get", &operation);
    }
    for part in row.subresources.iter().filter(|part| part.kind == row.kind && part.verbs.contains(&"patch"))
    {
        for (verb, _, method, action) in
            VERBS.iter().filter(|(verb, is_object, ..)| *is_object && *verb != "delete")
        {
            if part.verbs.contains(verb) {
                let path = format!("{collection}/{{name}}/{}", part.name);
                insert(dialect, row, paths, path, method, &operation(row, action, &list));
            }
        }
    }
}

fn operation<'a>(row: &'a Served, action: &'static str, list: &'a str) -> Operation<'a> {
    let (query, body, answer): (_, Option<&str>, &str) = match action {
        "list" => (LIST, None, list),
        "post" | "put" => (WRITE, Some(&*row.type_name), &*row.type_name),
        "patch" => (PATCH, Some("io.k8s.apimachinery.pkg.apis.meta.v1.Patch"), &*row.type_name),
        "delete" | "deletecollection" => (DELETE, Some(DELETE_OPTIONS), STATUS),
        _ => (&[], None, &*row.type_name),
    };
    Operation { action, query, body, answer }
}

fn insert(
    dialect: Dialect,
    row: &Served,
    paths: &mut Map<String, Value>,
    path: String,
    method: &str,
    operation: &Operation<'_>,
) {
    let written = write(dialect, row, &path, method, operation);
    let item = paths.entry(path).or_insert_with(|| json!({}));
    item[method] = written;
}

const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

const WHOLE_TYPES: &[&str] = &["application/json", "application/yaml", crate::protobuf::MEDIA_TYPE];

/// In what forms a kind takes objects or patches.
fn consumed(row: &Served, is_patch: bool) -> Vec<&'static str> {
    let (all, but, takes) = match is_patch {
        true => (PATCH_TYPES, "application/strategic-merge-patch+json", row.takes_strategic_patches),
        false => (WHOLE_TYPES, crate::protobuf::MEDIA_TYPE, row.has_protobuf),
    };
    all.iter().copied().filter(|media| takes || *media != but).collect()
}

fn write(dialect: Dialect, row: &Served, path: &str, method: &str, operation: &Operation<'_>) -> Value {
    let mut parameters = Vec::new();
    for name in ["name", "namespace"] {
        if path.contains(&format!("{{{name}}}")) {
            parameters.push(parameter(dialect, name, "path", "string"));
        }
    }
    for (name, kind) in operation.query {
        parameters.push(parameter(dialect, name, "query", kind));
    }
    let is_patch = method == "patch";
    let consumes = consumed(row, is_patch);
    let body = operation.body.map(|name| match is_patch {
        // A patch is anything at all.
        true => json!({ "type": "object" }),
        false => json!({ "$ref": dialect.reference(name) }),
    });
    let answer = json!({ "$ref": dialect.reference(operation.answer) });
    let id: String = path.split('/').map(|part| part.trim_matches(['{', '}'])).collect::<Vec<_>>().join("_");
    let mut written = json!({
        "operationId": format!("{}{id}", operation.action),
        "description": format!("{} {}", operation.action, row.kind),
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": { "group": row.group, "kind": row.kind, "version": row.version },
    });
    match dialect {
        Dialect::V2 => {
            if let Some(schema) = body {
                parameters.push(json!({ "in": "body", "name": "body", "required": true, "schema": schema }));
                written["consumes"] = json!(consumes);
            }
            written["produces"] = json!(consumed(row, false));
            written["responses"] = json!({ "200": { "description": "OK", "schema": answer } });
        }
        Dialect::V3 => {
            if let Some(schema) = body {
                let content: Map<String, Value> =
                    consumes.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
                written["requestBody"] = json!({ "content": content, "required": true });
            }
            let content: Map<String, Value> = consumed(row, false)
                .into_iter()
                .map(|media| (media.to_owned(), json!({ "schema": answer })))
                .collect();
            written["responses"] = json!({ "200": { "description": "OK", "content": content } });
        }
    }
    written["parameters"] = Value::Array(parameters);
    written
}

fn parameter(dialect: Dialect, name: &str, place: &str, kind: &str) -> Value {
    let mut written = json!({ "name": name, "in": place, "uniqueItems": true });
    if place == "path" {
        written["required"] = true.into();
    }
    match dialect {
        Dialect::V2 => written["type"] = kind.into(),
        Dialect::V3 => {
            written["schema"] = json!({ "type": kind });
            if let Some(map) = written.as_object_mut() {
                map.remove("uniqueItems");
            }
        }
    }
    written
}

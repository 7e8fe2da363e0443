//! Discovery as one document for all, `apidiscovery.k8s.io`.

use serde_json::{Value, json};

use super::groups::groups;
use crate::http::{Outcome, Request};
use crate::kinds::{Kinds, Part, Served};
use crate::openapi::Document;

/// `/api` or `/apis` in aggregated form; made once for all who ask before something changes.
pub(super) fn answer(kinds: &Kinds, request: &Request, root: &str, version: &'static str) -> Outcome {
    let place = match (root, version) {
        ("api", "v2") => 0,
        ("api", _) => 1,
        (_, "v2") => 2,
        _ => 3,
    };
    let document = kinds.told.discovery[place].get_or_init(|| build(kinds, root, version));
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    Ok(super::document(request, document, content_type))
}

fn build(kinds: &Kinds, root: &str, version: &str) -> Document {
    let is_here = |group: &str| (root == "api") == group.is_empty();
    let here = groups(kinds).into_iter().filter(|(group, _)| is_here(group));
    let items: Vec<Value> = here.map(|(group, versions)| item(kinds, group, &versions)).collect();
    Document::of(&json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    }))
}

fn item(kinds: &Kinds, group: &str, versions: &[&str]) -> Value {
    let of = |version: &&str| {
        let resources: Vec<Value> = kinds.of(group, version).map(|row| resource(row)).collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    };
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    let versions: Vec<Value> = versions.iter().map(of).collect();
    json!({"metadata": metadata, "versions": versions})
}

fn resource(row: &Served) -> Value {
    let mut value = json!({
        "resource": row.plural,
        "responseKind": kind(&row.group, &row.version, &row.kind),
        "scope": if row.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.told_verbs(),
    });
    if !row.short_names.is_empty() {
        value["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        value["categories"] = json!(row.categories);
    }
    if !row.subresources.is_empty() {
        value["subresources"] = row.subresources.iter().map(part).collect();
    }
    value
}

fn part(part: &Part) -> Value {
    json!({
        "subresource": part.name,
        "responseKind": kind(&part.group, &part.version, &part.kind),
        "verbs": part.verbs,
    })
}

fn kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

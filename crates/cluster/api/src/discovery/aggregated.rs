//! Discovery as one document for all, `apidiscovery.k8s.io`.

use serde_json::{Value, json};

use super::groups::{groups, versions_of};
use crate::http::{Outcome, Request};
use crate::kinds::{self, KindRow, Subresource};
use crate::openapi::Document;

/// `/api` or `/apis` in aggregated form.
pub(super) fn answer(request: &Request, root: &str, version: &'static str) -> Outcome {
    let is_here = |group: &str| (root == "api") == group.is_empty();
    let items: Vec<Value> = groups().into_iter().filter(|group| is_here(group)).map(item).collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    });
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    Ok(super::document(request, &Document::of(&body), content_type))
}

fn item(group: &str) -> Value {
    let of = |version: &&str| {
        let rows = kinds::table().iter().filter(|row| row.group == group && row.version == *version);
        let resources: Vec<Value> = rows.map(resource).collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    };
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    let versions: Vec<Value> = versions_of(group).iter().map(of).collect();
    json!({"metadata": metadata, "versions": versions})
}

fn resource(row: &KindRow) -> Value {
    let mut value = json!({
        "resource": row.plural,
        "responseKind": kind(row.group, row.version, row.kind),
        "scope": if row.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs,
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

fn part(part: &Subresource) -> Value {
    json!({
        "subresource": part.name,
        "responseKind": kind(part.group, part.version, part.kind),
        "verbs": part.verbs,
    })
}

fn kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

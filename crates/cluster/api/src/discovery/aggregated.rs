//! Discovery as one document for all, `apidiscovery.k8s.io`.

use std::sync::Arc;

use bytes::Bytes;
use hako_error::Error;
use serde_json::{Value, json};

use crate::aggregation::{self, Group, Remote};
use crate::http::{Encoding, Failure, Outcome, Request};
use crate::kinds::{Kinds, Part, Served};
use crate::openapi::Document;
use crate::protobuf;
use crate::server::Inner;

/// `/api` or `/apis` in aggregated form; made once for all who ask before something changes.
pub(super) fn answer(server: &Inner, request: &Request, root: &str, encoding: Encoding) -> Outcome {
    let kinds = server.kinds.now();
    let (place, content_type) = if encoding == Encoding::Protobuf {
        (0, "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
    } else {
        (1, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
    };
    let place = if root == "api" { place } else { place + 2 };
    let groups = || aggregation::groups(&kinds, &server.aggregated.now());
    let document = server.aggregated.told(place, &kinds, || {
        let text = build(&kinds, &groups(), root);
        if encoding == Encoding::Protobuf { message(text) } else { Ok(text) }
    })?;
    Ok(super::document(request, &document, content_type))
}

/// The same document in protobuf; what stands for it stays.
fn message(Document { bytes, etag }: Document) -> Outcome<Document> {
    let message = protobuf::converted(&bytes).map_err(|error| Failure::from(Error::from(error)))?;
    Ok(Document { bytes: message.map_or(bytes, Bytes::from), etag })
}

fn build(kinds: &Kinds, groups: &[Group], root: &str) -> Document {
    let here = groups.iter().filter(|group| (root == "api") == group.name.is_empty());
    let items: Vec<Value> = here.map(|group| item(kinds, group)).collect();
    Document::of(&json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    }))
}

fn item(kinds: &Kinds, Group { name: group, versions }: &Group) -> Value {
    let of = |(version, remote): &(String, Option<_>)| {
        let (resources, is_current) = match remote {
            None => (kinds.of(group, version).map(|row| resource(row)).collect(), true),
            Some(remote) => of_remote(remote),
        };
        let freshness = if is_current { "Current" } else { "Stale" };
        json!({"version": version, "resources": resources, "freshness": freshness})
    };
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    let versions: Vec<Value> = versions.iter().map(of).collect();
    json!({"metadata": metadata, "versions": versions})
}

/// What an aggregated server said of its resources, and whether that is what it says now.
fn of_remote(remote: &Arc<Remote>) -> (Value, bool) {
    let (resources, is_current) = remote.resources();
    (resources.map_or_else(|| json!([]), |resources| (*resources).clone()), is_current)
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

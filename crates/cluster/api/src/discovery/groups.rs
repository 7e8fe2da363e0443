//! Discovery as one document per group and version.

use http::StatusCode;
use serde_json::{Value, json};

use crate::http::{Failure, Outcome, answer};
use crate::kinds::{self, KindRow};

/// Groups and versions in the order of the table, each once.
pub(super) fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    for row in kinds::table() {
        if !all.contains(&(row.group, row.version)) {
            all.push((row.group, row.version));
        }
    }
    all
}

/// Groups in the order of the table, each once.
pub(super) fn groups() -> Vec<&'static str> {
    let mut all = Vec::new();
    for (group, _) in group_versions() {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    all
}

/// The versions of a group, the preferred one first: that is the newest.
pub(super) fn versions_of(group: &str) -> Vec<&'static str> {
    let of_group = group_versions().into_iter().filter(|(name, _)| *name == group);
    let mut versions: Vec<&str> = of_group.map(|(_, version)| version).collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions
}

/// Paths of the whole server.
pub(super) fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, version) in group_versions() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    let others = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    paths.extend(others.map(str::to_owned));
    paths
}

/// `/api` or `/apis`.
pub(super) fn root(root: &str) -> Outcome {
    let body = if root == "api" {
        json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })
    } else {
        let groups: Vec<Value> =
            groups().into_iter().filter(|group| !group.is_empty()).map(group_value).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    };
    Ok(answer::json(StatusCode::OK, &body))
}

/// `/apis/<group>`.
pub(super) fn group(group: &str) -> Outcome {
    let found = groups().into_iter().find(|name| *name == group && !group.is_empty());
    let mut body = group_value(found.ok_or_else(Failure::no_such_path)?);
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    Ok(answer::json(StatusCode::OK, &body))
}

/// Its versions, the preferred one first.
fn group_value(group: &str) -> Value {
    let versions: Vec<Value> = versions_of(group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/v1` or `/apis/<group>/<version>`.
pub(super) fn resources(group: &str, version: &str) -> Outcome {
    let rows = kinds::table().iter().filter(|row| row.group == group && row.version == version);
    let resources: Vec<Value> = rows.flat_map(with_parts).collect();
    if resources.is_empty() {
        return Err(Failure::no_such_path());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let body = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    });
    Ok(answer::json(StatusCode::OK, &body))
}

fn with_parts(row: &'static KindRow) -> Vec<Value> {
    let mut whole = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.is_namespaced(), "kind": row.kind,
        "verbs": row.verbs,
    });
    if !row.short_names.is_empty() {
        whole["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        whole["categories"] = json!(row.categories);
    }
    let part = |part: &kinds::Subresource| {
        let mut value = json!({
            "name": format!("{}/{}", row.plural, part.name), "singularName": "",
            "namespaced": row.is_namespaced(), "kind": part.kind, "verbs": part.verbs,
        });
        if (part.group, part.version) != (row.group, row.version) {
            value["group"] = part.group.into();
            value["version"] = part.version.into();
        }
        value
    };
    let mut all = vec![whole];
    all.extend(row.subresources.iter().map(part));
    all
}

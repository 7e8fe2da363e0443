//! Discovery as one document per group and version.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::{Value, json};

use crate::aggregation::Group;
use crate::http::{Failure, Outcome, answer};
use crate::kinds::{Kinds, Part, Served, replacement};

/// Groups and versions in the order of the kinds, each once.
fn group_versions(kinds: &Kinds) -> Vec<(&str, &str)> {
    let mut seen = HashSet::new();
    let all = kinds.all().iter().map(|row| (&*row.group, &*row.version));
    all.filter(|pair| seen.insert(*pair)).collect()
}

/// Paths of the whole server.
pub(super) fn paths(kinds: &Kinds) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    // A group has one path, however many versions.
    let named = group_versions(kinds).into_iter().filter(|(group, _)| !group.is_empty());
    let of_kinds =
        named.flat_map(|(group, version)| [format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
    let mut seen = HashSet::new();
    paths.extend(of_kinds.filter(|path| seen.insert(path.clone())));
    const OTHERS: [&str; 9] = [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(OTHERS.map(str::to_owned));
    paths
}

/// `/api` or `/apis`.
pub(super) fn root(groups: &[Group], root: &str) -> Outcome {
    let body = if root == "api" {
        json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })
    } else {
        let named = groups.iter().filter(|group| !group.name.is_empty());
        let groups: Vec<Value> = named.map(group_value).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    };
    Ok(answer::json(StatusCode::OK, &body))
}

/// `/apis/<group>`.
pub(super) fn group(groups: &[Group], group: &str) -> Outcome {
    let found = groups.iter().find(|it| it.name == group && !group.is_empty());
    let mut body = group_value(found.ok_or_else(Failure::no_such_path)?);
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    Ok(answer::json(StatusCode::OK, &body))
}

/// Its versions, the preferred one first.
fn group_value(group: &Group) -> Value {
    let Group { name, versions } = group;
    let versions: Vec<Value> = versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/v1` or `/apis/<group>/<version>`.
pub(super) fn resources(kinds: &Kinds, group: &str, version: &str) -> Outcome {
    let resources: Vec<Value> = kinds.of(group, version).flat_map(|row| with_parts(row)).collect();
    if resources.is_empty() {
        let failure = Failure::no_such_path();
        return Err(match replacement(group, version, "") {
            Some(instead) => {
                let text = &failure.status().message;
                let text = format!("{text}: {group}/{version} is no longer served, use {instead}");
                failure.saying(&text)
            }
            None => failure,
        });
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let body = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    });
    Ok(answer::json(StatusCode::OK, &body))
}

fn with_parts(row: &Served) -> Vec<Value> {
    let mut whole = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.is_namespaced(), "kind": row.kind,
        "verbs": row.told_verbs(),
    });
    if !row.short_names.is_empty() {
        whole["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        whole["categories"] = json!(row.categories);
    }
    if let Some(hash) = row.storage_version_hash() {
        whole["storageVersionHash"] = hash.into();
    }
    let part = |part: &Part| {
        let mut value = json!({
            "name": format!("{}/{}", row.plural, part.name), "singularName": "",
            "namespaced": row.is_namespaced(), "kind": part.kind, "verbs": part.verbs,
        });
        if (&part.group, &part.version) != (&row.group, &row.version) {
            value["group"] = json!(part.group);
            value["version"] = json!(part.version);
        }
        value
    };
    let mut all = vec![whole];
    all.extend(row.subresources.iter().map(part));
    all
}

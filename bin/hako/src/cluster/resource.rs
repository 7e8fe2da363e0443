//! From the words people use (`pods`, `deploy`, `svc/web`) to resources, by the API's own discovery.

use anyhow::{Context, bail};
use hako_client::{Client, DynamicApi, ResourceType};
use serde_json::Value;

/// A resource as discovery describes it.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub kind: String,
    pub singular: String,
    pub is_namespaced: bool,
    pub resource: ResourceType,
    names: Vec<String>,
}

impl Resource {
    /// Access to its objects: in `namespace` where it has namespaces, everywhere without one.
    pub(super) fn api(&self, client: &Client, namespace: Option<&str>) -> DynamicApi {
        client.dynamic(&self.resource, namespace.filter(|_| self.is_namespaced))
    }

    /// The path of its collection.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let ResourceType { group, version, plural } = &self.resource;
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match namespace.filter(|_| self.is_namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

/// All resources that the API serves, core first.
pub(super) async fn discover(client: &Client) -> anyhow::Result<Vec<Resource>> {
    let mut versions = vec![(String::new(), "v1".to_owned())];
    let groups: Value =
        serde_json::from_str(&client.get_text("/apis").await?).context("the API's list of groups")?;
    for group in groups["groups"].as_array().into_iter().flatten() {
        let version = group["preferredVersion"]["version"].as_str().unwrap_or("v1");
        versions.push((group["name"].as_str().unwrap_or_default().to_owned(), version.to_owned()));
    }
    let mut resources = Vec::new();
    for (group, version) in versions {
        let path =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let list: Value = serde_json::from_str(&client.get_text(&path).await?)
            .with_context(|| format!("discovery of {path}"))?;
        resources.extend(
            list["resources"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| parse(entry, &group, &version)),
        );
    }
    Ok(resources)
}

fn parse(entry: &Value, group: &str, version: &str) -> Option<Resource> {
    let plural = entry["name"].as_str().filter(|name| !name.contains('/'))?;
    let kind = entry["kind"].as_str()?;
    let singular = entry["singularName"]
        .as_str()
        .filter(|name| !name.is_empty())
        .map_or_else(|| kind.to_lowercase(), str::to_owned);
    let mut names = vec![plural.to_owned(), singular.clone(), kind.to_lowercase()];
    names.extend(
        entry["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
    );
    if !group.is_empty() {
        names.push(format!("{plural}.{group}"));
    }
    let is_namespaced = entry["namespaced"].as_bool()?;
    Some(Resource {
        kind: kind.to_owned(),
        singular,
        is_namespaced,
        resource: ResourceType::new(group, version, plural),
        names,
    })
}

/// The resource that a word means.
pub(super) fn by_word<'a>(resources: &'a [Resource], word: &str) -> anyhow::Result<&'a Resource> {
    let lower = word.to_lowercase();
    let found = resources.iter().find(|resource| resource.names.contains(&lower));
    found.with_context(|| {
        let known: Vec<&str> = resources.iter().map(|resource| resource.resource.plural.as_str()).collect();
        format!("there is no kind {word:?}; known are {}", known.join(", "))
    })
}

/// The resource of a manifest's apiVersion and kind.
pub(super) fn by_manifest<'a>(resources: &'a [Resource], object: &Value) -> anyhow::Result<&'a Resource> {
    let (api_version, kind) =
        (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let is_it = |resource: &&Resource| {
        resource.kind == kind && resource.resource.group == group && resource.resource.version == version
    };
    match resources.iter().find(is_it) {
        Some(resource) => Ok(resource),
        None => bail!("no matches for kind {kind:?} in version {api_version:?}"),
    }
}

/// `KIND/NAME`, or a kind with names beside it.
pub(super) fn split_names(kind: &str, names: &[String]) -> (String, Vec<String>) {
    match kind.split_once('/') {
        Some((kind, name)) => {
            (kind.to_owned(), std::iter::once(name.to_owned()).chain(names.iter().cloned()).collect())
        }
        None => (kind.to_owned(), names.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_name_of_a_kind_finds_it() {
        let entry = json!({ "name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": true, "shortNames": ["deploy"] });
        let resources = vec![parse(&entry, "apps", "v1").unwrap()];
        for word in ["deployments", "deployment", "Deployment", "deploy", "deployments.apps"] {
            assert_eq!(by_word(&resources, word).unwrap().kind, "Deployment");
        }
        assert!(by_word(&resources, "pods").unwrap_err().to_string().contains("known are deployments"));
        assert_eq!(resources[0].path(Some("x")), "/apis/apps/v1/namespaces/x/deployments");
    }

    #[test]
    fn subresources_are_no_resources() {
        assert!(parse(&json!({ "name": "pods/log", "kind": "Pod", "namespaced": true }), "", "v1").is_none());
    }
}

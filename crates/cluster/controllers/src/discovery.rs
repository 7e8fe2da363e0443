//! Which resources the API serves, as its discovery tells: nobody here knows the kinds by heart.

use hako_client::{Client, ResourceType};
use hako_error::{Error, Kind, Result};
use serde_json::Value;
use std::collections::HashSet;

/// A resource with what can be done to it; subresources are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) resource: ResourceType,
    pub(crate) kind: String,
    pub(crate) is_namespaced: bool,
    /// Stands for the form in which objects are kept.
    pub(crate) hash: String,
    verbs: Vec<String>,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }

    #[cfg(test)]
    pub(crate) fn of(resource: ResourceType, kind: &str, is_namespaced: bool) -> Self {
        Self { resource, kind: kind.to_owned(), is_namespaced, hash: String::new(), verbs: Vec::new() }
    }
}

/// What discovery told, and what it could not tell.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    pub(crate) served: Vec<Served>,
    /// By group and version, such as `apps/v1`.
    pub(crate) failures: Vec<(String, Error)>,
}

/// All resources of all groups, each once, in its group's preferred version where that has it.
///
/// A group that cannot be read is among the failures and hides no other.
pub(crate) async fn resources(client: &Client) -> Result<Discovered> {
    let mut found = Discovered::default();
    let mut seen = HashSet::new();
    for (group, version) in versions(client).await? {
        let list = match get(client, &path(&group, &version)).await {
            Ok(list) => list,
            Err(error) => {
                found.failures.push((group_version(&group, &version), error));
                continue;
            }
        };
        for entry in list["resources"].as_array().into_iter().flatten() {
            let served = served(&group, &version, entry);
            let is_part = served.resource.plural.contains('/');
            if !is_part && seen.insert((group.clone(), served.resource.plural.clone())) {
                found.served.push(served);
            }
        }
    }
    Ok(found)
}

/// The resource of a group, in the version that the group prefers where that has it; none if nobody serves it.
pub(crate) async fn resource(client: &Client, group: &str, plural: &str) -> Result<Option<Served>> {
    for (_, version) in versions(client).await?.into_iter().filter(|(name, _)| name == group) {
        let list = match get(client, &path(group, &version)).await {
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        let mut all = list["resources"].as_array().into_iter().flatten();
        if let Some(entry) = all.find(|entry| entry["name"] == plural) {
            return Ok(Some(served(group, &version, entry)));
        }
    }
    Ok(None)
}

/// The resource of a kind by the names in an owner reference; none if nobody serves it.
pub(crate) async fn resource_of(client: &Client, api_version: &str, kind: &str) -> Result<Option<Served>> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let list = match get(client, &path(group, version)).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let all = list["resources"].as_array().into_iter().flatten();
    let mut all = all.map(|entry| served(group, version, entry));
    Ok(all.find(|served| served.kind == kind && !served.resource.plural.contains('/')))
}

/// Every group and version, a group's preferred version before its others.
async fn versions(client: &Client) -> Result<Vec<(String, String)>> {
    let mut versions = vec![(String::new(), "v1".to_owned())];
    let groups = get(client, "/apis").await?;
    for group in groups["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        let preferred = group["preferredVersion"]["version"].as_str();
        let others = group["versions"].as_array().into_iter().flatten();
        let others = others.filter_map(|one| one["version"].as_str()).filter(|one| Some(*one) != preferred);
        versions.extend(preferred.into_iter().chain(others).map(|one| (name.to_owned(), one.to_owned())));
    }
    Ok(versions)
}

fn served(group: &str, version: &str, entry: &Value) -> Served {
    let text = |field: &str| entry[field].as_str().unwrap_or_default();
    let verbs = entry["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Served {
        resource: ResourceType::new(group, version, text("name")),
        kind: text("kind").to_owned(),
        is_namespaced: entry["namespaced"] == true,
        hash: text("storageVersionHash").to_owned(),
        verbs: verbs.map(str::to_owned).collect(),
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    serde_json::from_str(&client.get_text(path).await?).map_err(|error| {
        Error::new(Kind::Internal, format!("discovery of {path} is not JSON")).with_source(error)
    })
}

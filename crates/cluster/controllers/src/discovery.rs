//! Which resources the API serves, as its discovery tells: nobody here knows the kinds by heart.

use hako_client::{Client, ResourceType};
use hako_error::{Error, Kind, Result};
use serde_json::Value;

/// A resource with what can be done to it; subresources are left out.
pub(crate) struct Served {
    pub(crate) resource: ResourceType,
    pub(crate) is_namespaced: bool,
    verbs: Vec<String>,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }
}

/// All resources of all groups in their preferred version.
pub(crate) async fn resources(client: &Client) -> Result<Vec<Served>> {
    let mut versions = vec![(String::new(), "v1".to_owned())];
    let groups = get(client, "/apis").await?;
    for group in groups["groups"].as_array().into_iter().flatten() {
        let version = group["preferredVersion"]["version"].as_str().unwrap_or("v1");
        versions.push((group["name"].as_str().unwrap_or_default().to_owned(), version.to_owned()));
    }
    let mut found = Vec::new();
    for (group, version) in versions {
        let path =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let list = get(client, &path).await?;
        for entry in list["resources"].as_array().into_iter().flatten() {
            let name = entry["name"].as_str().unwrap_or_default();
            if name.contains('/') {
                continue;
            }
            let verbs = entry["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            found.push(Served {
                resource: ResourceType::new(&group, &version, name),
                is_namespaced: entry["namespaced"] == true,
                verbs: verbs.map(str::to_owned).collect(),
            });
        }
    }
    Ok(found)
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    serde_json::from_str(&client.get_text(path).await?).map_err(|error| {
        Error::new(Kind::Internal, format!("discovery of {path} is not JSON")).with_source(error)
    })
}

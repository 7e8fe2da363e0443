//! Groups of this server and of aggregated ones together, in the order that APIServices say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{ApiService, Remote, Services, locals};
use crate::kinds::Kinds;
use crate::openapi::{self, Document, Swagger};

/// A group with its versions, the preferred one first.
pub(crate) struct Group {
    pub name: String,
    /// Each with who serves it, if not this server.
    pub versions: Vec<(String, Option<Arc<Remote>>)>,
}

#[derive(Default)]
struct Found {
    priority: i64,
    versions: Vec<(i64, String, Option<Arc<Remote>>)>,
}

/// All groups, the most important one first.
pub(crate) fn groups(kinds: &Kinds, services: &Services) -> Vec<Group> {
    let mut found: BTreeMap<&str, Found> = BTreeMap::new();
    let mut add = |group, version: &str, (of_group, of_version), remote| {
        let it: &mut Found = found.entry(group).or_default();
        it.priority = it.priority.max(of_group);
        it.versions.push((of_version, version.to_owned(), remote));
    };
    let mut local = HashSet::new();
    for row in kinds.all().iter().filter(|row| local.insert((&*row.group, &*row.version))) {
        let service = services.get(&format!("{}.{}", row.version, row.group));
        let said = service.filter(|service| service.remote.is_none());
        let said = said.map(|service| (service.group_priority, service.version_priority));
        let priorities = said.unwrap_or_else(|| locals::priorities(&row.group, &row.version));
        add(&*row.group, &row.version, priorities, None);
    }
    for service in services.values() {
        let ApiService { group, version, .. } = &**service;
        if service.remote.is_some() && !local.contains(&(&**group, &**version)) {
            let priorities = (service.group_priority, service.version_priority);
            add(group, version, priorities, service.remote.clone());
        }
    }
    let mut found: Vec<(&str, Found)> = found.into_iter().collect();
    found.sort_by_key(|(_, found)| Reverse(found.priority));
    let in_order = |(name, mut found): (&str, Found)| {
        found.versions.sort_by(|(one, one_name, _), (other, other_name, _)| {
            other.cmp(one).then_with(|| hako_kube::version::compare(other_name, one_name))
        });
        let versions = found.versions.into_iter().map(|(_, name, remote)| (name, remote)).collect();
        Group { name: name.to_owned(), versions }
    };
    found.into_iter().map(in_order).collect()
}

/// What aggregated servers that answer say of their kinds in OpenAPI, version 2.
pub(crate) fn swaggers(kinds: &Kinds, services: &Services) -> Vec<Arc<Swagger>> {
    let remotes = services.values().filter_map(|service| service.remote.as_ref());
    let own = remotes
        .filter(|remote| remote.is_available() && kinds.of(&remote.group, &remote.version).next().is_none());
    own.filter_map(|remote| remote.state.read().swagger.clone().map(|(_, swagger)| swagger)).collect()
}

/// The index of OpenAPI, version 3, with the documents that aggregated servers say they have.
pub(crate) fn openapi_index(kinds: &Kinds, services: &Services) -> Document {
    let mut index: Value = serde_json::from_slice(&openapi::v3_index(kinds).bytes).unwrap_or_default();
    for remote in services.values().filter_map(|service| service.remote.as_ref()) {
        let (name, url) =
            (format!("apis/{}/{}", remote.group, remote.version), remote.state.read().openapi.clone());
        if let Some(url) = url.filter(|_| remote.is_available())
            && let Some(paths) = index.get_mut("paths").and_then(Value::as_object_mut)
            && !paths.contains_key(&name)
        {
            paths.insert(name, json!({"serverRelativeURL": url}));
        }
    }
    Document::of(&index)
}

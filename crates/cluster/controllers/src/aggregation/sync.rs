//! One step of an aggregating role.

use super::Controller;
use crate::conditions;
use crate::wiring::Key;
use hako_client::{Api, Patch};
use hako_error::Result;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(role) = self.roles.get("", &key.1).filter(|role| role.metadata.deletion_timestamp.is_none())
        else {
            return Ok(None);
        };
        let Some(rules) = rules(&role, &self.roles.list())? else { return Ok(None) };
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(None);
        }
        let patch = Patch::Merge(json!({ "metadata": { "uid": role.metadata.uid }, "rules": rules }));
        let api: Api<ClusterRole> = self.client.all();
        match api.patch(&key.1, &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(None),
        }
    }
}

/// The rules of all roles selected, by their names, each rule once; none for a role that selects none.
fn rules(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Result<Option<Vec<PolicyRule>>> {
    let Some(aggregation) = &role.aggregation_rule else { return Ok(None) };
    let selectors = aggregation.cluster_role_selectors.iter().flatten();
    let selectors = selectors.map(conditions::selector).collect::<Result<Vec<_>>>()?;
    let is_selected = |one: &&Arc<ClusterRole>| {
        one.metadata.name != role.metadata.name
            && selectors.iter().any(|selector| selector.matches_opt(one.metadata.labels.as_ref()))
    };
    let mut selected: Vec<_> = all.iter().filter(is_selected).collect();
    selected.sort_by_key(|one| one.metadata.name.clone());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in selected.into_iter().flat_map(|one| one.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    Ok(Some(rules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn role(name: &str, label: &str, verb: &str) -> Arc<ClusterRole> {
        let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": [verb] }]);
        let role = json!({ "metadata": { "name": name, "labels": { "to": label } }, "rules": rules });
        Arc::new(serde_json::from_value(role).unwrap())
    }

    #[test]
    fn rules_come_by_name_and_once() {
        let selectors: Value = json!([{ "matchLabels": { "to": "x" } }, { "matchLabels": { "to": "y" } }]);
        let sum = json!({ "metadata": { "name": "sum", "labels": { "to": "x" } },
            "aggregationRule": { "clusterRoleSelectors": selectors } });
        let sum: ClusterRole = serde_json::from_value(sum).unwrap();
        let all =
            [role("b", "x", "list"), role("a", "y", "get"), role("c", "x", "get"), role("d", "z", "delete")];
        let rules = rules(&sum, &all).unwrap().unwrap();
        let verbs: Vec<&str> = rules.iter().map(|rule| rule.verbs[0].as_str()).collect();
        assert_eq!(verbs, ["get", "list"]);
    }
}

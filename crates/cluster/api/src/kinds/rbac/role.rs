//! `Role` and `ClusterRole`.

use super::super::columns::{Column, name};
use super::super::row::{KindRow, Scope};
use super::super::value::{at, items, text};
use super::{GROUP, name_faults};
use hako_kube::{
    LabelSelector,
    field::{self, Faults},
};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

const CREATED_AT: Column = Column::date("Created At", "When the object was made.");

pub(in crate::kinds) const ROLE: KindRow = KindRow {
    group: GROUP,
    kind: "Role",
    plural: "roles",
    singular: "role",
    type_name: "io.k8s.api.rbac.v1.Role",
    columns: &[Column::NAME, CREATED_AT],
    cells,
    name_faults,
    validate,
    ..KindRow::BASE
};

pub(in crate::kinds) const CLUSTER_ROLE: KindRow = KindRow {
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.rbac.v1.ClusterRole",
    validate: validate_cluster_role,
    ..ROLE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, &["metadata", "creationTimestamp"]).into()]
}

fn validate(object: &Value) -> Faults {
    rules(object, true)
}

fn validate_cluster_role(object: &Value) -> Faults {
    let mut causes = rules(object, false);
    let Some(aggregation) = at(object, &["aggregationRule"]) else { return causes };
    let selectors = items(aggregation, &["clusterRoleSelectors"]);
    if selectors.is_empty() {
        causes.push(field::required(
            "aggregationRule.clusterRoleSelectors",
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        ));
    }
    for (index, selector) in selectors.iter().enumerate() {
        let path = field::index("aggregationRule.clusterRoleSelectors", index);
        if let Ok(selector) = LabelSelector::deserialize(selector) {
            causes.extend(selector.validate(&path));
        }
    }
    causes
}

fn rules(object: &Value, is_namespaced: bool) -> Faults {
    let mut causes = Faults::new();
    for (index, rule) in items(object, &["rules"]).iter().enumerate() {
        self::rule(rule, &field::index("rules", index), is_namespaced, &mut causes);
    }
    causes
}

fn rule(rule: &Value, path: &str, is_namespaced: bool, causes: &mut Faults) {
    let is_given = |name: &str| !items(rule, &[name]).is_empty();
    if !is_given("verbs") {
        causes.push(field::required(field::child(path, "verbs"), "verbs must contain at least one value"));
    }
    if is_given("nonResourceURLs") {
        let urls = field::child(path, "nonResourceURLs");
        let value = rule.get("nonResourceURLs").cloned().unwrap_or(Value::Null);
        if is_namespaced {
            causes.push(field::invalid(
                &urls,
                value.clone(),
                "namespaced rules cannot apply to non-resource URLs",
            ));
        }
        if ["apiGroups", "resources", "resourceNames"].into_iter().any(is_given) {
            causes.push(field::invalid(
                &urls,
                value,
                "rules cannot apply to both regular resources and non-resource URLs",
            ));
        }
        return;
    }
    if !is_given("apiGroups") {
        let detail = "resource rules must supply at least one api group";
        causes.push(field::required(field::child(path, "apiGroups"), detail));
    }
    if !is_given("resources") {
        let detail = "resource rules must supply at least one resource";
        causes.push(field::required(field::child(path, "resources"), detail));
    }
}

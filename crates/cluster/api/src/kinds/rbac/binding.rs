//! `RoleBinding` and `ClusterRoleBinding`.

use super::super::columns::{Column, age, name};
use super::super::row::{KindRow, Scope};
use super::super::value::{at, items, object_mut, set_default, text};
use super::{GROUP, name_faults};
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(in crate::kinds) const ROLE_BINDING: KindRow = KindRow {
    group: GROUP,
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    type_name: "io.k8s.api.rbac.v1.RoleBinding",
    columns: &[
        Column::NAME,
        Column::text("Role", "The role that is granted."),
        Column::AGE,
        Column::text("Users", "The users it is granted to.").wide(),
        Column::text("Groups", "The groups it is granted to.").wide(),
        Column::text("ServiceAccounts", "The service accounts it is granted to.").wide(),
    ],
    cells,
    name_faults,
    default,
    validate,
    validate_update,
    ..KindRow::BASE
};

pub(in crate::kinds) const CLUSTER_ROLE_BINDING: KindRow = KindRow {
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.rbac.v1.ClusterRoleBinding",
    validate: validate_cluster,
    ..ROLE_BINDING
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let of_kind = |kind: &str| -> Value {
        let shown = |subject: &&Value| text(subject, &["kind"]) == kind;
        let name = |subject: &Value| match kind {
            "ServiceAccount" => format!("{}/{}", text(subject, &["namespace"]), text(subject, &["name"])),
            _ => text(subject, &["name"]).to_owned(),
        };
        let names: Vec<String> = items(object, &["subjects"]).iter().filter(shown).map(name).collect();
        names.join(", ").into()
    };
    let role = format!("{}/{}", text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
    vec![
        name(object),
        role.into(),
        age(object, now),
        of_kind("User"),
        of_kind("Group"),
        of_kind("ServiceAccount"),
    ]
}

fn default(object: &mut Value) {
    if let Some(role) = object_mut(object, &["roleRef"]) {
        set_default(role, "apiGroup", GROUP);
    }
    let Some(map) = object.as_object_mut() else { return };
    for subject in super::super::value::each_mut(map, "subjects") {
        // A service account is of the core group, whose name is empty and left out.
        if let Some("User" | "Group") = subject.get("kind").and_then(Value::as_str) {
            set_default(subject, "apiGroup", GROUP);
        }
    }
}

fn validate(object: &Value) -> Faults {
    binding(object, &["Role", "ClusterRole"])
}

fn validate_cluster(object: &Value) -> Faults {
    binding(object, &["ClusterRole"])
}

fn binding(object: &Value, roles: &[&str]) -> Faults {
    let mut causes = Faults::new();
    let group = text(object, &["roleRef", "apiGroup"]);
    if group != GROUP {
        causes.push(field::not_supported("roleRef.apiGroup", group, &[GROUP]));
    }
    let kind = text(object, &["roleRef", "kind"]);
    if !roles.contains(&kind) {
        causes.push(field::not_supported("roleRef.kind", kind, roles));
    }
    let role = text(object, &["roleRef", "name"]);
    if role.is_empty() {
        causes.push(field::required("roleRef.name", ""));
    }
    for fault in name_faults(role) {
        causes.push(field::invalid("roleRef.name", role, &fault));
    }
    let is_namespaced = roles.contains(&"Role");
    for (index, subject) in items(object, &["subjects"]).iter().enumerate() {
        self::subject(subject, &field::index("subjects", index), is_namespaced, &mut causes);
    }
    causes
}

fn subject(subject: &Value, path: &str, is_namespaced: bool, causes: &mut Faults) {
    let (name, group) = (text(subject, &["name"]), text(subject, &["apiGroup"]));
    if name.is_empty() {
        causes.push(field::required(field::child(path, "name"), ""));
    }
    match text(subject, &["kind"]) {
        "ServiceAccount" => {
            if !name.is_empty() {
                let of = |fault: String| field::invalid(field::child(path, "name"), name, &fault);
                causes.extend(names::dns_subdomain(name).into_iter().map(of));
            }
            if !group.is_empty() {
                causes.push(field::not_supported(field::child(path, "apiGroup"), group, &[""]));
            }
            if !is_namespaced && text(subject, &["namespace"]).is_empty() {
                causes.push(field::required(field::child(path, "namespace"), ""));
            }
        }
        kind @ ("User" | "Group") => {
            if name.is_empty() {
                let detail = format!("{} name cannot be empty", kind.to_lowercase());
                causes.push(field::invalid(field::child(path, "name"), "", &detail));
            }
            if group != GROUP {
                causes.push(field::not_supported(field::child(path, "apiGroup"), group, &[GROUP]));
            }
        }
        other => {
            let known = ["ServiceAccount", "User", "Group"];
            causes.push(field::not_supported(field::child(path, "kind"), other, &known));
        }
    }
}

/// What is granted never changes: that would grant without asking.
fn validate_update(new: &Value, old: &Value) -> Faults {
    let (is, was) = (at(new, &["roleRef"]), at(old, &["roleRef"]));
    if is == was {
        return Faults::new();
    }
    let value = is.cloned().unwrap_or_else(|| json!({}));
    Faults::from([field::invalid("roleRef", value, "cannot change roleRef")])
}

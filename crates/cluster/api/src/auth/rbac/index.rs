//! Roles by name, and bindings by whom they are for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use super::rule::Rule;
use crate::auth::{Attributes, Identity};

/// All roles and bindings.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By namespace (empty for cluster roles) and name.
    roles: HashMap<(String, String), Arc<[Rule]>>,
    /// By namespace (empty for cluster-wide ones) and name.
    bindings: HashMap<(String, String), Binding>,
    /// The names of the bindings of a namespace that name a subject.
    by_subject: HashMap<(String, Subject), HashSet<String>>,
}

/// Whom a binding is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    User(String),
    Group(String),
}

/// A binding: a role for subjects.
#[derive(Debug)]
struct Binding {
    /// The namespace and name of the role.
    role: (String, String),
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
struct RoleObject {
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingObject {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<SubjectObject>>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct SubjectObject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: Option<String>,
}

/// What an object under the group's keys is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Role,
    Binding,
}

impl Index {
    /// Takes in an object as it is now; none if it is gone. What cannot be read grants nothing.
    pub(super) fn put(&mut self, part: Part, namespace: &str, name: &str, stored: Option<&[u8]>) {
        let key = (namespace.to_owned(), name.to_owned());
        match part {
            Part::Role => {
                let rules = stored.and_then(|stored| serde_json::from_slice::<RoleObject>(stored).ok());
                match rules {
                    Some(role) => self.roles.insert(key, role.rules.unwrap_or_default().into()),
                    None => self.roles.remove(&key),
                };
            }
            Part::Binding => {
                self.forget_binding(&key);
                let binding = stored.and_then(|stored| serde_json::from_slice::<BindingObject>(stored).ok());
                if let Some(binding) = binding {
                    self.add_binding(key, binding);
                }
            }
        }
    }

    fn forget_binding(&mut self, key: &(String, String)) {
        let Some(old) = self.bindings.remove(key) else { return };
        for subject in old.subjects {
            let place = (key.0.clone(), subject);
            if let Some(names) = self.by_subject.get_mut(&place) {
                names.remove(&key.1);
                if names.is_empty() {
                    self.by_subject.remove(&place);
                }
            }
        }
    }

    fn add_binding(&mut self, key: (String, String), binding: BindingObject) {
        let role_namespace = if binding.role_ref.kind == "Role" { key.0.clone() } else { String::new() };
        let subject = |one: SubjectObject| match one.kind.as_str() {
            "User" => Some(Subject::User(one.name)),
            "Group" => Some(Subject::Group(one.name)),
            "ServiceAccount" => {
                let namespace = one.namespace.filter(|it| !it.is_empty()).unwrap_or_else(|| key.0.clone());
                Some(Subject::User(format!("system:serviceaccount:{namespace}:{}", one.name)))
            }
            _ => None,
        };
        let subjects: Vec<Subject> =
            binding.subjects.unwrap_or_default().into_iter().filter_map(subject).collect();
        for subject in &subjects {
            let names = self.by_subject.entry((key.0.clone(), subject.clone())).or_default();
            names.insert(key.1.clone());
        }
        let binding = Binding { role: (role_namespace, binding.role_ref.name), subjects };
        self.bindings.insert(key, binding);
    }

    /// By which binding something is allowed, in upstream's words; nothing if it is by none.
    pub(crate) fn reason(&self, identity: &Identity, wanted: Attributes<'_>) -> Option<String> {
        let namespace = match wanted {
            Attributes::Resource { namespace, .. } => namespace,
            Attributes::Path { .. } => "",
        };
        let places = std::iter::once("").chain(Some(namespace).filter(|it| !it.is_empty()));
        for place in places {
            for subject in subjects(identity) {
                let names = self.by_subject.get(&(place.to_owned(), subject.clone()));
                for name in names.into_iter().flatten() {
                    let binding = self.bindings.get(&(place.to_owned(), name.clone()))?;
                    let (role_namespace, role) = &binding.role;
                    let rules = self.roles.get(&binding.role);
                    if !rules.is_some_and(|rules| rules.iter().any(|rule| rule.allows(wanted))) {
                        continue;
                    }
                    let by = match place {
                        "" => format!("ClusterRoleBinding {name:?}"),
                        place => format!("RoleBinding \"{name}/{place}\""),
                    };
                    let kind = if role_namespace.is_empty() { "ClusterRole" } else { "Role" };
                    return Some(format!("RBAC: allowed by {by} of {kind} {role:?} to {}", shown(&subject)));
                }
            }
        }
        None
    }

    /// The rules of a role: of a namespace, or of the cluster where that is empty.
    pub(crate) fn role(&self, namespace: &str, name: &str) -> Option<&Arc<[Rule]>> {
        self.roles.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The rules that a user has in a namespace, those of the whole cluster included.
    pub(crate) fn rules<'a>(
        &'a self,
        identity: &'a Identity,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Rule> + 'a {
        let places = std::iter::once("").chain(Some(namespace).filter(|it| !it.is_empty()));
        places
            .flat_map(move |place| subjects(identity).map(move |subject| (place.to_owned(), subject)))
            .flat_map(move |place| {
                let names = self.by_subject.get(&place).into_iter().flatten();
                names.filter_map(move |name| self.bindings.get(&(place.0.clone(), name.clone())))
            })
            .filter_map(|binding| self.roles.get(&binding.role))
            .flat_map(|rules| rules.iter())
    }
}

/// As reasons name it: accounts by name and namespace.
fn shown(subject: &Subject) -> String {
    match subject {
        Subject::Group(name) => format!("Group {name:?}"),
        Subject::User(name) => {
            let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            match account {
                Some((namespace, name)) => format!("ServiceAccount \"{name}/{namespace}\""),
                None => format!("User {name:?}"),
            }
        }
    }
}

fn subjects(identity: &Identity) -> impl Iterator<Item = Subject> + '_ {
    let groups = identity.groups.iter().map(|group| Subject::Group(group.clone()));
    std::iter::once(Subject::User(identity.user.clone())).chain(groups)
}

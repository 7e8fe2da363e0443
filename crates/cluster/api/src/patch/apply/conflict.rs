//! Fields that others own with another value.

use super::managers::{Manager, Managers, Operation};
use super::merge::{Finder, find as find_value};
use super::{FieldSet, LAST_APPLIED, Path};
use crate::patch::fields::show;
use crate::schema::{Shape, model};
use hako_error::{Classify, FieldCause, Kind};
use serde_json::Value;
use std::collections::BTreeMap;

/// One field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: Manager,
    /// Which field.
    pub path: Path,
}

/// Why a configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Others own some of the fields.
    #[error("{}", message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration says who owns what.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
}

impl Classify for ApplyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Conflicts(_) => Kind::Conflict,
            Self::ManagedFields => Kind::Invalid,
        }
    }

    fn causes(&self) -> Vec<FieldCause> {
        let Self::Conflicts(conflicts) = self else { return Vec::new() };
        let cause = |conflict: &Conflict| FieldCause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", name(&conflict.manager)),
            field: show(&conflict.path),
        };
        conflicts.iter().map(cause).collect()
    }
}

fn name(manager: &Manager) -> String {
    let mut text = format!("{:?}", manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", manager.subresource));
    }
    if manager.operation == Operation::Update {
        text.push_str(&format!(" using {}", manager.api_version));
    }
    text
}

fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            name(&one.manager),
            show(&one.path)
        );
    }
    let mut by_manager: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for conflict in conflicts {
        let paths = by_manager.entry(name(&conflict.manager)).or_default();
        paths.push(format!("- {}", show(&conflict.path)));
    }
    let parts: Vec<String> = by_manager
        .iter()
        .map(|(name, paths)| format!("conflicts with {name}:\n{}", paths.join("\n")))
        .collect();
    format!("Apply failed with {} conflicts: {}", conflicts.len(), parts.join("\n"))
}

/// Every field that the application changes and somebody else owns. An empty map asks for a map, whatever is in it: so
/// what counts is `merged`, what comes of it.
pub(super) fn find(
    managers: &Managers,
    me: &Manager,
    shape: &Shape,
    live: &Value,
    merged: &Value,
    set: &FieldSet,
) -> Vec<Conflict> {
    let model = model();
    let mut conflicts = Vec::new();
    let finder = Finder::default();
    for path in set.paths() {
        let (Some(is), Some(wanted)) =
            (finder.find(model, shape, live, &path), finder.find(model, shape, merged, &path))
        else {
            continue;
        };
        let is_container = matches!(path.last(), Some(super::Step::Key(_)));
        if is == wanted || is_container {
            continue;
        }
        for manager in managers.owners(&path) {
            if manager != me {
                conflicts.push(Conflict { manager: manager.clone(), path: path.clone() });
            }
        }
    }
    conflicts
}

/// Who went from client-side to server-side apply with one tool conflicts with nobody about what that tool applied
/// and nobody changed since.
pub(super) fn forgive_last_applied(conflicts: &mut Vec<Conflict>, managers: &mut Managers, live: &Value) {
    let annotation = live["metadata"]["annotations"].get(LAST_APPLIED).and_then(Value::as_str);
    let Some(last) = annotation.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
    let (model, mut forgiven) = (model(), Vec::new());
    conflicts.retain(|conflict| {
        let value = |object: &Value| find_value(model, &Shape::Any, object, &conflict.path).cloned();
        let is_ours = conflict.manager.name.starts_with("kubectl") && value(&last).is_some();
        let is_same = is_ours && value(&last) == value(live);
        if is_same {
            forgiven.push(conflict.clone());
        }
        !is_same
    });
    for conflict in forgiven {
        managers.take(&conflict.manager, &conflict.path);
    }
}

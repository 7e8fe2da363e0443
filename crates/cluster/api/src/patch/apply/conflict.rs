//! Fields that others own with another value.

use super::compare::Changes;
use super::managers::{Manager, Operation};
use super::{Apply, FieldSet, LAST_APPLIED, Path};
use crate::patch::fields::show;
use crate::schema::model;
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
    /// Items of lists cannot be told apart, or members are not the kind's.
    #[error("failed to create typed patch object ({object}): {}", listed(.faults))]
    Typed {
        /// What is applied.
        object: String,
        /// Where, and which.
        faults: Vec<String>,
    },
    /// The configuration says who owns what.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
}

impl Classify for ApplyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Conflicts(_) => Kind::Conflict,
            Self::Typed { .. } | Self::ManagedFields => Kind::Invalid,
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

/// One fault, or more of them on a line each.
fn listed(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        all => format!("errors:\n  {}", all.join("\n  ")),
    }
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

/// Whether an application may go on in spite of conflicts.
///
/// Who went from client-side to server-side apply with one tool conflicts with nobody about what that tool applied and
/// nobody changed since.
pub(super) fn settle(
    request: &Apply<'_>,
    live: &Value,
    mut conflicts: Vec<Conflict>,
) -> Result<(), ApplyError> {
    if request.force || conflicts.is_empty() {
        return Ok(());
    }
    if request.manager == "kubectl"
        && let Some(allowed) = last_applied(request, live)
    {
        conflicts.retain(|conflict| !allowed.has(&conflict.path));
    }
    if conflicts.is_empty() { Ok(()) } else { Err(ApplyError::Conflicts(conflicts)) }
}

/// The fields that the annotation of client-side apply has as they are.
fn last_applied(request: &Apply<'_>, live: &Value) -> Option<FieldSet> {
    let text = live.pointer("/metadata/annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last.get("apiVersion")? != request.api_version {
        return None;
    }
    let mut set = FieldSet::of(model(), request.shape, &last);
    let changes = Changes::of(request.shape, &last, live);
    set.subtract_below(&changes.gone);
    set.subtract(&changes.changed);
    Some(set)
}

//! Options of writes, as meta/v1 has them: faults are told all at once, under the name of the options.

use hako_error::FieldCause;
use hako_kube::{field, status};

use crate::http::{Failure, Outcome, Query, Request};
use crate::patch::apply;
use crate::schema::FieldValidation;

const FIELD_VALIDATION: &str = "fieldValidation";
const FIELD_MANAGER: &str = "fieldManager";

/// Which options a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionsOf {
    Create,
    Update,
    /// Of a patch that is no application.
    Patch,
    Apply,
}

impl OptionsOf {
    const fn kind(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
        }
    }
}

/// Checks the options of a write; whether it is to store nothing.
pub(super) fn is_dry_run(request: &Request, of: OptionsOf) -> Outcome<bool> {
    let query = &request.query;
    let stages = stages(query);
    let mut causes: Vec<FieldCause> = dry_run_fault(&stages).into_iter().collect();
    if of == OptionsOf::Patch && query.text("force").is_some() {
        causes.push(field::forbidden("force", "may not be specified for non-apply patch"));
    }
    let manager = query.text(FIELD_MANAGER).unwrap_or("");
    if of == OptionsOf::Apply && manager.is_empty() {
        causes.push(field::required(FIELD_MANAGER, "is required for apply patch"));
    }
    causes.extend(apply::manager_faults(FIELD_MANAGER, manager));
    let validation = query.text(FIELD_VALIDATION).unwrap_or("");
    if FieldValidation::parse(validation).is_none() {
        causes.push(field::not_supported(FIELD_VALIDATION, validation, &["", "Ignore", "Strict", "Warn"]));
    }
    if causes.is_empty() { Ok(!stages.is_empty()) } else { Err(refused(of.kind(), causes)) }
}

/// What is left out of a write.
pub(super) fn stages(query: &Query) -> Vec<String> {
    query.all("dryRun").filter(|stage| !stage.is_empty()).map(str::to_owned).collect()
}

/// Nothing but all can be left out.
pub(super) fn dry_run_fault(stages: &[String]) -> Option<FieldCause> {
    let is_known = stages.iter().all(|stage| stage == "All");
    // As upstream prints a list.
    let shown = stages.iter().map(|stage| format!("{stage:?}")).collect::<Vec<_>>().join(", ");
    let message = format!("Unsupported value: []string{{{shown}}}: supported values: \"All\"");
    let (reason, field) = ("FieldValueNotSupported".to_owned(), "dryRun".to_owned());
    (!is_known).then_some(FieldCause { reason, message, field })
}

/// A refusal of options.
pub(super) fn refused(kind: &str, causes: Vec<FieldCause>) -> Failure {
    let subject = status::Subject {
        group: "meta.k8s.io".to_owned(),
        kind: kind.to_owned(),
        ..status::Subject::default()
    };
    Failure::about(&status::invalid(&subject, causes), &subject)
}

//! The hooks that run on the host, with the state as the OCI has it.

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Hook, Spec};

use super::state::{Phase, Record, load_spec, oci_state};
use crate::hooks::{plans, run_all};

fn run(kind: &str, hooks: Option<&Vec<Hook>>, record: &Record, phase: Phase) -> Result<()> {
    let hooks = plans(hooks);
    if hooks.is_empty() {
        return Ok(());
    }
    run_all(kind, &hooks, &oci_state(record, phase).to_string())
        .map_err(|text| Error::new(Kind::FailedPrecondition, text))
}

/// Before the container is told to be created: the old kind, and the one that replaced it.
pub(super) fn before_create(spec: &Spec, record: &Record) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    run("prestart", hooks.prestart().as_ref(), record, Phase::Creating)?;
    run("createRuntime", hooks.create_runtime().as_ref(), record, Phase::Creating)
}

/// When the program runs.
pub(super) fn after_start(spec: Option<&Spec>, record: &Record) -> Result<()> {
    let hooks = spec.and_then(|spec| spec.hooks().as_ref());
    run("poststart", hooks.and_then(|hooks| hooks.poststart().as_ref()), record, Phase::Running)
}

/// When nothing is left. The container is gone whatever they say, so their failure is a warning.
pub(super) fn after_delete(record: &Record) {
    let spec = load_spec(&record.bundle).ok();
    let hooks = spec.as_ref().and_then(|spec| spec.hooks().as_ref());
    for hook in hooks.and_then(|hooks| hooks.poststop().as_ref()).into_iter().flatten() {
        if let Err(error) = run("poststop", Some(&vec![hook.clone()]), record, Phase::Stopped) {
            super::warn(&error.to_string());
        }
    }
}

//! A time namespace: made and entered by the init, as a child that is born into one finds its clocks fixed.

use std::fs;
use std::os::fd::AsFd;

use hako_sys::CloneFlags;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::{InitError, failed};
use crate::plan::{NamespacePlan, UserPlan};

pub(super) fn enter_new(plan: &NamespacePlan) -> Result<(), InitError> {
    let Some(offsets) = &plan.time else { return Ok(()) };
    hako_sys::unshare(CloneFlags::NEWTIME)
        .map_err(failed("cannot make a time namespace; this takes Linux 5.6"))?;
    if !offsets.is_empty() {
        let is_own = matches!(plan.user, Some(UserPlan::New(_)));
        set_offsets(offsets, is_own)?;
    }
    let made = fs::File::open("/proc/self/ns/time_for_children")
        .map_err(failed("cannot open the new time namespace"))?;
    move_into_link_name_space(made.as_fd(), Some(LinkNameSpaceType::Time))
        .map_err(failed("cannot enter the new time namespace"))
}

/// Files of a process that may not be traced belong to the host's root. In a user namespace that is its own nobody is
/// there yet who could trace it.
fn set_offsets(offsets: &[(String, i64, u32)], is_own: bool) -> Result<(), InitError> {
    let protect = |how| set_dumpable_behavior(how).map_err(failed("cannot protect the init from tracing"));
    if is_own {
        protect(DumpableBehavior::Dumpable)?;
    }
    let lines: String =
        offsets.iter().map(|(clock, secs, nanosecs)| format!("{clock} {secs} {nanosecs}\n")).collect();
    let written = fs::write("/proc/self/timens_offsets", lines)
        .map_err(failed(format!("cannot set the offsets of clocks to {offsets:?}")));
    protect(DumpableBehavior::NotDumpable)?;
    written
}

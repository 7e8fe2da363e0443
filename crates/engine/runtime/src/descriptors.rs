//! How many descriptors processes may have. An engine has several for every sandbox, and the usual limit is 1,024; programs in
//! containers get the limit that hako was started with, as some close all that they may have, or know no more than 1,024.

use std::ffi::OsString;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a shim is told its limit by.
const WORD: &str = "--descriptors=";

/// The limit that this process was started with, where it has another now.
static GIVEN: OnceLock<u64> = OnceLock::new();

/// Lets this process have as many as it may at all. Shims that it starts from here on have as many as it had.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let Some(given) = limit.current.filter(|_| limit.current != limit.maximum) else { return };
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => drop(GIVEN.set(given)),
        Err(error) => tracing::debug!(%error, "the number of descriptors stays as it is"),
    }
}

/// What to tell a shim.
pub(crate) fn word() -> Option<String> {
    GIVEN.get().map(|given| format!("{WORD}{given}"))
}

/// In a shim: takes the limit that it was told.
pub(crate) fn take(args: &[OsString]) {
    let told = args.iter().filter_map(|arg| arg.to_str()?.strip_prefix(WORD)?.parse().ok()).next();
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Some(told) = told {
        // Less is always allowed.
        let _more = setrlimit(Resource::Nofile, Rlimit { current: Some(told), maximum });
    }
}

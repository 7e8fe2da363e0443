//! Real containers on this machine's kernel; needs root and a static busybox.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case has failed")]
#![expect(clippy::print_stderr, reason = "a case that is skipped says so")]

mod bed;
mod bundle;
mod callers;
mod cli;
mod hostile;
mod isolation;
mod kernel;
mod lifecycle;
mod limits;
mod oci;
mod once;
mod sharing;
mod shims_group;
mod streams;
mod userns;

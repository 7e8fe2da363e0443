//! Real containers on this machine's kernel; needs root and a static busybox.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case has failed")]

mod bed;
mod cli;
mod hostile;
mod isolation;
mod lifecycle;
mod limits;
mod once;
mod streams;

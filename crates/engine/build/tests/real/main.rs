//! Whole builds with real processes, as root, on a static busybox of this machine.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod attest;
mod bed;
mod collect;
mod devices;
mod distribution;
mod exchange;
mod files;
mod hostile;
mod mounts;
mod peer;
mod platforms;
mod reference;
mod sources;
mod texts;
mod waits;

// Linked in so that this executable can be a runtime's process.
use hako_testkit as _;

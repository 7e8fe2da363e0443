//! End to end: the built `hako`, as root, in a network namespace of its own, driven as users drive it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says why"
)]

mod backups;
mod bad_input;
mod bad_machine;
mod broken_archives;
mod build_flags;
mod build_options;
mod build_terminal;
mod build_transfers;
mod builds;
mod clients;
mod containers;
mod crash;
mod dead_webhooks;
mod debian;
mod demo;
mod engine;
mod etcd;
mod faults;
mod image_options;
mod images;
mod images_crash;
mod in_cluster;
mod interchange;
mod kubectl_sessions;
mod operators;
mod platform;
mod platforms;
mod private;
mod private_git;
#[path = "../programs.rs"]
#[expect(dead_code, reason = "the tests of the API share it and use more of it")]
mod programs;
mod registry_options;
mod remapped;
mod results;
mod scripts;
mod side_by_side;
mod step_limits;

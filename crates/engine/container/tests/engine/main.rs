//! The engine end to end: real shims, real containers, a network namespace as the host. Needs root.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where by its panic"
)]

mod crash;
mod host;
mod life;
mod networks;
mod pod;
mod streams;
mod stuck;
mod volumes;

//! The dataplane on a real kernel: every test has a namespace of its own as "the host".
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod dns;
mod host;
mod services;

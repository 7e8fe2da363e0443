//! The node on the real engine and the real API: containers of busybox say what they see. Needs root.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says where by its panic"
)]

mod machine;
mod namespaces;
mod volumes;

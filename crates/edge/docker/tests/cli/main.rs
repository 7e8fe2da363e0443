//! The docker command line against the real router, engine and builder. Needs root and the docker CLI.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod containers;
mod daemon;
mod health;
mod images;
mod networks;
mod registry;
mod system;
mod volumes;

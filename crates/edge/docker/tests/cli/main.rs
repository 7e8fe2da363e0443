//! The docker command line against the real router, engine and builder. Needs root and the docker CLI.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod archive;
mod archive_races;
mod bollard_life;
mod bollard_sdk;
mod buildkit;
mod changes;
mod compose;
mod containers;
mod control;
mod daemon;
mod devices;
mod events;
mod fields;
mod health;
mod hostconfig;
mod images;
mod likeness;
mod limits;
mod logs;
mod network_kinds;
mod networks;
mod parameters;
mod peer;
mod registry;
mod requests;
mod scripts;
mod sdk;
mod search;
mod seen;
mod sharing;
mod streams;
mod system;
mod table;
mod userns;
mod volumes;

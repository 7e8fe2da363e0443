//! Pull and push against Debian's registry and against servers that misbehave.
#![expect(clippy::unwrap_used, reason = "a test that fails is to stop")]

mod archives;
mod chunks;
mod fake;
mod faults;
mod kill;
mod peer;
mod real;
mod stores;

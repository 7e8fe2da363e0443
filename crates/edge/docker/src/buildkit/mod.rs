//! BuildKit's way to build: the client opens a session, on which the daemon calls the client.
//!
//! ```text
//! docker build                                      hako
//!   POST /session, Upgrade: h2c   ───────────────▶   the connection turns round: we are its gRPC client
//!   POST /build?version=2&session=ID  ───────────▶   the build
//!      FileSync, Secrets, SSH, Auth, FileSend  ◀──   what it needs from the client, when it needs it
//!      one JSON object a line                  ◀──   progress as encoded StatusResponse, the image's id
//! ```
//! Owns: sessions, the protocols that run on them, BuildKit's words for a build and its progress.
//! Does not own: building (hako-build).
//! Invariant: what a client sends is only ever written below the directory of its own build, and is bounded in
//! count, size and time.

mod agent;
mod api;
mod client;
mod control;
mod files;
mod news;
mod peer;
mod progress;
mod session;
mod solve;
mod table;
mod wire;
mod wish;

pub(crate) use api::{build, cancel, judged_query, session};
pub(crate) use control::{grpc, judged_solve};
pub(crate) use files::received;
pub(crate) use table::Table;

//! The registry: OCI distribution 1.1 over a content store, with garbage collected while it serves.
//!
//! Owns: the distribution API, its own metadata (which repository has which blob, manifest and tag), uploads
//! under way, and the decision which blobs are garbage. Does not own: how blobs lie on a disk (`hako-content`)
//! or in a bucket, and what images mean to an engine.
//!
//! # Parts
//!
//! ```text
//!   http      connections, routes, ranges, headers        one place maps errors to `errors[]`
//!    │
//!   Registry  the operations: push, pull, mount, delete, list, collect
//!    ├── uploads    sessions in memory, one writer each
//!    ├── metadata   one redb file; every change is one durable transaction
//!    └── blobs      trait BlobStore: local content store, or an S3 bucket
//! ```
//!
//! # What is kept where
//!
//! A **blob** is bytes under a digest; manifests are blobs too. A **link** says that a repository has a blob. A
//! link has a count of **holds**, the manifests of the same repository that name the blob (a manifest holds its
//! own link once). A link without holds has a **lease**, a time until which it stays: that is what a push has
//! between its first blob and its manifest, and what a blob has after its last manifest was deleted. A `HEAD` that
//! finds a blob renews a lease that is running out, because the client will not push what it was told exists.
//! A blob has a count of **links**. What has none is **unlinked** and its bytes go.
//!
//! ```text
//!             upload committed, mounted                manifest put
//!   (nothing) ───────────────────────► link, leased ───────────────► link, held
//!       ▲                                  │   ▲                         │
//!       │ bytes deleted     lease over     │   └──── last manifest ──────┘
//!   unlinked ◄─────────────────────────────┘             deleted
//! ```
//!
//! # Order, and what a crash at each step leaves
//!
//! | step | order | a crash leaves | repaired by |
//! |---|---|---|---|
//! | upload | bytes go to an ingest file nobody sees | the ingest | removed at open; the client's upload is unknown and starts again |
//! | commit of a blob | 1 bytes durable and visible, 2 transaction: link, count | after 1: bytes without a record | the sweep at the start of the collector deletes them |
//! | manifest | 1 its bytes as a blob, 2 one transaction: record, holds, tags, referrers | after 1: as above | the sweep |
//! | delete | one transaction: tags, record, holds; links get leases | nothing half-way | |
//! | lease over | one transaction: links go, counts fall, blobs become unlinked | nothing half-way | |
//! | unlinked | 1 bytes deleted, 2 transaction: record gone | after 1: a record without bytes and links | the next round deletes again, missing bytes are fine |
//!
//! Steps 1 and 2 of a commit and of a deletion exclude each other for the same digest by a lock in memory
//! ([`stripes`]); everything else is ordered by the metadata's transactions. Nothing else is ever locked: pushes and
//! pulls go on during collection, and an open file of deleted bytes is readable to its end.
//!
//! Invariant: whatever a link names has its bytes, complete and hashed; whatever a manifest record names has a
//! link with a hold.

mod auth;
mod blobs;
mod check;
mod clock;
mod condition;
pub mod config;
mod error;
mod events;
mod http;
mod manifest;
mod metadata;
mod name;
mod policy;
mod registry;
mod service;
mod stripes;
mod uploads;
mod upstream;

pub use blobs::{BlobBody, BlobStore, BlobUpload, LocalBlobs, S3Blobs};
pub use check::{Checked, check, check_bucket};
pub use config::Config;
pub use error::{ErrorCode, RegistryError};
pub use manifest::Manifest;
pub use name::{Reference, Repository, Tag};
pub use registry::{Collected, Limits, Registry, Retired};
pub use service::Service;

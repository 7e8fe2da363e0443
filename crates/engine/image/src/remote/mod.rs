//! The client's side of the distribution API: OCI distribution specification 1.1, and the token
//! authentication of Docker's registry.
//!
//! Owns: connections, TLS, challenges and tokens, redirects, retries, and one method for each call of the API.
//! Does not own: what is done with images ([`crate::transfer`]), credentials at rest.
//!
//! ```text
//! RemoteClient::new(host, options) -> get_manifest, get_blob, upload_blob, ...     one registry
//!      one call = credentials known so far -> answer
//!                 401 -> challenge -> token or Basic -> once more
//!                 307 -> the other place, without the Authorization of this one
//!                 429, 5xx, broken connection -> wait, at most `retries` times
//! ```
//!
//! Invariant: credentials and tokens go to the registry's own host and to the realm that it named, and nowhere
//! else; bytes that a digest names are never handed out as verified before they were hashed.

mod auth;
mod blobs;
mod challenge;
mod client;
mod connect;
mod error;
mod growth;
mod manifests;
mod payload;
mod search;
mod upload;

pub use auth::Credentials;
pub use blobs::BlobStream;
pub use client::{PlainHttp, RemoteClient, RemoteOptions};
pub use error::RemoteError;
pub use growth::Growth;
pub use manifests::{ManifestHead, Page, RemoteManifest};
pub use payload::{Payload, Sent};
pub use search::{Found, SEARCH_MAX};
pub use upload::{Mount, Upload};

/// The largest manifest that is read or sent, distribution specification, "Pushing Manifests": 4 MiB.
pub const MANIFEST_LIMIT: usize = 4 << 20;

/// What a call wants to do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
    /// Delete.
    Delete,
}

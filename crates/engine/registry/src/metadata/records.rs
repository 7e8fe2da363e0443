//! What the tables hold.

use hako_names::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RepositoryRecord {
    /// When its first blob came.
    pub created_unix_s: u64,
    /// The sizes of its links together: what a quota counts.
    pub bytes: u64,
}

/// A blob that some repository has, or had until just now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    /// Its size in bytes.
    pub size: u64,
    /// How many repositories have it.
    pub links: u64,
}

/// A repository has a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkRecord {
    /// The blob's size in bytes.
    pub size: u64,
    /// How many manifests of the repository name it.
    pub holds: u64,
    /// Without holds, when the link may go.
    pub leased_until_unix_s: u64,
}

/// A manifest of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ManifestRecord {
    /// Its media type, as the client named it.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was put last; in a cache, when it was last wanted.
    pub pushed_unix_s: u64,
    /// Configuration and layers.
    pub blobs: Vec<Digest>,
    /// An index's manifests.
    pub manifests: Vec<Digest>,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// Its type in the referrers API.
    pub artifact_type: Option<String>,
    /// Its annotations, shown in the referrers API.
    pub annotations: BTreeMap<String, String>,
}

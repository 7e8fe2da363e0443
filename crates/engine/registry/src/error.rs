//! What the registry refuses, in the specification's codes.

use crate::name::{Reference, Repository};
use hako_error::{Classify, Kind};
use hako_names::{Digest, ParseDigestError};
use std::path::PathBuf;
use std::time::Duration;

/// The codes of OCI distribution, "Error codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// `BLOB_UNKNOWN`
    BlobUnknown,
    /// `BLOB_UPLOAD_INVALID`
    BlobUploadInvalid,
    /// `BLOB_UPLOAD_UNKNOWN`
    BlobUploadUnknown,
    /// `DIGEST_INVALID`
    DigestInvalid,
    /// `MANIFEST_BLOB_UNKNOWN`
    ManifestBlobUnknown,
    /// `MANIFEST_INVALID`
    ManifestInvalid,
    /// `MANIFEST_UNKNOWN`
    ManifestUnknown,
    /// `NAME_INVALID`
    NameInvalid,
    /// `NAME_UNKNOWN`
    NameUnknown,
    /// `SIZE_INVALID`
    SizeInvalid,
    /// `TAG_INVALID`, of the Docker registry
    TagInvalid,
    /// `UNAUTHORIZED`
    Unauthorized,
    /// `DENIED`
    Denied,
    /// `UNSUPPORTED`
    Unsupported,
    /// `TOOMANYREQUESTS`
    TooManyRequests,
    /// `UNAVAILABLE`, of the Docker registry
    Unavailable,
    /// `UNKNOWN`, of the Docker registry
    Unknown,
}

impl ErrorCode {
    /// The code as it is written in a body.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The repository has no such blob.
    #[error("repository {repository} has no blob {digest}")]
    BlobUnknown {
        /// The repository.
        repository: Repository,
        /// The blob.
        digest: Digest,
    },
    /// A blob that manifests name cannot be deleted.
    #[error("blob {digest} is named by {manifests} manifests of {repository}; delete those first")]
    BlobHeld {
        /// The repository.
        repository: Repository,
        /// The blob.
        digest: Digest,
        /// How many manifests name it.
        manifests: u64,
    },
    /// A manifest that an index names cannot be deleted.
    #[error("manifest {digest} is named by index {index} of {repository}; delete that first")]
    ManifestHeld {
        /// The repository.
        repository: Repository,
        /// The manifest.
        digest: Digest,
        /// One of the indexes.
        index: Digest,
    },
    /// No such upload, or it ended.
    #[error(
        "upload {id:?} is unknown: it ended, was idle for too long, or the registry restarted; start again"
    )]
    UploadUnknown {
        /// The upload's id.
        id: String,
    },
    /// An upload that cannot go on like this.
    #[error("upload {id}: {problem}")]
    UploadInvalid {
        /// The upload's id.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// A chunk that does not begin where the last one ended.
    #[error("upload {id}: the chunk begins at byte {begins}, expected {expected}")]
    OutOfOrder {
        /// The repository.
        repository: Repository,
        /// The upload's id.
        id: String,
        /// Where the chunk begins.
        begins: u64,
        /// How many bytes are here.
        expected: u64,
    },
    /// No digest.
    #[error("the digest is not usable")]
    DigestInvalid {
        /// What is wrong with it.
        source: ParseDigestError,
    },
    /// The bytes hash to something else.
    #[error("the bytes do not hash to {digest}")]
    DigestMismatch {
        /// The digest promised.
        digest: Digest,
        /// What the storage said.
        source: hako_error::Error,
    },
    /// A size that is not as promised.
    #[error("expected {expected} bytes but got {actual}")]
    SizeInvalid {
        /// What was promised.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A manifest names what the repository does not have.
    #[error(
        "the manifest names {} that repository {repository} does not have: {}",
        count(missing),
        list(missing)
    )]
    ManifestBlobUnknown {
        /// The repository.
        repository: Repository,
        /// What is missing.
        missing: Vec<Digest>,
    },
    /// A manifest that is none.
    #[error("the manifest is not valid: {problem}")]
    ManifestInvalid {
        /// What is wrong.
        problem: String,
    },
    /// No such manifest.
    #[error("repository {repository} has no manifest {reference}")]
    ManifestUnknown {
        /// The repository.
        repository: Repository,
        /// The tag or digest.
        reference: Reference,
    },
    /// The client does not accept the manifest's type.
    #[error("manifest {reference} has media type {media_type}, which the request does not accept")]
    NotAcceptable {
        /// The tag or digest.
        reference: Reference,
        /// The manifest's type.
        media_type: String,
    },
    /// What the request presumed is not so.
    #[error("{field} does not hold for {reference} of {repository}; ask for it again, then decide anew")]
    ConditionFailed {
        /// The field that said so.
        field: &'static str,
        /// The repository.
        repository: Repository,
        /// The tag or digest.
        reference: Reference,
    },
    /// No repository name.
    #[error("{name:?} is not a repository name")]
    NameInvalid {
        /// The name.
        name: String,
    },
    /// No such repository.
    #[error("repository {repository} does not exist")]
    NameUnknown {
        /// The repository.
        repository: Repository,
    },
    /// No tag.
    #[error("{tag:?} is not a tag")]
    TagInvalid {
        /// The tag.
        tag: String,
    },
    /// A range that has no byte of the blob.
    #[error("the range has no byte of the blob's {size}")]
    RangeUnsatisfiable {
        /// The blob's size.
        size: u64,
    },
    /// A query or header that cannot be read.
    #[error("{what} is not usable: {problem}")]
    Request {
        /// Which part of the request.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The caller did not prove who it is.
    #[error("authentication required")]
    Unauthorized {
        /// The value of `WWW-Authenticate`.
        challenge: String,
    },
    /// The caller may not.
    #[error("{problem}")]
    Denied {
        /// What may not be done, and why.
        problem: String,
    },
    /// Not for this path or method.
    #[error("{what}")]
    Unsupported {
        /// What is not supported.
        what: String,
        /// The methods that are.
        allowed: &'static str,
    },
    /// The path means nothing here.
    #[error("no such page")]
    NoRoute,
    /// A bound was reached.
    #[error("{what}")]
    TooMany {
        /// Which.
        what: String,
        /// When to come again.
        retry_after: Duration,
    },
    /// A body that is too large.
    #[error("{what} has at most {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The client's body ended early.
    #[error("the request's body was cut")]
    BodyCut,
    /// The registry that this one is a cache of failed, or says no.
    #[error("the upstream registry does not give it")]
    Upstream {
        /// What it said.
        source: hako_error::Error,
    },
    /// The directory is another process's.
    #[error(
        "another registry runs in {}; one process uses a directory at a time: end that one, or give another directory",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// Storage failed.
    #[error("{0}")]
    Storage(hako_error::Error),
    /// The metadata failed.
    #[error("the registry's metadata: {action}")]
    Metadata {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// A record that cannot be read.
    #[error("the registry's metadata: a record of table {table} is damaged")]
    Record {
        /// The table.
        table: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

fn count(missing: &[Digest]) -> String {
    if missing.len() == 1 { "a blob".into() } else { format!("{} blobs", missing.len()) }
}

fn list(digests: &[Digest]) -> String {
    digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl RegistryError {
    /// The specification's code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BlobUnknown { .. } => ErrorCode::BlobUnknown,
            Self::BlobHeld { .. } | Self::Denied { .. } | Self::ConditionFailed { .. } => ErrorCode::Denied,
            Self::UploadUnknown { .. } => ErrorCode::BlobUploadUnknown,
            Self::UploadInvalid { .. } | Self::OutOfOrder { .. } | Self::BodyCut => {
                ErrorCode::BlobUploadInvalid
            }
            Self::DigestInvalid { .. } | Self::DigestMismatch { .. } => ErrorCode::DigestInvalid,
            Self::SizeInvalid { .. } | Self::RangeUnsatisfiable { .. } | Self::TooLarge { .. } => {
                ErrorCode::SizeInvalid
            }
            Self::ManifestBlobUnknown { .. } => ErrorCode::ManifestBlobUnknown,
            Self::ManifestInvalid { .. } => ErrorCode::ManifestInvalid,
            Self::ManifestUnknown { .. } | Self::NotAcceptable { .. } => ErrorCode::ManifestUnknown,
            Self::NameInvalid { .. } => ErrorCode::NameInvalid,
            Self::NameUnknown { .. } => ErrorCode::NameUnknown,
            Self::TagInvalid { .. } => ErrorCode::TagInvalid,
            Self::Unauthorized { .. } => ErrorCode::Unauthorized,
            Self::Request { .. } | Self::Unsupported { .. } | Self::ManifestHeld { .. } | Self::NoRoute => {
                ErrorCode::Unsupported
            }
            Self::TooMany { .. } => ErrorCode::TooManyRequests,
            Self::Upstream { source } if source.is_not_found() => ErrorCode::ManifestUnknown,
            Self::Upstream { .. } => ErrorCode::Unavailable,
            Self::Storage(_) | Self::Metadata { .. } if self.kind() == Kind::Unavailable => {
                ErrorCode::Unavailable
            }
            Self::InUse { .. } | Self::Storage(_) | Self::Metadata { .. } | Self::Record { .. } => {
                ErrorCode::Unknown
            }
        }
    }

    /// Turns an error of the storage below into the client's error where it is the client's fault.
    pub(crate) fn storage(error: hako_error::Error) -> Self {
        Self::Storage(error)
    }

    pub(crate) fn metadata<E: Into<redb::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Metadata { action, source: Box::new(source.into()) }
    }
}

impl Classify for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::BlobUnknown { .. }
            | Self::UploadUnknown { .. }
            | Self::ManifestUnknown { .. }
            | Self::NotAcceptable { .. }
            | Self::NameUnknown { .. }
            | Self::NoRoute => Kind::NotFound,
            Self::BlobHeld { .. }
            | Self::ManifestHeld { .. }
            | Self::ConditionFailed { .. }
            | Self::InUse { .. } => Kind::FailedPrecondition,
            Self::Unauthorized { .. } => Kind::Unauthorized,
            Self::Denied { .. } => Kind::Forbidden,
            Self::Unsupported { .. } => Kind::Unimplemented,
            Self::TooMany { .. } => Kind::Exhausted,
            Self::BodyCut => Kind::Cancelled,
            Self::Upstream { source } if source.is_not_found() => Kind::NotFound,
            Self::Upstream { .. } => Kind::Unavailable,
            Self::Storage(error) => error.kind(),
            Self::Metadata { source, .. } => match &**source {
                redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Kind::Exhausted,
                redb::Error::Io(_) | redb::Error::PreviousIo => Kind::Unavailable,
                _ => Kind::Internal,
            },
            Self::Record { .. } => Kind::DataLoss,
            _ => Kind::Invalid,
        }
    }
}

//! What can go wrong with an image.

use hako_error::{Classify, Kind};
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on images failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image of that name or id.
    #[error(
        "image {name} is not on this machine; import it with \"hako image import ROOTFS.tar {name}\" or build it \
         with \"hako build -t {name} DIR\""
    )]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// A prefix that several ids start with.
    #[error("{prefix:?} is the start of {count} image ids, give more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many ids match.
        count: usize,
    },
    /// Several names point to it.
    #[error("image {id} has several names ({names}), remove them by name or force it")]
    Named {
        /// The short id.
        id: String,
        /// All its names.
        names: String,
    },
    /// A manifest or configuration that is not what it should be.
    #[error("{what} is not valid")]
    Document {
        /// Which document.
        what: String,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// A manifest or archive that we cannot use.
    #[error("{what}: {reason}")]
    Unusable {
        /// Which document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer type that we cannot apply.
    #[error(
        "layer {digest} has the media type {media_type:?}, expected an OCI or Docker layer (tar, gzip, zstd)"
    )]
    MediaType {
        /// The layer.
        digest: String,
        /// Its type.
        media_type: String,
    },
    /// The unpacked bytes hash to something else than the configuration says.
    #[error("layer {digest}: unpacked it hashes to {actual}, the image's configuration says {expected}")]
    DiffId {
        /// The layer.
        digest: String,
        /// What the configuration says.
        expected: String,
        /// What came out.
        actual: String,
    },
    /// A name that no image can get.
    #[error("invalid tag {text:?}: {reason}")]
    Tag {
        /// What was given.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// No form of layers.
    #[error("{text:?} is no compression, expected gzip, zstd, zstd:chunked, uncompressed or stored")]
    Form {
        /// What was asked for.
        text: String,
    },
    /// The same layer came out otherwise than before.
    #[error("layer {digest} is {actual} as {form} now, it was {expected}; try again")]
    Unsteady {
        /// The layer as it is stored.
        digest: String,
        /// The form it was to get.
        form: String,
        /// What it was before.
        expected: String,
        /// What came out.
        actual: String,
    },
    /// No space left.
    #[error("no space left on the disk for {what}; free some space under {path:?}")]
    Full {
        /// What was being written.
        what: String,
        /// Where.
        path: PathBuf,
    },
    /// A file of ours failed.
    #[error("{action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Classify for ImageError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Ambiguous { .. }
            | Self::Document { .. }
            | Self::Unusable { .. }
            | Self::MediaType { .. }
            | Self::Form { .. }
            | Self::Tag { .. }
            | Self::DiffId { .. } => Kind::Invalid,
            Self::Unsteady { .. } => Kind::Unavailable,
            Self::Named { .. } => Kind::Conflict,
            Self::Full { .. } => Kind::Exhausted,
            Self::Io { .. } => Kind::Internal,
        }
    }
}

impl ImageError {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { what: "the image store".into(), path: path.into() }
            }
            _ => Self::Io { action, path: path.into(), source },
        }
    }
}

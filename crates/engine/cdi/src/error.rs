//! What is wrong with a file, or with what is asked for.

use hako_error::{Classify, Kind};
use std::io;
use std::path::PathBuf;

/// What is wrong with a file, or with what is asked for.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// A file or directory cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is neither JSON nor YAML of the right form.
    #[error("{path:?} is no CDI specification: {fault}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and what.
        fault: String,
    },
    /// A file names a version that is not known.
    #[error("{path:?}: cdiVersion {version:?} is not known; versions 0.1.0 to 1.1.0 are")]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version it names.
        version: String,
    },
    /// A file uses a field that its version does not have.
    #[error("{path:?}: {field} came with version {since} and the file says cdiVersion {version:?}; raise it")]
    TooOld {
        /// Which file.
        path: PathBuf,
        /// What it uses.
        field: &'static str,
        /// Which version has it.
        since: &'static str,
        /// The version it names.
        version: String,
    },
    /// A value in a file is not valid.
    #[error("{path:?}: {what} {value:?} is not valid; {expected}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Of which field.
        what: &'static str,
        /// The value.
        value: String,
        /// What would be.
        expected: &'static str,
    },
    /// A file has no devices, or one that changes nothing.
    #[error("{path:?}: {what}")]
    Empty {
        /// Which file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// A file names a device twice.
    #[error("{path:?}: device {name:?} is there twice")]
    Twice {
        /// Which file.
        path: PathBuf,
        /// The device.
        name: String,
    },
    /// Two files of one directory have the device.
    #[error("CDI device {name} is in {first:?} and in {second:?}; remove it from one of them")]
    Conflict {
        /// The device.
        name: String,
        /// A file that has it.
        first: PathBuf,
        /// Another of the same directory.
        second: PathBuf,
    },
    /// There is no such device.
    #[error("unresolvable CDI devices {name}: {known}{faults}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, and where it was looked for.
        known: String,
        /// What is wrong with files that may have it.
        faults: String,
    },
    /// The host has no such device node.
    #[error("CDI device {name}: {path:?} is no device of this machine")]
    Node {
        /// The CDI device.
        name: String,
        /// The node.
        path: PathBuf,
    },
    /// The device asks for something that is not built.
    #[error("CDI device {name}: {field} is unimplemented")]
    Unsupported {
        /// The CDI device.
        name: String,
        /// What it asks for.
        field: &'static str,
    },
}

impl Classify for CdiError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } => Kind::of_io(source),
            Self::Conflict { .. } | Self::Node { .. } | Self::Unknown { .. } => Kind::FailedPrecondition,
            Self::Unsupported { .. } => Kind::Unimplemented,
            _ => Kind::Invalid,
        }
    }
}

//! The Container Device Interface: what a vendor's files say a container needs for a device.
//!
//! Owns: reading and validating the files, finding devices by name, changing an OCI runtime spec as they say.
//! Does not own: who may have a device, which is for the builder and the engine to decide.
//!
//! Invariant: a file is used whole or not at all. One that is at fault hides none of the others; its fault is told
//! when a device is asked for that is not in them.

mod devices;
mod edits;
mod error;
mod name;
mod read;
mod spec;
mod version;

pub use devices::{Devices, Found};
pub use error::CdiError;
pub use name::is_qualified;
pub use read::{DEFAULT_DIRECTORIES, Directories};

#[cfg(test)]
mod tests;

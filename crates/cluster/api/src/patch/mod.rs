//! The four ways to change an object in part.
//!
//! Owns: JSON Patch ([`json`]), JSON Merge Patch ([`merge`]), strategic merge patch ([`strategic`]) and
//! server-side apply with its field ownership ([`apply`]).
//! Does not own: which object, whether the writer may, defaults and validation of the result.
//!
//! Invariant: pure functions; a patch that fails changes nothing.

pub mod apply;
mod diff;
pub mod fields;
mod json;
mod merge;
mod strategic;

pub use json::{JsonPatchError, json};
pub use merge::merge;
pub use strategic::strategic;

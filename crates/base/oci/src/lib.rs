//! The OCI image and runtime formats.
//!
//! Owns: one import for the field's crate of these formats (`oci-spec`) and the media types of layers.
//! Invariant: no other crate of ours names `oci-spec`, so that its version is decided here.

pub use oci_spec::image;
pub use oci_spec::runtime;

pub mod media_type;

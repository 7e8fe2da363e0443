//! What the types of the served kinds look like: fields, lists, merge keys, descriptions.
//!
//! Owns: the compact [`Model`] of all types, decoding of request bodies with duplicate detection ([`decode`]), encoding,
//! the check of an object against its type ([`admit`]): unknown fields, wrong types, canonical quantities.
//! Does not own: rules between fields, which are the kinds'.
//!
//! Invariant: the model is built once, on first use, and never changes; shapes of kinds that are defined later refer to
//! its types.

mod build;
mod canonical;
mod check;
pub mod decode;
pub(crate) mod encode;
mod facts;
mod left_out;
mod model;
mod named;
pub(crate) mod syntax;

pub use check::{Admitted, FieldValidation, admit, admit_as};
pub(crate) use check::{fit, fit_metadata};
pub use decode::Decoded;
pub(crate) use left_out::leave_out;
pub use model::{Field, ListKind, Model, Patch, Scalar, Shape, TypeDef, model};

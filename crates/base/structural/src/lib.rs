//! Structural schemas: what custom resources may look like (Kubernetes documentation, "Extend the Kubernetes API with
//! CustomResourceDefinitions", "Specifying a structural schema").
//!
//! Owns: reading a schema ([`Schema`]), whether it is structural ([`check_schema`]), dropping what it does not know ([`prune`]), filling in defaults ([`fill`]),
//! checking values ([`validate`]) and the rules written in CEL ([`Rules`]).
//! Does not own: the definition of a custom resource around the schema, nor where objects are kept.
//!
//! Invariant: everything here is pure and bounded by the size of the value, of the schema and by the budget of costs.

mod defaults;
mod form;
mod formats;
mod lists;
mod patterns;
mod properties;
mod prune;
mod read;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod validate;

pub use defaults::{default, fill};
pub use form::check_schema;
pub use formats::is_known as is_known_format;
pub use lists::duplicates;
pub use patterns::Patterns;
pub use properties::Properties;
pub use prune::prune;
pub use rules::{Budget, Outcome, Rules, check as check_rules};
pub use schema::{Additional, Allowed, Checks, ListKind, Rule, Schema, Ty};
pub use validate::{validate, validate_update};

//! What every speaker of the Kubernetes API shares: names, heads, selectors, `Status`, field causes.
//!
//! Owns: group/version/kind names ([`GroupVersionKind`], [`GroupVersionResource`]), the cheaply parsed head of an
//! object ([`Head`]), the one mapping between our errors and `Status` ([`Status`]), label and field selectors,
//! the syntax of names ([`names`]), the constructors of field causes ([`field`]), what objects take of quotas
//! ([`quota`]), whether two of their states are the same ([`is_same`]) and things that are found by name ([`ByName`]).
//! Does not own: any kind's own rules, storage or transport.
//!
//! Invariant: everything here is pure; nothing does I/O or waits.

mod by_name;
pub mod cron;
pub mod field;
mod field_selector;
mod gvk;
mod head;
mod label_selector;
pub mod names;
pub mod quota;
mod same;
pub mod status;
pub mod time;
mod time_layout;
pub mod version;

pub use by_name::ByName;
pub use field_selector::{FieldSelector, FieldTerm, ParseFieldSelectorError};
pub use gvk::{GroupVersion, GroupVersionKind, GroupVersionResource};
pub use head::{Head, HeadMeta, OwnerReference};
pub use label_selector::{
    LabelSelector, LabelSelectorRequirement, ParseSelectorError, Requirement, Selector, SelectorOperator,
};
pub use same::{Beside, has_same_members, is_same};
pub use status::{Status, StatusCause, StatusDetails, Subject};
pub use time_layout::Precision;

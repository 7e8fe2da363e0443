//! What can be owned through a way of writing.

use super::{FieldSet, Step};
use std::sync::LazyLock;

/// What a way of writing reaches, and can therefore be owned through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// Everything but the status, which has a way of its own.
    AllButStatus,
    /// The status, and those of [`METADATA_OF_ALL`] that are taken with it, by their places.
    Status([bool; METADATA_OF_ALL.len()]),
}

/// What everybody may set in the metadata.
pub const METADATA_OF_ALL: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];

static METADATA: LazyLock<Step> = LazyLock::new(|| Step::Field("metadata".into()));

/// What of the metadata belongs to the system.
const SYSTEM: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

impl Reach {
    /// Takes out what belongs to the system, and what is not reached.
    pub(super) fn strip(self, set: &mut FieldSet) {
        let is_of =
            |step: &Step, names: &[&str]| matches!(step, Step::Field(name) if names.contains(&&**name));
        set.remove(&[]);
        match self {
            Self::All => set.retain(|step| !is_of(step, &["apiVersion", "kind"])),
            Self::AllButStatus => set.retain(|step| !is_of(step, &["apiVersion", "kind", "status"])),
            Self::Status(_) => set.retain(|step| is_of(step, &["metadata", "status"])),
        }
        set.within(&METADATA, |metadata| {
            metadata.remove(&[]);
            metadata.retain(|step| !is_of(step, SYSTEM));
            if let Self::Status(taken) = self {
                for (name, _) in METADATA_OF_ALL.iter().zip(taken).filter(|(_, is_taken)| !is_taken) {
                    metadata.retain(|step| !is_of(step, &[name]));
                }
            }
        });
    }
}

/// The same set without the metadata themselves, which have what belongs to the system.
pub(super) fn without_metadata(mut set: FieldSet) -> FieldSet {
    set.remove(std::slice::from_ref(&*METADATA));
    set
}

//! What becomes of what a manager applied before and applies no more.
//!
//! It goes, with all that is in it, unless it is in what somebody owns: an item of a list or an entry of a map stays if
//! somebody owns the item itself, a field of an object if somebody owns anything in it. So does upstream's
//! structured-merge-diff (`prune`).

use super::reach::without_metadata;
use super::{FieldSet, merge};
use crate::schema::{Shape, model};
use serde_json::Value;

/// What is left of an object that everybody writes in one version.
pub(super) fn alone(shape: &Shape, merged: Value, before: &FieldSet, managed: &FieldSet) -> Value {
    let before = holders(shape, before);
    let rest = without(shape, &merged, &before);
    let rest = add_back(shape, &merged, &rest, managed);
    without_missing(shape, merged, &rest, &before)
}

/// What was applied before, and the declared objects that hold it: they go together, with what was defaulted in them. The
/// metadata stay, they have what belongs to the system.
pub(super) fn holders(shape: &Shape, before: &FieldSet) -> FieldSet {
    without_metadata(before.clone().with_named_fields(model(), shape))
}

pub(super) fn without(shape: &Shape, object: &Value, set: &FieldSet) -> Value {
    let mut rest = object.clone();
    merge::remove_all(model(), shape, &mut rest, set);
    rest
}

/// `rest` with what of the `whole` somebody owns.
pub(super) fn add_back(shape: &Shape, whole: &Value, rest: &Value, managed: &FieldSet) -> Value {
    let mut gone = all(shape, whole);
    gone.subtract(&all(shape, rest));
    gone.subtract(&managed.clone().with_named_fields(model(), shape));
    without(shape, whole, &gone)
}

/// An object without what of `before` is not in `rest`: what nobody ever owned stays beside what somebody owns.
pub(super) fn without_missing(shape: &Shape, mut object: Value, rest: &Value, before: &FieldSet) -> Value {
    let mut gone = all(shape, &object).intersection(before);
    gone.subtract(&all(shape, rest));
    merge::remove_all(model(), shape, &mut object, &gone);
    object
}

fn all(shape: &Shape, object: &Value) -> FieldSet {
    FieldSet::of(model(), shape, object).with_named_fields(model(), shape)
}

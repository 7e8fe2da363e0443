//! The conditions of a status, in the form of meta/v1 `Condition`.

use super::place::{Faults, Place};
use hako_kube::{field, names};
use std::collections::HashSet;

const REASON_MAX: usize = 1 << 10;
const MESSAGE_MAX: usize = 32 << 10;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of \
     alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or \
     'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
     '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// All faults of the conditions at a place.
pub(super) fn validate(conditions: &Place<'_>, faults: &mut Faults) {
    unique_types(conditions, faults);
    for condition in conditions.items() {
        let kind = condition.at(&["type"]);
        kind.check(names::qualified_name, faults);
        condition.at(&["status"]).one_of(&["False", "True", "Unknown"], faults);
        let generation = condition.at(&["observedGeneration"]);
        if generation.number() < 0 {
            faults.push(generation.invalid("must be greater than or equal to zero"));
        }
        let since = condition.at(&["lastTransitionTime"]);
        if !since.is_set() {
            faults.push(since.required("must be set"));
        }
        reason(&condition.at(&["reason"]), faults);
        let message = condition.at(&["message"]);
        if message.text().len() > MESSAGE_MAX {
            faults.push(field::too_long(message.path(), MESSAGE_MAX));
        }
    }
}

/// No type of condition is there twice.
pub(super) fn unique_types(conditions: &Place<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for condition in conditions.items() {
        let kind = condition.at(&["type"]);
        if !seen.insert(kind.text()) {
            faults.push(kind.duplicate());
        }
    }
}

fn reason(reason: &Place<'_>, faults: &mut Faults) {
    let text = reason.text();
    if text.is_empty() {
        faults.push(reason.required("must be set"));
        return;
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_sound = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b',' | b':'))
        && text.bytes().last().is_some_and(is_word);
    if !is_sound {
        faults.push(reason.invalid(REASON));
    }
    if text.len() > REASON_MAX {
        faults.push(field::too_long(reason.path(), REASON_MAX));
    }
}

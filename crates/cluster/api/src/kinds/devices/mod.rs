//! The kinds of `resource.k8s.io`: devices, and claims to them.
//!
//! Owns: how devices are offered, classified and claimed as written. Does not own: allocation; nothing evaluates the
//! expressions of the selectors yet.
//! Invariant: a claim asks for the same as long as it exists.

mod capacity;
pub(super) mod claim;
pub(super) mod class;
mod device;
mod expression;
mod request;
mod result;
pub(super) mod slice;
pub(super) mod template;

use super::check;
use super::place::{Faults, Place};
use hako_kube::{field, names};
use std::collections::HashSet;

const GROUP: &str = "resource.k8s.io";
const RAW_MAX: usize = 10 << 10;
const SELECTORS_MAX: usize = 32;
const POOL_MAX: usize = 253;
const ID_MAX: usize = 32;
const BINDING_CONDITIONS_MAX: usize = 4;
/// What a taint does to claims that do not tolerate it.
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

/// Checks each item of a list. One that is too long is not looked at: that alone would be work without bound.
fn all(list: &Place<'_>, max: usize, faults: &mut Faults, check: impl Fn(&Place<'_>, &mut Faults)) {
    let items = Vec::from_iter(list.items());
    if items.len() > max {
        faults.push(field::too_many(list.path(), items.len(), max));
        return;
    }
    items.iter().for_each(|item| check(item, faults));
}

/// The same for a list of which no item says the same as an earlier one: of itself, or of the member that is its key.
fn set(
    list: &Place<'_>,
    max: usize,
    key: Option<&str>,
    faults: &mut Faults,
    check: impl Fn(&Place<'_>, &mut Faults),
) {
    all(list, max, faults, check);
    let items = Vec::from_iter(list.items());
    if items.len() > max {
        return;
    }
    let mut said = HashSet::with_capacity(items.len());
    for item in items {
        let key = key.map_or(item.value, |key| item.at(&[key]).value);
        if !said.insert(key) {
            faults.push(field::duplicate(item.path(), key.clone()));
        }
    }
}

/// Checks keys and values of a map, if it has not too many.
fn map(
    map: &Place<'_>,
    max: usize,
    faults: &mut Faults,
    key: impl Fn(&str, &str, &mut Faults),
    value: impl Fn(&Place<'_>, &mut Faults),
) {
    let entries = Vec::from_iter(map.entries());
    if entries.len() > max {
        faults.push(field::too_many(map.path(), entries.len(), max));
        return;
    }
    for (name, entry) in entries {
        key(name, &entry.path(), faults);
        value(&entry, faults);
    }
}

/// Faults of the expressions that choose devices.
fn selectors(list: &Place<'_>, faults: &mut Faults) {
    all(list, SELECTORS_MAX, faults, |selector, faults| {
        let cel = selector.at(&["cel"]);
        if cel.is_set() {
            expression::validate(&cel.at(&["expression"]), faults);
        } else {
            faults.push(cel.required(""));
        }
    });
}

/// Faults of what a driver alone understands.
fn configuration(config: &Place<'_>, faults: &mut Faults) {
    let opaque = config.at(&["opaque"]);
    if !opaque.is_set() {
        faults.push(opaque.required(""));
        return;
    }
    driver(&opaque.at(&["driver"]), faults);
    raw(&opaque.at(&["parameters"]), faults);
}

/// Faults of an object whose members nobody but a driver knows.
fn raw(object: &Place<'_>, faults: &mut Faults) {
    if !object.is_set() {
        faults.push(object.required(""));
    } else if object.value.to_string().len() > RAW_MAX {
        faults.push(field::too_long(object.path(), RAW_MAX));
    } else if !object.value.is_object() {
        faults.push(field::invalid(object.path(), "<value omitted>", "must be a valid JSON object"));
    }
}

/// Faults of the name of a driver.
fn driver(name: &Place<'_>, faults: &mut Faults) {
    check::driver(name.text(), &name.path(), faults);
}

/// Faults of the name of a pool: names of domains with slashes between them.
fn pool(name: &Place<'_>, faults: &mut Faults) {
    if name.text().is_empty() {
        faults.push(name.required(""));
        return;
    }
    if name.text().len() > POOL_MAX {
        faults.push(field::too_long(name.path(), POOL_MAX));
    }
    for part in name.text().split('/') {
        check::syntax(names::dns_subdomain(part), part, name.path(), faults);
    }
}

/// Faults of a share of a device: a UUID in its one form.
fn share(uid: &Place<'_>, faults: &mut Faults) {
    const FORM: &str = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
         hexadecimal characters";
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_sound =
        |(at, byte): (usize, u8)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { is_hex(byte) };
    if uid.is_set() && !(uid.text().len() == 36 && uid.text().bytes().enumerate().all(is_sound)) {
        faults.push(uid.invalid(FORM));
    }
}

/// Faults of the name of an attribute or capacity, which may begin with a domain.
fn qualified(name: &str, path: &str, faults: &mut Faults) {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [id] => identifier(id, path, faults),
        [domain, id] => {
            if domain.is_empty() {
                faults.push(field::invalid(path, "", "the domain must not be empty"));
            } else {
                check::driver(domain, path, faults);
            }
            if id.is_empty() {
                faults.push(field::invalid(path, "", "the name must not be empty"));
            } else {
                identifier(id, path, faults);
            }
        }
        // Nor does upstream say a word about more parts.
        _ => {}
    }
}

fn identifier(id: &str, path: &str, faults: &mut Faults) {
    const FORM: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
         alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is \
         '[A-Za-z_][A-Za-z0-9_]*')";
    if id.len() > ID_MAX {
        faults.push(field::too_long(path, ID_MAX));
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins_well = id.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !begins_well || !id.bytes().all(is_word) {
        faults.push(field::invalid(path, id, FORM));
    }
}

/// Faults of the conditions that a driver sets before pods are bound to a node for a device.
fn binding_conditions(device: &Place<'_>, faults: &mut Faults) {
    let (wanted, failed) = (device.at(&["bindingConditions"]), device.at(&["bindingFailureConditions"]));
    for list in [&wanted, &failed] {
        set(list, BINDING_CONDITIONS_MAX, None, faults, |name, faults| {
            name.check(names::qualified_name, faults);
        });
    }
    let both: HashSet<&str> = wanted.texts().into_iter().collect();
    for name in failed.items().filter(|name| both.contains(name.text())) {
        faults.push(name.invalid("bindingFailureConditions must not overlap with bindingConditions"));
    }
    let need =
        |lacking: &Place<'_>, detail: &str| field::invalid(lacking.path(), lacking.value.clone(), detail);
    match (wanted.is_empty(), failed.is_empty()) {
        (true, false) => {
            faults.push(need(&wanted, "bindingConditions are required to use bindingFailureConditions"));
        }
        (false, true) => {
            faults.push(need(&failed, "bindingFailureConditions are required to use bindingConditions"));
        }
        _ => {}
    }
}

//! One device of a slice: what it is, what it can do, where it can be used.

use super::super::place::{Faults, Place};
use super::super::pod_spec;
use super::{EFFECTS, all, binding_conditions, capacity, map, qualified, set};
use hako_kube::{field, names};
use serde_json::Value;

const FACTS_MAX: usize = 32;
const TEXT_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const CONSUMED_SETS_MAX: usize = 2;
const COUNTERS_MAX: usize = 32;

/// All faults of a device.
pub(super) fn validate(device: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    device.at(&["name"]).check(names::dns_label, faults);
    let (attributes, capacities) = (device.at(&["attributes"]), device.at(&["capacity"]));
    let facts = attributes.entries().len() + capacities.entries().len();
    if facts > FACTS_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {FACTS_MAX}");
        faults.push(field::invalid(device.path(), facts, &detail));
    }
    map(&attributes, usize::MAX, faults, qualified, attribute);
    let is_shared = device.at(&["allowMultipleAllocations"]).is_true();
    map(&capacities, usize::MAX, faults, qualified, |it, faults| capacity::validate(it, is_shared, faults));
    all(&device.at(&["taints"]), TAINTS_MAX, faults, taint);
    set(&device.at(&["consumesCounters"]), CONSUMED_SETS_MAX, Some("counterSet"), faults, |set, faults| {
        counters(set, "counterSet", faults);
    });
    place(device, spec.at(&["perDeviceNodeSelection"]).is_true(), faults);
    binding_conditions(device, faults);
}

/// Faults of counters, shared or consumed, and of the name of their set.
pub(super) fn counters(set: &Place<'_>, name: &str, faults: &mut Faults) {
    set.at(&[name]).check_required(names::dns_label, faults);
    let counters = set.at(&["counters"]);
    if counters.is_empty() {
        faults.push(counters.required(""));
        return;
    }
    let name = |name: &str, path: &str, faults: &mut Faults| {
        faults.extend(names::dns_label(name).iter().map(|fault| field::invalid(path, name, fault)));
    };
    map(&counters, COUNTERS_MAX, faults, name, |_, _| {});
}

fn taint(taint: &Place<'_>, faults: &mut Faults) {
    taint.at(&["key"]).check(names::qualified_name, faults);
    taint.at(&["value"]).check_given(names::label_value, faults);
    let effect = taint.at(&["effect"]);
    if effect.text().is_empty() {
        faults.push(effect.required(""));
    } else {
        effect.one_of(&EFFECTS, faults);
    }
}

/// Where a device can be used, which it says itself only in a slice that leaves it to its devices.
fn place(device: &Place<'_>, says_itself: bool, faults: &mut Faults) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
         `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    const NONE: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set \
         to true in the ResourceSlice spec";
    let [node, selector, everywhere] =
        ["nodeName", "nodeSelector", "allNodes"].map(|name| device.at(&[name]));
    if !says_itself {
        if node.is_set() || selector.is_set() || everywhere.is_set() {
            faults.push(field::invalid(device.path(), Value::Null, NONE));
        }
        return;
    }
    let mut given = Vec::new();
    if !node.text().is_empty() {
        given.push("`nodeName`");
        node.check(names::dns_subdomain, faults);
    } else if node.is_set() {
        faults.push(node.invalid("must not be empty"));
    }
    if selector.is_set() {
        given.push("`nodeSelector`");
        faults.extend(pod_spec::node_selector(selector.value, &selector.path()));
    }
    if everywhere.is_true() {
        given.push("`allNodes`");
    } else if everywhere.is_set() {
        faults.push(everywhere.invalid("must be either unset or set to true"));
    }
    match given.len() {
        0 => faults.push(device.required(ONE)),
        1 => {}
        _ => faults.push(field::invalid(device.path(), format!("{{{}}}", given.join(", ")), ONE)),
    }
}

fn attribute(attribute: &Place<'_>, faults: &mut Faults) {
    const KINDS: [&str; 4] = ["bool", "int", "string", "version"];
    let [text, version] = ["string", "version"].map(|kind| attribute.at(&[kind]));
    if version.is_set() && !is_version(version.text()) {
        faults.push(version.invalid("must be a string compatible with semver.org spec 2.0.0"));
    }
    for text in [text, version] {
        if text.text().len() > TEXT_MAX {
            faults.push(field::too_long(text.path(), TEXT_MAX));
        }
    }
    let given = KINDS.iter().filter(|kind| attribute.at(&[**kind]).is_set()).count();
    if given != 1 {
        let shown = if given == 0 { Value::from("") } else { attribute.value.clone() };
        faults.push(field::invalid(attribute.path(), shown, "exactly one value must be specified"));
    }
}

/// `1.2.3`, perhaps `-pre.release`, perhaps `+build`.
fn is_version(version: &str) -> bool {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, release) = rest.split_once('-').map_or((rest, None), |(core, it)| (core, Some(it)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_release =
        |part: &str| is_word(part) && (is_number(part) || !part.bytes().all(|byte| byte.is_ascii_digit()));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && release.is_none_or(|release| release.split('.').all(is_release))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

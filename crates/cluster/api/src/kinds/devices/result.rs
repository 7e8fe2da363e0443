//! What a claim got, who uses it, and what drivers say about it.

use super::super::place::{Faults, Place};
use super::super::{addresses, check, conditions, pod_spec};
use super::{all, binding_conditions, configuration, driver, pool, raw, request, set, share};
use hako_kube::{field, names};
use serde_json::Value;
use std::collections::HashSet;

const RESERVED_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
/// Of a claim's own, and of its class.
const CONFIG_MAX: usize = 64;
const CONDITIONS_MAX: usize = 8;
const INTERFACE_MAX: usize = 256;
const HARDWARE_ADDRESS_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;
/// What makes one device out of a result.
const IDENTITY: [&str; 4] = ["driver", "pool", "device", "shareID"];

/// All faults of a status that was written.
pub(super) fn validate(new: &Place<'_>, old: &Place<'_>, faults: &mut Faults) {
    let (status, before) = (new.at(&["status"]), old.at(&["status"]));
    let reserved = status.at(&["reservedFor"]);
    set(&reserved, RESERVED_MAX, Some("uid"), faults, |consumer, faults| {
        let members = ["resource", "name", "uid"].map(|member| consumer.at(&[member]));
        faults.extend(members.iter().filter(|it| it.text().is_empty()).map(|it| it.required("")));
    });
    let allocation = status.at(&["allocation"]);
    devices(&status.at(&["devices"]), &allocation, faults);
    let had: HashSet<&Value> = before.at(&["reservedFor"]).items().map(|it| it.value).collect();
    let is_new = |consumer: &Place<'_>| !had.contains(consumer.value);
    if !reserved.is_empty() && !allocation.is_set() {
        faults.push(reserved.forbidden("may not be specified when `allocated` is not set"));
    } else if new.at(&["metadata", "deletionTimestamp"]).is_set()
        && reserved.items().any(|consumer| is_new(&consumer))
    {
        const DETAIL: &str =
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        faults.push(reserved.forbidden(DETAIL));
    }
    let was = before.at(&["allocation"]);
    if allocation.is_set() && was.is_set() {
        if allocation.value != was.value {
            faults.push(allocation.invalid(check::IMMUTABLE));
        }
    } else if allocation.is_set() {
        self::allocation(&new.at(&["spec"]), &allocation, faults);
    }
}

fn allocation(spec: &Place<'_>, allocation: &Place<'_>, faults: &mut Faults) {
    let devices = allocation.at(&["devices"]);
    all(&devices.at(&["results"]), RESULTS_MAX, faults, |result, faults| {
        request::reference(spec, &result.at(&["request"]), faults);
        device(result, faults);
        binding_conditions(result, faults);
        share(&result.at(&["shareID"]), faults);
    });
    all(&devices.at(&["config"]), CONFIG_MAX, faults, |config, faults| {
        let source = config.at(&["source"]);
        if source.text().is_empty() {
            faults.push(source.required(""));
        } else {
            source.one_of(&["FromClaim", "FromClass"], faults);
        }
        request::references(spec, config, faults);
        configuration(config, faults);
    });
    let selector = allocation.at(&["nodeSelector"]);
    if selector.is_set() {
        faults.extend(pod_spec::node_selector(selector.value, &selector.path()));
    }
}

fn device(named: &Place<'_>, faults: &mut Faults) {
    driver(&named.at(&["driver"]), faults);
    pool(&named.at(&["pool"]), faults);
    named.at(&["device"]).check(names::dns_label, faults);
}

/// What drivers say about the devices that the claim got.
fn devices(devices: &Place<'_>, allocation: &Place<'_>, faults: &mut Faults) {
    let identity = |device: &Place<'_>| -> Vec<String> {
        IDENTITY
            .iter()
            .map(|name| device.at(&[*name]).text())
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let got: HashSet<Vec<String>> =
        allocation.at(&["devices", "results"]).items().map(|it| identity(&it)).collect();
    let mut said = HashSet::new();
    for it in devices.items() {
        device(&it, faults);
        share(&it.at(&["shareID"]), faults);
        let (is, shown) = (identity(&it), Value::from(identity(&it).join("/")));
        if !got.contains(&is) {
            let detail = "must be an allocated device in the claim";
            faults.push(field::invalid(it.path(), shown.clone(), detail));
        }
        if !said.insert(is) {
            faults.push(field::duplicate(it.path(), shown));
        }
        let stated = it.at(&["conditions"]);
        if stated.items().len() > CONDITIONS_MAX {
            faults.push(field::too_many(stated.path(), stated.items().len(), CONDITIONS_MAX));
        }
        conditions::validate(&stated, faults);
        let data = it.at(&["data"]);
        if data.is_set() {
            raw(&data, faults);
        }
        network(&it.at(&["networkData"]), faults);
    }
}

fn network(data: &Place<'_>, faults: &mut Faults) {
    for (name, max) in [("interfaceName", INTERFACE_MAX), ("hardwareAddress", HARDWARE_ADDRESS_MAX)] {
        let text = data.at(&[name]);
        if text.text().len() > max {
            faults.push(field::too_long(text.path(), max));
        }
    }
    set(&data.at(&["ips"]), ADDRESSES_MAX, None, faults, |address, faults| {
        address.check(addresses::of_interface, faults);
    });
}

//! What a claim got, and who uses it.

use super::super::check;
use super::super::value::{at, items, text};
use super::{at_most, each, label, pool, request, unique};
use hako_error::FieldCause;
use hako_kube::field;
use serde_json::Value;

const RESERVED_MAX: usize = 256;
const RESULTS_MAX: usize = 32;

/// All faults of a status that was written.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldCause> {
    let (mut causes, status) = (Vec::new(), &new["status"]);
    let reserved = items(status, &["reservedFor"]);
    at_most(reserved, RESERVED_MAX, "status.reservedFor", &mut causes);
    unique(reserved, Some("uid"), "status.reservedFor", &mut causes);
    for (consumer, path) in each(status, "reservedFor", "status") {
        for member in ["resource", "name", "uid"] {
            if text(consumer, &[member]).is_empty() {
                causes.push(field::required(field::child(&path, member), ""));
            }
        }
    }
    let (allocation, before) = (status.get("allocation"), at(old, &["status", "allocation"]));
    if !reserved.is_empty() && allocation.is_none() {
        let detail = "may not be specified when `allocated` is not set";
        causes.push(field::forbidden("status.reservedFor", detail));
    }
    let had = items(old, &["status", "reservedFor"]);
    let is_deleted = at(new, &["metadata", "deletionTimestamp"]).is_some();
    if is_deleted && reserved.iter().any(|consumer| !had.contains(consumer)) {
        let detail =
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        causes.push(field::forbidden("status.reservedFor", detail));
    }
    match (allocation, before) {
        (Some(is), Some(was)) if is != was => {
            causes.push(field::invalid("status.allocation", is.clone(), check::IMMUTABLE));
        }
        (Some(is), None) => self::allocation(&new["spec"], is, &mut causes),
        _ => {}
    }
    causes
}

fn allocation(spec: &Value, allocation: &Value, causes: &mut Vec<FieldCause>) {
    const PATH: &str = "status.allocation.devices";
    let devices = &allocation["devices"];
    let results = items(devices, &["results"]);
    at_most(results, RESULTS_MAX, &field::child(PATH, "results"), causes);
    for (result, path) in each(devices, "results", PATH) {
        request::reference(spec, text(result, &["request"]), &field::child(&path, "request"), causes);
        check::driver(text(result, &["driver"]), &field::child(&path, "driver"), causes);
        pool(text(result, &["pool"]), &field::child(&path, "pool"), causes);
        label(result, "device", &path, causes);
    }
    for (config, path) in each(devices, "config", PATH) {
        check::required_one_of(config, "source", &["FromClaim", "FromClass"], &path, causes);
        request::references(spec, config, &path, causes);
        super::configuration(config, &path, causes);
    }
}

//! Environment variables, and where their values come from.

use super::super::place::{Faults, Place};
use super::beside::{Beside, is_set};
use super::set_members;
use hako_kube::{field, names};

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
/// What a variable may say of its pod.
const OF_VARIABLES: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file may say of its pod.
pub(super) const OF_FILES: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// All faults of the variables of a container of a pod with that spec.
pub(super) fn validate(container: &Place<'_>, beside: &Beside<'_>, faults: &mut Faults) {
    for variable in container.at(&["env"]).items() {
        if faults.is_full() {
            return;
        }
        variable.at(&["name"]).check_required(names::env_name, faults);
        let source = variable.at(&["valueFrom"]);
        if source.is_set() {
            self::source(&source, beside, !variable.at(&["value"]).is_empty(), faults);
        }
    }
    let whole = container.at(&["envFrom"]);
    for source in whole.items() {
        if faults.is_full() {
            return;
        }
        source.at(&["prefix"]).check_given(names::env_name, faults);
        let given = set_members(source.value, &["configMapRef", "secretRef"]);
        for kind in &given {
            source.at(&[kind, "name"]).check_required(names::dns_subdomain, faults);
        }
        let detail = match given.len() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        faults.push(field::invalid(whole.path(), "", detail));
    }
}

fn source(source: &Place<'_>, beside: &Beside<'_>, has_value: bool, faults: &mut Faults) {
    let given = set_members(source.value, &SOURCES);
    for kind in &given {
        let place = source.at(&[kind]);
        match *kind {
            "fieldRef" => field_ref(&place, OF_VARIABLES, faults),
            "resourceFieldRef" => resource_ref(&place, false, faults),
            "fileKeyRef" => file_key(&place, beside, faults),
            _ => {
                place.at(&["name"]).check(names::dns_subdomain, faults);
                place.at(&["key"]).check_required(names::config_key, faults);
            }
        }
    }
    let detail = match given.len() {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    faults.push(field::invalid(source.path(), "", detail));
}

/// A key of a file that an init container wrote.
fn file_key(reference: &Place<'_>, beside: &Beside<'_>, faults: &mut Faults) {
    reference.at(&["key"]).check_required(names::env_name, faults);
    let (volume, path) = (reference.at(&["volumeName"]), reference.at(&["path"]));
    let found = beside.volumes.get(volume.text());
    if volume.is_empty() {
        faults.push(volume.required(""));
    } else if found.is_none() {
        faults.push(field::not_found(volume.path(), volume.text()));
    } else if found.is_some_and(|volume| !is_set(volume, "emptyDir")) {
        faults.push(volume.invalid("must be an emptyDir volume type"));
    }
    if path.is_empty() {
        faults.push(path.required(""));
    }
    super::non_reserved_path(&path, faults);
}

/// All faults of a reference to a field of the pod, of those known.
pub(super) fn field_ref(reference: &Place<'_>, known: &[&str], faults: &mut Faults) {
    let (version, path) = (reference.at(&["apiVersion"]), reference.at(&["fieldPath"]));
    if version.is_empty() {
        return faults.push(version.required(""));
    }
    if path.is_empty() {
        return faults.push(path.required(""));
    }
    if version.text() != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {}", version.text());
        return faults.push(path.invalid(&detail));
    }
    let name = path.text();
    let subscript = name.strip_suffix("']").and_then(|text| text.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => syntax(&key.to_lowercase(), reference, faults),
        Some(("metadata.labels", key)) => syntax(key, reference, faults),
        Some((other, _)) => {
            faults.push(field::invalid(reference.path(), other, "does not support subscript"));
        }
        None if known.contains(&name) => {}
        None if is_field(name) => faults.push(path.not_supported(known)),
        None => {
            let detail = format!("error converting fieldPath: field label not supported: {name}");
            faults.push(path.invalid(&detail));
        }
    }
}

fn syntax(key: &str, reference: &Place<'_>, faults: &mut Faults) {
    let of = |fault: String| field::invalid(reference.path(), key, &fault);
    faults.extend(names::qualified_name(key).into_iter().map(of));
}

/// Whether a pod has the field, though perhaps not for this use.
fn is_field(name: &str) -> bool {
    OF_VARIABLES.contains(&name) || OF_FILES.contains(&name)
}

/// All faults of a reference to what a container may use; in a file it says which.
pub(super) fn resource_ref(reference: &Place<'_>, is_file: bool, faults: &mut Faults) {
    let (container, resource) = (reference.at(&["containerName"]), reference.at(&["resource"]));
    let name = resource.text();
    let is_huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|it| name.starts_with(it));
    if is_file && container.is_empty() {
        faults.push(container.required(""));
    } else if name.is_empty() {
        faults.push(resource.required(""));
    } else if !RESOURCES.contains(&name) && !is_huge {
        faults.push(resource.not_supported(RESOURCES));
    }
    divisor(reference, name, is_huge, faults);
}

fn divisor(reference: &Place<'_>, name: &str, is_huge: bool, faults: &mut Faults) {
    const UNITS: [&str; 13] =
        ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let divisor = reference.at(&["divisor"]);
    if matches!(divisor.text(), "" | "0") {
        return;
    }
    let (known, what): (&[&str], &str) = match name.split_once('.').map_or("", |(_, resource)| resource) {
        "cpu" => (&["1m", "1"], "cpu"),
        "memory" => (&UNITS, "memory"),
        "ephemeral-storage" => (&UNITS, "local ephemeral storage"),
        _ if is_huge => (&UNITS, "hugepages"),
        _ => return,
    };
    if !known.contains(&divisor.text()) {
        let list = if what == "cpu" { "1m and 1".to_owned() } else { known.join(", ") };
        let detail = format!("only divisor's values {list} are supported with the {what} resource");
        faults.push(field::invalid(divisor.path(), name, &detail));
    }
}

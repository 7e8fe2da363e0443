//! Volumes in containers: mounted as file systems or given as devices.

use super::super::place::{Faults, Place};
use super::super::volume::source::inside;
use super::beside::{Beside, is_set};
use super::local_path;
use hako_kube::field;
use std::collections::HashSet;

/// All faults of the volumes that a container of a pod with that spec has.
pub(super) fn validate(container: &Place<'_>, beside: &Beside<'_>, faults: &mut Faults) {
    let (mounts, devices) = (container.at(&["volumeMounts"]), container.at(&["volumeDevices"]));
    let (device_names, device_paths) = (texts(&devices, "name"), texts(&devices, "devicePath"));
    let mut targets: HashSet<&str> = HashSet::new();
    for mount in mounts.items() {
        if faults.is_full() {
            return;
        }
        let (name, target) = (mount.at(&["name"]), mount.at(&["mountPath"]));
        if name.is_empty() {
            faults.push(name.required(""));
        } else if !beside.volumes.contains_key(name.text()) {
            faults.push(field::not_found(name.path(), name.text()));
        }
        let is_first = targets.insert(target.text());
        if target.is_empty() {
            faults.push(target.required(""));
        } else if !is_first {
            faults.push(target.invalid("must be unique"));
        }
        if device_names.contains(name.text()) {
            faults.push(name.invalid("must not already exist in volumeDevices"));
        }
        if device_paths.contains(target.text()) {
            faults.push(target.invalid("must not already exist as a path in volumeDevices"));
        }
        sub_path(&mount, &mounts, faults);
        propagation(&mount, container, &mounts, faults);
    }
    self::devices(&devices, &mounts, beside, faults);
}

/// What the items of a list say as one of their members.
fn texts<'a>(list: &Place<'a>, member: &'a str) -> HashSet<&'a str> {
    list.items().map(|item| item.at(&[member]).text()).collect()
}

/// In these and the paths of propagation the original leaves the index out.
fn sub_path(mount: &Place<'_>, list: &Place<'_>, faults: &mut Faults) {
    let (path, expression) = (mount.at(&["subPath"]), mount.at(&["subPathExpr"]));
    if !path.is_empty() {
        local_path(&list.at(&["subPath"]).with(path.value), faults);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            faults.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
        }
        local_path(&list.at(&["subPathExpr"]).with(expression.value), faults);
    }
}

fn propagation(mount: &Place<'_>, container: &Place<'_>, list: &Place<'_>, faults: &mut Faults) {
    let at = |name: &'static str| list.at(&[name]).with(mount.at(&[name]).value);
    let (propagation, read_only) = (at("mountPropagation"), at("recursiveReadOnly"));
    propagation.one_of_given(&["Bidirectional", "HostToContainer", "None"], faults);
    let is_privileged = container.at(&["securityContext", "privileged"]).is_true();
    if propagation.text() == "Bidirectional" && !is_privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        faults.push(propagation.forbidden(detail));
    }
    read_only.one_of_given(&["Disabled", "Enabled", "IfPossible"], faults);
    if !matches!(read_only.text(), "Enabled" | "IfPossible") {
        return;
    }
    if !mount.at(&["readOnly"]).is_true() {
        faults.push(read_only.forbidden("may only be specified when readOnly is true"));
    }
    if propagation.is_set() && propagation.text() != "None" {
        let detail = "may only be specified when mountPropagation is None or not specified";
        faults.push(read_only.forbidden(detail));
    }
}

fn devices(devices: &Place<'_>, mounts: &Place<'_>, beside: &Beside<'_>, faults: &mut Faults) {
    let (mount_names, mount_paths) = (texts(mounts, "name"), texts(mounts, "mountPath"));
    let (mut names, mut paths): (HashSet<&str>, HashSet<&str>) = (HashSet::new(), HashSet::new());
    for device in devices.items() {
        if faults.is_full() {
            return;
        }
        let (name, path) = (device.at(&["name"]), device.at(&["devicePath"]));
        let (is_first_name, is_first_path) = (names.insert(name.text()), paths.insert(path.text()));
        if name.is_empty() {
            faults.push(name.required(""));
        } else if !is_first_name {
            faults.push(name.invalid("must be unique"));
        }
        match beside.volumes.get(name.text()) {
            None => faults.push(field::not_found(name.path(), name.text())),
            Some(volume) if ["persistentVolumeClaim", "ephemeral"].iter().any(|it| is_set(volume, it)) => {}
            Some(_) => faults.push(name.invalid(
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )),
        }
        if path.is_empty() {
            faults.push(path.required(""));
        } else if !is_first_path {
            faults.push(path.invalid("must be unique"));
        }
        let mut leads_up = Faults::new();
        inside(&path, &mut leads_up);
        faults.extend(leads_up.first().map(|_| path.invalid("can not contain backsteps ('..')")));
        if mount_names.contains(name.text()) {
            faults.push(name.invalid("must not already exist in volumeMounts"));
        }
        if mount_paths.contains(path.text()) {
            faults.push(path.invalid("must not already exist as a path in volumeMounts"));
        }
    }
}

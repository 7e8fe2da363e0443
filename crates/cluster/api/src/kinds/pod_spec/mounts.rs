//! Volumes in containers: mounted as file systems or given as devices.

use super::super::place::{Faults, Place};
use super::super::volume::source::inside;
use super::local_path;
use hako_kube::field;

/// All faults of the volumes that a container of a pod with that spec has.
pub(super) fn validate(container: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    let volumes = spec.at(&["volumes"]).items();
    let (mounts, devices) = (container.at(&["volumeMounts"]), container.at(&["volumeDevices"]));
    let mut targets: Vec<&str> = Vec::new();
    for mount in mounts.items() {
        let (name, target) = (mount.at(&["name"]), mount.at(&["mountPath"]));
        let volume = volumes.iter().find(|volume| volume.at(&["name"]).text() == name.text());
        if name.is_empty() {
            faults.push(name.required(""));
        } else if volume.is_none() {
            faults.push(field::not_found(name.path.as_str(), name.text()));
        }
        if target.is_empty() {
            faults.push(target.required(""));
        } else if targets.contains(&target.text()) {
            faults.push(target.invalid("must be unique"));
        }
        targets.push(target.text());
        if has(&devices, "name", name.text()) {
            faults.push(name.invalid("must not already exist in volumeDevices"));
        }
        if has(&devices, "devicePath", target.text()) {
            faults.push(target.invalid("must not already exist as a path in volumeDevices"));
        }
        sub_path(&mount, &mounts.path, faults);
        propagation(&mount, container, &mounts.path, faults);
    }
    self::devices(&devices, &mounts, &volumes, faults);
}

fn has(list: &Place<'_>, member: &str, text: &str) -> bool {
    list.items().iter().any(|item| item.at(&[member]).text() == text)
}

/// In these and the paths of propagation the original leaves the index out.
fn sub_path(mount: &Place<'_>, list: &str, faults: &mut Faults) {
    let (path, expression) = (mount.at(&["subPath"]), mount.at(&["subPathExpr"]));
    if !path.is_empty() {
        local_path(path.text(), &field::child(list, "subPath"), faults);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            faults.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
        }
        local_path(expression.text(), &field::child(list, "subPathExpr"), faults);
    }
}

fn propagation(mount: &Place<'_>, container: &Place<'_>, list: &str, faults: &mut Faults) {
    let at = |name: &str| Place { path: field::child(list, name), ..mount.at(&[name]) };
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

fn devices(devices: &Place<'_>, mounts: &Place<'_>, volumes: &[Place<'_>], faults: &mut Faults) {
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in devices.items() {
        let (name, path) = (device.at(&["name"]), device.at(&["devicePath"]));
        let volume = volumes.iter().find(|volume| volume.at(&["name"]).text() == name.text());
        if name.is_empty() {
            faults.push(name.required(""));
        } else if names.contains(&name.text()) {
            faults.push(name.invalid("must be unique"));
        }
        match volume {
            None => faults.push(field::not_found(name.path.as_str(), name.text())),
            Some(volume)
                if ["persistentVolumeClaim", "ephemeral"].iter().any(|it| volume.at(&[it]).is_set()) => {}
            Some(_) => faults.push(name.invalid(
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )),
        }
        if path.is_empty() {
            faults.push(path.required(""));
        } else if paths.contains(&path.text()) {
            faults.push(path.invalid("must be unique"));
        }
        let mut leads_up = Faults::new();
        inside(&path, &mut leads_up);
        faults.extend(leads_up.first().map(|_| path.invalid("can not contain backsteps ('..')")));
        if has(mounts, "name", name.text()) {
            faults.push(name.invalid("must not already exist in volumeMounts"));
        }
        if has(mounts, "mountPath", path.text()) {
            faults.push(path.invalid("must not already exist as a path in volumeMounts"));
        }
        names.push(name.text());
        paths.push(path.text());
    }
}

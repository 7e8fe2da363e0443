//! What a device changes in a container's specification.

use crate::error::CdiError;
use crate::spec::{DeviceNode, Edits, Hook, HookName, Mount};
use hako_oci::runtime::{
    Hook as RuntimeHook, HookBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroupBuilder,
    LinuxDeviceType, Mount as RuntimeMount, MountBuilder, Spec as RuntimeSpec,
};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.env.is_empty()
            && self.device_nodes.is_empty()
            && self.net_devices.is_empty()
            && self.mounts.is_empty()
            && self.hooks.is_empty()
            && self.additional_gids.is_empty()
            && self.intel_rdt.is_none()
    }
}

/// Changes `spec` for the device `name`.
pub(crate) fn apply(name: &str, edits: &Edits, spec: &mut RuntimeSpec) -> Result<(), CdiError> {
    let asked = [("intelRdt", edits.intel_rdt.is_some()), ("netDevices", !edits.net_devices.is_empty())];
    if let Some((field, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
        return Err(CdiError::Unsupported { name: name.to_owned(), field });
    }
    add_env(edits, spec);
    for node in &edits.device_nodes {
        add_node(name, node, spec)?;
    }
    add_mounts(edits, spec);
    add_hooks(edits, spec);
    add_groups(edits, spec);
    Ok(())
}

/// A variable that is there already takes the device's value.
fn add_env(edits: &Edits, spec: &mut RuntimeSpec) {
    let Some(process) = spec.process_mut() else { return };
    let mut env = process.env().clone().unwrap_or_default();
    for entry in &edits.env {
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        env.retain(|known| name(known) != name(entry));
        env.push(entry.clone());
    }
    process.set_env(Some(env));
}

fn add_node(name: &str, node: &DeviceNode, spec: &mut RuntimeSpec) -> Result<(), CdiError> {
    let user = spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid()));
    let device = device(name, node, user.unwrap_or_default())?;
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut resources = linux.resources().clone().unwrap_or_default();
    let mut rules = resources.devices().clone().unwrap_or_default();
    if device.typ() != LinuxDeviceType::P {
        let access = node.permissions.as_deref().filter(|rights| !rights.is_empty()).unwrap_or("rwm");
        let rule = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(device.typ())
            .major(device.major())
            .minor(device.minor())
            .access(access);
        rules.extend(rule.build());
    }
    resources.set_devices(Some(rules));
    let mut devices = linux.devices().clone().unwrap_or_default();
    devices.retain(|known| known.path() != device.path());
    devices.push(device);
    linux.set_devices(Some(devices)).set_resources(Some(resources));
    spec.set_linux(Some(linux));
    Ok(())
}

/// What the file does not say of a node is the host's; its owner is the container's user where nobody says.
fn device(name: &str, node: &DeviceNode, user: (u32, u32)) -> Result<LinuxDevice, CdiError> {
    let host = node.host_path.as_ref().unwrap_or(&node.path);
    let missing = || CdiError::Node { name: name.to_owned(), path: host.clone() };
    let said = node.r#type.as_deref().filter(|kind| !kind.is_empty()).map(kind_named);
    let on_host = fs::metadata(host).ok();
    let (kind, major, minor) = match (said, node.major, node.minor) {
        (Some(LinuxDeviceType::P), ..) => (LinuxDeviceType::P, 0, 0),
        (Some(kind), Some(major), Some(minor)) => (kind, major, minor),
        (said, major, minor) => {
            let (kind, own_major, own_minor) = on_host.as_ref().and_then(numbers).ok_or_else(missing)?;
            if said.is_some_and(|said| said != kind) {
                return Err(missing());
            }
            (kind, major.unwrap_or(own_major), minor.unwrap_or(own_minor))
        }
    };
    let mode = node.file_mode.or(on_host.map(|found| found.mode())).unwrap_or(0o666);
    let device = LinuxDeviceBuilder::default()
        .path(&node.path)
        .typ(kind)
        .major(major)
        .minor(minor)
        .file_mode(mode & 0o7777)
        .uid(node.uid.unwrap_or(user.0))
        .gid(node.gid.unwrap_or(user.1));
    device.build().map_err(|_| missing())
}

fn kind_named(text: &str) -> LinuxDeviceType {
    match text {
        "b" => LinuxDeviceType::B,
        "p" => LinuxDeviceType::P,
        _ => LinuxDeviceType::C,
    }
}

fn numbers(found: &fs::Metadata) -> Option<(LinuxDeviceType, i64, i64)> {
    let kind = match found.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return None,
    };
    let number = found.rdev();
    Some((kind, i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number))))
}

/// Outer places come before inner ones, so that none hides another.
fn add_mounts(edits: &Edits, spec: &mut RuntimeSpec) {
    let mut added: Vec<RuntimeMount> = edits.mounts.iter().filter_map(mount).collect();
    added.sort_by_key(|mount| mount.destination().components().count());
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.retain(|known| !added.iter().any(|new| new.destination() == known.destination()));
    mounts.extend(added);
    spec.set_mounts(Some(mounts));
}

fn mount(mount: &Mount) -> Option<RuntimeMount> {
    let kind = mount.r#type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("bind");
    let mut options = mount.options.clone();
    if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("bind".to_owned());
    }
    let built = MountBuilder::default()
        .source(&mount.host_path)
        .destination(&mount.container_path)
        .typ(kind)
        .options(options);
    built.build().ok()
}

fn add_hooks(edits: &Edits, spec: &mut RuntimeSpec) {
    if edits.hooks.is_empty() {
        return;
    }
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    for hook in &edits.hooks {
        let list = match hook.hook_name {
            HookName::Prestart => hooks.prestart_mut(),
            HookName::CreateRuntime => hooks.create_runtime_mut(),
            HookName::CreateContainer => hooks.create_container_mut(),
            HookName::StartContainer => hooks.start_container_mut(),
            HookName::Poststart => hooks.poststart_mut(),
            HookName::Poststop => hooks.poststop_mut(),
        };
        list.get_or_insert_default().extend(runtime_hook(hook));
    }
    spec.set_hooks(Some(hooks));
}

fn runtime_hook(hook: &Hook) -> Option<RuntimeHook> {
    let mut built = HookBuilder::default().path(&hook.path).args(hook.args.clone()).env(hook.env.clone());
    if let Some(timeout) = hook.timeout {
        built = built.timeout(timeout);
    }
    built.build().ok()
}

/// Group 0 is what a file says that means none.
fn add_groups(edits: &Edits, spec: &mut RuntimeSpec) {
    let Some(process) = spec.process_mut() else { return };
    let mut user = process.user().clone();
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    for group in edits.additional_gids.iter().filter(|group| **group != 0) {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    user.set_additional_gids(Some(groups));
    process.set_user(user);
}

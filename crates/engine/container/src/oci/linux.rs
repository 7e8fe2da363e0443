//! Namespaces, seccomp, hidden paths, limits and devices.

use super::Surroundings;
use super::devices::device_number;
use super::resources::fill_resources;
use crate::error::EngineError;
use crate::{ContainerSpec, Resources, Seccomp};
use hako_oci::runtime::{Linux, LinuxDeviceBuilder, LinuxDeviceCgroupBuilder, LinuxNamespaceType};
use std::path::PathBuf;

pub(super) fn fill_linux(
    linux: &mut Linux,
    spec: &ContainerSpec,
    resources: &Resources,
    around: &Surroundings,
) -> Result<(), EngineError> {
    if around.is_pid_shared {
        let kept = linux.namespaces().clone().unwrap_or_default();
        linux.set_namespaces(Some(
            kept.into_iter().filter(|one| one.typ() != LinuxNamespaceType::Pid).collect(),
        ));
    }
    if spec.privileged {
        linux.set_seccomp(None).set_masked_paths(None).set_readonly_paths(None);
    }
    if spec.seccomp == Seccomp::Unconfined {
        linux.set_seccomp(None);
    }
    let texts = |paths: &Vec<PathBuf>| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    if let Some(paths) = &spec.masked_paths {
        linux.set_masked_paths(Some(texts(paths)));
    }
    if let Some(paths) = &spec.readonly_paths {
        linux.set_readonly_paths(Some(texts(paths)));
    }
    let mut limits = linux.resources().clone().unwrap_or_default();
    fill_resources(&mut limits, resources);
    let mut rules = limits.devices().clone().unwrap_or_default();
    if spec.privileged {
        rules = LinuxDeviceCgroupBuilder::default().allow(true).access("rwm").build().into_iter().collect();
    }
    let mut nodes = linux.devices().clone().unwrap_or_default();
    for device in &spec.devices {
        let (typ, major, minor) = device_number(device)?;
        let node = LinuxDeviceBuilder::default()
            .path(&device.container_path)
            .typ(typ)
            .major(major)
            .minor(minor)
            .build();
        nodes.extend(node);
        let rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(typ).major(major).minor(minor);
        rules.extend(rule.access(device.access.clone()).build());
    }
    limits.set_devices(Some(rules));
    linux.set_devices(Some(nodes)).set_resources(Some(limits));
    Ok(())
}

//! Namespaces, seccomp, hidden paths, limits and devices.

use super::Surroundings;
use super::devices::{host_devices, nodes, rules};
use super::resources::fill_resources;
use crate::error::EngineError;
use crate::{ContainerSpec, Resources, Seccomp};
use hako_oci::runtime::{Linux, LinuxDeviceCgroupBuilder, LinuxNamespaceType, LinuxSeccomp, Process};
use std::path::PathBuf;

pub(super) fn fill_linux(
    linux: &mut Linux,
    spec: &ContainerSpec,
    process: &Process,
    resources: &Resources,
    around: &Surroundings,
) -> Result<(), EngineError> {
    if around.is_pid_shared {
        let kept = linux.namespaces().clone().unwrap_or_default();
        linux.set_namespaces(Some(
            kept.into_iter().filter(|one| one.typ() != LinuxNamespaceType::Pid).collect(),
        ));
    }
    if spec.host_cgroupns {
        let kept = linux.namespaces().clone().unwrap_or_default();
        linux.set_namespaces(Some(
            kept.into_iter().filter(|one| one.typ() != LinuxNamespaceType::Cgroup).collect(),
        ));
    }
    if spec.privileged {
        linux.set_masked_paths(None).set_readonly_paths(None);
    }
    linux.set_seccomp(seccomp(spec, process)?);
    let texts = |paths: &Vec<PathBuf>| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    if let Some(paths) = &spec.masked_paths {
        linux.set_masked_paths(Some(texts(paths)));
    }
    if let Some(paths) = &spec.readonly_paths {
        linux.set_readonly_paths(Some(texts(paths)));
    }
    let mut limits = linux.resources().clone().unwrap_or_default();
    fill_resources(&mut limits, resources)?;
    let mut allowed = limits.devices().clone().unwrap_or_default();
    if spec.privileged {
        allowed = LinuxDeviceCgroupBuilder::default().allow(true).access("rwm").build().into_iter().collect();
    }
    let mut devices = linux.devices().clone().unwrap_or_default();
    if spec.privileged {
        devices.extend(host_devices());
    }
    for device in &spec.devices {
        for (node, rule) in nodes(device)? {
            devices.retain(|known| known.path() != node.path());
            devices.push(node);
            allowed.push(rule);
        }
    }
    allowed.extend(rules(&spec.device_rules));
    limits.set_devices(Some(allowed));
    linux.set_devices(Some(devices)).set_resources(Some(limits));
    Ok(())
}

/// The default filter follows from the capabilities that the process has after all additions.
fn seccomp(spec: &ContainerSpec, process: &Process) -> Result<Option<LinuxSeccomp>, EngineError> {
    let bounding =
        process.capabilities().as_ref().and_then(|sets| sets.bounding().clone()).unwrap_or_default();
    Ok(match &spec.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Default if spec.privileged => None,
        Seccomp::Default => Some(hako_runtime::spec::seccomp_for(&bounding)),
        Seccomp::Profile(profile) => Some(profile.resolved(&bounding)?),
    })
}

//! Fields of a spec that nothing here honours: asked for, they are refused by name, never dropped.

use hako_error::Result;
use hako_oci::runtime::Spec;

use super::not_supported;

/// Refuses what would be dropped.
pub(super) fn check(spec: &Spec) -> Result<()> {
    let process = spec.process().as_ref();
    let linux = spec.linux().as_ref();
    let label = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
    let asked = [
        ("process.selinuxLabel", label(process.and_then(|one| one.selinux_label().as_ref()))),
        ("process.execCPUAffinity", process.is_some_and(|one| one.exec_cpu_affinity().is_some())),
        ("linux.mountLabel", label(linux.and_then(|one| one.mount_label().as_ref()))),
        ("linux.intelRdt", linux.is_some_and(|one| one.intel_rdt().is_some())),
        ("linux.memoryPolicy", linux.is_some_and(|one| one.memory_policy().is_some())),
        (
            "linux.netDevices",
            linux.is_some_and(|one| one.net_devices().as_ref().is_some_and(|all| !all.is_empty())),
        ),
        ("vm", spec.vm().is_some()),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        Some((field, _)) => Err(not_supported(*field, "remove it from the spec")),
        None => Ok(()),
    }
}

//! Limits of the programs of RUN steps. They do not count for the cache: what a step makes does not follow from them.

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{
    LinuxCpu, LinuxMemory, LinuxResources, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Spec,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a RUN step may use; with nothing set, all there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunLimits {
    /// Memory and swap of the step's group.
    pub memory: Option<LinuxMemory>,
    /// Shares, quota and processors of the step's group.
    pub cpu: Option<LinuxCpu>,
    /// Limits of setrlimit(2).
    pub rlimits: Vec<PosixRlimit>,
    /// Size of /dev/shm in bytes.
    pub shm_bytes: Option<u64>,
}

impl RunLimits {
    pub(crate) fn fill(&self, spec: &mut Spec) {
        if let (false, Some(process)) = (self.rlimits.is_empty(), spec.process_mut()) {
            process.set_rlimits(Some(self.rlimits.clone()));
        }
        if let Some(linux) = spec.linux_mut() {
            let mut resources: LinuxResources = linux.resources().clone().unwrap_or_default();
            if self.memory.is_some() {
                resources.set_memory(self.memory);
            }
            if self.cpu.is_some() {
                resources.set_cpu(self.cpu.clone());
            }
            linux.set_resources(Some(resources));
        }
        let Some(bytes) = self.shm_bytes else { return };
        let mounts = spec.mounts_mut().iter_mut().flatten();
        for mount in mounts.filter(|mount| mount.destination() == Path::new("/dev/shm")) {
            let options = mount.options_mut().get_or_insert_default();
            options.retain(|option| !option.starts_with("size="));
            options.push(format!("size={bytes}"));
        }
    }
}

/// A limit by its name, such as `nofile`.
///
/// # Errors
/// `Invalid` for a name that setrlimit(2) does not know.
pub fn rlimit(name: &str, soft: u64, hard: u64) -> Result<PosixRlimit> {
    let bad = || Error::new(Kind::Invalid, format!("invalid ulimit type: {name}"));
    let wanted = serde_json::Value::String(format!("RLIMIT_{}", name.to_ascii_uppercase()));
    let kind: PosixRlimitType = serde_json::from_value(wanted).map_err(|_| bad())?;
    PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_where_the_runtime_looks_for_them() {
        let mut spec = hako_runtime::spec::default_spec();
        let devices = spec.linux().as_ref().unwrap().resources().as_ref().unwrap().devices().clone();
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(7 << 20));
        let rlimits = vec![rlimit("nofile", 10, 20).unwrap()];
        RunLimits { memory: Some(memory), cpu: None, rlimits, shm_bytes: Some(4096) }.fill(&mut spec);
        let resources = spec.linux().as_ref().unwrap().resources().clone().unwrap();
        assert_eq!(resources.memory().unwrap().limit(), Some(7 << 20));
        assert_eq!(resources.devices(), &devices);
        let shm = spec.mounts().iter().flatten().find(|mount| mount.destination() == Path::new("/dev/shm"));
        let options = shm.unwrap().options().clone().unwrap();
        assert!(options.contains(&"size=4096".to_owned()) && !options.contains(&"size=65536k".to_owned()));
        assert!(rlimit("nothing", 1, 1).is_err());
    }
}

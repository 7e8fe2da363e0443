//! The sandbox's shim: its namespaces, its group and limits.

use super::SandboxObject;
use crate::core::Core;
use crate::error::io;
use crate::files::Reached;
use crate::{NetworkMode, Resources};
use hako_cgroup::Limits;
use hako_error::Result;
use hako_runtime::{NamespaceMode, Namespaces, Shim, ShimConfig, TmpfsMount};
use std::sync::Arc;

/// Limits as the control groups take them.
pub(crate) fn limits(resources: &Resources) -> Limits {
    Limits {
        memory_bytes: resources.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        memory_swap: resources.memory_swap,
        cpu_quota_us: resources.cpu_quota_us,
        cpu_period_us: resources.cpu_period_us,
        cpu_shares: resources.cpu_shares,
        pids: resources.pids,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        ..Limits::default()
    }
}

impl Core {
    /// Starts the shim with the sandbox's namespaces, group and limits.
    pub(crate) async fn spawn_shim(self: &Arc<Self>, sandbox: &Arc<SandboxObject>) -> Result<Shim> {
        let spec = &sandbox.record.spec;
        sandbox
            .files()
            .write(spec, &sandbox.record.hostname, &Reached::default())
            .map_err(io("write", &sandbox.dir))?;
        let path = self.cgroup(&sandbox.id, None);
        if spec.resources != Resources::default() {
            self.config.cgroups.create(&path)?.set(&limits(&spec.resources))?;
        }
        let spawned = Shim::spawn(self.shim_config(sandbox, path)).await;
        if spawned.is_err() {
            self.release(&sandbox.id, None).await;
        }
        spawned.map_err(|error| error.context(format!("start the shim of sandbox {}", sandbox.id.short())))
    }

    fn shim_config(&self, sandbox: &SandboxObject, cgroup: String) -> ShimConfig {
        let spec = &sandbox.record.spec;
        let host_network = spec.network == NetworkMode::Host;
        let host_uts = host_network || spec.host_uts;
        let mode = |host| {
            if host { NamespaceMode::Host } else { NamespaceMode::New }
        };
        ShimConfig {
            exe: self.config.exe.clone(),
            socket: self.layout.socket(&sandbox.id),
            state_dir: sandbox.state_dir(),
            id: sandbox.id.to_string(),
            hostname: if host_uts { String::new() } else { sandbox.record.hostname.clone() },
            domainname: if host_uts { String::new() } else { spec.nis_domain.clone() },
            namespaces: Namespaces {
                net: mode(host_network),
                ipc: mode(spec.host_ipc),
                uts: mode(host_uts),
                shared_pid: spec.shared_pid && !spec.host_pid,
            },
            sysctls: spec.sysctls.clone(),
            cgroup,
            tmpfs: spec
                .memory_volumes
                .iter()
                .map(|volume| TmpfsMount {
                    path: volume.path.clone(),
                    size_bytes: volume.size,
                    mode: volume.mode.unwrap_or(0o777),
                })
                .collect(),
            oom_score_adj: -998,
            ..ShimConfig::default()
        }
    }
}

//! The sandbox's shim: its namespaces, its group and limits.

use super::SandboxObject;
use crate::blkio::resolved;
use crate::core::Core;
use crate::error::{blocking, io};
use crate::files::Reached;
use crate::{Ipc, NetworkMode, Resources, SandboxSpec};
use hako_cgroup::{BlockDevice, BlockLimits, Limits};
use hako_error::Result;
use hako_network::Ahead;
use hako_runtime::{NamespaceMode, Namespaces, SharedMount, Shim, ShimConfig, TmpfsMount};
use std::path::PathBuf;
use std::sync::Arc;

/// Docker's default.
const SHM_SIZE: u64 = 64 << 20;

/// Limits as the control groups take them.
pub(crate) fn limits(resources: &Resources) -> Result<Limits> {
    let signed = |bytes: Option<u64>| bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(Limits {
        memory_bytes: signed(resources.memory),
        memory_reservation: signed(resources.memory_reservation),
        swappiness: resources.memory_swappiness,
        oom_kill_disable: resources.oom_kill_disable,
        kernel_memory_tcp: signed(resources.kernel_memory_tcp),
        cpu_rt_period_us: resources.cpu_realtime_period_us,
        cpu_rt_runtime_us: resources.cpu_realtime_runtime_us,
        blkio_weight: resources.blkio_weight,
        blkio: block_limits(resources)?,
        memory_swap: resources.memory_swap,
        cpu_quota_us: resources.cpu_quota_us,
        cpu_period_us: resources.cpu_period_us,
        cpu_shares: resources.cpu_shares,
        pids: resources.pids,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        ..Limits::default()
    })
}

fn block_limits(resources: &Resources) -> Result<BlockLimits> {
    let rates = |rates| -> Result<Vec<(BlockDevice, u64)>> {
        let found = resolved(rates)?.into_iter();
        Ok(found.map(|((major, minor), rate)| (BlockDevice { major, minor }, rate)).collect())
    };
    let weight = |(device, weight): (BlockDevice, u64)| (device, u16::try_from(weight).unwrap_or(u16::MAX));
    Ok(BlockLimits {
        weights: rates(&resources.blkio_weight_device)?.into_iter().map(weight).collect(),
        read_bps: rates(&resources.blkio_read_bps)?,
        write_bps: rates(&resources.blkio_write_bps)?,
        read_iops: rates(&resources.blkio_read_iops)?,
        write_iops: rates(&resources.blkio_write_iops)?,
    })
}

/// What containers are given in /etc and as /dev/shm is their root's. Later writes keep the owner.
fn give_files(sandbox: &SandboxObject) -> Result<()> {
    let Some(users) = &sandbox.record.users else { return Ok(()) };
    let (uid, gid) = users.root();
    let shm = sandbox.shm_dir();
    std::fs::create_dir_all(&shm).map_err(io("make directory", &shm))?;
    let files = sandbox.files().mounts().map(|(path, _)| path);
    for path in files.into_iter().chain([shm]) {
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(io("change the owner of", &path))?;
    }
    Ok(())
}

impl Core {
    /// Starts the shim with the sandbox's namespaces, group and limits; in a place in its network if one was made ahead.
    pub(crate) async fn spawn_shim(
        self: &Arc<Self>,
        sandbox: &Arc<SandboxObject>,
        ahead: Option<&Ahead>,
    ) -> Result<Shim> {
        let spec = &sandbox.record.spec;
        sandbox
            .files()
            .write(spec, &sandbox.record.hostname, &Reached::default())
            .map_err(io("write", &sandbox.dir))?;
        give_files(sandbox)?;
        hako_sys::failpoint!("container.start.files");
        let path = self.cgroup(&sandbox.id, None);
        self.make_group_parent(&sandbox.id)?;
        if spec.resources != Resources::default() {
            self.config.cgroups.create(&path)?.set(&limits(&spec.resources)?)?;
        }
        hako_sys::failpoint!("container.start.group");
        let mut joined = self.joined(sandbox).await?;
        let mut config = self.shim_config(sandbox, path, joined.shared_memory);
        if let Some(ahead) = ahead {
            let namespace =
                ahead.namespace().try_clone().map_err(io("copy a namespace for", &sandbox.dir))?;
            // The network's is the first of those that are joined.
            joined.namespaces.insert(0, namespace.into());
            config.namespaces.net = NamespaceMode::Join;
        }
        config.joins_user = joined.has_user;
        let spawn = Shim::spawn_joining(config, joined.namespaces);
        let (spawned, ()) = tokio::join!(spawn, self.make_container_group(sandbox));
        if spawned.is_err() {
            self.release(&sandbox.id, None).await;
        }
        spawned.map_err(|error| error.context(format!("start the shim of sandbox {}", sandbox.id.short())))
    }

    /// Makes the group of a container that is going to be made in the sandbox, while its shim starts. One that could not be
    /// made is missing, and told of, when the container is made.
    async fn make_container_group(&self, sandbox: &SandboxObject) {
        let Some(container) = sandbox.container.get().filter(|_| sandbox.record.standalone) else { return };
        let (groups, path) = (self.config.cgroups.clone(), self.cgroup(&sandbox.id, Some(container)));
        let _missing = blocking(move || Ok(groups.create_everywhere(&path).map(drop)?)).await;
    }

    fn shim_config(
        &self,
        sandbox: &SandboxObject,
        cgroup: String,
        shared_memory: Option<PathBuf>,
    ) -> ShimConfig {
        let spec = &sandbox.record.spec;
        let host_uts = has_hosts_names(spec);
        let volumes = spec.memory_volumes.iter().map(|volume| TmpfsMount {
            path: volume.path.clone(),
            size_bytes: volume.size,
            mode: volume.mode.unwrap_or(0o777),
        });
        let own_memory = (spec.ipc == Ipc::Shareable).then(|| TmpfsMount {
            path: sandbox.shm_dir(),
            size_bytes: Some(spec.shm_size.unwrap_or(SHM_SIZE)),
            mode: 0o1777,
        });
        ShimConfig {
            exe: self.config.exe.clone(),
            socket: self.layout.socket(&sandbox.id),
            state_dir: sandbox.state_dir(),
            id: sandbox.id.to_string(),
            hostname: if host_uts { String::new() } else { sandbox.record.hostname.clone() },
            domainname: if host_uts { String::new() } else { spec.nis_domain.clone() },
            namespaces: namespaces(spec),
            sysctls: spec.sysctls.clone(),
            cgroup,
            tmpfs: volumes.chain(own_memory).collect(),
            shared: shared_memory
                .into_iter()
                .map(|from| SharedMount { from, to: sandbox.shm_dir() })
                .collect(),
            oom_score_adj: -998,
            user: sandbox.record.users.clone(),
            ..ShimConfig::default()
        }
    }
}

/// Who is on the host's network has its names too, unless it asks for its own.
fn has_hosts_names(spec: &SandboxSpec) -> bool {
    spec.host_uts || (spec.network == NetworkMode::Host && !spec.own_uts)
}

fn namespaces(spec: &SandboxSpec) -> Namespaces {
    let mode = |is_host, is_joined| match (is_host, is_joined) {
        (true, _) => NamespaceMode::Host,
        (false, true) => NamespaceMode::Join,
        (false, false) => NamespaceMode::New,
    };
    let host_network = spec.network == NetworkMode::Host;
    Namespaces {
        net: mode(host_network, spec.network == NetworkMode::Shared),
        ipc: mode(spec.host_ipc, spec.share.ipc.is_some()),
        uts: mode(has_hosts_names(spec), false),
        shared_pid: spec.shared_pid && !spec.host_pid,
    }
}

/// Refuses parameters of the kernel that are not the sandbox's own.
pub(crate) fn check_sysctls(spec: &SandboxSpec) -> Result<()> {
    let own = (&namespaces(spec)).into();
    spec.sysctls.keys().try_for_each(|name| hako_runtime::sysctl::check(name, own))
}

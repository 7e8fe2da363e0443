//! What a caller asks for.

use crate::seccomp::SeccompProfile;
use hako_names::ImageRef;
use hako_runtime::SyslogFormat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a sandbox is to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    /// For people; not unique.
    pub name: String,
    /// The host name inside; the short id when empty. Ignored with the host's network, unless `own_uts`.
    pub hostname: String,
    /// The domain that /etc/hosts names it in, besides the bare host name; none when empty.
    pub domain: String,
    /// The NIS domain name of its UTS namespace (Docker's `Domainname`); none when empty.
    pub nis_domain: String,
    /// Whether the sandbox uses the host's host name.
    pub host_uts: bool,
    /// Whether host and domain name are the sandbox's own although its network is the host's.
    pub own_uts: bool,
    /// The network it is connected to.
    pub network: NetworkMode,
    /// What goes into resolv.conf; when all is empty, the host's file is used as it is.
    pub dns: Dns,
    /// The networks it is connected to at its first start. Only with [`NetworkMode::Endpoints`].
    pub endpoints: Vec<EndpointSpec>,
    /// Ports of the host that lead into the sandbox. Only with [`NetworkMode::Bridge`] and [`NetworkMode::Endpoints`].
    pub ports: Vec<PortMapping>,
    /// Namespaced kernel settings, such as `net.core.somaxconn`.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of all containers together.
    pub resources: Resources,
    /// Memory-backed directories: mounted in the sandbox's own mount namespace at `path`, so that containers of this
    /// sandbox can bind-mount `path` while the host sees only an empty directory there.
    pub memory_volumes: Vec<MemoryVolume>,
    /// Size of /dev/shm in bytes, 64 MiB when `None`.
    pub shm_size: Option<u64>,
    /// Lines for /etc/hosts besides the usual ones.
    pub hosts: Vec<HostEntry>,
    /// What /etc/hosts begins with: who writes it. Nothing when empty.
    pub hosts_title: String,
    /// The containers whose namespaces it is in. Only for standalone containers.
    pub share: Share,
    /// Whether its users are those that [`crate::EngineConfig::users`] says, not the host's. Only for standalone containers.
    pub remapped: bool,
    /// Who else may use its interprocess communication, and whether there is a /dev/shm.
    pub ipc: Ipc,
    /// The group that its own is below; the root when empty.
    pub cgroup_parent: String,
    /// Whether the sandbox uses the host's interprocess communication namespace.
    pub host_ipc: bool,
    /// Whether containers see the host's processes.
    pub host_pid: bool,
    /// Whether containers see each other's processes; their first process is then the sandbox's, not their own.
    /// [`Self::host_pid`] comes first.
    #[serde(default)]
    pub shared_pid: bool,
    /// For selection in [`Filter`].
    pub labels: BTreeMap<String, String>,
    /// For the caller only.
    pub annotations: BTreeMap<String, String>,
}

/// The containers whose namespaces a sandbox is in. They have to run when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Share {
    /// The network, with its files in /etc. Only with [`NetworkMode::Shared`].
    pub net: Option<hako_names::ContainerId>,
    /// Interprocess communication, with /dev/shm.
    pub ipc: Option<hako_names::ContainerId>,
    /// Processes.
    pub pid: Option<hako_names::ContainerId>,
}

/// Interprocess communication of a sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipc {
    /// Its own.
    #[default]
    Private,
    /// Its own, and other sandboxes may join it.
    Shareable,
    /// Its own, and its containers have no /dev/shm.
    None,
}

/// The network of a sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Its own namespace, with an address on the instance's bridge.
    #[default]
    Bridge,
    /// The host's namespace.
    Host,
    /// Its own namespace with loopback only.
    None,
    /// Its own namespace, connected to the networks that people make.
    Endpoints,
    /// Another container's, see [`Share::net`].
    Shared,
}

/// How a sandbox is connected to one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// The network's name.
    pub network: String,
    /// Names that others in the network find it by, besides its own.
    pub aliases: Vec<String>,
    /// Names that only it knows others by.
    pub links: Vec<EndpointLink>,
    /// A certain address of IPv4.
    pub ip4: Option<IpAddr>,
    /// A certain address of IPv6.
    pub ip6: Option<IpAddr>,
    /// Addresses besides those of the network, that count on its link only.
    pub link_local: Vec<IpAddr>,
    /// A certain hardware address; empty for any.
    pub mac: String,
    /// The highest of a sandbox's networks leads its default route.
    pub priority: i32,
    /// Options by Docker's names, such as the link's name inside.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A name that only one sandbox knows another container by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointLink {
    /// Whom.
    pub container: hako_names::ContainerId,
    /// By which name.
    pub alias: String,
}

/// What goes into resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// `nameserver` lines.
    pub servers: Vec<IpAddr>,
    /// The `search` line.
    pub search: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// One port of the host that leads into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address of the host; unspecified means all of its family.
    pub host_ip: IpAddr,
    /// Port of the host; 0 picks a free one.
    pub host_port: u16,
    /// The last port of the host of a range to pick one from; 0 for no range.
    #[serde(default)]
    pub host_port_last: u16,
    /// Port inside.
    pub container_port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A memory-backed directory shared by the containers of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryVolume {
    /// An existing directory of the host.
    pub path: PathBuf,
    /// Bound in bytes; half of the memory when `None`.
    pub size: Option<u64>,
    /// Mode bits, 0o777 when `None`.
    pub mode: Option<u32>,
}

/// A line of /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The address.
    pub ip: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

/// What a container is to be. Empty fields take the image's value, as Docker and the CRI do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Unique among standalone containers; in a shared sandbox it is for people only.
    pub name: String,
    /// What it runs.
    pub image: ImageSource,
    /// Replaces the image's entrypoint when not empty, and with it the image's command. Kubernetes' `command`.
    pub command: Vec<String>,
    /// Replaces the image's command when not empty. Kubernetes' `args`, Docker's `Cmd`.
    pub args: Vec<String>,
    /// `NAME=value`, over the image's.
    pub env: Vec<String>,
    /// Directory of the first process; the image's, else `/`. Made when missing.
    pub working_dir: String,
    /// `user[:group]`, each a name of the image's /etc/passwd and /etc/group or a number; the image's when empty.
    pub user: String,
    /// Further groups of the first process.
    pub additional_gids: Vec<u32>,
    /// Further groups by their names in the image's /etc/group.
    pub additional_groups: Vec<String>,
    /// Fail instead of running as user 0.
    pub run_as_non_root: bool,
    /// What is mounted besides /proc, /dev, /sys and the sandbox's files.
    pub mounts: Vec<Mount>,
    /// Targets of volumes that do not get the image's content while they are empty (Docker's `nocopy`).
    pub no_copy: Vec<PathBuf>,
    /// Limits.
    pub resources: Resources,
    /// Capabilities over Docker's default set, `NET_ADMIN` or `CAP_NET_ADMIN`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set, or `ALL`.
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, no masks, no seccomp.
    pub privileged: bool,
    /// Set-uid programs gain nothing.
    pub no_new_privs: bool,
    /// The root file system cannot be written.
    pub read_only_rootfs: bool,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// Resource limits of processes.
    pub rlimits: Vec<Rlimit>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// What else the container may do with devices whose nodes it makes or finds.
    pub device_rules: Vec<DeviceRule>,
    /// Devices as their vendors describe them.
    pub cdi_devices: Vec<CdiDevice>,
    /// Whether the first process has a terminal.
    pub tty: bool,
    /// Whether standard input is open. Otherwise it is /dev/null.
    pub stdin: bool,
    /// Close standard input when the first attached client leaves.
    pub stdin_once: bool,
    /// The signal that asks the container to end; the image's, else SIGTERM.
    pub stop_signal: Option<i32>,
    /// How long it may take to end after that signal, where a caller does not say; 10 s when `None`.
    pub stop_timeout: Option<Duration>,
    /// Where its output is kept.
    pub log: LogSettings,
    /// Whether a small program of ours is its first process, starts its own, hands signals on and takes orphans.
    pub init: bool,
    /// The kernel's out-of-memory score adjustment.
    pub oom_score_adj: Option<i32>,
    /// Instead of the default masked paths.
    pub masked_paths: Option<Vec<PathBuf>>,
    /// Instead of the default read-only paths.
    pub readonly_paths: Option<Vec<PathBuf>>,
    /// Kept for its image's `VOLUME` paths: whether each gets an anonymous volume (Docker) or stays in the rootfs (CRI).
    pub image_volumes: bool,
    /// What the engine does when it exits. Only for standalone containers.
    pub restart: RestartPolicy,
    /// Remove it when it has exited. Only for standalone containers.
    pub auto_remove: bool,
    /// Ports that it says it listens on besides the image's, such as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The terminal's size at the start.
    pub console_size: Option<TerminalSize>,
    /// Whether it sees the host's control groups.
    pub host_cgroupns: bool,
    /// For selection in [`Filter`].
    pub labels: BTreeMap<String, String>,
    /// For the caller only.
    pub annotations: BTreeMap<String, String>,
}

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            image: ImageSource::Name(default_image()),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            additional_gids: Vec::new(),
            additional_groups: Vec::new(),
            run_as_non_root: false,
            mounts: Vec::new(),
            no_copy: Vec::new(),
            resources: Resources::default(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            privileged: false,
            no_new_privs: false,
            read_only_rootfs: false,
            seccomp: Seccomp::Default,
            rlimits: Vec::new(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            cdi_devices: Vec::new(),
            tty: false,
            stdin: false,
            stdin_once: false,
            stop_signal: None,
            stop_timeout: None,
            log: LogSettings::default(),
            init: false,
            oom_score_adj: None,
            masked_paths: None,
            readonly_paths: None,
            image_volumes: false,
            restart: RestartPolicy::No,
            auto_remove: false,
            exposed_ports: Vec::new(),
            console_size: None,
            host_cgroupns: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// The annotation under which a caller keeps the image's name as it was written.
pub const IMAGE_AS_WRITTEN: &str = "docker.image";

impl ContainerSpec {
    /// The image as whoever asked for the container wrote it.
    #[must_use]
    pub fn image_as_written(&self) -> String {
        self.annotations.get(IMAGE_AS_WRITTEN).cloned().unwrap_or_else(|| self.image.as_written())
    }
}

fn default_image() -> ImageRef {
    #[expect(clippy::unwrap_used, reason = "a constant that parses")]
    "scratch".parse().unwrap()
}

/// Which image a container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageSource {
    /// By name, resolved when the container is created.
    Name(ImageRef),
    /// By the id that people see: the digest of the configuration, or 12 or more of its first hex digits.
    Id(String),
}

impl ImageSource {
    /// With the tag that a name without one means.
    #[must_use]
    pub fn as_written(&self) -> String {
        match self {
            Self::Name(name) => name.to_string(),
            Self::Id(id) => id.clone(),
        }
    }
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside; made when missing.
    pub target: PathBuf,
    /// What appears there.
    pub source: MountSource,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// What becomes of mounts below a bind's source.
    #[serde(default)]
    pub below: Below,
    /// The part of a volume or an image that appears there, relative to its root; all of it when empty.
    #[serde(default)]
    pub subpath: String,
}

/// What becomes of the mounts below a bind's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Below {
    /// They come along and can be written, also where the mount itself cannot.
    #[default]
    Writable,
    /// They come along and cannot be written where the mount itself cannot.
    Same,
    /// They stay away.
    Hidden,
}

/// What appears at a mount's target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute path.
        path: PathBuf,
        /// How mounts made later on either side propagate.
        propagation: Propagation,
        /// Make the directory when it is missing (Docker's `-v`).
        create: bool,
    },
    /// A memory-backed directory of this container alone.
    Tmpfs {
        /// Bound in bytes.
        size: Option<u64>,
        /// Mode bits, 0o1777 when `None`.
        mode: Option<u32>,
        /// Further mount options, such as `noexec`.
        options: Vec<String>,
    },
    /// A volume of the engine, made when missing. An anonymous one (empty name) goes with its container.
    Volume {
        /// The volume's name.
        name: String,
        /// What it is made with when it is missing.
        #[serde(default, skip_serializing_if = "NewVolume::is_plain")]
        new: NewVolume,
    },
    /// The files of an image, which cannot be written.
    Image {
        /// As the caller wrote it; resolved when the container is created.
        name: String,
    },
}

/// What a volume is made with. One that is there is taken as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewVolume {
    /// For the caller only.
    pub labels: BTreeMap<String, String>,
    /// See [`Volume::options`](crate::Volume::options).
    pub options: BTreeMap<String, String>,
}

impl NewVolume {
    /// Whether nothing is said of it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.labels.is_empty() && self.options.is_empty()
    }
}

impl MountSource {
    /// The volume of that name, made as a plain directory when it is missing; empty for an anonymous one.
    #[must_use]
    pub fn volume(name: &str) -> Self {
        Self::Volume { name: name.to_owned(), new: NewVolume::default() }
    }
}

/// How mounts propagate, in the words of mount(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways.
    Shared,
}

/// Limits. `None` is unlimited at creation and unchanged in an update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Microseconds of processor time a period; -1 is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// Billionths of a processor, when the quota was said so: what is shown, while the quota is what holds.
    pub nano_cpus: Option<u64>,
    /// The period in microseconds, 100,000 when `None`.
    pub cpu_period_us: Option<u64>,
    /// Share of the processor when there is not enough for all, 2 to 262,144, default 1,024.
    pub cpu_shares: Option<u64>,
    /// Number of processes and threads; -1 is unlimited.
    pub pids: Option<i64>,
    /// Processors, such as `0-1,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Bytes of memory below which it is spared when memory is short.
    pub memory_reservation: Option<u64>,
    /// How eagerly its memory is swapped, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Whether it waits for memory instead of being killed for lack of it.
    pub oom_kill_disable: Option<bool>,
    /// Bytes of TCP buffers.
    pub kernel_memory_tcp: Option<u64>,
    /// The period of real-time tasks in microseconds.
    pub cpu_realtime_period_us: Option<u64>,
    /// The time of real-time tasks a period in microseconds.
    pub cpu_realtime_runtime_us: Option<i64>,
    /// Weight of block I/O, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Weights of block I/O for single devices.
    pub blkio_weight_device: Vec<DeviceRate>,
    /// Bytes read a second.
    pub blkio_read_bps: Vec<DeviceRate>,
    /// Bytes written a second.
    pub blkio_write_bps: Vec<DeviceRate>,
    /// Reads a second.
    pub blkio_read_iops: Vec<DeviceRate>,
    /// Writes a second.
    pub blkio_write_iops: Vec<DeviceRate>,
}

/// A limit of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The device's node.
    pub path: PathBuf,
    /// The rate or weight.
    pub rate: u64,
}

/// A device of the Container Device Interface, looked up at each start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CdiDevice {
    /// `vendor.com/class=name`.
    pub name: String,
    /// What is told first when it is not there; empty when it was asked for by its name.
    pub refusal: String,
}

/// The system call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Docker's, for the capabilities that the container has.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The caller's own.
    Profile(Box<SeccompProfile>),
}

/// One resource limit of setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name such as `nofile` or `RLIMIT_NOFILE`.
    pub name: String,
    /// What applies.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub host_path: PathBuf,
    /// Inside.
    pub container_path: PathBuf,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// A rule of the device control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Which kind of device.
    pub kind: DeviceKind,
    /// The major number; all when `None`.
    pub major: Option<u32>,
    /// The minor number; all when `None`.
    pub minor: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// All.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// What is to change of a container; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Limits.
    pub resources: Resources,
    /// What the engine does when it exits. Only for standalone containers.
    pub restart: Option<RestartPolicy>,
}

/// How a container is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Kill it first if it runs.
    pub force: bool,
    /// Remove the anonymous volumes that were made for it, too.
    pub volumes: bool,
}

/// Where a container's output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// Bytes of one file before it is rotated.
    pub max_size: u64,
    /// Number of files, the present one included.
    pub max_files: u32,
    /// In which form, or where to.
    pub driver: LogDriver,
    /// Whether older files are compressed.
    pub compress: bool,
    /// What every line says besides, where the driver can.
    pub extra: LogExtra,
}

/// The form of a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogDriver {
    /// A file as the CRI has it.
    #[default]
    Cri,
    /// A file as Docker's json-file has it.
    Json,
    /// No file; output goes to those who are attached.
    None,
    /// A log daemon.
    Syslog {
        /// Where it listens.
        address: LogAddress,
        /// The form of its messages.
        format: SyslogFormat,
        /// The facility's number.
        facility: u8,
        /// Whether a file of the first form is kept too, for readers.
        keeps_file: bool,
    },
}

/// Where a log daemon listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogAddress {
    /// At one of the usual sockets of this machine.
    #[default]
    Local,
    /// A datagram socket of this machine.
    Datagram(PathBuf),
    /// A stream socket of this machine.
    Stream(PathBuf),
    /// UDP, `host:port`.
    Udp(String),
    /// TCP, `host:port`.
    Tcp(String),
}

/// What is told with every line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogExtra {
    /// Labels by their names.
    pub labels: Vec<String>,
    /// Labels whose names match.
    pub labels_regex: String,
    /// Variables by their names.
    pub env: Vec<String>,
    /// Variables whose names match.
    pub env_regex: String,
    /// Docker's template of a tag, such as `{{.Name}}`.
    pub tag: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            max_size: 10 << 20,
            max_files: 5,
            driver: LogDriver::default(),
            compress: false,
            extra: LogExtra::default(),
        }
    }
}

/// What the engine does when a standalone container exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// Starts it again, also when the engine starts.
    Always,
    /// As `Always`, but not after it was stopped by a caller.
    UnlessStopped,
    /// Starts it again after an exit code that is not 0.
    OnFailure {
        /// How often at most; 0 is without bound.
        max_retries: u32,
    },
}

/// A process to start in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`, over the container's.
    pub env: Vec<String>,
    /// `user[:group]`; the container's when empty.
    pub user: String,
    /// The container's when empty.
    pub working_dir: String,
    /// With a terminal.
    pub tty: bool,
    /// With standard input.
    pub stdin: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// The terminal's first size.
    pub size: Option<TerminalSize>,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

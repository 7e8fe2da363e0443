//! The Node object and its Lease: what the cluster knows of this machine.
//!
//! Ready is said as early as the API takes the object; afterwards the status is written when it changes and every
//! five minutes, the Lease every ten seconds.

use crate::NodeConfig;
use crate::context::Context;
use hako_client::Patch;
use hako_error::{Error, Kind, Result};
use hako_names::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Namespace, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_SECONDS: i32 = 40;
const HEARTBEAT: Duration = Duration::from_secs(10);
const FULL_STATUS: Duration = Duration::from_secs(300);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(5);
const DEFAULT_PODS: i64 = 500;
const MAX_IMAGES: usize = 50;
/// Below this the node asks for no more pods.
const MEMORY_LOW: i64 = 100 << 20;
/// A hundredth part of the disk.
const DISK_LOW_PERCENT: u64 = 5;

/// What the machine has, by resource name, or what the configuration says instead.
pub(crate) fn capacity(config: &NodeConfig) -> Result<BTreeMap<String, Quantity>> {
    let failed = |what: &str, error: std::io::Error| {
        Error::new(Kind::Internal, format!("read {what}")).with_source(error)
    };
    fs::create_dir_all(&config.data_dir)
        .map_err(|error| failed(&config.data_dir.display().to_string(), error))?;
    let cpus = std::thread::available_parallelism().map_err(|error| failed("number of processors", error))?;
    let memory = meminfo("MemTotal").map_err(|error| failed("/proc/meminfo", error))?;
    let disk = disk(config).map_err(|error| failed("size of the disk", error.into()))?;
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), Quantity::from_units(i64::try_from(cpus.get()).unwrap_or(i64::MAX))),
        ("memory".to_owned(), Quantity::from_bytes(memory)),
        ("pods".to_owned(), Quantity::from_units(DEFAULT_PODS)),
        ("ephemeral-storage".to_owned(), Quantity::from_bytes(i64::try_from(disk.0).unwrap_or(i64::MAX))),
    ]);
    capacity.extend(config.capacity.clone());
    Ok(capacity)
}

/// A line of /proc/meminfo in bytes.
fn meminfo(name: &str) -> std::io::Result<i64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Bytes of the data directory's file system: all, and what is free.
fn disk(config: &NodeConfig) -> rustix::io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(&config.data_dir)?;
    Ok((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

fn read_trimmed(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The task that keeps the Node object and its Lease.
pub(crate) struct Registration {
    context: Arc<Context>,
    port: u16,
    uid: Option<String>,
    conditions: Vec<NodeCondition>,
    images: Vec<ContainerImage>,
}

impl Registration {
    /// The registration of a node whose API listens on `port`.
    pub(crate) fn new(context: Arc<Context>, port: u16) -> Self {
        Self { context, port, uid: None, conditions: Vec::new(), images: Vec::new() }
    }

    /// Registers, says so, and keeps on saying that the node lives.
    pub(crate) async fn run(mut self, ready: watch::Sender<bool>) {
        let node = self.register().await;
        ready.send_replace(true);
        self.context.emit_node(&node, "Starting", "Starting kubelet.");
        self.context.emit_node(&node, "NodeReady", &format!("Node {} status is now: NodeReady", self.name()));
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        loop {
            beat.tick().await;
            if let Err(error) = self.renew().await {
                tracing::warn!(node = self.name(), error = %error.chain(), "lease not renewed");
            }
            let told = self.told().await.unwrap_or_else(|error| {
                tracing::debug!(node = self.name(), error = %error.chain(), "node not read, or its extended resources not offered");
                None
            });
            let is_due = written.elapsed() >= FULL_STATUS;
            if !self.has_changed(told).await && !is_due {
                continue;
            }
            match self.write_status().await {
                Ok(()) => written = Instant::now(),
                Err(error) if error.is_not_found() => drop(self.register().await),
                Err(error) => {
                    tracing::warn!(node = self.name(), error = %error.chain(), "node status not written")
                }
            }
        }
    }

    fn name(&self) -> &str {
        &self.context.config.node_name
    }

    async fn register(&mut self) -> Node {
        let mut pause = RETRY_FIRST;
        loop {
            match self.try_register().await {
                Ok(node) => return node,
                Err(error) => {
                    tracing::warn!(node = self.name(), error = %error.chain(), "node not registered, trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn try_register(&mut self) -> Result<Node> {
        let api = self.context.config.client.all::<Node>();
        let wanted = self.node();
        let node = match api.create(&wanted).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let labels = &wanted.metadata.labels;
                api.patch(self.name(), &Patch::Merge(json!({"metadata": {"labels": labels}}))).await?
            }
            other => other?,
        };
        self.uid.clone_from(&node.metadata.uid);
        let before = node.status.as_ref().and_then(|status| status.conditions.clone());
        self.conditions = self.current(&before.unwrap_or_default());
        self.write_status().await?;
        Ok(node)
    }

    fn node(&self) -> Node {
        let config = &self.context.config;
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut labels = BTreeMap::from([
            label("kubernetes.io/hostname", &config.node_name),
            label("kubernetes.io/os", "linux"),
            label("kubernetes.io/arch", architecture()),
            label("beta.kubernetes.io/os", "linux"),
            label("beta.kubernetes.io/arch", architecture()),
        ]);
        labels.extend(config.labels.clone());
        Node {
            metadata: ObjectMeta {
                name: Some(config.node_name.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                pod_cidr: Some(config.pod_cidr.clone()),
                pod_cidrs: Some(vec![config.pod_cidr.clone()]),
                ..NodeSpec::default()
            }),
            status: None,
        }
    }

    async fn write_status(&self) -> Result<()> {
        let mut status = self.status();
        let now = Time(self.context.clock.now());
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = Some(now.clone());
        }
        let api = self.context.config.client.all::<Node>();
        let patch = Patch::Strategic(json!({"status": status}));
        api.patch_status(self.name(), &patch).await.map(drop)
    }

    /// The conditions that the API tells of the node. What somebody says that the machine has besides can be had by pods,
    /// and no longer once nobody says so.
    async fn told(&self) -> Result<Option<Vec<NodeCondition>>> {
        let api = self.context.config.client.all::<Node>();
        let status = api.get(self.name()).await?.status.unwrap_or_default();
        if let Some(allocatable) = not_offered(&status) {
            let patch = Patch::Merge(json!({"status": {"allocatable": allocatable}}));
            api.patch_status(self.name(), &patch).await?;
        }
        Ok(Some(status.conditions.unwrap_or_default()))
    }

    fn status(&self) -> NodeStatus {
        let config = &self.context.config;
        let amounts: BTreeMap<String, ApiQuantity> = self
            .context
            .allocatable
            .iter()
            .map(|(name, amount)| (name.clone(), ApiQuantity(amount.to_string())))
            .collect();
        let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
        NodeStatus {
            capacity: Some(amounts.clone()),
            allocatable: Some(amounts),
            addresses: Some(vec![
                address("InternalIP", config.node_ip.to_string()),
                address("Hostname", config.node_name.clone()),
            ]),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(self.port) }),
            }),
            node_info: Some(system_info(&config.version)),
            images: Some(self.images.clone()),
            conditions: Some(self.conditions.clone()),
            ..NodeStatus::default()
        }
    }

    /// Brings conditions and images up to date and says whether they are others than those that are `told` of the node, or
    /// were last, where that is not known. Who found the node silent has said that nobody knows how it is.
    async fn has_changed(&mut self, told: Option<Vec<NodeCondition>>) -> bool {
        let told = told.unwrap_or_else(|| self.conditions.clone());
        let conditions = self.current(&told);
        let images = self.list_images().await;
        let is_changed = !are_told(&conditions, &told) || images != self.images;
        self.conditions = conditions;
        self.images = images;
        is_changed
    }

    async fn list_images(&self) -> Vec<ContainerImage> {
        let Ok(mut images) = self.context.config.images.list().await else {
            return self.images.clone();
        };
        images.sort_by_key(|image| std::cmp::Reverse(image.size));
        images.truncate(MAX_IMAGES);
        let shown = images.into_iter().map(|image| ContainerImage {
            names: Some(if image.names.is_empty() { vec![image.id] } else { image.names }),
            size_bytes: i64::try_from(image.size).ok(),
        });
        shown.collect()
    }

    /// The conditions now; a condition's time changes only with its status.
    fn current(&self, before: &[NodeCondition]) -> Vec<NodeCondition> {
        let is_memory_low = meminfo("MemAvailable").is_ok_and(|free| free < MEMORY_LOW);
        let is_disk_low = disk(&self.context.config)
            .is_ok_and(|(all, free)| free.saturating_mul(100) < all.saturating_mul(DISK_LOW_PERCENT));
        let now = self.context.clock.now();
        let condition = |kind: &str, is_true: bool, reason: &str, message: &str| {
            let status = if is_true { "True" } else { "False" };
            condition(before, kind, status, reason, message, now)
        };
        vec![
            match is_memory_low {
                true => condition(
                    "MemoryPressure",
                    true,
                    "KubeletHasInsufficientMemory",
                    "kubelet has insufficient memory available",
                ),
                false => condition(
                    "MemoryPressure",
                    false,
                    "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available",
                ),
            },
            match is_disk_low {
                true => {
                    condition("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure")
                }
                false => condition(
                    "DiskPressure",
                    false,
                    "KubeletHasNoDiskPressure",
                    "kubelet has no disk pressure",
                ),
            },
            condition(
                "PIDPressure",
                false,
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        ]
    }

    async fn renew(&self) -> Result<()> {
        let api = self.context.config.client.namespaced::<Lease>(LEASE_NAMESPACE);
        let now = MicroTime(self.context.clock.now());
        let patch = json!({"spec": {"renewTime": now, "holderIdentity": self.name()}});
        match api.patch(self.name(), &Patch::Merge(patch)).await {
            Err(error) if error.is_not_found() => self.make_lease(now).await,
            other => other.map(drop),
        }
    }

    async fn make_lease(&self, now: MicroTime) -> Result<()> {
        let owner = self.uid.clone().map(|uid| OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.name().to_owned(),
            uid,
            ..OwnerReference::default()
        });
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name().to_owned()),
                namespace: Some(LEASE_NAMESPACE.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name().to_owned()),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let client = &self.context.config.client;
        let api = client.namespaced::<Lease>(LEASE_NAMESPACE);
        match api.create(&lease).await {
            Err(error) if error.is_not_found() => {
                let namespace = Namespace {
                    metadata: ObjectMeta { name: Some(LEASE_NAMESPACE.to_owned()), ..ObjectMeta::default() },
                    ..Namespace::default()
                };
                client.all::<Namespace>().create(&namespace).await?;
                api.create(&lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}

/// By which change of what is allocatable the extended resources, whose names have a domain, are what the machine has of
/// them; none if they are.
fn not_offered(status: &NodeStatus) -> Option<BTreeMap<String, Option<ApiQuantity>>> {
    let extended = |amounts: &Option<BTreeMap<String, ApiQuantity>>| -> BTreeMap<String, ApiQuantity> {
        let all = amounts.iter().flatten().filter(|(name, _)| name.contains('/'));
        all.map(|(name, amount)| (name.clone(), amount.clone())).collect()
    };
    let (has, offers) = (extended(&status.capacity), extended(&status.allocatable));
    let gone = offers.keys().filter(|name| !has.contains_key(*name)).map(|name| (name.clone(), None));
    let new = has.iter().filter(|(name, amount)| offers.get(*name) != Some(amount));
    let change: BTreeMap<String, Option<ApiQuantity>> =
        gone.chain(new.map(|(name, amount)| (name.clone(), Some(amount.clone())))).collect();
    (!change.is_empty()).then_some(change)
}

/// Whether all these conditions are among those that are told, at whatever time.
fn are_told(conditions: &[NodeCondition], told: &[NodeCondition]) -> bool {
    let says =
        |it: &NodeCondition| (it.type_.clone(), it.status.clone(), it.reason.clone(), it.message.clone());
    conditions.iter().all(|own| told.iter().any(|told| says(told) == says(own)))
}

fn condition(
    before: &[NodeCondition],
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> NodeCondition {
    let known = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
    let since = known.and_then(|condition| condition.last_transition_time.clone());
    NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        last_heartbeat_time: None,
    }
}

/// In Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn system_info(version: &str) -> NodeSystemInfo {
    let machine_id = read_trimmed("/etc/machine-id");
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system_uuid = read_trimmed("/sys/class/dmi/id/product_uuid");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read_trimmed("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("hako://{}", env!("CARGO_PKG_VERSION")),
        kernel_version: read_trimmed("/proc/sys/kernel/osrelease"),
        kube_proxy_version: version.to_owned(),
        kubelet_version: version.to_owned(),
        operating_system: "linux".to_owned(),
        os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
        system_uuid: if system_uuid.is_empty() { machine_id.clone() } else { system_uuid },
        machine_id,
        swap: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_of_the_node_meanwhile_is_seen_and_its_times_are_not() {
        let ready = |status: &str, before: &[NodeCondition]| {
            condition(before, "Ready", status, "KubeletReady", "", Timestamp::UNIX_EPOCH)
        };
        let others = condition(&[], "NetworkUnavailable", "False", "", "", Timestamp::UNIX_EPOCH);
        let own = ready("True", &[]);
        let beaten = NodeCondition { last_heartbeat_time: Some(Time(Timestamp::MAX)), ..own.clone() };
        assert!(are_told(std::slice::from_ref(&own), &[others.clone(), beaten]));
        assert!(!are_told(std::slice::from_ref(&own), &[others, ready("Unknown", &[])]));
        assert!(!are_told(&[own], &[]));
    }

    #[test]
    fn extended_resources_are_offered_as_long_as_the_machine_is_said_to_have_them() {
        let status = |capacity: serde_json::Value, allocatable: serde_json::Value| -> NodeStatus {
            serde_json::from_value(json!({"capacity": capacity, "allocatable": allocatable})).unwrap()
        };
        let change = |status: NodeStatus| not_offered(&status).map(|change| json!(change));
        let (own, fake) = (json!({"cpu": "2"}), json!({"cpu": "2", "example.com/fake": "5"}));
        assert_eq!(change(status(fake.clone(), own.clone())), Some(json!({"example.com/fake": "5"})));
        assert_eq!(change(status(own.clone(), fake.clone())), Some(json!({"example.com/fake": null})));
        assert_eq!(change(status(fake.clone(), fake)), None);
        assert_eq!(change(status(own.clone(), json!({"cpu": "1"}))), None);
    }
}

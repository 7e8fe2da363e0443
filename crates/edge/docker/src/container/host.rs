//! The fields of a create request that are read.

use super::health::Check;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// `ContainerConfig` with its `HostConfig` and `NetworkingConfig`. Absent and null are the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct CreateRequest {
    pub(crate) image: String,
    pub(crate) cmd: Option<Words>,
    pub(crate) entrypoint: Option<Words>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    /// Of the network of its mode; newer clients say it of the endpoint.
    pub(crate) mac_address: String,
    pub(crate) network_disabled: bool,
    pub(crate) exposed_ports: Option<BTreeMap<String, Value>>,
    pub(crate) volumes: Option<BTreeMap<String, Value>>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) stop_signal: Option<String>,
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) healthcheck: Option<Check>,
    pub(crate) host_config: Option<HostConfig>,
    pub(crate) networking_config: Option<NetworkingConfig>,
}

/// A list of words, or one word.
#[derive(Clone, Debug)]
pub(crate) enum Words {
    List(Vec<String>),
    One(String),
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

/// By hand, so that an error says which word is none.
#[derive(Debug)]
struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Words, E> {
        Ok(Words::One(word.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Words, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Words::List)
    }
}

impl Words {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::List(words) if words.is_empty())
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        match self {
            Self::List(words) => words,
            Self::One(word) => vec![word],
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    pub(crate) auto_remove: bool,
    pub(crate) binds: Option<Vec<String>>,
    pub(crate) mounts: Option<Vec<MountRequest>>,
    pub(crate) tmpfs: Option<BTreeMap<String, String>>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) network_mode: String,
    pub(crate) links: Option<Vec<String>>,
    pub(crate) port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    pub(crate) publish_all_ports: bool,
    pub(crate) restart_policy: Option<Restart>,
    pub(crate) memory: i64,
    pub(crate) memory_swap: i64,
    pub(crate) nano_cpus: i64,
    pub(crate) cpu_quota: i64,
    pub(crate) cpu_period: i64,
    pub(crate) cpu_shares: i64,
    pub(crate) cpuset_cpus: String,
    pub(crate) cpuset_mems: String,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) memory_reservation: i64,
    pub(crate) memory_swappiness: Option<i64>,
    pub(crate) storage_opt: Option<BTreeMap<String, String>>,
    pub(crate) oom_kill_disable: Option<bool>,
    pub(crate) kernel_memory: i64,
    #[serde(rename = "KernelMemoryTCP")]
    pub(crate) kernel_memory_tcp: i64,
    pub(crate) cpu_realtime_period: i64,
    pub(crate) cpu_realtime_runtime: i64,
    pub(crate) blkio_weight: u16,
    pub(crate) blkio_weight_device: Option<Vec<BlockLimit>>,
    pub(crate) blkio_device_read_bps: Option<Vec<BlockLimit>>,
    pub(crate) blkio_device_write_bps: Option<Vec<BlockLimit>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub(crate) blkio_device_read_iops: Option<Vec<BlockLimit>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub(crate) blkio_device_write_iops: Option<Vec<BlockLimit>>,
    pub(crate) cgroup_parent: String,
    pub(crate) cap_add: Option<Words>,
    pub(crate) cap_drop: Option<Words>,
    pub(crate) privileged: bool,
    pub(crate) readonly_rootfs: bool,
    pub(crate) security_opt: Option<Vec<String>>,
    pub(crate) ulimits: Option<Vec<Ulimit>>,
    pub(crate) devices: Option<Vec<DeviceMapping>>,
    pub(crate) device_requests: Option<Vec<DeviceRequest>>,
    pub(crate) device_cgroup_rules: Option<Vec<String>>,
    pub(crate) console_size: Option<[u16; 2]>,
    pub(crate) volumes_from: Option<Vec<String>>,
    pub(crate) cgroupns_mode: String,
    #[serde(rename = "UTSMode")]
    pub(crate) uts_mode: String,
    pub(crate) userns_mode: String,
    pub(crate) dns: Option<Vec<String>>,
    pub(crate) dns_search: Option<Vec<String>>,
    pub(crate) dns_options: Option<Vec<String>>,
    pub(crate) extra_hosts: Option<Vec<String>>,
    pub(crate) group_add: Option<Vec<String>>,
    pub(crate) sysctls: Option<BTreeMap<String, String>>,
    pub(crate) shm_size: u64,
    pub(crate) oom_score_adj: i32,
    pub(crate) ipc_mode: String,
    pub(crate) pid_mode: String,
    pub(crate) log_config: Option<LogConfig>,
    pub(crate) runtime: String,
    pub(crate) init: Option<bool>,
    pub(crate) masked_paths: Option<Vec<String>>,
    pub(crate) readonly_paths: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct MountRequest {
    pub(crate) r#type: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) bind_options: Option<BindOptions>,
    pub(crate) tmpfs_options: Option<TmpfsOptions>,
    pub(crate) volume_options: Option<VolumeOptions>,
    pub(crate) image_options: Option<ImageOptions>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageOptions {
    pub(crate) subpath: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct VolumeOptions {
    pub(crate) no_copy: bool,
    pub(crate) subpath: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) driver_config: Option<DriverConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DriverConfig {
    pub(crate) options: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct BindOptions {
    pub(crate) propagation: String,
    pub(crate) non_recursive: bool,
    pub(crate) read_only_non_recursive: bool,
    pub(crate) read_only_force_recursive: bool,
    pub(crate) create_mountpoint: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TmpfsOptions {
    pub(crate) size_bytes: Option<u64>,
    pub(crate) mode: Option<u32>,
    /// Each `[name]` or `[name, value]`.
    pub(crate) options: Option<Vec<Vec<String>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PortBinding {
    pub(crate) host_ip: String,
    pub(crate) host_port: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Restart {
    pub(crate) name: String,
    pub(crate) maximum_retry_count: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Ulimit {
    pub(crate) name: String,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DeviceMapping {
    pub(crate) path_on_host: String,
    pub(crate) path_in_container: String,
    pub(crate) cgroup_permissions: String,
}

/// A weight or a rate of one block device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct BlockLimit {
    pub(crate) path: String,
    #[serde(alias = "Weight")]
    pub(crate) rate: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DeviceRequest {
    pub(crate) driver: String,
    pub(crate) count: i64,
    #[serde(rename = "DeviceIDs")]
    pub(crate) device_ids: Option<Vec<String>>,
    pub(crate) capabilities: Option<Vec<Vec<String>>>,
    pub(crate) options: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct LogConfig {
    pub(crate) r#type: String,
    pub(crate) config: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NetworkingConfig {
    pub(crate) endpoints_config: Option<BTreeMap<String, Value>>,
}

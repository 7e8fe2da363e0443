//! Names of fields as Docker spells them. Go's decoder, which reads requests there, does not care about their case.

use serde_json::{Map, Value};

/// Fields whose members have names of the client's.
const MAPS: [&str; 14] = [
    "Annotations",
    "AuxiliaryAddresses",
    "Config",
    "DriverOpts",
    "EndpointsConfig",
    "ExposedPorts",
    "Labels",
    "Options",
    "PortBindings",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Parameters",
];

/// Every field of a request, in the order of their small letters.
const NAMES: &[&str] = &[
    "Aliases",
    "Annotations",
    "ArgsEscaped",
    "Attachable",
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "auth",
    "AutoRemove",
    "AuxiliaryAddresses",
    "BindOptions",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "Capabilities",
    "CapAdd",
    "CapDrop",
    "Cgroup",
    "CgroupnsMode",
    "CgroupParent",
    "CgroupPermissions",
    "ClusterOptions",
    "ClusterVolumeSpec",
    "Cmd",
    "Config",
    "ConfigFrom",
    "ConfigOnly",
    "Consistency",
    "ConsoleSize",
    "Container",
    "ContainerIDFile",
    "Count",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "CpuShares",
    "CreateMountpoint",
    "Detach",
    "DetachKeys",
    "DeviceCgroupRules",
    "DeviceIDs",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DNSNames",
    "DnsOptions",
    "DnsSearch",
    "Domainname",
    "Driver",
    "DriverConfig",
    "DriverOpts",
    "email",
    "EnableIPv4",
    "EnableIPv6",
    "EndpointConfig",
    "EndpointID",
    "EndpointsConfig",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "ExtraHosts",
    "Force",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "GroupAdd",
    "GwPriority",
    "Hard",
    "Healthcheck",
    "HostConfig",
    "HostIp",
    "Hostname",
    "HostPort",
    "identitytoken",
    "Image",
    "ImageOptions",
    "Ingress",
    "Init",
    "Internal",
    "Interval",
    "IOMaximumBandwidth",
    "IOMaximumIOps",
    "IPAddress",
    "IPAM",
    "IPAMConfig",
    "IpcMode",
    "IPPrefixLen",
    "IPRange",
    "IPv4Address",
    "IPv6Address",
    "IPv6Gateway",
    "Isolation",
    "KernelMemory",
    "KernelMemoryTCP",
    "Labels",
    "LinkLocalIPs",
    "Links",
    "LogConfig",
    "MacAddress",
    "MaskedPaths",
    "MaximumRetryCount",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "Mode",
    "Mounts",
    "Name",
    "NanoCpus",
    "Network",
    "NetworkDisabled",
    "NetworkID",
    "NetworkingConfig",
    "NetworkMode",
    "NoCopy",
    "NonRecursive",
    "OnBuild",
    "OomKillDisable",
    "OomScoreAdj",
    "OpenStdin",
    "Options",
    "password",
    "Path",
    "PathInContainer",
    "PathOnHost",
    "PidMode",
    "PidsLimit",
    "PortBindings",
    "Privileged",
    "Propagation",
    "PublishAllPorts",
    "Rate",
    "ReadOnly",
    "ReadOnlyForceRecursive",
    "ReadOnlyNonRecursive",
    "ReadonlyPaths",
    "ReadonlyRootfs",
    "registrytoken",
    "RestartPolicy",
    "Retries",
    "Runtime",
    "Scope",
    "SecurityOpt",
    "serveraddress",
    "Shell",
    "ShmSize",
    "SizeBytes",
    "Soft",
    "Source",
    "StartInterval",
    "StartPeriod",
    "StdinOnce",
    "StopSignal",
    "StopTimeout",
    "StorageOpt",
    "Subnet",
    "Subpath",
    "Sysctls",
    "Target",
    "Test",
    "Timeout",
    "Tmpfs",
    "TmpfsOptions",
    "Tty",
    "Type",
    "Ulimits",
    "User",
    "username",
    "UsernsMode",
    "UTSMode",
    "VolumeDriver",
    "VolumeOptions",
    "Volumes",
    "VolumesFrom",
    "Weight",
    "WorkingDir",
];

/// Whether the members of a field are named by the client.
pub(crate) fn is_map(field: &str) -> bool {
    MAPS.contains(&field)
}

/// Gives the fields of a request their spelling. One that is there twice keeps what it has under its own name.
pub(crate) fn spell(json: &mut Value) {
    spell_members(json, false);
}

fn spell_members(json: &mut Value, is_clients: bool) {
    match json {
        Value::Object(members) if is_clients => {
            members.values_mut().for_each(|value| spell_members(value, false));
        }
        Value::Object(members) => {
            if members.keys().any(|key| spelled(key) != key) {
                respell(members);
            }
            members.iter_mut().for_each(|(name, value)| spell_members(value, is_map(name)));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| spell_members(value, false)),
        _ => {}
    }
}

fn respell(members: &mut Map<String, Value>) {
    for (key, value) in std::mem::take(members) {
        let name = spelled(&key);
        if name == key || !members.contains_key(name) {
            members.insert(name.to_owned(), value);
        }
    }
}

/// The name that is meant, itself if it is none of ours.
fn spelled(key: &str) -> &str {
    let small = |name: &str| name.to_ascii_lowercase();
    NAMES.binary_search_by(|name| small(name).cmp(&small(key))).map_or(key, |found| NAMES[found])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_in_their_order() {
        assert!(NAMES.is_sorted_by_key(|name| name.to_ascii_lowercase()));
    }

    #[test]
    fn fields_are_known_in_any_case_and_names_of_the_client_s_stay() {
        let mut body = json!({
            "image": "x", "HostConfig": { "memory": 1, "NETWORKMODE": "none", "logconfig": { "config": { "Max-Size": "1" } } },
            "labels": { "memory": "a" }, "networkingConfig": { "endpointsconfig": { "memory": { "aliases": ["a"] } } },
            "Cmd": ["a"], "cmd": ["b"], "unknown": 1,
        });
        spell(&mut body);
        let expected = json!({
            "Image": "x", "HostConfig": { "Memory": 1, "NetworkMode": "none", "LogConfig": { "Config": { "Max-Size": "1" } } },
            "Labels": { "memory": "a" }, "NetworkingConfig": { "EndpointsConfig": { "memory": { "Aliases": ["a"] } } },
            "Cmd": ["a"], "unknown": 1,
        });
        assert_eq!(body, expected);
    }
}

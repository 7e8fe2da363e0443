//! Every field that a request may have, and what becomes of it.
//!
//! A field that is not in the table is unknown to the API and ignored, as Docker does. One that cannot be honoured is
//! refused by name, and all of them at once.

use crate::error::{Failure, unimplemented};
use serde_json::Value;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// It does what its documentation says.
    Mapped,
    /// It is shown by inspect, and has no effect on Linux by its own documentation.
    Kept,
    /// Where it asks for something that is refused, in Docker's own words.
    Worded,
    /// Its values but these, and those that ask for nothing, are refused.
    Refused(&'static [&'static str]),
}

use Treatment::{Kept, Mapped, Refused, Worded};

const NOTHING: Treatment = Refused(&[]);

/// `[]` stands for each member of a list, `*` for each value of a map.
const FIELDS: &[(&str, Treatment)] = &[
    ("Hostname", Mapped),
    ("Domainname", Mapped),
    ("User", Mapped),
    ("AttachStdin", Kept),
    ("AttachStdout", Kept),
    ("AttachStderr", Kept),
    ("ExposedPorts", Mapped),
    ("Tty", Mapped),
    ("OpenStdin", Mapped),
    ("StdinOnce", Mapped),
    ("Env", Mapped),
    ("Cmd", Mapped),
    ("Healthcheck", Mapped),
    ("ArgsEscaped", Kept),
    ("Image", Mapped),
    ("Volumes", Mapped),
    ("WorkingDir", Mapped),
    ("Entrypoint", Mapped),
    ("NetworkDisabled", Mapped),
    ("MacAddress", Mapped),
    ("OnBuild", Kept),
    ("Labels", Mapped),
    ("StopSignal", Mapped),
    ("StopTimeout", Mapped),
    ("Shell", Kept),
    ("HostConfig.CpuShares", Mapped),
    ("HostConfig.Memory", Mapped),
    ("HostConfig.CgroupParent", Mapped),
    ("HostConfig.BlkioWeight", Mapped),
    ("HostConfig.BlkioWeightDevice", Mapped),
    ("HostConfig.BlkioDeviceReadBps", Mapped),
    ("HostConfig.BlkioDeviceWriteBps", Mapped),
    ("HostConfig.BlkioDeviceReadIOps", Mapped),
    ("HostConfig.BlkioDeviceWriteIOps", Mapped),
    ("HostConfig.CpuPeriod", Mapped),
    ("HostConfig.CpuQuota", Mapped),
    ("HostConfig.CpuRealtimePeriod", Mapped),
    ("HostConfig.CpuRealtimeRuntime", Mapped),
    ("HostConfig.CpusetCpus", Mapped),
    ("HostConfig.CpusetMems", Mapped),
    ("HostConfig.Devices", Mapped),
    ("HostConfig.DeviceCgroupRules", Mapped),
    ("HostConfig.DeviceRequests", Mapped),
    ("HostConfig.KernelMemory", Mapped),
    ("HostConfig.KernelMemoryTCP", Mapped),
    ("HostConfig.MemoryReservation", Mapped),
    ("HostConfig.MemorySwap", Mapped),
    ("HostConfig.MemorySwappiness", Mapped),
    ("HostConfig.NanoCpus", Mapped),
    ("HostConfig.OomKillDisable", Mapped),
    ("HostConfig.Init", Mapped),
    ("HostConfig.PidsLimit", Mapped),
    ("HostConfig.Ulimits", Mapped),
    ("HostConfig.CpuCount", Kept),
    ("HostConfig.CpuPercent", Kept),
    ("HostConfig.IOMaximumIOps", Kept),
    ("HostConfig.IOMaximumBandwidth", Kept),
    ("HostConfig.Binds", Mapped),
    ("HostConfig.ContainerIDFile", Kept),
    ("HostConfig.LogConfig", Mapped),
    ("HostConfig.NetworkMode", Mapped),
    ("HostConfig.PortBindings", Mapped),
    ("HostConfig.RestartPolicy", Mapped),
    ("HostConfig.AutoRemove", Mapped),
    ("HostConfig.VolumeDriver", Refused(&[r#""local""#])),
    ("HostConfig.VolumesFrom", Mapped),
    ("HostConfig.Mounts[].Target", Mapped),
    ("HostConfig.Mounts[].Source", Mapped),
    ("HostConfig.Mounts[].Type", Mapped),
    ("HostConfig.Mounts[].ReadOnly", Mapped),
    ("HostConfig.Mounts[].Consistency", Kept),
    ("HostConfig.Mounts[].BindOptions.Propagation", Mapped),
    ("HostConfig.Mounts[].BindOptions.NonRecursive", Mapped),
    ("HostConfig.Mounts[].BindOptions.CreateMountpoint", Mapped),
    ("HostConfig.Mounts[].BindOptions.ReadOnlyNonRecursive", Mapped),
    ("HostConfig.Mounts[].BindOptions.ReadOnlyForceRecursive", Mapped),
    ("HostConfig.Mounts[].VolumeOptions.NoCopy", Mapped),
    ("HostConfig.Mounts[].VolumeOptions.Labels", Mapped),
    ("HostConfig.Mounts[].VolumeOptions.DriverConfig.Name", Refused(&[r#""local""#])),
    ("HostConfig.Mounts[].VolumeOptions.DriverConfig.Options", Mapped),
    ("HostConfig.Mounts[].VolumeOptions.Subpath", Mapped),
    ("HostConfig.Mounts[].ImageOptions.Subpath", Mapped),
    ("HostConfig.Mounts[].TmpfsOptions.SizeBytes", Mapped),
    ("HostConfig.Mounts[].TmpfsOptions.Mode", Mapped),
    ("HostConfig.Mounts[].TmpfsOptions.Options", Mapped),
    ("HostConfig.Mounts[].ClusterOptions", NOTHING),
    ("HostConfig.ConsoleSize", Mapped),
    ("HostConfig.Annotations", Kept),
    ("HostConfig.CapAdd", Mapped),
    ("HostConfig.CapDrop", Mapped),
    ("HostConfig.CgroupnsMode", Mapped),
    ("HostConfig.Dns", Mapped),
    ("HostConfig.DnsOptions", Mapped),
    ("HostConfig.DnsSearch", Mapped),
    ("HostConfig.ExtraHosts", Mapped),
    ("HostConfig.GroupAdd", Mapped),
    ("HostConfig.IpcMode", Mapped),
    ("HostConfig.Cgroup", NOTHING),
    ("HostConfig.Links", Mapped),
    ("HostConfig.OomScoreAdj", Mapped),
    ("HostConfig.PidMode", Mapped),
    ("HostConfig.Privileged", Mapped),
    ("HostConfig.PublishAllPorts", Mapped),
    ("HostConfig.ReadonlyRootfs", Mapped),
    ("HostConfig.SecurityOpt", Mapped),
    ("HostConfig.StorageOpt", Worded),
    ("HostConfig.Tmpfs", Mapped),
    ("HostConfig.UTSMode", Mapped),
    ("HostConfig.UsernsMode", Mapped),
    ("HostConfig.ShmSize", Mapped),
    ("HostConfig.Sysctls", Mapped),
    ("HostConfig.Runtime", Mapped),
    ("HostConfig.Isolation", Refused(&[r#""default""#])),
    ("HostConfig.MaskedPaths", Mapped),
    ("HostConfig.ReadonlyPaths", Mapped),
    ("NetworkingConfig.EndpointsConfig.*.IPAMConfig", Mapped),
    ("NetworkingConfig.EndpointsConfig.*.Links", Mapped),
    ("NetworkingConfig.EndpointsConfig.*.MacAddress", Mapped),
    ("NetworkingConfig.EndpointsConfig.*.Aliases", Mapped),
    ("NetworkingConfig.EndpointsConfig.*.DriverOpts", Mapped),
    ("NetworkingConfig.EndpointsConfig.*.GwPriority", Mapped),
    // What an endpoint came to, which clients send back as they read it.
    ("NetworkingConfig.EndpointsConfig.*.NetworkID", Kept),
    ("NetworkingConfig.EndpointsConfig.*.EndpointID", Kept),
    ("NetworkingConfig.EndpointsConfig.*.Gateway", Kept),
    ("NetworkingConfig.EndpointsConfig.*.IPAddress", Kept),
    ("NetworkingConfig.EndpointsConfig.*.IPPrefixLen", Kept),
    ("NetworkingConfig.EndpointsConfig.*.IPv6Gateway", Kept),
    ("NetworkingConfig.EndpointsConfig.*.GlobalIPv6Address", Kept),
    ("NetworkingConfig.EndpointsConfig.*.GlobalIPv6PrefixLen", Kept),
    ("NetworkingConfig.EndpointsConfig.*.DNSNames", Kept),
];

/// Refuses a request that asks for what is not built, naming all of it.
pub(crate) fn refuse(request: &Value) -> Result<(), Failure> {
    let refused: Vec<&str> =
        FIELDS.iter().filter(|field| is_refused(field, request)).map(|field| field.0).collect();
    match refused.as_slice() {
        [] => Ok(()),
        [one] => Err(unimplemented(format!("container field {one} is unimplemented: leave it out"))),
        all => Err(unimplemented(format!(
            "container fields {} are unimplemented: leave them out",
            all.join(", ")
        ))),
    }
}

/// Fields of an update that a container has from its creation on.
const FIXED: &[&str] = &["CgroupParent", "Devices", "DeviceCgroupRules", "DeviceRequests", "Init", "Ulimits"];

/// Refuses an update of what does not change; to say again what the container has is harmless. dockerd ignores it.
pub(crate) fn refuse_changes(update: &Value, shown: &Value) -> Result<(), Failure> {
    let changes = |field: &&&str| {
        values(update, field).iter().any(|value| !asks_for_nothing(value) && values(shown, field) != [*value])
    };
    match FIXED.iter().find(changes) {
        None => Ok(()),
        Some(field) => Err(unimplemented(format!(
            "an update of {field} is unimplemented: make the container anew with it"
        ))),
    }
}

fn is_refused((path, treatment): &(&str, Treatment), request: &Value) -> bool {
    let Refused(harmless) = treatment else { return false };
    values(request, path)
        .into_iter()
        .any(|value| !asks_for_nothing(value) && !harmless.contains(&value.to_string().as_str()))
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

/// All values that a path of the table leads to. Go's decoder does not care about the case of names, neither do we.
fn values<'a>(request: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('.').fold(vec![request], |found, part| {
        let (name, is_list) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        let members = found.into_iter().flat_map(|value| member(value, name));
        match is_list {
            true => members.filter_map(Value::as_array).flatten().collect(),
            false => members.collect(),
        }
    })
}

fn member<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    let Some(map) = value.as_object() else { return Vec::new() };
    map.iter()
        .filter(|(key, _)| name == "*" || key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The fields of ContainerCreateRequest in the reference of API 1.51, and those that older versions had.
    const REFERENCE: &str = include_str!("../../../tests/facts/fields-1.51.txt");

    #[test]
    fn every_field_of_the_reference_has_its_treatment() {
        let known = |path: &str| FIELDS.iter().any(|(known, _)| *known == path);
        let missing: Vec<&str> = REFERENCE.lines().filter(|path| !known(path)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let extra: Vec<&str> = FIELDS
            .iter()
            .map(|field| field.0)
            .filter(|path| !REFERENCE.lines().any(|line| line == *path))
            .collect();
        assert!(extra.is_empty(), "{extra:?}");
    }

    fn said(request: Value) -> String {
        refuse(&request).unwrap_err().0.chain()
    }

    #[test]
    fn wishes_that_cannot_be_honoured_are_named_all_at_once() {
        let both = said(json!({ "HostConfig": { "VolumeDriver": "nfs", "Cgroup": "x" } }));
        assert!(both.contains("HostConfig.VolumeDriver, HostConfig.Cgroup are unimplemented"), "{both}");
        let mount = said(json!({ "HostConfig": { "Mounts": [{ "ClusterOptions": { "a": 1 } }] } }));
        assert!(mount.contains("HostConfig.Mounts[].ClusterOptions is unimplemented"), "{mount}");
        let small = said(json!({ "hostconfig": { "volumedriver": "nfs" } }));
        assert!(small.contains("HostConfig.VolumeDriver"), "{small}");
    }

    #[test]
    fn an_update_may_say_what_is_so_and_changes_nothing_that_is_fixed() {
        let has =
            json!({ "Init": true, "Ulimits": [{ "Name": "nofile", "Soft": 1, "Hard": 2 }], "Devices": [] });
        assert!(refuse_changes(&has, &has).is_ok());
        assert!(refuse_changes(&json!({ "Devices": null, "CpuShares": 3 }), &has).is_ok());
        let wish = json!({ "Ulimits": [{ "Name": "nofile", "Soft": 2, "Hard": 2 }] });
        assert!(refuse_changes(&wish, &has).unwrap_err().0.chain().contains("Ulimits"));
    }

    #[test]
    fn what_asks_for_nothing_or_is_unknown_passes() {
        let harmless = json!({ "HostConfig": { "Init": false, "MemorySwappiness": -1, "Links": [] } });
        assert!(refuse(&harmless).is_ok());
        assert!(refuse(&json!({ "SomethingNew": 1 })).is_ok());
    }
}

//! Mistakes in a request that would otherwise show at the container's first start.

use super::super::host::{CreateRequest, HostConfig, Ulimit, Words};
use super::network::port;
use super::resources::rlim;
use crate::error::{Failure, invalid, unimplemented};
use hako_oci::runtime::Capability;

const OOM_SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;
/// What clients name that mean the usual runtime: there is one.
const RUNTIMES: [&str; 4] = ["", "runc", "hako", "io.containerd.runc.v2"];
/// The resources of setrlimit(2).
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Refuses what no start could do.
pub(super) fn check(request: &CreateRequest, host: &HostConfig) -> Result<(), Failure> {
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        return Err(invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    let directory = &request.working_dir;
    if !directory.is_empty() && !directory.starts_with('/') {
        return Err(invalid(format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        )));
    }
    capabilities("CapAdd", host.cap_add.as_ref())?;
    capabilities("CapDrop", host.cap_drop.as_ref())?;
    if host.memory == 0 && host.memory_swap > 0 {
        return Err(invalid("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if !OOM_SCORES.contains(&host.oom_score_adj) {
        return Err(invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    if host.annotations.iter().flatten().any(|(name, _)| name.is_empty()) {
        let text = "invalid Annotations: the empty string is not permitted as an annotation key";
        return Err(invalid(text));
    }
    request.exposed_ports.iter().flatten().try_for_each(|(text, _)| exposed(text))?;
    host.ulimits.iter().flatten().try_for_each(ulimit)
}

fn capabilities(field: &str, names: Option<&Words>) -> Result<(), Failure> {
    for name in names.cloned().map(Words::into_list).unwrap_or_default() {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if upper != "ALL" && bare.parse::<Capability>().is_err() {
            return Err(invalid(format!("invalid {field}: unknown capability: \"CAP_{bare}\"")));
        }
    }
    Ok(())
}

/// Limits of a container's own files take project quotas. Refused in Docker's words.
pub(super) fn storage(host: &HostConfig, is_xfs: impl Fn() -> bool) -> Result<(), Failure> {
    let Some(options) = host.storage_opt.as_ref().filter(|options| !options.is_empty()) else {
        return Ok(());
    };
    let is_size = |name: &str| name.eq_ignore_ascii_case("size");
    match options.keys().find(|name| !is_size(name)) {
        Some(other) if !options.keys().any(|name| is_size(name)) => {
            Err(invalid(format!("Unknown option {}", other.to_ascii_lowercase())))
        }
        _ if is_xfs() => Err(unimplemented("--storage-opt size is unimplemented: leave it out")),
        _ => {
            let words = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
            Err(unimplemented(words))
        }
    }
}

/// `80`, `80/tcp`, `80-90/tcp`.
fn exposed(text: &str) -> Result<(), Failure> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let both = [first, last].map(|number| port(&format!("{number}/{protocol}")));
    match both.iter().all(Result::is_ok) {
        true => Ok(()),
        false => Err(invalid(format!("invalid port specification: {text:?}"))),
    }
}

fn ulimit(limit: &Ulimit) -> Result<(), Failure> {
    let lower = limit.name.to_ascii_lowercase();
    if !ULIMITS.contains(&lower.strip_prefix("rlimit_").unwrap_or(&lower)) {
        return Err(invalid(format!("invalid ulimit type: {}", limit.name)));
    }
    match rlim(limit.soft) > rlim(limit.hard) {
        true => Err(invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(request: Value) -> String {
        let request: CreateRequest = serde_json::from_value(request).unwrap();
        let host = request.host_config.clone().unwrap_or_default();
        check(&request, &host).err().map(|failure| failure.0.chain()).unwrap_or_default()
    }

    #[test]
    fn what_no_start_could_do_is_refused() {
        let limit = |name: &str, soft: i64, hard: i64| json!({ "HostConfig": { "Ulimits": [{ "Name": name, "Soft": soft, "Hard": hard }] } });
        for (request, words) in [
            (json!({ "WorkingDir": "tmp" }), "'tmp' is invalid, it needs to be an absolute path"),
            (json!({ "ExposedPorts": { "abc": {} } }), "invalid port specification: \"abc\""),
            (json!({ "ExposedPorts": { "80/icmp": {} } }), "invalid port specification"),
            (json!({ "HostConfig": { "MemorySwap": 33_554_432 } }), "You should always set the Memory limit"),
            (json!({ "HostConfig": { "OomScoreAdj": 1001 } }), "range for oom score adj is [-1000, 1000]"),
            (json!({ "HostConfig": { "Runtime": "nope" } }), "unknown or invalid runtime name: nope"),
            (limit("nofile", 20, 10), "soft limit must be less than or equal to hard limit: 20 > 10"),
            (limit("nofile", -1, 10), "soft limit must be"),
            (
                json!({ "HostConfig": { "CapAdd": ["chown", "NOSUCH"] } }),
                "invalid CapAdd: unknown capability: \"CAP_NOSUCH\"",
            ),
            (
                json!({ "HostConfig": { "CapDrop": ["CAP_ALL"] } }),
                "invalid CapDrop: unknown capability: \"CAP_ALL\"",
            ),
            (json!({ "HostConfig": { "CapAdd": [""] } }), "invalid CapAdd: unknown capability: \"CAP_\""),
            (limit("files", 1, 1), "invalid ulimit type: files"),
        ] {
            let said = said(request);
            assert!(said.contains(words), "{words}: {said:?}");
        }
    }

    #[test]
    fn limits_of_files_are_refused_in_docker_s_words() {
        let said = |options: Value, is_xfs: bool| {
            let host = serde_json::from_value(json!({ "StorageOpt": options })).unwrap();
            storage(&host, || is_xfs).err().map(|failure| failure.0.chain()).unwrap_or_default()
        };
        let words = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        assert_eq!(said(json!({ "size": "1G" }), false), words);
        assert!(said(json!({ "Size": "1G" }), true).contains("unimplemented"));
        assert_eq!(said(json!({ "Other": "1" }), false), "Unknown option other");
        assert_eq!((said(json!({}), false), said(Value::Null, false)), (String::new(), String::new()));
    }

    #[test]
    fn what_a_start_can_do_passes() {
        let limits = json!([{ "Name": "nofile", "Soft": 10, "Hard": -1 }, { "Name": "RLIMIT_CORE", "Soft": 0, "Hard": 0 }]);
        let host = json!({ "CapAdd": ["all", "cap_net_admin"], "CapDrop": "MKNOD", "OomScoreAdj": -1000, "Runtime": "runc", "Ulimits": limits });
        let ports = json!({ "80": {}, "53/udp": {}, "8000-8003/tcp": {} });
        assert_eq!(said(json!({ "WorkingDir": "/x", "ExposedPorts": ports, "HostConfig": host })), "");
    }
}

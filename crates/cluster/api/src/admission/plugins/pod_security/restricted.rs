//! Restricted: what is known to harden pods, at the price of what some of them want.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Check, Subject, Violation, containers, plural, quoted, security, setters, violation};
use super::policy::Version;
use super::{baseline, items, text};

/// In the order of their names.
pub(super) const CHECKS: &[Check] = &[
    Check::restricted(privilege_escalation).since(8),
    Check::restricted(capabilities).since(22),
    Check::restricted(volumes),
    Check::restricted(non_root),
    Check::restricted(root_user).since(23),
    Check::restricted(seccomp).since(19),
];

fn privilege_escalation(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    if pod.is_windows(version) {
        return None;
    }
    let by = pod.which(|it| security(it, "/allowPrivilegeEscalation") != Some(&Value::Bool(false)));
    if by.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&by));
    violation("allowPrivilegeEscalation != false", detail)
}

fn capabilities(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    if pod.is_windows(version) {
        return None;
    }
    let drops_all = |container: &Value| {
        let dropped = security(container, "/capabilities/drop").and_then(Value::as_array);
        dropped.is_some_and(|list| list.iter().any(|name| name == "ALL"))
    };
    let mut details = Vec::new();
    let keeping = pod.which(|it| !drops_all(it));
    if !keeping.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    let (by, added) = baseline::added(pod, &["NET_BIND_SERVICE"]);
    if !added.is_empty() {
        let (by, added) = (containers(&by), quoted(&added));
        details.push(format!("{by} must not include {added} in securityContext.capabilities.add"));
    }
    if details.is_empty() { None } else { violation("unrestricted capabilities", details.join("; ")) }
}

const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volumes(pod: &Subject<'_>, _: Version) -> Option<Violation> {
    // A volume without a source is an empty directory.
    let bad = |volume: &Value| {
        let sources =
            volume.as_object().into_iter().flatten().filter(|(key, it)| *key != "name" && !it.is_null());
        let kinds: Vec<&String> = sources.map(|(key, _)| key).collect();
        kinds.iter().find(|kind| !VOLUMES.contains(&kind.as_str())).map(|kind| (*kind).clone())
    };
    let all = items(pod.object, "/spec/volumes");
    let named: Vec<String> =
        all.iter().filter(|it| bad(it).is_some()).map(|it| text(it, "/name").to_owned()).collect();
    let kinds: BTreeSet<String> = all.iter().filter_map(bad).collect();
    if named.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} restricted volume {} {}",
        plural("volume", "volumes", named.len()),
        quoted(&named),
        plural("uses", "use", named.len()),
        plural("type", "types", kinds.len()),
        quoted(&kinds)
    );
    violation("restricted volume types", detail)
}

fn non_root(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if pod.has_own_users(version) {
        return None;
    }
    let of_pod = pod.security("/runAsNonRoot").and_then(Value::as_bool);
    let own = |container: &Value| security(container, "/runAsNonRoot").and_then(Value::as_bool);
    let explicit = pod.which(|it| own(it) == Some(false));
    if let Some(by) = setters(of_pod == Some(false), &explicit) {
        return violation(REASON, format!("{by} must not set securityContext.runAsNonRoot=false"));
    }
    let silent = pod.which(|it| own(it).is_none() && of_pod != Some(true));
    if silent.is_empty() {
        return None;
    }
    violation(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)))
}

fn root_user(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    if pod.has_own_users(version) {
        return None;
    }
    let is_root = |value: Option<&Value>| value.and_then(Value::as_i64) == Some(0);
    let named = pod.which(|it| is_root(security(it, "/runAsUser")));
    let by = setters(is_root(pod.security("/runAsUser")), &named)?;
    violation("runAsUser=0", format!("{by} must not set runAsUser=0"))
}

fn seccomp(pod: &Subject<'_>, version: Version) -> Option<Violation> {
    if pod.is_windows(version) {
        return None;
    }
    if let Some(found) = baseline::seccomp_types(pod) {
        return Some(found);
    }
    const POINTER: &str = "/seccompProfile/type";
    let silent = pod.which(|it| security(it, POINTER).is_none() && pod.security(POINTER).is_none());
    if silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&silent)
    );
    violation("seccompProfile", detail)
}

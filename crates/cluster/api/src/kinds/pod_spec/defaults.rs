//! What a missing field of a pod's spec means.

use super::super::value::{each_mut, set_default, set_default_number};
use super::super::volume::source;
use serde_json::{Map, Value, json};

/// Fills in a spec, of a pod or of a template.
pub(in super::super) fn default(spec: &mut Map<String, Value>) {
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "schedulerName", "default-scheduler");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "securityContext", json!({}));
    same_account(spec);
    for part in ["initContainers", "containers", "ephemeralContainers"] {
        each_mut(spec, part).for_each(container);
    }
    for volume in each_mut(spec, "volumes") {
        self::volume(volume);
    }
}

/// On the host's network the ports of a pod, though not those of a template, are the host's.
pub(in super::super) fn default_host_ports(spec: &mut Map<String, Value>) {
    if spec.get("hostNetwork") != Some(&Value::Bool(true)) {
        return;
    }
    for part in ["initContainers", "containers"] {
        for container in each_mut(spec, part) {
            for port in each_mut(container, "ports") {
                let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
                set_default_number(port, "hostPort", number);
            }
        }
    }
}

/// The account under its name and under the one it had in the first versions.
fn same_account(spec: &mut Map<String, Value>) {
    let given =
        |name: &str| spec.get(name).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
    if let Some(name) = given("serviceAccountName").or_else(|| given("serviceAccount")).cloned() {
        spec.insert("serviceAccountName".to_owned(), name.clone());
        spec.insert("serviceAccount".to_owned(), name);
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("");
    let policy = pull_policy(image);
    set_default(container, "imagePullPolicy", policy);
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    set_default(container, "resources", json!({}));
    for port in each_mut(container, "ports") {
        set_default(port, "protocol", "TCP");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).and_then(Value::as_object_mut) {
            self::probe(probe);
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = container.get_mut("lifecycle").and_then(|it| it.get_mut(name));
        if let Some(hook) = hook.and_then(Value::as_object_mut) {
            http_get(hook);
        }
    }
    for variable in each_mut(container, "env") {
        let source = variable.get_mut("valueFrom").and_then(Value::as_object_mut);
        if let Some(source) = source {
            field_ref(source);
        }
    }
}

/// An image that names no version, or `latest`, is looked for anew each time.
fn pull_policy(image: &str) -> &'static str {
    let (name, is_fixed) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or("");
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !is_fixed => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Map<String, Value>) {
    set_default_number(probe, "timeoutSeconds", 1);
    set_default_number(probe, "periodSeconds", 10);
    set_default_number(probe, "successThreshold", 1);
    set_default_number(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
        set_default(grpc, "service", "");
    }
}

fn http_get(handler: &mut Map<String, Value>) {
    if let Some(get) = handler.get_mut("httpGet").and_then(Value::as_object_mut) {
        set_default(get, "path", "/");
        set_default(get, "scheme", "HTTP");
    }
}

fn field_ref(holder: &mut Map<String, Value>) {
    if let Some(reference) = holder.get_mut("fieldRef").and_then(Value::as_object_mut) {
        set_default(reference, "apiVersion", "v1");
    }
}

const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

fn volume(volume: &mut Map<String, Value>) {
    let is_bare = volume.iter().all(|(name, value)| name == "name" || value.is_null());
    if is_bare {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["configMap", "secret", "downwardAPI", "projected"] {
        let Some(source) = volume.get_mut(name).and_then(Value::as_object_mut) else { continue };
        set_default(source, "defaultMode", FILE_MODE);
        downward_items(source);
        for part in each_mut(source, "sources") {
            if let Some(token) = part.get_mut("serviceAccountToken").and_then(Value::as_object_mut) {
                set_default(token, "expirationSeconds", TOKEN_SECONDS);
            }
            if let Some(downward) = part.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                downward_items(downward);
            }
        }
    }
    source::default(volume);
    if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
        let policy = pull_policy(image.get("reference").and_then(Value::as_str).unwrap_or(""));
        set_default(image, "pullPolicy", policy);
    }
    let claim = volume.get_mut("ephemeral").and_then(|it| it.get_mut("volumeClaimTemplate")?.get_mut("spec"));
    if let Some(claim) = claim.and_then(Value::as_object_mut) {
        set_default(claim, "volumeMode", "Filesystem");
    }
}

fn downward_items(source: &mut Map<String, Value>) {
    for item in each_mut(source, "items") {
        field_ref(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("busybox:1.36", "IfNotPresent"),
            ("localhost:5000/busybox", "Always"),
            ("localhost:5000/busybox:1", "IfNotPresent"),
            ("busybox@sha256:00", "IfNotPresent"),
            ("busybox:latest@sha256:00", "Always"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}

//! What a missing field of a pod's spec means.

use super::super::value::{each_mut, set_default};
use serde_json::{Map, Value, json};

/// Fills in a spec, of a pod or of a template.
pub(in super::super) fn default(spec: &mut Map<String, Value>) {
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "schedulerName", "default-scheduler");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "securityContext", json!({}));
    same_account(spec);
    let is_host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for part in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each_mut(spec, part) {
            self::container(container, is_host);
        }
    }
    for volume in each_mut(spec, "volumes") {
        self::volume(volume);
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

fn container(container: &mut Map<String, Value>, is_host: bool) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("");
    let policy = pull_policy(image);
    set_default(container, "imagePullPolicy", policy);
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    set_default(container, "resources", json!({}));
    for port in each_mut(container, "ports") {
        set_default(port, "protocol", "TCP");
        if is_host && let Some(number) = port.get("containerPort").cloned() {
            set_default(port, "hostPort", number);
        }
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
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or("");
    match last.split_once(':') {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        _ => "Always",
    }
}

fn probe(probe: &mut Map<String, Value>) {
    set_default(probe, "timeoutSeconds", 1);
    set_default(probe, "periodSeconds", 10);
    set_default(probe, "successThreshold", 1);
    set_default(probe, "failureThreshold", 3);
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
    if let Some(host) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        set_default(host, "type", "");
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
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}

//! The containers of a pod.

use super::super::value::{at, items, number, text};
use super::{Check, local_path, set_members};
use hako_kube::{field, names};
use serde_json::{Value, json};

impl<'a> Check<'a> {
    pub(super) fn containers(&mut self) {
        let spec = self.spec;
        if items(spec, &["containers"]).is_empty() {
            self.causes.push(field::required(self.child("containers"), ""));
        }
        let mut seen: Vec<&str> = Vec::new();
        for part in ["containers", "initContainers", "ephemeralContainers"] {
            let mut host_ports = Vec::new();
            for (index, container) in items(spec, &[part]).iter().enumerate() {
                let path = field::index(&self.child(part), index);
                self.name(container, &path, &mut seen);
                self.container(container, &path);
                self.ports(container, &path, &mut host_ports);
                match part {
                    "initContainers" => self.init(container, &path),
                    "ephemeralContainers" => self.ephemeral(container, &path),
                    _ => {}
                }
            }
        }
    }

    fn name(&mut self, container: &'a Value, path: &str, seen: &mut Vec<&'a str>) {
        let name = text(container, &["name"]);
        let path = field::child(path, "name");
        if name.is_empty() {
            self.causes.push(field::required(path, ""));
            return;
        }
        let of = |fault: String| field::invalid(&path, name, &fault);
        self.causes.extend(names::dns_label(name).into_iter().map(of));
        if seen.contains(&name) {
            self.causes.push(field::duplicate(&path, name));
        }
        seen.push(name);
    }

    fn container(&mut self, container: &Value, path: &str) {
        let image = text(container, &["image"]);
        if image.is_empty() {
            self.causes.push(field::required(field::child(path, "image"), ""));
        } else if image.trim() != image {
            self.causes.push(field::invalid(
                field::child(path, "image"),
                image,
                "must not have leading or trailing whitespace",
            ));
        }
        for (name, allowed) in [
            ("imagePullPolicy", &["Always", "IfNotPresent", "Never"][..]),
            ("terminationMessagePolicy", &["FallbackToLogsOnError", "File"][..]),
        ] {
            let value = text(container, &[name]);
            if !allowed.contains(&value) {
                let path = field::child(path, name);
                self.causes.push(match value {
                    "" => field::required(path, ""),
                    other => field::not_supported(path, other, allowed),
                });
            }
        }
        self.env(container, path);
        self.mounts(container, path);
        self.probes(container, path);
        self.resources(container, path);
    }

    fn init(&mut self, container: &Value, path: &str) {
        if text(container, &["restartPolicy"]) == "Always" {
            return;
        }
        for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.get(name).is_some_and(|it| !it.is_null()) {
                self.causes.push(field::forbidden(
                    field::child(path, name),
                    "may not be set for init containers without restartPolicy=Always",
                ));
            }
        }
    }

    fn ports(&mut self, container: &'a Value, path: &str, host_ports: &mut Vec<(i64, &'a str, &'a str)>) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, port) in items(container, &["ports"]).iter().enumerate() {
            let path = field::index(&field::child(path, "ports"), index);
            let name = text(port, &["name"]);
            if !name.is_empty() {
                let path = field::child(&path, "name");
                let of = |fault: String| field::invalid(&path, name, &fault);
                self.causes.extend(names::port_name(name).into_iter().map(of));
                if seen.contains(&name) {
                    self.causes.push(field::duplicate(&path, name));
                }
                seen.push(name);
            }
            let inner = number(port, &["containerPort"]).unwrap_or(0);
            let inner_path = field::child(&path, "containerPort");
            if inner == 0 {
                self.causes.push(field::required(inner_path, ""));
            } else {
                let of = |fault: String| field::invalid(&inner_path, inner, &fault);
                self.causes.extend(names::port_number(inner).into_iter().map(of));
            }
            let protocol = text(port, &["protocol"]);
            if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
                let path = field::child(&path, "protocol");
                self.causes.push(match protocol {
                    "" => field::required(path, ""),
                    other => field::not_supported(path, other, &["SCTP", "TCP", "UDP"]),
                });
            }
            let host = number(port, &["hostPort"]).unwrap_or(0);
            if host != 0 {
                let path = field::child(&path, "hostPort");
                let of = |fault: String| field::invalid(&path, host, &fault);
                self.causes.extend(names::port_number(host).into_iter().map(of));
                let key = (host, protocol, text(port, &["hostIP"]));
                if host_ports.contains(&key) {
                    self.causes.push(field::duplicate(&path, format!("{protocol}/{}/{host}", key.2)));
                }
                host_ports.push(key);
            }
        }
    }

    fn env(&mut self, container: &Value, path: &str) {
        for (index, variable) in items(container, &["env"]).iter().enumerate() {
            let path = field::index(&field::child(path, "env"), index);
            let name = text(variable, &["name"]);
            if name.is_empty() {
                self.causes.push(field::required(field::child(&path, "name"), ""));
            } else {
                let of = |fault: String| field::invalid(field::child(&path, "name"), name, &fault);
                self.causes.extend(names::env_name(name).into_iter().map(of));
            }
            if let Some(source) = variable.get("valueFrom").filter(|it| !it.is_null()) {
                self.env_source(
                    source,
                    !text(variable, &["value"]).is_empty(),
                    &field::child(&path, "valueFrom"),
                );
            }
        }
        for (index, source) in items(container, &["envFrom"]).iter().enumerate() {
            let path = field::index(&field::child(path, "envFrom"), index);
            match set_members(source, &["configMapRef", "secretRef"]).as_slice() {
                [one] if text(&source[*one], &["name"]).is_empty() => {
                    self.causes.push(field::required(field::child(&field::child(&path, one), "name"), ""));
                }
                [_] => {}
                [] => self.causes.push(field::invalid(
                    &path,
                    "",
                    "must specify one of: `configMapRef` or `secretRef`",
                )),
                _ => self.causes.push(field::invalid(
                    &path,
                    "",
                    "may not have more than one field specified at a time",
                )),
            }
        }
    }

    fn env_source(&mut self, source: &Value, has_value: bool, path: &str) {
        const KINDS: &[&str] =
            &["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];
        if has_value {
            self.causes.push(field::invalid(path, "", "may not be specified when `value` is not empty"));
        }
        match set_members(source, KINDS).as_slice() {
            [] => self.causes.push(field::invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or \
                 `fileKeyRef`",
            )),
            [kind @ ("configMapKeyRef" | "secretKeyRef")] => {
                for part in ["name", "key"] {
                    if text(&source[*kind], &[part]).is_empty() {
                        let path = field::child(&field::child(path, kind), part);
                        self.causes.push(field::required(path, ""));
                    }
                }
            }
            ["fieldRef"] => self.field_ref(&source["fieldRef"], &field::child(path, "fieldRef")),
            [_] => {}
            _ => self.causes.push(field::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }

    fn field_ref(&mut self, reference: &Value, path: &str) {
        const KNOWN: &[&str] = &[
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "spec.nodeName",
            "spec.serviceAccountName",
            "status.hostIP",
            "status.hostIPs",
            "status.podIP",
            "status.podIPs",
        ];
        let name = text(reference, &["fieldPath"]);
        let path = field::child(path, "fieldPath");
        let is_subscript = ["metadata.labels['", "metadata.annotations['"]
            .iter()
            .any(|start| name.starts_with(start) && name.ends_with("']"));
        if name.is_empty() {
            self.causes.push(field::required(path, ""));
        } else if !is_subscript && !KNOWN.contains(&name) {
            self.causes.push(field::not_supported(path, name, KNOWN));
        }
    }

    fn mounts(&mut self, container: &Value, path: &str) {
        let volumes: Vec<&str> =
            items(self.spec, &["volumes"]).iter().map(|it| text(it, &["name"])).collect();
        let mut seen: Vec<&str> = Vec::new();
        for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
            let path = field::index(&field::child(path, "volumeMounts"), index);
            let (name, target) = (text(mount, &["name"]), text(mount, &["mountPath"]));
            if name.is_empty() {
                self.causes.push(field::required(field::child(&path, "name"), ""));
            } else if !volumes.contains(&name) {
                self.causes.push(field::not_found(field::child(&path, "name"), name));
            }
            if target.is_empty() {
                self.causes.push(field::required(field::child(&path, "mountPath"), ""));
            } else if seen.contains(&target) {
                self.causes.push(field::invalid(field::child(&path, "mountPath"), target, "must be unique"));
            }
            seen.push(target);
            if at(mount, &["subPath"]).is_some() {
                local_path(text(mount, &["subPath"]), &field::child(&path, "subPath"), &mut self.causes);
                if at(mount, &["subPathExpr"]).is_some() {
                    let path = field::child(&path, "subPathExpr");
                    self.causes.push(field::invalid(
                        path,
                        json!(text(mount, &["subPathExpr"])),
                        "subPathExpr and subPath are mutually exclusive",
                    ));
                }
            }
        }
    }
}

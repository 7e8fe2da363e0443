//! Probes and hooks: each has exactly one handler.

use super::super::value::{number, text};
use super::{Check, set_members};
use hako_kube::{field, names};
use serde_json::{Value, json};

impl Check<'_> {
    pub(super) fn probes(&mut self, container: &Value, path: &str) {
        for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if let Some(probe) = container.get(name).filter(|probe| !probe.is_null()) {
                self.probe(probe, name, &field::child(path, name));
            }
        }
        for name in ["postStart", "preStop"] {
            let hook = container.get("lifecycle").and_then(|it| it.get(name));
            if let Some(hook) = hook.filter(|hook| !hook.is_null()) {
                let path = field::child(&field::child(path, "lifecycle"), name);
                self.handler(hook, &["exec", "httpGet", "sleep", "tcpSocket"], &path);
            }
        }
    }

    fn probe(&mut self, probe: &Value, name: &str, path: &str) {
        self.handler(probe, &["exec", "grpc", "httpGet", "tcpSocket"], path);
        for part in
            ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            if let Some(value) = number(probe, &[part])
                && value < 0
            {
                let path = field::child(path, part);
                self.causes.push(field::invalid(path, value, "must be greater than or equal to 0"));
            }
        }
        let successes = number(probe, &["successThreshold"]).unwrap_or(1);
        if name != "readinessProbe" && successes != 1 {
            let path = field::child(path, "successThreshold");
            self.causes.push(field::invalid(path, successes, "must be 1"));
        }
        if let Some(seconds) = number(probe, &["terminationGracePeriodSeconds"]) {
            let path = field::child(path, "terminationGracePeriodSeconds");
            if name == "readinessProbe" {
                self.causes.push(field::invalid(path, seconds, "must not be set for readinessProbes"));
            } else if seconds <= 0 {
                self.causes.push(field::invalid(path, seconds, "must be greater than 0"));
            }
        }
    }

    fn handler(&mut self, holder: &Value, kinds: &[&str], path: &str) {
        match set_members(holder, kinds).as_slice() {
            [] => self.causes.push(field::required(path, "must specify a handler type")),
            [one] => self.one_handler(one, &holder[*one], &field::child(path, one)),
            [_, more @ ..] => {
                for kind in more {
                    let path = field::child(path, kind);
                    self.causes.push(field::forbidden(path, "may not specify more than 1 handler type"));
                }
            }
        }
    }

    fn one_handler(&mut self, kind: &str, handler: &Value, path: &str) {
        match kind {
            "exec" if super::items(handler, &["command"]).is_empty() => {
                self.causes.push(field::required(field::child(path, "command"), ""));
            }
            "httpGet" => {
                if text(handler, &["path"]).is_empty() {
                    self.causes.push(field::required(field::child(path, "path"), ""));
                }
                self.target(handler, path);
                let scheme = text(handler, &["scheme"]);
                if !matches!(scheme, "" | "HTTP" | "HTTPS") {
                    let path = field::child(path, "scheme");
                    self.causes.push(field::not_supported(path, scheme, &["HTTP", "HTTPS"]));
                }
            }
            "tcpSocket" | "grpc" => self.target(handler, path),
            _ => {}
        }
    }

    fn target(&mut self, handler: &Value, path: &str) {
        let path = field::child(path, "port");
        let faults = match handler.get("port") {
            Some(Value::String(name)) => names::port_name(name),
            other => names::port_number(other.and_then(Value::as_i64).unwrap_or(0)),
        };
        let value = handler.get("port").cloned().unwrap_or_else(|| json!(0));
        let of = |fault: String| field::invalid(&path, value.clone(), &fault);
        self.causes.extend(faults.into_iter().map(of));
    }
}

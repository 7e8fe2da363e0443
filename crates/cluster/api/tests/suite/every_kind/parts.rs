//! The parts of objects that are read and written in place: status, scale and their kind.

use hako_api::kinds::Part;
use serde_json::{Value, json};

use super::Case;
use super::statuses::status_of;
use crate::seen::PATCHES;

/// Whether a part is read, replaced and patched like an object.
pub fn is_in_place(part: &Part) -> bool {
    ["get", "patch", "update"].iter().all(|verb| part.verbs.contains(verb)) && part.name != "proxy"
}

impl Case {
    pub async fn has_its_parts(&self) {
        for part in self.row.subresources.iter().filter(|part| is_in_place(part)) {
            match part.name {
                "status" => self.has_a_status().await,
                "scale" => self.has_a_scale().await,
                other => self.has_a_part(other).await,
            }
        }
    }

    fn part(&self, name: &str) -> String {
        format!("{}/{name}", self.path())
    }

    /// Reads a part, writes it back and patches nothing of it: it stays what it is.
    async fn has_a_part(&self, name: &str) {
        let object = self.http.ok("GET", &self.part(name), "", &Value::Null).await;
        assert_eq!(object, self.get().await, "{name}");
        let put = self.http.ok("PUT", &self.part(name), "application/json", &object).await;
        assert_eq!(put, object, "{name}");
        for (format, content_type) in PATCHES.into_iter().filter(|(format, _)| !self.refuses(format)) {
            let patched = self.patch_part(name, format, content_type, &self.nothing(format)).await;
            assert_eq!(patched["spec"], object["spec"], "{name} {format}");
        }
    }

    async fn patch_part(&self, name: &str, format: &str, content_type: &str, patch: &Value) -> Value {
        let force = if format == "patch:apply" { "&force=true" } else { "" };
        let path = format!("{}?fieldManager=applier{force}", self.part(name));
        self.http.ok("PATCH", &path, content_type, patch).await
    }

    /// A patch that changes nothing.
    fn nothing(&self, format: &str) -> Value {
        match format {
            "patch:json" => json!([]),
            "patch:apply" => self.applied(json!({})),
            _ => json!({}),
        }
    }

    fn applied(&self, fields: Value) -> Value {
        let mut object = fields;
        object["apiVersion"] = self.row.api_version().into();
        object["kind"] = json!(*self.row.kind);
        object["metadata"] = json!({"name": self.name()});
        object
    }

    /// The status changes through its part in every way, and through it alone; nothing else changes.
    async fn has_a_status(&self) {
        let before = self.http.ok("GET", &self.part("status"), "", &Value::Null).await;
        let status = status_of(&self.row.plural);
        let mut object = before.clone();
        object["status"] = merged(&before["status"], &status);
        object["spec"] = json!({"replicas": 77});
        let put = self.http.ok("PUT", &self.part("status"), "application/json", &object).await;
        self.kept(&before, &put, &status);
        for (format, content_type) in PATCHES.into_iter().filter(|(format, _)| !self.refuses(format)) {
            let patch = match format {
                "patch:json" => json!([{"op": "add", "path": "/status", "value": put["status"]}]),
                "patch:apply" => self.applied(json!({"status": status})),
                _ => json!({"status": status, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            };
            let patched = self.patch_part("status", format, content_type, &patch).await;
            self.kept(&before, &patched, &status);
        }
        let mut whole = self.get().await;
        self.kept(&before, &whole, &status);
        let expected = whole["status"].take();
        let put = self.http.ok("PUT", &self.path(), "application/json", &whole).await;
        assert_eq!(put["status"], expected, "{}: a status goes only through its part", self.row.plural);
    }

    fn kept(&self, before: &Value, after: &Value, status: &Value) {
        let plural = &self.row.plural;
        assert_eq!(merged(&after["status"], status), after["status"], "{plural}");
        assert_eq!(after["spec"], before["spec"], "{plural}");
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"], "{plural}");
        assert!(after["metadata"]["deletionTimestamp"].is_null(), "{plural}");
    }

    /// The number of replicas changes through the scale in every way.
    async fn has_a_scale(&self) {
        let mut scale = self.http.ok("GET", &self.part("scale"), "", &Value::Null).await;
        assert_eq!(scale["kind"], "Scale", "{scale}");
        scale["spec"]["replicas"] = 5.into();
        self.http.ok("PUT", &self.part("scale"), "application/json", &scale).await;
        assert_eq!(self.get().await["spec"]["replicas"], 5);
        let formats = PATCHES.into_iter().filter(|(format, _)| !self.refuses(format));
        for (replicas, (format, content_type)) in (6..).zip(formats) {
            let patch = match format {
                "patch:json" => json!([{"op": "replace", "path": "/spec/replicas", "value": replicas}]),
                "patch:apply" => json!({
                    "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": self.name()},
                    "spec": {"replicas": replicas},
                }),
                _ => json!({"spec": {"replicas": replicas}}),
            };
            let patched = self.patch_part("scale", format, content_type, &patch).await;
            assert_eq!(patched["spec"]["replicas"], replicas, "{format}");
            assert_eq!(self.get().await["spec"]["replicas"], replicas, "{format}");
        }
    }
}

/// An object with what another one says, by field.
fn merged(object: &Value, change: &Value) -> Value {
    match (object, change) {
        (Value::Object(old), Value::Object(new)) => {
            let mut all = old.clone();
            for (name, value) in new {
                let merged = merged(old.get(name).unwrap_or(&Value::Null), value);
                all.insert(name.clone(), merged);
            }
            Value::Object(all)
        }
        // A list may have more members.
        (Value::Array(old), Value::Array(new)) if new.iter().all(|member| old.contains(member)) => {
            object.clone()
        }
        _ => change.clone(),
    }
}

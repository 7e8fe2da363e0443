//! An event: what `audit.k8s.io/v1` has of a request at one of its stages.

use bytes::Bytes;
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::policy::{Choice, Level, Stage};
use crate::auth::Identity;
use crate::http::{Info, Request};
use crate::{protobuf, schema};

/// What is known of a request from the beginning.
#[derive(Debug)]
pub(super) struct Draft {
    pub choice: Choice,
    fields: Map<String, Value>,
}

impl Draft {
    pub(super) fn of(request: &Request, choice: Choice) -> Self {
        let info = Info::of(request);
        let (sender, acting) = match &request.impersonator {
            Some(sender) => (sender, Some(&request.identity)),
            None => (&request.identity, None),
        };
        let fields = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1",
            "level": choice.level.name(),
            "auditID": audit_id(&request.headers),
            "requestURI": uri(request),
            "verb": info.verb,
            "user": user(sender),
            "impersonatedUser": acting.map(user),
            "sourceIPs": sources(request),
            "userAgent": Some(request.header(header::USER_AGENT)).filter(|agent| !agent.is_empty()),
            "objectRef": reference(&info),
            "requestReceivedTimestamp": now(),
        });
        let mut fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.retain(|_, value| !value.is_null());
        Self { choice, fields }
    }

    pub(super) fn is_told(&self, stage: Stage) -> bool {
        !self.choice.omitted.contains(&stage)
    }

    /// Whether bodies of answers are told.
    pub(super) fn takes_answers(&self) -> bool {
        self.choice.level == Level::RequestResponse
    }

    pub(super) fn id(&self) -> &str {
        self.fields.get("auditID").and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn set_request(&mut self, body: &Bytes, content_type: &str) {
        if self.choice.level >= Level::Request && !body.is_empty() {
            self.set_object("requestObject", body, content_type);
        }
    }

    /// The code of an answer, and what a `Status` in it says.
    pub(super) fn set_status(&mut self, code: u16, body: Option<&Bytes>) {
        let mut status = json!({"metadata": {}, "code": code});
        let told = body.filter(|_| code >= 400).and_then(|body| decoded(body, content_type(body)));
        for name in ["status", "message", "reason", "details"] {
            if let Some(value) = told.as_ref().and_then(|told| told.get(name)) {
                status[name] = value.clone();
            }
        }
        self.fields.insert("responseStatus".to_owned(), status);
    }

    pub(super) fn set_answer(&mut self, body: &Bytes) {
        if self.takes_answers() && !body.is_empty() {
            self.set_object("responseObject", body, content_type(body));
        }
    }

    fn set_object(&mut self, name: &str, body: &Bytes, content_type: &str) {
        let Some(mut object) = decoded(body, content_type) else { return };
        if self.choice.omits_managed_fields {
            without_managers(&mut object);
        }
        self.fields.insert(name.to_owned(), object);
    }

    pub(super) fn set_annotations(&mut self, all: impl IntoIterator<Item = (String, String)>) {
        let annotations: Map<String, Value> = all.into_iter().map(|(key, text)| (key, text.into())).collect();
        if !annotations.is_empty() {
            self.fields.insert("annotations".to_owned(), Value::Object(annotations));
        }
    }

    /// The line for a stage.
    pub(super) fn line(&self, stage: Stage) -> String {
        let mut fields = self.fields.clone();
        fields.insert("stage".to_owned(), stage.name().into());
        fields.insert("stageTimestamp".to_owned(), now().into());
        Value::Object(fields).to_string()
    }
}

/// What an answer is: the two that a server of objects gives.
fn content_type(answer: &Bytes) -> &'static str {
    if protobuf::is_enveloped(answer) { protobuf::MEDIA_TYPE } else { "application/json" }
}

fn decoded(body: &Bytes, content_type: &str) -> Option<Value> {
    match content_type {
        protobuf::MEDIA_TYPE => protobuf::object(body).ok(),
        yaml if yaml.contains("yaml") => schema::decode::yaml(body).map(|decoded| decoded.value).ok(),
        _ => serde_json::from_slice(body).ok(),
    }
}

fn without_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(without_managers);
    }
}

/// The client's own name for its request, if it is one that can be told, or a new one.
fn audit_id(headers: &HeaderMap) -> String {
    let given = headers.get("audit-id").and_then(|id| id.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= 64);
    given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

fn uri(request: &Request) -> String {
    match request.query.raw() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    }
}

fn user(identity: &Identity) -> Value {
    let mut user = json!({"username": identity.user, "groups": identity.groups});
    if !identity.uid.is_empty() {
        user["uid"] = identity.uid.clone().into();
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    user
}

/// The addresses that a proxy names, and that of whoever is connected.
fn sources(request: &Request) -> Vec<String> {
    let of = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let named = of("x-forwarded-for").split(',').chain([of("x-real-ip")]).map(str::trim);
    let mut all: Vec<String> =
        named.filter(|text| text.parse::<std::net::IpAddr>().is_ok()).map(str::to_owned).collect();
    let peer = request.peer.map_or_else(|| "127.0.0.1".to_owned(), |peer| peer.to_string());
    if all.last() != Some(&peer) {
        all.push(peer);
    }
    all
}

fn reference(info: &Info<'_>) -> Option<Value> {
    let resource = info.resource?;
    let mut reference = Map::new();
    for (field, value) in [
        ("resource", resource.resource),
        ("namespace", resource.namespace),
        ("name", resource.name),
        ("apiGroup", resource.group),
        ("apiVersion", resource.version),
        ("subresource", resource.subresource),
    ] {
        if !value.is_empty() {
            reference.insert(field.to_owned(), hako_names::percent::decode(value).into());
        }
    }
    Some(Value::Object(reference))
}

/// To the microsecond, as times in events are.
fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

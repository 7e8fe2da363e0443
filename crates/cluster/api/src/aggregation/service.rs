//! An APIService as it is stored, and the server behind it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_client::{HttpTransport, Tls};
use hako_error::Result;
use parking_lot::{Mutex, RwLock};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::tls;
use crate::openapi::Swagger;
use crate::server::Inner;
use crate::webhook_client;

/// By which label APIServices are known that are made and removed here.
pub(super) const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// A version of a group, and who serves it.
#[derive(Debug)]
pub(crate) struct ApiService {
    pub uid: String,
    pub spec: Value,
    pub group: String,
    pub version: String,
    pub group_priority: i64,
    pub version_priority: i64,
    /// Whether it is made and removed with what it is of.
    pub is_automanaged: bool,
    /// None for this server.
    pub remote: Option<Arc<Remote>>,
}

/// A service of this cluster that serves a version of a group.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The APIService, by name and uid.
    pub name: String,
    pub uid: String,
    pub group: String,
    pub version: String,
    pub backend: Backend,
    pub state: RwLock<State>,
    /// The condition `Available` that its status has.
    pub told: Mutex<Told>,
    /// Woken when it seems to be otherwise than it was.
    pub poke: Notify,
    /// Cancelled when it is no longer asked.
    pub stop: CancellationToken,
    pub connection: Connection,
}

/// The service, and whom to trust there.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub namespace: String,
    pub name: String,
    pub port: u16,
    /// Authorities in PEM; those of the system if empty.
    ca: Vec<u8>,
    is_insecure: bool,
}

/// How it is spoken to; the error where its authorities cannot be read.
#[derive(Debug)]
pub(crate) struct Connection {
    pub client: Result<HttpTransport>,
    pub tls: Result<Arc<ClientConfig>>,
}

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub is_available: bool,
    /// Of the condition `Available`.
    pub reason: &'static str,
    pub message: String,
    /// Its resources as aggregated discovery tells them, as it said last.
    pub resources: Option<Arc<Value>>,
    /// Whether it was asked for them with success the last time.
    pub is_current: bool,
    /// Where its OpenAPI document is, as its own index says.
    pub openapi: Option<String>,
    /// What it says of its kinds in OpenAPI version 2, with the tag by which it is asked whether that has changed.
    pub swagger: Option<(String, Arc<Swagger>)>,
}

/// Status, reason and message of a condition.
pub(super) type Told = [String; 3];

/// What the status of an APIService says.
fn told(object: &Value) -> Told {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let condition = conditions.into_iter().flatten().find(|condition| condition["type"] == "Available");
    let text = |name: &str| condition.and_then(|it| it.get(name)?.as_str()).unwrap_or_default().to_owned();
    ["status", "reason", "message"].map(text)
}

impl ApiService {
    /// Of what is stored; none of what cannot be read.
    pub(super) fn read(server: &Arc<Inner>, name: &str, stored: &[u8]) -> Option<Self> {
        let mut object: Value = serde_json::from_slice(stored).ok()?;
        let spec = object.get_mut("spec").map(Value::take)?;
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let number = |name: &str| spec.get(name).and_then(Value::as_i64).unwrap_or_default();
        let metadata = object.get("metadata")?;
        let (uid, group, version) = (text(metadata, "uid"), text(&spec, "group"), text(&spec, "version"));
        let label = metadata.get("labels").and_then(|labels| labels.get(AUTOMANAGED));
        let backend = spec.get("service").filter(|service| service.is_object());
        let backend = backend.map(|service| Backend {
            namespace: text(service, "namespace"),
            name: text(service, "name"),
            port: port(service),
            ca: STANDARD.decode(text(&spec, "caBundle")).unwrap_or_default(),
            is_insecure: spec.get("insecureSkipTLSVerify").and_then(Value::as_bool).unwrap_or_default(),
        });
        let remote = backend.map(|backend| {
            Arc::new(Remote {
                name: name.to_owned(),
                uid: uid.clone(),
                group: group.clone(),
                version: version.clone(),
                connection: Connection::to(server, &backend),
                backend,
                state: RwLock::default(),
                told: Mutex::new(told(&object)),
                poke: Notify::new(),
                stop: server.stop.child_token(),
            })
        });
        Some(Self {
            group_priority: number("groupPriorityMinimum"),
            version_priority: number("versionPriority"),
            is_automanaged: label.is_some_and(|label| label == "true"),
            uid,
            group,
            version,
            remote,
            spec,
        })
    }

    /// Takes over what the status says now, so that it is told again if somebody else wrote it.
    pub(super) fn take_status(&self, now: &Self) {
        if let (Some(before), Some(now)) = (&self.remote, &now.remote) {
            before.told.lock().clone_from(&now.told.lock());
        }
    }

    /// It is no longer as it was, or is gone.
    pub(super) fn end(&self) {
        if let Some(remote) = &self.remote {
            remote.stop.cancel();
        }
    }
}

fn port(service: &Value) -> u16 {
    let port = service.get("port").and_then(Value::as_u64);
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443)
}

impl Backend {
    /// Scheme and authority.
    pub(super) fn origin(&self) -> String {
        let Self { namespace, name, port, .. } = self;
        format!("https://{name}.{namespace}.svc:{port}")
    }

    /// The name in its certificate.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// Opens a connection to the next ready endpoint.
    pub(super) fn dial(&self, server: &Arc<Inner>) -> hako_client::Dial {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        webhook_client::dial(Arc::downgrade(server), namespace, name, self.port)
    }
}

impl Connection {
    fn to(server: &Arc<Inner>, backend: &Backend) -> Self {
        let front_proxy = server.config.pki.front_proxy();
        let config = || tls::config(&backend.ca, backend.is_insecure, front_proxy);
        let client = config().and_then(|config| {
            HttpTransport::dialing(&backend.origin(), Some(Tls::of(config)), backend.dial(server))
        });
        Self { client, tls: config() }
    }
}

impl State {
    /// As the condition `Available` says it.
    pub(super) fn condition(&self) -> Told {
        let status = if self.is_available { "True" } else { "False" };
        [status.to_owned(), self.reason.to_owned(), self.message.clone()]
    }
}

impl Remote {
    pub(crate) fn is_available(&self) -> bool {
        self.state.read().is_available
    }

    /// What is known of its kinds now, and whether it is what it says now.
    pub(crate) fn resources(&self) -> (Option<Arc<Value>>, bool) {
        let state = self.state.read();
        (state.resources.clone(), state.is_available && state.is_current)
    }
}

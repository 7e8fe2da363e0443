//! What the messages of the served kinds have: number, JSON name and shape of each field, as published for v1.36.
//!
//! Owns: the tables. Does not own: how they are used.
//! Invariant: numbers ascend within a message, so that a field is found by halving.
//!
//! ```text
//! 4 replicas: int         a value             5 items: [Volume]      a list
//! 2 labels: {text}        a map from text     1 handler: (Handler)   a message whose fields are the parent's own in JSON
//! … kept                  JSON has it even if it is zero: an optional value, or one that is never left out
//! ```

/// Declares messages.
macro_rules! messages {
    ($($message:ident { $($number:literal $name:ident: $shape:tt $($kept:ident)?,)* })*) => {
        $(
            #[expect(non_upper_case_globals, reason = "the name of the message is the specification's")]
            pub(super) static $message: super::Message = super::Message {
                fields: &[$(super::Field {
                    number: $number,
                    name: stringify!($name),
                    shape: shape!($shape),
                    is_kept: is_kept!($($kept)?),
                },)*],
            };
        )*
    };
}

macro_rules! shape {
    ([$kind:ident]) => {
        super::Shape::List(kind!($kind))
    };
    ({$kind:ident}) => {
        super::Shape::Map(kind!($kind))
    };
    (($message:ident)) => {
        super::Shape::Inline(&$message)
    };
    ($kind:ident) => {
        super::Shape::One(kind!($kind))
    };
}

macro_rules! kind {
    (text) => {
        super::Kind::Text
    };
    (int) => {
        super::Kind::Int
    };
    (flag) => {
        super::Kind::Flag
    };
    (bytes) => {
        super::Kind::Bytes
    };
    (int_or_text) => {
        super::Kind::IntOrText
    };
    (quantity) => {
        super::Kind::Quantity
    };
    (time) => {
        super::Kind::Time
    };
    (micro_time) => {
        super::Kind::MicroTime
    };
    (json) => {
        super::Kind::Json
    };
    (texts) => {
        super::Kind::Texts
    };
    ($message:ident) => {
        super::Kind::Message(&$message)
    };
}

macro_rules! is_kept {
    () => {
        false
    };
    (kept) => {
        true
    };
}

mod apps;
mod cluster;
mod groups;
mod meta;
mod networking;
mod pod;
mod pod_status;
mod policies;
mod volumes;

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub number: u32,
    pub name: &'static str,
    pub shape: Shape,
    pub is_kept: bool,
}

/// How often a field's content occurs, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    One(Kind),
    List(Kind),
    Map(Kind),
    Inline(&'static Message),
}

/// What a field's content is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Int,
    Flag,
    Bytes,
    IntOrText,
    Quantity,
    Time,
    MicroTime,
    Json,
    /// A list that is a message of its own, as in maps.
    Texts,
    Message(&'static Message),
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        let found = self.fields.binary_search_by_key(&number, |field| field.number);
        found.ok().and_then(|at| self.fields.get(at))
    }
}

/// What a body may be: version, kind, message.
static KINDS: &[(&str, &str, &Message)] = &[
    ("v1", "Binding", &cluster::Binding),
    ("v1", "ConfigMap", &cluster::ConfigMap),
    ("v1", "Endpoints", &cluster::Endpoints),
    ("v1", "Event", &cluster::Event),
    ("v1", "Namespace", &cluster::Namespace),
    ("v1", "Node", &cluster::Node),
    ("v1", "Pod", &pod::Pod),
    ("v1", "Secret", &cluster::Secret),
    ("v1", "Service", &cluster::Service),
    ("v1", "ServiceAccount", &cluster::ServiceAccount),
    ("apps/v1", "Deployment", &apps::Deployment),
    ("apps/v1", "ReplicaSet", &apps::ReplicaSet),
    ("autoscaling/v1", "Scale", &groups::Scale),
    ("coordination.k8s.io/v1", "Lease", &groups::Lease),
    ("discovery.k8s.io/v1", "EndpointSlice", &groups::EndpointSlice),
    ("certificates.k8s.io/v1", "CertificateSigningRequest", &policies::CertificateSigningRequest),
    ("networking.k8s.io/v1", "IPAddress", &networking::IPAddress),
    ("networking.k8s.io/v1", "Ingress", &networking::Ingress),
    ("networking.k8s.io/v1", "IngressClass", &networking::IngressClass),
    ("networking.k8s.io/v1", "NetworkPolicy", &networking::NetworkPolicy),
    ("networking.k8s.io/v1", "ServiceCIDR", &networking::ServiceCIDR),
    ("node.k8s.io/v1", "RuntimeClass", &policies::RuntimeClass),
    ("policy/v1", "Eviction", &groups::Eviction),
    ("policy/v1", "PodDisruptionBudget", &policies::PodDisruptionBudget),
    ("scheduling.k8s.io/v1", "PriorityClass", &policies::PriorityClass),
];

/// The message of a kind. `DeleteOptions` belong to every group: clients name the one of what they delete.
pub(super) fn of(api_version: &str, kind: &str) -> Option<&'static Message> {
    if kind == "DeleteOptions" {
        return Some(&meta::DeleteOptions);
    }
    KINDS.iter().find(|row| (row.0, row.1) == (api_version, kind)).map(|row| row.2)
}

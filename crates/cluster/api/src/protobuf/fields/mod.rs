//! What the messages of the served kinds have: number, JSON name and shape of each field, as published for v1.36.
//!
//! Owns: the tables. Does not own: how they are used.
//! Invariant: numbers ascend within a message, so that a field is found by halving.
//!
//! ```text
//! 4 replicas: int         a value             5 items: [Volume]      a list
//! 2 labels: {text}        a map from text     1 handler: (Handler)   a message whose fields are the parent's own in JSON
//! … kept                  JSON has it even if it is zero
//! … nullable              it may be absent, a pointer in Go: there JSON has it even if it is zero; all others are always written
//! ```

/// Declares messages.
macro_rules! messages {
    ($($message:ident { $($number:literal $name:tt: $shape:tt $($mark:ident)?,)* })*) => {
        $(
            #[expect(non_upper_case_globals, reason = "the name of the message is the specification's")]
            pub(super) static $message: super::Message = super::Message {
                fields: &[$(super::Field {
                    number: $number,
                    name: name!($name),
                    shape: shape!($shape),
                    presence: presence!($($mark)?),
                },)*],
            };
        )*
    };
}

macro_rules! name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:literal) => {
        $name
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
    (double) => {
        super::Kind::Double
    };
    (or_list) => {
        super::Kind::SchemaOr(super::Or::List, &JSONSchemaProps)
    };
    (or_flag) => {
        super::Kind::SchemaOr(super::Or::Flag, &JSONSchemaProps)
    };
    (or_texts) => {
        super::Kind::SchemaOr(super::Or::Texts, &JSONSchemaProps)
    };
    ($message:ident) => {
        super::Kind::Message(&$message)
    };
}

macro_rules! presence {
    () => {
        super::Presence::Written
    };
    (kept) => {
        super::Presence::Kept
    };
    (nullable) => {
        super::Presence::Nullable
    };
}

mod admissionregistration;
mod apidiscovery;
mod apiextensions;
mod apiregistration;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod autoscaling_v1;
mod batch;
mod cluster;
mod core_v1;
mod devices;
mod events;
mod flowcontrol;
mod groups;
mod meta;
mod networking;
mod pod;
mod pod_status;
mod policies;
mod rbac;
mod storage;
mod storagemigration;
mod volumes;
mod workloads;

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
    pub presence: Presence,
}

/// What becomes of a zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// A message has it, JSON does not.
    Written,
    /// Both have it.
    Kept,
    /// Neither has it where it is absent, both have it where it is not.
    Nullable,
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
    Double,
    /// A schema or something else.
    SchemaOr(Or, &'static Message),
}

/// What may stand in the place of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Or {
    /// Schemas.
    List,
    /// Whether anything is allowed.
    Flag,
    /// Names of fields.
    Texts,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&'static Field> {
        let found = self.fields.binary_search_by_key(&number, |field| field.number);
        found.ok().and_then(|at| self.fields.get(at))
    }
}

/// What a body may be: version, kind, message.
pub(super) static KINDS: &[(&str, &str, &Message)] = &[
    ("v1", "Binding", &cluster::Binding),
    ("v1", "ComponentStatus", &cluster::ComponentStatus),
    ("v1", "ConfigMap", &cluster::ConfigMap),
    ("v1", "Endpoints", &cluster::Endpoints),
    ("v1", "Event", &cluster::Event),
    ("v1", "LimitRange", &core_v1::LimitRange),
    ("v1", "Namespace", &cluster::Namespace),
    ("v1", "Node", &cluster::Node),
    ("v1", "PersistentVolume", &core_v1::PersistentVolume),
    ("v1", "PersistentVolumeClaim", &core_v1::PersistentVolumeClaim),
    ("v1", "Pod", &pod::Pod),
    ("v1", "PodTemplate", &core_v1::PodTemplate),
    ("v1", "ReplicationController", &core_v1::ReplicationController),
    ("v1", "ResourceQuota", &core_v1::ResourceQuota),
    ("v1", "Secret", &cluster::Secret),
    ("v1", "Service", &cluster::Service),
    ("v1", "ServiceAccount", &cluster::ServiceAccount),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicy",
        &admissionregistration::MutatingAdmissionPolicy,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicyBinding",
        &admissionregistration::MutatingAdmissionPolicyBinding,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        &admissionregistration::MutatingWebhookConfiguration,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        &admissionregistration::ValidatingAdmissionPolicy,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        &admissionregistration::ValidatingAdmissionPolicyBinding,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        &admissionregistration::ValidatingWebhookConfiguration,
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", &apiextensions::CustomResourceDefinition),
    ("apiregistration.k8s.io/v1", "APIService", &apiregistration::APIService),
    ("apps/v1", "ControllerRevision", &workloads::ControllerRevision),
    ("apps/v1", "DaemonSet", &workloads::DaemonSet),
    ("apps/v1", "Deployment", &apps::Deployment),
    ("apps/v1", "ReplicaSet", &apps::ReplicaSet),
    ("apps/v1", "StatefulSet", &workloads::StatefulSet),
    ("authentication.k8s.io/v1", "SelfSubjectReview", &authentication::SelfSubjectReview),
    ("authentication.k8s.io/v1", "TokenRequest", &authentication::TokenRequest),
    ("authentication.k8s.io/v1", "TokenReview", &authentication::TokenReview),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview", &authorization::LocalSubjectAccessReview),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", &authorization::SelfSubjectAccessReview),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview", &authorization::SelfSubjectRulesReview),
    ("authorization.k8s.io/v1", "SubjectAccessReview", &authorization::SubjectAccessReview),
    ("autoscaling/v1", "HorizontalPodAutoscaler", &autoscaling_v1::HorizontalPodAutoscaler),
    ("autoscaling/v1", "Scale", &groups::Scale),
    ("autoscaling/v2", "HorizontalPodAutoscaler", &autoscaling::HorizontalPodAutoscaler),
    ("batch/v1", "CronJob", &batch::CronJob),
    ("batch/v1", "Job", &batch::Job),
    ("certificates.k8s.io/v1", "CertificateSigningRequest", &policies::CertificateSigningRequest),
    ("coordination.k8s.io/v1", "Lease", &groups::Lease),
    ("discovery.k8s.io/v1", "EndpointSlice", &groups::EndpointSlice),
    ("events.k8s.io/v1", "Event", &events::Event),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", &flowcontrol::FlowSchema),
    (
        "flowcontrol.apiserver.k8s.io/v1",
        "PriorityLevelConfiguration",
        &flowcontrol::PriorityLevelConfiguration,
    ),
    ("networking.k8s.io/v1", "IPAddress", &networking::IPAddress),
    ("networking.k8s.io/v1", "Ingress", &networking::Ingress),
    ("networking.k8s.io/v1", "IngressClass", &networking::IngressClass),
    ("networking.k8s.io/v1", "NetworkPolicy", &networking::NetworkPolicy),
    ("networking.k8s.io/v1", "ServiceCIDR", &networking::ServiceCIDR),
    ("node.k8s.io/v1", "RuntimeClass", &policies::RuntimeClass),
    ("policy/v1", "Eviction", &groups::Eviction),
    ("policy/v1", "PodDisruptionBudget", &policies::PodDisruptionBudget),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", &rbac::ClusterRole),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", &rbac::ClusterRoleBinding),
    ("rbac.authorization.k8s.io/v1", "Role", &rbac::Role),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", &rbac::RoleBinding),
    ("resource.k8s.io/v1", "DeviceClass", &devices::DeviceClass),
    ("resource.k8s.io/v1", "ResourceClaim", &devices::ResourceClaim),
    ("resource.k8s.io/v1", "ResourceClaimTemplate", &devices::ResourceClaimTemplate),
    ("resource.k8s.io/v1", "ResourceSlice", &devices::ResourceSlice),
    ("scheduling.k8s.io/v1", "PriorityClass", &policies::PriorityClass),
    ("storage.k8s.io/v1", "CSIDriver", &storage::CSIDriver),
    ("storage.k8s.io/v1", "CSINode", &storage::CSINode),
    ("storage.k8s.io/v1", "CSIStorageCapacity", &storage::CSIStorageCapacity),
    ("storage.k8s.io/v1", "StorageClass", &storage::StorageClass),
    ("storage.k8s.io/v1", "VolumeAttachment", &storage::VolumeAttachment),
    ("storage.k8s.io/v1", "VolumeAttributesClass", &storage::VolumeAttributesClass),
    (
        "storagemigration.k8s.io/v1beta1",
        "StorageVersionMigration",
        &storagemigration::StorageVersionMigration,
    ),
];

/// What answers may be besides.
static ANSWERS: &[(&str, &str, &Message)] = &[
    ("v1", "APIGroup", &meta::APIGroup),
    ("v1", "APIGroupList", &meta::APIGroupList),
    ("v1", "APIResourceList", &meta::APIResourceList),
    ("v1", "APIVersions", &meta::APIVersions),
    ("v1", "Status", &meta::Status),
    ("apidiscovery.k8s.io/v2", "APIGroupDiscovery", &apidiscovery::APIGroupDiscovery),
    ("meta.k8s.io/v1", "PartialObjectMetadata", &meta::PartialObjectMetadata),
];

/// What lists have besides their items.
pub(super) static LIST_META: &Message = &meta::ListMeta;
/// What is left of an object whose metadata alone are asked for.
pub(super) static PARTIAL: &Message = &meta::PartialObjectMetadata;

/// Whether upstream's server has no type of its own for a message.
pub(super) fn is_published(message: &Message) -> bool {
    [&meta::LabelSelector, &meta::ObjectMeta].into_iter().any(|known| std::ptr::eq(known, message))
}

/// The message of a kind. `DeleteOptions` belong to every group: clients name the one of what they delete.
pub(super) fn of(api_version: &str, kind: &str) -> Option<&'static Message> {
    if kind == "DeleteOptions" {
        return Some(&meta::DeleteOptions);
    }
    let mut rows = KINDS.iter().chain(ANSWERS);
    rows.find(|row| (row.0, row.1) == (api_version, kind)).map(|row| row.2)
}

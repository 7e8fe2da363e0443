//! Kubernetes' messages as others have generated them of its .proto files, by which tests judge ours.
//!
//! Owns: reading with `k8s-pb`, and those of OpenAPI, which it does not have, with `prost` ([`openapi`]).
//! Does not own: what is judged; nothing but tests depends on this crate.
//!
//! Invariant: nothing of ours takes part in reading.

pub mod openapi;

use k8s_pb::api;
use k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use k8s_pb::kube_aggregator::pkg::apis::apiregistration;
use prost::{DecodeError, Message};

/// An object as it is sent.
#[derive(Debug)]
pub struct Enveloped {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its message.
    pub raw: Vec<u8>,
}

/// A list's message.
#[derive(Clone, PartialEq, Message)]
pub struct List {
    /// What is said of the list.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<meta::ListMeta>,
    /// The messages of its items.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub items: Vec<Vec<u8>>,
}

/// What a message is to others.
#[derive(Debug)]
pub struct Judged {
    /// The message, written again; without what they do not know.
    pub again: Vec<u8>,
    /// Its fields by their names.
    pub text: String,
}

/// Takes an object out of its envelope; none if there is no such thing around it.
///
/// # Errors
/// The envelope is no message.
pub fn envelope(bytes: &[u8]) -> Result<Option<Enveloped>, DecodeError> {
    let Some(bytes) = bytes.strip_prefix(b"k8s\0") else { return Ok(None) };
    let unknown = Unknown::decode(bytes)?;
    let names = unknown.type_meta.unwrap_or_default();
    Ok(Some(Enveloped {
        api_version: names.api_version.unwrap_or_default(),
        kind: names.kind.unwrap_or_default(),
        raw: unknown.raw.unwrap_or_default(),
    }))
}

/// The word and the object of an event of a watch.
///
/// # Errors
/// It is no message.
pub fn event(bytes: &[u8]) -> Result<(String, Vec<u8>), DecodeError> {
    let event = meta::WatchEvent::decode(bytes)?;
    let object = event.object.and_then(|object| object.raw);
    Ok((event.r#type.unwrap_or_default(), object.unwrap_or_default()))
}

/// The list of a message.
///
/// # Errors
/// It is none.
pub fn list(message: &[u8]) -> Result<List, DecodeError> {
    List::decode(message)
}

fn judge<T: Message + Default + std::fmt::Debug>(message: &[u8]) -> Result<Judged, DecodeError> {
    let read = T::decode(message)?;
    Ok(Judged { again: read.encode_to_vec(), text: format!("{read:?}") })
}

macro_rules! kinds {
    ($($version:literal $($module:ident)::+ { $($kind:ident)* })*) => {
        /// Reads the message of a kind; none of a kind that they do not know.
        ///
        /// # Errors
        /// It is no message of that kind.
        pub fn message(api_version: &str, kind: &str, message: &[u8]) -> Option<Result<Judged, DecodeError>> {
            $({
                use $($module)::+::*;
                $(if (api_version, kind) == ($version, stringify!($kind)) {
                    return Some(judge::<$kind>(message));
                })*
            })*
            None
        }
    };
}

kinds! {
    "v1" api::core::v1 {
        Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
        PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
    }
    "v1" meta { APIGroup APIGroupList APIResourceList APIVersions Status }
    "meta.k8s.io/v1" meta { PartialObjectMetadata }
    "admissionregistration.k8s.io/v1" api::admissionregistration::v1 {
        MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
        ValidatingWebhookConfiguration
    }
    "apiextensions.k8s.io/v1" apiextensions::v1 { CustomResourceDefinition }
    "apiregistration.k8s.io/v1" apiregistration::v1 { APIService }
    "apps/v1" api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
    "authentication.k8s.io/v1" api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
    "authorization.k8s.io/v1" api::authorization::v1 {
        LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
    }
    "autoscaling/v1" api::autoscaling::v1 { HorizontalPodAutoscaler Scale }
    "autoscaling/v2" api::autoscaling::v2 { HorizontalPodAutoscaler }
    "batch/v1" api::batch::v1 { CronJob Job }
    "certificates.k8s.io/v1" api::certificates::v1 { CertificateSigningRequest }
    "coordination.k8s.io/v1" api::coordination::v1 { Lease }
    "discovery.k8s.io/v1" api::discovery::v1 { EndpointSlice }
    "events.k8s.io/v1" api::events::v1 { Event }
    "flowcontrol.apiserver.k8s.io/v1" api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
    "networking.k8s.io/v1" api::networking::v1 { IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR }
    "node.k8s.io/v1" api::node::v1 { RuntimeClass }
    "policy/v1" api::policy::v1 { Eviction PodDisruptionBudget }
    "rbac.authorization.k8s.io/v1" api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding }
    "resource.k8s.io/v1" api::resource::v1 { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
    "scheduling.k8s.io/v1" api::scheduling::v1 { PriorityClass }
    "storage.k8s.io/v1" api::storage::v1 {
        CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
    }
    "storagemigration.k8s.io/v1beta1" api::storagemigration::v1beta1 { StorageVersionMigration }
}

//! Facts about types that their JSON schemas do not carry: how lists are shared and merged.
//!
//! Keyed by the last part of a type's name and the field. Fields that are not here are atomic and replaced.

use super::model::{self, Patch};

/// How two writers share a list.
#[derive(Clone, Copy)]
pub(super) enum ListKind {
    Atomic,
    Set,
    Map(&'static [&'static str]),
}

impl ListKind {
    /// As the model has it.
    pub(super) fn of_model(self) -> model::ListKind {
        match self {
            Self::Atomic => model::ListKind::Atomic,
            Self::Set => model::ListKind::Set,
            Self::Map(keys) => model::ListKind::Map(keys.iter().map(|key| (*key).to_owned()).collect()),
        }
    }
}

/// How a list is shared, and how a strategic merge patch treats the field.
pub(super) struct Fact {
    pub(super) of: &'static str,
    pub(super) field: &'static str,
    pub(super) list: ListKind,
    pub(super) patch: Patch,
}

const REPLACE: Patch = Patch { merge: false, retain_keys: false, key: None };
const MERGE: Patch = Patch { merge: true, retain_keys: false, key: None };

/// Shared item by item and merged, both by the same member.
const fn by(of: &'static str, field: &'static str, keys: &'static [&'static str]) -> Fact {
    merged_by(of, field, keys, keys[0])
}

const fn merged_by(
    of: &'static str,
    field: &'static str,
    keys: &'static [&'static str],
    key: &'static str,
) -> Fact {
    Fact { of, field, list: ListKind::Map(keys), patch: Patch { key: Some(key), ..MERGE } }
}

/// Merged by a member, and members that the patch does not name vanish.
const fn retaining(of: &'static str, field: &'static str, keys: &'static [&'static str]) -> Fact {
    let fact = by(of, field, keys);
    Fact { patch: Patch { retain_keys: true, ..fact.patch }, ..fact }
}

/// Shared item by item, replaced by patches.
const fn shared(of: &'static str, field: &'static str, keys: &'static [&'static str]) -> Fact {
    Fact { of, field, list: ListKind::Map(keys), patch: REPLACE }
}

/// Shared value by value, replaced by patches.
const fn set(of: &'static str, field: &'static str) -> Fact {
    Fact { of, field, list: ListKind::Set, patch: REPLACE }
}

/// Owned as a whole.
const fn atomic(of: &'static str, field: &'static str) -> Fact {
    Fact { of, field, list: ListKind::Atomic, patch: REPLACE }
}

const NAME: &[&str] = &["name"];
const TYPE: &[&str] = &["type"];

const FACTS: &[Fact] = &[
    by("APIServiceStatus", "conditions", TYPE),
    shared("AllocatedDeviceStatus", "conditions", TYPE),
    set("CSIDriverSpec", "volumeLifecycleModes"),
    by("CSINodeSpec", "drivers", NAME),
    shared("CertificateSigningRequestStatus", "conditions", TYPE),
    by("ComponentStatus", "conditions", TYPE),
    by("Container", "env", NAME),
    merged_by("Container", "ports", &["containerPort", "protocol"], "containerPort"),
    by("Container", "volumeDevices", &["devicePath"]),
    by("Container", "volumeMounts", &["mountPath"]),
    set("ContainerRestartRuleOnExitCodes", "values"),
    by("ContainerStatus", "allocatedResourcesStatus", NAME),
    by("ContainerStatus", "volumeMounts", &["mountPath"]),
    shared("CustomResourceDefinitionStatus", "conditions", TYPE),
    by("DaemonSetStatus", "conditions", TYPE),
    Fact { patch: Patch { retain_keys: true, ..REPLACE }, ..atomic("DeploymentSpec", "strategy") },
    by("DeploymentStatus", "conditions", TYPE),
    set("Endpoint", "addresses"),
    by("EphemeralContainer", "env", NAME),
    merged_by("EphemeralContainer", "ports", &["containerPort", "protocol"], "containerPort"),
    by("EphemeralContainer", "volumeDevices", &["devicePath"]),
    by("EphemeralContainer", "volumeMounts", &["mountPath"]),
    by("FlowSchemaStatus", "conditions", TYPE),
    by("HorizontalPodAutoscalerStatus", "conditions", TYPE),
    by("JSONSchemaProps", "x-kubernetes-validations", &["rule"]),
    Fact { patch: Patch { key: Some("type"), ..MERGE }, ..atomic("JobStatus", "conditions") },
    by("MutatingAdmissionPolicySpec", "matchConditions", NAME),
    by("MutatingWebhook", "matchConditions", NAME),
    by("MutatingWebhookConfiguration", "webhooks", NAME),
    by("NamespaceStatus", "conditions", TYPE),
    set("NodeAllocatableResourceClaimStatus", "containers"),
    Fact { patch: MERGE, ..set("NodeSpec", "podCIDRs") },
    by("NodeStatus", "addresses", TYPE),
    by("NodeStatus", "conditions", TYPE),
    set("NonResourcePolicyRule", "nonResourceURLs"),
    set("NonResourcePolicyRule", "verbs"),
    Fact { patch: MERGE, ..set("ObjectMeta", "finalizers") },
    by("ObjectMeta", "ownerReferences", &["uid"]),
    by("PersistentVolumeClaimStatus", "conditions", TYPE),
    by("PodDisruptionBudgetStatus", "conditions", TYPE),
    set("PodFailurePolicyOnExitCodesRequirement", "values"),
    by("PodSpec", "containers", NAME),
    by("PodSpec", "ephemeralContainers", NAME),
    by("PodSpec", "hostAliases", &["ip"]),
    by("PodSpec", "imagePullSecrets", NAME),
    by("PodSpec", "initContainers", NAME),
    retaining("PodSpec", "resourceClaims", NAME),
    by("PodSpec", "schedulingGates", NAME),
    merged_by("PodSpec", "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"], "topologyKey"),
    retaining("PodSpec", "volumes", NAME),
    by("PodStatus", "conditions", TYPE),
    Fact { patch: Patch { key: Some("ip"), ..MERGE }, ..atomic("PodStatus", "hostIPs") },
    by("PodStatus", "podIPs", &["ip"]),
    retaining("PodStatus", "resourceClaimStatuses", NAME),
    by("PriorityLevelConfigurationStatus", "conditions", TYPE),
    by("ReplicaSetStatus", "conditions", TYPE),
    by("ReplicationControllerStatus", "conditions", TYPE),
    shared("ResourceClaimStatus", "devices", &["driver", "device", "pool", "shareID"]),
    by("ResourceClaimStatus", "reservedFor", &["uid"]),
    set("ResourcePolicyRule", "apiGroups"),
    set("ResourcePolicyRule", "namespaces"),
    set("ResourcePolicyRule", "resources"),
    set("ResourcePolicyRule", "verbs"),
    shared("ResourceRequirements", "claims", NAME),
    shared("ResourceStatus", "resources", &["resourceID"]),
    by("ServiceAccount", "secrets", NAME),
    by("ServiceCIDRStatus", "conditions", TYPE),
    merged_by("ServiceSpec", "ports", &["port", "protocol"], "port"),
    by("ServiceStatus", "conditions", TYPE),
    by("StatefulSetStatus", "conditions", TYPE),
    by("StorageVersionMigrationStatus", "conditions", TYPE),
    set("UncountedTerminatedPods", "failed"),
    set("UncountedTerminatedPods", "succeeded"),
    set("ValidatingAdmissionPolicyBindingSpec", "validationActions"),
    by("ValidatingAdmissionPolicySpec", "matchConditions", NAME),
    by("ValidatingAdmissionPolicySpec", "variables", NAME),
    shared("ValidatingAdmissionPolicyStatus", "conditions", TYPE),
    by("ValidatingWebhook", "matchConditions", NAME),
    by("ValidatingWebhookConfiguration", "webhooks", NAME),
];

/// Types whose members are owned together; where a name has two types, with its group and version.
const ATOMIC_TYPES: &[&str] = &[
    "ConfigMapKeySelector",
    "EndpointAddress",
    "EndpointPort",
    "FileKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "MatchResources",
    "NamedRuleWithOperations",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "ParamKind",
    "ParamRef",
    "ResourceFieldSelector",
    "RoleRef",
    "ScopeSelector",
    "SecretKeySelector",
    "SecretReference",
    "ServiceBackendPort",
    "TopologySelectorTerm",
    "TypedLocalObjectReference",
    "Variable",
    "autoscaling.v1.CrossVersionObjectReference",
    "rbac.v1.Subject",
];

/// Maps that are owned and replaced as a whole.
const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("PodSpec", "nodeSelector"),
    ("ReplicationControllerSpec", "selector"),
    ("Scheduling", "nodeSelector"),
    ("ServiceSpec", "selector"),
];

/// Members of list keys that may be left out, and what that means.
const KEY_DEFAULTS: &[(&str, &str, &str)] =
    &[("ContainerPort", "protocol", "TCP"), ("ServicePort", "protocol", "TCP")];

/// The last part of a type's full name.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// What is known of a field.
pub(super) fn of(type_name: &str, field: &str) -> Option<&'static Fact> {
    let short = short(type_name);
    FACTS.iter().find(|fact| fact.of == short && fact.field == field)
}

/// Whether a type is owned as a whole.
pub(super) fn is_atomic_type(type_name: &str) -> bool {
    let is_it = |name: &&str| match type_name.strip_suffix(*name) {
        Some(before) => before.is_empty() || before.ends_with('.'),
        None => false,
    };
    ATOMIC_TYPES.iter().any(is_it)
}

/// Whether a map is owned as a whole.
pub(super) fn is_atomic_map(type_name: &str, field: &str) -> bool {
    ATOMIC_MAPS.contains(&(short(type_name), field))
}

/// What a missing member of a key stands for.
pub(super) fn key_default(type_name: &str, field: &str) -> Option<&'static str> {
    let short = short(type_name);
    KEY_DEFAULTS.iter().find(|(of, name, _)| *of == short && *name == field).map(|(_, _, value)| *value)
}

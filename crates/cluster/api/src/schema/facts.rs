//! Facts about types that their JSON schemas do not carry: how lists are shared and merged.
//!
//! Keyed by the last part of a type's name and the field. Fields that are not here are atomic and replaced.

use super::model::{ListKind, Patch};

/// How a list is shared, and how a strategic merge patch treats the field.
pub(super) struct Fact {
    pub(super) of: &'static str,
    pub(super) field: &'static str,
    pub(super) list: ListKind,
    pub(super) patch: Patch,
}

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
    Fact {
        of,
        field,
        list: ListKind::Map(keys),
        patch: Patch { merge: false, retain_keys: false, key: None },
    }
}

const NAME: &[&str] = &["name"];
const TYPE: &[&str] = &["type"];

const FACTS: &[Fact] = &[
    by("Container", "env", NAME),
    merged_by("Container", "ports", &["containerPort", "protocol"], "containerPort"),
    by("Container", "volumeDevices", &["devicePath"]),
    by("Container", "volumeMounts", &["mountPath"]),
    by("ContainerStatus", "allocatedResourcesStatus", NAME),
    by("ContainerStatus", "volumeMounts", &["mountPath"]),
    by("DeploymentStatus", "conditions", TYPE),
    Fact {
        of: "DeploymentSpec",
        field: "strategy",
        list: ListKind::Atomic,
        patch: Patch { merge: false, retain_keys: true, key: None },
    },
    Fact {
        of: "Endpoint",
        field: "addresses",
        list: ListKind::Set,
        patch: Patch { merge: false, retain_keys: false, key: None },
    },
    by("EphemeralContainer", "env", NAME),
    merged_by("EphemeralContainer", "ports", &["containerPort", "protocol"], "containerPort"),
    by("EphemeralContainer", "volumeDevices", &["devicePath"]),
    by("EphemeralContainer", "volumeMounts", &["mountPath"]),
    by("NamespaceStatus", "conditions", TYPE),
    Fact { of: "NodeSpec", field: "podCIDRs", list: ListKind::Set, patch: MERGE },
    by("NodeStatus", "addresses", TYPE),
    by("NodeStatus", "conditions", TYPE),
    Fact { of: "ObjectMeta", field: "finalizers", list: ListKind::Set, patch: MERGE },
    by("ObjectMeta", "ownerReferences", &["uid"]),
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
    Fact {
        of: "PodStatus",
        field: "hostIPs",
        list: ListKind::Atomic,
        patch: Patch { merge: true, retain_keys: false, key: Some("ip") },
    },
    by("PodStatus", "podIPs", &["ip"]),
    retaining("PodStatus", "resourceClaimStatuses", NAME),
    by("ReplicaSetStatus", "conditions", TYPE),
    shared("ResourceRequirements", "claims", NAME),
    by("ServiceAccount", "secrets", NAME),
    merged_by("ServiceSpec", "ports", &["port", "protocol"], "port"),
    by("ServiceStatus", "conditions", TYPE),
];

/// Types whose members are owned together.
const ATOMIC_TYPES: &[&str] = &[
    "ConfigMapKeySelector",
    "FileKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "ResourceFieldSelector",
    "SecretKeySelector",
    "SecretReference",
    "TypedLocalObjectReference",
];

/// Maps that are owned and replaced as a whole.
const ATOMIC_MAPS: &[(&str, &str)] = &[("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")];

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
    ATOMIC_TYPES.contains(&short(type_name))
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

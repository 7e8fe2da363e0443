//! `PersistentVolume`.

use super::super::columns::{Column, age, name};
use super::super::diff::Part;
use super::super::meta;
use super::super::row::{KindRow, Scope, Subresource};
use super::super::value::{at, object_mut, set_default, text};
use super::{access, check, class, or_unset, phase, source, spec};
use crate::protobuf::Layout;
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(in super::super) const ROW: KindRow = KindRow {
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    scope: Scope::Cluster,
    subresources: &[Subresource::status("", "v1", "PersistentVolume")],
    type_name: "io.k8s.api.core.v1.PersistentVolume",
    columns: &[
        Column::NAME,
        Column::text("Capacity", "How much it holds."),
        Column::text("Access Modes", "In which ways it can be mounted."),
        Column::text("Reclaim Policy", "What becomes of it when its claim is gone."),
        Column::text("Status", "Whether it is available, bound to a claim, released by one or failed."),
        Column::text("Claim", "The claim that it is bound to."),
        Column::text("StorageClass", "StorageClass of the pv"),
        Column::text("VolumeAttributesClass", "VolumeAttributesClass of the pv"),
        Column::text("Reason", "Why it failed."),
        Column::AGE,
        Column::text("VolumeMode", "Whether it is mounted as a file system or given as a device.").wide(),
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create,
    prepare_update: meta::keep_status_uncounted,
    warnings: crate::kinds::warnings::volume,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let get = |path: &[&str]| text(object, path);
    let claim = at(object, &["spec", "claimRef"])
        .map(|claim| format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"])));
    let capacity = at(object, &["spec", "capacity", "storage"]).and_then(Value::as_str).unwrap_or("0");
    vec![
        name(object),
        capacity.into(),
        access(object, &["spec", "accessModes"]).into(),
        get(&["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(object).into(),
        claim.unwrap_or_default().into(),
        class(object).into(),
        or_unset(get(&["spec", "volumeAttributesClassName"])),
        get(&["status", "reason"]).into(),
        age(object, now),
        or_unset(get(&["spec", "volumeMode"])),
    ]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
        set_default(spec, "volumeMode", "Filesystem");
        source::default(spec);
    }
    if let Some(status) = object_mut(object, &["status"]) {
        set_default(status, "phase", "Pending");
    }
}

/// A volume enters its first phase when it is made.
fn prepare_create(object: &mut Value) {
    meta::start_uncounted(object);
    let mut status = json!({ "phase": "Pending" });
    if let Some(at) = at(object, &["metadata", "creationTimestamp"]) {
        status["lastPhaseTransitionTime"] = at.clone();
    }
    object["status"] = status;
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    spec::validate(&object["spec"], text(object, &["metadata", "name"]), "spec", &mut causes);
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let (mut causes, is, was) = (Faults::new(), &new["spec"], &old["spec"]);
    if sources(is, was) != sources(was, was) {
        const FIXED: &str = "spec.persistentvolumesource is immutable after creation";
        let told = SOURCE.told(FIXED, is, was);
        causes.push(field::forbidden("spec.persistentvolumesource", told.as_deref().unwrap_or(FIXED)));
    }
    check::immutable(is, was, &["volumeMode"], "", &mut causes);
    affinity(is, was, &mut causes);
    const CLASS: &str = "volumeAttributesClassName";
    if was.get(CLASS).is_some() && is.get(CLASS).is_none() {
        let detail = "update from non-nil value to nil is forbidden";
        causes.push(field::forbidden(field::child("spec", CLASS), detail));
    }
    causes
}

/// The source of a volume as upstream's server has it.
const SOURCE: Part = Part {
    api_version: "v1",
    kind: "PersistentVolume",
    path: &["spec", "persistent_volume_source"],
    layout: Layout {
        order: &[
            "gcePersistentDisk",
            "awsElasticBlockStore",
            "hostPath",
            "glusterfs",
            "nfs",
            "rbd",
            "quobyte",
            "iscsi",
            "flexVolume",
            "cinder",
            "cephfs",
            "fc",
            "flocker",
            "azureFile",
            "vsphereVolume",
            "azureDisk",
            "photonPersistentDisk",
            "portworxVolume",
            "scaleIO",
            "local",
            "storageos",
            "csi",
        ],
        without: &[],
    },
};

/// Labels of a beta may be replaced by those that came after them, and nothing else.
const RENAMED: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

fn affinity(is: &Value, was: &Value, causes: &mut Faults) {
    let Some(before) = was.get("nodeAffinity") else { return };
    let after = is.get("nodeAffinity").cloned().unwrap_or(Value::Null);
    if renamed(&after, before) != after {
        let detail = "field is immutable, except for updating from beta label to GA";
        causes.push(field::invalid("nodeAffinity", after, detail));
    }
}

/// What was there before, with the names of labels that a change of it may have.
fn renamed(after: &Value, before: &Value) -> Value {
    let mut before = before.clone();
    let terms = |affinity: &Value| super::items(affinity, &["required", "nodeSelectorTerms"]).to_vec();
    for (index, term) in terms(&before).iter().enumerate() {
        for (at, demand) in super::items(term, &["matchExpressions"]).iter().enumerate() {
            let pointer = format!("/required/nodeSelectorTerms/{index}/matchExpressions/{at}/key");
            let (is, was) = (after.pointer(&pointer).and_then(Value::as_str), text(demand, &["key"]));
            let is_renamed = is.is_some_and(|is| RENAMED.contains(&(was, is)));
            if let (true, Some(key), Some(is)) = (is_renamed, before.pointer_mut(&pointer), is) {
                *key = is.into();
            }
        }
    }
    before
}

/// The sources of a spec, without the secret for growing the volume, which may be added later.
fn sources(spec: &Value, before: &Value) -> Vec<Option<Value>> {
    const SECRET: &str = "controllerExpandSecretRef";
    let of = |name: &&str| {
        let mut source = spec.get(name).cloned()?;
        if let Some(source) = source.as_object_mut()
            && *name == "csi"
            && before["csi"].get(SECRET).is_none()
        {
            source.remove(SECRET);
        }
        Some(source)
    };
    source::SOURCES.iter().map(of).collect()
}

//! `PersistentVolumeClaim`.

use super::super::columns::{Column, age, name};
use super::super::diff::Part;
use super::super::row::{KindRow, Subresource};
use super::super::value::{at, members, object_mut, set_default, text};
use super::super::{check, meta, resource_names};
use super::{CLASS, access, class, or_unset, phase, positive, shared};
use crate::protobuf::Layout;
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(in super::super) const ROW: KindRow = KindRow {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    subresources: &[Subresource::status("", "v1", "PersistentVolumeClaim")],
    type_name: "io.k8s.api.core.v1.PersistentVolumeClaim",
    columns: &[
        Column::NAME,
        Column::text("Status", "Whether it has a volume, waits for one or lost it."),
        Column::text("Volume", "The volume that it is bound to."),
        Column::text("Capacity", "How much the volume holds."),
        Column::text("Access Modes", "In which ways the volume can be mounted."),
        Column::text("StorageClass", "StorageClass of the pvc"),
        Column::text("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
        Column::AGE,
        Column::text("VolumeMode", "Whether it is mounted as a file system or given as a device.").wide(),
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create,
    prepare_update,
    warnings: crate::kinds::warnings::claim,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let get = |path: &[&str]| text(object, path);
    let volume = get(&["spec", "volumeName"]);
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = at(object, &["status", "capacity", "storage"]).and_then(Value::as_str);
        (capacity.unwrap_or("0").to_owned(), access(object, &["status", "accessModes"]))
    };
    vec![
        name(object),
        phase(object).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        class(object).into(),
        or_unset(get(&["spec", "volumeAttributesClassName"])),
        age(object, now),
        or_unset(get(&["spec", "volumeMode"])),
    ]
}

/// Fills in a claim, of its own or in a set.
pub(in super::super) fn default(object: &mut Value) {
    for (part, name, value) in [("spec", "volumeMode", "Filesystem"), ("status", "phase", "Pending")] {
        if let Some(part) = object_mut(object, &[part]) {
            set_default(part, name, value);
        }
    }
}

fn prepare_create(object: &mut Value) {
    meta::start_uncounted(object);
    share_source(object);
}

fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status_uncounted(new, old);
    share_source(new);
}

/// A source of data has two names: old clients know the first, new ones the second.
fn share_source(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None) => {
            spec.insert("dataSourceRef".to_owned(), source);
        }
        (None, Some(reference)) if text(&reference, &["namespace"]).is_empty() => {
            spec.insert("dataSource".to_owned(), reference);
        }
        _ => {}
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    validate_spec(&object["spec"], "spec", &mut causes);
    status(&object["status"], &mut causes);
    causes
}

/// All faults of the spec of a claim, of its own or one that a pod makes.
pub(in super::super) fn validate_spec(spec: &Value, path: &str, causes: &mut Faults) {
    shared(spec, path, "at least 1 access mode is required", causes);
    check::selector(spec, "selector", path, causes);
    let storage = at(spec, &["resources", "requests", "storage"]);
    let storage_path = field::child(path, "resources[storage]");
    if storage.is_none() {
        causes.push(field::required(&storage_path, ""));
    }
    positive(storage, &storage_path, causes);
    sources(spec, path, causes);
}

fn sources(spec: &Value, path: &str, causes: &mut Faults) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for (name, source) in [("dataSource", source), ("dataSourceRef", reference)] {
        if let Some(source) = source {
            self::source(source, &field::child(path, name), causes);
        }
    }
    let (Some(source), Some(reference)) = (source, reference) else { return };
    let is_same = ["apiGroup", "kind", "name"].iter().all(|it| source.get(it) == reference.get(it));
    let which = field::child(path, "dataSource");
    if !text(reference, &["namespace"]).is_empty() {
        let detail = "may not be specified when dataSourceRef.namespace is specified";
        causes.push(field::invalid(path, which, detail));
    } else if !is_same {
        causes.push(field::invalid(path, which, "must match dataSourceRef"));
    }
}

fn source(source: &Value, path: &str, causes: &mut Faults) {
    for name in ["name", "kind"] {
        if text(source, &[name]).is_empty() {
            causes.push(field::required(field::child(path, name), ""));
        }
    }
    let (group, kind) = (text(source, &["apiGroup"]), text(source, &["kind"]));
    if !group.is_empty() {
        check::syntax(names::dns_subdomain(group), group, field::child(path, "apiGroup"), causes);
    } else if kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        causes.push(field::invalid(path, kind, detail));
    }
    let namespace = text(source, &["namespace"]);
    if !namespace.is_empty() {
        check::syntax(names::dns_label(namespace), namespace, field::child(path, "namespace"), causes);
    }
}

const RESIZING: &[&str] = &[
    "ControllerResizeFailed",
    "ControllerResizeInProgress",
    "NodeResizeFailed",
    "NodeResizeInProgress",
    "NodeResizePending",
];

fn status(status: &Value, causes: &mut Faults) {
    for list in ["capacity", "allocatedResources"] {
        let path = field::child("status", list);
        for (name, value) in members(status, &[list]) {
            if let Some(amount) = check::quantity(Some(value)).filter(|amount| amount.is_negative()) {
                let path = field::key(&path, name);
                causes.push(field::invalid(path, amount.units(), "must be a valid resource quantity"));
            }
            if list == "allocatedResources" {
                resource_key(name, &path, causes);
            }
        }
    }
    const PATH: &str = "status.allocatedResourceStatus";
    for (name, state) in members(status, &["allocatedResourceStatuses"]) {
        resource_key(name, PATH, causes);
        if !state.as_str().is_some_and(|state| RESIZING.contains(&state)) {
            causes.push(field::not_supported(PATH, name.as_str(), RESIZING));
        }
    }
}

/// Of the platform's own resources, a claim has storage alone.
fn resource_key(name: &str, path: &str, causes: &mut Faults) {
    let complaints = names::qualified_name(name);
    let is_sound = complaints.is_empty();
    check::syntax(complaints, name, path, causes);
    if is_sound && resource_names::is_native(name) && name != "storage" {
        causes.push(field::not_supported(path, name, &["storage"]));
    }
}

const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const ATTRIBUTES: &str = "volumeAttributesClassName";

fn validate_update(new: &Value, old: &Value) -> Faults {
    let (mut causes, is, was) = (Faults::new(), &new["spec"], &old["spec"]);
    let annotation = |object: &Value| text(object, &["metadata", "annotations", CLASS]).to_owned();
    if annotation(new) != annotation(old) && !is_renamed(new, old) {
        let path = field::child("metadata.annotations", CLASS);
        causes.push(field::invalid(path, annotation(new), check::IMMUTABLE));
    }
    if fixed(is, new, old) != fixed(was, new, old) {
        let told = SPEC.told(FIXED, &shown(new, old), was);
        causes.push(field::forbidden("spec", told.as_deref().unwrap_or(FIXED)));
    }
    size(new, old, &mut causes);
    check::immutable(is, was, &["volumeMode"], "", &mut causes);
    attributes(is, was, &mut causes);
    causes
}

/// Whether the class that an annotation said is now said by the field.
fn is_renamed(new: &Value, old: &Value) -> bool {
    let of = |object| text(object, &["metadata", "annotations", CLASS]);
    let class = |object| at(object, &["spec", "storageClassName"]).and_then(Value::as_str);
    !of(old).is_empty()
        && class(old).is_none()
        && class(new) == Some(of(old))
        && (of(new).is_empty() || of(new) == of(old))
}

/// What of a spec may not change, given what the claim was.
fn fixed(spec: &Value, new: &Value, old: &Value) -> Map<String, Value> {
    let mut spec = spec.clone();
    let is_bound = text(new, &["status", "phase"]) == "Bound";
    if is_bound && let Some(requests) = object_mut(&mut spec, &["resources", "requests"]) {
        requests.remove("storage");
    }
    let mut spec = spec.as_object().cloned().unwrap_or_default();
    spec.remove(ATTRIBUTES);
    let (is, was) = (&new["spec"], &old["spec"]);
    if text(was, &["volumeName"]).is_empty() {
        spec.remove("volumeName");
    }
    let of_old = text(old, &["metadata", "annotations", CLASS]);
    let (given, before) = (is.get("storageClassName"), was.get("storageClassName"));
    let may_get_class = of_old.is_empty() || given.is_some_and(|class| class == of_old);
    if before.is_none() && given.is_some() && may_get_class {
        spec.remove("storageClassName");
    }
    spec
}

/// The spec of a claim as upstream's server has it.
const SPEC: Part = Part {
    api_version: "v1",
    kind: "PersistentVolumeClaim",
    path: &["spec"],
    layout: Layout { order: &["accessModes", "selector"], without: &[] },
};

/// The new spec with what was there before of what may change.
fn shown(new: &Value, old: &Value) -> Value {
    let mut spec = Value::Object(fixed(&new["spec"], new, old));
    let left = fixed(&old["spec"], new, old);
    for (name, value) in members(old, &["spec"]) {
        if left.get(name) != Some(value) && spec.get(name).is_none() {
            spec[name] = value.clone();
        }
    }
    if let (true, Some(storage)) =
        (text(new, &["status", "phase"]) == "Bound", at(old, &["spec", "resources", "requests", "storage"]))
    {
        spec["resources"]["requests"]["storage"] = storage.clone();
    }
    spec
}

/// A claim grows; it shrinks back only as long as its volume did not grow.
fn size(new: &Value, old: &Value, causes: &mut Faults) {
    let requested = |object| check::quantity(at(object, &["spec", "resources", "requests", "storage"]));
    let had = check::quantity(at(old, &["status", "capacity", "storage"]));
    if let (Some(is), Some(was)) = (requested(new), requested(old))
        && is < was
        && had.is_some_and(|had| is <= had)
    {
        let detail = "field can not be less than status.capacity";
        causes.push(field::forbidden("spec.resources.requests.storage", detail));
    }
}

fn attributes(is: &Value, was: &Value, causes: &mut Faults) {
    if was.get(ATTRIBUTES).is_none() {
        return;
    }
    let detail = match is.get(ATTRIBUTES) {
        None => "update from non-nil value to nil is forbidden",
        Some(class) if class == "" && was[ATTRIBUTES] != "" => {
            "update from non-nil value to an empty string is forbidden"
        }
        Some(_) => return,
    };
    causes.push(field::forbidden(field::child("spec", ATTRIBUTES), detail));
}

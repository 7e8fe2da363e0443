//! `VolumeAttachment`.

use super::super::columns::{Column, age, name};
use super::super::row::{KindRow, Scope, Subresource};
use super::super::value::{members, number, object_mut, set_default, text};
use super::super::volume::spec::validate_inline;
use super::super::{check, meta};
use super::GROUP;
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    scope: Scope::Cluster,
    subresources: &[Subresource::status(GROUP, "v1", "VolumeAttachment")],
    type_name: "io.k8s.api.storage.v1.VolumeAttachment",
    columns: &[
        Column::NAME,
        Column { format: "name", ..Column::text("Attacher", "The driver that attaches.") },
        Column::text("PV", "The volume to attach."),
        Column::text("Node", "The node to attach it to."),
        Column { kind: "boolean", ..Column::text("Attached", "Whether it is attached.") },
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create: meta::start_uncounted,
    prepare_update: meta::keep_status_uncounted,
    prepare_part: meta::keep_all_but_the_status,
    ..KindRow::BASE
};

const METADATA_MAX: usize = 256 << 10;
const MESSAGE_MAX: usize = 1024;
const VOLUME: &[&str] = &["spec", "source", "persistentVolumeName"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let get = |path: &[&str]| text(object, path).into();
    vec![
        name(object),
        get(&["spec", "attacher"]),
        get(VOLUME),
        get(&["spec", "nodeName"]),
        (object["status"]["attached"] == Value::Bool(true)).into(),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    if let Some(status) = object_mut(object, &["status"]) {
        set_default(status, "attached", false);
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    check::driver(text(object, &["spec", "attacher"]), "spec.attacher", &mut causes);
    source(&object["spec"]["source"], &mut causes);
    let node = text(object, &["spec", "nodeName"]);
    check::syntax(names::dns_subdomain(node), node, "spec.nodeName", &mut causes);
    status(&object["status"], &mut causes);
    causes
}

fn source(source: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.source";
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (source.get("inlineVolumeSpec"), source.get("persistentVolumeName").and_then(Value::as_str)) {
        (None, None) => causes.push(field::required(PATH, ONE)),
        (Some(_), Some(_)) => causes.push(field::forbidden(PATH, ONE)),
        (Some(inline), None) => validate_inline(inline, "spec.source.inlineVolumeSpec", causes),
        (None, Some(volume)) => {
            let path = field::child(PATH, "persistentVolumeName");
            if volume.is_empty() {
                causes.push(field::required(&path, "must specify non empty persistentVolumeName"));
            }
            check::syntax(names::dns_subdomain(volume), volume, &path, causes);
        }
    }
}

fn status(status: &Value, causes: &mut Faults) {
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().unwrap_or("").len();
    if members(status, &["attachmentMetadata"]).map(size).sum::<usize>() > METADATA_MAX {
        causes.push(field::too_long("status.attachmentMetadata", METADATA_MAX));
    }
    for name in ["attachError", "detachError"] {
        if text(status, &[name, "message"]).len() > MESSAGE_MAX {
            let path = field::child(&field::child("status", name), "message");
            // The original names the other limit.
            causes.push(field::too_long(path, METADATA_MAX));
        }
        if let Some(code) = number(status, &[name, "errorCode"]).filter(|code| *code < 0) {
            let path = field::child(&field::child("status", name), "errorCode");
            causes.push(field::invalid(path, code, "must be between 0 and 2147483647, inclusive"));
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    check::immutable(new, old, &["spec"], "", &mut causes);
    causes
}

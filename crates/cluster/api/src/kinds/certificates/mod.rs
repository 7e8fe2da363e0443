//! `CertificateSigningRequest`.

mod pem;
mod validate;

pub(crate) use pem::requested_organizations;

use super::columns::{Column, age, name, or_none};
use super::place::{Faults, Place, path_segment};
use super::row::{KindRow, PartWrite, Scope, Subresource};
use super::value::{at, each_mut, items, object_mut, text};
use super::{conditions, meta};
use crate::auth::Identity;
use hako_kube::time::human_age;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

const GROUP: &str = "certificates.k8s.io";

pub(super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    scope: Scope::Cluster,
    subresources: &[
        Subresource { name: "approval", ..Subresource::status(GROUP, "v1", "CertificateSigningRequest") },
        Subresource::status(GROUP, "v1", "CertificateSigningRequest"),
    ],
    type_name: "io.k8s.api.certificates.v1.CertificateSigningRequest",
    columns: &[
        Column::NAME,
        Column::AGE,
        Column::text("SignerName", "Who is asked to sign."),
        Column::text("Requestor", "Who asks."),
        Column::text("RequestedDuration", "For how long the certificate should be valid."),
        Column::text("Condition", "What became of the request."),
    ],
    cells,
    // Whoever asks may name the request as they like, as long as the name stays within a path.
    name_faults: path_segment,
    default,
    validate: validate::object,
    validate_part: validate::part,
    prepare_create,
    note_sender,
    prepare_update,
    prepare_part,
    selectable,
    selectable_fields: &["spec.signerName"],
    ..KindRow::BASE
};

/// What only whoever may approve sets and changes.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let seconds = at(object, &["spec", "expirationSeconds"]).and_then(Value::as_i64);
    vec![
        name(object),
        age(object, now),
        or_none(text(object, &["spec", "signerName"])),
        text(object, &["spec", "username"]).into(),
        or_none(&seconds.map(human_age).unwrap_or_default()),
        condition(object).into(),
    ]
}

fn condition(object: &Value) -> String {
    let conditions = items(object, &["status", "conditions"]);
    let has = |kind: &str| conditions.iter().any(|condition| text(condition, &["type"]) == kind);
    let mut shown = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied".to_owned(),
        (false, true) => "Approved".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    if has("Failed") {
        shown.push_str(",Failed");
    }
    if !text(object, &["status", "certificate"]).is_empty() {
        shown.push_str(",Issued");
    }
    shown
}

fn default(object: &mut Value) {
    object_mut(object, &["status"]);
}

/// Who asks is not for the sender to say: only the identity of the request can tell.
fn prepare_create(object: &mut Value) {
    meta::no_generation(object);
    if let Some(spec) = object_mut(object, &["spec"]) {
        for own in ["username", "uid", "groups", "extra"] {
            spec.remove(own);
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), json!({}));
    }
}

/// The signer has to know who asks.
fn note_sender(object: &mut Value, sender: &Identity) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    spec.insert("username".to_owned(), sender.user.as_str().into());
    spec.insert("groups".to_owned(), json!(sender.groups));
    if !sender.uid.is_empty() {
        spec.insert("uid".to_owned(), sender.uid.as_str().into());
    }
    if !sender.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(sender.extra));
    }
}

/// A request stays what it is: all that happens to it happens through its parts.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
    let spec = old.get("spec").cloned();
    if let Some((map, spec)) = new.as_object_mut().zip(spec) {
        map.insert("spec".to_owned(), spec);
    }
}

/// `approval` changes the conditions alone, `status` what is no decision.
fn prepare_part(new: &mut Value, old: &Value, part: &PartWrite<'_>) {
    meta::keep_all_but_the_part(new, old, part);
    object_mut(new, &["status"]);
    if part.name == "approval" {
        keep_certificate(new, old);
    } else {
        keep_decisions(new, old);
    }
    stamp(new, old, part.now);
}

fn keep_certificate(new: &mut Value, old: &Value) {
    let certificate = at(old, &["status", "certificate"]).cloned();
    let Some(status) = object_mut(new, &["status"]) else { return };
    match certificate {
        Some(certificate) => status.insert("certificate".to_owned(), certificate),
        None => status.remove("certificate"),
    };
}

/// Decisions stay as they were; where some came or went, validation says so.
fn keep_decisions(new: &mut Value, old: &Value) {
    for kind in DECISIONS {
        let had = of_type(old, kind);
        if had.len() != of_type(new, kind).len() {
            continue;
        }
        let mut had = had.into_iter().cloned();
        let Some(status) = object_mut(new, &["status"]) else { return };
        let same = each_mut(status, "conditions")
            .filter(|condition| condition.get("type").and_then(Value::as_str) == Some(kind));
        for condition in same {
            if let Some(Value::Object(before)) = had.next() {
                *condition = before;
            }
        }
    }
}

fn of_type<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    let conditions = items(object, &["status", "conditions"]);
    conditions.iter().filter(|condition| text(condition, &["type"]) == kind).collect()
}

/// Says since when a condition holds, where the writer does not.
fn stamp(new: &mut Value, old: &Value, now: &str) {
    let Some(status) = object_mut(new, &["status"]) else { return };
    let identity =
        |condition: &Map<String, Value>| ["type", "status"].map(|name| condition.get(name).cloned());
    // Of those that say the same, the first counts.
    let had = items(old, &["status", "conditions"]).iter().rev();
    let had: HashMap<_, &Value> =
        had.filter_map(|before| Some((identity(before.as_object()?), before))).collect();
    for condition in each_mut(status, "conditions") {
        let before = had.get(&identity(condition));
        let since =
            before.map(|before| text(before, &["lastTransitionTime"])).filter(|since| !since.is_empty());
        let since = since.unwrap_or(now).to_owned();
        condition.entry("lastUpdateTime").or_insert_with(|| now.into());
        condition.entry("lastTransitionTime").or_insert_with(|| since.into());
    }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    vec![("spec.signerName", text(object, &["spec", "signerName"]).to_owned())]
}

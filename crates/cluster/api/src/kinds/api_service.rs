//! `APIService`.

use super::columns::{Column, age, name};
use super::custom_resource::{condition, set_condition};
use super::place::{Faults, Place, path_segment};
use super::registry::Kinds;
use super::row::{KindRow, Scope, Subresource};
use super::value::{at, items, object_mut, set_default, text};
use super::{meta, webhooks};
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::{Value, json};

const GROUP: &str = "apiregistration.k8s.io";

pub(super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    subresources: &[Subresource::status(GROUP, "v1", "APIService")],
    type_name: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    columns: &[
        Column::NAME,
        Column::text("Service", "The service that answers requests of this version of a group."),
        Column::text("Available", "Whether it answers."),
        Column::AGE,
    ],
    cells,
    name_faults: path_segment,
    default,
    validate,
    prepare_create,
    prepare_update,
    prepare_part: meta::keep_all_but_the_status,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let service = match at(object, &["spec", "service"]) {
        Some(service) => format!("{}/{}", text(service, &["namespace"]), text(service, &["name"])),
        None => "Local".to_owned(),
    };
    vec![name(object), service.into(), available(object).into(), age(object, now)]
}

fn available(object: &Value) -> String {
    let conditions = items(object, &["status", "conditions"]);
    let condition = conditions.iter().find(|condition| text(condition, &["type"]) == "Available");
    let Some(condition) = condition else { return "Unknown".to_owned() };
    match text(condition, &["status"]) {
        "True" => "True".to_owned(),
        status => format!("{status} ({})", text(condition, &["reason"])),
    }
}

fn default(object: &mut Value) {
    if at(object, &["spec", "service"]).is_some()
        && let Some(service) = object_mut(object, &["spec", "service"])
    {
        set_default(service, "port", 443);
    }
    if let Some(map) = object.as_object_mut() {
        set_default(map, "status", json!({}));
    }
}

const LOCAL: &str = "Local APIServices are always available";

/// What this server serves itself is available from the start.
fn prepare_create(object: &mut Value) {
    meta::no_generation(object);
    let since = text(object, &["metadata", "creationTimestamp"]).to_owned();
    let is_local = is_local(object);
    let mut local = local();
    if !since.is_empty() {
        local["lastTransitionTime"] = since.into();
    }
    if let Some(map) = object.as_object_mut() {
        let status = if is_local { json!({ "conditions": [local] }) } else { json!({}) };
        map.insert("status".to_owned(), status);
    }
}

fn is_local(object: &Value) -> bool {
    at(object, &["spec", "service"]).is_none()
}

fn local() -> Value {
    json!({
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": LOCAL,
    })
}

/// One that no service serves any longer is available.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
    if is_local(new) && !is_local(old) {
        set_condition(new, condition("Available", "True", "Local", LOCAL));
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let (group, version) = (spec.at(&["group"]), spec.at(&["version"]));
    let (name, wanted) =
        (text(object, &["metadata", "name"]), format!("{}.{}", version.text(), group.text()));
    if name != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        faults.push(field::invalid("metadata.name", name, &detail));
    }
    if group.is_empty() && version.text() != "v1" {
        faults.push(group.required("only v1 may have an empty group and it better be legacy kube"));
    }
    if spec.at(&["service"]).is_set() && is_own(group.text()) {
        faults.push(group.forbidden("is a group of this server itself, and no service serves it"));
    }
    group.check_given(names::dns_subdomain, &mut faults);
    version.check(names::dns_1035_label, &mut faults);
    priority(&spec.at(&["groupPriorityMinimum"]), 20_000, &mut faults);
    priority(&spec.at(&["versionPriority"]), 1_000, &mut faults);
    trust(&spec, &mut faults);
    for condition in Place::of(object).at(&["status", "conditions"]).items() {
        condition.at(&["status"]).one_of(&["True", "False", "Unknown"], &mut faults);
    }
    faults
}

/// Whether kinds of the program are in a group.
fn is_own(group: &str) -> bool {
    Kinds::built_in().all().iter().any(|row| row.group == group)
}

fn priority(priority: &Place<'_>, most: i64, faults: &mut Faults) {
    if !(1..=most).contains(&priority.number()) {
        faults.push(priority.invalid_number(&format!("must be positive and less than {most}")));
    }
}

/// Where the answers come from, and whether to believe them.
fn trust(spec: &Place<'_>, faults: &mut Faults) {
    let (service, bundle) = (spec.at(&["service"]), spec.at(&["caBundle"]));
    let insecure = spec.at(&["insecureSkipTLSVerify"]);
    if service.is_set() {
        webhooks::service_name(&service, faults);
        webhooks::service_port(&service.at(&["port"]), faults);
        if insecure.is_true() && !bundle.is_empty() {
            faults.push(insecure.invalid("may not be true if caBundle is present"));
        }
        return;
    }
    if !bundle.is_empty() {
        let size = format!("{} bytes", bundle.text().len() / 4 * 3);
        let detail = "local APIServices may not have a caBundle";
        faults.push(field::invalid(bundle.path(), size, detail));
    }
    if insecure.is_true() {
        faults.push(insecure.invalid("local APIServices may not have insecureSkipTLSVerify"));
    }
}

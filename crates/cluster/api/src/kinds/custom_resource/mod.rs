//! `CustomResourceDefinition`: the definition as an object; what it defines is `defined`'s.

mod names;
mod schema;
mod selectable;
mod status;
mod versions;

pub(crate) use status::{approval, condition, condition_of, set_condition};

use super::columns::{Column, name};
use super::place::{Faults, Place};
use super::row::{KindRow, Scope, Subresource};
use super::value::{each_mut, items, object_mut, set_default, text};
use super::{meta, webhooks};
use crate::webhook_client::ClientConfig;
use hako_kube::field;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

const GROUP: &str = "apiextensions.k8s.io";
/// The finalizer of definitions whose objects are still there.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    subresources: &[Subresource::status(GROUP, "v1", "CustomResourceDefinition")],
    type_name: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    columns: &[
        Column::NAME,
        Column { kind: "date", ..Column::text("Created At", "When the object was created.") },
    ],
    cells,
    default,
    validate,
    validate_create,
    validate_update,
    prepare_create,
    prepare_update,
    begin_deletion,
    prepare_part: meta::keep_all_but_the_status,
    warnings: crate::kinds::warnings::definition,
    ..KindRow::BASE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, &["metadata", "creationTimestamp"]).into()]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "conversion", json!({ "strategy": "None" }));
        let config =
            spec.get_mut("conversion").and_then(|it| it.pointer_mut("/webhook/clientConfig/service"));
        if let Some(service) = config.and_then(Value::as_object_mut) {
            set_default(service, "port", 443);
        }
        for version in each_mut(spec, "versions") {
            for column in each_mut(version, "additionalPrinterColumns") {
                if column.get("priority") == Some(&json!(0)) {
                    column.remove("priority");
                }
            }
        }
    }
    let kind = text(object, &["spec", "names", "kind"]).to_owned();
    if !kind.is_empty()
        && let Some(names) = object_mut(object, &["spec", "names"])
    {
        set_default(names, "singular", kind.to_lowercase());
        set_default(names, "listKind", format!("{kind}List"));
    }
}

/// Nothing is accepted yet; the first version stored is that of the definition.
fn prepare_create(object: &mut Value) {
    meta::start(object);
    let stored: Vec<&str> = storage_versions(object);
    let status = json!({
        "conditions": [],
        "acceptedNames": { "plural": "", "kind": "" },
        "storedVersions": stored,
    });
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}

/// A version that was stored once stays named until somebody says that nothing is left of it.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    let storage: Vec<Value> = storage_versions(new).into_iter().map(Value::from).collect();
    let Some(status) = object_mut(new, &["status"]) else { return };
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(stored) = stored.as_array_mut() {
        let missing: Vec<Value> = storage.into_iter().filter(|version| !stored.contains(version)).collect();
        stored.extend(missing);
    }
}

/// What is defined goes first: until then the definition is held.
fn begin_deletion(object: &mut Value) {
    if let Some(metadata) = object_mut(object, &["metadata"]) {
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut().filter(|list| !list.contains(&json!(CLEANUP))) {
            list.push(CLEANUP.into());
        }
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(object, condition("Terminating", "True", "InstanceDeletionPending", message));
}

/// The versions marked as stored; a sound definition has one.
fn storage_versions(object: &Value) -> Vec<&str> {
    let versions = items(object, &["spec", "versions"]).iter();
    versions.filter(|it| it["storage"] == json!(true)).map(|it| text(it, &["name"])).collect()
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let (name, plural) = (text(object, &["metadata", "name"]), text(object, &["spec", "names", "plural"]));
    if name != format!("{plural}.{}", spec.at(&["group"]).text()) {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        faults.push(field::invalid("metadata.name", name, detail));
    }
    names::validate(&spec, &mut faults);
    let scope = spec.at(&["scope"]);
    if scope.is_empty() {
        faults.push(scope.required(""));
    } else {
        scope.one_of(&["Cluster", "Namespaced"], &mut faults);
    }
    versions::validate(&spec, &mut faults);
    conversion(&spec.at(&["conversion"]), &mut faults);
    let unknown = spec.at(&["preserveUnknownFields"]);
    if unknown.is_true() {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
             spec.versions[*].schema instead";
        faults.push(unknown.invalid(detail));
    }
    stored_versions(object, &mut faults);
    faults
}

const APPROVED: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// Whether a group is one of Kubernetes itself.
fn is_protected(group: &str) -> bool {
    let is_in =
        |domain: &str| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    is_in("k8s.io") || is_in("kubernetes.io")
}

fn validate_create(object: &Value) -> Faults {
    let mut faults = is_approved(object);
    faults.extend(schema::validate(object));
    faults
}

/// Groups of Kubernetes itself are for what its community has approved.
fn is_approved(object: &Value) -> Faults {
    if !is_protected(text(object, &["spec", "group"])) {
        return Faults::new();
    }
    let path = field::key("metadata.annotations", APPROVED);
    let head = format!("protected groups must have approval annotation {APPROVED:?}");
    match text(object, &["metadata", "annotations", APPROVED]) {
        "" => Faults::from([field::required(path, &format!("{head}, {SEE}"))]),
        value if value.starts_with("unapproved") || is_address(value) => Faults::new(),
        value => {
            let detail = format!("{head} with either a URL or a reason starting with \"unapproved\", {SEE}");
            Faults::from([field::invalid(path, value, &detail)])
        }
    }
}

fn is_address(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/'))
}

fn conversion(conversion: &Place<'_>, faults: &mut Faults) {
    let (strategy, webhook) = (conversion.at(&["strategy"]), conversion.at(&["webhook"]));
    let part =
        |member: &'static str, path: &'static str| conversion.at(&[path]).with(webhook.at(&[member]).value);
    // Upstream names the fields as its first version had them.
    let config = part("clientConfig", "webhookClientConfig");
    let reviews = part("conversionReviewVersions", "conversionReviewVersions");
    match strategy.text() {
        "" => faults.push(strategy.required("")),
        "None" => {
            for place in [config, reviews].iter().filter(|place| place.is_set()) {
                let detail = "should not be set when strategy is not set to Webhook";
                faults.push(place.forbidden(detail));
            }
        }
        "Webhook" => {
            if config.is_set() {
                webhooks::client_config(&config, faults);
            } else {
                faults.push(config.required("required when strategy is set to Webhook"));
            }
            webhooks::review_versions(&reviews, "", faults);
        }
        _ => faults.push(strategy.not_supported(&["None", "Webhook"])),
    }
}

fn stored_versions(object: &Value, faults: &mut Faults) {
    let stored = Place::of(object).at(&["status", "storedVersions"]);
    if stored.is_empty() {
        faults.push(stored.invalid("must have at least one stored version"));
        return;
    }
    let versions: HashSet<&str> = super::value::items(object, &["spec", "versions"])
        .iter()
        .map(|version| text(version, &["name"]))
        .collect();
    for version in stored.items() {
        if !versions.contains(version.text()) {
            let name = version.text();
            faults.push(version.invalid(&format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name} and removes \
                 {name} from status.storedVersions"
            )));
        }
    }
    let texts: HashSet<&str> = stored.texts().into_iter().collect();
    for version in storage_versions(object) {
        if !texts.contains(version) {
            faults.push(stored.invalid(&format!("must have the storage version {version}")));
        }
    }
}

/// The group and plural are part of every path; the rest is, once clients use it.
fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut faults = schema::validate_update(new, old);
    let conditions = items(old, &["status", "conditions"]);
    let is_established =
        conditions.iter().any(|it| text(it, &["type"]) == "Established" && text(it, &["status"]) == "True");
    let mut same = |path: &[&str]| {
        Place::of(new).at(path).immutable(&Place::of(old).at(path), &mut faults);
    };
    same(&["spec", "group"]);
    same(&["spec", "names", "plural"]);
    if is_established {
        same(&["spec", "scope"]);
        same(&["spec", "names", "kind"]);
        bundle(new, old, &mut faults);
    }
    faults
}

/// The certificates of what converts may be unreadable only until a definition is served, or where they are so already.
fn bundle(new: &Value, old: &Value, faults: &mut Faults) {
    const CONFIG: &str = "/spec/conversion/webhook/clientConfig";
    let is_readable =
        |of: &Value| of.pointer(CONFIG).is_none_or(|it| ClientConfig::read(it).has_readable_bundle());
    if !is_readable(new) && is_readable(old) {
        let bytes = new
            .pointer(CONFIG)
            .map_or(0, |config| text(config, &["caBundle"]).trim_end_matches('=').len() * 3 / 4);
        let detail = "unable to load root certificates: unable to parse bytes as PEM block";
        let path = "spec.conversion.webhookClientConfig.caBundle";
        faults.push(field::invalid(path, format!("{bytes} bytes"), detail));
    }
}

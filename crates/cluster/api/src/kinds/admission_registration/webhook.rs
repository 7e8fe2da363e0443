//! `ValidatingWebhookConfiguration` and `MutatingWebhookConfiguration`.

use super::columns::{Column, age, name};
use super::{
    CATEGORIES, FAILURE_POLICIES, GROUP, KindRow, MATCH_POLICIES, Names, Place, REINVOCATION_POLICIES, Scope,
    match_conditions, meta, names, rules, unique, webhooks,
};
use crate::kinds::value::{each_mut, items, number, object_mut, set_default};
use hako_kube::field::Faults;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

pub(in crate::kinds) const VALIDATING: KindRow = KindRow {
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    type_name: "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    default: |object| default(object, &[]),
    ..BASE
};

pub(in crate::kinds) const MUTATING: KindRow = KindRow {
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    type_name: "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    default: |object| default(object, &[("reinvocationPolicy", "Never")]),
    ..BASE
};

const BASE: KindRow = KindRow {
    group: GROUP,
    categories: CATEGORIES,
    scope: Scope::Cluster,
    columns: &[Column::NAME, Column::number("Webhooks", "How many webhooks there are."), Column::AGE],
    cells,
    validate,
    prepare_create: meta::start,
    prepare_update,
    ..KindRow::BASE
};

const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), items(object, &["webhooks"]).len().into(), age(object, now)]
}

fn default(object: &mut Value, own: &[(&str, &str)]) {
    let Some(map) = object.as_object_mut() else { return };
    for hook in each_mut(map, "webhooks") {
        for (name, value) in own {
            set_default(hook, name, *value);
        }
        default_hook(hook);
    }
}

fn default_hook(hook: &mut Map<String, Value>) {
    set_default(hook, "failurePolicy", "Fail");
    set_default(hook, "matchPolicy", "Equivalent");
    set_default(hook, "namespaceSelector", json!({}));
    set_default(hook, "objectSelector", json!({}));
    set_default(hook, "timeoutSeconds", 10);
    rules::default(hook, "rules");
    let service = hook.get_mut("clientConfig").and_then(|config| config.get_mut("service"));
    if let Some(service) = service.and_then(Value::as_object_mut) {
        set_default(service, "port", 443);
    }
}

/// A change of the webhooks is what counts.
fn prepare_update(new: &mut Value, old: &Value) {
    let has_changed = new.get("webhooks") != old.get("webhooks");
    let generation = number(old, &["metadata", "generation"]).unwrap_or(1);
    if let Some(metadata) = object_mut(new, &["metadata"]) {
        metadata.insert("generation".to_owned(), json!(generation + i64::from(has_changed)));
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let mut seen = HashSet::new();
    for hook in Place::of(object).at(&["webhooks"]).items() {
        let name = hook.at(&["name"]);
        name.check_required(qualified, &mut faults);
        unique(&name, &mut seen, &mut faults);
        hook.at(&["rules"]).items().for_each(|rule| rules::rule(&rule, &mut faults));
        policies(&hook, &mut faults);
        for selector in ["namespaceSelector", "objectSelector"] {
            hook.at(&[selector]).selector(&mut faults);
        }
        webhooks::client_config(&hook.at(&["clientConfig"]), &mut faults);
        match_conditions(&hook.at(&["matchConditions"]), &Names::of_webhook(), &mut faults);
        webhooks::review_versions(
            &hook.at(&["admissionReviewVersions"]),
            &format!("must specify one of {}", webhooks::REVIEWS.join(", ")),
            &mut faults,
        );
    }
    faults
}

/// A domain of three parts at least.
fn qualified(name: &str) -> Vec<String> {
    let found = names::dns_subdomain(name);
    if !found.is_empty() {
        return vec![found.join(",")];
    }
    let fault = "should be a domain with at least three segments separated by dots";
    if name.split('.').count() < 3 { vec![fault.to_owned()] } else { Vec::new() }
}

fn policies(hook: &Place<'_>, faults: &mut Faults) {
    hook.at(&["failurePolicy"]).one_of_given(FAILURE_POLICIES, faults);
    hook.at(&["matchPolicy"]).one_of_given(MATCH_POLICIES, faults);
    hook.at(&["reinvocationPolicy"]).one_of_given(REINVOCATION_POLICIES, faults);
    let effects = hook.at(&["sideEffects"]);
    if effects.is_set() {
        effects.one_of(NO_SIDE_EFFECTS, faults);
    } else {
        faults.push(effects.required(&format!("must specify one of {}", NO_SIDE_EFFECTS.join(", "))));
    }
    let timeout = hook.at(&["timeoutSeconds"]);
    if timeout.is_set() && !(1..=30).contains(&timeout.number()) {
        faults.push(timeout.invalid("the timeout value must be between 1 and 30 seconds"));
    }
}

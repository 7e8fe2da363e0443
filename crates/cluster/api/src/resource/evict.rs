//! `pods/eviction`: a deletion that keeps to the disruption budget of the pod.
//!
//! INVARIANT: an eviction is charged to the budget before the pod is deleted, in one compare-and-swap, so that evictions
//! at the same time do not break it together.

use std::sync::Arc;

use hako_error::{Error, Kind};
use hako_kube::{LabelSelector, Status, StatusCause, StatusDetails};
use hako_store::{Expect, Range, StoreError, Write};
use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::delete::{self, Options};
use super::encoded::{decode as decode_entry, encode, head_value};
use super::options::{self, OptionsOf};
use super::ownership::Writer;
use super::target::{Target, registry_prefix};
use crate::admission::{self, Operation};
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds;
use crate::server::Inner;

/// How often somebody else may come first.
const ATTEMPTS: usize = 20;
/// Evictions that the controller of budgets has not seen yet.
const DISRUPTED_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const GROUP: &str = "policy";
const PLURAL: &str = "poddisruptionbudgets";

/// What the budgets say to an eviction.
enum Leave {
    /// The pod goes, whatever happens to it meanwhile.
    Given,
    /// It goes if it stays what it is: what was judged.
    AsItIs,
}

/// Evicts a pod.
pub(crate) async fn evict(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let mut sent = asked(request, target)?;
    let is_dry_run = options::is_dry_run(request, OptionsOf::Create)?;
    let mut writer = Writer::of(request, "eviction");
    writer.manner.is_dry_run |= options_of(&sent, is_dry_run)?.is_dry_run();
    admission::ask_others(&writer.change(server, Operation::Create, target, None), &mut sent).await?;
    let options = options_of(&sent, is_dry_run)?;
    let writer = writer.settled();
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let pod = decode_entry(&target.row, &*target.read(&*server.config.store).await?)?;
        let (leave, budget) = leave(server, target, &pod, &options).await?;
        let version = head_value(&pod, "resourceVersion");
        let is_pinned = matches!(leave, Leave::AsItIs) && !options.names_version();
        let pinned = if is_pinned { options.at_version(version) } else { options.clone() };
        match delete::one(server, target, &writer, &pinned).await {
            Err(failure) if failure.is(409) && is_pinned && budget.is_some() => {
                return Err(busy(&budget.unwrap_or_default()));
            }
            Err(failure) if failure.is(409) && is_pinned && left > 0 => {}
            other => {
                other?;
                return Ok(answer::json(StatusCode::CREATED, &Status::success()));
            }
        }
    }
}

/// The eviction that is sent.
fn asked(request: &Request, target: &Target) -> Outcome<Value> {
    let mut sent = decode::any(request, "Eviction")?;
    // Clients from before policy/v1 send the same under its older name.
    if sent["apiVersion"] == "policy/v1beta1" {
        sent["apiVersion"] = "policy/v1".into();
    }
    let sent = decode::part(request, sent, "policy/v1", "io.k8s.api.policy.v1.Eviction")?;
    let name = head_value(&sent, "name");
    if !name.is_empty() && name != target.name {
        return Err(Failure::bad_request("name in URL does not match name in Eviction object"));
    }
    Ok(sent)
}

/// How to delete; a dry run can be asked for on both ways.
fn options_of(sent: &Value, is_dry_run: bool) -> Outcome<Options> {
    let mut options =
        sent.get("deleteOptions").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    if is_dry_run {
        options["dryRun"] = json!(["All"]);
    }
    Options::from_value(options)
}

/// Asks the pod's budget, by whose name the answer is, and charges it.
async fn leave(
    server: &Inner,
    target: &Target,
    pod: &Value,
    options: &Options,
) -> Outcome<(Leave, Option<String>)> {
    let phase = text(pod, "/status/phase");
    let is_over = matches!(phase, "Succeeded" | "Failed") || !head_value(pod, "deletionTimestamp").is_empty();
    if is_over {
        return Ok((Leave::Given, None));
    }
    if phase == "Pending" {
        return Ok((Leave::AsItIs, None));
    }
    let mut budgets = budgets(server, target, pod).await?;
    let (Some(budget), true) = (budgets.pop(), budgets.is_empty()) else {
        return match budgets.is_empty() {
            true => Ok((Leave::Given, None)),
            false => Err(several()),
        };
    };
    let name = budget.name.clone();
    if !is_ready(pod) {
        let object = decode_entry(&budget.row, &*budget.read(&*server.config.store).await?)?;
        let count = |name: &str| number(&object, &format!("/status/{name}"));
        let is_always = text(&object, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
        let desired = count("desiredHealthy");
        if is_always || (count("currentHealthy") >= desired && desired > 0) {
            return Ok((Leave::AsItIs, Some(name)));
        }
    }
    charge(server, &budget, &target.name, options.is_dry_run()).await?;
    Ok((Leave::Given, Some(name)))
}

/// The budgets that select a pod.
async fn budgets(server: &Inner, target: &Target, pod: &Value) -> Outcome<Vec<Target>> {
    let Some(row) = kinds::by_resource(GROUP, "v1", PLURAL) else { return Ok(Vec::new()) };
    let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    let labels = serde_json::from_value(labels).unwrap_or_default();
    let prefix = registry_prefix(row, &target.namespace);
    let page = server.config.store.range(Range::all(prefix)).await?;
    let selected = page.entries.iter().filter_map(|entry| {
        let object: Value = serde_json::from_slice(&entry.value).ok()?;
        let selector = object.pointer("/spec/selector").filter(|selector| !selector.is_null())?;
        let selector: LabelSelector = serde_json::from_value(selector.clone()).ok()?;
        let is_meant = selector.selector().is_ok_and(|selector| selector.matches(&labels));
        let name = head_value(&object, "name").to_owned();
        is_meant.then(|| Target { row: Arc::clone(row), namespace: target.namespace.clone(), name })
    });
    Ok(selected.collect())
}

/// Takes one disruption from a budget.
async fn charge(server: &Inner, budget: &Target, pod: &str, is_dry_run: bool) -> Outcome<()> {
    for _ in 0..ATTEMPTS {
        let entry = budget.read(&*server.config.store).await?;
        let mut object = decode_entry(&budget.row, &entry)?;
        let allowed = allowed(&object, budget)?;
        if is_dry_run {
            return Ok(());
        }
        object["status"]["disruptionsAllowed"] = (allowed - 1).into();
        object["status"]["disruptedPods"][pod] = hako_kube::time::now().into();
        if allowed == 1 {
            exhausted(&mut object);
        }
        let bytes = encode(&budget.row, &mut object)?;
        match server.config.store.write(Write::put(budget.key(), bytes, Expect::At(entry.modified))).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(StoreError::NotFound { .. }) => return Err(budget.not_found()),
            Err(error) => return Err(error.into()),
        }
    }
    let text = format!("Timeout: couldn't update PodDisruptionBudget {:?} due to conflicts", budget.name);
    let mut status = Status::failure(504, "Timeout", text);
    status.details = Some(StatusDetails { retry_after_seconds: Some(10), ..StatusDetails::default() });
    Err(status.into())
}

/// How many disruptions a budget allows, at least one.
fn allowed(object: &Value, budget: &Target) -> Outcome<i64> {
    let of = |name: &str| number(object, &format!("/status/{name}"));
    if of("observedGeneration") < number(object, "/metadata/generation") {
        return Err(busy(&budget.name));
    }
    let forbidden = |why: &str| {
        let subject = budget.subject();
        let text = format!("poddisruptionbudget.policy {:?} is forbidden: {why}", budget.name);
        Failure::about(&Error::new(Kind::Forbidden, text), &subject)
    };
    let disrupted = object.pointer("/status/disruptedPods").and_then(Value::as_object);
    match of("disruptionsAllowed") {
        _ if disrupted.is_some_and(|pods| pods.len() > DISRUPTED_MAX) => {
            Err(forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
        }
        ..0 => Err(forbidden("pdb disruptions allowed is negative")),
        0 => {
            let (name, desired, current) = (&budget.name, of("desiredHealthy"), of("currentHealthy"));
            let why = format!(
                "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
            );
            Err(refused(why, None))
        }
        allowed => Ok(allowed),
    }
}

/// The condition says at once that nothing more is allowed.
fn exhausted(object: &mut Value) {
    let generation = object.pointer("/status/observedGeneration").cloned().unwrap_or(json!(0));
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == "DisruptionAllowed" && condition["status"] != "False" {
            condition["status"] = "False".into();
            condition["reason"] = "InsufficientPods".into();
            condition["lastTransitionTime"] = hako_kube::time::now().into();
            condition["observedGeneration"] = generation.clone();
        }
    }
}

fn busy(budget: &str) -> Failure {
    let why = format!("The disruption budget {budget} is still being processed by the server.");
    refused(why, Some(10))
}

fn refused(why: String, retry_after_seconds: Option<u32>) -> Failure {
    let mut status = Status::failure(429, "TooManyRequests", REFUSED);
    let cause = StatusCause { reason: "DisruptionBudget".into(), message: why, field: String::new() };
    status.details =
        Some(StatusDetails { causes: vec![cause], retry_after_seconds, ..StatusDetails::default() });
    status.into()
}

fn several() -> Failure {
    let text =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    Status::failure(500, "", text).into()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

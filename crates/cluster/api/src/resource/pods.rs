//! `pods/binding`.

use std::sync::Arc;

use hako_kube::Status;
use hako_kube::status::{self, Subject};
use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::encoded::head_value;
use super::options::{self, OptionsOf};
use super::ownership::Writer;
use super::target::Target;
use super::update::modify;
use crate::admission::{self, Operation};
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds;
use crate::server::Inner;

/// Puts a pod on a node, once.
pub(crate) async fn bind(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let sent = decode::part(request, decode::any(request, "Binding")?, "v1", "io.k8s.api.core.v1.Binding")?;
    let name = head_value(&sent, "name");
    if !name.is_empty() && name != target.name {
        return Err(Failure::bad_request("name in URL does not match name in Binding object"));
    }
    carry_out(server, request, target, sent).await
}

/// The same for a binding that names its pod, in the collection of bindings.
pub(super) async fn bind_named(
    server: &Arc<Inner>,
    request: &Request,
    namespace: &str,
    sent: Value,
) -> Outcome {
    let row = kinds::by_resource("", "v1", "pods").ok_or_else(Failure::no_such_path)?;
    let name = head_value(&sent, "name").to_owned();
    carry_out(server, request, &Target { row: Arc::clone(row), namespace: namespace.to_owned(), name }, sent)
        .await
}

async fn carry_out(server: &Arc<Inner>, request: &Request, target: &Target, mut sent: Value) -> Outcome {
    let writer = Writer::of(request, "binding").unrecorded();
    admission::ask_others(&writer.change(server, Operation::Create, target, None), &mut sent).await?;
    let causes = kinds::binding_faults(&sent);
    if !causes.is_empty() {
        let subject = Subject { kind: "Binding".to_owned(), ..target.subject() };
        return Err(Failure::about(&status::invalid(&subject, causes), &subject));
    }
    let node = sent.pointer("/target/name").and_then(Value::as_str).unwrap_or("").to_owned();
    let writer = writer.settled();
    let is_dry_run = options::is_dry_run(request, OptionsOf::Create)?;
    modify(server, target, &writer, is_dry_run, |old| bound(target, &old.object, &sent, &node)).await?;
    Ok(answer::json(StatusCode::CREATED, &Status::success()))
}

fn bound(target: &Target, old: &Value, binding: &Value, node: &str) -> Outcome<Value> {
    let uid = head_value(binding, "uid");
    if !uid.is_empty() && uid != head_value(old, "uid") {
        let current = head_value(old, "uid");
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(target.conflict(&why));
    }
    let name = &target.name;
    if !head_value(old, "deletionTimestamp").is_empty() {
        return Err(target.conflict(&format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let current = old.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or("");
    if !current.is_empty() {
        return Err(target.conflict(&format!("pod {name} is already assigned to node {current:?}")));
    }
    let gates = old.pointer("/spec/schedulingGates").and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return Err(target.conflict(&format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    let mut new = old.clone();
    new["spec"]["nodeName"] = node.into();
    for (key, value) in
        binding.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten()
    {
        new["metadata"]["annotations"][key] = value.clone();
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": hako_kube::time::now(),
    });
    let conditions = &mut new["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition.get("type") != scheduled.get("type"));
        list.push(scheduled);
    }
    Ok(new)
}

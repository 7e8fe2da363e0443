//! Delete: at once, after a grace period, or once finalizers are gone.

use std::sync::Arc;

use hako_error::FieldCause;
use hako_kube::{Status, field, status};
use hako_store::{Entry, Expect, StoreError, Write};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::decode;
use super::encoded::{decode as decode_entry, encode, head_value};
use super::list;
use super::ownership::Writer;
use super::render;
use super::target::Target;
use super::update::{is_finished, remove};
use crate::admission::{self, Operation};
use crate::http::{Failure, Outcome, Request, answer};
use crate::server::Inner;

const ATTEMPTS: usize = 16;

/// How to delete, from the body and the query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Options {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Options {
    fn parse(request: &Request) -> Outcome<Self> {
        let mut options =
            if request.body.is_empty() { Self::default() } else { Self::from_value(decode::any(request)?)? };
        if let Some(seconds) = request.query.number("gracePeriodSeconds")? {
            options.grace_period_seconds = Some(seconds);
        }
        if let Some(policy) = request.query.text("propagationPolicy") {
            options.propagation_policy = Some(policy.to_owned());
        }
        if request.query.text("orphanDependents").is_some() {
            options.orphan_dependents = Some(request.query.flag("orphanDependents"));
        }
        if request.query.is_dry_run()? {
            options.dry_run = Some(vec!["All".to_owned()]);
        }
        options.check()
    }

    pub(super) fn from_value(value: Value) -> Outcome<Self> {
        let options: Self = serde_json::from_value(value)
            .map_err(|error| Failure::bad_request(format!("the body is no DeleteOptions: {error}")))?;
        options.check()
    }

    fn check(self) -> Outcome<Self> {
        let causes = self.faults();
        if causes.is_empty() {
            return Ok(self);
        }
        let subject = status::Subject {
            group: "meta.k8s.io".to_owned(),
            kind: "DeleteOptions".to_owned(),
            ..Default::default()
        };
        Err(Failure::about(&status::invalid(&subject, causes), &subject))
    }

    fn faults(&self) -> Vec<FieldCause> {
        const POLICIES: [&str; 3] = ["Background", "Foreground", "Orphan"];
        let (mut causes, path) = (Vec::new(), "propagationPolicy");
        if let Some(policy) = self.propagation_policy.as_deref() {
            if self.orphan_dependents.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(field::invalid(path, policy, detail));
            }
            if !POLICIES.contains(&policy) {
                causes.push(field::not_supported(path, policy, &POLICIES));
            }
        }
        let stages = self.dry_run.iter().flatten();
        for stage in stages.filter(|stage| stage.as_str() != "All") {
            causes.push(field::not_supported("dryRun", stage.as_str(), &["All"]));
        }
        causes
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|stages| !stages.is_empty())
    }

    /// The finalizer that the propagation policy puts on the object.
    fn finalizer(&self) -> Option<&'static str> {
        match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Foreground"), _) => Some("foregroundDeletion"),
            (Some("Orphan"), _) | (None, Some(true)) => Some("orphan"),
            _ => None,
        }
    }
}

/// Deletes an object, or starts to.
pub(crate) async fn delete(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let form = request.accept()?.form;
    let options = Options::parse(request)?;
    match one(server, target, &Writer::of(request, ""), &options).await? {
        Deleted::Gone { uid } => {
            let status = Status::success_about(&target.subject(), &uid);
            Ok(answer::json(StatusCode::OK, &status))
        }
        Deleted::Started(object) => Ok(render::value(target.row, form, StatusCode::OK, &object)),
    }
}

/// Deletes all objects selected.
pub(crate) async fn delete_collection(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let options = Options::parse(request)?;
    let form = request.accept()?.form;
    let writer = Writer::of(request, "");
    let (entries, head) = list::selected(server, request, target).await?;
    for entry in &entries {
        let object = decode_entry(target.row, entry)?;
        let one_target = Target {
            row: target.row,
            namespace: head_value(&object, "namespace").to_owned(),
            name: head_value(&object, "name").to_owned(),
        };
        match one(server, &one_target, &writer, &options).await {
            Err(failure) if !failure.is(404) => return Err(failure),
            _ => {}
        }
    }
    let entries: Vec<&Entry> = entries.iter().map(|entry| &**entry).collect();
    render::list(target, form, &head, &entries)
}

/// What a deletion came to.
pub(super) enum Deleted {
    Gone {
        uid: String,
    },
    /// The object is marked; someone has to finish.
    Started(Box<Value>),
}

/// Deletes one object.
pub(super) async fn one(
    server: &Arc<Inner>,
    target: &Target,
    writer: &Writer<'_>,
    options: &Options,
) -> Outcome<Deleted> {
    for _ in 0..ATTEMPTS {
        let entry = target.read(&*server.config.store).await?;
        let old = decode_entry(target.row, &entry)?;
        check(target, &old, options)?;
        let change = writer.change(server, Operation::Delete, target, Some(&old));
        admission::validate(&change, &old).await?;
        let uid = head_value(&old, "uid").to_owned();
        let new = marked(target, &old, options);
        if is_finished(&new) {
            if options.is_dry_run() || remove(server, target, &entry, &old).await? {
                return Ok(Deleted::Gone { uid });
            }
            continue;
        }
        if new == old || options.is_dry_run() {
            return Ok(Deleted::Started(Box::new(new)));
        }
        if let Some(object) = mark(server, target, &entry, new).await? {
            return Ok(Deleted::Started(Box::new(object)));
        }
    }
    Err(target.modified())
}

/// Stores the mark; none if the object changed meanwhile.
async fn mark(server: &Inner, target: &Target, entry: &Entry, mut object: Value) -> Outcome<Option<Value>> {
    let bytes = encode(target.row, &mut object)?;
    match server.config.store.write(Write::put(entry.key.clone(), bytes, Expect::At(entry.modified))).await {
        Ok(written) => {
            object["metadata"]["resourceVersion"] = written.revision.0.to_string().into();
            Ok(Some(object))
        }
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(StoreError::NotFound { .. }) => Err(target.not_found()),
        Err(error) => Err(error.into()),
    }
}

fn check(target: &Target, old: &Value, options: &Options) -> Outcome<()> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let differs = |wanted: &Option<String>, is: &str| wanted.as_deref().is_some_and(|wanted| wanted != is);
    let (uid, version) = (head_value(old, "uid"), head_value(old, "resourceVersion"));
    if differs(&wanted.uid, uid) {
        let wanted = wanted.uid.as_deref().unwrap_or("");
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
        return Err(target.conflict(&why));
    }
    if differs(&wanted.resource_version, version) {
        let wanted = wanted.resource_version.as_deref().unwrap_or("");
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {version}"
        );
        return Err(target.conflict(&why));
    }
    Ok(())
}

/// The object as it is once its deletion has been asked for.
fn marked(target: &Target, old: &Value, options: &Options) -> Value {
    let mut new = old.clone();
    let grace = grace_of(target, old, options);
    let is_first = head_value(old, "deletionTimestamp").is_empty();
    let before = old.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    if let Some(finalizer) = options.finalizer().filter(|_| is_first) {
        add_finalizer(&mut new, finalizer);
    }
    if is_first || before.is_some_and(|before| grace < before) {
        let now = Timestamp::now();
        let at = now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(now);
        new["metadata"]["deletionTimestamp"] = hako_kube::time::seconds(at).into();
        new["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        if let Some(generation) =
            old.pointer("/metadata/generation").and_then(Value::as_i64).filter(|_| is_first)
        {
            new["metadata"]["generation"] = (generation + 1).into();
        }
        if target.row.plural == "namespaces" {
            new["status"]["phase"] = "Terminating".into();
        }
    }
    new
}

/// Pods on a node have the time to end that they or the caller ask for; nothing else takes any.
fn grace_of(target: &Target, old: &Value, options: &Options) -> i64 {
    let is_pod = target.row.plural == "pods" && target.row.group.is_empty();
    let text = |pointer: &str| old.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let is_ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if !is_pod || text("/spec/nodeName").is_empty() || is_ended {
        return 0;
    }
    let own = old.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    match options.grace_period_seconds {
        Some(seconds) if seconds < 0 => 1,
        Some(seconds) => seconds,
        None => own.unwrap_or(30).max(0),
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = &mut object["metadata"];
    if !metadata["finalizers"].is_array() {
        metadata["finalizers"] = json!([]);
    }
    if let Some(list) = metadata["finalizers"].as_array_mut()
        && !list.iter().any(|it| it == finalizer)
    {
        list.push(finalizer.into());
    }
}

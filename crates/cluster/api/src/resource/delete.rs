//! Delete: at once, after a grace period, or once finalizers are gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hako_error::FieldCause;
use hako_kube::{Head, Status, field};
use hako_store::{Entry, Expect, Range, StoreError, Write};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::convert;
use super::decode;
use super::encoded::{decode as decode_entry, head_value};
use super::items;
use super::list;
use super::options;
use super::ownership::Writer;
use super::render;
use super::target::{Target, registry_prefix};
use super::unreadable;
use super::update::{is_finished, remove};
use crate::admission::{self, Notes, Operation};
use crate::auth::Identity;
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds::{Dependents, Served};
use crate::schema;
use crate::server::Inner;

const ATTEMPTS: usize = 16;
const TYPE_NAME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
const OF_COLLECTOR: [&str; 2] = [FOREGROUND, ORPHAN];

/// How to delete, from the body and the query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Options {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
    ignore_store_read_error_with_cluster_breaking_potential: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Options {
    fn parse(request: &Request) -> Outcome<Self> {
        let mut options = if request.body.is_empty() {
            Self::default()
        } else {
            Self::from_value(decode::any(request, "DeleteOptions")?)?
        };
        if let Some(seconds) = request.query.integer("gracePeriodSeconds")? {
            options.grace_period_seconds = Some(seconds);
        }
        if let Some(policy) = request.query.text("propagationPolicy") {
            options.propagation_policy = Some(policy.to_owned());
        }
        if request.query.text("orphanDependents").is_some() {
            options.orphan_dependents = Some(request.query.flag("orphanDependents"));
        }
        let stages = options::stages(&request.query);
        if !stages.is_empty() {
            options.dry_run = Some(stages);
        }
        if request.query.text(unreadable::OPTION).is_some() {
            options.ignore_store_read_error_with_cluster_breaking_potential =
                Some(request.query.flag(unreadable::OPTION));
        }
        options.check()
    }

    pub(super) fn from_value(mut value: Value) -> Outcome<Self> {
        // An object that was sent to be changed or made is not one to be deleted.
        if let Some(kind) = value["kind"].as_str().filter(|kind| !["", "DeleteOptions"].contains(kind)) {
            return Err(Failure::bad_request(format!("the body is no DeleteOptions: its kind is {kind:?}")));
        }
        let refused = |fault: String| Failure::bad_request(format!("the body is no DeleteOptions: {fault}"));
        schema::fit(TYPE_NAME, &mut value).map_err(refused)?;
        let options: Self = serde_json::from_value(value).map_err(|error| refused(error.to_string()))?;
        options.check()
    }

    fn check(self) -> Outcome<Self> {
        let causes = self.faults();
        if causes.is_empty() {
            return Ok(self);
        }
        Err(options::refused("DeleteOptions", causes))
    }

    fn faults(&self) -> Vec<FieldCause> {
        // As upstream tells them.
        const POLICIES: [&str; 4] = ["Foreground", "Background", "Orphan", "nil"];
        let (mut causes, path) = (Vec::new(), "propagationPolicy");
        if let Some(policy) = self.propagation_policy.as_deref() {
            if self.orphan_dependents.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(field::invalid(path, policy, detail));
            }
            if !POLICIES[..3].contains(&policy) {
                causes.push(field::not_supported(path, policy, &POLICIES));
            }
        }
        causes.extend(options::dry_run_fault(self.dry_run.as_deref().unwrap_or_default()));
        if self.is_unread() {
            causes.extend(self.faults_unread());
        }
        causes
    }

    /// Whether the object is to be deleted though it cannot be read.
    fn is_unread(&self) -> bool {
        self.ignore_store_read_error_with_cluster_breaking_potential == Some(true)
    }

    /// Nothing else can be asked for of what cannot be read.
    fn faults_unread(&self) -> impl Iterator<Item = FieldCause> {
        let others = [
            (self.is_dry_run(), "dryRun"),
            (self.propagation_policy.is_some(), "propagationPolicy"),
            (self.orphan_dependents.is_some(), "orphanDependents"),
            (self.grace_period_seconds.is_some(), "gracePeriodSeconds"),
            (self.preconditions.is_some(), "preconditions"),
        ];
        others.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| {
            field::invalid(unreadable::OPTION, true, &format!("cannot be set together with .{name}"))
        })
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|stages| !stages.is_empty())
    }

    /// As reviews show them.
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        let wanted = self.preconditions.as_ref();
        let wanted =
            wanted.map(|wanted| json!({"uid": wanted.uid, "resourceVersion": wanted.resource_version}));
        let wanted = wanted.map(|mut wanted| {
            if let Some(wanted) = wanted.as_object_mut() {
                wanted.retain(|_, value| !value.is_null());
            }
            wanted
        });
        for (name, value) in [
            ("gracePeriodSeconds", self.grace_period_seconds.map(Value::from)),
            ("preconditions", wanted),
            ("orphanDependents", self.orphan_dependents.map(Value::from)),
            ("propagationPolicy", self.propagation_policy.clone().map(Value::from)),
            ("dryRun", self.dry_run.clone().map(Value::from)),
        ] {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        shown
    }

    /// The time a pod has to end; less than none is a second.
    fn grace(&self) -> Option<i64> {
        self.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds })
    }

    /// Whether the version that is meant is named.
    pub(super) fn names_version(&self) -> bool {
        self.preconditions.as_ref().is_some_and(|wanted| wanted.resource_version.is_some())
    }

    /// The same, of that version alone.
    pub(super) fn at_version(&self, version: &str) -> Self {
        let mut options = self.clone();
        options.preconditions.get_or_insert_default().resource_version = Some(version.to_owned());
        options
    }

    /// The finalizer with which the collector is told what to do with what the object owns: as is said now, else as was
    /// said before, else as is customary for the kind.
    fn finalizer(&self, target: &Target, old: &Value) -> Option<&'static str> {
        let customary = target.row.write_rules.dependents;
        if customary == Dependents::None {
            return None;
        }
        match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Foreground"), _) => return Some(FOREGROUND),
            (Some("Orphan"), _) | (None, Some(true)) => return Some(ORPHAN),
            (Some(_), _) | (None, Some(false)) => return None,
            (None, None) => {}
        }
        let said = finalizers(old).iter().find_map(|it| OF_COLLECTOR.iter().find(|name| it == *name));
        said.copied().or((customary == Dependents::Orphaned).then_some(ORPHAN))
    }
}

/// Deletes an object, or starts to.
pub(crate) async fn delete(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let options = Options::parse(request)?;
    if options.is_unread() {
        return unreadable::delete(server, request, target).await;
    }
    warn_of_orphans(request, target, &options);
    let writer = Writer::of(request, "").deleting(options.shown(), options.is_dry_run());
    match one(server, target, &writer, &options).await? {
        Deleted::Gone(object) if target.row.write_rules.returns_deleted => {
            Ok(render::value(&target.row, form, StatusCode::OK, &object))
        }
        Deleted::Gone(object) => {
            let status = Status::success_about(&target.subject(), head_value(&object, "uid"));
            Ok(answer::json(StatusCode::OK, &status))
        }
        Deleted::Started(object) => {
            // Clients that ask in this older way are told that it is not done yet.
            let is_awaited = options.orphan_dependents == Some(false);
            let code = if is_awaited { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok(render::value(&target.row, form, code, &object))
        }
    }
}

/// Whoever deletes a job without a word about its pods may not know that they stay.
fn warn_of_orphans(request: &Request, target: &Target, options: &Options) {
    let is_said = options.propagation_policy.is_some() || options.orphan_dependents.is_some();
    if target.row.is("batch", "jobs") && !is_said {
        request.notes.warn(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
             them or set propagationPolicy=Orphan to suppress this warning",
        );
    }
}

/// Deletes all objects selected.
pub(crate) async fn delete_collection(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let options = Options::parse(request)?;
    if options.is_unread() {
        let detail = "is not allowed with DELETECOLLECTION, try again after removing the option";
        let cause = field::invalid(unreadable::OPTION, true, detail);
        return Err(options::refused("DeleteOptions", vec![cause]));
    }
    let accept = request.accept_of(target.row.has_protobuf)?;
    warn_of_orphans(request, target, &options);
    let writer = Writer::of(request, "").deleting(options.shown(), options.is_dry_run());
    let (entries, head) = list::selected(server, request, target).await?;
    for entry in &entries {
        let object = decode_entry(&target.row, entry)?;
        let one_target = Target {
            row: Arc::clone(&target.row),
            namespace: head_value(&object, "namespace").to_owned(),
            name: head_value(&object, "name").to_owned(),
        };
        match one(server, &one_target, &writer, &options).await {
            Err(failure) if !failure.is(404) => return Err(failure),
            _ => {}
        }
    }
    items::list(target, accept, &head, entries).await
}

/// How long others are tried after one object could not be deleted.
const TRYING: Duration = Duration::from_secs(10);

/// Deletes all objects of a kind, as far as their finalizers let it; the first failure is told after others have been tried.
pub(crate) async fn clear(server: &Arc<Inner>, row: &Arc<Served>) -> Outcome<()> {
    let (identity, notes) = (Identity::admin(), Notes::default());
    let writer = Writer::server(&identity, &notes);
    let page = server.config.store.range(Range::all(Bytes::from(registry_prefix(row, "")))).await?;
    let (began, mut cleared) = (Instant::now(), Ok(()));
    for entry in &page.entries {
        if cleared.is_err() && began.elapsed() > TRYING {
            break;
        }
        let Ok(head) = Head::parse(&entry.value) else { continue };
        let (namespace, name) = (head.metadata.namespace.unwrap_or_default(), head.metadata.name);
        let target = Target { row: Arc::clone(row), namespace, name };
        match one(server, &target, &writer, &Options::default()).await {
            Err(failure) if !failure.is(404) && cleared.is_ok() => cleared = Err(failure),
            _ => {}
        }
    }
    cleared
}

/// What a deletion came to.
pub(super) enum Deleted {
    /// As it was last.
    Gone(Box<Value>),
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
        let shown = convert::shown(server, &target.row, Arc::clone(&entry)).await?;
        let old = decode_entry(&target.row, &shown)?;
        check(target, &old, options)?;
        let change = writer.change(server, Operation::Delete, target, Some(&old));
        admission::validate(&change, &old).await?;
        let mut new = marked(target, &old, options);
        if writer.subresource == "eviction" && new != old {
            note_eviction(&mut new);
        }
        if is_finished(&new) {
            if options.is_dry_run() || remove(server, target, &entry, &old).await? {
                return Ok(Deleted::Gone(Box::new(new)));
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
    let mut kept = object.clone();
    let bytes = convert::encode_kept(server, &target.row, &mut kept).await?;
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
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        );
        return Err(target.conflict(&why));
    }
    if differs(&wanted.resource_version, version) {
        let wanted = wanted.resource_version.as_deref().unwrap_or("");
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        );
        return Err(target.conflict(&why));
    }
    Ok(())
}

/// The object as it is once its deletion has been asked for.
fn marked(target: &Target, old: &Value, options: &Options) -> Value {
    let mut new = old.clone();
    let is_first = head_value(old, "deletionTimestamp").is_empty();
    let before = old.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    if is_pod(target) && !is_first && before > 0 {
        // It is ending: all that can be had is that it does so sooner.
        if let Some(grace) = options.grace().filter(|grace| *grace < before) {
            shorten(&mut new, before, grace);
            set_finalizer(&mut new, options.finalizer(target, old));
        }
        return new;
    }
    set_finalizer(&mut new, options.finalizer(target, old));
    if is_first {
        let grace = if is_pod(target) { grace_of(old, options) } else { 0 };
        begin(&mut new, grace);
        target.row.strategy().begin_deletion(&mut new);
    }
    new
}

fn begin(object: &mut Value, grace: i64) {
    let now = Timestamp::now();
    let at = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    let metadata = &mut object["metadata"];
    metadata["deletionTimestamp"] = hako_kube::time::seconds(at).into();
    metadata["deletionGracePeriodSeconds"] = grace.into();
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation > 0) {
        metadata["generation"] = (generation + 1).into();
    }
}

/// Counted from when the deletion was asked for. Where that is over already the pod still has a second, unless it is to
/// have none at all.
fn shorten(object: &mut Value, before: i64, grace: i64) {
    let now = Timestamp::now();
    let until = hako_kube::time::parse(head_value(object, "deletionTimestamp")).unwrap_or(now);
    let at = until.checked_sub(SignedDuration::from_secs(before - grace)).unwrap_or(now);
    let (at, grace) = if at < now { (now, grace.min(1)) } else { (at, grace) };
    object["metadata"]["deletionTimestamp"] = hako_kube::time::seconds(at).into();
    object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
}

fn is_pod(target: &Target) -> bool {
    target.row.is("", "pods")
}

/// Pods on a node have the time to end that they or the caller ask for.
fn grace_of(pod: &Value, options: &Options) -> i64 {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let is_ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if text("/spec/nodeName").is_empty() || is_ended {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let grace = options.grace().or(own).unwrap_or(0);
    if grace < 0 { 1 } else { grace }
}

fn finalizers(object: &Value) -> &[Value] {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Of the finalizers of the collector the object has this one, or none.
fn set_finalizer(object: &mut Value, wanted: Option<&str>) {
    let is_other = |it: &&Value| !OF_COLLECTOR.iter().any(|name| *it == name);
    let others = finalizers(object).iter().filter(is_other).cloned();
    let list: Vec<Value> = others.chain(wanted.map(Value::from)).collect();
    if finalizers(object).len() == list.len() && finalizers(object).iter().all(|it| list.contains(it)) {
        return;
    }
    if list.is_empty() {
        object["metadata"].as_object_mut().map(|metadata| metadata.shift_remove("finalizers"));
    } else {
        object["metadata"]["finalizers"] = list.into();
    }
}

/// The pod says why it ends.
fn note_eviction(pod: &mut Value) {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": hako_kube::time::now(),
    });
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|it| it["type"] != condition["type"]);
            conditions.push(condition);
        }
        None => pod["status"]["conditions"] = json!([condition]),
    }
}

//! Update, and the loop that every change of a stored object goes through.

use std::sync::Arc;

use bytes::Bytes;
use hako_error::FieldCause;
use hako_kube::field::Faults;
use hako_kube::status::{self, Subject};
use hako_store::{Entry, Expect, StoreError, Write};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::apart::{Old, encode_kept};
use super::convert;
use super::create::{Stored, store_new};
use super::decode;
use super::encoded::head_value;
use super::excess;
use super::metadata::{self, Moment};
use super::options::{self, OptionsOf};
use super::ownership::{self, Writer};
use super::target::Target;
use crate::admission::{self, Apart, Change, Notes, Operation, Reservation};
use crate::auth::{Attributes, decide};
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds::{PartWrite, Served};
use crate::patch::apply;
use crate::schema;
use crate::server::Inner;

/// How often a change is computed anew when the object changed meanwhile and the writer named no version.
pub(super) const ATTEMPTS: usize = 16;

/// Replaces an object, or one of its parts.
pub(crate) async fn update(server: &Arc<Inner>, request: &Request, target: &Target, part: &str) -> Outcome {
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let is_dry_run = options::is_dry_run(request, OptionsOf::Update)?;
    let sent = decode::object(request, &target.row)?;
    let writer = Writer::of(request, part);
    if head_value(&sent.object, "name").is_empty() {
        let name = &target.name;
        return Err(Failure::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    let decode::Sent { object, warnings } = sent;
    // Mostly it is asked for once. A copy for a second time would cost every update more than reading it again costs those
    // that somebody interfered with.
    let object = Mutex::new(Some(object));
    let sent = || match object.lock().take() {
        Some(object) => Ok(object),
        None => decode::object(request, &target.row).map(|sent| sent.object),
    };
    let (code, stored) = match modify(server, target, &writer, is_dry_run, |_: &Old| sent()).await {
        Err(failure) if failure.is(404) && part.is_empty() && target.row.write_rules.creates_on_update => {
            (StatusCode::CREATED, make(server, target, &writer, is_dry_run, sent()?).await?)
        }
        outcome => (StatusCode::OK, outcome?),
    };
    let mut response = stored.render(target, form, code)?;
    answer::warn(&mut response, &warnings);
    Ok(response)
}

/// Creates what was to be updated, for whom may do that.
async fn make(
    server: &Arc<Inner>,
    target: &Target,
    writer: &Writer<'_>,
    is_dry_run: bool,
    mut object: Value,
) -> Outcome<Stored> {
    let wanted = Attributes::Resource {
        verb: "create",
        group: &target.row.group,
        resource: &target.row.plural,
        subresource: "",
        namespace: &target.namespace,
        name: &target.name,
    };
    decide(server, writer.identity, wanted).await?;
    preconditions(target, &Value::Null, &object)?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("resourceVersion");
    }
    store_new(server, target, object, writer, is_dry_run).await
}

/// Reads, changes, admits and stores, again and again until nobody interfered.
///
/// `change` gets the object with its version and answers what it should become; a version left in there has to
/// be the current one. Who owns what need not be in there.
pub(super) async fn modify(
    server: &Arc<Inner>,
    target: &Target,
    writer: &Writer<'_>,
    is_dry_run: bool,
    change: impl Fn(&Old) -> Outcome<Value>,
) -> Outcome<Stored> {
    for _ in 0..ATTEMPTS {
        let entry = target.read(&*server.config.store).await?;
        let shown = convert::shown(server, &target.row, Arc::clone(&entry)).await?;
        let old = Old::decode(&target.row, &shown)?;
        let new = change(&old)?;
        match attempt(server, target, writer, is_dry_run, &entry, &old, new).await? {
            Some(stored) => return Ok(stored),
            None => tokio::task::yield_now().await,
        }
    }
    Err(target.modified())
}

/// One round; none if the object changed meanwhile.
pub(super) async fn attempt(
    server: &Arc<Inner>,
    target: &Target,
    writer: &Writer<'_>,
    is_dry_run: bool,
    entry: &Entry,
    before: &Old,
    mut new: Value,
) -> Outcome<Option<Stored>> {
    let (row, old) = (&*target.row, &before.object);
    let given = apply::taken(&mut new);
    let apart = Apart::sent(&before.record, given.as_ref());
    preconditions(target, old, &new)?;
    carry(&mut new, old, target)?;
    let part = PartWrite { name: writer.subresource, now: &hako_kube::time::now() };
    let hopeless = hopeless(target, &mut new, old, &part);
    schema::leave_out(row.shape(), &mut new);
    row.default(&mut new);
    let change =
        Change { apart: Some(&apart), ..writer.change(server, Operation::Update, target, Some(old)) };
    metadata::dedup_owners(&mut new, writer.notes, Moment::Sent);
    // As upstream has it, nobody owns what the server adds from here on. Of a part the server takes away, too.
    if writer.subresource.is_empty() {
        apart.set(ownership::record(server, writer, target, before, given.as_ref(), &new).await);
    }
    admission::mutate(&change, &mut new).await?;
    metadata::dedup_owners(&mut new, writer.notes, Moment::Admitted);
    metadata::stay(&mut new, old, target)?;
    if let Some(failure) = hopeless {
        return Err(failure);
    }
    let mut causes = settle(row, &mut new, old, &part, writer.notes);
    causes.extend(apart.faults());
    if !causes.is_empty() {
        return Err(target.invalid(causes));
    }
    if writer.subresource.is_empty() {
        admission::note_types(&server.kinds.now(), target, &mut new);
    }
    admission::may_grant(server, writer.identity, target, &new, Some(old)).await?;
    admission::validate(&change, &new).await?;
    let reservation = admission::allocate(server, target, &mut new, Some(old), is_dry_run).await?;
    if !writer.subresource.is_empty() {
        apart.set(ownership::record(server, writer, target, before, given.as_ref(), &new).await);
    }
    let record = apart.now();
    if is_finished(&new) && !is_dry_run {
        return Ok(remove(server, target, entry, old).await?.then(|| Stored::whole(new, &record)));
    }
    if is_dry_run {
        let _ = admission::charge(&change, &new, true).await?;
        return Ok(Some(Stored::whole(new, &record)));
    }
    if is_same(&new, old) && record.is_same(&before.record) && row.strategy().is_current(&entry.value) {
        let shown = convert::bytes_shown(server, row, entry.value.clone(), entry.modified).await?;
        return Ok(Some(Stored::Bytes(shown, entry.modified)));
    }
    let bytes = encode_kept(server, row, &mut new, &record).await?;
    put(server, &change, &new, bytes, entry, reservation).await
}

/// Stores what was judged; none if the object changed meanwhile.
async fn put(
    server: &Arc<Inner>,
    change: &Change<'_>,
    new: &Value,
    bytes: Bytes,
    entry: &Entry,
    reservation: Reservation,
) -> Outcome<Option<Stored>> {
    let (target, row) = (change.target, &*change.target.row);
    let mut write = Write::put(target.key(), bytes.clone(), Expect::At(entry.modified));
    write.along = reservation.along();
    if let hako_store::Op::Put { lease, .. } = &mut write.op {
        *lease = server.event_lease.of(server, row).await?;
    }
    let charges = admission::charge(change, new, false).await?;
    match server.config.store.write(write).await {
        Ok(written) => {
            reservation.keep();
            let shown = convert::bytes_shown(server, row, bytes, written.revision).await?;
            Ok(Some(Stored::Bytes(shown, written.revision)))
        }
        Err(error) => {
            charges.give_back(server).await;
            refused(target, reservation, error)
        }
    }
}

/// The refusal of a change of which the first items alone have more faults than are told; no others are left of it then.
fn hopeless(target: &Target, new: &mut Value, old: &Value, part: &PartWrite<'_>) -> Option<Failure> {
    let cut = excess::cut(new)?;
    let mut judged = cut.clone();
    target.row.default(&mut judged);
    let causes = settle(&target.row, &mut judged, old, part, &Notes::default());
    excess::is_enough(&causes).then(|| {
        *new = cut;
        target.invalid(causes)
    })
}

/// What a write that the store refused comes to.
fn refused(target: &Target, mut reservation: Reservation, error: StoreError) -> Outcome<Option<Stored>> {
    match error {
        // An address that was taken is that of somebody else, or what was given up is another one by now.
        StoreError::Outdated { key } => {
            reservation.is_lost(&key);
            Ok(None)
        }
        StoreError::Conflict { .. } => Ok(None),
        StoreError::NotFound { .. } => Err(target.not_found()),
        error => Err(error.into()),
    }
}

/// Keeps of the old object what the way of the write does not reach; what is wrong with the rest.
fn settle(row: &Served, new: &mut Value, old: &Value, part: &PartWrite<'_>, notes: &Notes) -> Faults {
    let mut warnings = Vec::new();
    let causes = match part.name {
        "" => {
            row.strategy().prepare_update(new, old);
            let causes = row.strategy().check_change(new, old, None, &mut warnings);
            if causes.is_empty() {
                warnings.extend(row.strategy().warnings(new, Some(old)));
            }
            causes
        }
        // The server's own change: nothing but what it set is different.
        "binding" => row.strategy().check(new),
        "finalize" => {
            keep_all_but_finalizers(new, old);
            row.strategy().check_change(new, old, Some(part), &mut warnings)
        }
        _ => {
            row.strategy().prepare_part(new, old, part);
            row.strategy().check_change(new, old, Some(part), &mut warnings)
        }
    };
    warnings.into_iter().for_each(|warning| notes.warn(warning));
    causes
}

/// A version or identity that the writer names has to be the object's.
fn preconditions(target: &Target, old: &Value, new: &Value) -> Outcome<()> {
    let version = head_value(new, "resourceVersion");
    let is_unsaid = matches!(version, "" | "0");
    if old.is_object() && is_unsaid && target.row.write_rules.needs_version {
        return Err(unversioned(target));
    }
    if old.is_object() && !is_unsaid && version != head_value(old, "resourceVersion") {
        return Err(target.modified());
    }
    let (uid, current) = (head_value(new, "uid"), head_value(old, "uid"));
    if !uid.is_empty() && uid != current {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(target.conflict(&why));
    }
    Ok(())
}

/// As upstream says it: of the resource, and the number as it prints it.
fn unversioned(target: &Target) -> Failure {
    let subject = target.subject();
    let subject = Subject { kind: subject.resource.clone(), ..subject };
    let cause = FieldCause {
        reason: "FieldValueInvalid".into(),
        message: "Invalid value: 0x0: must be specified for an update".into(),
        field: "metadata.resourceVersion".into(),
    };
    Failure::about(&status::invalid(&subject, vec![cause]), &subject)
}

/// What only the server sets stays as it is.
fn carry(new: &mut Value, old: &Value, target: &Target) -> Outcome<()> {
    metadata::place(new, target)?;
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(Failure::bad_request("metadata is no object"));
    };
    let was = |name: &str| old.get("metadata").and_then(|old| old.get(name));
    for system in ["uid", "generation", "resourceVersion"] {
        match was(system) {
            Some(value) => metadata.insert(system.to_owned(), value.clone()),
            None => metadata.shift_remove(system),
        };
    }
    // What a writer says of these otherwise is for validation to refuse; once marked, an object stays so.
    if was("deletionTimestamp").is_some() {
        metadata.shift_remove("deletionTimestamp");
    }
    for kept in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let is_unsaid = metadata.get(kept).is_none_or(Value::is_null);
        if is_unsaid || is_same_moment(metadata.get(kept), was(kept)) {
            match was(kept) {
                Some(value) => metadata.insert(kept.to_owned(), value.clone()),
                None => metadata.shift_remove(kept),
            };
        }
    }
    metadata.shift_remove("selfLink");
    Ok(())
}

/// Whether two times are one, however each is written.
fn is_same_moment(one: Option<&Value>, other: Option<&Value>) -> bool {
    let moment = |time: Option<&Value>| time.and_then(Value::as_str).and_then(hako_kube::time::parse);
    moment(one).is_some_and(|one| Some(one) == moment(other))
}

fn keep_all_but_finalizers(new: &mut Value, old: &Value) {
    let finalizers = new.pointer("/spec/finalizers").cloned();
    let mut kept = old.clone();
    if let Some(spec) = kept.get_mut("spec").and_then(Value::as_object_mut) {
        match finalizers {
            Some(finalizers) => spec.insert("finalizers".to_owned(), finalizers),
            None => spec.shift_remove("finalizers"),
        };
    }
    *new = kept;
}

/// Whether deletion was asked for and nothing holds the object any more.
pub(super) fn is_finished(object: &Value) -> bool {
    let metadata = object.get("metadata");
    let is_empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
    let grace =
        metadata.and_then(|metadata| metadata.get("deletionGracePeriodSeconds")).and_then(Value::as_i64);
    !head_value(object, "deletionTimestamp").is_empty()
        && grace.unwrap_or(0) == 0
        && is_empty(metadata.and_then(|metadata| metadata.get("finalizers")))
        && is_empty(object.pointer("/spec/finalizers"))
}

/// Removes an object at the version it was read at; false if it changed meanwhile.
pub(super) async fn remove(server: &Inner, target: &Target, entry: &Entry, old: &Value) -> Outcome<bool> {
    let along = admission::leaving(server, target, old).await?;
    let write = Write::delete(entry.key.clone(), Expect::At(entry.modified)).along(along);
    match server.config.store.write(write).await {
        Ok(_) => {
            admission::removed(server, target, old);
            Ok(true)
        }
        Err(StoreError::Conflict { .. } | StoreError::Outdated { .. }) => Ok(false),
        Err(StoreError::NotFound { .. }) => Err(target.not_found()),
        Err(error) => Err(error.into()),
    }
}

/// Whether two objects differ in nothing but their versions.
fn is_same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let rest = |map: &Map<String, Value>| map.iter().filter(|(name, _)| *name != "metadata").count();
    rest(new) == rest(old)
        && new.iter().all(|(name, value)| match old.get(name) {
            Some(before) if name == "metadata" => is_same_metadata(value, before),
            before => before.is_some_and(|before| hako_kube::is_same(before, value)),
        })
}

fn is_same_metadata(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let is_counted = |name: &str| name != "resourceVersion";
    let count = |map: &Map<String, Value>| map.keys().filter(|name| is_counted(name)).count();
    count(new) == count(old)
        && new.iter().all(|(name, value)| !is_counted(name) || old.get(name) == Some(value))
}

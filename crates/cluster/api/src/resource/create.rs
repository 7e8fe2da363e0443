//! Create.

use std::sync::Arc;

use bytes::Bytes;
use hako_kube::{Head, field};
use hako_store::{Op, Revision, StoreError, Write, Written};
use http::StatusCode;
use serde_json::Value;

use super::apart::encode_kept;
use super::convert;
use super::decode;
use super::encoded::head_value;
use super::excess;
use super::held;
use super::metadata::{self, Moment};
use super::options::{self, OptionsOf};
use super::ownership::{self, Writer};
use super::render;
use super::target::Target;
use super::uid;
use crate::admission::{self, Apart, Change, Operation, Reservation};
use crate::flow;
use crate::http::{Failure, Outcome, Request, answer};
use crate::patch::apply::{self, Record};
use crate::schema;
use crate::server::Inner;

/// How often a generated name may turn out to be taken.
const NAME_ATTEMPTS: usize = 8;
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const NAME_LIMIT: usize = 63;

/// Creates an object.
pub(crate) async fn create(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    if target.row.is_namespaced() && target.namespace.is_empty() {
        return Err(Failure::method_not_allowed().of(&target.subject()));
    }
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let is_dry_run = options::is_dry_run(request, OptionsOf::Create)?;
    let sent = decode::object(request, &target.row)?;
    let created = store_new(server, target, sent.object, &Writer::of(request, ""), is_dry_run).await?;
    let mut response = created.render(target, form, StatusCode::CREATED)?;
    answer::warn(&mut response, &sent.warnings);
    Ok(response)
}

/// What a write came to.
pub(super) enum Stored {
    /// Stored bytes at a revision.
    Bytes(Bytes, Revision),
    /// Nothing was stored: a dry run.
    Value(Box<Value>),
}

impl Stored {
    /// Nothing was stored of an object, which does not have it with it who owns what.
    pub(super) fn whole(mut object: Value, record: &Record) -> Self {
        record.put(&mut object);
        Self::Value(Box::new(object))
    }

    pub(super) fn render(&self, target: &Target, form: crate::http::Form, code: StatusCode) -> Outcome {
        match self {
            Self::Bytes(stored, revision) => render::object(&target.row, form, code, stored, *revision),
            Self::Value(object) => Ok(render::value(&target.row, form, code, object)),
        }
    }
}

/// Admits and stores a new object. Where its name is taken that was generated, it has another one, of which nobody is asked
/// anew but those who may refuse it.
pub(super) async fn store_new(
    server: &Arc<Inner>,
    target: &Target,
    mut object: Value,
    writer: &Writer<'_>,
    is_dry_run: bool,
) -> Outcome<Stored> {
    wipe(&mut object, target)?;
    let hopeless = hopeless(target, &mut object);
    let prefix = head_value(&object, "generateName").to_owned();
    // As upstream has it, who changes the object sees no name that is generated, no identity and no time.
    let asked = &target.named(head_value(&object, "name"));
    schema::leave_out(target.row.shape(), &mut object);
    target.row.default(&mut object);
    metadata::dedup_owners(&mut object, writer.notes, Moment::Sent);
    // Nobody owns what the server adds from here on.
    let given = apply::taken(&mut object);
    let before = Record::default();
    let apart = Apart::new(
        &before,
        ownership::record_alone(writer, asked, None, given.as_ref(), &object),
        given.as_ref(),
    );
    let change = writer.change(server, Operation::Create, asked, None);
    let change = Change { apart: Some(&apart), prefix: &prefix, ..change };
    admission::mutate(&change, &mut object).await?;
    metadata::dedup_owners(&mut object, writer.notes, Moment::Admitted);
    metadata::place(&mut object, target)?;
    if let Some(failure) = hopeless {
        return Err(failure);
    }
    if !head_value(&object, "name").is_empty() || head_value(&object, "generateName").is_empty() {
        return attempt(server, target, object, writer, is_dry_run, &apart).await;
    }
    let mut last = None;
    for _ in 0..NAME_ATTEMPTS {
        // Boxed, as there is one above already.
        match Box::pin(attempt(server, target, object.clone(), writer, is_dry_run, &apart)).await {
            Err(failure) if failure.status().reason == "AlreadyExists" => last = Some(failure),
            outcome => return outcome,
        }
    }
    let last = last.unwrap_or_else(|| target.already_exists());
    let mut status = last.status().clone();
    status.message.push_str(", the server was not able to generate a unique name for the object");
    status.details.get_or_insert_default().retry_after_seconds = Some(1);
    Err(status.into())
}

/// The refusal of an object of which the first items alone have more faults than are told; no others are left of it then.
fn hopeless(target: &Target, object: &mut Value) -> Option<Failure> {
    let row = &*target.row;
    let cut = excess::cut(object)?;
    let mut judged = cut.clone();
    let target = target.named(&named(&mut judged, target).ok()?);
    row.default(&mut judged);
    stamp(&mut judged);
    row.strategy().prepare_create(&mut judged);
    row.default(&mut judged);
    let causes = row.check_create(&judged);
    excess::is_enough(&causes).then(|| {
        *object = cut;
        target.invalid(causes)
    })
}

async fn attempt(
    server: &Arc<Inner>,
    target: &Target,
    mut object: Value,
    writer: &Writer<'_>,
    is_dry_run: bool,
    apart: &Apart<'_>,
) -> Outcome<Stored> {
    let row = &*target.row;
    let target = &target.named(&named(&mut object, target)?);
    let change = Change { apart: Some(apart), ..writer.change(server, Operation::Create, target, None) };
    stamp(&mut object);
    row.strategy().prepare_create(&mut object);
    row.strategy().note_sender(&mut object, writer.identity);
    flow::note(server, row, &mut object);
    admission::note_types(&server.kinds.now(), target, &mut object);
    row.default(&mut object);
    let mut causes = row.check_create(&object);
    causes.extend(apart.faults());
    if !causes.is_empty() {
        return Err(target.invalid(causes));
    }
    row.strategy().warnings(&object, None).into_iter().for_each(|text| writer.notes.warn(text));
    admission::may_grant(server, writer.identity, target, &object, None).await?;
    admission::validate(&change, &object).await?;
    let mut reservation = admission::allocate(server, target, &mut object, None, is_dry_run).await?;
    if is_dry_run {
        let _ = admission::charge(&change, &object, true).await?;
        if let Some(entry) = server.config.store.get(&target.key()).await?.entry {
            return Err(taken(target, &entry.value));
        }
        return Ok(Stored::whole(object, &apart.now()));
    }
    let charges = admission::charge(&change, &object, false).await?;
    let stored = store(server, target, &change, (&mut object, &apart.now()), &mut reservation).await;
    let (bytes, written) = match stored {
        Ok(stored) => stored,
        Err(failure) => {
            charges.give_back(server).await;
            return Err(failure);
        }
    };
    match written {
        Ok(written) => {
            reservation.keep();
            let shown = convert::bytes_shown(server, row, bytes, written.revision).await?;
            Ok(Stored::Bytes(shown, written.revision))
        }
        Err(error) => {
            charges.give_back(server).await;
            let StoreError::AlreadyExists { .. } = error else { return Err(error.into()) };
            let there = server.config.store.get(&target.key()).await?.entry;
            Err(there.map_or_else(|| target.already_exists(), |entry| taken(target, &entry.value)))
        }
    }
}

/// Stores it with what is recorded of it elsewhere; with another address where somebody has that one by now.
async fn store(
    server: &Arc<Inner>,
    target: &Target,
    change: &Change<'_>,
    (object, record): (&mut Value, &Record),
    reservation: &mut Reservation,
) -> Outcome<(Bytes, Result<Written, StoreError>)> {
    loop {
        let bytes = encode_kept(server, &target.row, object, record).await?;
        let mut write = Write::create(target.key(), bytes.clone()).along(reservation.along());
        if let Op::Put { lease, .. } = &mut write.op {
            *lease = server.event_lease.of(server, &target.row).await?;
        }
        match held::store(server, target, change, write).await? {
            Err(StoreError::Outdated { key }) if reservation.is_lost(&key) => {
                reservation.clear(object);
                // What it holds besides has to be free before it is taken again.
                drop(std::mem::replace(reservation, Reservation::none()));
                *reservation = admission::allocate(server, target, object, None, false).await?;
            }
            written => return Ok((bytes, written)),
        }
    }
}

/// Whoever waits for the end of what is there has to know that it is on its way.
fn taken(target: &Target, there: &[u8]) -> Failure {
    let failure = target.already_exists();
    if !Head::parse(there).is_ok_and(|head| head.is_deleting()) {
        return failure;
    }
    let mut status = failure.status().clone();
    status.message.insert_str(0, "object is being deleted: ");
    status.into()
}

/// Takes out of the metadata what only the server sets, and brings them to the place of the request.
fn wipe(object: &mut Value, target: &Target) -> Outcome<()> {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(Failure::bad_request("the object has no metadata"));
    };
    for system in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]
    {
        metadata.shift_remove(system);
    }
    let version = metadata.get("resourceVersion").and_then(Value::as_str).unwrap_or("");
    if !matches!(version, "" | "0") {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    metadata.shift_remove("resourceVersion");
    metadata::place(object, target)
}

/// The name of an object, which it gets if it has none.
fn named(object: &mut Value, target: &Target) -> Outcome<String> {
    let name = head_value(object, "name");
    if !name.is_empty() {
        return Ok(name.to_owned());
    }
    let prefix = head_value(object, "generateName");
    if prefix.is_empty() {
        let text = "name or generateName is required";
        return Err(target.invalid(vec![field::required("metadata.name", text)]));
    }
    let name = generate(prefix);
    object["metadata"]["name"] = name.as_str().into();
    Ok(name)
}

fn generate(prefix: &str) -> String {
    let keep = prefix.floor_char_boundary(NAME_LIMIT - SUFFIX_LENGTH);
    let mut name = prefix[..keep].to_owned();
    let random = uuid::Uuid::new_v4();
    for byte in &random.as_bytes()[..SUFFIX_LENGTH] {
        name.push(char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]));
    }
    name
}

fn stamp(object: &mut Value) {
    let metadata = &mut object["metadata"];
    metadata["uid"] = uid::random().to_string().into();
    metadata["creationTimestamp"] = hako_kube::time::now().into();
}

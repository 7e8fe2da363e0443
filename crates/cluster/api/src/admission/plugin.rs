//! Plugins: rules that look beyond one object, as rows of a list that every write goes through.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_error::{Error, Kind};
use hako_kube::field::Faults;
use hako_store::{Entry, Guard, Range};
use parking_lot::Mutex;
use serde_json::Value;

use super::attributes::Attributes;
use super::manner::Manner;
use super::reinvocation::Turns;
use super::{policies, webhooks};
use crate::auth::Identity;
use crate::http::{Failure, Outcome};
use crate::kinds::{self, Served};
use crate::patch::apply::{self, Record};
use crate::resource::{Target, decode_stored, head_value, registry_key, registry_prefix};
use crate::server::Inner;

/// Characters of all warnings, and of each where they are more.
const WARNINGS_MAX: usize = 4096;
const WARNING_CUT: usize = 256;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// Something is spoken with what an object serves or runs.
    Connect,
}

/// A write that has not happened yet.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub server: &'a Inner,
    pub operation: Operation,
    pub target: &'a Target,
    /// The subresource that is written through; empty for the object itself.
    pub part: &'a str,
    pub identity: &'a Identity,
    /// The object as it is; nothing on create.
    pub old: Option<&'a Value>,
    pub notes: &'a Notes,
    pub manner: &'a Manner,
    /// Whether webhooks and policies have a say in it: not where they have had it about what it comes from.
    pub asks_others: bool,
    /// Who owns what of the objects, where these do not have it with them.
    pub apart: Option<&'a Apart<'a>>,
    /// What the name is going to be made of, where the object has none yet.
    pub prefix: &'a str,
}

/// Who owns what of the objects of a write, apart from them: no plugin wants to know, but webhooks and policies are shown it.
#[derive(Debug)]
pub(crate) struct Apart<'a> {
    old: &'a Record,
    new: Mutex<Record>,
    /// Whether a webhook or policy has said who it is.
    is_said: AtomicBool,
    /// What the writer has said of it.
    given: Option<&'a Value>,
}

impl<'a> Apart<'a> {
    pub(crate) const fn new(old: &'a Record, new: Record, given: Option<&'a Value>) -> Self {
        Self { old, new: Mutex::new(new), is_said: AtomicBool::new(false), given }
    }

    /// Of an update, until it is reckoned: what was sent, or else what was.
    pub(crate) fn sent(old: &'a Record, given: Option<&'a Value>) -> Self {
        Self::new(old, given.map_or_else(|| old.clone(), Record::of_value), given)
    }

    /// Who owns what of the object as it is going to be.
    pub(crate) fn now(&self) -> Record {
        self.new.lock().clone()
    }

    /// Notes who that is from here on, unless a webhook or policy has said it.
    pub(crate) fn set(&self, record: Record) {
        if !self.is_said.load(Relaxed) {
            *self.new.lock() = record;
        }
    }

    /// Notes what webhooks and policies made of it; what is none is as it was before, and told.
    fn say(&self, made: Option<&Value>, notes: &Notes) {
        let mut now = self.new.lock();
        if now.value().as_ref() == made {
            return;
        }
        if let Some(why) = made.and_then(apply::fault) {
            notes.warn(format!(
                ".metadata.managedFields was in an invalid state after admission; this could be caused by an \
                 outdated mutating admission controller; please fix your requests: {why}"
            ));
            return;
        }
        *now = made.map_or_else(Record::default, Record::of_value);
        self.is_said.store(true, Relaxed);
    }

    /// What is wrong with what the writer, or they, have said of it.
    pub(crate) fn faults(&self) -> Faults {
        if self.is_said.load(Relaxed) {
            return self.now().value().as_ref().map_or_else(Faults::new, apply::faults);
        }
        let faults = self.given.map_or_else(Faults::new, apply::faults);
        // What cannot be read was not taken.
        if faults.is_empty() || self.given.and_then(apply::fault).is_some() { Faults::new() } else { faults }
    }
}

/// What is said to the client. An object may have a warning for each of its lines; more than are sent are not kept.
#[derive(Debug, Default)]
struct Warnings {
    texts: Vec<String>,
    /// Characters, of each as many as are sent where there are many.
    told: usize,
}

/// What plugins have to say besides yes and no.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: Mutex<Warnings>,
    annotations: Mutex<BTreeMap<String, String>>,
    /// Told only where bodies are.
    of_bodies: Mutex<BTreeMap<String, String>>,
    /// What was read and has to be so still when the object is stored.
    guards: Mutex<Vec<Guard>>,
}

/// A plugin's answer.
pub(super) type Verdict<'a> = BoxFuture<'a, Outcome<()>>;

/// One plugin. Both steps may look at other objects, and neither may change any.
pub(super) struct Plugin {
    /// As upstream names it.
    pub name: &'static str,
    /// What it has a say in; asked of every write, so it only compares.
    pub handles: fn(&Change<'_>) -> bool,
    /// Changes the object, before the kind's own defaults and checks.
    pub mutate: Option<Mutate>,
    /// Refuses the object as it is going to be stored, or its deletion.
    pub validate: Option<Validate>,
}

/// What a plugin does to an object.
pub(super) type Mutate = for<'a> fn(&'a Change<'a>, &'a mut Value) -> Verdict<'a>;
/// What a plugin says of an object.
pub(super) type Validate = for<'a> fn(&'a Change<'a>, &'a Value) -> Verdict<'a>;

impl Plugin {
    /// Lets everything pass: plugins override what they do.
    pub(super) const BASE: Self = Self { name: "", handles: |_| true, mutate: None, validate: None };
}

/// Nothing to object to.
pub(super) fn pass<'a>() -> Verdict<'a> {
    futures::future::ready(Ok(())).boxed()
}

impl Notes {
    /// Says something to the client, once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let (text, mut all) = (text.into(), self.warnings.lock());
        if all.told <= WARNINGS_MAX && !all.texts.contains(&text) {
            all.told += text.chars().take(WARNING_CUT).count();
            all.texts.push(text);
        }
    }

    /// Notes that the write relies on an entry as it was read.
    pub(crate) fn rely_on(&self, entry: &Entry) {
        let mut all = self.guards.lock();
        all.retain(|guard| guard.key != entry.key);
        all.push(Guard { key: entry.key.clone(), at: entry.modified });
    }

    /// All that the write relies on, which is then forgotten.
    pub(crate) fn take_guards(&self) -> Vec<Guard> {
        std::mem::take(&mut *self.guards.lock())
    }

    /// Says something to whoever reads the record of requests.
    pub(crate) fn annotate(&self, key: &str, value: impl Into<String>) {
        self.annotations.lock().insert(key.to_owned(), value.into());
    }

    /// The same, where it says what is in objects.
    pub(crate) fn annotate_bodies(&self, key: &str, value: impl Into<String>) {
        self.of_bodies.lock().insert(key.to_owned(), value.into());
    }

    /// All warnings so far, cut short where they are many.
    pub(crate) fn warnings(&self) -> Vec<String> {
        bounded(&self.warnings.lock().texts)
    }

    /// All that is to be recorded where bodies are.
    pub(crate) fn body_annotations(&self) -> BTreeMap<String, String> {
        self.of_bodies.lock().clone()
    }

    /// All that is to be recorded so far.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.lock().clone()
    }
}

impl Change<'_> {
    /// Whether it is about objects of a kind, themselves or through a part.
    pub(super) fn is_of(&self, group: &str, plural: &str) -> bool {
        self.target.row.is(group, plural)
    }

    /// Whether it creates an object of a kind.
    pub(super) fn creates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Create && self.part.is_empty() && self.is_of(group, plural)
    }

    /// Whether it changes an object of a kind itself.
    pub(super) fn updates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Update && self.part.is_empty() && self.is_of(group, plural)
    }

    /// Whether it creates an object of a kind, or changes it itself.
    pub(super) fn writes(&self, group: &str, plural: &str) -> bool {
        self.creates(group, plural) || self.updates(group, plural)
    }

    /// The refusal that clients know.
    pub(super) fn forbidden(&self, why: impl std::fmt::Display) -> Failure {
        let mut subject = self.target.subject();
        if subject.name.is_empty() && self.operation == Operation::Create {
            let name = if self.prefix.is_empty() { "Unknown" } else { self.prefix };
            name.clone_into(&mut subject.name);
        }
        let text = format!("{} {:?} is forbidden: {why}", subject.group_resource(), subject.name);
        Failure::about(&Error::new(Kind::Forbidden, text), &subject)
    }

    /// Another object, as it is in the store.
    pub(super) async fn find(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Outcome<Option<Value>> {
        match row(group, plural) {
            Some(row) => self.find_of(row, namespace, name).await,
            None => Ok(None),
        }
    }

    /// Another object of any kind, in the form that the kind is served in.
    pub(super) async fn find_of(&self, row: &Served, namespace: &str, name: &str) -> Outcome<Option<Value>> {
        let entry = self.server.config.store.get(&registry_key(row, namespace, name)).await?.entry;
        Ok(entry.and_then(|entry| decode_stored(row, &entry).ok()))
    }

    /// All objects of a kind, of a namespace or of all.
    pub(super) async fn all(&self, group: &str, plural: &str, namespace: &str) -> Outcome<Vec<Value>> {
        match row(group, plural) {
            Some(row) => self.all_of(row, namespace).await,
            None => Ok(Vec::new()),
        }
    }

    /// All objects of any kind, of a namespace or of all.
    pub(super) async fn all_of(&self, row: &Served, namespace: &str) -> Outcome<Vec<Value>> {
        let page = self.server.config.store.range(Range::all(registry_prefix(row, namespace))).await?;
        Ok(page.entries.iter().filter_map(|entry| decode_stored(row, entry).ok()).collect())
    }

    /// The object's namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.target.namespace
    }
}

fn row(group: &str, plural: &str) -> Option<&'static Served> {
    kinds::by_resource(group, "v1", plural).map(|row| &**row)
}

/// The text at a pointer, empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The items at a pointer, none where there is no list.
pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The annotation of that name, empty where there is none.
pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let all = object.pointer("/metadata/annotations");
    all.and_then(|all| all.get(name)?.as_str()).unwrap_or("")
}

/// A name in an object's metadata.
pub(super) fn name_of(object: &Value) -> &str {
    head_value(object, "name")
}

/// Warnings as upstream sends them: where all together are too long, the long ones are cut, and the last left out.
fn bounded(all: &[String]) -> Vec<String> {
    let length = |text: &String| text.chars().count();
    if all.iter().map(length).sum::<usize>() <= WARNINGS_MAX {
        return all.to_vec();
    }
    let (mut kept, mut written) = (Vec::new(), 0);
    for text in all {
        if written >= WARNINGS_MAX {
            break;
        }
        let text: String = text.chars().take(WARNING_CUT).collect();
        written += length(&text);
        kept.push(text);
    }
    kept
}

/// Who may change an object once more.
#[derive(Default)]
struct Rounds {
    policies: Turns<policies::mutating::Key>,
    hooks: Turns<webhooks::mutate::Key>,
}

impl Rounds {
    /// Whether there is to be a second round, which then begins.
    fn again(&mut self) -> bool {
        let is_due = self.policies.has_changed() || self.hooks.has_changed();
        self.policies.again();
        self.hooks.again();
        is_due
    }
}

/// Lets every plugin change the object, then policies and webhooks; once more where one of these did.
pub(crate) async fn mutate(change: &Change<'_>, object: &mut Value) -> Outcome<()> {
    let began = Instant::now();
    let outcome = mutated(change, object).await;
    change.server.admission_counts.step(true, change.operation, outcome.is_err(), began.elapsed());
    outcome
}

async fn mutated(change: &Change<'_>, object: &mut Value) -> Outcome<()> {
    let mut rounds = Rounds::default();
    plugins_mutate(change, object).await?;
    if !change.asks_others {
        return Ok(());
    }
    others_mutate(change, object, &mut rounds).await?;
    if rounds.again() {
        plugins_mutate(change, object).await?;
        others_mutate(change, object, &mut rounds).await?;
    }
    Ok(())
}

async fn plugins_mutate(change: &Change<'_>, object: &mut Value) -> Outcome<()> {
    for plugin in super::plugins::LIST {
        if let Some(mutate) = plugin.mutate.filter(|_| (plugin.handles)(change)) {
            let began = Instant::now();
            let outcome = mutate(change, object).await;
            note(change, plugin.name, true, &outcome, began);
            outcome?;
        }
    }
    Ok(())
}

async fn others_mutate(change: &Change<'_>, object: &mut Value, rounds: &mut Rounds) -> Outcome<()> {
    let Some(apart) = change.apart.filter(|_| change.server.registered.mutates()) else {
        return shown_mutate(change, object, rounds).await;
    };
    let old = change.old.map(|old| apart.old.with(old));
    apart.now().put(object);
    let change = Change { old: old.as_ref(), apart: None, ..*change };
    let outcome = Box::pin(shown_mutate(&change, object, rounds)).await;
    apart.say(apply::taken(object).as_ref(), change.notes);
    outcome
}

/// The same, of objects that have with them who owns what.
async fn shown_mutate(change: &Change<'_>, object: &mut Value, rounds: &mut Rounds) -> Outcome<()> {
    let began = Instant::now();
    let outcome = policies::mutating::mutate(change, object, &mut rounds.policies).boxed().await;
    note(change, "MutatingAdmissionPolicy", true, &outcome, began);
    outcome?;
    let began = Instant::now();
    let outcome = webhooks::mutate::mutate(change, Some(object), &mut rounds.hooks).boxed().await;
    note(change, "MutatingAdmissionWebhook", true, &outcome, began);
    outcome
}

/// Lets policies and webhooks have their say about what is sent to a part of an object in a form of its own, or about
/// what is connected to. No plugin looks at those.
pub(crate) async fn ask_others(change: &Change<'_>, sent: &mut Value) -> Outcome<()> {
    let mut rounds = Rounds::default();
    others_mutate(change, sent, &mut rounds).await?;
    if rounds.again() {
        others_mutate(change, sent, &mut rounds).await?;
    }
    others_validate(&Attributes { change, object: Some(sent) }).await
}

async fn others_validate(attributes: &Attributes<'_>) -> Outcome<()> {
    let change = attributes.change;
    let Some(apart) = change.apart.filter(|_| change.server.registered.validates()) else {
        return shown_validate(attributes).await;
    };
    let old = change.old.map(|old| apart.old.with(old));
    let object = attributes.object.map(|object| apart.now().with(object));
    let change = Change { old: old.as_ref(), apart: None, ..*change };
    Box::pin(shown_validate(&Attributes { change: &change, object: object.as_ref() })).await
}

/// The same, of objects that have with them who owns what.
async fn shown_validate(attributes: &Attributes<'_>) -> Outcome<()> {
    let change = attributes.change;
    let began = Instant::now();
    let outcome = policies::validating::validate(attributes).boxed().await;
    note(change, "ValidatingAdmissionPolicy", false, &outcome, began);
    outcome?;
    let began = Instant::now();
    let outcome = webhooks::validate::validate(attributes).boxed().await;
    note(change, "ValidatingAdmissionWebhook", false, &outcome, began);
    outcome
}

/// Lets every plugin refuse the object, which is as it is going to be stored, or as it is if it is to be deleted.
pub(crate) async fn validate(change: &Change<'_>, object: &Value) -> Outcome<()> {
    let began = Instant::now();
    let outcome = validated(change, object).await;
    change.server.admission_counts.step(false, change.operation, outcome.is_err(), began.elapsed());
    outcome
}

async fn validated(change: &Change<'_>, object: &Value) -> Outcome<()> {
    let is_deletion = change.operation == Operation::Delete;
    if is_deletion && change.asks_others {
        // There is nothing to change, but who changes objects is asked.
        webhooks::mutate::mutate(change, None, &mut Turns::default()).boxed().await?;
    }
    for plugin in super::plugins::LIST {
        if let Some(validate) = plugin.validate.filter(|_| (plugin.handles)(change)) {
            let began = Instant::now();
            let outcome = validate(change, object).await;
            note(change, plugin.name, false, &outcome, began);
            outcome?;
        }
    }
    if !change.asks_others {
        return Ok(());
    }
    others_validate(&Attributes { change, object: (!is_deletion).then_some(object) }).await
}

/// Counts what one of them said: whether in the first step, in which objects are changed.
fn note(change: &Change<'_>, name: &str, is_first: bool, outcome: &Outcome<()>, began: Instant) {
    change.server.admission_counts.plugin(
        name,
        is_first,
        change.operation,
        outcome.is_err(),
        began.elapsed(),
    );
    if let Err(failure) = outcome {
        tracing::debug!(plugin = name, why = failure.status().message, "a write is refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_cut_where_all_together_are_too_long() {
        let few = vec!["ü".repeat(WARNINGS_MAX)];
        assert_eq!(bounded(&few), few, "characters count, not bytes");
        let many: Vec<String> = (0..40).map(|at| format!("{at:02}{}", "x".repeat(200 + at * 10))).collect();
        let kept = bounded(&many);
        assert!(kept.iter().all(|text| text.chars().count() <= WARNING_CUT));
        let written: usize = kept.iter().map(String::len).sum();
        assert!((WARNINGS_MAX..WARNINGS_MAX + WARNING_CUT).contains(&written), "{written}");
        assert!(kept.iter().zip(&many).all(|(kept, whole)| whole.starts_with(kept.as_str())));
        let notes = Notes::default();
        for text in ["a", "a", "b"] {
            notes.warn(text);
        }
        assert_eq!(notes.warnings(), ["a", "b"]);
        (0..100_000).for_each(|at| notes.warn(format!("spec.constraints[{at}]: none of them")));
        assert!(notes.warnings.lock().texts.len() < 200, "{}", notes.warnings.lock().texts.len());
        assert!(notes.warnings().concat().len() >= WARNINGS_MAX);
    }
}

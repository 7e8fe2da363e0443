//! Plugins: rules that look beyond one object, as rows of a list that every write goes through.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_error::{Error, Kind};
use hako_store::Range;
use parking_lot::Mutex;
use serde_json::Value;

use crate::auth::Identity;
use crate::http::{Failure, Outcome};
use crate::kinds::{self, KindRow};
use crate::resource::{Target, head_value, registry_key, registry_prefix};
use crate::server::Inner;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
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
}

/// What plugins have to say besides yes and no.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<BTreeMap<String, String>>,
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
    pub mutate: for<'a> fn(&'a Change<'a>, &'a mut Value) -> Verdict<'a>,
    /// Refuses the object as it is going to be stored, or its deletion.
    pub validate: for<'a> fn(&'a Change<'a>, &'a Value) -> Verdict<'a>,
}

impl Plugin {
    /// Lets everything pass: plugins override what they do.
    pub(super) const BASE: Self =
        Self { name: "", handles: |_| true, mutate: |_, _| pass(), validate: |_, _| pass() };
}

/// Nothing to object to.
pub(super) fn pass<'a>() -> Verdict<'a> {
    futures::future::ready(Ok(())).boxed()
}

impl Notes {
    /// Says something to the client, once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let (text, mut all) = (text.into(), self.warnings.lock());
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Says something to whoever reads the record of requests.
    pub(crate) fn annotate(&self, key: &str, value: impl Into<String>) {
        self.annotations.lock().insert(key.to_owned(), value.into());
    }

    /// All warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().clone()
    }

    /// All that is to be recorded so far.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.lock().clone()
    }
}

impl Change<'_> {
    /// Whether it is about objects of a kind, themselves or through a part.
    pub(super) fn is_of(&self, group: &str, plural: &str) -> bool {
        self.target.row.plural == plural && self.target.row.group == group
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
        let subject = self.target.subject();
        let text = format!("{} {:?} is forbidden: {why}", subject.group_resource(), self.target.name);
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
        let Some(row) = row(group, plural) else { return Ok(None) };
        let entry = self.server.config.store.get(&registry_key(row, namespace, name)).await?.entry;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
    }

    /// All objects of a kind, of a namespace or of all.
    pub(super) async fn all(&self, group: &str, plural: &str, namespace: &str) -> Outcome<Vec<Value>> {
        let Some(row) = row(group, plural) else { return Ok(Vec::new()) };
        let page = self.server.config.store.range(Range::all(registry_prefix(row, namespace))).await?;
        Ok(page.entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok()).collect())
    }

    /// The object's namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.target.namespace
    }
}

fn row(group: &str, plural: &str) -> Option<&'static KindRow> {
    kinds::by_resource(group, "v1", plural)
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

/// Lets every plugin change the object.
pub(crate) async fn mutate(change: &Change<'_>, object: &mut Value) -> Outcome<()> {
    for plugin in super::plugins::LIST {
        if (plugin.handles)(change) {
            (plugin.mutate)(change, object).await.inspect_err(|failure| refused(plugin, failure))?;
        }
    }
    Ok(())
}

/// Lets every plugin refuse the object, which is as it is going to be stored, or as it is if it is to be deleted.
pub(crate) async fn validate(change: &Change<'_>, object: &Value) -> Outcome<()> {
    for plugin in super::plugins::LIST {
        if (plugin.handles)(change) {
            (plugin.validate)(change, object).await.inspect_err(|failure| refused(plugin, failure))?;
        }
    }
    Ok(())
}

fn refused(plugin: &Plugin, failure: &Failure) {
    tracing::debug!(plugin = plugin.name, why = failure.status().message, "a write is refused");
}

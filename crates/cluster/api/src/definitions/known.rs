//! The definitions that are known, and the kinds that are served because of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hako_store::Entry;
use serde::Deserialize;

use super::names;
use crate::kinds::{Converter, Definition, Kinds, Names, Served, served_of};
use crate::server::Inner;

/// One definition.
#[derive(Debug)]
pub(super) struct One {
    pub uid: String,
    generation: i64,
    pub definition: Arc<Definition>,
    /// The names that are its own.
    pub accepted: Names,
    /// Names that somebody else has: reason and message.
    pub conflict: Option<(&'static str, String)>,
    /// Whether it has been served before, or is now.
    pub is_established: bool,
    pub is_ending: bool,
    /// Whether its status was looked at since it was read.
    pub is_told: bool,
    rows: Vec<Arc<Served>>,
    /// Those before it began to end, until they have successors.
    before: Vec<Arc<Served>>,
}

/// All definitions by name.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub all: BTreeMap<String, One>,
    has_changed: bool,
}

#[derive(Deserialize)]
struct Head {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    #[serde(default)]
    generation: i64,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    accepted_names: Names,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
}

impl Known {
    /// Takes in what is stored of a definition. One that cannot be read is as good as none.
    pub(super) fn put(&mut self, name: &str, entry: &Entry) {
        match self.read(name, entry) {
            Ok(one) => drop(self.all.insert(name.to_owned(), one)),
            Err(error) => {
                tracing::warn!(name, %error, "a definition of custom resources is left out");
                self.has_changed = true;
            }
        }
    }

    fn read(&mut self, name: &str, entry: &Entry) -> hako_error::Result<One> {
        let head: Head = serde_json::from_slice(&entry.value).map_err(|error| {
            let text = "a stored CustomResourceDefinition is damaged";
            hako_error::Error::new(hako_error::Kind::DataLoss, text).with_source(error)
        })?;
        let Metadata { uid, generation, deletion_timestamp } = head.metadata;
        let before = self.all.remove(name).filter(|before| before.uid == uid);
        let is_ending = deletion_timestamp.is_some();
        let was_ending = before.as_ref().is_some_and(|before| before.is_ending);
        // That it is to go is a generation of its own.
        let changes = i64::from(is_ending && !was_ending);
        let is_same = before.as_ref().is_some_and(|before| before.generation + changes == generation);
        let (definition, rows) = match &before {
            Some(before) if is_same => {
                before.definition.renew(&entry.value);
                (Arc::clone(&before.definition), before.rows.clone())
            }
            _ => (Arc::new(Definition::read(&entry.value)?), Vec::new()),
        };
        if !is_same || is_ending != was_ending {
            self.has_changed = true;
        }
        let was_established =
            |condition: &Condition| condition.kind == "Established" && condition.status == "True";
        // What this server accepted may not be stored yet.
        let accepted = before.as_ref().map_or(head.status.accepted_names, |before| before.accepted.clone());
        let conflict = before.as_ref().and_then(|before| before.conflict.clone());
        // Who watches is told of the end of each object, not only of that of the kind.
        let predecessors = match &before {
            Some(before) if is_same && rows.is_empty() => before.before.clone(),
            _ => rows.clone(),
        };
        let rows = if is_ending == was_ending { rows } else { Vec::new() };
        let is_established = before.is_some_and(|before| before.is_established)
            || head.status.conditions.iter().any(was_established);
        Ok(One {
            uid,
            generation,
            definition,
            accepted,
            conflict,
            is_established,
            is_ending,
            is_told: false,
            rows,
            before: predecessors,
        })
    }

    /// A definition is gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.has_changed |= self.all.remove(name).is_some();
    }

    /// Forgets all but these.
    pub(super) fn keep_only<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let names: std::collections::BTreeSet<&str> = names.collect();
        let before = self.all.len();
        self.all.retain(|name, _| names.contains(name.as_str()));
        self.has_changed |= self.all.len() != before;
    }

    /// Says whose the names are, and serves what can be served.
    pub(super) fn serve(&mut self, server: &Inner) {
        if !std::mem::take(&mut self.has_changed) {
            return;
        }
        names::settle(&mut self.all);
        let built_in = Kinds::built_in().all().iter().cloned();
        let mut defined = Vec::new();
        for one in self.all.values_mut().filter(|one| one.is_established) {
            if one.rows.is_empty() {
                let mut rows = served_of(&one.definition, &one.accepted, one.is_ending);
                for row in &mut rows {
                    if let Some(before) = one.before.iter().find(|before| before.version == row.version) {
                        row.succeed(before);
                    }
                }
                one.before.clear();
                one.rows = rows.into_iter().map(Arc::new).collect();
            }
            defined.extend(one.rows.iter().cloned());
        }
        defined.sort_by(|one, other| {
            let newest = || hako_kube::version::compare(&other.version, &one.version);
            one.group.cmp(&other.group).then_with(newest).then_with(|| one.plural.cmp(&other.plural))
        });
        server.kinds.serve(Kinds::new(built_in.chain(defined).collect()));
        server.requests.keep_only(&server.kinds.now());
        server.aggregated.kinds_changed();
    }
}

impl One {
    /// Whether there is nothing to decide about its names.
    pub(super) fn has_all_names(&self) -> bool {
        self.is_established && self.conflict.is_none() && self.accepted == self.definition.names
    }

    /// Whether who converts, if anybody does, can be trusted at all.
    pub(super) fn has_trustable_converter(&self) -> bool {
        self.definition.converter.as_ref().is_none_or(Converter::is_trustable)
    }

    /// Names it has come to own, and what of those it wishes for it has not; kinds that were made under others are made
    /// anew.
    pub(super) fn accept(&mut self, names: Names, conflict: Option<(&'static str, String)>) {
        let is_established = self.is_established || conflict.is_none() && self.has_trustable_converter();
        if self.accepted != names {
            self.accepted = names;
            self.rows.clear();
            self.before.clear();
            self.is_told = false;
        }
        if (&self.conflict, self.is_established) != (&conflict, is_established) {
            (self.conflict, self.is_established) = (conflict, is_established);
            self.is_told = false;
        }
    }

    /// The kind in the form in which its objects are kept, also where that is not served.
    pub(super) fn kept(&self) -> Arc<Served> {
        let kept = self.rows.iter().find(|row| row.is_kept).cloned();
        kept.unwrap_or_else(|| Arc::new(crate::kinds::kept_of(&self.definition)))
    }
}

//! Which definitions of custom resources are in effect.
//!
//! Owns: following the stored definitions, which names are whose, their conditions, putting the kinds that come of them
//! into the registry and taking them out, and clearing away the objects of one that is deleted.
//! Does not own: what a definition means (`kinds`), the objects (`resource`).
//!
//! Invariant: the registry is changed here alone, and before the definition says that it is so. What is said in a status
//! follows from the specs and from what was accepted before; any server may say it again.

mod clear;
mod known;
mod names;
mod tell;

use std::sync::Arc;

use hako_error::Result;
use hako_store::{Entry, Event, EventKind};

use crate::followed::{self, Followed, rest};
use crate::server::Inner;
use known::Known;

/// Puts into effect what is stored, and follows it from then on.
pub(crate) async fn start(server: &Arc<Inner>) -> Result<()> {
    Ok(followed::follow(server, Known::default()).await?)
}

fn name_of(key: &[u8]) -> &str {
    rest::<Known>(key)
}

impl Followed for Known {
    const PREFIX: &'static str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
    const WHAT: &'static str = "definitions of custom resources";

    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]) {
        self.keep_only(entries.iter().map(|entry| name_of(&entry.key)));
        for entry in entries {
            self.put(name_of(&entry.key), entry);
        }
        self.serve(server);
    }

    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]) {
        for event in events {
            match event.kind {
                EventKind::Put => self.put(name_of(&event.entry.key), &event.entry),
                EventKind::Delete => self.remove(name_of(&event.entry.key)),
            }
        }
        self.serve(server);
    }

    async fn settle(&mut self, server: &Arc<Inner>) -> bool {
        tell::all(server, self).await
    }
}

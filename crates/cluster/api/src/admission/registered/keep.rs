//! Keeps the lists as the store is.

use std::sync::Arc;

use hako_store::{Entry, Event, EventKind};

use super::{Index, Part};
use crate::followed::{Followed, rest};
use crate::server::Inner;

impl Followed for Index {
    const PREFIX: &'static str = "/registry/admissionregistration.k8s.io/";
    const WHAT: &'static str = "webhooks and policies";

    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]) {
        *self = Self::default();
        for entry in entries {
            take(self, &entry.key, Some(&entry.value));
        }
        server.registered.set(self);
    }

    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]) {
        for event in events {
            let stored = (event.kind == EventKind::Put).then_some(&event.entry.value[..]);
            take(self, &event.entry.key, stored);
        }
        server.registered.set(self);
    }
}

/// Takes in what a key holds.
fn take(index: &mut Index, key: &[u8], stored: Option<&[u8]>) {
    let Some((part, name)) = place(key) else { return };
    let object = stored.and_then(|stored| serde_json::from_slice(stored).ok());
    index.put(part, name, object.as_ref());
}

/// What a key is of, and the name.
fn place(key: &[u8]) -> Option<(Part, &str)> {
    let (plural, name) = rest::<Index>(key).split_once('/')?;
    let part = match plural {
        "mutatingwebhookconfigurations" => Part::MutatingHooks,
        "validatingwebhookconfigurations" => Part::ValidatingHooks,
        "mutatingadmissionpolicies" => Part::Mutating,
        "mutatingadmissionpolicybindings" => Part::MutatingBinding,
        "validatingadmissionpolicies" => Part::Validating,
        "validatingadmissionpolicybindings" => Part::ValidatingBinding,
        _ => return None,
    };
    Some((part, name))
}

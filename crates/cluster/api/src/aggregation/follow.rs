//! Keeps the APIServices as the store is.

use std::sync::Arc;

use hako_error::Result;
use hako_store::{Entry, Event, EventKind};

use super::{ApiService, Services, check, locals};
use crate::followed::{self, Followed, rest};
use crate::server::Inner;

/// Makes the APIServices of this server, reads all there are, and follows them from then on.
pub(crate) async fn start(server: &Arc<Inner>) -> Result<()> {
    // Without them all is served as with them.
    if let Err(error) = locals::make(server).await {
        tracing::warn!(%error, "the APIServices of this server's own kinds could not be made");
    }
    followed::follow(server, Stored).await?;
    tokio::spawn(locals::keep(Arc::downgrade(server), server.stop.clone()));
    Ok(())
}

/// The APIServices that are stored; what is made of them is the server's.
struct Stored;

fn name_of(key: &[u8]) -> &str {
    rest::<Stored>(key)
}

impl Followed for Stored {
    const PREFIX: &'static str = "/registry/apiregistration.k8s.io/apiservices/";
    const WHAT: &'static str = "APIServices";

    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]) {
        let before = server.aggregated.now();
        let mut now = Services::new();
        for entry in entries {
            let name = name_of(&entry.key);
            if let Some(known) = before.get(name) {
                now.insert(name.to_owned(), Arc::clone(known));
            }
            put(server, &mut now, name, &entry.value);
        }
        for (_, gone) in before.iter().filter(|(name, _)| !now.contains_key(*name)) {
            gone.end();
        }
        server.aggregated.set(now);
    }

    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]) {
        let mut services = (*server.aggregated.now()).clone();
        let mut has_changed = false;
        for event in events {
            let name = name_of(&event.entry.key);
            has_changed |= match event.kind {
                EventKind::Put => put(server, &mut services, name, &event.entry.value),
                EventKind::Delete => remove(&mut services, name),
            };
        }
        if has_changed {
            server.aggregated.set(services);
        }
    }
}

/// Takes in what is stored; whether that is another than before.
fn put(server: &Arc<Inner>, services: &mut Services, name: &str, stored: &[u8]) -> bool {
    let Some(read) = ApiService::read(server, name, stored) else {
        tracing::warn!(name, "an APIService cannot be read and is left out");
        return remove(services, name);
    };
    let is_same = |known: &ApiService| {
        known.uid == read.uid && known.spec == read.spec && known.is_automanaged == read.is_automanaged
    };
    if let Some(known) = services.get(name).filter(|known| is_same(known)) {
        known.take_status(&read);
        return false;
    }
    remove(services, name);
    if let Some(remote) = &read.remote {
        tokio::spawn(check::follow(Arc::downgrade(server), Arc::clone(remote)));
    }
    services.insert(name.to_owned(), Arc::new(read));
    true
}

fn remove(services: &mut Services, name: &str) -> bool {
    let gone = services.remove(name);
    if let Some(gone) = &gone {
        gone.end();
    }
    gone.is_some()
}

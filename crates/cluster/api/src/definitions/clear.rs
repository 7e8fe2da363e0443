//! The objects of a definition that is deleted go first, then the definition.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_client::{Patch, WriteOptions};
use hako_error::{Error, Kind};
use hako_store::Range;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::known::One;
use super::tell::api;
use crate::kinds::Served;
use crate::kinds::custom_resource::{CLEANUP, condition, set_condition};
use crate::resource::{self, registry_prefix};
use crate::server::Inner;

/// How long it is waited for a change of what is left, before it is looked at again.
const AGAIN: Duration = Duration::from_secs(5);
const TERMINATING: &str = "Terminating";

/// Begins to clear away the objects of a definition, if nobody does so yet.
pub(super) fn begin(server: &Arc<Inner>, name: &str, one: &One) {
    if !server.clearing.lock().insert(one.uid.clone()) {
        return;
    }
    let (weak, name, uid, row) = (Arc::downgrade(server), name.to_owned(), one.uid.clone(), one.kept());
    let stop = server.stop.clone();
    tokio::spawn(async move {
        until_gone(&weak, &name, &uid, &row, &stop).await;
        if let Some(inner) = weak.upgrade() {
            inner.clearing.lock().remove(&uid);
        }
    });
}

async fn until_gone(
    server: &Weak<Inner>,
    name: &str,
    uid: &str,
    row: &Arc<Served>,
    stop: &CancellationToken,
) {
    while !stop.is_cancelled() {
        let Some(inner) = server.upgrade() else { return };
        let step = step(&inner, name, uid, row).await;
        let waited = match step {
            Ok(Step::Gone) => return,
            Ok(Step::Left(after)) => {
                inner.config.store.watch(Bytes::from(registry_prefix(row, "")), after).await.ok()
            }
            Err(error) => {
                tracing::debug!(name, %error, "objects of a deleted definition are not gone yet");
                None
            }
        };
        drop(inner);
        let change = async {
            match waited {
                Some(mut watch) => drop(watch.next().await),
                None => std::future::pending().await,
            }
        };
        let _ = stop.run_until_cancelled(tokio::time::timeout(AGAIN, change)).await;
    }
}

enum Step {
    /// There is nothing left to do.
    Gone,
    /// Objects are left whose finalizers hold them.
    Left(hako_store::Revision),
}

async fn step(server: &Arc<Inner>, name: &str, uid: &str, row: &Arc<Served>) -> Result<Step, Error> {
    let definition = match api(server).get(name).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(Step::Gone),
        other => other?,
    };
    let is_ours = definition["metadata"]["uid"] == uid;
    if !is_ours || !finalizers(&definition).iter().any(|it| it == CLEANUP) {
        return Ok(Step::Gone);
    }
    if let Err(failure) = resource::clear(server, row).await {
        let why = format!("could not issue all deletes: {}", failure.status().message);
        say(server, name, definition, condition(TERMINATING, "True", "InstanceDeletionFailed", &why)).await?;
        return Err(failure.status().to_error());
    }
    let prefix = Bytes::from(registry_prefix(row, ""));
    let page = server.config.store.range(Range { limit: 1, ..Range::all(prefix) }).await?;
    if page.entries.is_empty() {
        let done = condition(TERMINATING, "False", "InstanceDeletionCompleted", "removed all instances");
        say(server, name, definition, done).await?;
        release(server, name, uid).await?;
        return Ok(Step::Gone);
    }
    let going = "CustomResource deletion is in progress";
    say(server, name, definition, condition(TERMINATING, "True", "InstanceDeletionInProgress", going))
        .await?;
    Ok(Step::Left(page.revision))
}

fn finalizers(object: &Value) -> &[Value] {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Writes how far it is.
async fn say(server: &Arc<Inner>, name: &str, mut definition: Value, condition: Value) -> Result<(), Error> {
    let before = definition["status"]["conditions"].clone();
    set_condition(&mut definition, condition);
    if definition["status"]["conditions"] == before {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": definition["metadata"]["resourceVersion"]},
        "status": {"conditions": definition["status"]["conditions"]},
    });
    api(server).patch(name, Some("status"), &Patch::Merge(patch), &WriteOptions::default()).await.map(drop)
}

/// Lets go of the definition.
async fn release(server: &Arc<Inner>, name: &str, uid: &str) -> Result<(), Error> {
    let definition = api(server).get(name).await?;
    let left: Vec<&Value> = finalizers(&definition).iter().filter(|it| *it != CLEANUP).collect();
    let patch = json!({"metadata": {
        "uid": uid, "resourceVersion": definition["metadata"]["resourceVersion"], "finalizers": left,
    }});
    api(server).patch(name, None, &Patch::Merge(patch), &WriteOptions::default()).await.map(drop)
}

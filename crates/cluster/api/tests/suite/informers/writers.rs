//! Who writes: each object has one writer, who counts up with every attempt and now and then deletes and makes it anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hako_client::{Api, DeleteOptions, Patch};
use hako_error::Kind;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bed::Bed;
use super::until;
use crate::contract::from;

/// Every so many writes the object is deleted first.
const DELETED_EVERY: u64 = 7;

pub struct Writers {
    stop: CancellationToken,
    written: Arc<AtomicUsize>,
    tasks: JoinSet<BTreeSet<(String, u64)>>,
}

impl Writers {
    pub fn start(bed: &Bed, objects: usize) -> Self {
        let (stop, written, mut tasks) = (CancellationToken::new(), Arc::default(), JoinSet::new());
        for at in 0..objects {
            let api = bed.straight().namespaced("default");
            tasks.spawn(write(api, format!("o{at}"), stop.clone(), Arc::clone(&written)));
        }
        Self { stop, written, tasks }
    }

    /// Returns after so many more writes.
    pub async fn go_on(&self, writes: usize) {
        let goal = self.written.load(Ordering::Relaxed) + writes;
        until("writes", async || match self.written.load(Ordering::Relaxed) {
            written if written >= goal => Ok(()),
            written => Err(format!("{written} of {goal}")),
        })
        .await;
    }

    /// Every write that was acknowledged.
    pub async fn stop(mut self) -> BTreeSet<(String, u64)> {
        self.stop.cancel();
        let mut all = BTreeSet::new();
        while let Some(written) = self.tasks.join_next().await {
            all.extend(written.unwrap());
        }
        all
    }
}

async fn write(
    api: Api<ConfigMap>,
    name: String,
    stop: CancellationToken,
    written: Arc<AtomicUsize>,
) -> BTreeSet<(String, u64)> {
    let mut acknowledged = BTreeSet::new();
    let mut counter = 0;
    while !stop.is_cancelled() {
        counter += 1;
        if counter % DELETED_EVERY == 0 {
            let _ = api.delete(&name, &DeleteOptions::default()).await;
        }
        match count(&api, &name, counter).await {
            Ok(()) => {
                acknowledged.insert((name.clone(), counter));
                written.fetch_add(1, Ordering::Relaxed);
            }
            // The server is away; whether the write was done, nobody says.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    acknowledged
}

/// Writes a counter, into a new object where there is none.
async fn count(api: &Api<ConfigMap>, name: &str, counter: u64) -> hako_error::Result<()> {
    let data = json!({"n": counter.to_string()});
    match api.patch(name, &Patch::Merge(json!({"data": data}))).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let labels = json!({"counts": "yes"});
            let object: ConfigMap = from(json!({"metadata": {"name": name, "labels": labels}, "data": data}));
            api.create(&object).await.map(drop)
        }
        other => other.map(drop),
    }
}

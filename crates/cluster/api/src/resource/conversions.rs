//! Conversions for watches: what a webhook makes of an object is asked for once for all who watch a kind in one version,
//! as an event's frame is encoded once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use hako_kube::Status;
use hako_store::{Entry, Revision};
use parking_lot::Mutex;

use super::convert;
use crate::http::{Failure, Outcome};
use crate::kinds::Served;
use crate::server::Inner;

/// Conversions that are remembered, and the bytes of what they are of; watchers further behind ask for themselves.
const REMEMBERED: usize = 512;
const REMEMBERED_BYTES: usize = 16 << 20;

type Made = Result<Arc<Entry>, Arc<Status>>;
type Making = Shared<BoxFuture<'static, Made>>;

/// What is converted, or is being converted, those last asked for at the end.
#[derive(Default)]
pub(crate) struct Conversions(Mutex<VecDeque<Conversion>>);

struct Conversion {
    row: Arc<Served>,
    key: Bytes,
    at: Revision,
    bytes: usize,
    making: Making,
}

impl fmt::Debug for Conversions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversions").field("remembered", &self.0.lock().len()).finish_non_exhaustive()
    }
}

impl Conversion {
    fn is_of(&self, row: &Arc<Served>, entry: &Entry) -> bool {
        self.at == entry.modified && self.key == entry.key && self.row.is_same(row)
    }
}

impl Conversions {
    /// An entry in the version of the kind.
    pub(super) async fn shown(
        &self,
        server: &Arc<Inner>,
        row: &Arc<Served>,
        entry: Arc<Entry>,
    ) -> Outcome<Arc<Entry>> {
        if !convert::is_other(row, &entry.value) {
            return Ok(entry);
        }
        let made = self.making(server, row, &entry).await;
        made.map_err(|status| {
            // Whoever comes later may find the webhook well again.
            self.0.lock().retain(|known| !known.is_of(row, &entry));
            Failure::from((*status).clone())
        })
    }

    fn making(&self, server: &Arc<Inner>, row: &Arc<Served>, entry: &Arc<Entry>) -> Making {
        let mut all = self.0.lock();
        if let Some(known) = all.iter().rev().find(|known| known.is_of(row, entry)) {
            return known.making.clone();
        }
        let making = begin(server, row, entry);
        all.push_back(Conversion {
            row: Arc::clone(row),
            key: entry.key.clone(),
            at: entry.modified,
            bytes: entry.value.len(),
            making: making.clone(),
        });
        let bytes = |all: &VecDeque<Conversion>| all.iter().map(|known| known.bytes).sum::<usize>();
        while all.len() > REMEMBERED || all.len() > 1 && bytes(&all) > REMEMBERED_BYTES {
            all.pop_front();
        }
        making
    }
}

/// A task of its own, so that it comes to its end whoever of those who wait goes away.
fn begin(server: &Arc<Inner>, row: &Arc<Served>, entry: &Arc<Entry>) -> Making {
    let (server, row, entry) = (Arc::clone(server), Arc::clone(row), Arc::clone(entry));
    let task = tokio::spawn(async move {
        let stop = server.stop.clone();
        let made = stop.run_until_cancelled(convert::shown(&server, &row, entry)).await;
        let made = made.ok_or_else(|| Failure::from(failed("the API server is stopping")));
        made.flatten().map_err(|failure| Arc::new(failure.status().clone()))
    });
    let ended = |ended: Result<Made, tokio::task::JoinError>| {
        ended.unwrap_or_else(|error| Err(Arc::new(failed(&error.to_string()))))
    };
    task.map(ended).boxed().shared()
}

fn failed(why: &str) -> Status {
    Status::failure(500, "InternalError", format!("an object could not be converted: {why}"))
}

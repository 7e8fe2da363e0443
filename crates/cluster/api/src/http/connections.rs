//! Connections that there are and what goes on on each. Neither a client that says nothing, nor one that is done, nor
//! one that does not take its answers keeps a place for long; and when all places are taken, the connection gives way
//! that has had nothing to say for longest, those of nobody before those of somebody.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hako_client::Body;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::Limits;

/// How often it is looked whether a connection may give way, while none may.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// All connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    all: Mutex<HashMap<u64, Arc<Activity>>>,
    last: Mutex<u64>,
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    number: u64,
    pub activity: Arc<Activity>,
    _place: OwnedSemaphorePermit,
}

/// What goes on on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    gives_way: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not sent yet.
    open: usize,
    has_begun: bool,
    /// Whether anything was asked on it by somebody.
    is_known: bool,
    since: Instant,
    gives_way: bool,
    /// Answers on their way that do not last, and when the client last took something of them.
    sending: HashMap<u64, Instant>,
    last_answer: u64,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It has begun, and nothing is asked on it: whoever is there may be told.
    Idle,
    /// Nothing was ever asked.
    Silent,
    /// An answer is not taken.
    Stalled,
}

/// A request whose answer is not sent yet.
#[derive(Debug)]
pub(super) struct Open {
    activity: Arc<Activity>,
    answer: Option<u64>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(limit)),
            all: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// A place for a connection that was accepted; another one may have to give way for it.
    pub(super) async fn place(self: &Arc<Self>) -> Connection {
        let place = loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                break place;
            }
            self.make_way();
            let next = Arc::clone(&self.places).acquire_owned();
            if let Ok(Ok(place)) = tokio::time::timeout(LOOK_AGAIN, next).await {
                break place;
            }
        };
        let activity = Arc::new(Activity::new());
        let number = {
            let mut last = self.last.lock();
            *last += 1;
            *last
        };
        self.all.lock().insert(number, Arc::clone(&activity));
        Connection { connections: Arc::clone(self), number, activity, _place: place }
    }

    fn make_way(&self) {
        let all = self.all.lock();
        let longest = all
            .values()
            .filter_map(|activity| {
                let state = activity.state.lock();
                (state.open == 0 && !state.gives_way).then_some(((state.is_known, state.since), activity))
            })
            .min_by_key(|(order, _)| *order);
        if let Some((_, activity)) = longest {
            activity.state.lock().gives_way = true;
            activity.gives_way.notify_one();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.all.lock().remove(&self.number);
    }
}

impl Activity {
    fn new() -> Self {
        let state = State {
            open: 0,
            has_begun: false,
            is_known: false,
            since: Instant::now(),
            gives_way: false,
            sending: HashMap::new(),
            last_answer: 0,
        };
        Self { state: Mutex::new(state), gives_way: Notify::new() }
    }

    /// A request has come.
    pub(super) fn open(activity: &Arc<Self>) -> Open {
        let mut state = activity.state.lock();
        state.open += 1;
        state.has_begun = true;
        Open { activity: Arc::clone(activity), answer: None }
    }

    /// Returns once nothing has gone on for too long, or it has to give way.
    pub(super) async fn over(&self, limits: &Limits) -> Over {
        loop {
            let due = match self.state.lock().look(limits) {
                Ok(over) => return over,
                Err(due) => due,
            };
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.gives_way.notified() => {}
            }
        }
    }
}

impl State {
    /// Whether it is over, or when that is to be asked again.
    fn look(&self, limits: &Limits) -> Result<Over, Instant> {
        let now = Instant::now();
        let idle = if self.has_begun { Over::Idle } else { Over::Silent };
        if self.open == 0 {
            let limit = if self.has_begun { limits.idle_time } else { limits.header_time };
            let due = self.since + limit;
            return if self.gives_way || due <= now { Ok(idle) } else { Err(due) };
        }
        let stalls = self.sending.values().min().map(|taken| *taken + limits.send_time);
        match stalls {
            Some(due) if due <= now => Ok(Over::Stalled),
            Some(due) => Err(due),
            // Whatever begins until then does not end earlier.
            None => Err(now + limits.idle_time.min(limits.send_time)),
        }
    }
}

impl Open {
    /// The answer has begun. One that lasts may be taken as slowly as the client likes.
    pub(super) fn answered(mut self, body: Body, is_long: bool, is_known: bool) -> Body {
        {
            let mut state = self.activity.state.lock();
            state.is_known |= is_known;
            if !is_long {
                state.last_answer += 1;
                let answer = state.last_answer;
                state.sending.insert(answer, Instant::now());
                self.answer = Some(answer);
            }
        }
        Sent { body, open: self }.boxed_unsync()
    }

    fn taken(&self) {
        let Some(answer) = self.answer else { return };
        if let Some(taken) = self.activity.state.lock().sending.get_mut(&answer) {
            *taken = Instant::now();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.open -= 1;
        state.since = Instant::now();
        if let Some(answer) = self.answer {
            state.sending.remove(&answer);
        }
    }
}

/// A body on its way.
struct Sent {
    body: Body,
    open: Open,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = hako_error::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.open.taken();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

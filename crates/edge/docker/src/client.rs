//! Who asks, and whether they are still there: a connection on which nobody says anything tells it only to those who look.

use crate::DockerState;
use crate::error::{Failure, invalid};
use crate::frame::wants_upgrade;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use hako_error::{Error, Kind};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How often a silent connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long output waits for a client to take the head of its answer.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest pause between two looks for that.
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
/// Connections that carry raw streams at the same time: each holds a task, descriptors and buffers.
const MOST_SESSIONS: usize = 1024;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<OwnedFd>);

impl Client {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        Ok(Self(Arc::new(stream.as_fd().try_clone_to_owned()?)))
    }

    /// Ends when the client has closed its end for good. One that only sends no more is still there.
    pub(crate) async fn gone(self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            if self.is_gone() {
                return;
            }
        }
    }

    /// Ends when the client has read all that was written to it, or is gone, or takes too long.
    ///
    /// Some (docker-py) read an answer's head with all that has come by then, and the raw stream from the socket behind
    /// it: output that came together with the head would be lost to them, and programs here end that soon.
    pub(crate) async fn has_read(&self) {
        let until = Instant::now() + HEAD_TIME;
        let mut pause = Duration::from_millis(1);
        while Instant::now() < until
            && hako_sys::unread_by_peer(self.0.as_fd()).is_ok_and(|unread| unread > 0)
        {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn is_gone(&self) -> bool {
        let mut ends = [PollFd::new(&*self.0, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut ends, Some(&now)).is_ok() && ends[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// The answer, whose stream ends when nobody is left to read it.
    pub(crate) fn reads(self, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(self.gone()))))
    }
}

/// Drops what a handler does when its client goes before it is answered: a layer for routes whose work is for who asks, and
/// long. A connection that has more to send than was read says by nothing else that it was closed.
pub(crate) async fn until_gone(request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().cloned();
    answered(client, next.run(request)).await
}

/// The same for one request.
pub(crate) async fn answered<R: IntoResponse>(
    client: Option<Client>,
    work: impl Future<Output = R>,
) -> Response {
    let Some(client) = client else { return work.await.into_response() };
    tokio::select! {
        answer = work => answer.into_response(),
        () = client.gone() => {
            Failure(Error::new(Kind::Cancelled, "the client has left")).into_response()
        }
    }
}

/// The places for sessions of all clients.
#[derive(Debug)]
pub(crate) struct Sessions(Arc<Semaphore>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_SESSIONS)))
    }
}

/// A connection that is to carry raw streams, and its place among them.
#[derive(Debug)]
pub(crate) struct Hijack {
    pub(crate) connection: OnUpgrade,
    pub(crate) client: Client,
    pub(crate) place: OwnedSemaphorePermit,
}

impl Hijack {
    /// What the client asks for, if it does.
    ///
    /// # Errors
    /// `Unavailable` when there are too many.
    pub(crate) fn asked(state: &DockerState, request: &mut Request) -> Result<Option<Self>, Failure> {
        if !wants_upgrade(request.headers()) {
            return Ok(None);
        }
        let Some(connection) = request.extensions_mut().remove::<OnUpgrade>() else { return Ok(None) };
        let client = request.extensions().get::<Client>().cloned();
        let client = client.ok_or_else(|| invalid("the connection cannot be upgraded"))?;
        Ok(Some(Self { connection, client, place: place(state)? }))
    }
}

/// A place for one more session.
pub(crate) fn place(state: &DockerState) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(&state.sessions.0).try_acquire_owned().map_err(|_| {
        let text = format!("there are {MOST_SESSIONS} attached clients already: try later");
        Failure(Error::new(Kind::Unavailable, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_client_that_sends_no_more_is_there_and_one_that_closed_is_not() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let client = Client::of(&ours).unwrap();
        theirs.shutdown().await.unwrap();
        assert!(!client.is_gone());
        drop(theirs);
        assert!(client.is_gone());
        tokio::time::timeout(Duration::from_secs(20), client.gone()).await.unwrap();
    }
}

//! Archives that are made while they are sent.

use crate::error::{Answer, Failure};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hako_error::{Error, Kind, Result};
use http::header;
use std::io::{self, BufWriter, ErrorKind, Write};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, once};

/// Bytes that are collected before they are sent.
const PIECE: usize = 256 << 10;
/// Pieces that may wait for a slow client.
const AHEAD: usize = 4;

/// An answer whose body `write` makes in a thread of its own. What fails before a first piece of it was made is answered
/// as an error; after that the connection breaks off: an archive that is not whole must not look so.
pub(crate) async fn answer(write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static) -> Answer {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
        if let Err(error) = write(&mut out).and_then(|()| out.flush().map_err(gone)) {
            tracing::warn!(error = %error.chain(), "an archive was not sent whole");
            // Nobody listens if the client went away.
            let _ = sender.blocking_send(Err(error));
        }
    });
    let body = match receiver.recv().await {
        None => Body::empty(),
        Some(Err(error)) => return Err(Failure(error)),
        Some(first) => Body::from_stream(once(first).chain(ReceiverStream::new(receiver))),
    };
    Ok(tar(body))
}

fn tar(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-tar")], body).into_response()
}

fn gone(source: io::Error) -> Error {
    Error::new(Kind::Cancelled, "the client went away").with_source(source)
}

/// An archive that somebody else writes, and the answer that it becomes.
pub(crate) fn pipe() -> (Pipe, Response) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let out = BufWriter::with_capacity(PIECE, Pieces(sender));
    (Pipe(out), tar(Body::from_stream(ReceiverStream::new(receiver))))
}

/// The writing end. Not finished, it breaks the connection off.
pub(crate) struct Pipe(BufWriter<Pieces>);

impl Pipe {
    /// What breaks the connection off when the writing end is gone.
    pub(crate) fn breaker(&self) -> Breaker {
        Breaker(self.0.get_ref().0.clone())
    }

    /// The archive is whole.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.0.flush().map_err(gone)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Ends an archive so that it does not look whole.
pub(crate) struct Breaker(mpsc::Sender<Result<Bytes, Error>>);

impl Breaker {
    pub(crate) async fn fail(self, error: &Error) {
        // Nobody listens if the client went away.
        let _ = self.0.send(Err(Error::new(error.kind(), error.chain()))).await;
    }
}

/// Hands written bytes on to the connection.
#[derive(Debug)]
struct Pieces(mpsc::Sender<Result<Bytes, Error>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_archive_that_fails_half_way_does_not_end_well() {
        let whole = answer(|out| {
            out.write_all(b"abc").unwrap();
            Ok(())
        });
        let whole = whole.await.unwrap();
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), "abc");
        let broken = answer(|out| {
            out.write_all(&[0; 2 * PIECE]).unwrap();
            Err(Error::new(Kind::Internal, "disk gone"))
        });
        assert!(broken.await.unwrap().into_body().collect().await.is_err());
    }

    #[tokio::test]
    async fn an_archive_that_fails_before_any_of_it_was_sent_is_an_error() {
        let broken = answer(|out| {
            out.write_all(b"abc").unwrap();
            Err(Error::new(Kind::DataLoss, "layer a is damaged"))
        });
        let error = broken.await.unwrap_err().0;
        assert_eq!((error.kind(), error.chain()), (Kind::DataLoss, "layer a is damaged".to_owned()));
    }
}

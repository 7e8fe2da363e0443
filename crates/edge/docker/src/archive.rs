//! Archives that are made while they are sent.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hako_error::Result;
use http::header;
use std::io::{BufWriter, Error, ErrorKind, Write};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes that are collected before they are sent.
const PIECE: usize = 256 << 10;
/// Pieces that may wait for a slow client.
const AHEAD: usize = 4;

/// An answer whose body `write` makes in a thread of its own. When it fails the connection breaks off: an archive that
/// is not whole must not look so.
pub(crate) fn answer(write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
        let written = write(&mut out).map_err(|error| Error::other(error.chain()));
        if let Err(error) = written.and_then(|()| out.flush()) {
            tracing::warn!(%error, "an archive was not sent whole");
            // Nobody listens if the client went away.
            let _ = sender.blocking_send(Err(error));
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    ([(header::CONTENT_TYPE, "application/x-tar")], body).into_response()
}

/// An archive that somebody else writes, and the answer that it becomes.
pub(crate) fn pipe() -> (Pipe, Response) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let out = BufWriter::with_capacity(PIECE, Pieces(sender));
    let body = Body::from_stream(ReceiverStream::new(receiver));
    (Pipe(out), ([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
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
        self.0.flush().map_err(|error| {
            hako_error::Error::new(hako_error::Kind::Cancelled, "the client went away").with_source(error)
        })
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()
    }
}

/// Ends an archive so that it does not look whole.
pub(crate) struct Breaker(mpsc::Sender<Result<Bytes, Error>>);

impl Breaker {
    pub(crate) async fn fail(self, error: &hako_error::Error) {
        // Nobody listens if the client went away.
        let _ = self.0.send(Err(Error::other(error.chain()))).await;
    }
}

/// Hands written bytes on to the connection.
#[derive(Debug)]
struct Pieces(mpsc::Sender<Result<Bytes, Error>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        match self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
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
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), "abc");
        let broken = answer(|out| {
            out.write_all(&[0; 2 * PIECE]).unwrap();
            Err(hako_error::Error::new(hako_error::Kind::Internal, "disk gone"))
        });
        assert!(broken.into_body().collect().await.is_err());
    }
}

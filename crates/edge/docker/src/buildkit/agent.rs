//! A socket of this machine behind which the client's ssh agent answers.

use super::peer::piece;
use super::session::Session;
use futures::StreamExt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Conversations at the same time.
const MOST: usize = 16;
/// What is read at once.
const BUFFER: usize = 32 << 10;

/// A listening socket; gone when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    pub(crate) fn listen(path: &Path, session: Arc<Session>, id: String) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(MOST));
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let (session, id) = (session.clone(), id.clone());
                tokio::spawn(async move {
                    converse(stream, &session, &id).await;
                    drop(place);
                });
            }
        });
        Ok(Self { path: path.to_owned(), task })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Both ways until the client has ended; one that breaks off is seen by the step.
async fn converse(stream: UnixStream, session: &Session, id: &str) {
    let (mut read, write) = stream.into_split();
    let mut first = vec![0; BUFFER];
    // Who only looks whether somebody listens needs no call.
    let Ok(length @ 1..) = read.read(&mut first).await else { return };
    first.truncate(length);
    let (sender, receiver) = mpsc::channel(4);
    if sender.send(piece(first)).await.is_err() {
        return;
    }
    let asking = async {
        ask(read, sender).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = asking => {}
        () = answer(session, id, receiver, write) => {}
    }
}

async fn ask(mut read: OwnedReadHalf, sender: mpsc::Sender<super::wire::Piece>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length @ 1..) = read.read(&mut buffer).await {
        if sender.send(piece(buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn answer(
    session: &Session,
    id: &str,
    receiver: mpsc::Receiver<super::wire::Piece>,
    mut write: OwnedWriteHalf,
) {
    let Ok(mut pieces) = session.agent(id, ReceiverStream::new(receiver)).await else { return };
    while let Some(Ok(piece)) = pieces.next().await {
        if write.write_all(&piece.data).await.is_err() {
            return;
        }
    }
}

//! `GET /containers/{id}/export`: a container's root file system as a tar archive.

use crate::DockerState;
use crate::error::{Answer, Failure};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use hako_container::{ContainerEngine, snapshot_key};
use hako_error::Result;
use hako_image::ImageStore;
use hako_image::layer::{DiffOptions, diff};
use hako_snapshot::Mounts;
use http::header;
use std::io::{BufWriter, Error, ErrorKind, Write};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes that are collected before they are sent.
const PIECE: usize = 256 << 10;

/// All files as they are while they are read; volumes and other mounts are not part of it. Of a container that runs,
/// files may change meanwhile.
pub(crate) async fn export(State(state): State<DockerState>, Path(name): Path<String>) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let (images, key) = (state.images.clone(), snapshot_key(id.as_str()));
    let mounts = images.snapshots().mounts(&key).map_err(Failure)?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&images, mounts, sender.clone()) {
            // The connection breaks off: an archive that is not whole must not look so.
            let _ = sender.blocking_send(Err(Error::other(error.chain())));
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

/// The container's own layer on top of its image's, looked at without a way to write to it.
fn write(images: &ImageStore, mounts: Mounts, sender: mpsc::Sender<Result<Bytes, Error>>) -> Result<()> {
    let lower = mounts.upper.into_iter().chain(mounts.lower).collect();
    let tree = images.snapshots().mounted(&Mounts { lower, upper: None, work: None })?;
    let out = BufWriter::with_capacity(PIECE, Pieces(sender));
    diff(&tree.path(), &[], &DiffOptions::default(), out)
}

/// Hands written bytes on to the connection.
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

//! A layer's bytes on their way: threads, and the channels between them.
//!
//! ```text
//! feed (async) -> Storing -> Decoding -> Hashing
//!                                    +-> Applying
//! ```
//! Each stage is a thread, so that decompressing, hashing and writing files use as many cores. The channels are
//! bounded: memory is, whatever the layer's size.

use crate::ImageError;
use crate::layer::{Alone, ApplyError, Decoder, Limits, apply_alone, apply_merged};
use crate::store::{ImageStore, Loose};
use crate::transfer::Stop;
use bytes::Bytes;
use hako_content::{Expected, Lease, Writer};
use hako_error::{Error, Kind, Result};
use hako_names::{Digest, Hasher};
use hako_oci::media_type::Compression;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::{mpsc, oneshot};

/// Size of the pieces behind the decompressor.
const PIECE: usize = 64 << 10;
/// How many pieces wait between two stages.
const WAITING: usize = 32;

/// A layer to be stored, unpacked, or both.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) digest: Digest,
    /// The blob's size as the manifest says.
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) compression: Compression,
    /// Whether nothing can be below: whiteouts then mean nothing.
    pub(crate) is_bottom: bool,
    pub(crate) unpack: bool,
}

impl Job {
    fn name(&self) -> String {
        format!("layer {}", self.digest)
    }
}

/// Where the bytes come from.
pub(crate) enum Origin {
    /// Fed by [`Pipe::send`], and stored under the lease.
    Network(Box<Ingest>),
    /// The blob is in the content store.
    Blob(File),
}

/// Held by every thread of a transfer; who waits for the other end knows that all are gone.
pub(crate) type Alive = mpsc::Sender<()>;

/// A writer whose bytes are worth nothing once the whole transfer is refused.
pub(crate) struct Ingest {
    writer: Option<Writer>,
    is_spoiled: Arc<AtomicBool>,
}

impl Ingest {
    pub(crate) fn new(writer: Writer, is_spoiled: &Arc<AtomicBool>) -> Self {
        Self { writer: Some(writer), is_spoiled: is_spoiled.clone() }
    }

    fn writer(&mut self) -> Result<&mut Writer> {
        self.writer.as_mut().ok_or_else(gone)
    }

    /// Nobody is to continue with these bytes.
    fn discard(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.discard();
        }
    }

    fn commit(mut self, expected: Expected) -> Result<()> {
        self.writer.take().ok_or_else(gone)?.commit(expected).map(drop)
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if self.is_spoiled.load(Ordering::Relaxed) {
            self.discard();
        }
    }
}

/// A layer under way.
pub(crate) struct Pipe {
    feed: Option<mpsc::Sender<Bytes>>,
    replayed: Option<oneshot::Receiver<u64>>,
    stored: oneshot::Receiver<Result<Option<Ingest>>>,
    unpacked: Option<Unpacking>,
    is_refused: Arc<AtomicBool>,
    alive: Alive,
}

/// The stages behind the stored bytes.
pub(crate) struct Unpacking {
    name: String,
    decoded: oneshot::Receiver<io::Result<()>>,
    hashed: oneshot::Receiver<Digest>,
    applied: oneshot::Receiver<Result<Loose, Failed>>,
}

/// How a layer is unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Unpack {
    /// The layer in errors.
    pub(crate) name: String,
    pub(crate) compression: Compression,
    pub(crate) is_bottom: bool,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
}

/// Why a layer was not applied alone.
pub(crate) enum Failed {
    /// The layer's content or the disk is at fault: there is no use in reading on.
    Refused(Error),
    /// The stream is broken or not what it claims to be; its digest may say why.
    Damaged(Error),
    /// It may be that it needs what is below.
    Unclear(Error),
}

/// What came out of a pipe.
pub(crate) enum Outcome {
    /// Stored, and not to be unpacked.
    Stored,
    /// Stored, and unpacked in a directory of its own.
    Unpacked(Loose),
    /// Stored, and only the merged tree can tell how it is unpacked.
    NeedsMerged,
}

/// Runs `work` on a thread of its own.
fn stage<T: Send + 'static>(
    name: &str,
    alive: &Alive,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let alive = alive.clone();
    std::thread::Builder::new()
        .name(format!("layer-{name}"))
        .spawn(move || {
            let _ = sender.send(work());
            drop(alive);
        })
        .map_err(|source| Error::new(Kind::Exhausted, "cannot start a thread").with_source(source))?;
    Ok(receiver)
}

pub(crate) fn gone() -> Error {
    Error::new(Kind::Internal, "a thread that unpacks layers panicked")
}

impl Pipe {
    /// Starts the threads.
    pub(crate) fn start(store: &ImageStore, job: &Job, origin: Origin, alive: &Alive) -> Result<Self> {
        let is_refused = Arc::new(AtomicBool::new(false));
        let (next, unpacked) = if job.unpack {
            let unpack = Unpack {
                name: job.name(),
                compression: job.compression,
                is_bottom: job.is_bottom,
                limits: store.layer_limits(job.size),
                stop: Stop::default(),
            };
            let (sender, unpacking) = Unpacking::start(store, unpack, &is_refused, alive)?;
            (Some(sender), Some(unpacking))
        } else {
            (None, None)
        };
        let (feed, pieces) = mpsc::channel(WAITING);
        let (tell, replayed) = oneshot::channel();
        let size = job.size;
        let stored = stage("store", alive, move || match origin {
            Origin::Network(ingest) => store_pieces(*ingest, pieces, next, size, tell).map(Some),
            Origin::Blob(file) => forward_file(file, next).map(|()| None),
        })?;
        Ok(Self {
            feed: Some(feed),
            replayed: Some(replayed),
            stored,
            unpacked,
            is_refused,
            alive: alive.clone(),
        })
    }

    /// How many bytes an earlier attempt left, which are on their way already.
    pub(crate) async fn replayed(&mut self) -> u64 {
        match self.replayed.take() {
            Some(replayed) => replayed.await.unwrap_or(0),
            None => 0,
        }
    }

    /// Sends the next bytes; `false` if nobody wants any more.
    pub(crate) async fn send(&self, bytes: Bytes) -> bool {
        let Some(feed) = self.feed.as_ref().filter(|_| !self.is_refused.load(Ordering::Relaxed)) else {
            return false;
        };
        feed.send(bytes).await.is_ok()
    }

    /// Waits for all stages and makes the blob visible. The error is the one that explains the others: a digest
    /// that is wrong explains a stream that cannot be decompressed.
    pub(crate) async fn finish(mut self, job: &Job, lease: &Arc<Lease>, is_whole: bool) -> Result<Outcome> {
        drop(self.feed.take());
        let stored = self.stored.await.map_err(|_| gone())?;
        let unpacked = match self.unpacked {
            Some(unpacking) => Some(unpacking.result(job).await),
            None => None,
        };
        if let Some(Err(Failed::Refused(error))) = unpacked {
            if let Ok(Some(mut ingest)) = stored {
                ingest.discard();
            }
            return Err(error);
        }
        let ingest = stored?;
        if !is_whole {
            // The bytes stay for another attempt; what is wrong the caller knows.
            return Err(Error::new(Kind::Cancelled, format!("{} was not received", job.name())));
        }
        if let Some(mut ingest) = ingest {
            let expected = Expected { digest: Some(job.digest), size: Some(job.size) };
            if let Some(Err(Failed::Damaged(error))) = unpacked {
                ingest.discard();
                ingest.writer()?.check(expected)?;
                return Err(error);
            }
            // An abort does not end blocking work: the lease lasts as long, and who waits for the end waits for it.
            let (lease, alive) = (lease.clone(), self.alive.clone());
            blocking(move || {
                let committed = ingest.commit(expected);
                drop(lease);
                drop(alive);
                committed
            })
            .await?;
        }
        lease.protect(job.digest)?;
        match unpacked {
            None => Ok(Outcome::Stored),
            Some(Ok(loose)) => Ok(Outcome::Unpacked(loose)),
            Some(Err(Failed::Unclear(error))) => {
                tracing::debug!(layer = %job.digest, error = error.chain(), "a layer needs those below it");
                Ok(Outcome::NeedsMerged)
            }
            Some(Err(Failed::Refused(error) | Failed::Damaged(error))) => Err(error),
        }
    }
}

/// Runs blocking work away from the async runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(gone()),
    }
}

impl Unpacking {
    /// Starts the threads; what is sent is decompressed, hashed and applied, until the sender is dropped.
    pub(crate) fn start(
        store: &ImageStore,
        unpack: Unpack,
        is_refused: &Arc<AtomicBool>,
        alive: &Alive,
    ) -> Result<(SyncSender<Bytes>, Self)> {
        let (sender, compressed) = sync_channel::<Bytes>(WAITING);
        let (to_hash, from_decoder) = sync_channel::<Bytes>(WAITING);
        let (to_apply, to_be_applied) = sync_channel::<Bytes>(WAITING);
        let (name, compression, limits) = (unpack.name.clone(), unpack.compression, unpack.limits);
        let longest = limits.longest();
        let stop = unpack.stop.clone();
        let decoded = stage("decode", alive, move || {
            decode(Pieces::new(compressed, stop), compression, longest, &to_hash, &to_apply)
        })?;
        let hashed = stage("hash", alive, move || {
            let mut hasher = Hasher::new();
            for piece in from_decoder {
                hasher.update(&piece);
            }
            hasher.finish()
        })?;
        let (store, is_refused) = (store.clone(), is_refused.clone());
        let applied = stage("apply", alive, move || {
            let applied = apply_pieces(&store, &unpack, Pieces::new(to_be_applied, unpack.stop.clone()));
            is_refused.fetch_or(matches!(applied, Err(Failed::Refused(_))), Ordering::Relaxed);
            applied
        })?;
        Ok((sender, Self { name, decoded, hashed, applied }))
    }

    async fn result(self, job: &Job) -> Result<Loose, Failed> {
        let lost = |_| Failed::Refused(gone());
        let decoded = self.decoded.await.map_err(lost)?;
        let actual = self.hashed.await.map_err(lost)?;
        let applied = self.applied.await.map_err(lost)?;
        // What needs the layers below is hashed again when it is applied to them.
        let loose = unpacked(&self.name, decoded, applied)?;
        if actual != job.diff_id {
            let (digest, expected) = (job.digest.to_string(), job.diff_id.to_string());
            let wrong = ImageError::DiffId { digest, expected, actual: actual.to_string() };
            return Err(Failed::Damaged(wrong.into()));
        }
        Ok(loose)
    }

    /// The directory and its diff id, for callers that are no async task.
    pub(crate) fn wait(self) -> Result<(Loose, Digest), Failed> {
        let lost = |_| Failed::Refused(gone());
        let decoded = self.decoded.blocking_recv().map_err(lost)?;
        let actual = self.hashed.blocking_recv().map_err(lost)?;
        let applied = self.applied.blocking_recv().map_err(lost)?;
        Ok((unpacked(&self.name, decoded, applied)?, actual))
    }
}

/// A stream that broke explains an archive that did.
fn unpacked(name: &str, decoded: io::Result<()>, applied: Result<Loose, Failed>) -> Result<Loose, Failed> {
    match decoded {
        Err(source) if !matches!(applied, Err(Failed::Refused(_))) => {
            Err(Failed::Damaged(ApplyError::Stream { layer: name.to_owned(), source }.into()))
        }
        _ => applied,
    }
}

/// First what an earlier attempt left, then what comes.
fn store_pieces(
    mut ingest: Ingest,
    mut pieces: mpsc::Receiver<Bytes>,
    mut next: Option<SyncSender<Bytes>>,
    size: u64,
    replayed: oneshot::Sender<u64>,
) -> Result<Ingest> {
    let writer = ingest.writer()?;
    let count = writer.replay(size, |piece| {
        forward(&mut next, piece.into());
        Ok(())
    })?;
    let _ = replayed.send(count);
    while let Some(piece) = pieces.blocking_recv() {
        writer.append(&piece)?;
        forward(&mut next, piece);
    }
    drop(next);
    if writer.size() == size {
        // While the last files are still written.
        writer.sync()?;
    }
    Ok(ingest)
}

fn forward_file(mut file: File, mut next: Option<SyncSender<Bytes>>) -> Result<()> {
    while next.is_some() {
        let mut piece = vec![0; 2 * PIECE];
        let count = file
            .read(&mut piece)
            .map_err(|source| ApplyError::Stream { layer: "a stored layer".into(), source })?;
        if count == 0 {
            break;
        }
        piece.truncate(count);
        forward(&mut next, piece.into());
    }
    Ok(())
}

/// A stage that ended wants no more: what is before it goes on, for the digest's sake.
fn forward(next: &mut Option<SyncSender<Bytes>>, piece: Bytes) {
    if next.as_ref().is_some_and(|sender| sender.send(piece).is_err()) {
        *next = None;
    }
}

fn decode(
    pieces: Pieces,
    compression: Compression,
    longest: u64,
    hash: &SyncSender<Bytes>,
    apply: &SyncSender<Bytes>,
) -> io::Result<()> {
    let stop = pieces.stop.clone();
    let mut decoder = Decoder::new(pieces, compression).map_err(io::Error::other)?;
    let mut length = 0;
    loop {
        stop.check()?;
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match decoder.read(&mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        length += filled as u64;
        if length > longest {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to more than a layer may"));
        }
        piece.truncate(filled);
        let piece = Bytes::from(piece);
        if hash.send(piece.clone()).is_err() || apply.send(piece).is_err() {
            return Ok(());
        }
    }
}

fn apply_pieces(store: &ImageStore, unpack: &Unpack, mut pieces: Pieces) -> Result<Loose, Failed> {
    let mut loose = store.loose().map_err(Failed::Refused)?;
    let root = loose.root().map_err(Failed::Refused)?;
    let (name, limits) = (unpack.name.clone(), unpack.limits);
    let applied = if unpack.is_bottom {
        apply_merged(&root, &mut pieces, &name, limits).map(|_| Alone { has_root: true, ..Alone::default() })
    } else {
        apply_alone(&root, &mut pieces, &name, limits)
    };
    // The padding behind the archive's end belongs to the diff id.
    let drained = applied.and_then(|alone| {
        let copied = io::copy(&mut pieces, &mut io::sink());
        copied.map_err(|source| ApplyError::Stream { layer: name, source }).map(|_| alone)
    });
    match drained {
        Ok(alone) => {
            loose.alone = alone;
            Ok(loose)
        }
        Err(error @ ApplyError::Stream { .. }) => Err(Failed::Damaged(error.into())),
        Err(error) if !unpack.is_bottom && error.is_of_this_place() => Err(Failed::Unclear(error.into())),
        Err(error) => Err(Failed::Refused(error.into())),
    }
}

/// Reads a channel of byte pieces.
struct Pieces {
    receiver: Receiver<Bytes>,
    current: Bytes,
    stop: Stop,
}

impl Pieces {
    fn new(receiver: Receiver<Bytes>, stop: Stop) -> Self {
        Self { receiver, current: Bytes::new(), stop }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            self.stop.check()?;
            match self.receiver.recv() {
                Ok(piece) => self.current = piece,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

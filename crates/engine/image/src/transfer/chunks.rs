//! A layer put together from what is here and what changed.

use super::LayerState;
use super::fetch::{Fetched, Fetching, loose_of};
use super::pipe::{Ingest, Job, Origin, Pipe, blocking};
use crate::chunked::{Index, Part, Position, Table, plan};
use crate::remote::RemoteError;
use crate::{ImageError, ImageStore};
use bytes::Bytes;
use hako_error::{Error, Kind, Result};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Smaller layers are not worth the extra request.
const SMALLEST: u64 = 64 << 10;
/// How many layers that are here are looked through.
const MOST_TABLES: usize = 32;
/// A skippable frame's own header.
const FRAME_HEAD: u64 = 8;
const PIECE: u64 = 256 << 10;
/// What is fetched into memory at once.
const LARGEST: u64 = 8 << 20;
/// What may follow the table: its footer.
const LONGEST_FOOTER: u64 = 4096;

impl Fetching {
    /// Fetches only what is not here. `None` if the layer is not in chunks, nothing of it is here, or what is here
    /// turned out not to fit: then it is fetched as a whole.
    pub(super) async fn take_chunks(&self, job: &Job) -> Result<Option<Fetched>> {
        let Some(position) = Position::of(&self.layer.annotations, job.size) else { return Ok(None) };
        let is_at_end = job.size - (position.offset + position.length) <= LONGEST_FOOTER;
        if job.size < SMALLEST || position.offset < FRAME_HEAD || !is_at_end {
            return Ok(None);
        }
        let store = self.store.clone();
        let index = self.index.get_or_try_init(|| blocking(move || Ok(index_of(&store)))).await?;
        if index.is_empty() {
            return Ok(None);
        }
        let (table, tail) = match self.table(job, position).await {
            Ok(table) => table,
            Err(error) => return whole(job, error),
        };
        // What a table must not name no whole download makes better.
        table.check(&format!("layer {}", job.digest), self.store.permits())?;
        let end = position.offset - FRAME_HEAD;
        self.assemble(job, plan(index, &table, end), tail).await.or_else(|error| whole(job, error))
    }

    /// The table, and the blob's end that it is in with its footer: that is fetched once and appended as it is.
    async fn table(&self, job: &Job, position: Position) -> Result<(Table, Bytes)> {
        let tail = self.range(job, position.offset - FRAME_HEAD..job.size).await?;
        let from = usize::try_from(FRAME_HEAD).unwrap_or(0);
        let length = usize::try_from(position.length).unwrap_or(usize::MAX);
        let table = tail.get(from..from.saturating_add(length)).ok_or_else(|| ImageError::Unusable {
            what: format!("layer {}", job.digest),
            reason: "its table of chunks is cut short".into(),
        })?;
        let table = Table::parse(table, position)?;
        Ok((table, tail))
    }

    async fn assemble(&self, job: &Job, parts: Vec<Part>, tail: Bytes) -> Result<Option<Fetched>> {
        let saved: u64 = parts.iter().map(Part::here).sum();
        if saved < job.size / 10 {
            return Ok(None);
        }
        // A name of its own: what was put together from parts is no start for a plain download.
        let writer = self.store.content().writer(format!("layer {}", job.digest))?.under(&self.lease);
        let origin = Origin::Network(Box::new(Ingest::new(writer, &self.is_spoiled)));
        let mut pipe = Pipe::start(&self.store, job, origin, &self.alive)?;
        pipe.replayed().await;
        let fed = self.feed(job, &pipe, parts, tail).await;
        let outcome = pipe.finish(job, &self.lease, fed.is_ok()).await;
        fed?;
        let (moved, saved) = (job.size - saved, saved);
        Ok(Some(Fetched { loose: loose_of(outcome?), moved, saved, chunks_saved: saved }))
    }

    async fn feed(&self, job: &Job, pipe: &Pipe, parts: Vec<Part>, tail: Bytes) -> Result<()> {
        let mut done = 0;
        for part in parts {
            match part {
                Part::Here { path, range } => {
                    let mut at = range.start;
                    while at < range.end {
                        let (path, piece) = (path.clone(), at..range.end.min(at + PIECE));
                        at = piece.end;
                        let bytes = blocking(move || read(&path, piece)).await?;
                        send(pipe, bytes).await?;
                    }
                }
                Part::There(range) => {
                    let mut at = range.start;
                    while at < range.end {
                        let piece = at..range.end.min(at + LARGEST);
                        at = piece.end;
                        done += piece.end - piece.start;
                        send(pipe, self.range(job, piece).await?).await?;
                        let state = LayerState::Downloading { done, total: job.size };
                        self.progress.layer(job.digest, state);
                    }
                }
            }
        }
        send(pipe, tail).await
    }

    /// A part of the blob, in one piece; a broken connection is asked again for the rest.
    async fn range(&self, job: &Job, range: Range<u64>) -> Result<Bytes> {
        let (mut bytes, mut failures) = (Vec::new(), 0);
        loop {
            let at = range.start + bytes.len() as u64;
            if at >= range.end {
                return Ok(bytes.into());
            }
            let mut stream = self.client.get_blob_range(&self.repository, job.digest, at..range.end).await?;
            let error = loop {
                match stream.chunk().await {
                    Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let is_short = range.start + (bytes.len() as u64) < range.end;
            if is_short && failures >= self.client.options().retries {
                let (host, what) = (self.client.host().to_owned(), format!("layer {}", job.digest));
                let reason = "it sends less than the range that was asked for".to_owned();
                return Err(error.unwrap_or(RemoteError::Protocol { host, what, reason }).into());
            }
            failures += 1;
        }
    }
}

/// What failed is fetched as a whole, unless that would fail as well.
fn whole(job: &Job, error: Error) -> Result<Option<Fetched>> {
    if matches!(error.kind(), Kind::Exhausted | Kind::Cancelled | Kind::Unauthorized) {
        return Err(error);
    }
    tracing::debug!(layer = %job.digest, error = error.chain(), "a layer is fetched as a whole");
    Ok(None)
}

async fn send(pipe: &Pipe, bytes: Bytes) -> Result<()> {
    if bytes.is_empty() || pipe.send(bytes).await {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "the layer is refused"))
}

fn read(path: &Path, range: Range<u64>) -> Result<Bytes> {
    let length = usize::try_from(range.end - range.start).unwrap_or(0);
    let mut bytes = vec![0; length];
    let mut file = File::open(path).map_err(ImageError::io("open", path))?;
    file.seek(SeekFrom::Start(range.start)).map_err(ImageError::io("seek in", path))?;
    file.read_exact(&mut bytes).map_err(ImageError::io("read", path))?;
    Ok(bytes.into())
}

/// The parts of all layers in chunks that are here, newest images first.
fn index_of(store: &ImageStore) -> Index {
    let (mut index, mut seen) = (Index::default(), HashSet::new());
    for image in store.list().unwrap_or_default() {
        for layer in &image.layers {
            let position = Position::of(&layer.annotations, layer.size);
            let Some(position) = position.filter(|position| position.offset >= FRAME_HEAD) else { continue };
            if seen.len() >= MOST_TABLES || !seen.insert(layer.digest) {
                continue;
            }
            let path = store.content().path(layer.digest);
            let table = read(&path, position.offset..position.offset + position.length)
                .and_then(|bytes| Table::parse(&bytes, position));
            match table {
                Ok(table) => index.add(path, &table, position.offset - FRAME_HEAD),
                Err(error) => {
                    tracing::debug!(layer = %layer.digest, error = error.chain(), "no table of chunks");
                }
            }
        }
    }
    index
}

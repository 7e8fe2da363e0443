//! An archive's files as they come: layers into the content store and, at the same time, into directories; the
//! small rest into memory until it is known what it means.

use crate::layer::{ApplyError, compression_of};
use crate::remote::MANIFEST_LIMIT;
use crate::store::{ImageStore, Loose, Pin};
use crate::transfer::pipe::{Alive, Failed, Unpack, Unpacking};
use crate::{ImageError, transfer::Progress, transfer::Stop};
use bytes::Bytes;
use hako_content::{Expected, Lease};
use hako_error::Result;
use hako_names::Digest;
use hako_oci::media_type::Compression;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const PIECE: usize = 128 << 10;
/// All small files together may take so much memory.
const SMALL_LIMIT: usize = 64 << 20;
const MOST_FILES: usize = 100_000;

/// One file of an archive.
pub(super) enum Part {
    /// In memory.
    Small(Bytes),
    /// In the content store.
    Blob { digest: Digest, size: u64, compression: Compression },
    /// Another name of that path.
    Link(Vec<u8>),
}

/// All that came so far.
pub(super) struct Intake<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) lease: &'a Lease,
    pub(super) progress: &'a Progress,
    pub(super) parts: HashMap<Vec<u8>, Part>,
    /// Layers that were applied on the way, by diff id.
    pub(super) loose: HashMap<Digest, Loose>,
    /// Diff ids of stored layers, as far as they were seen.
    pub(super) diff_ids: HashMap<Digest, Digest>,
    pub(super) pins: Vec<Pin>,
    small: usize,
    /// Ends the threads.
    stop: Stop,
    alive: Alive,
}

impl<'a> Intake<'a> {
    pub(super) fn new(
        store: &'a ImageStore,
        lease: &'a Lease,
        progress: &'a Progress,
        stop: Stop,
        alive: Alive,
    ) -> Self {
        Self {
            store,
            lease,
            progress,
            parts: HashMap::new(),
            loose: HashMap::new(),
            diff_ids: HashMap::new(),
            pins: Vec::new(),
            small: 0,
            stop,
            alive,
        }
    }

    pub(super) fn link(&mut self, path: Vec<u8>, target: Vec<u8>) -> Result<()> {
        self.insert(path, Part::Link(target))
    }

    /// Takes a file in, in one pass.
    pub(super) fn file(&mut self, path: Vec<u8>, size: u64, data: &mut impl Read) -> Result<()> {
        let name = String::from_utf8_lossy(&path).into_owned();
        let cut = |source| ApplyError::Stream { layer: format!("{name} of the archive"), source };
        let mut head = Vec::new();
        data.take(PIECE as u64).read_to_end(&mut head).map_err(cut)?;
        let Some(compression) = compression_of(&head) else {
            // A blob may be a list of contents, which has no limit of its own.
            let limit = if path.starts_with(b"blobs/") { SMALL_LIMIT } else { MANIFEST_LIMIT };
            if size > limit as u64 {
                return Err(unusable(&name, "it is no layer and too large for a document").into());
            }
            data.read_to_end(&mut head).map_err(cut)?;
            self.small += head.len();
            if self.small > SMALL_LIMIT {
                return Err(unusable(&name, "the archive has more than 64 MiB of documents").into());
            }
            return self.insert(path, Part::Small(head.into()));
        };
        let part = self.layer(&name, size, compression, head, data)?;
        self.insert(path, part)
    }

    fn insert(&mut self, path: Vec<u8>, part: Part) -> Result<()> {
        if self.parts.len() >= MOST_FILES {
            return Err(unusable("the archive", "it has more than 100,000 files").into());
        }
        self.parts.insert(path, part);
        Ok(())
    }

    fn layer(
        &mut self,
        name: &str,
        size: u64,
        compression: Compression,
        head: Vec<u8>,
        data: &mut impl Read,
    ) -> Result<Part> {
        let what = format!("{name} of the archive");
        let is_refused = Arc::new(AtomicBool::new(false));
        let unpack = Unpack {
            name: what.clone(),
            compression,
            is_bottom: false,
            limits: self.store.layer_limits(size),
            stop: self.stop.clone(),
        };
        let (sender, unpacking) = Unpacking::start(self.store, unpack, &is_refused, &self.alive)?;
        let mut sender = Some(sender);
        let mut writer = self.store.content().writer(&what)?.under(self.lease);
        let mut piece = head;
        while !piece.is_empty() {
            self.stop.check().map_err(|source| ApplyError::Stream { layer: what.clone(), source })?;
            writer.append(&piece)?;
            if sender.as_ref().is_some_and(|sender| sender.send(Bytes::from(piece)).is_err()) {
                sender = None;
            }
            piece = Vec::with_capacity(PIECE);
            data.take(PIECE as u64)
                .read_to_end(&mut piece)
                .map_err(|source| ApplyError::Stream { layer: what.clone(), source })?;
        }
        drop(sender);
        // Before anything is decided by what the threads say, who may have been stopped.
        let unpacked = unpacking.wait();
        self.stop.check().map_err(|source| ApplyError::Stream { layer: what.clone(), source })?;
        let blob = writer.commit(Expected { digest: None, size: Some(size) })?;
        match unpacked {
            Ok((loose, diff_id)) => {
                self.loose.insert(diff_id, loose);
                self.diff_ids.insert(blob.digest, diff_id);
            }
            Err(Failed::Refused(error)) => return Err(error),
            // It may be no layer at all, or one that needs those below: decided when an image wants it.
            Err(Failed::Damaged(error) | Failed::Unclear(error)) => {
                tracing::debug!(what, error = error.chain(), "a file of an archive is not unpacked at once");
            }
        }
        if compression == Compression::None {
            self.diff_ids.insert(blob.digest, blob.digest);
        }
        Ok(Part::Blob { digest: blob.digest, size: blob.size, compression })
    }
}

pub(super) fn unusable(what: &str, reason: impl Into<String>) -> ImageError {
    ImageError::Unusable { what: what.to_owned(), reason: reason.into() }
}

//! New layers, in chunks.

use super::ImageStore;
use crate::chunked::{self, Listed};
use crate::layer::{ApplyError, DiffOptions, Permits, diff};
use crate::{ImageError, Layer};
use hako_content::{Expected, Finished, Lease};
use hako_error::{Classify, Error, Kind, Result};
use hako_oci::media_type;
use hako_snapshot::Mounts;
use std::io::{BufReader, BufWriter, Write};

/// What goes through the pipe at once; it holds no more.
const PIECE: usize = 1 << 16;

/// A layer that is written; nobody sees its blob before it is committed.
#[derive(Debug)]
#[must_use = "the layer's blob is not there before it is committed"]
pub struct NewLayer {
    layer: Layer,
    listing: Vec<Listed>,
    blob: Finished,
}

impl NewLayer {
    /// What it will be.
    #[must_use]
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Its entries in their order; none of a layer with very many. Those who want them take them.
    pub fn take_listing(&mut self) -> Vec<Listed> {
        std::mem::take(&mut self.listing)
    }

    /// Waits for the disk; the blob is there then.
    pub fn commit(self) -> Result<Layer> {
        self.blob.commit()?;
        Ok(self.layer)
    }

    pub(super) fn into_blob(self) -> Finished {
        self.blob
    }
}

impl ImageStore {
    /// Waits for the disk, once for all of them.
    pub fn commit_layers(&self, layers: Vec<NewLayer>) -> Result<()> {
        self.content().commit_all(layers.into_iter().map(NewLayer::into_blob).collect())
    }

    /// Writes what an active snapshot changes as a layer blob. Equal directories give equal layers.
    pub fn write_layer(
        &self,
        mounts: &Mounts,
        options: &DiffOptions,
        what: &str,
        lease: &Lease,
    ) -> Result<NewLayer> {
        let upper = mounts.upper.as_deref().ok_or_else(|| ImageError::Unusable {
            what: what.to_owned(),
            reason: "a read-only view cannot have changes".into(),
        })?;
        let what = format!("layer of {what}");
        Ok(self.write_tar(&what, lease, |tar| diff(upper, &mounts.lower, options, tar))?.0)
    }

    /// Writes the tar that `make` makes as a layer blob, while it is made; also returns what `make` returns. `what`
    /// names the layer in errors. What no other machine would take is refused here already.
    pub fn write_tar<T>(
        &self,
        what: &str,
        lease: &Lease,
        make: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<(NewLayer, T)> {
        self.write_permitted(what, lease, self.permits(), make)
    }

    pub(super) fn write_permitted<T>(
        &self,
        what: &str,
        lease: &Lease,
        permits: Permits,
        make: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<(NewLayer, T)> {
        let writer = self.content().writer(what)?.under(lease);
        let broken = |source| ApplyError::Stream { layer: what.to_owned(), source };
        let (tar, sink) = std::io::pipe().map_err(broken)?;
        let (made, written) = std::thread::scope(|scope| {
            let tar = BufReader::with_capacity(PIECE, tar);
            let writing = scope.spawn(|| Ok(chunked::write(tar, writer, what, permits)));
            let mut sink = BufWriter::with_capacity(PIECE, sink);
            let made = make(&mut sink).and_then(|made| {
                sink.flush().map_err(broken)?;
                Ok(made)
            });
            drop(sink);
            let panicked = |_| Err(Error::new(Kind::Internal, "a thread that makes layers panicked"));
            (made, writing.join().unwrap_or_else(panicked))
        });
        let (made, written) = match (made, written?) {
            (Ok(made), written) => (made, written?),
            // A full disk, or what is no part of a layer, is why the tar could not be handed on.
            (Err(_), Err(cause @ ApplyError::Hostile { .. })) => return Err(cause.into()),
            (Err(_), Err(full)) if full.kind() == Kind::Exhausted => return Err(full.into()),
            // What cannot be read is why the tar is cut.
            (Err(error), _) => return Err(error),
        };
        let blob = written.writer.finish(Expected::default())?;
        blob.begin();
        let layer = Layer {
            digest: blob.blob().digest,
            size: blob.blob().size,
            media_type: media_type::LAYER_ZSTD.into(),
            diff_id: written.diff_id,
            annotations: written.annotations,
        };
        Ok((NewLayer { layer, listing: written.listing, blob }, made))
    }
}

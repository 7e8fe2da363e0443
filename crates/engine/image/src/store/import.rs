//! Images from root file systems.

use super::unpack::apply_all;
use super::{ImageStore, NewImage};
use crate::chain_id;
use crate::image::{Image, Layer};
use crate::layer::{Applied, Decoder, DiffOptions, Limits, Permits, Tee, sniff};
use crate::transfer::Stop;
use hako_content::{Expected, Lease};
use hako_error::{Error, Kind, Result};
use hako_names::{Digest, ImageRef};
use hako_oci::image::ImageConfiguration;
use hako_oci::media_type::{self, Compression};
use hako_snapshot::Mounts;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

/// A root file system that becomes a layer.
struct Import<'a> {
    root: File,
    mounts: &'a Mounts,
    /// It in errors.
    what: String,
    lease: &'a Lease,
    stop: &'a Stop,
}

impl ImageStore {
    /// Makes an image with one layer out of a root file system's tar (plain, gzip or zstd). A tar that cannot
    /// be applied leaves nothing behind.
    pub fn import_rootfs(
        &self,
        tar: impl Read,
        name: &ImageRef,
        config: ImageConfiguration,
    ) -> Result<Image> {
        self.import_rootfs_until(tar, vec![name.clone()], config, &Stop::default())
    }

    /// The same under all of these names, or none, unless it is stopped: then nothing of it is left.
    pub fn import_rootfs_until(
        &self,
        tar: impl Read,
        names: Vec<ImageRef>,
        config: ImageConfiguration,
        stop: &Stop,
    ) -> Result<Image> {
        self.make_room();
        let shown = names.first().map_or_else(|| "an image without a name".to_owned(), ToString::to_string);
        let mut leaves_archive = false;
        let imported = self.import(tar, &shown, NewImage { config, names, ..NewImage::default() }, stop);
        let imported = imported.map(|(image, is_rewritten)| {
            leaves_archive = is_rewritten;
            image
        });
        if imported.is_err() || leaves_archive {
            self.collect_released()?;
        }
        imported.map_err(|error| error.context(format!("cannot import {shown}")))
    }

    /// Also tells whether the layer is another than came.
    fn import(&self, tar: impl Read, shown: &str, new: NewImage, stop: &Stop) -> Result<(Image, bool)> {
        let lease = self.lease("import")?;
        let key = super::unpack::fresh_key();
        let mounts = self.snapshots().prepare(&key, None)?;
        let imported = self.open_root(&mounts, None).and_then(|root| {
            let what = format!("the tar of {shown}");
            self.import_layer(tar, &Import { root, mounts: &mounts, what, lease: &lease, stop })
        });
        let (layer, is_rewritten) = match imported {
            Ok(imported) if !stop.is_wanted() => imported,
            imported => {
                let _ = self.snapshots().remove(&key);
                let stopped = || Error::new(Kind::Cancelled, "it was stopped");
                return Err(imported.err().filter(|_| !stop.is_wanted()).unwrap_or_else(stopped));
            }
        };
        let chain = chain_id([layer.diff_id]).map(|id| id.hex()).unwrap_or_default();
        let _pin = self.pin(&chain);
        self.commit_snapshot(&chain, &key)?;
        Ok((self.commit_image(NewImage { layers: vec![layer], ..new })?, is_rewritten))
    }

    /// One pass: the bytes are stored, hashed and applied as they come. Where names begin with `/`, as no layer's do,
    /// the layer is made of what was applied: `true` beside it.
    fn import_layer(&self, tar: impl Read, import: &Import<'_>) -> Result<(Layer, bool)> {
        let Import { root, mounts, what, lease, stop } = import;
        let (compression, tar) = sniff(tar)?;
        let (layer, applied) = if compression == Compression::None {
            let tar = stop.reader(tar);
            let (written, (_, applied)) =
                self.write_permitted(what, lease, self.import_limits().permits, |sink| {
                    apply_all(root, Tee::new(tar, sink), what, self.import_limits())
                })?;
            (written.commit()?, applied)
        } else {
            self.import_compressed(tar, compression, import)?
        };
        if applied.has_absolute_names {
            let layer = self.write_layer(mounts, &DiffOptions::default(), what, lease)?.commit()?;
            return Ok((layer, true));
        }
        if layer.diff_id == Digest::of(b"") {
            let reason = "it is empty, not even an archive's end".into();
            return Err(crate::ImageError::Unusable { what: what.clone(), reason }.into());
        }
        Ok((layer, false))
    }

    /// What is compressed is stored as it comes.
    fn import_compressed(
        &self,
        tar: impl Read,
        compression: Compression,
        import: &Import<'_>,
    ) -> Result<(Layer, Applied)> {
        let Import { root, what, lease, stop, .. } = import;
        let mut writer = self.content().writer(what)?.under(lease);
        let came = Rc::new(Cell::new(0));
        let mut stored = Tee::new(Counted { inner: tar, count: came.clone() }, &mut writer);
        let plain = Bounded { inner: Decoder::new(&mut stored, compression)?, length: 0, stored: came };
        let (diff_id, applied) = apply_all(root, stop.reader(plain), what, self.import_limits())?;
        std::io::copy(&mut stop.reader(&mut stored), &mut std::io::sink())
            .map_err(|source| crate::layer::ApplyError::Stream { layer: what.clone(), source })?;
        let is_gzip = compression == Compression::Gzip;
        let media_type = if is_gzip { media_type::LAYER_GZIP } else { media_type::LAYER_ZSTD };
        let blob = writer.commit(Expected::default())?;
        let layer = Layer {
            digest: blob.digest,
            size: blob.size,
            media_type: media_type.into(),
            diff_id,
            annotations: BTreeMap::new(),
        };
        Ok((layer, applied))
    }

    /// Of an archive whose size nobody knows yet.
    fn import_limits(&self) -> Limits {
        let permits = Permits { absolute_names: true, ..self.permits() };
        Limits { bytes: u64::MAX, ..Limits::for_blob(u64::MAX) }.permitting(permits)
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// What was compressed, as long as it is not more than a layer of the bytes that came so far may unpack to.
struct Bounded<R> {
    inner: R,
    length: u64,
    stored: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.length += count as u64;
        if self.length > Limits::for_blob(self.stored.get()).longest() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to more than a layer may"));
        }
        Ok(count)
    }
}

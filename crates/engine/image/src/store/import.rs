//! Images from root file systems.

use super::unpack::apply_all;
use super::{ImageStore, NewImage};
use crate::chain_id;
use crate::image::{Image, Layer};
use crate::layer::{Decoder, Tee, sniff};
use crate::transfer::Stop;
use hako_content::{Expected, Lease};
use hako_error::{Error, Kind, Result};
use hako_names::{Digest, ImageRef};
use hako_oci::image::ImageConfiguration;
use hako_oci::media_type::{self, Compression};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// A root file system that becomes a layer.
struct Import<'a> {
    root: File,
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
        let imported = self.import(tar, &shown, names, config, stop);
        if imported.is_err() {
            self.collect_released()?;
        }
        imported.map_err(|error| error.context(format!("cannot import {shown}")))
    }

    fn import(
        &self,
        tar: impl Read,
        shown: &str,
        names: Vec<ImageRef>,
        config: ImageConfiguration,
        stop: &Stop,
    ) -> Result<Image> {
        let lease = self.lease("import")?;
        let key = super::unpack::fresh_key();
        let mounts = self.snapshots().prepare(&key, None)?;
        let imported = self.open_root(&mounts, None).and_then(|root| {
            let what = format!("the tar of {shown}");
            self.import_layer(tar, &Import { root, what, lease: &lease, stop })
        });
        let layer = match imported {
            Ok(layer) if !stop.is_wanted() => layer,
            imported => {
                let _ = self.snapshots().remove(&key);
                let stopped = || Error::new(Kind::Cancelled, "it was stopped");
                return Err(imported.err().filter(|_| !stop.is_wanted()).unwrap_or_else(stopped));
            }
        };
        let chain = chain_id([layer.diff_id]).map(|id| id.hex()).unwrap_or_default();
        let _pin = self.pin(&chain);
        self.commit_snapshot(&chain, &key)?;
        self.commit_image(NewImage { config, layers: vec![layer], names, ..NewImage::default() })
    }

    /// One pass: the bytes are stored, hashed and applied as they come.
    fn import_layer(&self, tar: impl Read, import: &Import<'_>) -> Result<Layer> {
        let Import { root, what, lease, stop } = import;
        let (compression, tar) = sniff(tar)?;
        let layer = if compression == Compression::None {
            let tar = stop.reader(tar);
            let written =
                self.write_tar(what, lease, |sink| apply_all(root, Tee::new(tar, sink), what, u64::MAX));
            written?.0.commit()?
        } else {
            self.import_compressed(tar, compression, import)?
        };
        if layer.diff_id == Digest::of(b"") {
            let reason = "it is empty, not even an archive's end".into();
            return Err(crate::ImageError::Unusable { what: what.clone(), reason }.into());
        }
        Ok(layer)
    }

    /// What is compressed is stored as it comes.
    fn import_compressed(
        &self,
        tar: impl Read,
        compression: Compression,
        import: &Import<'_>,
    ) -> Result<Layer> {
        let Import { root, what, lease, stop } = import;
        let mut writer = self.content().writer(what)?.under(lease);
        let mut stored = Tee::new(tar, &mut writer);
        // A few bytes may become very many.
        let plain = stop.reader(Decoder::new(&mut stored, compression)?);
        let diff_id = apply_all(root, plain, what, u64::MAX)?;
        std::io::copy(&mut stop.reader(&mut stored), &mut std::io::sink())
            .map_err(|source| crate::layer::ApplyError::Stream { layer: what.clone(), source })?;
        let is_gzip = compression == Compression::Gzip;
        let media_type = if is_gzip { media_type::LAYER_GZIP } else { media_type::LAYER_ZSTD };
        let blob = writer.commit(Expected::default())?;
        Ok(Layer {
            digest: blob.digest,
            size: blob.size,
            media_type: media_type.into(),
            diff_id,
            annotations: BTreeMap::new(),
        })
    }
}

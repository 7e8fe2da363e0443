//! Images from root file systems.

use super::unpack::apply_all;
use super::{ImageStore, NewImage};
use crate::chain_id;
use crate::image::{Image, Layer};
use crate::layer::{Decoder, Tee, sniff};
use hako_content::Expected;
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::image::ImageConfiguration;
use hako_oci::media_type::{self, Compression};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

impl ImageStore {
    /// Makes an image with one layer out of a root file system's tar (plain, gzip or zstd). A tar that cannot
    /// be applied leaves nothing behind.
    pub fn import_rootfs(
        &self,
        tar: impl Read,
        name: &ImageRef,
        config: ImageConfiguration,
    ) -> Result<Image> {
        self.import(tar, &name.to_string(), vec![name.clone()], config)
    }

    /// The same without a name for the image.
    pub fn import_unnamed_rootfs(&self, tar: impl Read, config: ImageConfiguration) -> Result<Image> {
        self.import(tar, "an image without a name", Vec::new(), config)
    }

    fn import(
        &self,
        tar: impl Read,
        shown: &str,
        names: Vec<ImageRef>,
        config: ImageConfiguration,
    ) -> Result<Image> {
        self.make_room();
        let lease = self.lease("import")?;
        let key = super::unpack::fresh_key();
        let mounts = self.snapshots().prepare(&key, None)?;
        let imported = self.open_root(&mounts, None).and_then(|root| {
            let layer = self.import_layer(tar, &root, shown, &lease)?;
            Ok(layer)
        });
        let layer = match imported {
            Ok(layer) => layer,
            Err(error) => {
                let _ = self.snapshots().remove(&key);
                return Err(error.context(format!("cannot import {shown}")));
            }
        };
        let chain = chain_id([layer.diff_id]).map(|id| id.hex()).unwrap_or_default();
        let _pin = self.pin(&chain);
        self.commit_snapshot(&chain, &key)?;
        self.commit_image(NewImage { config, layers: vec![layer], names, ..NewImage::default() })
    }

    /// One pass: the bytes are stored, hashed and applied as they come.
    fn import_layer(
        &self,
        tar: impl Read,
        root: &File,
        name: &str,
        lease: &hako_content::Lease,
    ) -> Result<Layer> {
        let (compression, tar) = sniff(tar)?;
        let what = format!("the tar of {name}");
        let layer = if compression == Compression::None {
            self.write_tar(&what, lease, |sink| apply_all(root, Tee::new(tar, sink), &what, u64::MAX))?.0
        } else {
            self.import_compressed(tar, compression, root, &what, lease)?
        };
        if layer.diff_id == Digest::of(b"") {
            let reason = "it is empty, not even an archive's end".into();
            return Err(crate::ImageError::Unusable { what, reason }.into());
        }
        Ok(layer)
    }

    /// What is compressed is stored as it comes.
    fn import_compressed(
        &self,
        tar: impl Read,
        compression: Compression,
        root: &File,
        what: &str,
        lease: &hako_content::Lease,
    ) -> Result<Layer> {
        let mut writer = self.content().writer(what)?.under(lease);
        let mut stored = Tee::new(tar, &mut writer);
        let diff_id = apply_all(root, Decoder::new(&mut stored, compression)?, what, u64::MAX)?;
        std::io::copy(&mut stored, &mut std::io::sink())
            .map_err(|source| crate::layer::ApplyError::Stream { layer: what.to_owned(), source })?;
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

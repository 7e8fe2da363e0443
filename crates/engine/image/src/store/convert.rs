//! Layers in another form than they are stored in.
//!
//! ```text
//! DIR/converted/<hex of the stored layer>-<form>.json    what that layer is in the form
//! ```
//! A converted layer is made for one push or archive and goes with the next collection; its record stays as long
//! as the stored layer, so that the manifest is known at once the next time and what a registry has is not made
//! again. Records of another version are not believed: its compressor may give other bytes.

use super::ImageStore;
use crate::chunked;
use crate::form::LayerForm;
use crate::layer::{ApplyError, Decoder, Encoder, HashingReader, Permits};
use crate::remote::Growth;
use crate::transfer::Stop;
use crate::{Image, ImageError, Layer};
use hako_content::{Blob, Expected, Lease, Writer};
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::media_type::{self, Compression};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Another one as soon as a form is written in other bytes.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " 4");

/// What is read of a layer at once.
const PIECE: usize = 128 << 10;

#[derive(Serialize, Deserialize)]
struct Record {
    version: String,
    layer: Layer,
}

/// A layer as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) layer: Layer,
    /// What it is made of, and how, where it is not stored so: its bytes may not be here.
    pub(crate) from: Option<(Layer, LayerForm)>,
}

/// An image, or an index with its images, as it leaves this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) layers: Vec<Planned>,
    /// Configurations and other small blobs, which are in the content store, with sizes.
    pub(crate) blobs: Vec<(Digest, u64)>,
    /// Manifests, each after those that it names: the last is what the name stands for.
    pub(crate) documents: Vec<(Digest, Vec<u8>)>,
}

impl Outgoing {
    /// What the name stands for.
    pub(crate) fn top(&self) -> (Digest, &[u8]) {
        self.documents.last().map_or((Digest::of(b""), &[]), |(digest, bytes)| (*digest, bytes))
    }
}

impl ImageStore {
    /// Plans an image, or the index that its name stands for, with each layer in the form that `form` wants for it.
    /// Layers that never had the form before are made now, except plain ones, which are only measured.
    pub(crate) fn outgoing(
        &self,
        image: &Image,
        form: &dyn Fn(&Layer) -> LayerForm,
        lease: &Lease,
    ) -> Result<Outgoing> {
        match image.index {
            Some(index) => self.outgoing_index(index, form, lease),
            None => self.outgoing_image(image, form, lease),
        }
    }

    /// Plans the image alone.
    pub(crate) fn outgoing_image(
        &self,
        image: &Image,
        form: &dyn Fn(&Layer) -> LayerForm,
        lease: &Lease,
    ) -> Result<Outgoing> {
        let stored = self.content().read(image.manifest_digest)?;
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(self.plan(layer, form(layer), lease)?);
        }
        let size = self.content().size(image.id)?;
        let blobs = vec![(image.id, size)];
        if layers.iter().all(|planned| planned.from.is_none()) {
            return Ok(Outgoing { layers, blobs, documents: vec![(image.manifest_digest, stored)] });
        }
        let all: Vec<Layer> = layers.iter().map(|planned| planned.layer.clone()).collect();
        let mut manifest = super::commit::manifest_of(image.id, size, &all);
        let old: Option<Value> = serde_json::from_slice(&stored).ok();
        if let Some(annotations) = old.and_then(|old| old.get("annotations").cloned()) {
            manifest["annotations"] = annotations;
        }
        let manifest = super::commit::to_vec(&manifest)?;
        Ok(Outgoing { layers, blobs, documents: vec![(Digest::of(&manifest), manifest)] })
    }

    /// Whether some registry has the image in the form that it has here: it was pulled, or pushed so.
    pub(crate) fn is_elsewhere(&self, image: &Image) -> bool {
        let own = image.manifest_digest;
        image.repo_digests.iter().filter_map(ImageRef::digest).any(|digest| {
            digest == own || self.index_of(digest).is_some_and(|manifests| manifests.contains(&own))
        })
    }

    /// The manifests of an index that is here.
    fn index_of(&self, digest: Digest) -> Option<Vec<Digest>> {
        #[derive(Deserialize)]
        struct Index {
            manifests: Vec<Listed>,
        }
        #[derive(Deserialize)]
        struct Listed {
            digest: Digest,
        }
        let index: Index = serde_json::from_slice(&self.content().read(digest).ok()?).ok()?;
        Some(index.manifests.into_iter().map(|listed| listed.digest).collect())
    }

    fn plan(&self, layer: &Layer, form: LayerForm, lease: &Lease) -> Result<Planned> {
        if form.is_of(layer) {
            return Ok(Planned { layer: layer.clone(), from: None });
        }
        let from = Some((layer.clone(), form));
        if let Some(known) = self.recorded(layer, form) {
            return Ok(Planned { layer: known, from });
        }
        let made = match form {
            LayerForm::Uncompressed => self.measured(layer)?,
            _ => self.convert(layer, form, lease)?,
        };
        self.record(layer, form, &made)?;
        Ok(Planned { layer: made, from })
    }

    /// Makes sure that a planned layer's blob is here, and protects it.
    pub(crate) fn provide(&self, planned: &Planned, lease: &Lease) -> Result<()> {
        let Some((stored, form)) = &planned.from else {
            return lease.protect(planned.layer.digest);
        };
        if lease.protect(planned.layer.digest).is_ok() {
            return Ok(());
        }
        let made = self.convert(stored, *form, lease)?;
        if made.digest == planned.layer.digest {
            return Ok(());
        }
        let _ = fs::remove_file(self.record_path(stored, *form));
        let (digest, form) = (stored.digest.to_string(), form.to_string());
        let (expected, actual) = (planned.layer.digest.to_string(), made.digest.to_string());
        Err(ImageError::Unsteady { digest, form, expected, actual }.into())
    }

    /// Whether nobody knows yet what the layer is in that form, and only making it tells.
    pub(crate) fn is_unmade(&self, layer: &Layer, form: LayerForm) -> bool {
        let is_made = !matches!(form, LayerForm::Stored | LayerForm::Uncompressed);
        is_made && !form.is_of(layer) && self.recorded(layer, form).is_none()
    }

    /// A file for [`ImageStore::make`], and what its readers see of it.
    pub(crate) fn making(&self, layer: &Layer, form: LayerForm) -> Result<Making> {
        let writer = self.content().writer(format!("layer {} as {form}", layer.digest))?;
        let growth = Arc::new(Growth::new(writer.reader()?));
        Ok(Making { writer, end: End(growth) })
    }

    /// Makes the layer in that form for those who read along. The record stays, the bytes go with their last reader:
    /// nothing waits for the disk.
    pub(crate) fn make(&self, layer: &Layer, form: LayerForm, making: Making, stop: &Stop) -> Result<Layer> {
        let (Making { writer, end }, annotations) = self.transform(layer, form, stop, making)?;
        let made = made(layer, form, writer.finish(Expected::default())?.blob(), annotations);
        self.record(layer, form, &made)?;
        end.0.end(true);
        Ok(made)
    }

    /// Stores the layer in that form. The same bytes come out each time.
    fn convert(&self, layer: &Layer, form: LayerForm, lease: &Lease) -> Result<Layer> {
        let writer = self.content().writer(format!("layer {} as {form}", layer.digest))?.under(lease);
        let (writer, annotations) = self.transform(layer, form, &Stop::default(), writer)?;
        Ok(made(layer, form, writer.commit(Expected::default())?, annotations))
    }

    /// Writes the layer in that form; returns what its descriptor is annotated with.
    fn transform<W: Write>(
        &self,
        layer: &Layer,
        form: LayerForm,
        stop: &Stop,
        writer: W,
    ) -> Result<(W, BTreeMap<String, String>)> {
        let what = format!("layer {} as {form}", layer.digest);
        let mut plain = BufReader::with_capacity(PIECE, stop.reader(self.plain(layer)?));
        let (writer, diff_id, annotations) = match form {
            LayerForm::Zstd | LayerForm::Chunked => {
                let written = chunked::write(&mut plain, writer, &what, Permits::ALL)?;
                (written.writer, written.diff_id, written.annotations)
            }
            LayerForm::Gzip | LayerForm::Uncompressed | LayerForm::Stored => {
                let is_gzip = form == LayerForm::Gzip;
                let compression = if is_gzip { Compression::Gzip } else { Compression::None };
                let mut encoder = Encoder::new(writer, compression)?;
                io::copy(&mut plain, &mut encoder)
                    .map_err(|source| ApplyError::Stream { layer: what.clone(), source })?;
                let (writer, diff_id) = encoder.finish()?;
                (writer, diff_id, BTreeMap::new())
            }
        };
        if diff_id != layer.diff_id {
            let (digest, expected) = (layer.digest.to_string(), layer.diff_id.to_string());
            return Err(ImageError::DiffId { digest, expected, actual: diff_id.to_string() }.into());
        }
        Ok((writer, annotations))
    }

    /// A plain layer's digest is known; its size is counted.
    fn measured(&self, layer: &Layer) -> Result<Layer> {
        let what = format!("layer {}", layer.digest);
        let mut plain = HashingReader::new(self.plain(layer)?);
        let size = io::copy(&mut plain, &mut io::sink())
            .map_err(|source| ApplyError::Stream { layer: what, source })?;
        let actual = plain.finish();
        if actual != layer.diff_id {
            let (digest, expected) = (layer.digest.to_string(), layer.diff_id.to_string());
            return Err(ImageError::DiffId { digest, expected, actual: actual.to_string() }.into());
        }
        let media_type = media_type::LAYER_TAR.to_owned();
        let (digest, annotations) = (layer.diff_id, BTreeMap::new());
        Ok(Layer { digest, size, media_type, diff_id: layer.diff_id, annotations })
    }

    /// A layer's uncompressed tar.
    pub(crate) fn plain(&self, layer: &Layer) -> Result<Decoder<BufReader<File>>> {
        let compression = media_type::layer_compression(&layer.media_type).ok_or_else(|| {
            let (digest, media_type) = (layer.digest.to_string(), layer.media_type.clone());
            ImageError::MediaType { digest, media_type }
        })?;
        let blob = self.content().open_blob(layer.digest)?;
        Decoder::new(BufReader::with_capacity(1 << 17, blob), compression)
    }

    fn recorded(&self, layer: &Layer, form: LayerForm) -> Option<Layer> {
        let bytes = fs::read(self.record_path(layer, form)).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.version == VERSION && record.layer.diff_id == layer.diff_id).then_some(record.layer)
    }

    /// A power cut may lose it or cut it short, which costs making the layer once more.
    fn record(&self, layer: &Layer, form: LayerForm, made: &Layer) -> Result<()> {
        let record = Record { version: VERSION.into(), layer: made.clone() };
        let path = self.record_path(layer, form);
        let bytes = serde_json::to_vec(&record)
            .map_err(|source| ImageError::Document { what: "a converted layer's record".into(), source })?;
        fs::create_dir_all(self.converted_dir()).map_err(ImageError::io("create", &self.converted_dir()))?;
        fs::write(&path, bytes).map_err(ImageError::io("write", &path))?;
        Ok(())
    }

    fn converted_dir(&self) -> PathBuf {
        self.dir().join("converted")
    }

    fn record_path(&self, layer: &Layer, form: LayerForm) -> PathBuf {
        self.converted_dir().join(format!("{}-{form}.json", layer.digest.hex()))
    }

    /// Drops the records of layers that are gone.
    pub(super) fn forget_converted(&self) {
        for entry in fs::read_dir(self.converted_dir()).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_here = stored_layer(&path).is_some_and(|digest| self.content().exists(digest));
            if !is_here {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn made(layer: &Layer, form: LayerForm, blob: Blob, annotations: BTreeMap<String, String>) -> Layer {
    let media_type = form.media_type(&layer.media_type).to_owned();
    Layer { digest: blob.digest, size: blob.size, media_type, diff_id: layer.diff_id, annotations }
}

/// A layer that is read while it is made.
#[derive(Debug)]
pub(crate) struct Making {
    writer: Writer,
    end: End,
}

impl Making {
    /// What its readers see.
    pub(crate) fn growth(&self) -> Arc<Growth> {
        self.end.0.clone()
    }
}

/// Tells the readers when it is given up.
#[derive(Debug)]
struct End(Arc<Growth>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

impl Write for Making {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.end.0.grew(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stored_layer(record: &Path) -> Option<Digest> {
    let (hex, _) = record.file_stem()?.to_str()?.split_once('-')?;
    format!("sha256:{hex}").parse().ok()
}

//! Writing archives and layout directories. Equal images give equal archives.

use crate::form::LayerForm;
use crate::layer::{ApplyError, Entry, EntryKind, HashingReader, TarWriter};
use crate::store::{Outgoing, Planned};
use crate::{Image, ImageError, ImageStore, Layer};
use hako_content::Lease;
use hako_error::{Kind, Result};
use hako_names::{Digest, ImageRef};
use hako_oci::media_type;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// An OCI layout with `manifest.json` beside it, as today's `docker save` writes and all readers understand.
    /// Without another wish, zstd layers are written uncompressed: readers from before 2023 know no zstd. Of an index
    /// this machine's image is written: those readers know one manifest a name.
    #[default]
    Docker,
    /// The OCI layout alone, with the index that a name stands for. Without another wish, layers are written as they are
    /// stored.
    Oci,
    /// One directory a layer, uncompressed, for readers from before 2023.
    DockerLegacy,
}

/// How images are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// What is written.
    pub format: SaveFormat,
    /// How layers are compressed; `None` for what suits the format.
    pub form: Option<LayerForm>,
}

impl From<SaveFormat> for SaveOptions {
    fn from(format: SaveFormat) -> Self {
        Self { format, form: None }
    }
}

impl SaveOptions {
    fn form_of(self, layer: &Layer) -> LayerForm {
        let usual = match self.format {
            SaveFormat::Docker if LayerForm::Zstd.is_of(layer) => LayerForm::Uncompressed,
            _ => LayerForm::Stored,
        };
        self.form.unwrap_or(usual)
    }
}

/// An image as it is written.
struct Written<'a> {
    image: &'a Image,
    names: &'a [ImageRef],
    outgoing: Outgoing,
}

/// A place for the files of an archive.
trait Sink {
    fn file(&mut self, path: &str, size: u64, data: &mut dyn Read) -> Result<()>;

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.file(path, bytes.len() as u64, &mut &bytes[..])
    }
}

struct Tar<W: Write>(TarWriter<W>);

impl<W: Write> Sink for Tar<W> {
    fn file(&mut self, path: &str, size: u64, data: &mut dyn Read) -> Result<()> {
        let entry = Entry {
            path: path.as_bytes().to_vec(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            size,
            xattrs: Vec::new(),
            sparse: None,
        };
        Ok(self.0.append(&entry, data).map_err(written_to)?)
    }
}

struct Dir<'a>(&'a Path);

impl Sink for Dir<'_> {
    fn file(&mut self, path: &str, _: u64, data: &mut dyn Read) -> Result<()> {
        let path = self.0.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(ImageError::io("create", parent))?;
        }
        let mut file = File::create(&path).map_err(ImageError::io("create", &path))?;
        io::copy(data, &mut file).map_err(ImageError::io("write", &path))?;
        Ok(())
    }
}

/// A writer of somebody else's, who may be why an archive ends.
struct Out<W> {
    writer: W,
    has_failed: bool,
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes);
        self.has_failed |= written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.writer.flush();
        self.has_failed |= flushed.is_err();
        flushed
    }
}

fn compared(path: &str, expected: Digest, actual: Digest) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    let reason = format!("its bytes hash to {actual} and not to {expected}");
    Err(ImageError::Unusable { what: format!("{path} of the archive"), reason }.into())
}

fn written_to(source: io::Error) -> ApplyError {
    ApplyError::Stream { layer: "the archive being written".into(), source }
}

impl ImageStore {
    /// Writes images, each under the names given with it, as one archive. Every blob is compared with its digest on the
    /// way: an archive of a damaged image breaks off, and the error names the damage.
    pub fn save(
        &self,
        images: &[(Image, Vec<ImageRef>)],
        options: impl Into<SaveOptions>,
        writer: impl Write,
    ) -> Result<()> {
        let mut out = Out { writer, has_failed: false };
        let saved = self.save_to(images, options.into(), &mut out);
        saved.map_err(|error| if out.has_failed { error } else { self.damage(images, error) })
    }

    /// Reads all that an image has and compares it with its digests.
    ///
    /// # Errors
    /// `DataLoss` that names the first blob that is damaged, `NotFound` for one that is missing.
    pub fn verify(&self, image: &Image) -> Result<()> {
        let mut all: BTreeSet<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
        all.extend([image.manifest_digest, image.id]);
        all.extend(self.index_blobs(image).into_iter().map(|(digest, _)| digest));
        let shown = image.names.first().map_or_else(|| image.id.to_string(), ToString::to_string);
        let of_image = |error: hako_error::Error| error.context(format!("image {shown} is not whole"));
        all.into_iter().try_for_each(|digest| self.content().verify(digest)).map_err(of_image)
    }

    /// What is wrong with images that could not be saved: a stream that breaks does not say why.
    fn damage(&self, images: &[(Image, Vec<ImageRef>)], error: hako_error::Error) -> hako_error::Error {
        let damage = images.iter().find_map(|(image, _)| self.verify(image).err());
        damage.unwrap_or(error)
    }

    fn save_to(
        &self,
        images: &[(Image, Vec<ImageRef>)],
        options: SaveOptions,
        writer: &mut dyn Write,
    ) -> Result<()> {
        let lease = self.lease("save")?;
        let mut tar = Tar(TarWriter::new(writer));
        if options.format == SaveFormat::DockerLegacy {
            self.legacy(images, &mut tar)?;
        } else {
            let written = self.written(images, options, &lease)?;
            self.layout(&written, &lease, &mut tar)?;
            if options.format == SaveFormat::Docker {
                let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
                let layers = |at: usize| {
                    written[at].outgoing.layers.iter().map(|planned| path(planned.layer.digest)).collect()
                };
                tar.bytes("manifest.json", &manifest_json(images, &|image| path(image.id), &layers)?)?;
                tar.bytes("repositories", &repositories(images)?)?;
            }
        }
        tar.0.finish().map_err(written_to)?;
        Ok(())
    }

    /// Writes images as an OCI layout into a directory, which is made where it is missing.
    pub fn save_layout(
        &self,
        images: &[(Image, Vec<ImageRef>)],
        form: Option<LayerForm>,
        dir: &Path,
    ) -> Result<()> {
        fs::create_dir_all(dir).map_err(ImageError::io("create", dir))?;
        let lease = self.lease("save")?;
        let options = SaveOptions { format: SaveFormat::Oci, form };
        let written = self.written(images, options, &lease);
        let saved = written.and_then(|written| self.layout(&written, &lease, &mut Dir(dir)));
        saved
            .map_err(|error| if error.kind() == Kind::Exhausted { error } else { self.damage(images, error) })
    }

    fn written<'a>(
        &self,
        images: &'a [(Image, Vec<ImageRef>)],
        options: SaveOptions,
        lease: &Lease,
    ) -> Result<Vec<Written<'a>>> {
        let write = |(image, names): &'a (Image, Vec<ImageRef>)| {
            let form = |layer: &Layer| options.form_of(layer);
            let outgoing = match options.format {
                SaveFormat::Oci => self.outgoing(image, &form, lease)?,
                _ => self.outgoing_image(image, &form, lease)?,
            };
            Ok(Written { image, names, outgoing })
        };
        images.iter().map(write).collect()
    }

    fn layout(&self, images: &[Written<'_>], lease: &Lease, sink: &mut dyn Sink) -> Result<()> {
        let mut blobs: BTreeMap<Digest, Blob<'_>> = BTreeMap::new();
        for written in images {
            let Outgoing { layers, blobs: stored, documents } = &written.outgoing;
            blobs.extend(documents.iter().map(|(digest, bytes)| (*digest, Blob::Bytes(bytes))));
            blobs.extend(stored.iter().map(|(digest, _)| (*digest, Blob::Stored(*digest))));
            blobs.extend(layers.iter().map(|planned| (planned.layer.digest, Blob::Layer(planned))));
        }
        for (digest, blob) in blobs {
            self.blob(&format!("blobs/sha256/{}", digest.hex()), &blob, lease, sink)?;
        }
        let manifests: Vec<Value> = images.iter().flat_map(descriptors).collect();
        let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
        sink.bytes("index.json", &to_vec(&index)?)?;
        sink.bytes("oci-layout", LAYOUT.as_bytes())
    }

    fn blob(&self, path: &str, blob: &Blob<'_>, lease: &Lease, sink: &mut dyn Sink) -> Result<()> {
        let stored = match blob {
            Blob::Bytes(bytes) => return sink.bytes(path, bytes),
            Blob::Stored(digest) => *digest,
            // Nothing is stored for a plain layer: it is decompressed into the archive.
            Blob::Layer(Planned { layer, from: Some((from, LayerForm::Uncompressed)) }) => {
                let mut data = HashingReader::new(self.plain(from)?);
                sink.file(path, layer.size, &mut data)?;
                return compared(path, layer.digest, data.finish());
            }
            Blob::Layer(planned) => {
                self.provide(planned, lease)?;
                planned.layer.digest
            }
        };
        let mut data = HashingReader::new(self.content().open_blob(stored)?);
        sink.file(path, self.content().size(stored)?, &mut data)?;
        compared(path, stored, data.finish())
    }

    fn legacy(&self, images: &[(Image, Vec<ImageRef>)], tar: &mut dyn Sink) -> Result<()> {
        let mut seen = HashSet::new();
        for (image, _) in images {
            tar.bytes(&format!("{}.json", image.id.hex()), &self.content().read(image.id)?)?;
            let ids = layer_ids(image);
            for (at, (id, layer)) in ids.iter().zip(&image.layers).enumerate() {
                if seen.insert(id.clone()) {
                    let parent = at.checked_sub(1).map(|below| ids[below].clone());
                    self.legacy_layer(tar, id, parent, layer)?;
                }
            }
        }
        let config = |image: &Image| format!("{}.json", image.id.hex());
        let layers = |at: usize| {
            layer_ids(&images[at].0).into_iter().map(|id| format!("{id}/layer.tar")).collect::<Vec<_>>()
        };
        tar.bytes("manifest.json", &manifest_json(images, &config, &layers)?)?;
        tar.bytes("repositories", &repositories(images)?)
    }

    fn legacy_layer(
        &self,
        tar: &mut dyn Sink,
        id: &str,
        parent: Option<String>,
        layer: &Layer,
    ) -> Result<()> {
        let mut head = json!({"id": id, "created": "1970-01-01T00:00:00Z"});
        if let Some(parent) = parent {
            head["parent"] = parent.into();
        }
        tar.bytes(&format!("{id}/VERSION"), b"1.0")?;
        tar.bytes(&format!("{id}/json"), &to_vec(&head)?)?;
        // A tar's header wants the size first: the layer is decompressed twice rather than kept.
        let size = io::copy(&mut self.plain(layer)?, &mut io::sink()).map_err(written_to)?;
        let (path, mut data) = (format!("{id}/layer.tar"), HashingReader::new(self.plain(layer)?));
        tar.file(&path, size, &mut data)?;
        compared(&path, layer.diff_id, data.finish())
    }
}

/// A file of a layout.
enum Blob<'a> {
    Bytes(&'a [u8]),
    Stored(Digest),
    Layer(&'a Planned),
}

/// One descriptor a name, as containerd reads and writes them.
fn descriptors(written: &Written<'_>) -> Vec<Value> {
    let (digest, bytes) = written.outgoing.top();
    let kind: Option<Value> = serde_json::from_slice(bytes).ok();
    let kind = kind.as_ref().and_then(|manifest| manifest["mediaType"].as_str());
    let kind = kind.unwrap_or(media_type::MANIFEST);
    let mut plain = json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
    if kind != media_type::INDEX {
        plain["platform"] = written.image.platform_json();
    }
    if written.names.is_empty() {
        return vec![plain];
    }
    let named = written.names.iter().map(|name| {
        let mut descriptor = plain.clone();
        let tag = name.tag().unwrap_or("latest");
        descriptor["annotations"] = json!({
            "io.containerd.image.name": name.canonical(),
            "org.opencontainers.image.ref.name": tag,
        });
        descriptor
    });
    named.collect()
}

/// Legacy ids of an image's layers: unique for each stack, as the chain id is.
fn layer_ids(image: &Image) -> Vec<String> {
    let upto = |end: usize| crate::chain_id(image.layers[..=end].iter().map(|layer| layer.diff_id));
    (0..image.layers.len()).filter_map(upto).map(|id| id.hex()).collect()
}

fn manifest_json(
    images: &[(Image, Vec<ImageRef>)],
    config: &dyn Fn(&Image) -> String,
    layers: &dyn Fn(usize) -> Vec<String>,
) -> Result<Vec<u8>> {
    let list: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(at, (image, names))| {
            let tags: Vec<String> = names.iter().map(ToString::to_string).collect();
            let tags = if tags.is_empty() { Value::Null } else { tags.into() };
            json!({"Config": config(image), "RepoTags": tags, "Layers": layers(at)})
        })
        .collect();
    to_vec(&Value::Array(list))
}

/// Repository to tag to the legacy id of the topmost layer.
fn repositories(images: &[(Image, Vec<ImageRef>)]) -> Result<Vec<u8>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (image, names) in images {
        let Some(top) = layer_ids(image).pop() else { continue };
        for name in names {
            let tags = repositories.entry(name.familiar_name()).or_default();
            tags.insert(name.tag().unwrap_or("latest").to_owned(), top.clone());
        }
    }
    to_vec(&json!(repositories))
}

fn to_vec(value: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)
        .map_err(|source| ImageError::Document { what: "an archive's index".into(), source })?)
}

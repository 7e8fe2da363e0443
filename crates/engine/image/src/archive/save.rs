//! Writing archives and layout directories. Equal images give equal archives.

use crate::layer::{ApplyError, Decoder, Entry, EntryKind, TarWriter};
use crate::{Image, ImageError, ImageStore, Layer};
use hako_error::Result;
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
    #[default]
    Docker,
    /// The OCI layout alone.
    Oci,
    /// One directory a layer, uncompressed, for readers from before 2023.
    DockerLegacy,
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
        Ok(self.0.append(&entry, data).map_err(written)?)
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

fn written(source: io::Error) -> ApplyError {
    ApplyError::Stream { layer: "the archive being written".into(), source }
}

impl ImageStore {
    /// Writes images, each under the names given with it, as one archive.
    pub fn save(
        &self,
        images: &[(Image, Vec<ImageRef>)],
        format: SaveFormat,
        writer: impl Write,
    ) -> Result<()> {
        let mut tar = Tar(TarWriter::new(writer));
        match format {
            SaveFormat::Docker | SaveFormat::Oci => {
                self.layout(images, &mut tar)?;
                if format == SaveFormat::Docker {
                    let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
                    let layers =
                        |image: &Image| image.layers.iter().map(|layer| path(layer.digest)).collect();
                    tar.bytes("manifest.json", &manifest_json(images, &|image| path(image.id), &layers)?)?;
                    tar.bytes("repositories", &repositories(images)?)?;
                }
            }
            SaveFormat::DockerLegacy => self.legacy(images, &mut tar)?,
        }
        tar.0.finish().map_err(written)?;
        Ok(())
    }

    /// Writes images as an OCI layout into a directory, which is made where it is missing.
    pub fn save_layout(&self, images: &[(Image, Vec<ImageRef>)], dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(ImageError::io("create", dir))?;
        self.layout(images, &mut Dir(dir))
    }

    fn layout(&self, images: &[(Image, Vec<ImageRef>)], sink: &mut dyn Sink) -> Result<()> {
        let mut blobs = BTreeSet::new();
        for (image, _) in images {
            blobs.extend([image.manifest_digest, image.id]);
            blobs.extend(image.layers.iter().map(|layer| layer.digest));
        }
        for digest in blobs {
            let size = self.content().size(digest)?;
            let mut blob = self.content().open_blob(digest)?;
            sink.file(&format!("blobs/sha256/{}", digest.hex()), size, &mut blob)?;
        }
        let mut manifests = Vec::new();
        for (image, names) in images {
            manifests.extend(self.descriptors(image, names)?);
        }
        let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
        sink.bytes("index.json", &to_vec(&index)?)?;
        sink.bytes("oci-layout", LAYOUT.as_bytes())
    }

    /// One descriptor a name, as containerd reads and writes them.
    fn descriptors(&self, image: &Image, names: &[ImageRef]) -> Result<Vec<Value>> {
        let digest = image.manifest_digest;
        let bytes = self.content().read(digest)?;
        let manifest: Value = serde_json::from_slice(&bytes)
            .map_err(|source| ImageError::Document { what: format!("manifest {digest}"), source })?;
        let kind = manifest["mediaType"].as_str().unwrap_or(media_type::MANIFEST);
        let text = |key: &str| image.raw_config.get(key).cloned().unwrap_or(Value::Null);
        let plain = json!({
            "mediaType": kind, "digest": digest, "size": bytes.len(),
            "platform": {"architecture": text("architecture"), "os": text("os")},
        });
        if names.is_empty() {
            return Ok(vec![plain]);
        }
        let named = names.iter().map(|name| {
            let mut descriptor = plain.clone();
            let tag = name.tag().unwrap_or("latest");
            descriptor["annotations"] = json!({
                "io.containerd.image.name": name.canonical(),
                "org.opencontainers.image.ref.name": tag,
            });
            descriptor
        });
        Ok(named.collect())
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
        let layers = |image: &Image| {
            layer_ids(image).into_iter().map(|id| format!("{id}/layer.tar")).collect::<Vec<_>>()
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
        let size = io::copy(&mut self.plain(layer)?, &mut io::sink()).map_err(written)?;
        tar.file(&format!("{id}/layer.tar"), size, &mut self.plain(layer)?)
    }

    /// A layer's uncompressed tar.
    pub(crate) fn plain(&self, layer: &Layer) -> Result<Decoder<io::BufReader<File>>> {
        let compression = media_type::layer_compression(&layer.media_type).ok_or_else(|| {
            let (digest, media_type) = (layer.digest.to_string(), layer.media_type.clone());
            ImageError::MediaType { digest, media_type }
        })?;
        let blob = self.content().open_blob(layer.digest)?;
        Decoder::new(io::BufReader::with_capacity(1 << 17, blob), compression)
    }
}

/// Legacy ids of an image's layers: unique for each stack, as the chain id is.
fn layer_ids(image: &Image) -> Vec<String> {
    let upto = |end: usize| crate::chain_id(image.layers[..=end].iter().map(|layer| layer.diff_id));
    (0..image.layers.len()).filter_map(upto).map(|id| id.hex()).collect()
}

fn manifest_json(
    images: &[(Image, Vec<ImageRef>)],
    config: &dyn Fn(&Image) -> String,
    layers: &dyn Fn(&Image) -> Vec<String>,
) -> Result<Vec<u8>> {
    let list: Vec<Value> = images
        .iter()
        .map(|(image, names)| {
            let tags: Vec<String> = names.iter().map(ToString::to_string).collect();
            let tags = if tags.is_empty() { Value::Null } else { tags.into() };
            json!({"Config": config(image), "RepoTags": tags, "Layers": layers(image)})
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

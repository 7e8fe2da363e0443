//! Where a build's result goes.

use crate::attest::{self, Began, Said};
use crate::compile::Compiled;
use crate::error::BuildError;
use crate::files::{Dress, Source};
use crate::request::{BuildRequest, Output};
use crate::shared::Shared;
use crate::solve::Results;
use crate::{copy, dest, exchange};
use hako_error::{Error, Kind, Result};
use hako_image::layer::{Entry, EntryKind, TarWriter};
use hako_image::{Image, Layer, LayerForm, NewImage, SaveFormat, SaveOptions};
use hako_names::ImageRef;
use hako_oci::media_type;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What a build gave.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// The image, unless the result went elsewhere only.
    pub image: Option<Image>,
    /// Base images and remote sources with their digests.
    pub materials: Vec<(String, String)>,
    /// What a check found, where only that was asked for.
    pub report: Option<crate::check::Report>,
}

/// Makes the image and brings it to where the request wants it.
pub(crate) fn deliver(
    shared: &Shared,
    request: &BuildRequest,
    compiled: &Compiled,
    results: &Results,
    began: &Began,
) -> Result<Built> {
    let mut new = compiled.state.clone().into_image(results, &request.labels, request.tags.clone())?;
    new.extra_fields.extend(exchange::inline(shared, request, &compiled.graph, compiled.target, results)?);
    let said = attest::say(shared, request, began, &new)?;
    let mut is_image = request.outputs.is_empty();
    for output in &request.outputs {
        match output {
            Output::Local { dest } => local(shared, &new.layers, &said, dest)?,
            Output::Tar { dest } => tar(shared, &new.layers, &said, dest)?,
            _ => is_image = true,
        }
    }
    let materials = compiled.materials.clone().into_iter().collect();
    if !is_image {
        return Ok(Built { materials, ..Built::default() });
    }
    let image = commit(shared, request, new, &said)?;
    let named = [(image.clone(), request.tags.clone())];
    for output in &request.outputs {
        match output {
            Output::Oci { dest, tar: false, compression } => {
                shared.images.save_layout(&named, *compression, dest)?;
            }
            Output::Oci { dest, tar: true, compression } => {
                archive(shared, &named, SaveOptions { format: SaveFormat::Oci, form: *compression }, dest)?;
            }
            Output::Docker { dest, compression } => {
                archive(
                    shared,
                    &named,
                    SaveOptions { format: SaveFormat::Docker, form: *compression },
                    dest,
                )?;
            }
            Output::Image { push: true, compression } => push(shared, request, &image, *compression)?,
            Output::Image { push: false, .. } | Output::Local { .. } | Output::Tar { .. } => {}
        }
    }
    Ok(Built { image: Some(image), materials, report: None })
}

/// The image, with an index of it and what is said about it.
fn commit(shared: &Shared, request: &BuildRequest, new: NewImage, said: &[Said]) -> Result<Image> {
    if said.is_empty() {
        return shared.images.commit_image(new);
    }
    let image = shared.images.write_image(&new, &shared.lease)?;
    let own = json!({
        "mediaType": media_type::MANIFEST, "digest": image.manifest_digest,
        "size": shared.images.content().size(image.manifest_digest)?, "platform": image.platform_json(),
    });
    let beside = attest::beside_image(shared, request, &image, said)?;
    shared.images.commit_index(&[own, beside], image.manifest_digest, &new.names, &shared.lease)
}

/// The image as one file.
fn archive(
    shared: &Shared,
    named: &[(Image, Vec<ImageRef>)],
    options: SaveOptions,
    dest: &Path,
) -> Result<()> {
    dest::write(dest, |file| {
        shared.images.save(named, options, BufWriter::with_capacity(1 << 17, file))?;
        Ok(())
    })
}

/// The image to the registries of all its names.
fn push(shared: &Shared, request: &BuildRequest, image: &Image, form: Option<LayerForm>) -> Result<()> {
    let Some(registry) = &shared.registry else {
        return Err(Error::new(
            Kind::FailedPrecondition,
            "this builder speaks to no registry, it cannot push",
        ));
    };
    if request.tags.is_empty() {
        return Err(Error::new(Kind::Invalid, "an image without a name cannot be pushed: give -t NAME"));
    }
    request.tags.iter().try_for_each(|name| registry.push(image, name, form))
}

/// The root's files as a directory, and what is said about them.
fn local(shared: &Shared, layers: &[Layer], said: &[Said], dest: &Path) -> Result<()> {
    let view = copy::View::open(shared, layers)?;
    let notes = notes(&view.source, said)?;
    fs::create_dir_all(dest).map_err(BuildError::io("create", dest))?;
    let directory = File::open(dest).map_err(BuildError::io("open", dest))?;
    let files = view.source.walk("")?;
    copy::send(&directory, |tar| {
        view.source.pack(&files, &Dress::default(), b"", tar)?;
        append(&notes, shared, tar).map_err(BuildError::io("write", dest))
    })
}

/// The root's files as a tar; it appears when it is whole.
fn tar(shared: &Shared, layers: &[Layer], said: &[Said], dest: &Path) -> Result<()> {
    let view = copy::View::open(shared, layers)?;
    let source: &Source = &view.source;
    let (notes, files) = (notes(source, said)?, source.walk("")?);
    dest::write(dest, |file| {
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 17, file));
        source.pack(&files, &Dress::default(), b"", &mut tar)?;
        append(&notes, shared, &mut tar).map_err(BuildError::io("write", dest))?;
        tar.finish().map_err(BuildError::io("write", dest))?;
        Ok(())
    })
}

/// Files with what is said about the files of a root.
fn notes(source: &Source, said: &[Said]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    if said.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(taken) = said.iter().find(|one| source.resolve(one.file).is_ok()) {
        let message =
            format!("the result has a file {:?} of its own, the attestation has no place", taken.file);
        return Err(Error::new(Kind::FailedPrecondition, message));
    }
    let subjects = attest::subjects_of_files(source)?;
    Ok(said.iter().map(|one| (one.file, one.of_files(&subjects))).collect())
}

fn append(notes: &[(&str, Vec<u8>)], shared: &Shared, tar: &mut TarWriter<impl Write>) -> io::Result<()> {
    for (name, bytes) in notes {
        let entry = Entry {
            path: name.as_bytes().to_vec(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: shared.epoch_unix_s.unwrap_or(0),
            mtime_ns: 0,
            size: bytes.len() as u64,
            xattrs: Vec::new(),
            sparse: None,
        };
        tar.append(&entry, bytes.as_slice())?;
    }
    Ok(())
}

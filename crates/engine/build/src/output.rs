//! Where a build's result goes.

use crate::compile::Compiled;
use crate::error::BuildError;
use crate::files::{Dress, Source};
use crate::request::{BuildRequest, Output};
use crate::shared::Shared;
use crate::solve::Results;
use crate::{copy, dest, exchange};
use hako_error::{Error, Kind, Result};
use hako_image::layer::TarWriter;
use hako_image::{Image, Layer, LayerForm, SaveFormat, SaveOptions};
use hako_names::ImageRef;
use std::fs::{self, File};
use std::io::BufWriter;
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
) -> Result<Built> {
    let layers = results.below(compiled.target)?;
    let mut is_image = request.outputs.is_empty();
    for output in &request.outputs {
        match output {
            Output::Local { dest } => local(shared, &layers, dest)?,
            Output::Tar { dest } => tar(shared, &layers, dest)?,
            _ => is_image = true,
        }
    }
    let materials = compiled.materials.clone().into_iter().collect();
    if !is_image {
        return Ok(Built { materials, ..Built::default() });
    }
    let mut new = compiled.state.clone().into_image(results, &request.labels, request.tags.clone())?;
    new.extra_fields.extend(exchange::inline(shared, request, &compiled.graph, compiled.target, results)?);
    let image = shared.images.commit_image(new)?;
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

/// The root's files as a directory.
fn local(shared: &Shared, layers: &[Layer], dest: &Path) -> Result<()> {
    let view = copy::View::open(shared, layers)?;
    fs::create_dir_all(dest).map_err(BuildError::io("create", dest))?;
    let directory = File::open(dest).map_err(BuildError::io("open", dest))?;
    let files = view.source.walk("")?;
    copy::send(&directory, |tar| view.source.pack(&files, &Dress::default(), b"", tar))
}

/// The root's files as a tar; it appears when it is whole.
fn tar(shared: &Shared, layers: &[Layer], dest: &Path) -> Result<()> {
    let view = copy::View::open(shared, layers)?;
    let source: &Source = &view.source;
    let files = source.walk("")?;
    dest::write(dest, |file| {
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 17, file));
        source.pack(&files, &Dress::default(), b"", &mut tar)?;
        tar.finish().map_err(BuildError::io("write", dest))?;
        Ok(())
    })
}

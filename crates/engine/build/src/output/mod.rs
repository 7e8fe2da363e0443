//! Where a build's result goes.

mod tree;

use crate::attest::{self, Began, Said};
use crate::compile::{Compiled, Target};
use crate::platform::Platform;
use crate::request::{BuildRequest, Output};
use crate::shared::Shared;
use crate::solve::Results;
use crate::{dest, exchange};
use hako_error::{Error, Kind, Result};
use hako_image::{Image, LayerForm, NewImage, SaveFormat, SaveOptions, transfer};
use hako_names::{Digest, ImageRef};
use hako_oci::media_type;
use serde_json::json;
use std::io::BufWriter;
use std::path::Path;

/// What a build gave.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// The image, unless the result went elsewhere only; of several the one that this machine runs.
    pub image: Option<Image>,
    /// What the registry calls it, where it was pushed: layers may leave in another form than they are stored in.
    pub pushed: Option<Digest>,
    /// For what there is an image each, where that was asked for: `os/arch[/variant]`.
    pub platforms: Vec<String>,
    /// Base images and remote sources with their digests.
    pub materials: Vec<(String, String)>,
    /// What a check found, where only that was asked for.
    pub report: Option<crate::check::Report>,
}

impl Built {
    /// By what the image is known: its own id, of images for several platforms their index's digest.
    #[must_use]
    pub fn id(&self) -> Option<Digest> {
        let image = self.image.as_ref()?;
        Some(image.index.filter(|_| self.platforms.len() > 1).unwrap_or(image.id))
    }
}

/// The result for one platform.
struct Part<'a> {
    platform: &'a Platform,
    new: NewImage,
    said: Vec<Said>,
    /// What it is called among several; else empty.
    directory: String,
}

/// Refuses what the request's outputs have no place for.
pub(crate) fn check(request: &BuildRequest) -> Result<()> {
    if !request.outputs.iter().any(|output| matches!(output, Output::Docker { .. })) {
        return Ok(());
    }
    let what = if request.sbom || request.provenance.is_some() {
        "for attestations: write type=oci, or leave --sbom, --provenance and --attest out"
    } else if Platform::all(&request.platforms)?.len() > 1 {
        "for images for several platforms: write type=oci, or build for one"
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Invalid, format!("what docker load reads has no place {what}")))
}

/// Makes the image and brings it to where the request wants it.
pub(crate) fn deliver(
    shared: &Shared,
    request: &BuildRequest,
    compiled: &Compiled,
    results: &Results,
    began: &Began,
) -> Result<Built> {
    let parts: Vec<Part<'_>> = compiled
        .targets
        .iter()
        .map(|target| part(shared, request, compiled, target, results, began))
        .collect::<Result<_>>()?;
    let mut is_image = request.outputs.is_empty();
    for output in &request.outputs {
        match output {
            Output::Local { dest } => tree::local(shared, &parts, dest)?,
            Output::Tar { dest } => tree::tar(shared, &parts, dest)?,
            Output::Cache => {}
            _ => is_image = true,
        }
    }
    let materials = compiled.materials.clone().into_iter().collect();
    let platforms = parts.iter().map(|part| part.platform.to_string()).collect();
    let (image, pushed) = if is_image {
        let (image, pushed) = image(shared, request, parts)?;
        (Some(image), pushed)
    } else {
        (None, None)
    };
    Ok(Built { image, pushed, platforms, materials, report: None })
}

fn part<'a>(
    shared: &Shared,
    request: &BuildRequest,
    compiled: &'a Compiled,
    target: &'a Target,
    results: &Results,
    began: &Began,
) -> Result<Part<'a>> {
    let mut new = target.state.clone().into_image(results, &request.labels, request.tags.clone())?;
    new.annotations.clone_from(&request.annotations);
    new.extra_fields.extend(exchange::inline(shared, request, &compiled.graph, target.node(), results)?);
    let said = attest::say(shared, request, began, &target.platform, &new)?;
    let is_only = compiled.targets.len() == 1;
    let directory = if is_only { String::new() } else { target.platform.directory() };
    Ok(Part { platform: &target.platform, new, said, directory })
}

/// The image of this machine, sent and written to where the request wants it; and its digest where it was pushed.
fn image(shared: &Shared, request: &BuildRequest, parts: Vec<Part<'_>>) -> Result<(Image, Option<Digest>)> {
    let image = commit(shared, request, parts)?;
    let mut pushed = None;
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
            Output::Image { push: true, compression } => {
                pushed = push(shared, request, &image, *compression)?;
            }
            Output::Image { push: false, .. } | Output::Local { .. } | Output::Tar { .. } | Output::Cache => {
            }
        }
    }
    Ok((image, pushed))
}

/// Stores the image; several, or one with what is said about it, with an index.
fn commit(shared: &Shared, request: &BuildRequest, mut parts: Vec<Part<'_>>) -> Result<Image> {
    if let [one] = parts.as_mut_slice()
        && one.said.is_empty()
    {
        let new = std::mem::take(&mut one.new);
        let layers = new.layers.clone();
        return shared.settling.commit(&layers, |unsynced| shared.images.commit_image_with(new, unsynced));
    }
    shared.settling.wait()?;
    let (mut images, mut said, mut own) = (Vec::new(), Vec::new(), None);
    for part in &parts {
        let image = shared.images.write_image(&part.new, &shared.lease)?;
        let size = shared.images.content().size(image.manifest_digest)?;
        images.push(json!({
            "mediaType": media_type::MANIFEST, "digest": image.manifest_digest, "size": size,
            "platform": part.platform.json(),
        }));
        if !part.said.is_empty() {
            said.push(attest::beside_image(shared, request, part.platform, &image, &part.said)?);
        }
        // What this machine runs, else the first.
        let rank = transfer::Platform::host().rank(&part.platform.of_images());
        if own.is_none_or(|(known, _)| rank > known) {
            own = Some((rank, image.manifest_digest));
        }
    }
    let (_, own) = own.ok_or_else(|| Error::new(Kind::Internal, "a build for no platform"))?;
    images.extend(said);
    shared.images.commit_index(&images, own, &request.tags, &shared.lease)
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

/// The image to the registries of all its names; its digest there.
fn push(
    shared: &Shared,
    request: &BuildRequest,
    image: &Image,
    form: Option<LayerForm>,
) -> Result<Option<Digest>> {
    let Some(registry) = &shared.registry else {
        return Err(Error::new(
            Kind::FailedPrecondition,
            "this builder speaks to no registry, it cannot push",
        ));
    };
    if request.tags.is_empty() {
        return Err(Error::new(Kind::Invalid, "an image without a name cannot be pushed: give -t NAME"));
    }
    let mut pushed = None;
    for name in &request.tags {
        pushed = Some(registry.push(image, name, form)?);
    }
    Ok(pushed)
}

//! OCI image layouts as contexts.

use crate::context::Contexts;
use hako_error::{Error, Kind, Result};
use hako_image::LayoutImage;
use hako_image::transfer::Progress;
use hako_names::{Digest, ImageRef};
use std::path::Path;

/// Takes an image of an OCI layout directory, `DIR[:TAG][@DIGEST]`, into the store; returns a name for it.
pub(crate) fn import(contexts: &Contexts, layout: &str) -> Result<ImageRef> {
    let (rest, digest) = match layout.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
        None => (layout, None),
    };
    let (dir, tag) = match rest.rsplit_once(':') {
        Some((dir, tag)) if !tag.contains('/') => (dir, Some(tag)),
        _ => (rest, None),
    };
    let meant = LayoutImage { tag, digest };
    let taken = contexts.ground.images.take_from_layout(Path::new(dir), meant, &Progress::none())?;
    let Some(image) = taken else {
        return Err(Error::new(Kind::NotFound, format!("there is no such image in oci-layout://{layout}")));
    };
    // By its index, where there is one: other platforms are found by it.
    let text = format!("localhost/oci-layout@{}", image.index.unwrap_or(image.manifest_digest));
    text.parse().map_err(|_| Error::new(Kind::Internal, "cannot name an image of a layout"))
}

//! OCI image layouts as contexts.

use crate::context::Contexts;
use hako_error::{Error, Kind, Result};
use hako_image::transfer::Progress;
use hako_names::{Digest, ImageRef};
use std::path::Path;

/// Takes the images of an OCI layout directory, `DIR[:TAG][@DIGEST]`, into the store; returns a name for the one
/// that is meant.
pub(crate) fn import(contexts: &Contexts, layout: &str) -> Result<ImageRef> {
    let (rest, digest) = match layout.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
        None => (layout, None),
    };
    let (dir, tag) = match rest.rsplit_once(':') {
        Some((dir, tag)) if !tag.contains('/') => (dir, Some(tag)),
        _ => (rest, None),
    };
    let images = contexts.ground.images.load_layout(Path::new(dir), &Progress::none())?;
    let is_meant = |image: &&hako_image::Image| {
        let own = [Some(image.manifest_digest), Some(image.id), image.index];
        digest.is_none_or(|digest| own.contains(&Some(digest)))
            && tag.is_none_or(|tag| image.names.iter().any(|name| name.tag() == Some(tag)))
    };
    let mut meant = images.iter().filter(is_meant);
    let Some(image) = meant.next() else {
        return Err(Error::new(Kind::NotFound, format!("there is no such image in oci-layout://{layout}")));
    };
    if meant.next().is_some() {
        let message = format!("oci-layout://{layout} has several images; name one by :TAG or @sha256:…");
        return Err(Error::new(Kind::Invalid, message));
    }
    // By its index, where there is one: other platforms are found by it.
    let text = format!("localhost/oci-layout@{}", image.index.unwrap_or(image.manifest_digest));
    text.parse().map_err(|_| Error::new(Kind::Internal, "cannot name an image of a layout"))
}

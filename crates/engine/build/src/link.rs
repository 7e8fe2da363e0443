//! `COPY --link`: a directory's files as a layer that depends on nothing.

use crate::error::BuildError;
use crate::files::{Dress, Source, clean};
use crate::shared::Shared;
use hako_content::Expected;
use hako_error::Result;
use hako_image::Layer;
use hako_image::layer::{Encoder, TarWriter};
use hako_oci::media_type::{self, Compression};
use std::path::Path;

/// Writes what is in `dir` as a layer, except the directories on the way to `destination`.
pub(crate) fn write(shared: &Shared, dir: &Path, destination: &str) -> Result<Option<Layer>> {
    let source = Source::stage(dir.to_owned())?;
    let mut files = source.walk("")?;
    let destination = clean(destination);
    let is_on_the_way = |path: &Path| {
        let path = path.to_string_lossy();
        path.is_empty() || destination == path || destination.starts_with(&format!("{path}/"))
    };
    files.retain(|file| !(file.metadata.is_dir() && is_on_the_way(&file.below)));
    if files.is_empty() {
        return Ok(None);
    }
    let writer = shared.images.content().writer("layer of COPY --link")?.under(&shared.lease);
    let mut encoder = Encoder::new(writer, Compression::Zstd)?;
    let mut tar = TarWriter::new(&mut encoder);
    source.pack(&files, &Dress::default(), b"", &mut tar)?;
    tar.finish().map_err(BuildError::io("write", "a layer"))?;
    let (writer, diff_id) = encoder.finish()?;
    let blob = writer.commit(Expected::default())?;
    let media_type = media_type::LAYER_ZSTD.into();
    Ok(Some(Layer {
        digest: blob.digest,
        size: blob.size,
        media_type,
        diff_id,
        annotations: Default::default(),
    }))
}

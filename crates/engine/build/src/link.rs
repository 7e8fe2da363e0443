//! `COPY --link`: a directory's files as a layer that depends on nothing.

use crate::error::BuildError;
use crate::files::{Dress, Source, clean};
use crate::shared::Shared;
use hako_error::Result;
use hako_image::Layer;
use hako_image::layer::TarWriter;
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
    let (layer, ()) = shared.images.write_tar("layer of COPY --link", &shared.lease, |sink| {
        let mut tar = TarWriter::new(sink);
        source.pack(&files, &Dress::default(), b"", &mut tar)?;
        tar.finish().map_err(BuildError::io("write", "a layer"))?;
        Ok(())
    })?;
    // Nothing is unpacked yet: who builds on it reads the blob.
    Ok(Some(layer.commit()?))
}

//! What a failed RUN left, as an image that a shell can be started in.

use crate::graph::RunOp;
use crate::request::BuildEvent;
use crate::shared::Shared;
use hako_error::{Error, Kind, Result};
use hako_image::layer::DiffOptions;
use hako_image::{Layer, NewImage};
use hako_oci::image::{ConfigBuilder, ImageConfiguration};
use hako_snapshot::Mounts;

/// The name of such images: the last one has it.
const NAME: &str = "localhost/hako-build-failed";

/// Keeps the state that the step left, with its environment, user and directory.
pub(crate) fn keep(shared: &Shared, run: &RunOp, below: &[Layer], mounts: &Mounts) -> Result<()> {
    let failed = |error| Error::new(Kind::Internal, "cannot keep a failed step").with_source(error);
    // The image has the layers below.
    shared.settling.wait()?;
    let layer = shared.images.write_layer(mounts, &DiffOptions::default(), NAME, &shared.lease)?.commit()?;
    let mut inner = ConfigBuilder::default()
        .env(run.env.clone())
        .working_dir(run.workdir.clone())
        .cmd(vec!["/bin/sh".to_owned()]);
    if !run.user.is_empty() {
        inner = inner.user(run.user.clone());
    }
    let mut config = ImageConfiguration::default();
    config.set_config(Some(inner.build().map_err(failed)?));
    let layers = below.iter().cloned().chain([layer]).collect();
    let new = NewImage { config, layers, ..NewImage::default() };
    let image = shared.images.commit_image(new)?;
    let name = format!("{NAME}:{}", image.id.short());
    let name = name.parse().map_err(|_| Error::new(Kind::Internal, "cannot name a failed step"))?;
    shared.images.tag(&image, &name)?;
    let _ = shared.events.send(BuildEvent::Kept { image: name.to_string() });
    Ok(())
}

//! `GET /containers/{id}/export`: a container's root file system as a tar archive.

use crate::error::Answer;
use crate::events::note;
use crate::{DockerState, archive};
use axum::extract::{Path, State};
use hako_container::ContainerEngine;
use hako_image::layer::{DiffOptions, diff};
use hako_snapshot::Mounts;

/// All files as they are while they are read; volumes and other mounts are not part of it. Of a container that runs,
/// files may change meanwhile.
pub(crate) async fn export(State(state): State<DockerState>, Path(name): Path<String>) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let images = state.images.clone();
    let mounts = state.engine.root_mounts(&id)?;
    note(&state, &id, "export").await;
    archive::answer(move |out| {
        // The container's own layer on top of its image's, looked at without a way to write to it.
        let lower = mounts.upper.into_iter().chain(mounts.lower).collect();
        let tree = images.snapshots().mounted(&Mounts { lower, upper: None, work: None })?;
        diff(&tree.path(), &[], &DiffOptions::default(), out)
    })
    .await
}

//! `POST /images/prune`.

use super::list::is_chosen;
use crate::DockerState;
use crate::error::{Answer, blocking};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{ContainerEngine, Filter};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// Removes what no name points to; with the filter `dangling=false`, also named images that no container has.
pub(crate) async fn prune(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["dangling", "label", "label!", "until"])?;
    let until = filters.until(Timestamp::now())?;
    let all = filters.dangling()? == Some(false);
    let users = state.engine.containers(&Filter::default()).await?;
    let used: Vec<String> = users.into_iter().map(|user| user.resolved.image_id.clone()).collect();
    let events = state.events.clone();
    let (deleted, freed) = blocking(move || {
        let images = &state.images;
        let list = images.list()?;
        let pieces = state.sizes.everything(images, &list);
        let (mut deleted, mut freed) = (Vec::<Value>::new(), 0);
        for image in list {
            let is_loose = (all || image.names.is_empty()) && !used.contains(&image.id.to_string());
            if is_loose && is_chosen(&filters, &image, until) {
                let removed = match images.remove_listed(&image) {
                    Ok(removed) => removed,
                    // Somebody else was faster, or named it meanwhile.
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                };
                if let Some(id) = removed.deleted.map(|id| id.to_string()) {
                    state.events.image("delete", &id, &id, &image);
                }
                deleted.extend(removed.untagged.iter().map(|name| json!({ "Untagged": name.to_string() })));
                deleted.extend(removed.deleted.iter().map(|id| json!({ "Deleted": id })));
                freed += pieces.freed(&removed.collected);
            }
        }
        freed += images.forget_cut_pulls(Duration::ZERO)?;
        freed += pieces.freed(&images.gc()?);
        Ok((deleted, freed))
    })
    .await?;
    events.prune("image", freed);
    Ok(Json(json!({ "ImagesDeleted": deleted, "SpaceReclaimed": freed })).into_response())
}

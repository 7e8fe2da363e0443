//! `GET /images/json`.

use super::{digests, labels, tags, with_tag};
use crate::error::{Answer, blocking};
use crate::params::{Filters, Params};
use crate::{DockerState, glob};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_error::{Error, Kind, Result};
use hako_image::Image;
use hako_names::ImageRef;
use jiff::Timestamp;
use serde_json::{Value, json};

/// One image of the list.
pub(crate) fn summary(state: &DockerState, image: &Image) -> Value {
    let size = state.sizes.image(&state.images, image);
    json!({
        "Id": image.id, "ParentId": "", "RepoTags": tags(image), "RepoDigests": digests(image),
        "Created": image.created().map_or(0, |created| created.as_second()),
        // Before API 1.44 clients read the second one.
        "Size": size, "VirtualSize": size, "SharedSize": -1, "Containers": -1, "Labels": labels(image),
    })
}

pub(crate) async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["reference", "label", "dangling", "before", "since", "until"])?;
    let until = filters.until(Timestamp::now())?;
    let dangling = filters.dangling()?;
    let (is_shared_wanted, names_wanted) = (params.flag("shared-size"), filters.get("reference").to_vec());
    let shown = blocking(move || {
        let all = state.images.list()?;
        let before = newest_of(&state, filters.get("before"))?;
        let since = newest_of(&state, filters.get("since"))?;
        let pieces = is_shared_wanted.then(|| state.sizes.of(&state.images, &all));
        let mut shown = Vec::new();
        for mut image in all {
            if !names_wanted.is_empty() {
                image.names.retain(|name| is_meant(&names_wanted, name));
            }
            let created = image.created();
            let is_wanted = (names_wanted.is_empty() || !image.names.is_empty())
                && dangling.is_none_or(|wanted| image.names.is_empty() == wanted)
                && before.is_none_or(|before| created < Some(before))
                && since.is_none_or(|since| created > Some(since))
                && until.is_none_or(|until| created < Some(until))
                && filters.labels(&labels(&image));
            if is_wanted {
                let mut line = summary(&state, &image);
                if let Some(pieces) = &pieces {
                    line["SharedSize"] = json!(state.sizes.shared(&state.images, &image, pieces));
                }
                shown.push(line);
            }
        }
        Ok(shown)
    })
    .await?;
    Ok(Json(shown).into_response())
}

/// Whether a pattern means this name, with or without its tag.
fn is_meant(patterns: &[String], name: &ImageRef) -> bool {
    let (whole, repository) = (name.to_string(), name.familiar_name());
    patterns.iter().any(|pattern| glob::matches(pattern, &whole) || glob::matches(pattern, &repository))
}

/// When the image that a `before` or `since` filter names was made.
fn newest_of(state: &DockerState, names: &[String]) -> Result<Option<Timestamp>> {
    let mut newest = None;
    for name in names {
        let found = state.images.find(name).map_err(|error| match error.kind() {
            Kind::NotFound => Error::new(Kind::NotFound, format!("No such image: {}", with_tag(name))),
            _ => error,
        });
        newest = newest.max(found?.created());
    }
    Ok(newest)
}

/// Filters that choose images by age and labels, as `prune` and `list` have them.
pub(super) fn is_chosen(filters: &Filters, image: &Image, until: Option<Timestamp>) -> bool {
    filters.labels(&labels(image)) && until.is_none_or(|until| image.created() < Some(until))
}

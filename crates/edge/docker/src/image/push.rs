//! `POST /images/{name}/push`.

use super::platform;
use super::progress::{Lines, Way, plain, streamed};
use crate::error::{Answer, Failure, blocking};
use crate::params::Params;
use crate::{DockerState, registry};
use hako_error::{Error, Kind, Result};
use hako_image::remote::{Credentials, RemoteClient};
use hako_image::transfer::{Event, Progress, PushOptions};
use hako_image::{Image, LayerForm};
use hako_names::ImageRef;
use http::HeaderMap;
use serde_json::json;

/// Pushes a tag, or without one all tags of the repository, and tells about it.
pub(super) async fn push(state: &DockerState, name: &str, params: &Params, headers: &HeaderMap) -> Answer {
    let text = params.get("tag").map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"));
    let wanted: ImageRef = text.parse()?;
    if wanted.digest().is_some() {
        return Err(crate::error::invalid(format!("cannot push {wanted}: a push needs a tag, not a digest")));
    }
    let has_tag =
        params.get("tag").is_some() || name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    let credentials = registry::credentials(headers)?;
    // Ours: no client of docker's sends it.
    let form = params.get("compression").map(str::parse).transpose()?;
    let found = local(state, &wanted, !has_tag).await?;
    found.iter().try_for_each(|(_, image)| platform::check(params, image))?;
    let state = state.clone();
    streamed(|lines| run(state, wanted, found, form, credentials, lines), plain).await
}

/// The images to push with the names to push them by.
async fn local(state: &DockerState, wanted: &ImageRef, all: bool) -> Result<Vec<(ImageRef, Image)>, Failure> {
    let (images, name) = (state.images.clone(), wanted.clone());
    let found = blocking(move || {
        if !all {
            return Ok(match images.resolve(&name) {
                Ok(image) => vec![(name, image)],
                Err(error) if error.is_not_found() => Vec::new(),
                Err(error) => return Err(error),
            });
        }
        let of_repository =
            |one: &ImageRef| one.familiar_name() == name.familiar_name() && one.tag().is_some();
        let list = images.list()?;
        let named = list.iter().flat_map(|image| image.names.iter().map(move |name| (name, image)));
        // By name: each may stand for an index of its own.
        let named = named.filter(|(name, _)| of_repository(name));
        named.map(|(name, _)| Ok((name.clone(), images.resolve(name)?))).collect()
    })
    .await?;
    if found.is_empty() {
        let text = match all {
            true => format!("an image does not exist locally with the name {}", wanted.familiar_name()),
            false => format!("An image does not exist locally with the tag: {}", wanted.familiar_name()),
        };
        return Err(Failure(Error::new(Kind::NotFound, text)));
    }
    Ok(found)
}

async fn run(
    state: DockerState,
    wanted: ImageRef,
    found: Vec<(ImageRef, Image)>,
    form: Option<LayerForm>,
    credentials: Credentials,
    lines: Lines,
) -> Result<()> {
    let (host, repository) = (wanted.registry(), wanted.repository());
    lines.status(format!("The push refers to repository [{host}/{repository}]"));
    let client = RemoteClient::new(host, registry::options(&state, host, credentials))?;
    for (name, image) in found {
        let (told, config) = (lines.clone(), image.id);
        let listener = move |event| {
            // Docker shows layers only.
            if let Event::Layer { digest, state } = event
                && digest != config
            {
                told.layer(Way::Push, digest, &state);
            }
        };
        let options = PushOptions { client: Some(client.clone()), form, ..PushOptions::default() };
        let progress = Progress::new(listener);
        let pushed = hako_image::transfer::push(&state.images, &image, &name, &options, &progress).await?;
        let tag = name.tag().unwrap_or_default();
        state.events.image("push", &name.to_string(), &name.familiar_name(), &image);
        lines.status(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
        lines.status(super::progress::traffic(pushed.moved, pushed.saved));
        let aux = json!({
            "Tag": tag, "Digest": pushed.digest, "Size": pushed.size,
            "Moved": pushed.moved, "Saved": pushed.saved,
        });
        lines.send(json!({ "progressDetail": {}, "aux": aux }));
    }
    Ok(())
}

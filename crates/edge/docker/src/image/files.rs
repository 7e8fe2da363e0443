//! `GET /images/get`, `GET /images/{name}/get` and `POST /images/load`: images as archives.

use super::progress::{Lines, Way, plain, streamed};
use super::{Shared, body_reader, find, platform, readable};
use crate::error::{Answer, Failure, blocking, invalid};
use crate::params::Params;
use crate::{DockerState, archive};
use axum::extract::{Request, State};
use hako_error::{Error, Kind};
use hako_image::transfer::{Event, Progress, Stop};
use hako_image::{Image, SaveFormat, SaveOptions};
use hako_names::ImageRef;
use serde_json::json;
use std::io::Read;

/// What is read of an archive that was refused, so that its sender reads why, in bytes.
const REST: u64 = 1 << 30;

pub(crate) async fn save_many(State(state): State<DockerState>, params: Params) -> Answer {
    let names: Vec<&str> = params.all("names").collect();
    save(&state, &names, &params).await
}

/// `format`, `compression` and `verify`, which answers what is wrong with an image whose archive broke off, are ours:
/// no client of docker's sends them.
fn options(params: &Params) -> Result<SaveOptions, Failure> {
    let format = match params.get("format") {
        None | Some("docker") => SaveFormat::Docker,
        Some("oci") => SaveFormat::Oci,
        Some(other) => {
            return Err(invalid(format!("there is no format {other:?} of archives: use docker or oci")));
        }
    };
    Ok(SaveOptions { format, form: params.get("compression").map(str::parse).transpose()? })
}

/// An archive of these images with the names that were asked for.
pub(super) async fn save(state: &DockerState, names: &[&str], params: &Params) -> Answer {
    let options = options(params)?;
    if names.is_empty() {
        return Err(invalid("names is missing: say which images are to be saved"));
    }
    let mut wanted: Vec<(Image, Vec<ImageRef>)> = Vec::new();
    for name in names {
        for (image, name) in meant(state, name).await? {
            platform::check(params, &image)?;
            let is_same =
                |known: &Image| (known.manifest_digest, known.index) == (image.manifest_digest, image.index);
            match wanted.iter_mut().find(|(known, _)| is_same(known)) {
                Some((_, known)) => known.extend(name.filter(|name| !known.contains(name))),
                None => wanted.push((image, name.into_iter().collect())),
            }
        }
    }
    if params.flag("verify") {
        let (images, all) = (state.images.clone(), wanted.clone());
        blocking(move || all.iter().try_for_each(|(image, _)| images.verify(image))).await?;
    }
    for (image, _) in &wanted {
        let id = image.id.to_string();
        state.events.image("save", &id, &id, image);
    }
    let images = state.images.clone();
    archive::answer(move |out| images.save(&wanted, options, out)).await
}

/// A name with a tag means that; one without means all tags of its repository; an id has no name.
async fn meant(state: &DockerState, text: &str) -> Result<Vec<(Image, Option<ImageRef>)>, Failure> {
    let has_tag = text.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/')) || text.contains('@');
    if let (false, Ok(repository)) = (has_tag, text.parse::<ImageRef>()) {
        let images = state.images.clone();
        let of_repository = move || -> hako_error::Result<Vec<_>> {
            let all = images.list()?.into_iter().flat_map(|image| image.names);
            let is_meant =
                |name: &ImageRef| name.tag().is_some() && name.familiar_name() == repository.familiar_name();
            // By name: each may stand for an index of its own.
            all.filter(is_meant).map(|name| Ok((images.resolve(&name)?, Some(name)))).collect()
        };
        let named = blocking(of_repository).await?;
        if !named.is_empty() {
            return Ok(named);
        }
    }
    let image = find(state, text).await?;
    let name = image.name.clone().filter(|name| name.tag().is_some() && image.names.contains(name));
    Ok(vec![(image, name)])
}

/// Reads an archive of images; with `quiet` only its result is told.
pub(crate) async fn load(State(state): State<DockerState>, params: Params, request: Request) -> Answer {
    platform::only_host(&params)?;
    let body = body_reader(request.into_body());
    let is_quiet = params.flag("quiet");
    streamed(|lines| run(state, body, is_quiet, lines), plain).await
}

async fn run(
    state: DockerState,
    body: impl Read + Send + 'static,
    is_quiet: bool,
    lines: Lines,
) -> hako_error::Result<()> {
    let listener = {
        let lines = lines.clone();
        move |event| {
            if let Event::Layer { digest, state } = event
                && !is_quiet
            {
                lines.layer(Way::Load, digest, &state);
            }
        }
    };
    let images = state.images.clone();
    let stop = Stop::default();
    // Dropped with the request when its client goes.
    let _on_drop = stop.on_drop();
    let work = move || {
        let body = Shared::new(body);
        let mut archive = readable(body.clone())?;
        let loaded = images.load(&mut archive, &Progress::new(listener).until(&stop));
        if loaded.is_err() && !stop.is_wanted() {
            // Its sender listens only when it has sent all; a broken connection has no rest.
            let _ = std::io::copy(&mut body.take(REST), &mut std::io::sink());
        }
        loaded
    };
    let loaded = tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(Kind::Internal, "reading the archive ended early").with_source(error)
    })??;
    // An image that the archive has under several names comes several times.
    let mut told: Vec<String> = Vec::new();
    let mut is_new = |text: &str| {
        !told.iter().any(|known| known == text) && {
            told.push(text.to_owned());
            true
        }
    };
    for image in loaded {
        let id = image.id.to_string();
        let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
        if is_new(&id) {
            state.events.image("load", &id, names.first().unwrap_or(&id), &image);
        }
        let shown: Vec<String> = match names.is_empty() {
            true => vec![format!("Loaded image ID: {id}\n")],
            false => names.iter().map(|name| format!("Loaded image: {name}\n")).collect(),
        };
        shown.iter().filter(|line| is_new(line)).for_each(|line| lines.send(json!({ "stream": line })));
    }
    Ok(())
}

//! `POST /images/create?fromImage=…`.

use super::progress::{Lines, Way, streamed, traffic};
use crate::error::{Answer, Failure, status};
use crate::params::Params;
use crate::{DockerState, registry};
use hako_error::{Error, Kind, Result};
use hako_image::remote::{Credentials, RemoteClient};
use hako_image::transfer::{Event, Platform, Progress, PullOptions, Pulled};
use hako_names::{Digest, ImageRef};
use http::{HeaderMap, StatusCode};
use serde_json::json;

/// The page size when all tags are wanted.
const TAGS: u32 = 1000;

/// What a client wants to have.
struct Wanted {
    name: ImageRef,
    /// No tag and no digest was given: all tags of the repository.
    all: bool,
    platform: Platform,
    credentials: Credentials,
}

/// Pulls and tells about it.
pub(super) async fn pull(state: DockerState, image: &str, params: &Params, headers: &HeaderMap) -> Answer {
    let wanted = wanted(image, params, headers)?;
    streamed(|lines| run(state, wanted, lines), refusal).await
}

fn wanted(image: &str, params: &Params, headers: &HeaderMap) -> Result<Wanted, Failure> {
    let reference = params.get("tag");
    let text = match reference {
        Some(digest) if digest.parse::<Digest>().is_ok() => format!("{image}@{digest}"),
        Some(tag) => format!("{image}:{tag}"),
        None => image.to_owned(),
    };
    let has_tag = image.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/')) || image.contains('@');
    let platform = match params.get("platform") {
        Some(text) if text.contains('/') => text.parse()?,
        // Only an operating system: this machine's architecture.
        Some(os) => Platform { os: os.to_ascii_lowercase(), ..Platform::host() },
        None => Platform::host(),
    };
    let credentials = registry::credentials(headers)?;
    Ok(Wanted { name: text.parse()?, all: reference.is_none() && !has_tag, platform, credentials })
}

/// A repository that is hidden and one that does not exist look the same, Docker says both as not found.
fn refusal(error: Error) -> (StatusCode, Error) {
    match error.kind() {
        Kind::Unauthorized | Kind::Forbidden => {
            let text = "pull access denied, repository does not exist or may require 'docker login'";
            (StatusCode::NOT_FOUND, error.context(text))
        }
        kind => (status(kind), error),
    }
}

async fn run(state: DockerState, wanted: Wanted, lines: Lines) -> Result<()> {
    let host = wanted.name.registry();
    let client = RemoteClient::new(host, registry::options(&state, host, wanted.credentials.clone()))?;
    let names = match wanted.all {
        false => vec![wanted.name.clone()],
        true => all_tags(&client, &wanted.name).await?,
    };
    let (mut is_newer, mut digests) = (false, Vec::new());
    for name in names {
        let pulled = one(&state, &client, &name, &wanted.platform, &lines).await?;
        is_newer |= !pulled.is_up_to_date;
        digests.push(pulled.digest);
        state.events.image("pull", &name.to_string(), &name.familiar_name(), &pulled.image);
        lines.status(format!("Digest: {}", pulled.digest));
    }
    let shown = if wanted.all { wanted.name.familiar_name() } else { wanted.name.to_string() };
    lines.status(match is_newer {
        true => format!("Status: Downloaded newer image for {shown}"),
        false => format!("Status: Image is up to date for {shown}"),
    });
    Ok(())
}

async fn one(
    state: &DockerState,
    client: &RemoteClient,
    name: &ImageRef,
    platform: &Platform,
    lines: &Lines,
) -> Result<Pulled> {
    let listener = {
        let (lines, repository) = (lines.clone(), name.repository().to_owned());
        let shown =
            name.digest().map_or_else(|| name.tag().unwrap_or_default().to_owned(), |d| d.to_string());
        move |event| match event {
            Event::Resolved { .. } => {
                lines.send(json!({ "status": format!("Pulling from {repository}"), "id": shown }))
            }
            Event::Layer { digest, state } => lines.layer(Way::Pull, digest, &state),
            Event::Finished { is_up_to_date: true, .. } => {}
            Event::Finished { moved, saved, .. } => {
                lines.status(traffic(moved, saved));
                lines.send(json!({ "aux": { "Moved": moved, "Saved": saved } }));
            }
        }
    };
    let options =
        PullOptions { client: Some(client.clone()), platform: platform.clone(), ..PullOptions::default() };
    hako_image::transfer::pull(&state.images, name, &options, &Progress::new(listener)).await
}

async fn all_tags(client: &RemoteClient, name: &ImageRef) -> Result<Vec<ImageRef>> {
    let (mut names, mut last) = (Vec::new(), None::<String>);
    loop {
        let page = client.list_tags(name.repository(), Some(TAGS), last.as_deref()).await?;
        for tag in &page.items {
            names.push(format!("{}/{}:{tag}", name.registry(), name.repository()).parse()?);
        }
        // A registry that gives the same page again and again is not followed.
        match page.next {
            Some(next) if last.as_ref() != Some(&next) && names.len() < 100_000 => last = Some(next),
            _ => return Ok(names),
        }
    }
}

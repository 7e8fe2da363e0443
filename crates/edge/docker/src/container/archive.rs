//! `HEAD`, `GET` and `PUT /containers/{id}/archive`, `GET /containers/{id}/changes`: files in and out.

use crate::error::{Answer, Failure, invalid};
use crate::events::note;
use crate::image::{body_reader, readable};
use crate::params::Params;
use crate::{DockerState, archive};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_container::ContainerEngine;
use hako_container::{ChangeKind, Extraction, PathStat};
use hako_error::Error;
use hako_image::layer::{Decoder, sniff};
use hako_image::transfer::Stop;
use hako_names::ContainerId;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const STAT: &str = "x-docker-container-path-stat";

fn path(params: &Params) -> Result<String, Failure> {
    let path = params.get("path").ok_or_else(|| invalid("bad parameter: path cannot be empty"))?;
    match path.contains('\0') {
        true => Err(invalid("bad parameter: path has a zero byte in it")),
        false => Ok(path.to_owned()),
    }
}

pub(crate) async fn head(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let (id, path) = (state.engine.resolve(&name).await?, path(&params)?);
    let stat = state.engine.in_tree(&id, move |tree| tree.stat(&path)).await?;
    with_stat(StatusCode::OK.into_response(), &stat)
}

/// The archive is made while it is sent; what the path is goes before it.
pub(crate) async fn get(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let (id, path) = (state.engine.resolve(&name).await?, path(&params)?);
    let (mut pieces, response) = archive::pipe();
    let (sender, receiver) = oneshot::channel();
    let (engine, of) = (state.engine.clone(), id.clone());
    let sending = tokio::spawn(async move {
        let broken = pieces.breaker();
        let sent = engine.in_tree(&of, move |tree| {
            // The client may have gone away.
            tree.archive(&path, &mut pieces, |stat| drop(sender.send(stat)))?;
            pieces.finish()
        });
        let sent = sent.await;
        if let Err(error) = &sent {
            broken.fail(error).await;
        }
        sent
    });
    let Ok(stat) = receiver.await else {
        return Err(ended(sending.await));
    };
    note(&state, &id, "archive-path").await;
    with_stat(response, &stat)
}

/// Why there was no archive.
fn ended(result: Result<Result<(), Error>, tokio::task::JoinError>) -> Failure {
    match result {
        Ok(Err(error)) => Failure(error),
        _ => Failure(Error::new(hako_error::Kind::Internal, "the archive ended early")),
    }
}

fn with_stat(mut response: Response, stat: &PathStat) -> Answer {
    let text = STANDARD.encode(shown(stat).to_string());
    let value =
        HeaderValue::try_from(text).map_err(|_| invalid("the path's name is too long for a header"))?;
    response.headers_mut().insert(STAT, value);
    Ok(response)
}

fn shown(stat: &PathStat) -> Value {
    let (seconds, nanoseconds) = stat.mtime;
    let mtime = jiff::Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0)).unwrap_or_default();
    json!({
        "name": stat.name, "size": stat.size, "mode": go_mode(stat.mode), "mtime": mtime.to_string(),
        "linkTarget": stat.link_target,
    })
}

/// The mode bits of Go's `io/fs`.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => (1 << 26) | (1 << 21),
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, bit)| bit).sum::<u32>();
    kind | special | (mode & 0o777)
}

pub(crate) async fn put(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    let (id, path) = (state.engine.resolve(&name).await?, path(&params)?);
    let how = Extraction {
        keeps_kinds: params.flag("noOverwriteDirNonDir"),
        to_user: params.flag("copyUIDGID") && !user(&state, &id).await?.is_empty(),
    };
    let reader = body_reader(request.into_body());
    let stop = Stop::default();
    // Dropped with the request when its client goes: what came may say much more than it is long.
    let _on_drop = stop.on_drop();
    let extracted = state.engine.in_tree(&id, move |tree| {
        let (compression, reader) = sniff(readable(reader)?)?;
        let mut tar = stop.reader(Decoder::new(reader, compression)?);
        tree.extract(&path, &mut tar, how)?;
        // What follows the archive's end is read, so that its sender is not cut off.
        let _ = std::io::copy(&mut tar, &mut std::io::sink());
        Ok(())
    });
    extracted.await?;
    note(&state, &id, "extract-to-dir").await;
    Ok(StatusCode::OK.into_response())
}

async fn user(state: &DockerState, id: &ContainerId) -> Result<String, Failure> {
    Ok(state.engine.container(id).await?.resolved.user.clone())
}

pub(crate) async fn changes(State(state): State<DockerState>, Path(name): Path<String>) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let changes = state.engine.changes(&id).await?;
    let shown: Vec<Value> = changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            };
            json!({ "Path": change.path.to_string_lossy(), "Kind": kind })
        })
        .collect();
    Ok(Json(if shown.is_empty() { Value::Null } else { json!(shown) }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        assert_eq!(go_mode(0o040_755), (1 << 31) | 0o755);
        assert_eq!(go_mode(0o104_755), (1 << 23) | 0o755);
        assert_eq!(go_mode(0o041_777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_mode(0o020_666), (1 << 26) | (1 << 21) | 0o666);
    }
}

//! `GET /system/df`: what is on disk, and what of it nothing needs.

use crate::error::{Answer, Failure, blocking, invalid};
use crate::params::Params;
use crate::{DockerState, container, image, volume};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{Container, ContainerEngine, Filter, MountSource};
use hako_image::Image;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

const TYPES: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// All types, or those that `type` names (API 1.42).
pub(crate) async fn df(State(state): State<DockerState>, params: Params) -> Answer {
    let asked: Vec<&str> = params.all("type").collect();
    if let Some(unknown) = asked.iter().find(|name| !TYPES.contains(name)) {
        return Err(invalid(format!("unknown object type {unknown:?}: use one of {}", TYPES.join(", "))));
    }
    let wants = |name: &str| asked.is_empty() || asked.contains(&name);
    let users = state.engine.containers(&Filter::default()).await?;
    let mut answer = Map::new();
    if wants("image") {
        let (total, images) = images(&state, users.clone()).await?;
        answer.insert("LayersSize".into(), json!(total));
        answer.insert("Images".into(), json!(images));
    }
    if wants("container") {
        answer.insert("Containers".into(), container::list::all(&state).await?);
    }
    if wants("volume") {
        answer.insert("Volumes".into(), json!(volumes(&state, users).await?));
    }
    if wants("build-cache") {
        let (total, records) = build_cache(&state).await?;
        answer.insert("BuilderSize".into(), json!(total));
        answer.insert("BuildCache".into(), json!(records));
    }
    Ok(Json(Value::Object(answer)).into_response())
}

/// The bytes of all images, each shared piece once, and the images.
async fn images(state: &DockerState, users: Vec<Container>) -> Result<(u64, Vec<Value>), Failure> {
    let state = state.clone();
    blocking(move || {
        let list = state.images.list()?;
        let pieces = state.sizes.of(&state.images, &list);
        let show = |one: &Image| {
            let mut shown = image::summary(&state, one);
            let id = one.id.to_string();
            shown["SharedSize"] = json!(state.sizes.shared(&state.images, one, &pieces));
            shown["Containers"] = json!(users.iter().filter(|user| user.resolved.image_id == id).count());
            shown
        };
        // What pulls that were cut left takes space too, until they go on or it is pruned.
        let total = pieces.total() + state.images.content().partial_bytes()?;
        Ok((total, list.iter().map(show).collect()))
    })
    .await
}

async fn volumes(state: &DockerState, users: Vec<Container>) -> Result<Vec<Value>, Failure> {
    let state = state.clone();
    blocking(move || {
        let show = |one: &hako_container::Volume| {
            let has = |user: &&Container| {
                let mut sources = user.spec.mounts.iter().map(|mount| &mount.source);
                sources.any(|source| matches!(source, MountSource::Volume { name, .. } if *name == one.name))
            };
            let mut shown = volume::json(one);
            let bytes = crate::sizes::tree(&one.path);
            shown["UsageData"] = json!({ "Size": bytes, "RefCount": users.iter().filter(has).count() });
            shown
        };
        Ok(state.engine.volumes()?.iter().map(show).collect())
    })
    .await
}

/// Results of build steps. One whose layer an image or another step has too is shared: pruning it alone frees nothing.
async fn build_cache(state: &DockerState) -> Result<(u64, Vec<Value>), Failure> {
    let state = state.clone();
    blocking(move || {
        let pieces = state.sizes.of(&state.images, &state.images.list()?);
        let (mut total, mut records, mut counted) = (0, Vec::new(), HashSet::new());
        for step in state.builder.cached()? {
            let digest = step.layer.as_ref().map(|layer| layer.digest.to_string()).unwrap_or_default();
            let (size, is_shared) = (step.layer.map_or(0, |layer| layer.size), pieces.has(&digest) || !counted.insert(digest));
            total += if is_shared { 0 } else { size };
            records.push(json!({
                "ID": step.key.hex(), "Parents": [], "Parent": "", "Type": "regular", "Description": "a build step's layer",
                "InUse": false, "Shared": is_shared, "Size": size, "CreatedAt": step.created, "LastUsedAt": step.used.to_string(), "UsageCount": 1,
            }));
        }
        Ok((total, records))
    })
    .await
}

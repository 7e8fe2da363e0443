//! `POST /build/prune`: results of build steps go, by the room that is wanted and by their age.

use crate::DockerState;
use crate::error::{Answer, Failure, blocking};
use crate::params::Params;
use ::hako_build::{CachedStep, Keep};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::json;
use std::collections::HashMap;

/// Forgets results of steps, whether `all` is set or not: every one can be made again.
pub(crate) async fn prune(State(state): State<DockerState>, params: Params) -> Answer {
    let (space, filters) = (Space::read(&params)?, params.filters()?);
    filters.only(&["until"])?;
    let since = filters.until(jiff::Timestamp::now())?;
    let events = state.events.clone();
    let (keys, freed) = blocking(move || {
        let pieces = state.sizes.everything(&state.images, &state.images.list()?);
        let bytes = space.keep(used(&state.builder.cached()?), state.images.free_bytes()?);
        let (steps, collected) = match (bytes, since) {
            (None, None) => (state.builder.cached()?, state.builder.prune()?),
            _ => state.builder.prune_to(Keep { bytes, since })?,
        };
        let keys: Vec<String> = steps.iter().map(|step| step.key.hex()).collect();
        Ok((keys, pieces.freed(&collected)))
    })
    .await?;
    events.prune("builder", freed);
    Ok(Json(json!({ "CachesDeleted": keys, "SpaceReclaimed": freed })).into_response())
}

/// Bytes of layers that all steps have together.
fn used(steps: &[CachedStep]) -> u64 {
    let layers: HashMap<_, _> =
        steps.iter().filter_map(|step| step.layer.as_ref()).map(|layer| (layer.digest, layer.size)).collect();
    layers.values().sum()
}

/// How much room a prune of the build cache makes, in bytes; 0 where it is not asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Space {
    /// So much stays in any case.
    reserved: u64,
    /// No more than that stays.
    most: u64,
    /// So much is to be free on the disk afterwards.
    free: u64,
}

impl Space {
    fn read(params: &Params) -> Result<Self, Failure> {
        // Clients before API 1.48 know the first alone, by another name.
        let reserved = params.number("reserved-space")?.or(params.number("keep-storage")?);
        Ok(Self {
            reserved: reserved.unwrap_or_default(),
            most: params.number("max-used-space")?.unwrap_or_default(),
            free: params.number("min-free-space")?.unwrap_or_default(),
        })
    }

    /// How many of the bytes in use stay, where so many are free now; `None` if nothing was asked for.
    fn keep(self, used: u64, free: u64) -> Option<u64> {
        let most = match (self.most, self.reserved, self.free) {
            (0, 0, 0) => return None,
            (0, reserved, 0) => reserved,
            (0, _, _) => used,
            (most, _, _) => most,
        };
        let lacking = self.free.saturating_sub(free);
        let most = if lacking > 0 { most.min(used.saturating_sub(lacking)) } else { most };
        Some(most.max(self.reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prune_keeps_what_was_reserved_and_no_more_than_may_be_used_or_leaves_the_disk_free() {
        let keep = |reserved, most, free| Space { reserved, most, free }.keep(100, 50);
        assert_eq!(keep(0, 0, 0), None);
        assert_eq!(keep(30, 0, 0), Some(30));
        assert_eq!(keep(0, 40, 0), Some(40));
        assert_eq!(keep(60, 40, 0), Some(60));
        assert_eq!(keep(0, 0, 50), Some(100));
        assert_eq!(keep(0, 0, 70), Some(80));
        assert_eq!(keep(0, 40, 70), Some(40));
        assert_eq!(keep(90, 0, 70), Some(90));
        assert_eq!(keep(0, 0, 500), Some(0));
    }
}

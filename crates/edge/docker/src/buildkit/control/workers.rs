//! What builds here, and what builds left.

use super::status;
use super::wire::{Filtered, Info, Platform, Usage, UsageRecord, Version, Worker, Workers};
use crate::DockerState;
use crate::buildkit::wire::Timestamp;
use crate::error::blocking;
use crate::system::architecture;
use futures::Stream;
use hako_error::Result;
use std::collections::HashMap;
use tonic::Status;

fn version(state: &DockerState) -> Version {
    Version { package: "hakobune".into(), version: state.version.to_string() }
}

/// `Control.ListWorkers`: this engine.
pub(super) fn list(state: &DockerState) -> Workers {
    let platform = Platform { architecture: architecture().into(), os: "linux".into() };
    let worker = Worker {
        id: "hakobune".into(),
        labels: HashMap::new(),
        platforms: vec![platform],
        version: Some(version(state)),
    };
    Workers { records: vec![worker] }
}

/// `Control.Info`.
pub(super) fn info(state: &DockerState) -> Info {
    Info { version: Some(version(state)) }
}

fn no_filter(request: &Filtered) -> Result<(), Status> {
    match request.filter.first() {
        None => Ok(()),
        Some(filter) => Err(Status::unimplemented(format!("the filter {filter:?} is unimplemented"))),
    }
}

/// `Control.DiskUsage`.
pub(super) async fn usage(state: &DockerState, request: Filtered) -> Result<Usage, Status> {
    no_filter(&request)?;
    Ok(Usage { records: records(state).await? })
}

async fn records(state: &DockerState) -> Result<Vec<UsageRecord>, Status> {
    let builder = state.builder.clone();
    let steps = blocking(move || builder.cached()).await.map_err(|failure| status(&failure.0))?;
    let record = |step: &::hako_build::CachedStep| {
        let created: Option<jiff::Timestamp> = step.created.parse().ok();
        UsageRecord {
            id: step.key.hex(),
            size: step.layer.as_ref().map_or(0, |layer| i64::try_from(layer.size).unwrap_or(i64::MAX)),
            created: created
                .map(|time| Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }),
            description: "the result of a step".into(),
            record_type: "regular".into(),
        }
    };
    Ok(steps.iter().map(record).collect())
}

/// `Control.Prune`: forgets the results of all steps and tells them.
pub(super) async fn prune(
    state: &DockerState,
    request: Filtered,
) -> Result<impl Stream<Item = UsageRecord> + use<>, Status> {
    no_filter(&request)?;
    let records = records(state).await?;
    let builder = state.builder.clone();
    blocking(move || builder.prune()).await.map_err(|failure| status(&failure.0))?;
    Ok(futures::stream::iter(records))
}

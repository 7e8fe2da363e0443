//! The gateway, as far as a client needs it that says what it wants on it: buildx asks for a Dockerfile build here
//! and gives its result back at once. The build itself runs when it has.

use super::solve::{no_graph, wish};
use super::wire::{Capability, GatewayResult, GatewaySolve, GatewaySolved, Pong, Return};
use super::{status, workers};
use crate::DockerState;
use crate::buildkit::wire::Nothing;
use hako_error::{Error, Kind};
use tonic::Status;

/// What our gateway can: name a build, and be told that this is the result.
const CAPABILITIES: [&str; 5] =
    ["solve.base", "return", "gateway.solve.evaluate", "importcaches", "frontend.caps"];

pub(super) fn ping(state: &DockerState) -> Pong {
    let frontend = CAPABILITIES.map(|id| Capability { id: id.to_owned(), enabled: true }).to_vec();
    Pong { frontend, workers: workers::list(state).records }
}

/// Hears what is wanted. There is one result, named like the build.
pub(super) async fn solve(
    state: &DockerState,
    request: GatewaySolve,
    build: String,
) -> Result<GatewaySolved, Status> {
    let found = state.buildkit.builds.find(&build).await.map_err(|error| status(&error))?;
    no_graph(request.definition.as_ref(), &request.inputs).map_err(|error| status(&error))?;
    if !request.cache_imports.is_empty() {
        return Err(Status::unimplemented("cache imports of a gateway's solve are unimplemented"));
    }
    found.say(wish(&request.frontend, request.attributes).map_err(|error| status(&error))?);
    let result = GatewayResult { reference: Some(build) };
    Ok(GatewaySolved { reference: String::new(), result: Some(result) })
}

/// The client is done.
pub(super) async fn give_back(
    state: &DockerState,
    request: Return,
    build: String,
) -> Result<Nothing, Status> {
    let found = state.buildkit.builds.find(&build).await.map_err(|error| status(&error))?;
    let failure = request
        .error
        .map(|error| Error::new(Kind::FailedPrecondition, format!("the client gave up: {}", error.message)));
    found.give_back(failure);
    Ok(Nothing {})
}

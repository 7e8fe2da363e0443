//! What clients say on the wire, for whoever reads it without an engine: as far as it is judged by itself, before anything that
//! is there is looked at.

use crate::buildkit;
use crate::container::body::JsonBody;
use crate::container::create;
use crate::error::{Failure, invalid};
use crate::params::Params;
use axum::body::Body;
use axum::extract::FromRequest as _;
use hako_error::Result;
use http::{Request, header};
use serde_json::Value;
use std::path::Path;

/// A container that is to be made.
///
/// # Errors
/// What is wrong with it.
pub async fn container(body: &[u8]) -> Result<()> {
    let request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_vec()));
    let request = request.map_err(|error| invalid(error.to_string()).0)?;
    let JsonBody(body) = JsonBody::<Value>::from_request(request, &()).await.map_err(said)?;
    create::judged(&body).map_err(said)
}

/// The parameters of a list, of a log, and of a build.
///
/// # Errors
/// What is wrong with them.
pub fn query(query: &str) -> Result<()> {
    let params = Params::read(query).map_err(said)?;
    let filters = params.filters().map_err(said)?;
    filters.dangling().map_err(said)?;
    filters.until(jiff::Timestamp::UNIX_EPOCH).map_err(said)?;
    let _ = filters.patterns("name").map_err(said)?.hold(query);
    params.time("since").map_err(said)?;
    params.number::<i32>("limit").map_err(said)?;
    buildkit::judged_query(&params).map_err(said)
}

/// A build that is asked for by the control service.
///
/// # Errors
/// What is wrong with it.
pub fn solve(message: &[u8]) -> Result<()> {
    buildkit::judged_solve(message)
}

/// A client's tree, in packets that each have their length before them (four bytes, big-endian), into an empty directory.
///
/// # Errors
/// What is wrong with a packet, or with what is in it.
pub fn tree(packets: &[u8], destination: &Path) -> Result<()> {
    buildkit::received(packets, destination)
}

fn said(failure: Failure) -> hako_error::Error {
    failure.0
}

//! A build that is asked for by the control service.

use super::builds::Attributes;
use super::status as status_of;
use super::wire::{Definition, SolveRequest, SolveResponse, Typed};
use crate::DockerState;
use crate::buildkit::progress::Progress;
use crate::buildkit::solve::{Source, solve as run};
use crate::buildkit::wire::{Named, News};
use crate::buildkit::wish::{Asked, Entry};
use ::hako_build::Built;
use futures::Stream;
use hako_error::{Error, Kind, Result};
use prost::Message as _;
use std::collections::HashMap;
use tonic::Status;

/// The frontend that reads Dockerfiles.
const DOCKERFILE: &str = "dockerfile.v0";
/// The one that runs an image which reads Dockerfiles; ours reads them itself.
const GATEWAY: &str = "gateway.v0";
const DOCKERFILE_IMAGES: [&str; 2] = ["docker/dockerfile", "docker.io/docker/dockerfile"];

/// `Control.Solve`.
pub(super) async fn solve(state: &DockerState, request: SolveRequest) -> Result<SolveResponse, Status> {
    solved(state, request).await.map_err(|error| status_of(&error))
}

async fn solved(state: &DockerState, mut request: SolveRequest) -> Result<SolveResponse> {
    no_graph(request.definition.as_ref(), &request.inputs)?;
    if request.policy.is_some() {
        return Err(unimplemented("a policy for sources"));
    }
    let mut begun = state.buildkit.builds.begin(&request.reference)?;
    let Some(out) = begun.out.take() else {
        return Err(Error::new(Kind::Internal, "a build has no news"));
    };
    let attributes = match request.frontend.as_str() {
        "" => (&mut begun.wish)
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Cancelled, "the client said nothing more")))?,
        frontend => wish(frontend, std::mem::take(&mut request.attributes))?,
    };
    let progress = Progress::new(&request.reference, out);
    let asked = asked(&request, attributes)?;
    let session = match request.session.as_str() {
        "" => None,
        id => Some(state.buildkit.session(id).await?),
    };
    let source = match asked.get("context") {
        None => Source::Client,
        Some(address) => Source::Address(address.to_owned()),
    };
    let built = run(state, session, &asked, source, &progress).await?;
    Ok(SolveResponse { exporter: told(&built, &asked) })
}

/// What can be said of a build by its request alone.
pub(crate) fn judged_solve(message: &[u8]) -> Result<()> {
    let request = SolveRequest::decode(message);
    let mut request =
        request.map_err(|error| Error::new(Kind::Invalid, "a request to build").with_source(error))?;
    no_graph(request.definition.as_ref(), &request.inputs)?;
    let attributes = wish(&request.frontend, std::mem::take(&mut request.attributes))?;
    asked(&request, attributes)?.request(std::path::Path::new("/")).map(drop)
}

fn unimplemented(what: &str) -> Error {
    Error::new(Kind::Unimplemented, format!("{what} is unimplemented"))
}

/// Graphs are BuildKit's own form; what is built here is a Dockerfile.
pub(super) fn no_graph(definition: Option<&Definition>, inputs: &HashMap<String, Definition>) -> Result<()> {
    if definition.is_some_and(|graph| !graph.operations.is_empty()) || !inputs.is_empty() {
        return Err(unimplemented("a build given as a graph of operations (LLB)"));
    }
    Ok(())
}

/// The attributes of a frontend that reads a Dockerfile.
pub(super) fn wish(frontend: &str, attributes: HashMap<String, String>) -> Result<Attributes> {
    let attributes: Attributes = attributes.into_iter().collect();
    let source = attributes.get("source").map_or("", String::as_str);
    let reads_dockerfiles = DOCKERFILE_IMAGES.iter().any(|image| {
        source.strip_prefix(image).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@', '-']))
    });
    match frontend {
        DOCKERFILE => Ok(attributes),
        GATEWAY if reads_dockerfiles => Ok(attributes),
        GATEWAY => Err(unimplemented(&format!("the frontend {source:?}"))),
        other => Err(unimplemented(&format!("the frontend {other:?}"))),
    }
}

fn asked(request: &SolveRequest, attributes: Attributes) -> Result<Asked> {
    let first = Typed { kind: request.exporter.clone(), attributes: request.exporter_attributes.clone() };
    let exports = match request.exporters.is_empty() {
        true if first.kind.is_empty() => Vec::new(),
        true => vec![entry(&first)],
        false => request.exporters.iter().map(entry).collect(),
    };
    let caches = request.cache.as_ref();
    let allow = request
        .entitlements
        .iter()
        .map(|name| name.parse().map_err(|text: String| Error::new(Kind::Unimplemented, text)));
    Ok(Asked {
        attributes,
        exports,
        cache_from: caches.map(|caches| caches.imports.iter().map(entry).collect()).unwrap_or_default(),
        cache_to: caches.map(|caches| caches.exports.iter().map(entry).collect()).unwrap_or_default(),
        allow: allow.collect::<Result<_>>()?,
    })
}

pub(super) fn entry(typed: &Typed) -> Entry {
    Entry {
        kind: typed.kind.clone(),
        attributes: typed.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

/// What exporters tell: an image is found by its configuration's digest here.
fn told(built: &Built, asked: &Asked) -> HashMap<String, String> {
    let Some(id) = built.id().map(|id| id.to_string()) else { return HashMap::new() };
    let mut told = HashMap::from([
        (
            "containerimage.digest".to_owned(),
            built.pushed.map_or_else(|| id.clone(), |digest| digest.to_string()),
        ),
        ("containerimage.config.digest".to_owned(), id),
    ]);
    let names: Vec<String> = asked.tags().unwrap_or_default().iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        told.insert("image.name".to_owned(), names.join(","));
    }
    told
}

/// `Control.Status`: the news of a build until it ends.
pub(super) async fn status(
    state: &DockerState,
    request: Named,
) -> Result<impl Stream<Item = News> + use<>, Status> {
    let build = state.buildkit.builds.find(&request.name).await.map_err(|error| status_of(&error))?;
    Ok(build.news())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frontends_that_read_dockerfiles_are_known() {
        let with = |source: &str| HashMap::from([("source".to_owned(), source.to_owned())]);
        assert!(wish(DOCKERFILE, HashMap::new()).is_ok());
        assert!(wish(GATEWAY, with("docker/dockerfile:1.7")).is_ok());
        for (frontend, source) in [(GATEWAY, "docker/dockerfile2"), (GATEWAY, "me/own"), ("other.v0", "")] {
            let error = wish(frontend, with(source)).unwrap_err();
            assert_eq!(error.kind(), Kind::Unimplemented);
        }
    }

    #[test]
    fn exporters_come_in_both_forms() {
        let request = SolveRequest { exporter: "moby".into(), ..SolveRequest::default() };
        assert_eq!(asked(&request, Attributes::new()).unwrap().exports[0].kind, "moby");
        let typed = Typed { kind: "local".into(), ..Typed::default() };
        let request = SolveRequest { exporters: vec![typed], ..request };
        assert_eq!(asked(&request, Attributes::new()).unwrap().exports[0].kind, "local");
        let request = SolveRequest { entitlements: vec!["flying".into()], ..SolveRequest::default() };
        assert_eq!(asked(&request, Attributes::new()).unwrap_err().kind(), Kind::Unimplemented);
    }
}

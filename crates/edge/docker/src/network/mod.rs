//! Networks: the three that are always there, and those that people make.

mod connect;
mod create;
mod inspect;
mod remove;

pub(crate) use connect::{EndpointSettings, endpoint_spec, link};
pub(crate) use inspect::settings;

use crate::DockerState;
use crate::error::{Answer, Failure, blocking, invalid};
use crate::params::{Filters, Params, Patterns};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use hako_container::{ContainerEngine, Filter, NetworkMode, NetworkSpec, Sandbox};
use hako_error::{Error, Kind};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", one().post(create::create))
        .route("/networks/prune", one().post(remove::prune))
        .route("/networks/{id}", one())
        .route("/networks/{id}/connect", post(connect::connect))
        .route("/networks/{id}/disconnect", post(connect::disconnect))
}

/// One network, whatever its name.
fn one() -> MethodRouter<DockerState> {
    get(inspect::inspect).delete(remove::remove)
}

/// A network as this face knows it.
#[derive(Clone, Debug)]
enum Known {
    /// "host" or "none": a mode of containers, with its driver.
    Mode(&'static str, &'static str, NetworkMode),
    /// One that the engine keeps; "bridge" is among them.
    Kept(Box<NetworkSpec>),
}

const MODES: [Known; 2] =
    [Known::Mode("host", "host", NetworkMode::Host), Known::Mode("none", "null", NetworkMode::None)];

impl Known {
    fn name(&self) -> &str {
        match self {
            Self::Mode(name, ..) => name,
            Self::Kept(net) => &net.name,
        }
    }

    fn id(&self) -> String {
        match self {
            Self::Mode(name, ..) => id(name),
            Self::Kept(net) => net.id.clone(),
        }
    }

    fn driver(&self) -> &'static str {
        match self {
            Self::Mode(_, driver, _) => driver,
            Self::Kept(net) => net.driver.as_str(),
        }
    }

    fn is_builtin(&self) -> bool {
        match self {
            Self::Mode(..) => true,
            Self::Kept(net) => net.is_default(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        match self {
            Self::Mode(..) => BTreeMap::new(),
            Self::Kept(net) => net.labels.clone(),
        }
    }
}

/// A mode has no id of its own: its name's bytes in hexadecimal, filled up to Docker's 64 digits.
pub(crate) fn id(name: &str) -> String {
    let mut id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    id.extend(std::iter::repeat_n('0', 64 - id.len()));
    id
}

/// What Docker calls a container's network mode.
pub(crate) fn mode(sandbox: &Sandbox) -> String {
    match sandbox.spec.network {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Shared => {
            sandbox.spec.share.net.as_ref().map_or_else(|| "none".to_owned(), |id| format!("container:{id}"))
        }
        NetworkMode::Endpoints => {
            sandbox.spec.endpoints.first().map_or_else(|| "none".to_owned(), |spec| spec.network.clone())
        }
    }
}

/// The name of a network that a client calls by name or id; of one that does not exist, as it is.
pub(crate) async fn canonical(state: &DockerState, wanted: &str) -> Result<String, Failure> {
    if matches!(wanted, "" | "default" | "bridge") {
        return Ok("bridge".to_owned());
    }
    let networks = state.engine.networks()?;
    Ok(networks.find(wanted).map_or_else(|_| wanted.to_owned(), |net| net.name))
}

/// All networks, the one named "bridge" made if it was not needed before.
async fn all(state: &DockerState) -> Result<Vec<Known>, Failure> {
    let networks = state.engine.networks()?;
    let kept = blocking(move || {
        networks.default_network()?;
        Ok(networks.list())
    });
    let kept = kept.await?.into_iter().map(|net| Known::Kept(Box::new(net)));
    let mut all: Vec<Known> = kept.chain(MODES).collect();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(all)
}

/// The network of that id or name, or unique beginning of an id.
async fn find(state: &DockerState, wanted: &str) -> Result<Known, Failure> {
    let all = all(state).await?;
    let exact =
        all.iter().find(|net| net.id() == wanted).or_else(|| all.iter().find(|net| net.name() == wanted));
    if let Some(net) = exact {
        return Ok(net.clone());
    }
    let mut found = all.into_iter().filter(|net| !wanted.is_empty() && net.id().starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(net), None) => Ok(net),
        (Some(_), Some(_)) => Err(Failure(Error::new(
            Kind::Invalid,
            format!("network {wanted} is ambiguous ({wanted} matches many ids)"),
        ))),
        (None, _) => Err(Failure(Error::new(Kind::NotFound, format!("network {wanted} not found")))),
    }
}

/// The networks that some container is to be connected to.
async fn used(state: &DockerState) -> Result<HashSet<String>, Failure> {
    let sandboxes = state.engine.sandboxes(&Filter { standalone: Some(true), ..Filter::default() }).await?;
    Ok(sandboxes.into_iter().flat_map(|sandbox| sandbox.places).map(|place| place.network_id).collect())
}

async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["name", "id", "driver", "scope", "type", "label", "dangling"])?;
    if let Some(kind) =
        filters.get("type").iter().find(|kind| !["builtin", "custom"].contains(&kind.as_str()))
    {
        return Err(invalid(format!("invalid filter: 'type'='{kind}'")));
    }
    let wanted = Wanted {
        names: filters.patterns("name")?,
        ids: filters.patterns("id")?,
        dangling: filters.dangling()?,
        filters,
    };
    let used = used(&state).await?;
    let all = all(&state).await?;
    let shown = all.iter().filter(|net| wanted.holds(net, &used));
    let shown: Vec<Value> = shown.map(|net| inspect::json(net, serde_json::Map::new())).collect();
    Ok(Json(shown).into_response())
}

/// Which networks a list shows.
struct Wanted {
    filters: Filters,
    names: Patterns,
    ids: Patterns,
    dangling: Option<bool>,
}

impl Wanted {
    fn holds(&self, net: &Known, used: &HashSet<String>) -> bool {
        let is_dangling = !net.is_builtin() && !used.contains(&net.id());
        self.names.hold(net.name())
            && self.ids.hold(&net.id())
            && self.filters.any("driver", |wanted| net.driver() == wanted)
            && self.filters.any("scope", |wanted| wanted == "local")
            && self
                .filters
                .any("type", |wanted| wanted == if net.is_builtin() { "builtin" } else { "custom" })
            && self.dangling.is_none_or(|wanted| wanted == is_dangling)
            && self.filters.labels(&net.labels())
    }
}

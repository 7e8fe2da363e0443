//! Which containers a list shows.

use super::health::Status;
use crate::error::{Failure, invalid};
use crate::params::{Filters, Patterns};
use crate::{DockerState, human, network};
use hako_container::{Container, ContainerEngine, MountSource, Sandbox};
use jiff::Timestamp;
use regex::Regex;

const FILTERS: [&str; 15] = [
    "id",
    "name",
    "label",
    "status",
    "ancestor",
    "network",
    "volume",
    "exited",
    "publish",
    "expose",
    "health",
    "before",
    "since",
    "is-task",
    "isolation",
];
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// Filters that were looked at once, before they are asked of every container.
pub(crate) struct Wanted {
    ids: Patterns,
    names: Vec<Regex>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    publish: Vec<Ports>,
    expose: Vec<Ports>,
}

/// Ports of one protocol: `80`, `80/udp`, `8000-8010/tcp`.
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl Wanted {
    pub(crate) async fn read(state: &DockerState, filters: &Filters) -> Result<Self, Failure> {
        filters.only(&FILTERS)?;
        one_of(filters, "status", &STATES)?;
        one_of(filters, "health", &HEALTHS)?;
        one_of(filters, "is-task", &["true", "false", "1", "0"])?;
        let number = |value: &String| value.parse::<i32>().is_err();
        if let Some(bad) = filters.get("exited").iter().find(|value| number(value)) {
            return Err(invalid(format!("invalid filter 'exited={bad}'")));
        }
        let pattern = |text: &String| {
            // A name is kept with a slash in front, which a pattern may have.
            let pattern = text.strip_prefix('/').unwrap_or(text);
            let pattern =
                pattern.strip_prefix("^/").map_or_else(|| pattern.to_owned(), |rest| format!("^{rest}"));
            Regex::new(&pattern).map_err(|error| invalid(format!("invalid filter 'name={text}': {error}")))
        };
        let ports =
            |name| filters.get(name).iter().map(|text| Ports::read(name, text)).collect::<Result<_, _>>();
        Ok(Self {
            ids: filters.patterns("id")?,
            names: filters.get("name").iter().map(pattern).collect::<Result<_, _>>()?,
            before: made(state, filters, "before").await?,
            since: made(state, filters, "since").await?,
            publish: ports("publish")?,
            expose: ports("expose")?,
        })
    }

    pub(crate) fn holds(
        &self,
        filters: &Filters,
        container: &Container,
        sandbox: Option<&Sandbox>,
        health: Status,
    ) -> bool {
        let code =
            container.state.exit().filter(|exit| exit.started_at.is_some()).map(|exit| exit.code.to_string());
        self.ids.hold(container.id.as_str())
            && (self.names.is_empty() || self.names.iter().any(|name| name.is_match(&container.spec.name)))
            && self.before.is_none_or(|time| container.created_at < time)
            && self.since.is_none_or(|time| container.created_at > time)
            && filters.any("status", |wanted| human::state(container) == wanted)
            && filters.any("exited", |wanted| code.as_deref() == Some(wanted))
            && filters.any("ancestor", |wanted| is_of_image(container, wanted))
            && filters.any("network", |wanted| is_on(sandbox, wanted))
            && filters.any("volume", |wanted| has_volume(container, wanted))
            && self.has_ports(container, sandbox)
            && filters.any("health", |wanted| health.as_str() == wanted)
            && filters.any("is-task", |wanted| matches!(wanted, "false" | "0"))
            && filters.any("isolation", |wanted| wanted == "default")
            && filters.labels(&container.resolved.labels)
    }

    /// As Docker has it, one of both filters is enough, and who does not run has no ports.
    fn has_ports(&self, container: &Container, sandbox: Option<&Sandbox>) -> bool {
        let is_any = self.publish.is_empty() && self.expose.is_empty();
        is_any
            || self.publish.iter().any(|ports| ports.is_published(sandbox))
            || (container.state.is_running()
                && self.expose.iter().any(|ports| ports.is_exposed(container, sandbox)))
    }
}

fn one_of(filters: &Filters, name: &str, known: &[&str]) -> Result<(), Failure> {
    match filters.get(name).iter().find(|value| !known.contains(&value.as_str())) {
        Some(bad) => Err(invalid(format!("invalid filter '{name}={bad}'"))),
        None => Ok(()),
    }
}

/// When the container that a filter names was made.
async fn made(state: &DockerState, filters: &Filters, name: &str) -> Result<Option<Timestamp>, Failure> {
    let Some(wanted) = filters.get(name).last() else { return Ok(None) };
    let id = state.engine.resolve(wanted).await?;
    Ok(Some(state.engine.container(&id).await?.created_at))
}

fn is_of_image(container: &Container, wanted: &str) -> bool {
    let name = container.spec.image.as_written();
    let id = container.resolved.image_id.trim_start_matches("sha256:");
    container.spec.image_as_written() == wanted
        || name == wanted
        || name == format!("{wanted}:latest")
        || id.starts_with(wanted.trim_start_matches("sha256:"))
}

fn is_on(sandbox: Option<&Sandbox>, wanted: &str) -> bool {
    let mode = sandbox.map_or_else(|| "none".to_owned(), network::mode);
    let places = sandbox.map(|sandbox| sandbox.places.as_slice()).unwrap_or_default();
    mode == wanted
        || places.iter().any(|place| {
            place.spec.network == wanted || (!wanted.is_empty() && place.network_id.starts_with(wanted))
        })
}

fn has_volume(container: &Container, wanted: &str) -> bool {
    container.spec.mounts.iter().any(|mount| {
        mount.target.as_os_str() == wanted
            || match &mount.source {
                MountSource::Volume { name, .. } => name == wanted,
                MountSource::Bind { path, .. } => path.as_os_str() == wanted,
                MountSource::Tmpfs { .. } | MountSource::Image { .. } => false,
            }
    })
}

impl Ports {
    fn read(name: &str, text: &str) -> Result<Self, Failure> {
        let bad = || invalid(format!("invalid filter '{name}={text}'"));
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
        let ports = Self { first: number(first)?, last: number(last)?, protocol: protocol.to_owned() };
        if ports.first > ports.last || !matches!(protocol, "tcp" | "udp" | "sctp") {
            return Err(bad());
        }
        Ok(ports)
    }

    fn has(&self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && protocol == self.protocol
    }

    /// Whether one of the host's ports is among them.
    fn is_published(&self, sandbox: Option<&Sandbox>) -> bool {
        let ports = sandbox.map(|sandbox| sandbox.ports.as_slice()).unwrap_or_default();
        ports.iter().any(|port| self.has(port.host_port, port.protocol.as_str()))
    }

    /// Whether one of the container's ports is among them.
    fn is_exposed(&self, container: &Container, sandbox: Option<&Sandbox>) -> bool {
        let ports = sandbox.map(|sandbox| sandbox.ports.as_slice()).unwrap_or_default();
        let is_granted = ports.iter().any(|port| self.has(port.container_port, port.protocol.as_str()));
        is_granted
            || container.resolved.exposed_ports.iter().any(|port| {
                let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                number.parse().is_ok_and(|number| self.has(number, protocol))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_or_ranges_of_a_protocol() {
        let ports = Ports::read("publish", "8000-8010/udp").unwrap();
        assert!(ports.has(8005, "udp") && !ports.has(8005, "tcp") && !ports.has(80, "udp"));
        assert!(Ports::read("publish", "80").unwrap().has(80, "tcp"));
        assert!(["x", "2-1", "1/icmp", ""].iter().all(|text| Ports::read("publish", text).is_err()));
    }
}

//! The sandbox's name server at 127.0.0.11: who is in its networks, and the way to those who know the rest.
//!
//! The sockets are inside the sandbox's namespace and the server in this process: while the engine is away nobody
//! answers, and the next open binds them anew.

use super::SandboxObject;
use crate::core::Core;
use crate::error::{blocking, io};
use hako_dns::{Answer, Dns, Sockets, Zone};
use hako_error::Result;
use hako_network::{Networks, resolver_sockets};
use hako_runtime::Shim;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Seconds an answer may be kept. Short: containers come and go.
const TTL: u32 = 5;
const PORT: u16 = 53;
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";

/// What one sandbox is told.
#[derive(Debug)]
struct Neighbours {
    networks: Arc<Networks>,
    sandbox: String,
    upstreams: Vec<SocketAddr>,
}

impl Zone for Neighbours {
    fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let text = name.to_ascii().to_ascii_lowercase();
        if let Some(ip) = reverse_address(&text) {
            return match self.networks.name_of(&self.sandbox, ip).and_then(|found| found.parse().ok()) {
                Some(found) => records(name, kind, &[RData::PTR(PTR(found))]),
                None => Answer::Elsewhere,
            };
        }
        match self.networks.resolve(&self.sandbox, &text) {
            Some(ips) => records(name, kind, &ips.into_iter().map(data).collect::<Vec<_>>()),
            None => Answer::Elsewhere,
        }
    }

    fn soa(&self) -> Option<Record> {
        None
    }

    /// A sandbox without a way out has none for its questions either.
    fn upstreams(&self) -> Vec<SocketAddr> {
        if self.networks.has_way_out(&self.sandbox) { self.upstreams.clone() } else { Vec::new() }
    }
}

fn data(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

fn records(name: &Name, kind: RecordType, data: &[RData]) -> Answer {
    let wanted = data.iter().filter(|data| kind == RecordType::ANY || data.record_type() == kind);
    let answers: Vec<Record> =
        wanted.map(|data| Record::from_rdata(name.clone(), TTL, data.clone())).collect();
    if answers.is_empty() { Answer::Empty } else { Answer::Records { answers, additionals: Vec::new() } }
}

/// The address that a name of the reverse tree stands for.
fn reverse_address(name: &str) -> Option<IpAddr> {
    let name = name.trim_end_matches('.');
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> =
            labels.split('.').rev().map(|label| label.parse().ok()).collect::<Option<_>>()?;
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let digit = |label: &str| (label.len() == 1).then(|| u128::from_str_radix(label, 16).ok())?;
    let digits: Vec<u128> = labels.split('.').rev().map(digit).collect::<Option<_>>()?;
    (digits.len() == 32).then(|| Ipv6Addr::from(digits.iter().fold(0, |ip, digit| ip << 4 | digit)).into())
}

/// Who is asked about other names: those that the sandbox was told, else the host's.
fn upstreams(asked: &[IpAddr]) -> Vec<SocketAddr> {
    let host = || {
        let text = std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
        let words = |line: &str| line.strip_prefix("nameserver")?.split_whitespace().next()?.parse().ok();
        text.lines().filter_map(words).collect()
    };
    let servers: Vec<IpAddr> = if asked.is_empty() { host() } else { asked.to_vec() };
    servers.into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect()
}

impl Core {
    /// Starts the sandbox's name server, if it is in a network with names and has none yet.
    pub(crate) async fn start_resolver(&self, sandbox: &Arc<SandboxObject>, shim: &Shim) -> Result<()> {
        let Some(networks) = self.config.networks.clone() else { return Ok(()) };
        if !networks.has_names(sandbox.id.as_str()) || sandbox.resolver.lock().is_some() {
            return Ok(());
        }
        let netns = shim.netns();
        let sockets = blocking(move || {
            let netns = File::open(&netns).map_err(io("open", &netns))?;
            resolver_sockets(&netns)
        });
        let sockets = sockets.await?;
        let upstreams = upstreams(&sandbox.record.spec.dns.servers);
        let zone = Neighbours { networks, sandbox: sandbox.id.to_string(), upstreams };
        let mut tasks = JoinSet::new();
        Dns::new(Arc::new(zone)).serve(Sockets::from_std(sockets.udp, sockets.tcp)?, &mut tasks);
        *sandbox.resolver.lock() = Some(tasks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_are_read_in_both_families() {
        assert_eq!(reverse_address("2.0.18.172.in-addr.arpa."), Some("172.18.0.2".parse().unwrap()));
        let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.";
        assert_eq!(reverse_address(v6), Some("fd00:1::2".parse().unwrap()));
        for other in ["web.", "0.18.172.in-addr.arpa.", "x.0.18.172.in-addr.arpa.", "1.ip6.arpa."] {
            assert_eq!(reverse_address(other), None, "{other}");
        }
    }
}

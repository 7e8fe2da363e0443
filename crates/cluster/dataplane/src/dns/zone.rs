//! The cluster's zone: what each name has.

use crate::endpoints::{NamedEndpoint, endpoints_of};
use crate::index::{Index, ServiceKey, cluster_ips, external_name, is_headless};
use hako_dns::Answer;
use hako_netlink::Ipv4Net;
use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::Ipv4Addr;

/// Seconds an answer may be kept. Short: endpoints come and go.
const TTL: u32 = 5;
/// The version of the naming scheme.
const DNS_VERSION: &str = "1.1.0";

/// The zone's fixed facts.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// The cluster's domain.
    domain: Name,
    labels: Vec<String>,
    /// Ranges whose reverse names nobody else knows.
    ranges: [Ipv4Net; 2],
    gateway: Ipv4Addr,
}

impl Zone {
    pub(crate) fn new(domain: Name, ranges: [Ipv4Net; 2], gateway: Ipv4Addr) -> Self {
        let labels = labels(&domain);
        Self { domain, labels, ranges, gateway }
    }

    /// What goes along with an answer without records.
    pub(crate) fn soa(&self) -> Record {
        let server = self.name(&["ns", "dns"]).unwrap_or_else(|| self.domain.clone());
        let person = self.name(&["hostmaster"]).unwrap_or_else(|| self.domain.clone());
        let soa = SOA::new(server, person, 1, 7200, 1800, 86_400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// A name in the zone by its labels below the domain.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?.append_domain(&self.domain).ok()
    }

    fn service_name(&self, (namespace, service): &ServiceKey) -> Option<Name> {
        self.name(&[service, namespace, "svc"])
    }

    fn endpoint_name(&self, (namespace, service): &ServiceKey, label: &str) -> Option<Name> {
        self.name(&[label, service, namespace, "svc"])
    }

    pub(crate) fn answer(&self, index: &Index, name: &Name, kind: RecordType) -> Answer {
        let all = labels(name);
        if let Some(below) = all.strip_suffix(&self.labels[..]) {
            let below: Vec<&str> = below.iter().map(String::as_str).collect();
            return self.forward_name(index, name, &below, kind);
        }
        match reverse_address(&all) {
            Some(ip) => self.reverse_name(index, name, ip, kind),
            None => Answer::Elsewhere,
        }
    }

    fn forward_name(&self, index: &Index, name: &Name, below: &[&str], kind: RecordType) -> Answer {
        let one = |data| records(vec![Record::from_rdata(name.clone(), TTL, data)]);
        match below {
            [] => match kind {
                RecordType::SOA => records(vec![self.soa()]),
                RecordType::NS => match self.name(&["ns", "dns"]) {
                    Some(server) => one(RData::NS(NS(server))),
                    None => Answer::Empty,
                },
                _ => Answer::Empty,
            },
            ["svc" | "pod" | "dns"] => Answer::Empty,
            ["ns", "dns"] => addresses(name, kind, &[self.gateway]),
            ["dns-version"] if kind == RecordType::TXT => {
                one(RData::TXT(TXT::new(vec![DNS_VERSION.to_owned()])))
            }
            ["dns-version"] => Answer::Empty,
            [namespace, "svc" | "pod"] if index.has_namespace(namespace) => Answer::Empty,
            [ip, _, "pod"] => match ip.replace('-', ".").parse() {
                Ok(ip) => addresses(name, kind, &[ip]),
                Err(_) => Answer::NoSuchName,
            },
            [service, namespace, "svc"] => self.service(index, name, &owned(namespace, service), kind),
            [label, service, namespace, "svc"] => {
                self.endpoint(index, name, &owned(namespace, service), label, kind)
            }
            [port, protocol, service, namespace, "svc"] => {
                self.port(index, name, &owned(namespace, service), (port, protocol), kind)
            }
            _ => Answer::NoSuchName,
        }
    }

    fn service(&self, index: &Index, name: &Name, key: &ServiceKey, kind: RecordType) -> Answer {
        let Some(service) = index.service(key) else {
            return Answer::NoSuchName;
        };
        if let Some(target) = external_name(service) {
            return self.alias(index, name, target, kind);
        }
        if kind == RecordType::SRV {
            return self.ports(index, name, key, |_, _| true);
        }
        if !is_headless(service) {
            return addresses(name, kind, &cluster_ips(service));
        }
        let ips: Vec<Ipv4Addr> = endpoints_of(index, key).into_iter().map(|endpoint| endpoint.ip).collect();
        addresses(name, kind, &ips)
    }

    fn alias(&self, index: &Index, name: &Name, target: &str, kind: RecordType) -> Answer {
        let Ok(mut target) = Name::from_ascii(target) else {
            return Answer::Empty;
        };
        target.set_fqdn(true);
        let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
        if kind == RecordType::CNAME {
            return records(vec![record]);
        }
        if labels(&target).ends_with(&self.labels) && target != *name {
            let chased = self.answer(index, &target, kind);
            return match chased {
                Answer::Records { mut answers, additionals } => {
                    answers.insert(0, record);
                    Answer::Records { answers, additionals }
                }
                _ => records(vec![record]),
            };
        }
        Answer::Alias { record: Box::new(record), target }
    }

    fn endpoint(
        &self,
        index: &Index,
        name: &Name,
        key: &ServiceKey,
        label: &str,
        kind: RecordType,
    ) -> Answer {
        if index.service(key).is_none() {
            return Answer::NoSuchName;
        }
        if matches!(label, "_tcp" | "_udp") {
            return Answer::Empty;
        }
        let ips: Vec<Ipv4Addr> = endpoints_of(index, key)
            .into_iter()
            .filter(|endpoint| endpoint.label().eq_ignore_ascii_case(label))
            .map(|endpoint| endpoint.ip)
            .collect();
        if ips.is_empty() { Answer::NoSuchName } else { addresses(name, kind, &ips) }
    }

    fn port(
        &self,
        index: &Index,
        name: &Name,
        key: &ServiceKey,
        (port, protocol): (&str, &str),
        kind: RecordType,
    ) -> Answer {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return Answer::NoSuchName;
        };
        let is_it =
            |name: &str, found: &str| name.eq_ignore_ascii_case(port) && found.eq_ignore_ascii_case(protocol);
        match self.ports(index, name, key, is_it) {
            Answer::Records { .. } if kind != RecordType::SRV => Answer::Empty,
            Answer::Empty => Answer::NoSuchName,
            other => other,
        }
    }

    /// SRV records of the ports chosen by name and protocol, with the addresses of their targets.
    fn ports(
        &self,
        index: &Index,
        name: &Name,
        key: &ServiceKey,
        is_it: impl Fn(&str, &str) -> bool,
    ) -> Answer {
        let Some(service) = index.service(key) else {
            return Answer::NoSuchName;
        };
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        let mut add = |port: u16, target: Name, ips: &[Ipv4Addr]| {
            answers.push(Record::from_rdata(
                name.clone(),
                TTL,
                RData::SRV(SRV::new(0, 100, port, target.clone())),
            ));
            additionals
                .extend(ips.iter().map(|ip| Record::from_rdata(target.clone(), TTL, RData::A(A(*ip)))));
        };
        if is_headless(service) {
            for endpoint in endpoints_of(index, key) {
                let Some(target) = self.endpoint_name(key, &endpoint.label()) else {
                    continue;
                };
                for port in ports_of(&endpoint, &is_it) {
                    add(port, target.clone(), &[endpoint.ip]);
                }
            }
        } else if let Some(target) = self.service_name(key) {
            for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                if let (true, Ok(number)) =
                    (is_it(port.name.as_deref().unwrap_or(""), protocol), u16::try_from(port.port))
                {
                    add(number, target.clone(), &cluster_ips(service));
                }
            }
        }
        if answers.is_empty() { Answer::Empty } else { Answer::Records { answers, additionals } }
    }

    fn reverse_name(&self, index: &Index, name: &Name, ip: Ipv4Addr, kind: RecordType) -> Answer {
        let service = index.by_cluster_ip(ip).and_then(|key| self.service_name(key));
        let endpoints = index.headless_names_of(ip);
        let names: Vec<Name> = service
            .into_iter()
            .chain(endpoints.iter().filter_map(|(key, label)| self.endpoint_name(key, label)))
            .collect();
        if names.is_empty() {
            let is_ours = self.ranges.iter().any(|range| range.contains(ip));
            return if is_ours { Answer::NoSuchName } else { Answer::Elsewhere };
        }
        if kind != RecordType::PTR {
            return Answer::Empty;
        }
        let record = |target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)));
        records(names.into_iter().map(record).collect())
    }
}

fn ports_of<'e>(
    endpoint: &'e NamedEndpoint,
    is_it: &'e impl Fn(&str, &str) -> bool,
) -> impl Iterator<Item = u16> + 'e {
    endpoint.ports.iter().filter(|(name, protocol, _)| is_it(name, protocol)).map(|(_, _, number)| *number)
}

fn owned(namespace: &str, service: &str) -> ServiceKey {
    (namespace.to_owned(), service.to_owned())
}

fn records(answers: Vec<Record>) -> Answer {
    Answer::Records { answers, additionals: Vec::new() }
}

fn addresses(name: &Name, kind: RecordType, ips: &[Ipv4Addr]) -> Answer {
    if kind != RecordType::A || ips.is_empty() {
        return Answer::Empty;
    }
    records(ips.iter().map(|ip| Record::from_rdata(name.clone(), TTL, RData::A(A(*ip)))).collect())
}

/// The labels in lower case, from the left.
fn labels(name: &Name) -> Vec<String> {
    name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
}

fn reverse_address(labels: &[String]) -> Option<Ipv4Addr> {
    let [d, c, b, a, inverse, arpa] = labels else {
        return None;
    };
    if inverse != "in-addr" || arpa != "arpa" {
        return None;
    }
    format!("{a}.{b}.{c}.{d}").parse().ok()
}

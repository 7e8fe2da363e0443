//! Ports of a pod that are in each other's way.

use super::super::place::Place;
use super::{Warnings, containers};
use std::collections::HashMap;

/// Pairs that are told of one pod: of so many ports with one number as fit a body there are billions.
const MOST: usize = 1000;

pub(super) fn ports(spec: &Place<'_>, out: &mut Warnings) {
    let mut all: HashMap<(i64, &str), Same<'_>> = HashMap::new();
    let mut room = MOST;
    for port in containers(spec).iter().flat_map(|container| container.at(&["ports"]).items()) {
        if room == 0 {
            return;
        }
        let same =
            all.entry((port.at(&["containerPort"]).number(), port.at(&["protocol"]).text())).or_default();
        let found = same.clashes(&port, room);
        room -= found.len();
        out.extend(found);
        same.add(port);
    }
}

/// Ports of one number and protocol, by what they take of the host: only those that clash are looked at.
#[derive(Default)]
struct Same<'a> {
    ports: Vec<Place<'a>>,
    /// By the port of the host, zero for none, and its address.
    taken: HashMap<i64, HashMap<&'a str, Vec<usize>>>,
}

impl<'a> Same<'a> {
    /// How a port clashes with those before it, with so many of them at most.
    fn clashes(&self, port: &Place<'_>, most: usize) -> Vec<String> {
        let (ip, number) = host(port);
        let mut clashing: Vec<usize> = if number == 0 {
            (0..self.ports.len().min(most)).collect()
        } else {
            let of = |number: i64| self.taken.get(&number).into_iter().flatten();
            let free = of(0).map(|(_, places)| places);
            let same: Vec<&Vec<usize>> = match (ip, self.taken.get(&number)) {
                ("", _) => of(number).map(|(_, places)| places).collect(),
                (_, there) => {
                    there.into_iter().flat_map(|by_ip| [by_ip.get(""), by_ip.get(ip)]).flatten().collect()
                }
            };
            free.chain(same).flatten().copied().take(most).collect()
        };
        clashing.sort_unstable();
        let told = |at: &usize| {
            let other = &self.ports[*at];
            let how = match host(other) {
                same if same == (ip, number) => "duplicate port definition",
                (_, 0) => "overlapping port definition",
                _ if number == 0 => "overlapping port definition",
                _ => "dangerously ambiguous port definition",
            };
            format!("{}: {how} with {}", port.path(), other.path())
        };
        clashing.iter().map(told).collect()
    }

    fn add(&mut self, port: Place<'a>) {
        let (ip, number) = host(&port);
        self.taken.entry(number).or_default().entry(ip).or_default().push(self.ports.len());
        self.ports.push(port);
    }
}

/// The address and the port of the host.
fn host<'a>(port: &Place<'a>) -> (&'a str, i64) {
    (port.at(&["hostIP"]).text(), port.at(&["hostPort"]).number())
}

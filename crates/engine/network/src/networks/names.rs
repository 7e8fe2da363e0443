//! Who is called what: the answers of the containers' name server.

use super::Networks;
use super::spec::Endpoint;
use super::table::Table;
use std::net::IpAddr;

impl Networks {
    /// The addresses that a sandbox finds behind a name in the user-defined networks it is connected to; `None` if
    /// nobody is called that. `name.network` looks into that one only.
    #[must_use]
    pub fn resolve(&self, sandbox: &str, name: &str) -> Option<Vec<IpAddr>> {
        let table = self.table.read();
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let member = table.member(sandbox)?;
        let mut found = Vec::new();
        for own in member.endpoints.iter().filter(|own| is_named(&table, own)) {
            let net = table.net(&own.network).ok()?.name.to_ascii_lowercase();
            let short = name.strip_suffix(&net).and_then(|rest| rest.strip_suffix('.'));
            let linked = own.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(&name));
            for (other, endpoint) in table.endpoints(&own.network) {
                let is_meant = match linked {
                    Some((_, target)) => target == other,
                    None => {
                        is_called(endpoint, &name) || short.is_some_and(|short| is_called(endpoint, short))
                    }
                };
                if is_meant {
                    found.extend(endpoint.addresses.iter().map(|address| address.ip));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        (!found.is_empty()).then_some(found)
    }

    /// The name of whoever has an address in a network that the sandbox is connected to too: `name.network`.
    #[must_use]
    pub fn name_of(&self, sandbox: &str, ip: IpAddr) -> Option<String> {
        let table = self.table.read();
        let member = table.member(sandbox)?;
        member.endpoints.iter().filter(|own| is_named(&table, own)).find_map(|own| {
            let net = table.net(&own.network).ok()?;
            let has_it = |endpoint: &Endpoint| endpoint.addresses.iter().any(|address| address.ip == ip);
            let (_, endpoint) = table.endpoints(&own.network).find(|(_, endpoint)| has_it(endpoint))?;
            Some(format!("{}.{}", endpoint.names.first()?, net.name))
        })
    }

    /// Whether the sandbox is in a network whose members find each other by name.
    #[must_use]
    pub fn has_names(&self, sandbox: &str) -> bool {
        let table = self.table.read();
        table.member(sandbox).is_some_and(|member| member.endpoints.iter().any(|own| is_named(&table, own)))
    }

    /// Whether the sandbox has a way out: only then questions about other names are asked elsewhere.
    #[must_use]
    pub fn has_way_out(&self, sandbox: &str) -> bool {
        let table = self.table.read();
        table.member(sandbox).is_some_and(|member| table.gateway(member).is_some())
    }
}

/// The default network has no names, as in Docker.
fn is_named(table: &Table, endpoint: &Endpoint) -> bool {
    table.net(&endpoint.network).is_ok_and(|net| !net.is_default())
}

fn is_called(endpoint: &Endpoint, name: &str) -> bool {
    endpoint.names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

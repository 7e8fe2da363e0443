//! Connecting sandboxes to networks, and taking them off again.

use super::device::{
    Lead, configure_ahead, configure_end, delete_end, free_interface, lead_default_routes, link_name,
    mac_for, mac_text,
};
use super::ipam::allocate;
use super::options::{self, EndpointOptions};
use super::spec::{Connect, Driver, Endpoint, EndpointAddress, Ipam, Member, NetworkSpec};
use super::table::Table;
use super::{Kernel, Networks, random, random_id};
use crate::bridge::settle;
use crate::error::{NetworkError, Result};
use hako_netlink::Links;
use std::collections::HashSet;
use std::fs::File;
use std::net::IpAddr;

impl Networks {
    /// Gives the sandbox a place in a network. Its default route leads there if no other network comes first; published
    /// ports follow it.
    ///
    /// # Errors
    /// `AlreadyExists` if it has one, `Forbidden` for an address that is taken, `Exhausted` without a free one.
    pub fn connect(&self, request: &Connect<'_>) -> hako_error::Result<Endpoint> {
        let connected = self.connect_new(request);
        if let Err(error) = &connected
            && !matches!(error, NetworkError::Connected { .. })
        {
            // The first error says it; what is left is found by the next adoption.
            let _ = self.disconnect(request.network, request.sandbox, Some(request.netns));
        }
        Ok(connected?)
    }

    /// Whether a network could give these addresses to somebody who is connected later.
    ///
    /// # Errors
    /// `Invalid` for one that is in none of the subnets that were chosen for it.
    pub fn check_addresses(&self, network: &str, asked: [Option<IpAddr>; 2]) -> hako_error::Result<()> {
        Ok(check_asked(self.table.read().net(network)?, asked)?)
    }

    fn connect_new(&self, request: &Connect<'_>) -> Result<Endpoint> {
        let options = EndpointOptions::parse(&request.options)?;
        if let Some(ip) = request.link_local.iter().copied().find(|ip| !is_link_local(*ip)) {
            return Err(NetworkError::NotLinkLocal { ip });
        }
        let (net, endpoint, leads, is_ahead) = {
            let mut kernel = self.kernel.lock();
            let (net, endpoint, before, now) = {
                let mut table = self.table.write();
                let net = table.net(request.network)?.clone();
                let before = table.member(request.sandbox).cloned().unwrap_or_default();
                let endpoint = self.plan_endpoint(&table, &net, &before, request, &options)?;
                let mut now = before.clone();
                now.endpoints.push(endpoint.clone());
                table.put_member(request.sandbox, now.clone())?;
                (net, endpoint, before, now)
            };
            hako_sys::failpoint!("network.connect.recorded");
            let is_ahead = self.link(&mut kernel, &net, &endpoint, request)?;
            hako_sys::failpoint!("network.connect.linked");
            let table = self.table.read();
            kernel.rules.republish(&table, &before, &now)?;
            hako_sys::failpoint!("network.connect.ruled");
            kernel.relay(&table, request.sandbox)?;
            let is_gateway = table.gateway(&now).is_some_and(|gateway| gateway.network == endpoint.network);
            let leads = is_gateway.then(|| Lead::of(&net));
            (net, endpoint, leads, is_ahead)
        };
        match is_ahead {
            true => configure_ahead(&endpoint, request.netns, leads)?,
            false => configure_end(&endpoint, &options.sysctls, request.netns, leads)?,
        }
        if net.driver == Driver::Bridge {
            settle(&mut Links::open()?, &endpoint.link, &net.bridge)?;
        }
        hako_sys::failpoint!("network.connect.configured");
        Ok(endpoint)
    }

    /// Makes the sandbox's link, unless that was done ahead, which it tells.
    fn link(
        &self,
        kernel: &mut Kernel,
        net: &NetworkSpec,
        endpoint: &Endpoint,
        request: &Connect<'_>,
    ) -> Result<bool> {
        if request.ahead.is_some() && kernel.devices.is_port(&net.bridge, &endpoint.link)? {
            return Ok(true);
        }
        let mut connect = || kernel.devices.connect(net, endpoint, request.netns);
        match connect() {
            Err(full @ NetworkError::BridgeFull { .. }) => {
                let ahead = self.ahead.give_up(&net.id);
                if ahead.is_empty() {
                    return Err(full);
                }
                ahead.iter().try_for_each(|link| kernel.devices.disconnect(link))?;
                kernel.devices.connect(net, endpoint, request.netns)?;
            }
            connected => connected?,
        }
        Ok(false)
    }

    fn plan_endpoint(
        &self,
        table: &Table,
        net: &NetworkSpec,
        member: &Member,
        request: &Connect<'_>,
        options: &EndpointOptions,
    ) -> Result<Endpoint> {
        if net.config_only.is_some() {
            return Err(NetworkError::ConfigOnly);
        }
        if member.endpoints.iter().any(|endpoint| endpoint.network == net.id) {
            return Err(NetworkError::Connected {
                sandbox: request.sandbox.to_owned(),
                name: net.name.clone(),
            });
        }
        let addresses = choose_addresses(table, net, request)?;
        let first = addresses.first().map(|address| address.ip);
        let mac = match (net.driver, request.mac) {
            (_, Some(mac)) => Some(mac),
            // It has its parent's.
            (Driver::Ipvlan | Driver::Null, None) => None,
            (Driver::Bridge | Driver::Macvlan, None) => {
                Some(first.map_or_else(random_mac, |ip| Ok(mac_for(ip)))?)
            }
        };
        let is_taken = |name: &String| table.taken(&net.id).is_some_and(|taken| taken.links.contains(name));
        let mut names = (0..=u8::MAX).map(|salt| link_name(&self.instance, &net.id, request.sandbox, salt));
        let link = match (net.driver, request.ahead) {
            (_, Some(ahead)) => ahead.link.clone(),
            (Driver::Bridge, None) => names.find(|name| !is_taken(name)).unwrap_or_default(),
            (Driver::Macvlan | Driver::Ipvlan | Driver::Null, None) => String::new(),
        };
        Ok(Endpoint {
            network: net.id.clone(),
            id: random_id()?,
            interface: interface(net, member, options)?,
            link,
            mac: mac.map(mac_text).unwrap_or_default(),
            addresses,
            names: request.names.clone(),
            links: request.links.clone(),
            priority: request.priority,
            link_local: request.link_local.clone(),
        })
    }

    /// Takes a sandbox off a network; it is a success if it is not on it. With its namespace, its default route goes
    /// to the network that comes first now, else the namespace is taken to be gone.
    ///
    /// # Errors
    /// When the kernel refuses; then the record stays, for another try.
    pub fn disconnect(&self, network: &str, sandbox: &str, netns: Option<&File>) -> hako_error::Result<()> {
        Ok(self.disconnect_from(network, sandbox, netns)?)
    }

    fn disconnect_from(&self, network: &str, sandbox: &str, netns: Option<&File>) -> Result<()> {
        let mut kernel = self.kernel.lock();
        let Some(before) = self.table.read().member(sandbox).cloned() else { return Ok(()) };
        let Some(gone) = before.endpoints.iter().find(|endpoint| endpoint.network == network) else {
            return Ok(());
        };
        let mut now = before.clone();
        now.endpoints.retain(|endpoint| endpoint.network != network);
        kernel.rules.republish(&self.table.read(), &before, &now)?;
        hako_sys::failpoint!("network.disconnect.ruled");
        match netns {
            Some(netns) if gone.link.is_empty() => delete_end(&gone.interface, netns)?,
            _ if gone.link.is_empty() => {}
            _ => kernel.devices.disconnect(&gone.link)?,
        }
        if netns.is_some() {
            // It may ask for a link of this name again at once.
            kernel.devices.bury()?;
        }
        hako_sys::failpoint!("network.disconnect.unlinked");
        let mut table = self.table.write();
        let gateway = |member| table.gateway(member).map(|endpoint| endpoint.network.clone());
        if let Some(netns) = netns
            && gateway(&before) != gateway(&now)
        {
            let way = table.gateway(&now);
            let way = way.and_then(|end| Some((end, Lead::of(table.net(&end.network).ok()?))));
            lead_default_routes(way, netns)?;
        }
        hako_sys::failpoint!("network.disconnect.routed");
        table.put_member(sandbox, now)?;
        hako_sys::failpoint!("network.disconnect.recorded");
        kernel.relay(&table, sandbox)?;
        Ok(())
    }

    /// Takes away all that a sandbox has of networks; its namespace is gone, or about to go.
    ///
    /// # Errors
    /// When the kernel refuses; then the record stays, for another try.
    pub fn release(&self, sandbox: &str) -> hako_error::Result<()> {
        Ok(self.release_all(sandbox)?)
    }

    fn release_all(&self, sandbox: &str) -> Result<()> {
        let mut kernel = self.kernel.lock();
        let Some(member) = self.table.read().member(sandbox).cloned() else { return Ok(()) };
        kernel.rules.republish(&self.table.read(), &member, &Member::default())?;
        hako_sys::failpoint!("network.release.ruled");
        for endpoint in member.endpoints.iter().filter(|endpoint| !endpoint.link.is_empty()) {
            kernel.devices.disconnect(&endpoint.link)?;
        }
        hako_sys::failpoint!("network.release.unlinked");
        kernel.reservations.remove(sandbox);
        kernel.relay(&self.table.read(), sandbox)?;
        self.table.write().forget_member(sandbox)
    }

    /// Gives the sandbox's endpoints other names: `rename` gets the network and the present ones.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn rename(&self, sandbox: &str, rename: impl Fn(&mut Vec<String>)) -> hako_error::Result<()> {
        let mut table = self.table.write();
        let Some(mut member) = table.member(sandbox).cloned() else { return Ok(()) };
        for endpoint in &mut member.endpoints {
            rename(&mut endpoint.names);
        }
        Ok(table.put_member(sandbox, member)?)
    }
}

/// RFC 3927 and RFC 4291.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// For who has no address that it could follow from.
fn random_mac() -> Result<[u8; 6]> {
    let [a, b, c, d] = random()?;
    Ok([0x02, 0x42, a, b, c, d])
}

fn interface(net: &NetworkSpec, member: &Member, options: &EndpointOptions) -> Result<String> {
    let prefix = net.options.get(options::PREFIX).map_or("eth", String::as_str);
    let Some(name) = &options.interface else { return Ok(free_interface(prefix, &member.endpoints)) };
    if name == "lo" || member.endpoints.iter().any(|endpoint| endpoint.interface == *name) {
        return Err(NetworkError::InterfaceTaken { name: name.clone() });
    }
    Ok(name.clone())
}

/// Addresses that somebody asks for are in subnets that somebody chose: others may be others tomorrow.
fn check_asked(net: &NetworkSpec, asked: [Option<IpAddr>; 2]) -> Result<()> {
    for ip in asked.into_iter().flatten() {
        let mut pools = net.ipam.iter().filter(|ipam| ipam.subnet.is_ipv6() == ip.is_ipv6()).peekable();
        if pools.peek().is_none_or(|ipam| !ipam.chosen) {
            return Err(NetworkError::NotChosen { ip, name: net.name.clone() });
        }
        if !pools.any(|ipam| ipam.subnet.contains(ip)) {
            return Err(NetworkError::NotInSubnet { ip });
        }
    }
    Ok(())
}

fn choose_addresses(table: &Table, net: &NetworkSpec, request: &Connect<'_>) -> Result<Vec<EndpointAddress>> {
    let none = HashSet::new();
    let used = table.taken(&net.id).map_or(&none, |taken| &taken.addresses);
    check_asked(net, [request.ip4, request.ip6])?;
    let mut addresses = Vec::new();
    for (asked, is_ipv6) in [(request.ip4, false), (request.ip6, true)] {
        let pools = net.ipam.iter().filter(|ipam| ipam.subnet.is_ipv6() == is_ipv6);
        let Some((ipam, ip)) = allocate_in(pools, asked, used)? else { continue };
        let gateway = ipam.gateway.filter(|_| !net.is_internal() && !net.is_routed_ipvlan());
        addresses.push(EndpointAddress { ip, prefix: ipam.subnet.prefix(), gateway });
    }
    Ok(addresses)
}

/// An address of the first of the subnets that has one to give, with its subnet.
fn allocate_in<'a>(
    pools: impl Iterator<Item = &'a Ipam>,
    asked: Option<IpAddr>,
    used: &HashSet<IpAddr>,
) -> Result<Option<(&'a Ipam, IpAddr)>> {
    let mut last = None;
    for ipam in pools {
        match allocate(ipam, asked, used) {
            Ok(ip) => return Ok(Some((ipam, ip))),
            Err(error @ (NetworkError::PoolEmpty { .. } | NetworkError::NotInSubnet { .. })) => {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    last.map_or(Ok(None), Err)
}

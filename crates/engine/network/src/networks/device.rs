//! The links of networks: bridges, a sandbox's ends on them, and links that sit on a link of the host.

use super::door;
use super::options::{ICC, IFNAME, PASSTHRU};
use super::parent;
use super::spec::{Driver, Endpoint, NetworkSpec};
use crate::bridge::{Graveyard, configure, hash, mac};
use crate::error::{NetworkError, ParentError, Result};
use crate::records::failed;
use hako_netlink::{Errno, Link, Links, NetlinkError, Stacked, StackedLink, Veth, in_namespace};
use std::collections::HashSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The links of all networks of an instance.
#[derive(Debug)]
pub(super) struct Devices {
    links: Links,
    graveyard: Graveyard,
    /// The group of bridges.
    inside: u32,
}

impl Devices {
    pub(super) fn open(instance: &str) -> Result<Self> {
        let graveyard = Graveyard::open(&format!("nets-{instance}"))?;
        Ok(Self { links: Links::open()?, graveyard, inside: door::inside(instance) })
    }

    /// Makes what the network needs on the host, unless it is there.
    pub(super) fn make(&mut self, net: &NetworkSpec) -> Result<()> {
        match net.driver {
            Driver::Bridge => self.make_bridge(net),
            Driver::Macvlan | Driver::Ipvlan => {
                parent::make(net, &mut self.links)?;
                self.probe(net)
            }
            Driver::Null => Ok(()),
        }
    }

    fn make_bridge(&mut self, net: &NetworkSpec) -> Result<()> {
        let name = &net.bridge;
        let link = match self.links.find(name)? {
            Some(link) if link.kind == "bridge" => link,
            Some(_) => return Err(NetworkError::NoBridge { name: name.clone() }),
            None => {
                self.links.create_bridge(name, bridge_mac(&net.id))?;
                self.links.get(name)?
            }
        };
        if let Some(mtu) = net.mtu() {
            self.links.set_mtu(name, mtu)?;
        }
        self.links.set_group(name, self.inside)?;
        configure(name)?;
        if net.has_ipv6() {
            forward_ipv6()?;
            set_ipv6(name, "disable_ipv6", "0")?;
            set_ipv6(name, "accept_ra", "0")?;
        }
        self.links.set_up(name)?;
        for ipam in &net.ipam {
            if let Some(gateway) = ipam.gateway.filter(|ip| net.is_gateway(ip.is_ipv6())) {
                self.links.add_ip(link.index, gateway, ipam.subnet.prefix())?;
            }
        }
        Ok(())
    }

    /// Makes a link on the parent and deletes it, to say now what cannot work.
    fn probe(&mut self, net: &NetworkSpec) -> Result<()> {
        let own = Path::new("/proc/thread-self/ns/net");
        let namespace = File::open(own).map_err(failed("open", own))?;
        let name = format!("hp{}", &net.id[..8]);
        self.stack(net, &name, None, &namespace)?;
        Ok(self.links.delete(&name)?)
    }

    fn stack(&mut self, net: &NetworkSpec, name: &str, mac: Option<[u8; 6]>, namespace: &File) -> Result<()> {
        let name_of_parent = net.parent();
        let found = self.links.find(&name_of_parent)?;
        let found = found.ok_or(ParentError::NoParent { name: name_of_parent })?;
        let kind = kind(net)?;
        let link = StackedLink {
            name,
            parent: found.index,
            kind,
            mac,
            mtu: net.mtu(),
            namespace: namespace.as_fd(),
        };
        self.links.create_stacked(&link).map_err(|error| lacks(kind, error))
    }

    /// Makes the sandbox's link. A link of that name on the host is what a crash left, and goes first.
    pub(super) fn connect(&mut self, net: &NetworkSpec, endpoint: &Endpoint, namespace: &File) -> Result<()> {
        let mac = parse_mac(&endpoint.mac);
        if net.driver != Driver::Bridge {
            return self.stack(net, &endpoint.interface, mac, namespace);
        }
        let bridge = self.links.get(&net.bridge)?;
        let veth = Veth {
            name: &endpoint.link,
            master: Some(bridge.index),
            peer_name: &endpoint.interface,
            peer_mac: mac.unwrap_or_default(),
            peer_namespace: namespace.as_fd(),
            mtu: net.mtu(),
        };
        match self.links.create_veth(&veth) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                self.disconnect(&endpoint.link)?;
                self.bury()?;
                self.links.create_veth(&veth)?;
            }
            Err(error) if error.errno() == Some(Errno::XFULL) => {
                return Err(NetworkError::BridgeFull { name: net.name.clone() });
            }
            other => other?,
        }
        open_port(&mut self.links, net, &endpoint.link)
    }

    /// Whether a link is a port of a bridge.
    pub(super) fn is_port(&mut self, bridge: &str, link: &str) -> Result<bool> {
        let (bridge, link) = (self.links.find(bridge)?, self.links.find(link)?);
        Ok(bridge.is_some_and(|bridge| link.is_some_and(|link| link.master == Some(bridge.index))))
    }

    /// Takes a link of the host out of service at once; it is deleted soon, together with others.
    pub(super) fn disconnect(&mut self, link: &str) -> Result<()> {
        match self.links.retire(link, self.graveyard.group) {
            Err(error) if error.is_not_found() => Ok(()),
            other => {
                other?;
                self.graveyard.call();
                Ok(())
            }
        }
    }

    pub(super) fn bury(&mut self) -> Result<()> {
        crate::bridge::bury(&mut self.links, self.graveyard.group)
    }

    /// Takes what the network has on the host away; with the link that it sits on if that is its own and `is_last`.
    pub(super) fn unmake(&mut self, net: &NetworkSpec, is_last: bool) -> Result<()> {
        match net.driver {
            Driver::Bridge => {}
            Driver::Macvlan | Driver::Ipvlan if is_last => return parent::unmake(net, &mut self.links),
            Driver::Macvlan | Driver::Ipvlan | Driver::Null => return Ok(()),
        }
        for port in self.ports(&net.bridge)? {
            self.disconnect(&port.name)?;
        }
        self.disconnect(&net.bridge)?;
        self.bury()
    }

    /// The links that are ports of a bridge.
    pub(super) fn ports(&mut self, bridge: &str) -> Result<Vec<Link>> {
        let Some(bridge) = self.links.find(bridge)? else {
            return Ok(Vec::new());
        };
        let all = self.links.list()?;
        Ok(all.into_iter().filter(|link| link.master == Some(bridge.index)).collect())
    }

    /// Deletes all links on a bridge that are not known.
    pub(super) fn keep(&mut self, bridge: &str, known: &HashSet<String>) -> Result<()> {
        for port in self.ports(bridge)? {
            if port.kind == "veth" && port.name.starts_with(PORT_PREFIX) && !known.contains(&port.name) {
                self.disconnect(&port.name)?;
            }
        }
        Ok(())
    }
}

/// Sets up a link that was made a port of a network's bridge.
pub(super) fn open_port(links: &mut Links, net: &NetworkSpec, link: &str) -> Result<()> {
    if !net.is_on(ICC) && !bridges_call_netfilter() {
        links.set_isolated(link)?;
    }
    Ok(links.open_port(link)?)
}

const PORT_PREFIX: &str = "hn";

/// The host's end of a sandbox's link; `salt` is for the case that a name is taken.
pub(super) fn link_name(instance: &str, net: &str, sandbox: &str, salt: u8) -> String {
    let bytes = instance.bytes().chain(net.bytes()).chain(sandbox.bytes()).chain([salt]);
    format!("{PORT_PREFIX}{:08x}", hash(bytes))
}

fn bridge_mac(id: &str) -> [u8; 6] {
    let [a, b, c, d] = hash(id.bytes()).to_be_bytes();
    [0x02, 0x62, a, b, c, d]
}

/// The hardware address that follows from an address.
pub(super) fn mac_for(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => mac(0x42, ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d] = hash(ip.octets().into_iter()).to_be_bytes();
            [0x02, 0x46, a, b, c, d]
        }
    }
}

pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The bytes of `02:42:…`.
#[must_use]
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

fn kind(net: &NetworkSpec) -> Result<Stacked> {
    let option = |name: &str| net.options.get(name).map_or("", String::as_str);
    let bad = |what: &'static str, value: &str, default| NetworkError::BadMode {
        driver: net.driver.as_str(),
        what,
        value: value.to_owned(),
        default,
    };
    if net.driver == Driver::Macvlan {
        let mode = match option("macvlan_mode") {
            "" | "bridge" => 4,
            "private" => 1,
            "vepa" => 2,
            PASSTHRU => 8,
            other => return Err(bad("mode", other, "'bridge' mode is the macvlan driver default")),
        };
        return Ok(Stacked::Macvlan { mode });
    }
    let mode = match option("ipvlan_mode") {
        "" | "l2" => 0,
        "l3" => 1,
        "l3s" => 2,
        other => return Err(bad("mode", other, "'l2' mode is the ipvlan driver default")),
    };
    let flags = match option("ipvlan_flag") {
        "" | "bridge" => 0,
        "private" => 1,
        "vepa" => 2,
        other => return Err(bad("flag", other, "'bridge' is the ipvlan driver default")),
    };
    Ok(Stacked::Ipvlan { mode, flags })
}

fn lacks(kind: Stacked, error: NetlinkError) -> NetworkError {
    if error.errno() != Some(Errno::OPNOTSUPP) {
        return error.into();
    }
    let (driver, option) = match kind {
        Stacked::Macvlan { .. } => ("macvlan", "CONFIG_MACVLAN"),
        Stacked::Ipvlan { .. } => ("ipvlan", "CONFIG_IPVLAN"),
    };
    NetworkError::NoKernelSupport { driver, option }
}

/// Gives the sandbox's end its addresses, and leads the default routes there if it is the way out.
pub(super) fn configure_end(
    endpoint: &Endpoint,
    sysctls: &[(Vec<String>, String)],
    namespace: &File,
    leads: Option<Lead>,
) -> Result<()> {
    in_namespace(namespace.as_fd(), || {
        let name = &endpoint.interface;
        let mut links = Links::open()?;
        links.set_up("lo")?;
        let has_ipv6 = endpoint.v6().is_some() || endpoint.link_local.iter().any(IpAddr::is_ipv6);
        set_ipv6(name, "disable_ipv6", if has_ipv6 { "0" } else { "1" })?;
        if has_ipv6 {
            set_ipv6("lo", "disable_ipv6", "0")?;
            set_ipv6(name, "accept_ra", "0")?;
        }
        for (parts, value) in sysctls {
            let parts = parts.iter().map(|part| if part.eq_ignore_ascii_case(IFNAME) { name } else { part });
            let path = parts.collect::<PathBuf>();
            let shown = Path::new("/proc/sys").join(&path);
            hako_sys::write_parameter(&path, value).map_err(failed("write", &shown))?;
        }
        set_up(&mut links, name)?;
        address(&mut links, endpoint, leads)
    })?
}

/// The same for a link that was made ahead.
pub(super) fn configure_ahead(endpoint: &Endpoint, namespace: &File, leads: Option<Lead>) -> Result<()> {
    in_namespace(namespace.as_fd(), || {
        let mut links = Links::open()?;
        links.set_mac(&endpoint.interface, parse_mac(&endpoint.mac).unwrap_or_default())?;
        address(&mut links, endpoint, leads)
    })?
}

fn address(links: &mut Links, endpoint: &Endpoint, leads: Option<Lead>) -> Result<()> {
    let link = links.get(&endpoint.interface)?.index;
    for address in &endpoint.addresses {
        links.add_ip(link, address.ip, address.prefix)?;
    }
    for ip in &endpoint.link_local {
        links.add_ip(link, *ip, if ip.is_ipv6() { 64 } else { 16 })?;
    }
    match leads {
        Some(leads) => lead(links, link, endpoint, leads),
        None => Ok(()),
    }
}

/// How long the kernel may take to clear a namespace that nobody is in.
const CLEARED_WITHIN: Duration = Duration::from_secs(5);

/// Sets a sandbox's end up. On a parent, who was released a moment ago keeps its hardware address, which follows from
/// the address that is given out again now, until a task of the kernel has cleared its namespace.
fn set_up(links: &mut Links, name: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        match links.set_up(name) {
            Err(error) if error.errno() == Some(Errno::ADDRINUSE) && start.elapsed() < CLEARED_WITHIN => {
                thread::sleep(Duration::from_millis(2));
            }
            other => return Ok(other?),
        }
    }
}

/// How an endpoint leads out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// By its gateways.
    Gateway,
    /// By its link alone: the link it sits on knows the way.
    Link,
}

impl Lead {
    pub(super) fn of(net: &NetworkSpec) -> Self {
        if net.is_routed_ipvlan() { Self::Link } else { Self::Gateway }
    }
}

/// Leads the sandbox's default routes by this endpoint, or nowhere.
pub(super) fn lead_default_routes(endpoint: Option<(&Endpoint, Lead)>, namespace: &File) -> Result<()> {
    in_namespace(namespace.as_fd(), || {
        let mut links = Links::open()?;
        for family in [IpAddr::from([0; 4]), IpAddr::from([0_u16; 8])] {
            links.delete_default_route(family)?;
        }
        let Some((endpoint, leads)) = endpoint else { return Ok(()) };
        let link = links.get(&endpoint.interface)?.index;
        lead(&mut links, link, endpoint, leads)
    })?
}

fn lead(links: &mut Links, link: u32, endpoint: &Endpoint, leads: Lead) -> Result<()> {
    if leads == Lead::Link {
        for address in &endpoint.addresses {
            links.set_default_link(link, address.ip)?;
        }
    }
    for gateway in endpoint.addresses.iter().filter_map(|address| address.gateway) {
        links.set_default_route(link, gateway)?;
    }
    Ok(())
}

/// Deletes a link inside a sandbox, for links without an end on the host.
pub(super) fn delete_end(interface: &str, namespace: &File) -> Result<()> {
    in_namespace(namespace.as_fd(), || match Links::open()?.delete(interface) {
        Err(error) if error.is_not_found() => Ok(()),
        other => Ok(other?),
    })?
}

/// The first free `ethN` or its like, by the names that are taken.
pub(super) fn free_interface(prefix: &str, taken: &[Endpoint]) -> String {
    let is_free = |name: &String| !taken.iter().any(|endpoint| endpoint.interface == *name);
    (0..).map(|n| format!("{prefix}{n}")).find(is_free).unwrap_or_default()
}

/// Whether our rules see what passes between the ports of a bridge. Then they keep members apart, and isolated ports
/// would also stop a published port, which is translated while it is on the bridge.
fn bridges_call_netfilter() -> bool {
    let is_on = |name: &str| {
        let path = Path::new("/proc/sys/net/bridge").join(name);
        fs::read(path).is_ok_and(|value| value.first() == Some(&b'1'))
    };
    is_on("bridge-nf-call-iptables") && is_on("bridge-nf-call-ip6tables")
}

/// A kernel without IPv6 has no such setting; then nobody can have asked for it.
pub(super) fn set_ipv6(link: &str, name: &str, value: &str) -> Result<()> {
    let path = Path::new("net/ipv6/conf").join(link).join(name);
    match hako_sys::write_parameter(&path, value) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("write", &Path::new("/proc/sys").join(path))(error))
        }
        _ => Ok(()),
    }
}

/// Lets the host forward IPv6. Links that learn their addresses from routers would stop to do so, unless told that
/// a router may learn too.
pub(super) fn forward_ipv6() -> Result<()> {
    let conf = Path::new("/proc/sys/net/ipv6/conf");
    let forwarding = conf.join("all/forwarding");
    if fs::read(&forwarding).map_err(failed("read", &forwarding))?.first() == Some(&b'1') {
        return Ok(());
    }
    for entry in fs::read_dir(conf).map_err(failed("list", conf))?.flatten() {
        let accept = entry.path().join("accept_ra");
        let is_all = matches!(entry.file_name().to_str(), Some("all" | "default" | "lo"));
        if !is_all && fs::read(&accept).is_ok_and(|value| value.first() == Some(&b'1')) {
            fs::write(&accept, "2").map_err(failed("write", &accept))?;
        }
    }
    fs::write(&forwarding, "1").map_err(failed("write", &forwarding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_written_as_they_are_read() {
        let mac = mac_for("172.18.0.2".parse().unwrap());
        assert_eq!(mac_text(mac), "02:42:ac:12:00:02");
        assert_eq!(parse_mac(&mac_text(mac)), Some(mac));
        for bad in ["", "02:42:ac:12:00", "02:42:ac:12:00:02:03", "zz:42:ac:12:00:02"] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}

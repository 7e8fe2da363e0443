//! Options of drivers and endpoints, by Docker's names.
//!
//! What begins with `com.docker.network.` and is not known here is refused by name: it would change what packets may
//! do. Other names are somebody's own, and are kept for display.

use super::spec::{Driver, NetworkRequest, NetworkSpec};
use crate::error::{NetworkError, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
pub(crate) const NAME: &str = "com.docker.network.bridge.name";
pub(crate) const ICC: &str = "com.docker.network.bridge.enable_icc";
pub(crate) const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
pub(crate) const PREFIX: &str = "com.docker.network.container_iface_prefix";
pub(crate) const GATEWAY_MODE: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// Whether a network has IPv4, and IPv6, unless the request itself says so.
pub const ENABLE: [&str; 2] = ["com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6"];
/// The address that members of a bridge go out by, for each family.
pub(crate) const HOST_IP: [&str; 2] = ["com.docker.network.host_ipv4", "com.docker.network.host_ipv6"];
/// Links of the host from where members are reached at their own addresses, at the ports they publish.
pub(crate) const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
/// The host has no IPv4 address on the bridge: the gateway is somebody else there.
pub(crate) const INHIBIT_V4: &str = "com.docker.network.bridge.inhibit_ipv4";
pub(crate) const PARENT: &str = "parent";
pub(super) const PASSTHRU: &str = "passthru";
const INTERFACE: &str = "com.docker.network.endpoint.ifname";
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// Stands for the link's name in settings.
pub(super) const IFNAME: &str = "IFNAME";
const OURS: &str = "com.docker.network.";

/// A link's name is at most what the kernel takes, its zero byte counted.
pub(super) const LINK_NAME_MAX: usize = 15;

/// What a bridge does with packets between its members and elsewhere, for one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GatewayMode {
    /// Members go out by the host's address; only published ports lead in.
    #[default]
    Nat,
    /// The same, and members are reached at their own addresses too, at any port.
    Unprotected,
    /// Members are reached at their own addresses, at the ports they publish; nothing is translated.
    Routed,
    /// The host has no address on the bridge; only for internal networks.
    Isolated,
}

impl GatewayMode {
    fn parse(name: &'static str, value: &str) -> Result<Self> {
        match value {
            "" | "nat" => Ok(Self::Nat),
            "nat-unprotected" => Ok(Self::Unprotected),
            "routed" => Ok(Self::Routed),
            "isolated" => Ok(Self::Isolated),
            _ => Err(NetworkError::BadGatewayMode { name, value: value.to_owned() }),
        }
    }
}

impl NetworkSpec {
    /// Whether its members are routed to by the link it sits on, without gateways.
    pub(super) fn is_routed_ipvlan(&self) -> bool {
        let mode = self.options.get("ipvlan_mode").map_or("", String::as_str);
        self.driver == Driver::Ipvlan && matches!(mode, "l3" | "l3s")
    }

    /// Whether it has a gateway of that family, unless somebody says which.
    pub(super) fn has_gateway(&self, is_ipv6: bool) -> bool {
        match self.driver {
            Driver::Bridge => self.gateway_mode(is_ipv6) != GatewayMode::Isolated,
            Driver::Macvlan | Driver::Ipvlan => !self.is_internal() && !self.is_routed_ipvlan(),
            Driver::Null => false,
        }
    }

    /// Links of the host that are trusted; there may be none of such a name yet.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &str> {
        let said = self.options.get(TRUSTED).map_or("", String::as_str);
        said.split(':').filter(|name| is_link_name(name))
    }

    /// The address that its members go out by, unless it is that of the link they leave by.
    pub(super) fn host_ip(&self, is_ipv6: bool) -> Option<IpAddr> {
        self.options.get(HOST_IP[usize::from(is_ipv6)])?.parse().ok()
    }

    /// Whether the host has the gateway's address of that family on the bridge.
    pub(super) fn is_gateway(&self, is_ipv6: bool) -> bool {
        let is_inhibited =
            !is_ipv6 && self.options.get(INHIBIT_V4).and_then(|value| truth(value)) == Some(true);
        !is_inhibited && self.gateway_mode(is_ipv6) != GatewayMode::Isolated
    }

    /// How the bridge is a gateway for one family.
    pub(crate) fn gateway_mode(&self, is_ipv6: bool) -> GatewayMode {
        let name = GATEWAY_MODE[usize::from(is_ipv6)];
        let value = self.options.get(name).map_or("", String::as_str);
        // It was checked when the network was made.
        GatewayMode::parse(name, value).unwrap_or_default()
    }
}

/// Checks what a network is asked to be.
pub(super) fn check(request: &NetworkRequest) -> Result<()> {
    const BRIDGE: [&str; 12] = [
        NAME,
        ICC,
        MASQUERADE,
        MTU,
        HOST_BINDING,
        PREFIX,
        INHIBIT_V4,
        TRUSTED,
        GATEWAY_MODE[0],
        GATEWAY_MODE[1],
        HOST_IP[0],
        HOST_IP[1],
    ];
    const MACVLAN: [&str; 4] = [PARENT, "macvlan_mode", MTU, PREFIX];
    const IPVLAN: [&str; 5] = [PARENT, "ipvlan_mode", "ipvlan_flag", MTU, PREFIX];
    let known: &[&str] = match request.driver {
        Driver::Bridge => &BRIDGE,
        Driver::Macvlan => &MACVLAN,
        Driver::Ipvlan => &IPVLAN,
        Driver::Null => &[],
    };
    let is_ours = |name: &str| name.starts_with(OURS) || request.driver != Driver::Bridge;
    let is_known = |name: &str| known.contains(&name) || ENABLE.contains(&name);
    if let Some(name) = request.options.keys().find(|name| is_ours(name) && !is_known(name)) {
        return Err(NetworkError::UnknownOption { name: name.clone() });
    }
    check_values(request)
}

fn check_values(request: &NetworkRequest) -> Result<()> {
    let option = |name: &str| request.options.get(name).map(String::as_str);
    let bad = |name, value: &str| NetworkError::BadOption { name, value: value.to_owned() };
    if let Some(mtu) = option(MTU).filter(|mtu| mtu.parse::<u32>().is_err()) {
        return Err(bad(MTU, mtu));
    }
    if let Some(ip) = option(HOST_BINDING).filter(|ip| !ip.is_empty() && ip.parse::<IpAddr>().is_err()) {
        return Err(bad(HOST_BINDING, ip));
    }
    // Room for a number.
    if let Some(prefix) =
        option(PREFIX).filter(|prefix| !is_link_name(prefix) || prefix.len() > LINK_NAME_MAX - 2)
    {
        return Err(bad(PREFIX, prefix));
    }
    for name in [ICC, MASQUERADE, INHIBIT_V4] {
        if let Some(value) = option(name).filter(|value| truth(value).is_none()) {
            return Err(NetworkError::NoTruth { name, value: value.to_owned() });
        }
    }
    for (name, is_ipv6) in HOST_IP.into_iter().zip([false, true]) {
        let is_good = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == is_ipv6);
        if let Some(value) = option(name).filter(|value| !is_good(value)) {
            return Err(NetworkError::NoIp { name, value: value.to_owned() });
        }
    }
    for name in GATEWAY_MODE {
        let value = option(name).unwrap_or_default();
        if GatewayMode::parse(name, value)? == GatewayMode::Isolated && !request.internal {
            return Err(NetworkError::IsolatedNotInternal);
        }
    }
    Ok(())
}

/// What Docker's language takes for true and false.
#[must_use]
pub fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

pub(super) fn is_link_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LINK_NAME_MAX
        && !name.contains(['/', ' ', ':', '\0'])
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && name != "."
        && name != ".."
}

/// Checks what an endpoint is asked to be, before there is one.
///
/// # Errors
/// `Invalid` for a value that cannot work, `Unimplemented` for an option that is not known.
pub fn check_endpoint(options: &BTreeMap<String, String>) -> hako_error::Result<()> {
    EndpointOptions::parse(options)?;
    Ok(())
}

/// What an endpoint is asked to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EndpointOptions {
    /// The link's name in the sandbox.
    pub(super) interface: Option<String>,
    /// Settings below `/proc/sys` with their values; `IFNAME` stands for the link's name.
    pub(super) sysctls: Vec<(Vec<String>, String)>,
}

impl EndpointOptions {
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        let mut parsed = Self::default();
        for (name, value) in options {
            match name.as_str() {
                INTERFACE if is_link_name(value) => parsed.interface = Some(value.clone()),
                INTERFACE => return Err(NetworkError::BadOption { name: INTERFACE, value: value.clone() }),
                SYSCTLS => {
                    let settings = value.split(',').filter(|setting| !setting.is_empty());
                    parsed.sysctls = settings.map(sysctl).collect::<Result<_>>()?;
                }
                name if name.starts_with(OURS) => {
                    return Err(NetworkError::UnknownOption { name: name.to_owned() });
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// `net.ipv4.conf.IFNAME.forwarding=1`: a setting of the endpoint's own link and of nothing else.
fn sysctl(text: &str) -> Result<(Vec<String>, String)> {
    let bad = || NetworkError::BadSysctl { text: text.to_owned() };
    let (name, value) = text.split_once('=').ok_or_else(bad)?;
    let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let [net, family, _, interface, _] = &parts[..] else { return Err(bad()) };
    let is_plain = |part: &String| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let is_good = net == "net"
        && matches!(family.as_str(), "ipv4" | "ipv6" | "mpls")
        // docker 28 sends it in small letters.
        && interface.eq_ignore_ascii_case(IFNAME)
        && parts.iter().all(is_plain);
    if is_good { Ok((parts, value.to_owned())) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, value: &str) -> Result<EndpointOptions> {
        EndpointOptions::parse(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn settings_are_those_of_the_endpoint_s_own_link() {
        let parsed =
            endpoint(SYSCTLS, "net.ipv4.conf.IFNAME.forwarding=1,net.ipv6.neigh.IFNAME.gc_stale_time=9")
                .unwrap();
        assert_eq!(parsed.sysctls.len(), 2);
        assert_eq!(parsed.sysctls[0].0.join("/"), "net/ipv4/conf/IFNAME/forwarding");
        for bad in [
            "net.ipv4.conf.eth0.forwarding=1",
            "net.ipv4.ip_forward=1",
            "kernel.core.a.IFNAME.x=1",
            "net.ipv4.conf.IFNAME.forwarding",
            "net.ipv4.conf.IFNAME.../x=1",
            "net.ipv4...IFNAME.x=1",
        ] {
            assert!(matches!(endpoint(SYSCTLS, bad), Err(NetworkError::BadSysctl { .. })), "{bad}");
        }
    }

    #[test]
    fn names_of_links_are_what_the_kernel_takes_and_unknown_options_are_named() {
        assert_eq!(endpoint(INTERFACE, "lan0").unwrap().interface.as_deref(), Some("lan0"));
        for bad in ["", "sixteen-letters-", "a/b", "a b", "..", "a:1"] {
            assert!(endpoint(INTERFACE, bad).is_err(), "{bad}");
        }
        assert!(matches!(
            endpoint("com.docker.network.endpoint.new", "x"),
            Err(NetworkError::UnknownOption { .. })
        ));
        assert_eq!(endpoint("my.own", "x").unwrap(), EndpointOptions::default());
    }
}

//! Addresses and default routes of either family.

use crate::error::Errno;
use crate::link::{CREATE_NEW, Links};
use crate::message::{Attributes, u32_at};
use crate::{IpNet, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const BROADCAST: u16 = 4;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_OUT: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;

const INET: u8 = 2;
const INET6: u8 = 10;
/// The address counts as unique at once: nobody else gives out addresses of this network.
const NO_DUPLICATE_DETECTION: u8 = 2;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const TYPE_UNICAST: u8 = 1;
/// Create, or put in place of the one that is there.
const CREATE_OR_REPLACE: u16 = 0x400 | 0x100;

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { INET } else { INET6 }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn parse_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

impl Links {
    /// Gives a link an address of either family, and by it the network of `prefix` bits.
    ///
    /// # Errors
    /// When the kernel refuses; an address it has already is no error.
    pub fn add_ip(&mut self, link: u32, ip: IpAddr, prefix: u8) -> Result<()> {
        let action = || format!("give link {link} the address {ip}/{prefix}");
        let flags = if ip.is_ipv6() { NO_DUPLICATE_DETECTION } else { 0 };
        let [a, b, c, d] = link.to_ne_bytes();
        let header = [family(ip), prefix, flags, 0, a, b, c, d];
        let result = self.socket.request(&action, NEW_ADDRESS, CREATE_NEW, &header, |writer| {
            writer.bytes(LOCAL, &octets(ip)).bytes(ADDRESS, &octets(ip));
            if ip.is_ipv4() && prefix < 31 {
                writer.bytes(BROADCAST, &octets(IpNet::new(ip, prefix).last()));
            }
        });
        match result {
            Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Leads everything of the gateway's family that has no other route to the gateway, whatever led it before.
    ///
    /// # Errors
    /// When the kernel refuses, such as a gateway that is not on the link.
    pub fn set_default_route(&mut self, link: u32, gateway: IpAddr) -> Result<()> {
        let action = || format!("lead the default route by link {link} to {gateway}");
        let header = route_header(gateway, SCOPE_UNIVERSE);
        self.socket.request(&action, NEW_ROUTE, CREATE_OR_REPLACE, &header, |writer| {
            writer.u32(ROUTE_OUT, link).bytes(ROUTE_GATEWAY, &octets(gateway));
        })?;
        Ok(())
    }

    /// Leads everything of a family that has no other route out by the link itself, for links without a gateway.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_default_link(&mut self, link: u32, family_of: IpAddr) -> Result<()> {
        let action = || format!("lead the default route by link {link}");
        let header = route_header(family_of, SCOPE_LINK);
        self.socket.request(&action, NEW_ROUTE, CREATE_OR_REPLACE, &header, |writer| {
            writer.u32(ROUTE_OUT, link);
        })?;
        Ok(())
    }

    /// Deletes the default route of a family.
    ///
    /// # Errors
    /// When the kernel refuses; none that could be deleted is no error.
    pub fn delete_default_route(&mut self, family_of: IpAddr) -> Result<()> {
        let action = || "delete the default route".to_owned();
        // Any scope: "nowhere" stands for that in a deletion.
        let header = route_header(family_of, 255);
        match self.socket.request(&action, DEL_ROUTE, 0, &header, |_| ()) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The networks that this namespace has addresses in or routes to, of both families; without default routes and
    /// what belongs to one link only.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn networks(&mut self) -> Result<Vec<IpNet>> {
        let mut found = Vec::new();
        for family in [INET, INET6] {
            let mut header = [0; 8];
            header[0] = family;
            let what = || "list addresses".to_owned();
            found.extend(self.socket.dump(&what, GET_ADDRESS, &header, |_| (), parse_network)?);
            let mut header = [0; 12];
            header[0] = family;
            let what = || "list routes".to_owned();
            found.extend(self.socket.dump(&what, GET_ROUTE, &header, |_| (), parse_destination)?);
        }
        found.retain(|net| net.prefix() > 0 && !is_link_local(net.base()));
        Ok(found)
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.segments()[0] & 0xff00 == 0xff00 || ip.segments()[0] & 0xffc0 == 0xfe80
        }
    }
}

fn route_header(like: IpAddr, scope: u8) -> [u8; 12] {
    [family(like), 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, TYPE_UNICAST, 0, 0, 0, 0]
}

fn parse_network(payload: &[u8]) -> Option<IpNet> {
    let attributes = Attributes(payload.get(8..)?);
    u32_at(payload, 4)?;
    let ip = attributes.get(LOCAL).or_else(|| attributes.get(ADDRESS)).and_then(parse_ip)?;
    Some(IpNet::new(ip, payload[1]))
}

fn parse_destination(payload: &[u8]) -> Option<IpNet> {
    let attributes = Attributes(payload.get(12..)?);
    let ip = attributes.get(ROUTE_DESTINATION).and_then(parse_ip)?;
    (payload[4] == TABLE_MAIN && payload[7] == TYPE_UNICAST).then(|| IpNet::new(ip, payload[1]))
}

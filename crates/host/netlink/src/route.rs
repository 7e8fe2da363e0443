//! Addresses and routes of one namespace.

use crate::error::Errno;
use crate::link::{CREATE_NEW, Links};
use crate::message::{Attributes, u32_at};
use crate::{Ipv4Net, Result};
use std::net::Ipv4Addr;

const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const LOCAL: u16 = 2;
const BROADCAST: u16 = 4;

const DESTINATION: u16 = 1;
const OUT: u16 = 4;
const GATEWAY: u16 = 5;
const PREFERRED_SOURCE: u16 = 7;
const TABLE: u16 = 15;

const INET: u8 = 2;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const TYPE_UNICAST: u8 = 1;
const ONLINK: u32 = 4;

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub ip: Ipv4Addr,
    /// How many of its bits name the network that is reachable there.
    pub prefix: u8,
}

/// How far away a route's destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Beyond a gateway.
    Universe,
    /// On the link itself.
    Link,
}

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Ipv4Net,
    /// By which link.
    pub link: u32,
    /// By which gateway; it counts as reachable on the link whatever its address.
    pub gateway: Option<Ipv4Addr>,
    /// The source address to use.
    pub source: Option<Ipv4Addr>,
    /// How far away.
    pub scope: Scope,
}

impl Links {
    /// Gives a link an address. A prefix of 32 brings no route with it.
    ///
    /// # Errors
    /// When the kernel refuses; an address it has already is no error.
    pub fn add_address(&mut self, address: Address) -> Result<()> {
        let net = Ipv4Net::new(address.ip, address.prefix);
        let action = || format!("give link {} the address {}/{}", address.link, address.ip, address.prefix);
        let [a, b, c, d] = address.link.to_ne_bytes();
        let header = [INET, address.prefix, 0, 0, a, b, c, d];
        let result = self.socket.request(&action, NEW_ADDRESS, CREATE_NEW, &header, |writer| {
            writer.ip(LOCAL, address.ip).ip(1, address.ip);
            if address.prefix < 31 {
                writer.ip(BROADCAST, net.broadcast());
            }
        });
        match result {
            Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The IPv4 addresses of all links.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let header = [INET, 0, 0, 0, 0, 0, 0, 0];
        self.socket.dump(
            &|| "list addresses".to_owned(),
            GET_ADDRESS,
            &header,
            |_| (),
            |payload| {
                let attributes = Attributes(payload.get(8..)?);
                Some(Address {
                    link: u32_at(payload, 4)?,
                    ip: attributes.ip(LOCAL).or_else(|| attributes.ip(1))?,
                    prefix: *payload.get(1)?,
                })
            },
        )
    }

    /// Adds a route.
    ///
    /// # Errors
    /// When the kernel refuses; a route that exists is no error.
    pub fn add_route(&mut self, route: &Route) -> Result<()> {
        let action = || format!("add route to {} by link {}", route.destination, route.link);
        match self.change_route(&action, NEW_ROUTE, CREATE_NEW, route) {
            Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
            other => other,
        }
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// `ESRCH` if there is none.
    pub fn delete_route(&mut self, route: &Route) -> Result<()> {
        let action = || format!("delete route to {} by link {}", route.destination, route.link);
        self.change_route(&action, DEL_ROUTE, 0, route)
    }

    fn change_route(
        &mut self,
        action: &dyn Fn() -> String,
        kind: u16,
        flags: u16,
        route: &Route,
    ) -> Result<()> {
        let scope = match route.scope {
            Scope::Universe => 0,
            Scope::Link => 253,
        };
        let onlink = if route.gateway.is_some() { ONLINK } else { 0 };
        let prefix = route.destination.prefix();
        let mut header = [INET, prefix, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, TYPE_UNICAST, 0, 0, 0, 0];
        header[8..].copy_from_slice(&onlink.to_ne_bytes());
        self.socket.request(action, kind, flags, &header, |writer| {
            if prefix > 0 {
                writer.ip(DESTINATION, route.destination.base());
            }
            writer.u32(OUT, route.link);
            if let Some(gateway) = route.gateway {
                writer.ip(GATEWAY, gateway);
            }
            if let Some(source) = route.source {
                writer.ip(PREFERRED_SOURCE, source);
            }
        })?;
        Ok(())
    }

    /// The IPv4 routes of the main table.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let header = [INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.socket.dump(&|| "list routes".to_owned(), GET_ROUTE, &header, |_| (), parse_route)
    }
}

fn parse_route(payload: &[u8]) -> Option<Route> {
    let attributes = Attributes(payload.get(12..)?);
    let table = attributes.u32(TABLE).unwrap_or_else(|| u32::from(payload[4]));
    if table != u32::from(TABLE_MAIN) || payload[7] != TYPE_UNICAST {
        return None;
    }
    Some(Route {
        destination: Ipv4Net::new(attributes.ip(DESTINATION).unwrap_or(Ipv4Addr::UNSPECIFIED), payload[1]),
        link: attributes.u32(OUT)?,
        gateway: attributes.ip(GATEWAY),
        source: attributes.ip(PREFERRED_SOURCE),
        scope: if payload[6] == 253 { Scope::Link } else { Scope::Universe },
    })
}

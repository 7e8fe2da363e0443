//! Addresses and networks (Kubernetes' `kubernetes.net.ip` and `kubernetes.net.cidr`).

use super::{Args, Result};
use crate::opaque::{Cidr, Opaque};
use crate::overload::{Cost, Row};
use crate::{EvalError, Value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("string_to_ip", "ip", "string", "net.IP", Cost::Parse, |args| Ok(ip(parse_ip(Args(args).text(0)?)?))),
    Row("is_ip", "isIP", "string", "bool", Cost::Parse, |args| Ok(Value::Bool(parse_ip(Args(args).text(0)?).is_ok()))),
    Row("ip_to_string", "string", "net.IP", "string", Cost::One, |args| Ok(Value::text(address(args)?.to_string()))),
    Row("ip_is_canonical", "ip.isCanonical", "string", "bool", Cost::ParseTwice, is_canonical),
    Row("ip_family", ".family", "net.IP", "int", Cost::One, |args| Ok(Value::Int(if address(args)?.is_ipv4() { 4 } else { 6 }))),
    Row("ip_is_unspecified", ".isUnspecified", "net.IP", "bool", Cost::One, |args| Ok(Value::Bool(address(args)?.is_unspecified()))),
    Row("ip_is_loopback", ".isLoopback", "net.IP", "bool", Cost::One, |args| Ok(Value::Bool(address(args)?.is_loopback()))),
    Row("ip_is_link_local_multicast", ".isLinkLocalMulticast", "net.IP", "bool", Cost::One, |args| Ok(Value::Bool(link_local_multicast(address(args)?)))),
    Row("ip_is_link_local_unicast", ".isLinkLocalUnicast", "net.IP", "bool", Cost::One, |args| Ok(Value::Bool(link_local(address(args)?)))),
    Row("ip_is_global_unicast", ".isGlobalUnicast", "net.IP", "bool", Cost::One, |args| Ok(Value::Bool(global_unicast(address(args)?)))),
    Row("string_to_cidr", "cidr", "string", "net.CIDR", Cost::Parse, |args| Ok(cidr(parse_cidr(Args(args).text(0)?)?))),
    Row("is_cidr", "isCIDR", "string", "bool", Cost::Parse, |args| Ok(Value::Bool(parse_cidr(Args(args).text(0)?).is_ok()))),
    Row("cidr_to_string", "string", "net.CIDR", "string", Cost::One, cidr_text),
    Row("cidr_contains_ip_string", ".containsIP", "net.CIDR string", "bool", Cost::ContainsIp { parse: true }, |args| contains(args, parse_ip(Args(args).text(1)?)?, None)),
    Row("cidr_contains_ip_ip", ".containsIP", "net.CIDR net.IP", "bool", Cost::ContainsIp { parse: false }, |args| contains(args, address(&args[1..])?, None)),
    Row("cidr_contains_cidr_string", ".containsCIDR", "net.CIDR string", "bool", Cost::ContainsCidr { parse: true }, |args| contains_network(args, parse_cidr(Args(args).text(1)?)?)),
    Row("cidr_contains_cidr", ".containsCIDR", "net.CIDR net.CIDR", "bool", Cost::ContainsCidr { parse: false }, |args| contains_network(args, network(&args[1..])?)),
    Row("cidr_ip", ".ip", "net.CIDR", "net.IP", Cost::One, |args| Ok(ip(network(args)?.address))),
    Row("cidr_prefix_length", ".prefixLength", "net.CIDR", "int", Cost::One, |args| Ok(Value::Int(i64::from(network(args)?.prefix)))),
    Row("cidr_masked", ".masked", "net.CIDR", "net.CIDR", Cost::One, masked),
];

fn ip<'a>(address: IpAddr) -> Value<'a> {
    Value::Opaque(Opaque::Ip(address))
}

fn cidr<'a>(cidr: Cidr) -> Value<'a> {
    Value::Opaque(Opaque::Cidr(cidr))
}

fn address(args: &[Value<'_>]) -> std::result::Result<IpAddr, EvalError> {
    match args.first() {
        Some(Value::Opaque(Opaque::Ip(address))) => Ok(*address),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn network(args: &[Value<'_>]) -> std::result::Result<Cidr, EvalError> {
    match args.first() {
        Some(Value::Opaque(Opaque::Cidr(network))) => Ok(*network),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// An address without a zone that is no IPv4 address in IPv6's clothes.
fn parse_ip(text: &str) -> std::result::Result<IpAddr, EvalError> {
    if text.contains('%') {
        return Err(EvalError::data(format!("IP address {text:?} with zone value is not allowed")));
    }
    let wrong = |_| {
        EvalError::data(format!("IP Address {text:?} parse error during conversion from string: not an IP"))
    };
    let address: IpAddr = text.parse().map_err(wrong)?;
    if is_mapped(&address) {
        return Err(EvalError::data(format!("IPv4-mapped IPv6 address {text:?} is not allowed")));
    }
    Ok(address)
}

fn is_mapped(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn parse_cidr(text: &str) -> std::result::Result<Cidr, EvalError> {
    let wrong =
        || EvalError::data(format!("network address parse error during conversion from string: {text:?}"));
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let canonical = prefix == "0" || (!prefix.starts_with(['0', '+']) && !prefix.is_empty());
    let parsed: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if !canonical || prefix > bits(&parsed) || address.contains('%') {
        return Err(wrong());
    }
    if is_mapped(&parsed) {
        return Err(EvalError::data(format!("IPv4-mapped IPv6 address {text:?} is not allowed")));
    }
    Ok(Cidr { address: parsed, prefix })
}

fn bits(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_canonical<'a>(args: &[Value<'a>]) -> Result<'a> {
    let text = Args(args).text(0)?;
    Ok(Value::Bool(parse_ip(text)?.to_string() == text))
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn global_unicast(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || link_local(address))
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

fn masked<'a>(args: &[Value<'a>]) -> Result<'a> {
    let Cidr { address, prefix } = network(args)?;
    Ok(cidr(Cidr { address: mask(address, prefix), prefix }))
}

fn cidr_text<'a>(args: &[Value<'a>]) -> Result<'a> {
    let Cidr { address, prefix } = network(args)?;
    Ok(Value::text(format!("{address}/{prefix}")))
}

/// Whether the network has the address, and a prefix that is not shorter than its own if one is given.
fn contains<'a>(args: &[Value<'a>], address: IpAddr, prefix: Option<u8>) -> Result<'a> {
    let outer = network(args)?;
    let within = outer.address.is_ipv4() == address.is_ipv4()
        && prefix.is_none_or(|prefix| prefix >= outer.prefix)
        && mask(address, outer.prefix) == mask(outer.address, outer.prefix);
    Ok(Value::Bool(within))
}

fn contains_network<'a>(args: &[Value<'a>], inner: Cidr) -> Result<'a> {
    contains(args, inner.address, Some(inner.prefix))
}

//! EXPOSE: ports, ranges of them and protocols.

use std::net::IpAddr;

/// What the configuration lists for one word of EXPOSE, variables expanded: `80`, `53/udp`, `8000-8010/tcp`, and of
/// `[address:][host port:]port` the last. Fails with what is wrong.
pub fn exposed_ports(word: &str) -> Result<Vec<String>, String> {
    let (first, last, protocol) = port_range(word)?;
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The first and the last port, and the protocol in lower case.
pub(super) fn port_range(word: &str) -> Result<(u16, u16, &'static str), String> {
    let wrong = || format!("EXPOSE {word}: expected a port such as 80, 80/udp or 8000-8010");
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, word),
    };
    let (range, protocol) = port.split_once('/').unwrap_or((port, ""));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(format!("EXPOSE {word}: {other:?} is no protocol, expected tcp, udp or sctp")),
    };
    let (first, last) = ports(range).ok_or_else(wrong)?;
    if let Some(host) = host {
        check_host(host, last - first).ok_or_else(wrong)?;
    }
    Ok((first, last, protocol))
}

fn ports(range: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// An address and as many ports of the host as there are of the container. Neither has an effect.
fn check_host(host: &str, extra: u16) -> Option<()> {
    let (address, range) = match host.rsplit_once(':') {
        Some((address, range)) => (address, range),
        None => ("", host),
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if !address.is_empty() {
        address.parse::<IpAddr>().ok()?;
    }
    if range.is_empty() {
        return Some(());
    }
    let (first, last) = ports(range)?;
    (extra == 0 || last - first == extra).then_some(())
}

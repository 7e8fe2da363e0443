//! The files that a sandbox gives its containers: /etc/hosts, /etc/hostname and /etc/resolv.conf.

use crate::{Dns, NetworkMode, SandboxSpec};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Where they are on the host, and where they appear inside.
#[derive(Clone, Debug)]
pub(crate) struct SandboxFiles {
    dir: PathBuf,
}

impl SandboxFiles {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Pairs of the host's path and the container's.
    pub(crate) fn mounts(&self) -> [(PathBuf, &'static str); 3] {
        [
            (self.dir.join("hosts"), "/etc/hosts"),
            (self.dir.join("hostname"), "/etc/hostname"),
            (self.dir.join("resolv.conf"), "/etc/resolv.conf"),
        ]
    }

    /// Writes all three. Written in place, so that running containers see the change through their bind mounts.
    pub(crate) fn write(
        &self,
        spec: &SandboxSpec,
        hostname: &str,
        ip: Option<Ipv4Addr>,
    ) -> std::io::Result<()> {
        let host = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let hosts = match spec.network {
            NetworkMode::Host => host("/etc/hosts") + &extra_hosts(spec),
            NetworkMode::Bridge | NetworkMode::None => hosts(spec, hostname, ip),
        };
        std::fs::write(self.dir.join("hosts"), hosts)?;
        std::fs::write(self.dir.join("hostname"), format!("{hostname}\n"))?;
        let is_isolated = spec.network == NetworkMode::Bridge;
        std::fs::write(
            self.dir.join("resolv.conf"),
            resolv_conf(&spec.dns, &host("/etc/resolv.conf"), is_isolated),
        )
    }
}

fn hosts(spec: &SandboxSpec, hostname: &str, ip: Option<Ipv4Addr>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    if let Some(ip) = ip {
        let _ = match spec.domain.as_str() {
            "" => writeln!(text, "{ip}\t{hostname}"),
            domain => {
                let whole = format!(".{domain}");
                let short = hostname.strip_suffix(&whole).unwrap_or(hostname);
                writeln!(text, "{ip}\t{short}{whole}\t{short}")
            }
        };
    }
    text + &extra_hosts(spec)
}

fn extra_hosts(spec: &SandboxSpec) -> String {
    spec.hosts.iter().map(|entry| format!("{}\t{}\n", entry.ip, entry.names.join(" "))).collect()
}

/// What was asked for, else the host's file; without its loopback servers where they cannot be reached.
fn resolv_conf(dns: &Dns, host: &str, is_isolated: bool) -> String {
    if *dns == Dns::default() {
        let reachable = |line: &&str| {
            let server = line.strip_prefix("nameserver").and_then(|rest| rest.trim().parse::<IpAddr>().ok());
            !(is_isolated && server.is_some_and(|ip| ip.is_loopback()))
        };
        return host.lines().filter(reachable).map(|line| format!("{line}\n")).collect();
    }
    let mut text = String::new();
    for server in &dns.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (word, values) in [("search", &dns.search), ("options", &dns.options)] {
        if !values.is_empty() {
            let _ = writeln!(text, "{word} {}", values.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_has_what_was_asked_for_or_the_hosts_reachable_servers() {
        let dns = Dns {
            servers: vec!["10.96.0.10".parse().unwrap()],
            search: vec!["a.local".into(), "b".into()],
            options: vec!["ndots:5".into()],
        };
        assert_eq!(resolv_conf(&dns, "", true), "nameserver 10.96.0.10\nsearch a.local b\noptions ndots:5\n");
        let host = "nameserver 127.0.0.53\nnameserver 9.9.9.9\n";
        assert_eq!(resolv_conf(&Dns::default(), host, true), "nameserver 9.9.9.9\n");
        assert_eq!(resolv_conf(&Dns::default(), host, false), host);
    }

    #[test]
    fn hosts_names_the_sandbox_itself_and_the_extra_entries() {
        let entry =
            crate::HostEntry { ip: "10.1.1.1".parse().unwrap(), names: vec!["db".into(), "db.x".into()] };
        let spec = SandboxSpec { hosts: vec![entry], ..SandboxSpec::default() };
        let text = hosts(&spec, "web-0", Some(Ipv4Addr::new(10, 244, 0, 7)));
        assert!(text.contains("10.244.0.7\tweb-0\n10.1.1.1\tdb db.x\n"), "{text}");
        let spec = SandboxSpec { domain: "web.shop.svc".into(), ..SandboxSpec::default() };
        for hostname in ["web-0", "web-0.web.shop.svc"] {
            let text = hosts(&spec, hostname, Some(Ipv4Addr::new(10, 244, 0, 7)));
            assert!(text.ends_with("10.244.0.7\tweb-0.web.shop.svc\tweb-0\n"), "{text}");
        }
    }
}

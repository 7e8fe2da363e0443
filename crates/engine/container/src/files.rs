//! The files that a sandbox gives its containers: /etc/hosts, /etc/hostname and /etc/resolv.conf.

use crate::{Dns, HostEntry, NetworkMode, SandboxSpec};
use std::fmt::Write as _;
use std::net::IpAddr;
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
    pub(crate) fn write(&self, spec: &SandboxSpec, hostname: &str, reached: &Reached) -> std::io::Result<()> {
        let host = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let hosts = match spec.network {
            NetworkMode::Host => host("/etc/hosts") + &extra_hosts(spec),
            _ => hosts(spec, hostname, reached),
        };
        std::fs::write(self.dir.join("hosts"), title(spec) + &hosts)?;
        std::fs::write(self.dir.join("hostname"), format!("{hostname}\n"))?;
        let is_isolated =
            matches!(spec.network, NetworkMode::Bridge | NetworkMode::Endpoints) || !reached.ips.is_empty();
        let host = host("/etc/resolv.conf");
        let text = match reached.has_resolver {
            true => own_resolver(&spec.dns, &host),
            false => resolv_conf(&spec.dns, &host, is_isolated),
        };
        std::fs::write(self.dir.join("resolv.conf"), text)
    }
}

/// How a sandbox is reached, and what it can reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    /// Its own addresses.
    pub(crate) ips: Vec<IpAddr>,
    /// Whether it has a name server of its own.
    pub(crate) has_resolver: bool,
    /// Others that it knows by name.
    pub(crate) others: Vec<HostEntry>,
}

impl Reached {
    /// At one address.
    pub(crate) fn at(ip: IpAddr) -> Self {
        Self { ips: vec![ip], ..Self::default() }
    }
}

fn hosts(spec: &SandboxSpec, hostname: &str, reached: &Reached) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for ip in &reached.ips {
        let _ = match spec.domain.as_str() {
            "" => match hostname.split_once('.') {
                Some((short, _)) => writeln!(text, "{ip}\t{hostname} {short}"),
                None => writeln!(text, "{ip}\t{hostname}"),
            },
            domain => {
                let whole = format!(".{domain}");
                let short = hostname.strip_suffix(&whole).unwrap_or(hostname);
                writeln!(text, "{ip}\t{short}{whole}\t{short}")
            }
        };
    }
    text + &lines(&reached.others, " ") + &extra_hosts(spec)
}

fn title(spec: &SandboxSpec) -> String {
    match spec.hosts_title.as_str() {
        "" => String::new(),
        title => format!("# {title}\n"),
    }
}

fn extra_hosts(spec: &SandboxSpec) -> String {
    lines(&spec.hosts, "\t")
}

fn lines(entries: &[HostEntry], between: &str) -> String {
    entries.iter().map(|entry| format!("{}\t{}\n", entry.ip, entry.names.join(between))).collect()
}

/// The sandbox's own name server, with the search list and options that were asked for, else the host's search list.
fn own_resolver(dns: &Dns, host: &str) -> String {
    let mut text = format!("nameserver {}\n", hako_network::RESOLVER);
    match dns.search.as_slice() {
        [] => host.lines().filter(|line| line.starts_with("search ")).for_each(|line| {
            let _ = writeln!(text, "{line}");
        }),
        // Docker's way to say that there is none.
        [none] if none == "." => {}
        search => drop(writeln!(text, "search {}", search.join(" "))),
    }
    let options = if dns.options.is_empty() { "ndots:0".to_owned() } else { dns.options.join(" ") };
    text + "options " + &options + "\n"
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
    fn a_sandbox_with_names_asks_its_own_server() {
        let host = "nameserver 127.0.0.53\nsearch lan\n";
        assert_eq!(
            own_resolver(&Dns::default(), host),
            "nameserver 127.0.0.11\nsearch lan\noptions ndots:0\n"
        );
        let dns = Dns { search: vec![".".into()], options: vec!["ndots:2".into()], ..Dns::default() };
        assert_eq!(own_resolver(&dns, host), "nameserver 127.0.0.11\noptions ndots:2\n");
    }

    #[test]
    fn hosts_names_the_sandbox_itself_and_the_extra_entries() {
        let entry =
            crate::HostEntry { ip: "10.1.1.1".parse().unwrap(), names: vec!["db".into(), "db.x".into()] };
        let spec = SandboxSpec { hosts: vec![entry], ..SandboxSpec::default() };
        let text = hosts(&spec, "web-0", &Reached::at("10.244.0.7".parse().unwrap()));
        assert!(text.contains("10.244.0.7\tweb-0\n10.1.1.1\tdb\tdb.x\n"), "{text}");
        let whole = hosts(&spec, "a.b.c", &Reached::at("10.244.0.7".parse().unwrap()));
        assert!(whole.contains("10.244.0.7\ta.b.c a\n"), "{whole}");
        let files = tempfile::tempdir().unwrap();
        let titled = SandboxSpec { hosts_title: "Kept by a test.".into(), ..spec };
        SandboxFiles::new(files.path())
            .write(&titled, "web-0", &Reached::at("10.244.0.7".parse().unwrap()))
            .unwrap();
        let written = std::fs::read_to_string(files.path().join("hosts")).unwrap();
        assert_eq!(written, format!("# Kept by a test.\n{text}"));
        let spec = SandboxSpec { domain: "web.shop.svc".into(), ..SandboxSpec::default() };
        for hostname in ["web-0", "web-0.web.shop.svc"] {
            let text = hosts(&spec, hostname, &Reached::at("10.244.0.7".parse().unwrap()));
            assert!(text.ends_with("10.244.0.7\tweb-0.web.shop.svc\tweb-0\n"), "{text}");
        }
    }
}

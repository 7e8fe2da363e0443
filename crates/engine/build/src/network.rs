//! The network of a RUN step: a namespace that lives as long as the step, on the instance's bridge or on none.

use crate::error::BuildError;
use crate::graph::RunOp;
use crate::request::RunNetwork;
use hako_error::{Error, Kind, Result};
use hako_network::{Attach, Network};
use hako_sys::CloneFlags;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// Where a host with a resolver of its own on loopback keeps the servers behind it.
const RESOLV_CONF_BEHIND: &str = "/run/systemd/resolve/resolv.conf";
/// Attachments of steps, of this process or of one that was killed.
const ID_PREFIX: &str = "build-";

/// What a step is connected to; taken away when dropped.
pub(crate) struct Connection {
    /// Absent for the host's own.
    namespace: Option<File>,
    attached: Option<(Arc<Network>, String)>,
    wanted: RunNetwork,
    /// What the step sees as its resolv.conf instead of the host's.
    resolv_conf: Option<PathBuf>,
    /// The same for hosts.
    hosts: Option<PathBuf>,
}

impl Connection {
    /// Connects the step `key`; files that are only for it are made in `dir`.
    pub(crate) fn open(op: &RunOp, network: Option<&Arc<Network>>, key: &str, dir: &Path) -> Result<Self> {
        let wanted = op.network;
        let mut connection = Self { namespace: None, attached: None, wanted, resolv_conf: None, hosts: None };
        if !op.extra_hosts.is_empty() {
            connection.replace_hosts(&op.extra_hosts, dir)?;
        }
        if wanted == RunNetwork::Host {
            return Ok(connection);
        }
        let failed = |source| {
            Error::new(Kind::Internal, "cannot make the network namespace of a step").with_source(source)
        };
        connection.namespace = Some(new_namespace().map_err(failed)?);
        if let (RunNetwork::Bridge, Some(network)) = (wanted, network) {
            let id = format!("{ID_PREFIX}{}", key.trim_start_matches(ID_PREFIX));
            // Before the attempt: what fails half-way is taken away too.
            connection.attached = Some((network.clone(), id.clone()));
            network.attach(&Attach { id, netns: connection.path(), ports: Vec::new() })?;
            connection.replace_resolv_conf(dir)?;
        } else {
            connection.wanted = RunNetwork::None;
        }
        Ok(connection)
    }

    /// The namespace's path, good for every process of this pid namespace while this lives.
    fn path(&self) -> PathBuf {
        match &self.namespace {
            Some(file) => format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into(),
            None => PathBuf::from("/proc/self/ns/net"),
        }
    }

    pub(crate) fn for_run(&self) -> hako_runtime::Network {
        match &self.namespace {
            Some(_) => hako_runtime::Network::Path(self.path()),
            None => hako_runtime::Network::Host,
        }
    }

    /// The file that the step sees at `path`, `/etc/resolv.conf` or `/etc/hosts`; none without a network.
    pub(crate) fn source(&self, path: &Path) -> Option<PathBuf> {
        if let Some(own) = self.hosts.as_ref().filter(|_| path == Path::new(HOSTS)) {
            return Some(own.clone());
        }
        if self.wanted == RunNetwork::None {
            return None;
        }
        let source = match &self.resolv_conf {
            Some(own) if path == Path::new(RESOLV_CONF) => own.clone(),
            _ => path.to_owned(),
        };
        source.exists().then_some(source)
    }

    /// The host's names and those that the build adds.
    fn replace_hosts(&mut self, extra: &[(String, IpAddr)], dir: &Path) -> Result<()> {
        let mut text = fs::read_to_string(HOSTS).unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.extend(extra.iter().map(|(name, address)| format!("{address}\t{name}\n")));
        let path = dir.join("hosts");
        fs::write(&path, text).map_err(BuildError::io("write", path.clone()))?;
        self.hosts = Some(path);
        Ok(())
    }

    /// A resolver on the host's loopback cannot be reached from the namespace.
    fn replace_resolv_conf(&mut self, dir: &Path) -> Result<()> {
        let host = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        if !host.lines().any(is_loopback_server) {
            return Ok(());
        }
        let behind = fs::read_to_string(RESOLV_CONF_BEHIND).unwrap_or_default();
        let path = dir.join("resolv.conf");
        fs::write(&path, reachable(&host, &behind)).map_err(BuildError::io("write", path.clone()))?;
        self.resolv_conf = Some(path);
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for path in self.resolv_conf.iter().chain(&self.hosts) {
            let _ = fs::remove_file(path);
        }
        if let Some((network, id)) = &self.attached
            && let Err(error) = network.detach(id)
        {
            tracing::warn!(%error, id, "take a step off the network; the next start tries again");
        }
    }
}

/// A new network namespace with its loopback up; no thread that stays changes its own.
fn new_namespace() -> io::Result<File> {
    let make = || {
        hako_sys::unshare(CloneFlags::NEWNET)?;
        hako_sys::set_up_loopback()?;
        File::open("/proc/thread-self/ns/net")
    };
    std::thread::scope(|scope| match scope.spawn(make).join() {
        Ok(made) => made,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn server(line: &str) -> Option<IpAddr> {
    line.trim().strip_prefix("nameserver")?.trim().parse().ok()
}

fn is_loopback_server(line: &str) -> bool {
    server(line).is_some_and(|ip| ip.is_loopback())
}

/// The host's settings without servers on loopback, with those behind them where no other is left.
fn reachable(host: &str, behind: &str) -> String {
    let kept: Vec<&str> = host.lines().filter(|line| !is_loopback_server(line)).collect();
    let has_server = kept.iter().any(|line| server(line).is_some());
    let more = behind.lines().filter(|line| !has_server && server(line).is_some_and(|ip| !ip.is_loopback()));
    kept.iter().copied().chain(more).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_on_loopback_gives_way_to_the_servers_behind_it() {
        let host = "nameserver 127.0.0.53\nsearch a.example\n";
        let behind = "nameserver 192.0.2.53\nsearch b.example\n";
        assert_eq!(reachable(host, behind), "search a.example\nnameserver 192.0.2.53\n");
        assert_eq!(reachable("nameserver ::1\nnameserver 9.9.9.9\n", behind), "nameserver 9.9.9.9\n");
    }
}

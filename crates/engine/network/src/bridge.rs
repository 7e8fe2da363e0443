//! The bridge, the links on it, and what the kernel has to be told about them.

use crate::attachment::Attachment;
use crate::error::{NetworkError, Result};
use crate::records::failed;
use hako_netlink::{Address, Errno, Ipv4Net, Link, Links, Route, Scope, Veth, in_namespace};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const LINK_IN_SANDBOX: &str = "eth0";

/// The instance's bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    links: Links,
    name: String,
    index: u32,
    gateway: Ipv4Addr,
    graveyard: Graveyard,
}

impl Bridge {
    /// Makes the bridge unless it exists, with its address and settings.
    pub(crate) fn open(name: &str, subnet: Ipv4Net) -> Result<Self> {
        let graveyard = Graveyard::open(name)?;
        let gateway = subnet.nth(1).ok_or(NetworkError::SubnetTooSmall { subnet })?;
        let mut links = Links::open()?;
        let link = match links.find(name)? {
            Some(link) => link,
            None => {
                links.create_bridge(name, mac(0x62, gateway))?;
                links.get(name)?
            }
        };
        links.set_up(name)?;
        links.add_address(Address { link: link.index, ip: gateway, prefix: subnet.prefix() })?;
        configure(name)?;
        Ok(Self { links, name: name.to_owned(), index: link.index, gateway, graveyard })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Makes the sandbox's pair of links. A link of that name is what a crash left, and goes first.
    pub(crate) fn connect(&mut self, attachment: &Attachment, namespace: &File) -> Result<()> {
        let veth = Veth {
            name: &attachment.link,
            master: Some(self.index),
            peer_name: LINK_IN_SANDBOX,
            peer_mac: mac_of(attachment.ip),
            peer_namespace: namespace.as_fd(),
            mtu: None,
        };
        match self.links.create_veth(&veth) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                if self.is_port(&attachment.link)? {
                    self.disconnect(&attachment.link)?;
                }
                self.bury()?;
                self.links.create_veth(&veth)?;
            }
            other => other?,
        }
        Ok(self.links.open_port(&attachment.link)?)
    }

    fn is_port(&mut self, name: &str) -> Result<bool> {
        Ok(self.links.find(name)?.is_some_and(|link| link.master == Some(self.index)))
    }

    /// Whether the sandbox's end is there as recorded.
    pub(crate) fn is_connected(&mut self, attachment: &Attachment, namespace: &File) -> Result<bool> {
        if !self.is_port(&attachment.link)? {
            return Ok(false);
        }
        let inner = Links::open_in(namespace.as_fd())?.find(LINK_IN_SANDBOX)?;
        Ok(inner.is_some_and(|link| link.mac == mac_of(attachment.ip)))
    }

    /// Takes a link out of service at once; it is deleted soon, together with others.
    pub(crate) fn disconnect(&mut self, link: &str) -> Result<()> {
        match self.links.retire(link, self.graveyard.group) {
            Err(error) if error.is_not_found() => Ok(()),
            other => {
                other?;
                self.graveyard.call();
                Ok(())
            }
        }
    }

    /// Deletes what was disconnected, now.
    pub(crate) fn bury(&mut self) -> Result<()> {
        bury(&mut self.links, self.graveyard.group)
    }

    /// The links that are ports of the bridge.
    pub(crate) fn ports(&mut self) -> Result<Vec<Link>> {
        let all = self.links.list()?;
        Ok(all.into_iter().filter(|link| link.master == Some(self.index)).collect())
    }

    pub(crate) fn delete(&mut self) -> Result<()> {
        for port in self.ports()? {
            self.disconnect(&port.name)?;
        }
        let name = self.name.clone();
        self.disconnect(&name)?;
        self.bury()
    }
}

/// Deletes disconnected links on a thread of its own, all that there are at a time: one deletion keeps the caller
/// waiting for 18 ms, many together take hardly longer.
#[derive(Debug)]
pub(crate) struct Graveyard {
    /// Set on links that are to be deleted, also for whoever comes after a crash.
    pub(crate) group: u32,
    calls: mpsc::Sender<()>,
}

impl Graveyard {
    pub(crate) fn open(bridge: &str) -> Result<Self> {
        // Small numbers are what administrators use.
        let group = hash(bridge.bytes()) | 1 << 31;
        let (calls, called) = mpsc::channel();
        let mut links = Links::open()?;
        bury(&mut links, group)?;
        let work = move || {
            while called.recv().is_ok() {
                while called.try_recv().is_ok() {}
                if let Err(error) = bury(&mut links, group) {
                    tracing::warn!(%error, "links of detached sandboxes are left");
                }
            }
        };
        thread::Builder::new()
            .name("graveyard".to_owned())
            .spawn(work)
            .map_err(|source| NetworkError::Thread { source })?;
        Ok(Self { group, calls })
    }

    pub(crate) fn call(&self) {
        // The thread lives as long as this does.
        let _ = self.calls.send(());
    }
}

pub(crate) fn bury(links: &mut Links, group: u32) -> Result<()> {
    match links.delete_group(group) {
        Err(error) if error.is_not_found() => Ok(()),
        other => Ok(other?),
    }
}

/// Gives the sandbox's end its address. The address is a /32: everything but the gateway is reached by the gateway,
/// so traffic between sandboxes is routed by the host, where its connections are tracked and translated.
pub(crate) fn configure_sandbox(attachment: &Attachment, namespace: &File) -> Result<()> {
    in_namespace(namespace.as_fd(), || {
        let mut links = Links::open()?;
        links.set_up("lo")?;
        links.set_up(LINK_IN_SANDBOX)?;
        let link = links.get(LINK_IN_SANDBOX)?.index;
        links.add_address(Address { link, ip: attachment.ip, prefix: 32 })?;
        let source = Some(attachment.ip);
        let destination = Ipv4Net::new(attachment.gateway, 32);
        links.add_route(&Route { destination, link, gateway: None, source, scope: Scope::Link })?;
        let destination = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0);
        let gateway = Some(attachment.gateway);
        links.add_route(&Route { destination, link, gateway, source, scope: Scope::Universe })
    })??;
    Ok(())
}

/// How long the kernel may take to notice a carrier.
const NOTICED_WITHIN: Duration = Duration::from_millis(200);

/// Waits until packets pass by a sandbox's link and its bridge. A link whose other end is up has a carrier at once, yet
/// it and its bridge drop what they are given until a task of the kernel has taken notice, up to a second later; and
/// whoever sent a first packet tries again a second after that. To ask for a link makes the kernel take notice (since
/// Linux 6.8).
pub(crate) fn settle(links: &mut Links, link: &str, bridge: &str) -> Result<()> {
    let start = Instant::now();
    // The bridge has a carrier when a port of it has.
    while !(links.get(link)?.is_carrying && links.get(bridge)?.is_carrying) {
        if start.elapsed() > NOTICED_WITHIN {
            tracing::debug!(link, bridge, "the first packets may be lost");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The host's end is named by the sandbox's address, so a name is free when its address is.
pub(crate) fn link_name(instance: &str, ip: Ipv4Addr) -> String {
    let hash = hash(instance.bytes().chain(ip.octets()));
    format!("hv{hash:08x}")
}

pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

pub(crate) fn mac_of(ip: Ipv4Addr) -> [u8; 6] {
    mac(0x68, ip)
}

/// A locally administered hardware address that follows from an address.
pub(crate) fn mac(second: u8, ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x02, second, a, b, c, d]
}

/// `ip_forward` is the only setting of the host's that is touched, and only if it is off: it has to be on for any
/// packet to pass.
pub(crate) fn configure(bridge: &str) -> Result<()> {
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    if fs::read(forward).map_err(failed("read", forward))?.first() != Some(&b'1') {
        fs::write(forward, "1").map_err(failed("write", forward))?;
    }
    for (name, value) in [("forwarding", "1"), ("route_localnet", "1"), ("send_redirects", "0")] {
        let path = Path::new("/proc/sys/net/ipv4/conf").join(bridge).join(name);
        fs::write(&path, value).map_err(failed("write", &path))?;
    }
    Ok(())
}

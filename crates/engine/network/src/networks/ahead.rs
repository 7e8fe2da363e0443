//! A place in a network made before anybody asks for it: a namespace whose link is a port of the bridge already.
//!
//! What the kernel does for a port takes the longer the more ports a bridge has, so where starts follow each other a thread
//! of its own does it between them ([decision 20](../../../../../docs/decisions/0020-a-start-among-many.md)).
//!
//! Invariant: there is at most one, in a network that is there, and nothing of it is recorded. Descriptors hold it, so it
//! ends with this process however that does.

use super::device::{open_port, set_ipv6};
use super::options;
use super::spec::{Driver, NetworkSpec};
use super::{Networks, random};
use crate::error::{NetworkError, Result};
use crate::records::failed;
use hako_netlink::{Links, Veth};
use hako_sys::CloneFlags;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long a place is kept for a start, and how soon one start has to follow another for a place to be made.
const KEPT: Duration = Duration::from_secs(2);
/// How long a start waits for the place that is being made: about what it would take to do without.
const AWAITED: Duration = Duration::from_millis(10);
/// The most that it may take to make one.
const SETTLED: Duration = Duration::from_secs(1);
/// The name of the only link of a sandbox that asks for no other.
pub(super) const INTERFACE: &str = "eth0";
/// No other port is called so: theirs go on with hexadecimal digits.
const LINK_PREFIX: &str = "hnp";

/// A place in a network, for a sandbox that is in no other and asks for nothing of its link.
#[derive(Debug)]
pub struct Ahead {
    network: String,
    namespace: File,
    /// The host's end.
    pub(super) link: String,
    /// The kernel looks for a namespace's sysfs among all that are mounted, the latest first.
    _sysfs: Option<OwnedFd>,
}

impl Ahead {
    /// The network namespace, for the sandbox to be in.
    #[must_use]
    pub fn namespace(&self) -> &File {
        &self.namespace
    }
}

impl Networks {
    /// A place in a network that was made ahead, if there is one. Dropped without a sandbox in its namespace it goes.
    #[must_use]
    pub fn take_ahead(&self, network: &str) -> Option<Ahead> {
        self.ahead.take(network)
    }

    /// Tells of a start that could have had a place made ahead: one that follows another has the next one's made.
    pub fn make_ahead(&self, network: &str) {
        let net = self.table.read().net(network).ok().filter(|net| can_be_ahead(net)).cloned();
        if let Some(net) = net {
            self.ahead.order(net);
        }
    }
}

/// Networks in which all members that ask for nothing else have the same link, but for addresses of IPv4.
fn can_be_ahead(net: &NetworkSpec) -> bool {
    net.driver == Driver::Bridge
        && net.config_only.is_none()
        && !net.has_ipv6()
        && !net.options.contains_key(options::PREFIX)
}

/// The place that is there, or on its way, and the thread that makes it.
#[derive(Debug)]
pub(super) struct Stock {
    shelf: Arc<Shelf>,
    orders: mpsc::Sender<NetworkSpec>,
}

#[derive(Debug, Default)]
struct Shelf {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    place: Place,
    /// The last start.
    last: Option<(String, Instant)>,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    None,
    /// Being made in this network; one start at most waits for it.
    Underway {
        network: String,
        is_awaited: bool,
    },
    Ready(Ahead),
}

impl Place {
    fn network(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Underway { network, .. } => Some(network),
            Self::Ready(ahead) => Some(&ahead.network),
        }
    }
}

impl Stock {
    pub(super) fn open() -> Result<Self> {
        let shelf = Arc::new(Shelf::default());
        let (orders, ordered) = mpsc::channel();
        let (maker, filled) = (Maker::open()?, Arc::clone(&shelf));
        thread::Builder::new()
            .name("ports-ahead".to_owned())
            .spawn(move || work(maker, &filled, &ordered))
            .map_err(|source| NetworkError::Thread { source })?;
        Ok(Self { shelf, orders })
    }

    fn take(&self, network: &str) -> Option<Ahead> {
        let mut content = self.shelf.content.lock();
        if let Place::Underway { network: being_made, is_awaited } = &mut content.place
            && being_made == network
            && !std::mem::replace(is_awaited, true)
        {
            self.shelf.changed.wait_for(&mut content, AWAITED);
        }
        match &content.place {
            Place::Ready(ahead) if ahead.network == network => {}
            _ => return None,
        }
        match std::mem::take(&mut content.place) {
            Place::Ready(ahead) => Some(ahead),
            Place::None | Place::Underway { .. } => None,
        }
    }

    fn order(&self, net: NetworkSpec) {
        let now = Instant::now();
        let mut content = self.shelf.content.lock();
        let before = content.last.replace((net.id.clone(), now));
        let follows = before.is_some_and(|(network, at)| network == net.id && now.duration_since(at) < KEPT);
        if !follows || content.place.network() == Some(&net.id) {
            return;
        }
        put(content, Place::Underway { network: net.id.clone(), is_awaited: false });
        // The thread lives as long as this does, unless it could not go on; then starts do without.
        let _ = self.orders.send(net);
    }

    /// The network goes.
    pub(super) fn discard(&self, network: &str) {
        let content = self.shelf.content.lock();
        if content.place.network() == Some(network) {
            put(content, Place::None);
        }
    }

    /// The network has no room for what nobody may ask for. Returns the link that there was, which takes a while to go.
    pub(super) fn give_up(&self, network: &str) -> Option<String> {
        let mut content = self.shelf.content.lock();
        let is_underway = |content: &mut Content| matches!(&content.place, Place::Underway { network: being_made, .. } if being_made == network);
        self.shelf.changed.wait_while_for(&mut content, is_underway, SETTLED);
        if content.place.network() != Some(network) {
            return None;
        }
        let link = match &content.place {
            Place::Ready(ahead) => Some(ahead.link.clone()),
            Place::None | Place::Underway { .. } => None,
        };
        put(content, Place::None);
        link
    }

    pub(super) fn clear(&self) {
        put(self.shelf.content.lock(), Place::None);
    }
}

/// What was there ends outside the lock: the kernel is told to take a namespace away.
fn put(mut content: MutexGuard<'_, Content>, place: Place) {
    let before = std::mem::replace(&mut content.place, place);
    drop(content);
    drop(before);
}

/// The thread: makes what is ordered, and takes away what nobody came for.
fn work(mut maker: Maker, shelf: &Shelf, orders: &mpsc::Receiver<NetworkSpec>) {
    let mut is_kept = false;
    loop {
        let order = match is_kept {
            true => orders.recv_timeout(KEPT),
            false => orders.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        let net = match order {
            Ok(net) => net,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let content = shelf.content.lock();
                if matches!(content.place, Place::Ready(_)) {
                    put(content, Place::None);
                }
                is_kept = false;
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let made = maker.make(&net);
        hako_sys::failpoint!("network.ahead.made");
        let place = made.unwrap_or_else(|error| {
            tracing::debug!(network = net.name, %error, "a place was not made ahead");
            Place::None
        });
        let content = shelf.content.lock();
        // Meanwhile somebody may have removed the network.
        if matches!(&content.place, Place::Underway { network, .. } if *network == net.id) {
            is_kept = matches!(place, Place::Ready(_));
            put(content, place);
            shelf.changed.notify_all();
        }
        if !maker.is_home {
            return;
        }
    }
}

/// Makes places, on a thread that goes into their namespaces.
#[derive(Debug)]
struct Maker {
    host: File,
    links: Links,
    /// Whether the thread is in the host's namespace.
    is_home: bool,
}

impl Maker {
    fn open() -> Result<Self> {
        Ok(Self { host: own_namespace()?, links: Links::open()?, is_home: true })
    }

    fn make(&mut self, net: &NetworkSpec) -> Result<Place> {
        hako_sys::unshare(CloneFlags::NEWNET).map_err(|source| NetworkError::NewNamespace { source })?;
        let made = self.fill(net);
        // One that cannot go home makes nothing any more.
        self.is_home = move_into_link_name_space(self.host.as_fd(), Some(LinkNameSpaceType::Network)).is_ok();
        made.map(Place::Ready)
    }

    /// In the new namespace: everything that a start would do, up to the addresses.
    fn fill(&mut self, net: &NetworkSpec) -> Result<Ahead> {
        let namespace = own_namespace()?;
        let sysfs = hako_sys::mount_sysfs().ok();
        hako_sys::set_up_loopback().map_err(|source| NetworkError::NewNamespace { source })?;
        let [a, b, c, d] = random()?;
        let link = format!("{LINK_PREFIX}{:08x}", u32::from_be_bytes([a, b, c, d]));
        let veth = Veth {
            name: &link,
            master: Some(self.links.get(&net.bridge)?.index),
            peer_name: INTERFACE,
            peer_mac: [0x02, 0x61, a, b, c, d],
            peer_namespace: namespace.as_fd(),
            mtu: net.mtu(),
        };
        self.links.create_veth(&veth)?;
        hako_sys::failpoint!("network.ahead.linked");
        open_port(&mut self.links, net, &link)?;
        // Before it is up: it says nothing with the hardware address that it is going to lose.
        set_ipv6(INTERFACE, "disable_ipv6", "1")?;
        Links::open()?.set_up(INTERFACE)?;
        Ok(Ahead { network: net.id.clone(), namespace, link, _sysfs: sysfs })
    }
}

/// The network namespace of the calling thread.
fn own_namespace() -> Result<File> {
    let path = Path::new("/proc/thread-self/ns/net");
    File::open(path).map_err(failed("open", path))
}

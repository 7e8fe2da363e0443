//! A place in a network made before anybody asks for it: a namespace whose link is a port of the bridge already.
//!
//! What the kernel does for a port takes the longer the more ports a bridge has, so where starts follow each other a thread
//! of its own does it between them ([decision 20](../../../../../docs/decisions/0020-a-start-among-many.md)).
//!
//! Invariant: there are at most two, in one network that is there, and nothing of them is recorded. Descriptors hold them, so
//! they end with this process however that does.

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
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long a place is kept for a start, and how soon one start has to follow another for a place to be made.
const KEPT: Duration = Duration::from_secs(2);
/// How many there are: to make one takes about as long as what is between two starts, where a bridge has many ports.
const PLACES: usize = 2;
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
            self.ahead.order(&net);
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

/// The places that are there, or on their way, and the thread that makes them.
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
    places: Places,
    last: Option<Last>,
}

/// All of one network.
#[derive(Debug, Default)]
struct Places {
    network: String,
    ready: VecDeque<Ahead>,
    /// How many are being made, and how many starts wait for one of them.
    underway: usize,
    awaited: usize,
}

/// The last start, and how many there were in a row.
#[derive(Debug)]
struct Last {
    network: String,
    at: Instant,
    starts: usize,
}

impl Content {
    /// Notes a start. Returns how many places the next ones are to have.
    fn note(&mut self, network: &str) -> usize {
        let now = Instant::now();
        let before = self.last.take();
        let before = before.filter(|last| last.network == network && now.duration_since(last.at) < KEPT);
        let starts = before.map_or(1, |last| last.starts.saturating_add(1));
        self.last = Some(Last { network: network.to_owned(), at: now, starts });
        PLACES.min(starts - 1)
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
        let places = &mut content.places;
        if places.network == network && places.ready.is_empty() && places.awaited < places.underway {
            places.awaited += 1;
            let is_to_come = |content: &mut Content| {
                let places = &content.places;
                places.network == network && places.ready.is_empty() && places.underway > 0
            };
            self.shelf.changed.wait_while_for(&mut content, is_to_come, AWAITED);
        }
        let places = &mut content.places;
        if places.network == network { places.ready.pop_front() } else { None }
    }

    fn order(&self, net: &NetworkSpec) {
        let mut content = self.shelf.content.lock();
        let wanted = content.note(&net.id);
        if wanted == 0 {
            return;
        }
        let before = match content.places.network == net.id {
            true => None,
            false => Some(std::mem::replace(
                &mut content.places,
                Places { network: net.id.clone(), ..Places::default() },
            )),
        };
        let places = &mut content.places;
        let missing = wanted.saturating_sub(places.ready.len() + places.underway);
        places.underway += missing;
        drop(content);
        // Outside the lock: the kernel is told to take namespaces away.
        drop(before);
        for _ in 0..missing {
            // The thread lives as long as this does, unless it could not go on; then starts do without.
            let _ = self.orders.send(net.clone());
        }
    }

    /// The network goes.
    pub(super) fn discard(&self, network: &str) {
        let content = self.shelf.content.lock();
        if content.places.network == network {
            empty(content);
        }
    }

    /// The network has no room for what nobody may ask for. Returns the links that there were, which take a while to go.
    pub(super) fn give_up(&self, network: &str) -> Vec<String> {
        let mut content = self.shelf.content.lock();
        let is_underway =
            |content: &mut Content| content.places.network == network && content.places.underway > 0;
        self.shelf.changed.wait_while_for(&mut content, is_underway, SETTLED);
        if content.places.network != network {
            return Vec::new();
        }
        let links = content.places.ready.iter().map(|ahead| ahead.link.clone()).collect();
        empty(content);
        links
    }

    pub(super) fn clear(&self) {
        empty(self.shelf.content.lock());
    }
}

/// What was there ends outside the lock: the kernel is told to take namespaces away.
fn empty(mut content: MutexGuard<'_, Content>) {
    let before = std::mem::take(&mut content.places);
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
                let mut content = shelf.content.lock();
                let before = std::mem::take(&mut content.places.ready);
                drop(content);
                drop(before);
                is_kept = false;
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let made = maker.make(&net);
        hako_sys::failpoint!("network.ahead.made");
        is_kept = shelf.put(&net, made);
        if !maker.is_home {
            return;
        }
    }
}

impl Shelf {
    /// Puts a place there, unless nobody wants it any more. Returns whether there are any.
    fn put(&self, net: &NetworkSpec, made: Result<Ahead>) -> bool {
        let mut content = self.content.lock();
        let places = &mut content.places;
        // Meanwhile somebody may have removed the network.
        let is_wanted = places.network == net.id && places.underway > 0;
        if is_wanted {
            places.underway -= 1;
            places.awaited = places.awaited.saturating_sub(1);
        }
        let unwanted = match made {
            Ok(ahead) if is_wanted => {
                places.ready.push_back(ahead);
                None
            }
            Ok(ahead) => Some(ahead),
            Err(error) => {
                tracing::debug!(network = net.name, %error, "a place was not made ahead");
                None
            }
        };
        let has_any = !places.ready.is_empty();
        drop(content);
        drop(unwanted);
        self.changed.notify_all();
        has_any
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

    fn make(&mut self, net: &NetworkSpec) -> Result<Ahead> {
        hako_sys::unshare(CloneFlags::NEWNET).map_err(|source| NetworkError::NewNamespace { source })?;
        let made = self.fill(net);
        // One that cannot go home makes nothing any more.
        self.is_home = move_into_link_name_space(self.host.as_fd(), Some(LinkNameSpaceType::Network)).is_ok();
        made
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
        Ok(Ahead { namespace, link, _sysfs: sysfs })
    }
}

/// The network namespace of the calling thread.
fn own_namespace() -> Result<File> {
    let path = Path::new("/proc/thread-self/ns/net");
    File::open(path).map_err(failed("open", path))
}

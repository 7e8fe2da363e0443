//! Which published ports go past the rules, as long as no chain of the host drops by its policy what the host sends.
//!
//! What is translated passes the host's own chains as what leaves by `lo`, what is led leaves by a bridge: who drops what the
//! host sends has let the first pass only. Such chains come and go at any time, so a thread hears of it while ports are led.
//! INVARIANT: chains are asked for, and what they say is done, under one lock; and whoever changes them after that is heard.

use super::shortcut::{Shortcuts, Way};
use crate::error::Result;
use hako_netlink::nft::{BaseChain, ChainChange, ChainWatch, Family, HookPoint, Nft};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter};
use std::net::SocketAddrV4;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Weak};

const STACK_SIZE: usize = 128 << 10;

/// The short ways of an instance, in step with the host's chains.
#[derive(Debug)]
pub(super) struct Ways {
    state: Arc<Mutex<State>>,
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    /// Nobody publishes yet.
    Unneeded,
    /// What comes later counts from the next publication on.
    None,
    /// Ends when this is closed.
    Running { _end: PipeWriter },
}

#[derive(Debug)]
struct State {
    nft: Nft,
    /// What is led if it may be.
    wanted: HashMap<u16, SocketAddrV4>,
    is_barred: bool,
    shortcuts: Shortcuts,
}

impl State {
    /// Asks the host's chains; whether that changed anything.
    fn judge(&mut self) -> bool {
        let was_barred = self.is_barred;
        // Who cannot be asked may drop.
        self.is_barred = !self.wanted.is_empty()
            && foreign_drops(&mut self.nft, HookPoint::Output)
                .map_or(true, |mut chains| chains.any(|chain| chain.family != Family::Ipv6));
        was_barred != self.is_barred
    }

    fn carry_out(&mut self) {
        match self.is_barred {
            true => self.shortcuts.replace(&HashMap::new()),
            false => self.shortcuts.replace(&self.wanted),
        }
    }

    fn hear(&mut self, change: ChainChange) {
        // What goes can only let pass what did not.
        let counts = change == ChainChange::Entered || self.is_barred;
        if counts && self.judge() {
            tracing::info!(by_rules = self.is_barred, "the host's chains for what it sends have changed");
            self.carry_out();
        }
    }
}

/// Chains of others that drop what no rule of theirs lets pass.
pub(super) fn foreign_drops(
    nft: &mut Nft,
    point: HookPoint,
) -> Result<impl Iterator<Item = BaseChain> + use<>> {
    let chains = nft.base_chains(point)?;
    Ok(chains.into_iter().filter(|chain| chain.drops && is_foreign(&chain.table)))
}

fn is_foreign(table: &str) -> bool {
    !table.starts_with("hako-")
}

/// A thread that does what the host's chains say from now on, until what is returned is closed.
fn start(state: Weak<Mutex<State>>) -> io::Result<PipeWriter> {
    let chains = ChainWatch::open().map_err(io::Error::other)?;
    let (stop, end) = io::pipe()?;
    let thread = std::thread::Builder::new().name("chains".to_owned()).stack_size(STACK_SIZE);
    thread.spawn(move || follow(chains, &stop, &state))?;
    Ok(end)
}

fn follow(mut chains: ChainWatch, stop: &PipeReader, state: &Weak<Mutex<State>>) {
    loop {
        match chains.next(stop.as_fd(), is_foreign) {
            Ok(Some(change)) => match state.upgrade() {
                Some(state) => state.lock().hear(change),
                None => return,
            },
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "chains of the host that come later count from the next start on");
                return;
            }
        }
    }
}

impl Ways {
    pub(super) fn open() -> Result<Self> {
        let (wanted, shortcuts) = (HashMap::new(), Shortcuts::default());
        let state = State { nft: Nft::open()?, wanted, is_barred: false, shortcuts };
        Ok(Self { state: Arc::new(Mutex::new(state)), watch: Watch::Unneeded })
    }

    /// Leads these ports and no others.
    pub(super) fn replace(&mut self, ways: impl IntoIterator<Item = Way>) {
        let wanted: HashMap<_, _> = ways.into_iter().collect();
        if !wanted.is_empty() {
            self.watch();
        }
        let mut state = self.state.lock();
        state.wanted = wanted;
        state.judge();
        state.carry_out();
    }

    pub(super) fn forget(&mut self, ports: &[u16]) {
        let mut state = self.state.lock();
        state.wanted.retain(|port, _| !ports.contains(port));
        state.shortcuts.forget(ports);
    }

    pub(super) fn lead(&mut self, ways: Vec<Way>) {
        if ways.is_empty() {
            return;
        }
        self.watch();
        let mut state = self.state.lock();
        state.wanted.extend(ways.iter().copied());
        if state.judge() {
            state.carry_out();
        } else if !state.is_barred {
            state.shortcuts.lead(ways);
        }
    }

    /// From here on somebody hears of new chains.
    fn watch(&mut self) {
        if !matches!(self.watch, Watch::Unneeded) {
            return;
        }
        self.watch = match start(Arc::downgrade(&self.state)) {
            Ok(end) => Watch::Running { _end: end },
            Err(error) => {
                tracing::warn!(%error, "chains of the host that come later count from the next published port on");
                Watch::None
            }
        };
    }
}

//! The chains of a namespace as anybody changes them.

use super::{NETFILTER, SUBSYSTEM, kind};
use crate::Result;
use crate::message::Attributes;
use crate::socket::{Heard, Socket, broken};
use std::os::fd::BorrowedFd;

/// The group that is told of every change of nftables, `NFNLGRP_NFTABLES`.
const GROUP: u32 = 1 << (7 - 1);

/// Tells when somebody changes chains that packets enter, of one network namespace.
#[derive(Debug)]
pub struct ChainWatch {
    socket: Socket,
}

/// What became of chains, the most of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChainChange {
    /// Some went; which, the kernel does not tell.
    Deleted,
    /// One that packets enter is new or has another policy, or too much happened to tell.
    Entered,
}

impl ChainWatch {
    /// Watches the calling thread's namespace; what happens from here on is told.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self> {
        let action = || "watch nftables".to_owned();
        let socket = Socket::open(NETFILTER).map_err(|source| broken(&action, source))?;
        socket.join(GROUP).map_err(|source| broken(&action, source))?;
        Ok(Self { socket })
    }

    /// Waits for a change of tables that `is_watched` names. `None` once somebody writes to or closes what `stop` reads.
    ///
    /// # Errors
    /// When the socket breaks.
    pub fn next(
        &mut self,
        stop: BorrowedFd<'_>,
        is_watched: impl Fn(&str) -> bool,
    ) -> Result<Option<ChainChange>> {
        loop {
            let mut most = None;
            let heard = self.socket.hear(stop, |message| {
                let change = match message.kind {
                    NEW_CHAIN => ChainChange::Entered,
                    DEL_CHAIN => ChainChange::Deleted,
                    _ => return,
                };
                let attributes = message.payload.get(4..).map(Attributes);
                let Some((attributes, table)) = attributes.and_then(|it| Some((it, it.text(1)?))) else {
                    return;
                };
                let is_entered = attributes.nested(4).is_some() || change == ChainChange::Deleted;
                if is_entered && is_watched(&table) {
                    most = most.max(Some(change));
                }
            });
            match heard.map_err(|source| broken(&|| "watch nftables".to_owned(), source))? {
                Heard::Stop => return Ok(None),
                Heard::Lost => return Ok(Some(ChainChange::Entered)),
                Heard::Messages => {}
            }
            if most.is_some() {
                return Ok(most);
            }
        }
    }
}

const NEW_CHAIN: u16 = SUBSYSTEM | kind::NEW_CHAIN;
const DEL_CHAIN: u16 = SUBSYSTEM | kind::DEL_CHAIN;

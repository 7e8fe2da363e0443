//! Links that sit on another link of the host: macvlan and ipvlan.

use crate::Result;
use crate::link::{
    ADDRESS, CREATE_NEW, INFO, INFO_DATA, INFO_KIND, Links, MTU, NAME, NET_NS_FD, NEW, header,
};
use crate::message::Writer;
use std::os::fd::{AsRawFd, BorrowedFd};

const PARENT: u16 = 5;
const MODE: u16 = 1;
const FLAGS: u16 = 2;

/// What sits on the parent, and how it treats its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacked {
    /// A link with a hardware address of its own: 1 private, 2 vepa, 4 bridge, 8 passthru.
    Macvlan {
        /// The number of the mode.
        mode: u32,
    },
    /// A link that shares the parent's hardware address: 0 l2, 1 l3, 2 l3s.
    Ipvlan {
        /// The number of the mode.
        mode: u16,
        /// 0 bridge, 1 private, 2 vepa.
        flags: u16,
    },
}

/// A link to be made on a parent here, in another namespace.
#[derive(Clone, Copy, Debug)]
pub struct StackedLink<'a> {
    /// Its name, there.
    pub name: &'a str,
    /// The parent's number, here.
    pub parent: u32,
    /// What it is.
    pub kind: Stacked,
    /// Its hardware address; the kernel's choice if `None`.
    pub mac: Option<[u8; 6]>,
    /// The largest packet; the parent's if `None`.
    pub mtu: Option<u32>,
    /// Where it appears.
    pub namespace: BorrowedFd<'a>,
}

impl Links {
    /// Makes a link on a parent.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no such kind, `EBUSY` if the parent cannot carry it.
    pub fn create_stacked(&mut self, link: &StackedLink<'_>) -> Result<()> {
        let action = || format!("create link {} on link {}", link.name, link.parent);
        self.socket.request(&action, NEW, CREATE_NEW, &header(0, 0, 0), |writer| {
            writer.text(NAME, link.name).u32(PARENT, link.parent);
            writer.u32(NET_NS_FD, link.namespace.as_raw_fd().cast_unsigned());
            if let Some(mac) = link.mac {
                writer.bytes(ADDRESS, &mac);
            }
            if let Some(mtu) = link.mtu {
                writer.u32(MTU, mtu);
            }
            writer.nest(INFO, |info| write_kind(info, link.kind));
        })?;
        Ok(())
    }
}

fn write_kind(info: &mut Writer, kind: Stacked) {
    match kind {
        Stacked::Macvlan { mode } => {
            info.text(INFO_KIND, "macvlan").nest(INFO_DATA, |data| {
                data.u32(MODE, mode);
            });
        }
        Stacked::Ipvlan { mode, flags } => {
            info.text(INFO_KIND, "ipvlan").nest(INFO_DATA, |data| {
                data.bytes(MODE, &mode.to_ne_bytes()).bytes(FLAGS, &flags.to_ne_bytes());
            });
        }
    }
}

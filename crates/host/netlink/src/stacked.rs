//! Links that sit on another link of the host: macvlan, ipvlan and VLANs; and links that lead nowhere for them to sit on.

use crate::Result;
use crate::link::{
    ADDRESS, CREATE_NEW, INFO, INFO_DATA, INFO_KIND, Links, MTU, NAME, NET_NS_FD, NEW, header,
};
use crate::message::Writer;
use std::os::fd::{AsRawFd, BorrowedFd};

const PARENT: u16 = 5;
const MODE: u16 = 1;
const FLAGS: u16 = 2;
const VLAN_ID: u16 = 1;
const UP: u32 = 1;

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

impl Links {
    /// Makes a link of a kind that needs nothing said, such as `dummy` or `ifb`, and sets it up.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no such kind, `EEXIST` if the name is taken.
    pub fn create_plain(&mut self, name: &str, kind: &str) -> Result<()> {
        let action = || format!("create {kind} link {name}");
        self.socket.request(&action, NEW, CREATE_NEW, &header(0, UP, UP), |writer| {
            writer.text(NAME, name).nest(INFO, |info| {
                info.text(INFO_KIND, kind);
            });
        })?;
        Ok(())
    }

    /// Makes the link that carries one VLAN of `parent`, and sets it up.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the kernel has no VLANs, `EEXIST` if the parent has that VLAN.
    pub fn create_vlan(&mut self, name: &str, parent: u32, vlan: u16) -> Result<()> {
        let action = || format!("create link {name} for VLAN {vlan} of link {parent}");
        self.socket.request(&action, NEW, CREATE_NEW, &header(0, UP, UP), |writer| {
            write_vlan(writer, name, parent, vlan);
        })?;
        Ok(())
    }
}

fn write_vlan(writer: &mut Writer, name: &str, parent: u32, vlan: u16) {
    writer.text(NAME, name).u32(PARENT, parent).nest(INFO, |info| {
        info.text(INFO_KIND, "vlan").nest(INFO_DATA, |data| {
            data.bytes(VLAN_ID, &vlan.to_ne_bytes());
        });
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One attribute: length, type, payload, padding.
    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len() + 4).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_vlan_is_asked_for_by_its_parent_and_number() {
        const NESTED: u16 = 0x8000;
        let mut writer = Writer::default();
        writer.begin(NEW, CREATE_NEW, 1, &header(0, UP, UP));
        let before = writer.as_bytes().len();
        write_vlan(&mut writer, "eth0.10", 7, 10);
        let data = attribute(VLAN_ID, &10_u16.to_ne_bytes());
        let info = [attribute(INFO_KIND, b"vlan\0"), attribute(INFO_DATA | NESTED, &data)].concat();
        let expected = [
            attribute(NAME, b"eth0.10\0"),
            attribute(PARENT, &7_u32.to_ne_bytes()),
            attribute(INFO | NESTED, &info),
        ];
        assert_eq!(writer.as_bytes()[before..], expected.concat());
    }
}

//! Network links of one namespace.

use crate::Result;
use crate::error::{Errno, NetlinkError};
use crate::message::{Attributes, Writer, u32_at};
use crate::namespace::in_namespace;
use crate::socket::{Socket, broken};
use std::os::fd::{AsRawFd, BorrowedFd};

pub(crate) const NEW: u16 = 16;
const DEL: u16 = 17;
const GET: u16 = 18;

pub(crate) const ADDRESS: u16 = 1;
pub(crate) const NAME: u16 = 3;
pub(crate) const MTU: u16 = 4;
const MASTER: u16 = 10;
const OPERATION: u16 = 16;
pub(crate) const INFO: u16 = 18;
const AF_SPEC: u16 = 26;
const GROUP: u16 = 27;
pub(crate) const NET_NS_FD: u16 = 28;
pub(crate) const INFO_KIND: u16 = 1;
pub(crate) const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const AF_INET6: u16 = 10;
const INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_NONE`
const ADDR_GEN_NONE: u8 = 1;
const BRIDGE_SNOOPING: u16 = 23;
const PORT_MODE: u16 = 4;
const PORT_ISOLATED: u16 = 33;
const VETH_PEER: u16 = 1;

const UP: u32 = 1;
/// RFC 2863: it is up and packets pass.
const OPERATION_UP: u8 = 6;
const NO_ARP: u32 = 0x80;
pub(crate) const CREATE_NEW: u16 = 0x400 | 0x200;

/// A handle on the links, addresses and routes of one network namespace.
#[derive(Debug)]
pub struct Links {
    pub(crate) socket: Socket,
}

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number the kernel knows it by.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is, such as `bridge` or `veth`; empty for real hardware.
    pub kind: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it is up and has a carrier, and the kernel has taken notice: packets pass.
    pub is_carrying: bool,
    /// The bridge it is a port of.
    pub master: Option<u32>,
    /// Its hardware address.
    pub mac: [u8; 6],
}

/// A pair of links to be made, one end here, the other in another namespace.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// The name of the end here.
    pub name: &'a str,
    /// The bridge that end becomes a port of.
    pub master: Option<u32>,
    /// The name of the other end.
    pub peer_name: &'a str,
    /// The other end's hardware address.
    pub peer_mac: [u8; 6],
    /// The other end's namespace.
    pub peer_namespace: BorrowedFd<'a>,
    /// The largest packet of both ends; `None` leaves the kernel's 1500.
    pub mtu: Option<u32>,
}

pub(crate) fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

impl Links {
    /// A handle on the links of the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self> {
        let socket = Socket::open(0).map_err(|source| broken(&|| "open links".to_owned(), source))?;
        Ok(Self { socket })
    }

    /// A handle on the links of the namespace `fd` refers to.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open_in(fd: BorrowedFd<'_>) -> Result<Self> {
        in_namespace(fd, Self::open)?
    }

    /// Makes a bridge and sets it up. It keeps the hardware address given, whatever ports it gets.
    ///
    /// It sends what is for a group to all ports, without looking for who wants it: nobody asks for that on a bridge whose
    /// ports are sandboxes, and the kernel would start timers of all ports anew whenever one of them comes up.
    ///
    /// # Errors
    /// `EEXIST` if a link of that name exists.
    pub fn create_bridge(&mut self, name: &str, mac: [u8; 6]) -> Result<()> {
        let action = || format!("create bridge {name}");
        self.socket.request(&action, NEW, CREATE_NEW, &header(0, UP, UP), |writer| {
            writer.text(NAME, name).bytes(ADDRESS, &mac);
            writer.nest(INFO, |info| {
                info.text(INFO_KIND, "bridge").nest(INFO_DATA, |data| {
                    data.bytes(BRIDGE_SNOOPING, &[0]);
                });
            });
        })?;
        Ok(())
    }

    /// Makes both ends and sets the end here up, in one step of the kernel. A port of a bridge is left down, for
    /// [`Self::open_port`].
    ///
    /// # Errors
    /// `EEXIST` if either name is taken.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<()> {
        let action = || format!("create link {} with its peer {}", veth.name, veth.peer_name);
        let flags = if veth.master.is_some() { 0 } else { UP };
        self.socket.request(&action, NEW, CREATE_NEW, &header(0, flags, flags), |writer| {
            writer.text(NAME, veth.name);
            if let Some(master) = veth.master {
                writer.u32(MASTER, master);
            }
            if let Some(mtu) = veth.mtu {
                writer.u32(MTU, mtu);
            }
            writer.nest(INFO, |info| {
                info.text(INFO_KIND, "veth");
                info.nest(INFO_DATA, |data| {
                    data.nest(VETH_PEER, |peer| write_peer(peer, veth));
                });
            });
        })?;
        Ok(())
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// `ENODEV` if there is none of that name.
    pub fn set_up(&mut self, name: &str) -> Result<()> {
        let action = || format!("set link {name} up");
        self.socket.request(&action, NEW, 0, &header(0, UP, UP), |writer| {
            writer.text(NAME, name);
        })?;
        Ok(())
    }

    /// Sets a link up that asks nobody for hardware addresses: what it sends carries its own, so that a peer with the
    /// same one takes it.
    ///
    /// # Errors
    /// `ENODEV` if there is none of that name.
    pub fn set_up_without_arp(&mut self, name: &str, mac: [u8; 6]) -> Result<()> {
        let action = || format!("set link {name} up without ARP");
        self.socket.request(&action, NEW, 0, &header(0, UP | NO_ARP, UP | NO_ARP), |writer| {
            writer.text(NAME, name).bytes(ADDRESS, &mac);
        })?;
        Ok(())
    }

    /// Gives a link another hardware address.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link, `EBUSY` if it is up and of a kind that has to be down.
    pub fn set_mac(&mut self, name: &str, mac: [u8; 6]) -> Result<()> {
        let action = || format!("set the hardware address of link {name}");
        self.socket.request(&action, NEW, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name).bytes(ADDRESS, &mac);
        })?;
        Ok(())
    }

    /// Makes a link a port of the bridge `master`.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link or bridge.
    pub fn set_master(&mut self, name: &str, master: u32) -> Result<()> {
        let action = || format!("make link {name} a port of bridge {master}");
        self.socket.request(&action, NEW, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name).u32(MASTER, master);
        })?;
        Ok(())
    }

    /// Sets a port of a bridge up. The bridge may send frames back by the port they came from: where bridges call netfilter
    /// (the default with the module `br_netfilter`), a sandbox that reaches itself by a translated address needs this.
    ///
    /// The port gets no address of its own (fe80::/64) where the kernel has IPv6: nobody talks to a port, and each such
    /// address is routes that later changes of links walk through. They are walked at each change of a link that is up and
    /// has no carrier, so it is changed first and set up then.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link, `EINVAL` if it is no port.
    pub fn open_port(&mut self, name: &str) -> Result<()> {
        match self.set_port(name, true) {
            // The IPv6 of this kernel is off.
            Err(error) if error.errno() == Some(Errno::AFNOSUPPORT) => self.set_port(name, false)?,
            other => other?,
        }
        self.set_up(name)
    }

    fn set_port(&mut self, name: &str, has_ipv6: bool) -> Result<()> {
        let action = || format!("set hairpin mode of link {name}");
        self.socket.request(&action, NEW, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name).nest(INFO, |info| {
                info.text(INFO_SLAVE_KIND, "bridge").nest(INFO_SLAVE_DATA, |data| {
                    data.bytes(PORT_MODE, &[1]);
                });
            });
            if has_ipv6 {
                writer.nest(AF_SPEC, |families| {
                    families.nest(AF_INET6, |inet6| {
                        inet6.bytes(INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]);
                    });
                });
            }
        })?;
        Ok(())
    }

    /// Keeps a port of a bridge from every other port that is isolated too.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link, `EINVAL` if it is no port.
    pub fn set_isolated(&mut self, name: &str) -> Result<()> {
        let action = || format!("isolate link {name} from other ports of its bridge");
        self.socket.request(&action, NEW, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name).nest(INFO, |info| {
                info.text(INFO_SLAVE_KIND, "bridge").nest(INFO_SLAVE_DATA, |data| {
                    data.bytes(PORT_ISOLATED, &[1]);
                });
            });
        })?;
        Ok(())
    }

    /// Sets the largest packet of a link.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link, `EINVAL` if it cannot carry that much.
    pub fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<()> {
        let action = || format!("set the largest packet of link {name} to {mtu}");
        self.socket.request(&action, NEW, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name).u32(MTU, mtu);
        })?;
        Ok(())
    }

    /// Puts a link into a group, by which rules know it.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub fn set_group(&mut self, name: &str, group: u32) -> Result<()> {
        let action = || format!("put link {name} into group {group}");
        self.socket.request(&action, NEW, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name).u32(GROUP, group);
        })?;
        Ok(())
    }

    /// Deletes a link; a veth takes its peer with it.
    ///
    /// # Errors
    /// `ENODEV` if there is none of that name.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        let action = || format!("delete link {name}");
        self.socket.request(&action, DEL, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name);
        })?;
        Ok(())
    }

    /// Takes a link out of service at once: down, no port of any bridge, and in `group`, to be deleted with it.
    ///
    /// # Errors
    /// `ENODEV` if there is none of that name.
    pub fn retire(&mut self, name: &str, group: u32) -> Result<()> {
        let action = || format!("retire link {name}");
        self.socket.request(&action, NEW, 0, &header(0, 0, UP), |writer| {
            writer.text(NAME, name).u32(MASTER, 0).u32(GROUP, group);
        })?;
        Ok(())
    }

    /// Deletes all links of a group. The kernel waits for all processors once for each call that deletes links, which
    /// is nearly all that a deletion costs (18 ms for one link, 12 ms for ten on the machine this was written on).
    ///
    /// # Errors
    /// `ENODEV` if the group is empty.
    pub fn delete_group(&mut self, group: u32) -> Result<()> {
        let action = || format!("delete links of group {group}");
        self.socket.request(&action, DEL, 0, &header(0, 0, 0), |writer| {
            writer.u32(GROUP, group);
        })?;
        Ok(())
    }

    /// The link of that name.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn get(&mut self, name: &str) -> Result<Link> {
        let action = || format!("look up link {name}");
        let answer = self.socket.request(&action, GET, 0, &header(0, 0, 0), |writer| {
            writer.text(NAME, name);
        })?;
        answer.as_deref().and_then(parse).ok_or_else(|| NetlinkError::Malformed { action: action() })
    }

    /// The link of that name, if there is one.
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>> {
        match self.get(name) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All links.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn list(&mut self) -> Result<Vec<Link>> {
        self.socket.dump(&|| "list links".to_owned(), GET, &header(0, 0, 0), |_| (), parse)
    }
}

fn write_peer(peer: &mut Writer, veth: &Veth<'_>) {
    // The kernel cannot set it up yet: the two ends know each other only once both exist.
    peer.raw(&header(0, 0, 0)).text(NAME, veth.peer_name).bytes(ADDRESS, &veth.peer_mac);
    peer.u32(NET_NS_FD, veth.peer_namespace.as_raw_fd().cast_unsigned());
    if let Some(mtu) = veth.mtu {
        peer.u32(MTU, mtu);
    }
}

fn parse(payload: &[u8]) -> Option<Link> {
    let attributes = Attributes(payload.get(16..)?);
    Some(Link {
        index: u32_at(payload, 4)?,
        name: attributes.text(NAME)?,
        kind: attributes.nested(INFO).and_then(|info| info.text(INFO_KIND)).unwrap_or_default(),
        is_up: u32_at(payload, 8)? & UP != 0,
        is_carrying: attributes.u8(OPERATION) == Some(OPERATION_UP),
        master: attributes.u32(MASTER),
        mac: attributes.get(ADDRESS).and_then(|mac| mac.try_into().ok()).unwrap_or_default(),
    })
}

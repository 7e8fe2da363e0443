//! The kernel's table of connections.

use crate::Result;
use crate::message::{Attributes, Writer};
use crate::namespace::in_namespace;
use crate::socket::{Socket, broken};
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

const NETFILTER: u32 = 12;
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const HEADER: [u8; 4] = [2, 0, 0, 0];

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const FILTER: u16 = 25;
const STATUS_MASK: u16 = 26;

/// Of a connection's status: its destination was translated.
const DESTINATION_TRANSLATED: u32 = 32;
/// Of a side's flags: it was the first to say that it will send no more.
const CLOSED_FIRST: u8 = 4;

/// A handle on the connections of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

/// Where a TCP connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// Nothing known.
    None,
    /// Asked for.
    SynSent,
    /// Asked for and answered.
    SynReceived,
    /// Open.
    Established,
    /// One side will send no more.
    FinWait,
    /// That was acknowledged.
    CloseWait,
    /// Both sides will send no more.
    LastAck,
    /// Over, remembered for late packets.
    TimeWait,
    /// Reset, or over.
    Close,
    /// Asked for by both sides at once.
    SynSent2,
}

impl TcpState {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::SynSent,
            2 => Self::SynReceived,
            3 => Self::Established,
            4 => Self::FinWait,
            5 => Self::CloseWait,
            6 => Self::LastAck,
            7 => Self::TimeWait,
            8 => Self::Close,
            9 => Self::SynSent2,
            _ => Self::None,
        }
    }
}

/// An address and a port.
pub type End = (Ipv4Addr, u16);

/// A connection as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its transport protocol.
    pub protocol: u8,
    /// Who asked for it.
    pub source: End,
    /// Whom it was addressed to.
    pub destination: End,
    /// Who answers it.
    pub answers_from: End,
    /// Whom the answers go to.
    pub answers_to: End,
    /// Whether its destination was translated.
    pub is_translated: bool,
    /// Where it is, if it is TCP.
    pub state: TcpState,
    /// Whether the side that asked for it was the first to close.
    pub closed_by_source: bool,
}

impl Connection {
    /// Whether the side that answers may still have something to do: it is being opened or open, or only the side
    /// that asked has closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.state {
            TcpState::SynSent | TcpState::SynSent2 | TcpState::SynReceived | TcpState::Established => true,
            TcpState::FinWait | TcpState::CloseWait => self.closed_by_source,
            TcpState::None | TcpState::LastAck | TcpState::TimeWait | TcpState::Close => false,
        }
    }
}

/// Which connections are meant.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Answered by this address.
    pub answers_from: Ipv4Addr,
    /// Of this transport protocol.
    pub protocol: u8,
}

impl Conntrack {
    /// A handle on the connections of the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self> {
        let socket =
            Socket::open(NETFILTER).map_err(|source| broken(&|| "open conntrack".to_owned(), source))?;
        Ok(Self { socket })
    }

    /// A handle on the connections of the namespace `fd` refers to.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open_in(fd: BorrowedFd<'_>) -> Result<Self> {
        in_namespace(fd, Self::open)?
    }

    /// Lists connections that were translated to `filter.answers_from`. The kernel filters (since Linux 5.8), older
    /// ones list all and we do.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn translated_to(&mut self, filter: Filter) -> Result<Vec<Connection>> {
        let action = || format!("list connections to {}", filter.answers_from);
        let all =
            self.socket.dump(&action, SUBSYSTEM | GET, &HEADER, |writer| filter.write(writer), parse)?;
        Ok(all.into_iter().filter(|connection| filter.matches(connection)).collect())
    }

    /// Lists all IPv4 connections.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn list(&mut self) -> Result<Vec<Connection>> {
        self.socket.dump(&|| "list connections".to_owned(), SUBSYSTEM | GET, &HEADER, |_| (), parse)
    }

    /// Forgets a connection; one that is gone already is no error.
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    pub fn delete(&mut self, connection: &Connection) -> Result<()> {
        let action =
            || format!("forget connection from {:?} to {:?}", connection.source, connection.destination);
        let result = self.socket.request(&action, SUBSYSTEM | DELETE, 0, &HEADER, |writer| {
            let ends = (connection.source, connection.destination);
            writer.nest(TUPLE_ORIGINAL, |tuple| write_tuple(tuple, connection.protocol, ends));
        });
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

impl Filter {
    fn matches(&self, connection: &Connection) -> bool {
        connection.is_translated
            && connection.answers_from.0 == self.answers_from
            && connection.protocol == self.protocol
    }

    fn write(&self, writer: &mut Writer) {
        /// Source address and protocol number of a tuple take part in the comparison.
        const ADDRESS_AND_PROTOCOL: u32 = 1 | 8;
        writer.nest(TUPLE_REPLY, |tuple| {
            tuple.nest(1, |ip| {
                ip.ip(1, self.answers_from);
            });
            tuple.nest(2, |protocol| {
                protocol.bytes(1, &[self.protocol]);
            });
        });
        writer.nest(FILTER, |flags| {
            flags.u32(1, 0).u32(2, ADDRESS_AND_PROTOCOL);
        });
        writer.be32(STATUS, DESTINATION_TRANSLATED).be32(STATUS_MASK, DESTINATION_TRANSLATED);
    }
}

fn write_tuple(writer: &mut Writer, protocol: u8, (source, destination): (End, End)) {
    writer.nest(1, |ip| {
        ip.ip(1, source.0).ip(2, destination.0);
    });
    writer.nest(2, |transport| {
        transport.bytes(1, &[protocol]);
        transport.bytes(2, &source.1.to_be_bytes()).bytes(3, &destination.1.to_be_bytes());
    });
}

fn parse(payload: &[u8]) -> Option<Connection> {
    let attributes = Attributes(payload.get(4..)?);
    let (protocol, source, destination) = parse_tuple(attributes.nested(TUPLE_ORIGINAL)?)?;
    let (_, answers_from, answers_to) = parse_tuple(attributes.nested(TUPLE_REPLY)?)?;
    let tcp = attributes.nested(PROTOCOL_INFO).and_then(|info| info.nested(1));
    Some(Connection {
        protocol,
        source,
        destination,
        answers_from,
        answers_to,
        is_translated: attributes.be32(STATUS).unwrap_or(0) & DESTINATION_TRANSLATED != 0,
        state: TcpState::from_number(tcp.and_then(|tcp| tcp.u8(1)).unwrap_or(0)),
        closed_by_source: tcp.and_then(|tcp| tcp.u8(4)).unwrap_or(0) & CLOSED_FIRST != 0,
    })
}

fn parse_tuple(tuple: Attributes<'_>) -> Option<(u8, End, End)> {
    let (ip, transport) = (tuple.nested(1)?, tuple.nested(2)?);
    let source = (ip.ip(1)?, transport.be16(2).unwrap_or(0));
    let destination = (ip.ip(2)?, transport.be16(3).unwrap_or(0));
    Some((transport.u8(1)?, source, destination))
}

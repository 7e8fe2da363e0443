//! Rules as lists of the kernel's expressions.

use super::batch::{Data, Verdict, millis};
use crate::message::Writer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// One of the sixteen 32-bit registers; a longer value uses those that follow too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg(pub u8);

impl Reg {
    pub(crate) const VERDICT: Self = Self(u8::MAX);
}

/// What is known about a packet apart from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meta {
    /// The name of the link it came by, 16 bytes.
    InputName = 6,
    /// The name of the link it leaves by, 16 bytes.
    OutputName = 7,
    /// The address family, one byte.
    NetworkProtocol = 15,
    /// The transport protocol, one byte.
    TransportProtocol = 16,
    /// The group of the link it came by, four bytes.
    InputGroup = 21,
}

/// What is known about a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ct {
    /// A bit mask: 1 invalid, 2 established, 4 related, 8 new.
    State = 0,
    /// A bit mask; 32 is "its destination was translated".
    Status = 2,
    /// Its mark.
    Mark = 3,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Eq = 0,
    /// Not equal.
    Ne = 1,
}

/// Which address is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nat {
    /// The source.
    Source = 0,
    /// The destination.
    Destination = 1,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// By a TCP reset.
    TcpReset,
    /// By ICMP: nobody is listening on that port.
    PortUnreachable,
}

/// One step of a rule; a rule ends at the first that does not match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are named as the kernel names them and mean the same everywhere")]
pub enum Expression {
    /// Loads what is known about the packet.
    Meta { key: Meta, to: Reg },
    /// Loads what is known about its connection.
    Ct { key: Ct, to: Reg },
    /// Sets its connection's mark.
    SetCtMark { from: Reg },
    /// Loads bytes of the network header.
    Network { offset: u32, len: u32, to: Reg },
    /// Loads bytes of the transport header.
    Transport { offset: u32, len: u32, to: Reg },
    /// Keeps the bits of `mask`.
    And { reg: Reg, mask: Vec<u8> },
    /// Goes on if the comparison holds.
    Compare { reg: Reg, how: Comparison, with: Vec<u8> },
    /// Goes on if the set has the key; `inverted`: if it has not.
    Contains { set: String, key: Reg, inverted: bool },
    /// Goes on if the map has the key, with its data loaded.
    Lookup { map: String, key: Reg, to: Reg },
    /// Does what the verdict map says, if it has the key.
    LookupVerdict { map: String, key: Reg },
    /// Loads a constant.
    Load { value: Vec<u8>, to: Reg },
    /// Does that.
    Verdict(Verdict),
    /// Loads a random number below `modulus`, in the machine's byte order.
    Random { modulus: u32, to: Reg },
    /// Loads the kind of the destination address, such as [`Expression::LOCAL`].
    DestinationType { to: Reg },
    /// Translates an address and, if given, a port.
    Nat { which: Nat, address: Reg, port: Option<Reg> },
    /// Translates an IPv6 address and, if given, a port.
    NatV6 { which: Nat, address: Reg, port: Option<Reg> },
    /// Translates the source to the address of the link it leaves by.
    Masquerade,
    /// Sends a copy, untracked, by the link of that number; only in tables of one family.
    Duplicate { address: Reg, link: Reg },
    /// Sends it to the host itself, to the port given.
    Redirect { port: Reg },
    /// Refuses it.
    Reject(Reject),
    /// Adds an element, or makes it young again; its data only counts when it is new.
    Update { set: String, key: Reg, data: Option<Reg>, timeout: Duration },
    /// Deletes an element, if it exists. Of a map, the kernel wants some register with data, whatever it holds.
    Forget { set: String, key: Reg, data: Option<Reg> },
    /// Counts packets and bytes.
    Counter,
}

impl Expression {
    /// The address is one of the host's own.
    pub const LOCAL: u32 = 2;

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Ct { .. } | Self::SetCtMark { .. } => "ct",
            Self::Network { .. } | Self::Transport { .. } => "payload",
            Self::And { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Contains { .. } | Self::Lookup { .. } | Self::LookupVerdict { .. } => "lookup",
            Self::Load { .. } | Self::Verdict(_) => "immediate",
            Self::Random { .. } => "numgen",
            Self::DestinationType { .. } => "fib",
            Self::Nat { .. } | Self::NatV6 { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Duplicate { .. } => "dup",
            Self::Redirect { .. } => "redir",
            Self::Reject(_) => "reject",
            Self::Update { .. } | Self::Forget { .. } => "dynset",
            Self::Counter => "counter",
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.nest(1, |element| {
            element.text(1, self.name()).nest(2, |data| self.write_data(data));
        });
    }

    fn write_data(&self, w: &mut Writer) {
        /// What the routing table is asked for.
        const ADDRESS_TYPE: u32 = 3;
        /// About which address.
        const DESTINATION: u32 = 2;
        match self {
            Self::Meta { key, to } => {
                w.be32(1, to.number()).be32(2, *key as u32);
            }
            Self::Ct { key, to } => {
                w.be32(1, to.number()).be32(2, *key as u32);
            }
            Self::SetCtMark { from } => {
                w.be32(2, Ct::Mark as u32).be32(4, from.number());
            }
            Self::Network { offset, len, to } => write_payload(w, 1, *offset, *len, *to),
            Self::Transport { offset, len, to } => write_payload(w, 2, *offset, *len, *to),
            Self::And { reg, mask } => write_and(w, *reg, mask),
            Self::Compare { reg, how, with } => {
                w.be32(1, reg.number()).be32(2, *how as u32).nest(3, |data| {
                    data.bytes(1, with);
                });
            }
            Self::Contains { set, key, inverted } => {
                w.text(1, set).be32(2, key.number()).be32(5, u32::from(*inverted));
            }
            Self::Lookup { map, key, to } => {
                w.text(1, map).be32(2, key.number()).be32(3, to.number());
            }
            Self::LookupVerdict { map, key } => {
                w.text(1, map).be32(2, key.number()).be32(3, Reg::VERDICT.number());
            }
            Self::Load { value, to } => write_immediate(w, *to, &Data::Value(value.clone())),
            Self::Verdict(verdict) => write_immediate(w, Reg::VERDICT, &Data::Verdict(verdict.clone())),
            Self::Random { modulus, to } => {
                w.be32(1, to.number()).be32(2, *modulus).be32(3, 1);
            }
            Self::DestinationType { to } => {
                w.be32(1, to.number()).be32(2, ADDRESS_TYPE).be32(3, DESTINATION);
            }
            Self::Nat { which, address, port } => write_nat(w, IPV4, *which, *address, *port),
            Self::NatV6 { which, address, port } => write_nat(w, IPV6, *which, *address, *port),
            Self::Masquerade | Self::Counter => {}
            Self::Duplicate { address, link } => {
                w.be32(1, address.number()).be32(2, link.number());
            }
            Self::Redirect { port } => {
                w.be32(1, port.number());
            }
            Self::Reject(how) => write_reject(w, *how),
            Self::Update { set, key, data, timeout } => {
                write_dynset(w, set, DYNSET_UPDATE, *key, *data);
                w.be64(6, millis(*timeout));
            }
            Self::Forget { set, key, data } => write_dynset(w, set, DYNSET_DELETE, *key, *data),
        }
    }
}

fn write_payload(w: &mut Writer, base: u32, offset: u32, len: u32, to: Reg) {
    w.be32(1, to.number()).be32(2, base).be32(3, offset).be32(4, len);
}

const DYNSET_UPDATE: u32 = 1;
const DYNSET_DELETE: u32 = 2;

fn write_dynset(w: &mut Writer, set: &str, operation: u32, key: Reg, data: Option<Reg>) {
    w.text(1, set).be32(3, operation).be32(4, key.number());
    if let Some(data) = data {
        w.be32(5, data.number());
    }
}

fn write_reject(w: &mut Writer, how: Reject) {
    /// Of either address family.
    const PORT_UNREACHABLE: u8 = 1;
    match how {
        Reject::TcpReset => w.be32(1, 1),
        Reject::PortUnreachable => w.be32(1, 2).bytes(2, &[PORT_UNREACHABLE]),
    };
}

fn write_and(w: &mut Writer, reg: Reg, mask: &[u8]) {
    let len = u32::try_from(mask.len()).unwrap_or(0);
    w.be32(1, reg.number()).be32(2, reg.number()).be32(3, len);
    w.nest(4, |data| {
        data.bytes(1, mask);
    });
    w.nest(5, |data| {
        data.bytes(1, &vec![0; mask.len()]);
    });
}

fn write_immediate(w: &mut Writer, to: Reg, data: &Data) {
    w.be32(1, to.number()).nest(2, |inner| data.write(inner));
}

const IPV4: u32 = 2;
const IPV6: u32 = 10;

fn write_nat(w: &mut Writer, family: u32, which: Nat, address: Reg, port: Option<Reg>) {
    w.be32(1, which as u32).be32(2, family).be32(3, address.number());
    if let Some(port) = port {
        w.be32(5, port.number());
    }
}

/// A link's name as keys of sets and rules have it.
#[must_use]
pub fn padded_name(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    for (to, from) in padded[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    padded
}

/// A rule that is being written: what has to match comes first, then what is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule(Vec<Expression>);

impl Rule {
    const SCRATCH: Reg = Reg(15);
    /// The first of four registers, for 16 bytes.
    const WIDE: Reg = Reg(8);

    /// A rule that matches everything and does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn expressions(&self) -> &[Expression] {
        &self.0
    }

    /// Adds a step.
    #[must_use]
    pub fn then(mut self, expression: Expression) -> Self {
        self.0.push(expression);
        self
    }

    fn compare(self, reg: Reg, how: Comparison, with: &[u8]) -> Self {
        self.then(Expression::Compare { reg, how, with: with.to_vec() })
    }

    /// Only IPv4.
    #[must_use]
    pub fn ipv4(self) -> Self {
        self.family(2)
    }

    /// Only IPv6.
    #[must_use]
    pub fn ipv6(self) -> Self {
        self.family(10)
    }

    fn family(self, family: u8) -> Self {
        self.then(Expression::Meta { key: Meta::NetworkProtocol, to: Self::SCRATCH }).compare(
            Self::SCRATCH,
            Comparison::Eq,
            &[family],
        )
    }

    /// Only packets of a network's family that come from inside of it.
    #[must_use]
    pub fn from_network(self, net: crate::IpNet) -> Self {
        match net.base() {
            IpAddr::V4(base) => self.ipv4().source(Comparison::Eq, crate::Ipv4Net::new(base, net.prefix())),
            IpAddr::V6(base) => {
                let mask = crate::IpNet::new(Ipv6Addr::from(u128::MAX).into(), net.prefix());
                let IpAddr::V6(mask) = mask.base() else { return self };
                let rule = self.ipv6().then(Expression::Network { offset: 8, len: 16, to: Self::WIDE });
                let rule = rule.then(Expression::And { reg: Self::WIDE, mask: mask.octets().to_vec() });
                rule.compare(Self::WIDE, Comparison::Eq, &base.octets())
            }
        }
    }

    /// Loads the destination address of IPv6, into four registers.
    #[must_use]
    pub fn load_destination_v6(self, to: Reg) -> Self {
        self.then(Expression::Network { offset: 24, len: 16, to })
    }

    /// Only packets of IPv6 that are not for the host's loopback.
    #[must_use]
    pub fn not_to_loopback_v6(self) -> Self {
        let (wide, how) = (Self::WIDE, Comparison::Ne);
        self.load_destination_v6(wide).compare(wide, how, &Ipv6Addr::LOCALHOST.octets())
    }

    /// Does what a verdict map says of the name of the link that a packet came by.
    #[must_use]
    pub fn lookup_input(self, map: &str) -> Self {
        self.lookup_link(Meta::InputName, map)
    }

    /// Does what a verdict map says of the name of the link that a packet leaves by.
    #[must_use]
    pub fn lookup_output(self, map: &str) -> Self {
        self.lookup_link(Meta::OutputName, map)
    }

    fn lookup_link(self, key: Meta, map: &str) -> Self {
        self.then(Expression::Meta { key, to: Self::WIDE })
            .then(Expression::LookupVerdict { map: map.to_owned(), key: Self::WIDE })
    }

    /// Only packets that came by a link whose name is in a set.
    #[must_use]
    pub fn input_in(self, set: &str) -> Self {
        self.link_in(Meta::InputName, set)
    }

    /// Only packets that leave by a link whose name is in a set.
    #[must_use]
    pub fn output_in(self, set: &str) -> Self {
        self.link_in(Meta::OutputName, set)
    }

    fn link_in(self, key: Meta, set: &str) -> Self {
        self.then(Expression::Meta { key, to: Self::WIDE }).then(Expression::Contains {
            set: set.to_owned(),
            key: Self::WIDE,
            inverted: false,
        })
    }

    /// Only this transport protocol.
    #[must_use]
    pub fn transport(self, protocol: u8) -> Self {
        self.then(Expression::Meta { key: Meta::TransportProtocol, to: Self::SCRATCH }).compare(
            Self::SCRATCH,
            Comparison::Eq,
            &[protocol],
        )
    }

    /// Only packets that came by the link of that name.
    #[must_use]
    pub fn input(self, how: Comparison, name: &str) -> Self {
        self.link(Meta::InputName, how, name)
    }

    /// Only packets that came by a link of that group.
    #[must_use]
    pub fn input_group(self, group: u32) -> Self {
        let rule = self.then(Expression::Meta { key: Meta::InputGroup, to: Self::SCRATCH });
        rule.compare(Self::SCRATCH, Comparison::Eq, &group.to_ne_bytes())
    }

    /// Only packets that leave by the link of that name.
    #[must_use]
    pub fn output(self, how: Comparison, name: &str) -> Self {
        self.link(Meta::OutputName, how, name)
    }

    fn link(self, key: Meta, how: Comparison, name: &str) -> Self {
        self.then(Expression::Meta { key, to: Self::WIDE }).compare(Self::WIDE, how, &padded_name(name))
    }

    /// Only packets whose source (`offset` 12) or destination (16) lies inside or outside of a network.
    fn network(self, offset: u32, how: Comparison, net: crate::Ipv4Net) -> Self {
        let rule = self.then(Expression::Network { offset, len: 4, to: Self::SCRATCH });
        let mask = net.mask().octets().to_vec();
        rule.then(Expression::And { reg: Self::SCRATCH, mask }).compare(
            Self::SCRATCH,
            how,
            &net.base().octets(),
        )
    }

    /// Only packets from inside (or, by `Ne`, outside) of a network.
    #[must_use]
    pub fn source(self, how: Comparison, net: crate::Ipv4Net) -> Self {
        self.network(12, how, net)
    }

    /// Only packets to inside (or, by `Ne`, outside) of a network.
    #[must_use]
    pub fn destination(self, how: Comparison, net: crate::Ipv4Net) -> Self {
        self.network(16, how, net)
    }

    /// Only packets to one of the host's own addresses.
    #[must_use]
    pub fn to_host(self) -> Self {
        self.then(Expression::DestinationType { to: Self::SCRATCH }).compare(
            Self::SCRATCH,
            Comparison::Eq,
            &Expression::LOCAL.to_ne_bytes(),
        )
    }

    /// Only packets whose connection has one of these state bits.
    #[must_use]
    pub fn connection_state(self, bits: u32) -> Self {
        self.connection(Ct::State, bits)
    }

    /// Only packets whose connection had its destination translated.
    #[must_use]
    pub fn is_translated(self) -> Self {
        self.connection(Ct::Status, 32)
    }

    fn connection(self, key: Ct, bits: u32) -> Self {
        self.then(Expression::Ct { key, to: Self::SCRATCH })
            .then(Expression::And { reg: Self::SCRATCH, mask: bits.to_ne_bytes().to_vec() })
            .compare(Self::SCRATCH, Comparison::Ne, &[0; 4])
    }

    /// Loads the source address.
    #[must_use]
    pub fn load_source(self, to: Reg) -> Self {
        self.then(Expression::Network { offset: 12, len: 4, to })
    }

    /// Loads the destination address.
    #[must_use]
    pub fn load_destination(self, to: Reg) -> Self {
        self.then(Expression::Network { offset: 16, len: 4, to })
    }

    /// Loads the transport protocol.
    #[must_use]
    pub fn load_transport(self, to: Reg) -> Self {
        self.then(Expression::Meta { key: Meta::TransportProtocol, to })
    }

    /// Loads the destination port.
    #[must_use]
    pub fn load_port(self, to: Reg) -> Self {
        self.then(Expression::Transport { offset: 2, len: 2, to })
    }

    /// Loads a number in the machine's byte order.
    #[must_use]
    pub fn load_u32(self, value: u32, to: Reg) -> Self {
        self.then(Expression::Load { value: value.to_ne_bytes().to_vec(), to })
    }

    /// Loads an address.
    #[must_use]
    pub fn load_ip(self, value: Ipv4Addr, to: Reg) -> Self {
        self.then(Expression::Load { value: value.octets().to_vec(), to })
    }

    /// Ends the packet's way here.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Expression::Verdict(verdict))
    }

    /// Refuses: TCP by a reset.
    #[must_use]
    pub fn reject(self, how: Reject) -> Self {
        self.then(Expression::Reject(how))
    }
}

//! A name server for what this machine knows, and the way to those who know the rest.
//!
//! Owns: the sockets' side of DNS by datagrams and connections, and asking upstream. Does not own: any name; what
//! there is to say is a [`Zone`]'s. Invariant: questions that wait for an upstream are bounded, as are connections.

mod forward;
mod server;

pub use server::{Dns, Sockets, bind};

use hickory_proto::rr::{Name, Record, RecordType};
use std::fmt;
use std::net::SocketAddr;

/// What a server answers from.
pub trait Zone: fmt::Debug + Send + Sync + 'static {
    /// What a name has.
    fn answer(&self, name: &Name, kind: RecordType) -> Answer;

    /// What goes along with an answer without records.
    fn soa(&self) -> Option<Record>;

    /// Who is asked about names that are not ours, in this order.
    fn upstreams(&self) -> Vec<SocketAddr>;
}

/// What a question gets.
#[derive(Debug)]
pub enum Answer {
    /// These.
    Records {
        /// What was asked for.
        answers: Vec<Record>,
        /// What is likely to be asked next.
        additionals: Vec<Record>,
    },
    /// The name exists and has nothing of that type.
    Empty,
    /// There is no such name.
    NoSuchName,
    /// The name is another name's alias, and that is not ours.
    Alias {
        /// What says so.
        record: Box<Record>,
        /// The other name.
        target: Name,
    },
    /// Not ours.
    Elsewhere,
}

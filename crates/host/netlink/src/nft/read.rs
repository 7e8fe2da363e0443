//! The handle on nftables of one namespace: applies batches, reads tables back.

use super::batch::{Batch, Data, HookPoint, Verdict};
use super::{Family, NETFILTER, SUBSYSTEM, kind};
use crate::Result;
use crate::message::Attributes;
use crate::namespace::in_namespace;
use crate::socket::{Socket, broken};
use std::os::fd::BorrowedFd;

const HEADER: [u8; 4] = [Family::Inet as u8, 0, 0, 0];
const HEADER_ANY: [u8; 4] = [0; 4];

/// A handle on nftables of one network namespace.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
}

/// An element as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// What it leads to, in a map.
    pub data: Option<Data>,
}

/// A chain that packets enter by a hook, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// Its table's family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Whether packets that no rule of it decides on are dropped.
    pub drops: bool,
}

impl Nft {
    /// A handle on nftables of the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn open() -> Result<Self> {
        let action = || "open nftables".to_owned();
        let socket = Socket::open(NETFILTER).map_err(|source| broken(&action, source))?;
        socket.enlarge().map_err(|source| broken(&action, source))?;
        Ok(Self { socket })
    }

    /// A handle on nftables of the namespace `fd` refers to.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open_in(fd: BorrowedFd<'_>) -> Result<Self> {
        in_namespace(fd, Self::open)?
    }

    /// Applies a batch as a whole; an empty one does nothing.
    ///
    /// # Errors
    /// The first refusal, naming what was refused; then nothing has changed.
    pub fn commit(&mut self, mut batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, last) = batch.finish();
        let bytes = bytes.to_vec();
        self.socket.batch(&|seq| batch.action(seq), &bytes, 0, last)
    }

    /// The names of all tables of the family inet that begin with `prefix`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn tables(&mut self, prefix: &str) -> Result<Vec<String>> {
        self.socket.dump(
            &|| "list nft tables".to_owned(),
            SUBSYSTEM | kind::GET_TABLE,
            &HEADER,
            |_| (),
            |payload| Attributes(payload.get(4..)?).text(1).filter(|name| name.starts_with(prefix)),
        )
    }

    /// The names of a table's chains.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn chains(&mut self, table: &str) -> Result<Vec<String>> {
        self.socket.dump(
            &|| format!("list chains of nft table {table}"),
            SUBSYSTEM | kind::GET_CHAIN,
            &HEADER,
            |_| (),
            |payload| {
                let attributes = Attributes(payload.get(4..)?);
                attributes.text(3).filter(|_| attributes.text(1).as_deref() == Some(table))
            },
        )
    }

    /// The chains of all tables of IPv4 and IPv6 that packets enter at a point.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn base_chains(&mut self, point: HookPoint) -> Result<Vec<BaseChain>> {
        const POLICY_DROP: u32 = 0;
        self.socket.dump(
            &|| "list nft chains".to_owned(),
            SUBSYSTEM | kind::GET_CHAIN,
            &HEADER_ANY,
            |_| (),
            |payload| {
                let family = match payload.first()? {
                    1 => Family::Inet,
                    2 => Family::Ipv4,
                    10 => Family::Ipv6,
                    _ => return None,
                };
                let attributes = Attributes(payload.get(4..)?);
                attributes.nested(4)?.be32(1).filter(|hook| *hook == point as u32)?;
                let drops = attributes.be32(5) == Some(POLICY_DROP);
                Some(BaseChain { family, table: attributes.text(1)?, name: attributes.text(3)?, drops })
            },
        )
    }

    /// The elements of a set or map.
    ///
    /// # Errors
    /// `ENOENT` if there is no such set.
    pub fn elements(&mut self, table: &str, set: &str) -> Result<Vec<ElementEntry>> {
        let lists = self.socket.dump(
            &|| format!("list set {set} of nft table {table}"),
            SUBSYSTEM | kind::GET_ELEMENT,
            &HEADER,
            |writer| {
                writer.text(1, table).text(2, set);
            },
            |payload| {
                let list = Attributes(payload.get(4..)?).nested(3)?;
                Some(list.iter().filter_map(|(_, element)| parse_element(element)).collect::<Vec<_>>())
            },
        )?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Deletes a table; one that does not exist is no error.
    ///
    /// # Errors
    /// When the kernel refuses for another reason.
    pub fn delete_table(&mut self, table: &str) -> Result<()> {
        let mut batch = Batch::new(table);
        batch.delete_table();
        match self.commit(batch) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// How often any table of the namespace was changed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn generation(&mut self) -> Result<u32> {
        const GET_GENERATION: u16 = 16;
        let action = || "read the generation of nftables".to_owned();
        let answer = self.socket.request(&action, SUBSYSTEM | GET_GENERATION, 0, &HEADER_ANY, |_| ())?;
        Ok(answer.and_then(|payload| Attributes(payload.get(4..)?).be32(1)).unwrap_or(0))
    }
}

fn parse_element(element: &[u8]) -> Option<ElementEntry> {
    let attributes = Attributes(element);
    let key = attributes.nested(1)?.get(1)?.to_vec();
    let data = attributes.nested(2).and_then(|data| {
        if let Some(value) = data.get(1) {
            return Some(Data::Value(value.to_vec()));
        }
        let verdict = data.nested(2)?;
        Verdict::parse(verdict.be32(1)?, verdict.text(2)).map(Data::Verdict)
    });
    Some(ElementEntry { key, data })
}

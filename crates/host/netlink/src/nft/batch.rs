//! A transaction that is being written.

use super::expression::{Reg, Rule};
use super::{Family, SUBSYSTEM, datatype, kind};
use crate::message::Writer;
use std::time::Duration;

const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_CREATE: u16 = 0x400;
const FLAG_EXCL: u16 = 0x200;
const FLAG_APPEND: u16 = 0x800;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// Attributes are at most 64 KiB long; elements beyond that go into a further message.
const ELEMENTS_LEN_MAX: usize = 48 << 10;

const SET_IS_MAP: u32 = 8;
const SET_HAS_TIMEOUT: u32 = 0x10;
const SET_IS_DYNAMIC: u32 = 0x20;

/// Changes of tables, applied together; of one of the family inet, unless it says otherwise.
#[derive(Debug)]
pub struct Batch {
    family: Family,
    table: String,
    writer: Writer,
    /// What each message is about, by its sequence number counted from 1; 0 opens the batch.
    actions: Vec<String>,
    next_set_id: u32,
}

/// What a base chain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookType {
    /// Accepts or refuses.
    Filter,
    /// Sees the first packet of each connection and translates addresses.
    Nat,
}

/// Where packets pass a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// On arrival.
    Prerouting = 0,
    /// On the way to the host itself.
    Input = 1,
    /// On the way through.
    Forward = 2,
    /// From the host itself.
    Output = 3,
    /// Before leaving.
    Postrouting = 4,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it does.
    pub kind: HookType,
    /// Where it sits.
    pub point: HookPoint,
    /// Lower runs earlier.
    pub priority: i32,
}

/// A chain.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where packets enter it, unless only by jumps.
    pub hook: Option<Hook>,
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It ends here.
    Drop,
    /// The rules of that chain follow, then those after this one.
    Jump(String),
    /// The rules of that chain follow instead of those after this one.
    Goto(String),
    /// Back to the chain that jumped here.
    Return,
}

/// What a map leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// Bytes, padded to four for each part of a concatenation.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

/// The data side of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its [`datatype`].
    pub datatype: u32,
    /// Its length in bytes; 0 for verdicts.
    pub len: u32,
}

/// A named set or map.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its key's [`datatype`].
    pub key_type: u32,
    /// Its key's length in bytes.
    pub key_len: u32,
    /// What keys lead to, if it is a map.
    pub map: Option<Map>,
    /// Elements vanish after this time, unless they say otherwise; also lets rules add elements.
    pub timeout: Option<Duration>,
    /// How many elements rules may add.
    pub size: Option<u32>,
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Its key.
    pub key: Vec<u8>,
    /// What it leads to, in a map.
    pub data: Option<Data>,
}

impl Batch {
    /// An empty transaction on `table`.
    #[must_use]
    pub fn new(table: &str) -> Self {
        let mut writer = Writer::default();
        // The header names the subsystem that the batch is for.
        writer.begin(BATCH_BEGIN, FLAG_REQUEST, 0, &[0, 0, 0, 10]);
        let actions = vec![format!("change nft table {table}")];
        Self { family: Family::Inet, table: table.to_owned(), writer, actions, next_set_id: 1 }
    }

    /// What follows is about that table.
    pub fn turn_to(&mut self, family: Family, table: &str) -> &mut Self {
        (self.family, self.table) = (family, table.to_owned());
        self
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.len() == 1
    }

    /// How many messages it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actions.len() - 1
    }

    fn begin(&mut self, kind: u16, flags: u16, action: String) -> &mut Writer {
        let seq = u32::try_from(self.actions.len()).unwrap_or(u32::MAX);
        self.actions.push(action);
        self.writer.begin(SUBSYSTEM | kind, flags | FLAG_REQUEST, seq, &[self.family as u8, 0, 0, 0]);
        &mut self.writer
    }

    fn about(&self, verb: &str, what: &str, name: &str) -> String {
        format!("{verb} {what} {name} of nft table {}", self.table)
    }

    /// Makes the table unless it exists.
    pub fn add_table(&mut self) -> &mut Self {
        let table = self.table.clone();
        self.begin(kind::NEW_TABLE, FLAG_CREATE, format!("create nft table {table}")).text(1, &table);
        self
    }

    /// Deletes the table with all that is in it, if it exists.
    pub fn clear_table(&mut self) -> &mut Self {
        self.add_table().delete_table()
    }

    /// Deletes the table with all that is in it; it has to exist.
    pub fn delete_table(&mut self) -> &mut Self {
        let table = self.table.clone();
        self.begin(kind::DEL_TABLE, 0, format!("delete nft table {table}")).text(1, &table);
        self
    }

    /// Makes a chain unless it exists.
    pub fn add_chain(&mut self, chain: &Chain<'_>) -> &mut Self {
        let (table, action) = (self.table.clone(), self.about("create", "chain", chain.name));
        let writer = self.begin(kind::NEW_CHAIN, FLAG_CREATE, action);
        writer.text(1, &table).text(3, chain.name);
        if let Some(hook) = chain.hook {
            writer.nest(4, |inner| {
                inner.be32(1, hook.point as u32).be32(2, hook.priority.cast_unsigned());
            });
            writer.text(7, if hook.kind == HookType::Nat { "nat" } else { "filter" });
        }
        self
    }

    /// Takes all rules out of a chain.
    pub fn flush_chain(&mut self, name: &str) -> &mut Self {
        let (table, action) = (self.table.clone(), self.about("flush", "chain", name));
        self.begin(kind::DEL_RULE, 0, action).text(1, &table).text(2, name);
        self
    }

    /// Deletes a chain without rules that nothing leads to.
    pub fn delete_chain(&mut self, name: &str) -> &mut Self {
        let (table, action) = (self.table.clone(), self.about("delete", "chain", name));
        self.begin(kind::DEL_CHAIN, 0, action).text(1, &table).text(3, name);
        self
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        let (table, action) = (self.table.clone(), self.about("add a rule to", "chain", chain));
        let writer = self.begin(kind::NEW_RULE, FLAG_CREATE | FLAG_APPEND, action);
        writer.text(1, &table).text(2, chain).nest(4, |inner| {
            for expression in rule.expressions() {
                expression.write(inner);
            }
        });
        self
    }

    /// Makes a set or map unless it exists in the same form.
    pub fn add_set(&mut self, set: &Set<'_>) -> &mut Self {
        let (table, action, id) =
            (self.table.clone(), self.about("create", "set", set.name), self.next_set_id);
        self.next_set_id += 1;
        let mut flags = 0;
        flags |= if set.map.is_some() { SET_IS_MAP } else { 0 };
        flags |= if set.timeout.is_some() { SET_HAS_TIMEOUT | SET_IS_DYNAMIC } else { 0 };
        let writer = self.begin(kind::NEW_SET, FLAG_CREATE, action);
        writer.text(1, &table).text(2, set.name).be32(3, flags).be32(4, set.key_type).be32(5, set.key_len);
        if let Some(map) = set.map {
            writer.be32(6, map.datatype);
            if map.datatype != datatype::VERDICT {
                writer.be32(7, map.len);
            }
        }
        if let Some(size) = set.size {
            writer.nest(9, |desc| {
                desc.be32(1, size);
            });
        }
        writer.be32(10, id);
        if let Some(timeout) = set.timeout {
            writer.be64(11, millis(timeout));
        }
        self
    }

    /// Deletes a set that no rule uses.
    pub fn delete_set(&mut self, name: &str) -> &mut Self {
        let (table, action) = (self.table.clone(), self.about("delete", "set", name));
        self.begin(kind::DEL_SET, 0, action).text(1, &table).text(2, name);
        self
    }

    /// Adds elements; one that exists with other data is an error.
    pub fn add_elements<'e>(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = &'e Element>,
    ) -> &mut Self {
        self.elements(kind::NEW_ELEMENT, FLAG_CREATE | FLAG_EXCL, "add elements to", set, elements)
    }

    /// Deletes elements by their keys; one that does not exist is an error.
    pub fn delete_elements<'e>(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = &'e Element>,
    ) -> &mut Self {
        self.elements(kind::DEL_ELEMENT, 0, "delete elements from", set, elements)
    }

    /// Takes all elements out of a set.
    pub fn flush_set(&mut self, name: &str) -> &mut Self {
        let (table, action) = (self.table.clone(), self.about("flush", "set", name));
        self.begin(kind::DEL_ELEMENT, 0, action).text(1, &table).text(2, name);
        self
    }

    fn elements<'e>(
        &mut self,
        kind: u16,
        flags: u16,
        verb: &str,
        set: &str,
        elements: impl IntoIterator<Item = &'e Element>,
    ) -> &mut Self {
        let is_delete = kind == kind::DEL_ELEMENT;
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            let (table, action) = (self.table.clone(), self.about(verb, "set", set));
            let writer = self.begin(kind, flags, action);
            writer.text(1, &table).text(2, set).nest(3, |list| {
                while list.message_len() < ELEMENTS_LEN_MAX {
                    let Some(element) = elements.next() else { break };
                    list.nest(1, |item| write_element(item, element, is_delete));
                }
            });
        }
        self
    }

    /// The bytes to send, with `base` added to each sequence number, and the last number.
    pub(crate) fn finish(&mut self) -> (&[u8], u32) {
        let last = u32::try_from(self.actions.len() - 1).unwrap_or(u32::MAX);
        self.writer.add_flags(FLAG_ACK);
        self.writer.begin(BATCH_END, FLAG_REQUEST, last + 1, &[0, 0, 0, 10]);
        (self.writer.as_bytes(), last)
    }

    pub(crate) fn action(&self, seq: u32) -> String {
        self.actions.get(seq as usize).unwrap_or(&self.actions[0]).clone()
    }
}

fn write_element(writer: &mut Writer, element: &Element, is_delete: bool) {
    writer.nest(1, |key| {
        key.bytes(1, &element.key);
    });
    match &element.data {
        Some(data) if !is_delete => {
            writer.nest(2, |inner| data.write(inner));
        }
        _ => {}
    }
}

impl Data {
    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Value(value) => {
                writer.bytes(1, value);
            }
            Self::Verdict(verdict) => {
                writer.nest(2, |inner| verdict.write(inner));
            }
        }
    }
}

impl Verdict {
    const ACCEPT: i32 = 1;
    const DROP: i32 = 0;
    const JUMP: i32 = -3;
    const GOTO: i32 = -4;
    const RETURN: i32 = -5;

    fn write(&self, writer: &mut Writer) {
        let (code, chain) = match self {
            Self::Accept => (Self::ACCEPT, None),
            Self::Drop => (Self::DROP, None),
            Self::Jump(chain) => (Self::JUMP, Some(chain)),
            Self::Goto(chain) => (Self::GOTO, Some(chain)),
            Self::Return => (Self::RETURN, None),
        };
        writer.be32(1, code.cast_unsigned());
        if let Some(chain) = chain {
            writer.text(2, chain);
        }
    }

    pub(crate) fn parse(code: u32, chain: Option<String>) -> Option<Self> {
        match (code.cast_signed(), chain) {
            (Self::ACCEPT, None) => Some(Self::Accept),
            (Self::DROP, None) => Some(Self::Drop),
            (Self::RETURN, None) => Some(Self::Return),
            (Self::JUMP, Some(chain)) => Some(Self::Jump(chain)),
            (Self::GOTO, Some(chain)) => Some(Self::Goto(chain)),
            _ => None,
        }
    }
}

impl Element {
    /// A key alone, for a set.
    #[must_use]
    pub fn key(key: Vec<u8>) -> Self {
        Self { key, data: None }
    }

    /// A key that leads to bytes.
    #[must_use]
    pub fn value(key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { key, data: Some(Data::Value(value)) }
    }

    /// A key that leads to a verdict.
    #[must_use]
    pub fn verdict(key: Vec<u8>, verdict: Verdict) -> Self {
        Self { key, data: Some(Data::Verdict(verdict)) }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Reg {
    /// The kernel's number of the register: the first of the 32-bit ones is 8.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::VERDICT => 0,
            Self(index) => 8 + u32::from(index),
        }
    }
}

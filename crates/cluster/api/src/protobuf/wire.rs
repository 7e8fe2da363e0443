//! The wire form of protobuf: tags, varints and lengths, read never past the end of what was sent, and written.

use hako_error::{Classify, Kind};

/// How deep groups, which no Kubernetes message has, may nest before skipping them is given up.
const GROUP_DEPTH_LIMIT: usize = 16;

/// Why bytes are no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("it ends in the middle of a number")]
    TruncatedVarint,
    #[error("a number has more than 64 bits")]
    LongVarint,
    #[error("a field of {length} bytes has {left} left")]
    TruncatedField { length: u64, left: usize },
    #[error("field number {0} is none")]
    Number(u64),
    #[error("wire type {0} is none")]
    Type(u64),
    #[error("a group does not end where it should")]
    Group,
}

impl Classify for WireError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// The content of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed64(u64),
    /// Shorter fixed numbers and groups: no field of the table has them.
    Other,
}

/// A message that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and content, none at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, WireError> {
        if self.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        let content = match kind {
            3 => {
                self.skip_group(number)?;
                Wire::Other
            }
            4 => return Err(WireError::Group),
            kind => self.content(kind)?,
        };
        Ok(Some((number, content)))
    }

    /// A number of up to 64 bits, seven a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::TruncatedVarint)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(WireError::LongVarint);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(WireError::LongVarint)
    }

    fn tag(&mut self) -> Result<(u32, u64), WireError> {
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number) if number > 0 && number < 1 << 29 => Ok((number, tag & 7)),
            _ => Err(WireError::Number(tag >> 3)),
        }
    }

    fn content(&mut self, kind: u64) -> Result<Wire<'a>, WireError> {
        match kind {
            0 => self.varint().map(Wire::Varint),
            1 => {
                let bytes = self.take(8)?;
                Ok(Wire::Fixed64(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))))
            }
            2 => {
                let length = self.varint()?;
                self.take(length).map(Wire::Bytes)
            }
            5 => self.take(4).map(|_| Wire::Other),
            kind => Err(WireError::Type(kind)),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let left = self.rest.len();
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.ok_or(WireError::TruncatedField { length, left })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Skips to the end of a group that has begun, with a stack of its own instead of the thread's.
    fn skip_group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            match self.tag()? {
                (number, 3) if open.len() < GROUP_DEPTH_LIMIT => open.push(number),
                (number, 4) if number == innermost => {
                    open.pop();
                }
                (_, 3 | 4) => return Err(WireError::Group),
                (_, kind) => {
                    self.content(kind)?;
                }
            }
        }
        Ok(())
    }
}

/// Appends a number of up to 64 bits.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes a number takes.
pub(super) fn varint_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a field's number and wire type.
pub(super) fn put_tag(out: &mut Vec<u8>, number: u32, kind: u32) {
    put_varint(out, u64::from(number << 3 | kind));
}

/// Appends a field of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

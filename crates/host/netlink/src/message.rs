//! Netlink messages and their attributes: a writer and a reader.
//!
//! ```text
//! | len u32 | type u16 | flags u16 | seq u32 | port u32 | family header | attribute… |
//! attribute = | len u16 | type u16 | payload | padding to 4 |
//! ```

use std::net::Ipv4Addr;

/// Length of the header that opens each message.
pub(crate) const HEADER_LEN: usize = 16;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// One or more messages that are being written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    buf: Vec<u8>,
    start: usize,
}

impl Writer {
    /// Begins a message; `header` is what the protocol family wants before the attributes.
    pub(crate) fn begin(&mut self, kind: u16, flags: u16, seq: u32, header: &[u8]) {
        self.start = self.buf.len();
        self.buf.extend(0_u32.to_ne_bytes());
        self.buf.extend(kind.to_ne_bytes());
        self.buf.extend(flags.to_ne_bytes());
        self.buf.extend(seq.to_ne_bytes());
        self.buf.extend(0_u32.to_ne_bytes());
        self.buf.extend(header);
        self.close();
    }

    /// Sets further flags of the message that was begun last.
    pub(crate) fn add_flags(&mut self, flags: u16) {
        let at = self.start + 6;
        let old = u16::from_ne_bytes([self.buf[at], self.buf[at + 1]]);
        self.buf[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    /// Keeps the message's length in step; every writing method ends with it.
    fn close(&mut self) {
        while !self.buf.len().is_multiple_of(4) {
            self.buf.push(0);
        }
        let len = u32::try_from(self.buf.len() - self.start).unwrap_or(u32::MAX);
        self.buf[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    pub(crate) fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let len = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        self.buf.extend(len.to_ne_bytes());
        self.buf.extend(kind.to_ne_bytes());
        self.buf.extend(payload);
        self.close();
        self
    }

    /// A text with its closing zero byte.
    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let len = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
        self.buf.extend(len.to_ne_bytes());
        self.buf.extend(kind.to_ne_bytes());
        self.buf.extend(text.as_bytes());
        self.buf.push(0);
        self.close();
        self
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// In network order, as netfilter wants numbers.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn ip(&mut self, kind: u16, value: Ipv4Addr) -> &mut Self {
        self.bytes(kind, &value.octets())
    }

    /// Attributes inside an attribute.
    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest_raw(kind | NESTED, inner)
    }

    /// As [`Self::nest`], without the flag that old families do not know.
    pub(crate) fn nest_raw(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.buf.len();
        self.buf.extend(0_u16.to_ne_bytes());
        self.buf.extend(kind.to_ne_bytes());
        inner(self);
        let len = u16::try_from(self.buf.len() - at).unwrap_or(u16::MAX);
        self.buf[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        self.close();
        self
    }

    /// Bytes that are no attribute, such as the header of a veth's peer.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buf.extend(bytes);
        self.close();
        self
    }

    /// How many bytes the message that was begun last has so far.
    pub(crate) fn message_len(&self) -> usize {
        self.buf.len() - self.start
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.buf
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) payload: &'a [u8],
}

/// Splits what one read brought into messages; a torn one ends it.
pub(crate) fn messages(mut buf: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(buf, 0)? as usize;
        if len < HEADER_LEN || len > buf.len() {
            return None;
        }
        let message = Message {
            kind: u16_at(buf, 4)?,
            flags: u16_at(buf, 6)?,
            seq: u32_at(buf, 8)?,
            payload: &buf[HEADER_LEN..len],
        };
        buf = buf.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The attributes of a message or of an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut buf = self.0;
        std::iter::from_fn(move || {
            let len = usize::from(u16_at(buf, 0)?);
            if len < 4 || len > buf.len() {
                return None;
            }
            let item = (u16_at(buf, 2)? & TYPE_MASK, &buf[4..len]);
            buf = buf.get(len.next_multiple_of(4)..).unwrap_or(&[]);
            Some(item)
        })
    }

    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == kind).map(|(_, payload)| payload)
    }

    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Attributes)
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let payload = self.get(kind)?;
        let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
        Some(String::from_utf8_lossy(&payload[..end]).into_owned())
    }

    pub(crate) fn u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        u32_at(self.get(kind)?, 0)
    }

    pub(crate) fn be16(self, kind: u16) -> Option<u16> {
        u16_at(self.get(kind)?, 0).map(u16::from_be)
    }

    pub(crate) fn be32(self, kind: u16) -> Option<u32> {
        u32_at(self.get(kind)?, 0).map(u32::from_be)
    }

    pub(crate) fn ip(self, kind: u16) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.get(kind)?.try_into().ok()?;
        Some(octets.into())
    }
}

pub(crate) fn u16_at(buf: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*buf.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(buf: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*buf.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer.begin(7, 1, 42, &[9, 0, 0, 0]);
        writer.text(1, "abc").nest(2, |writer| {
            writer.be32(1, 5).ip(3, Ipv4Addr::new(1, 2, 3, 4));
        });
        writer.begin(8, 0, 43, &[]);
        let all: Vec<_> = messages(writer.as_bytes()).collect();
        assert_eq!((all.len(), all[0].kind, all[0].seq, all[1].kind), (2, 7, 42, 8));
        let attributes = Attributes(&all[0].payload[4..]);
        assert_eq!(attributes.text(1).as_deref(), Some("abc"));
        let nested = attributes.nested(2).unwrap();
        assert_eq!((nested.be32(1), nested.ip(3)), (Some(5), Some(Ipv4Addr::new(1, 2, 3, 4))));
    }

    #[test]
    fn torn_input_ends_the_iteration() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(messages(&[255; 64]).count(), 0);
        assert_eq!(Attributes(&[200, 0, 1, 0, 5]).iter().count(), 0);
        assert_eq!(Attributes(&[0; 16]).iter().count(), 0);
    }
}

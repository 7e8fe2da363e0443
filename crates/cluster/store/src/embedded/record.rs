//! One record of the log: what a revision did to a key.
//!
//! ```text
//! | kind 1 | created 8 | lease 8 | unix ms 8 | key length 4 | key | value |     integers big endian
//! ```
//! The buffer that goes to the database is the one that readers share: an entry's key and value are slices of it,
//! which also keeps an entry from pinning a larger buffer of its writer.

use bytes::{BufMut, Bytes, BytesMut};

use super::log::LogError;
use crate::types::{Entry, EventKind, LeaseId, Revision};

const HEAD: usize = 29;

/// What a revision did.
#[derive(Debug)]
pub struct Record {
    pub kind: EventKind,
    pub entry: Entry,
    pub at_ms: u64,
}

/// Encodes a record and returns it together with the entry that shares its bytes.
pub fn encode(
    kind: EventKind,
    key: &[u8],
    value: &[u8],
    created: Revision,
    modified: Revision,
    lease: Option<LeaseId>,
    at_ms: u64,
) -> (Bytes, Entry) {
    let mut buffer = BytesMut::with_capacity(HEAD + key.len() + value.len());
    buffer.put_u8(match kind {
        EventKind::Put => 1,
        EventKind::Delete => 2,
    });
    buffer.put_u64(created.0);
    buffer.put_u64(lease.map_or(0, |lease| lease.0));
    buffer.put_u64(at_ms);
    buffer.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
    buffer.put_slice(key);
    buffer.put_slice(value);
    let bytes = buffer.freeze();
    let entry = Entry {
        key: bytes.slice(HEAD..HEAD + key.len()),
        value: bytes.slice(HEAD + key.len()..),
        created,
        modified,
        lease,
    };
    (bytes, entry)
}

/// Decodes the record of `revision`.
pub fn decode(revision: Revision, bytes: &[u8]) -> Result<Record, LogError> {
    let damaged = || LogError::Damaged(format!("record {revision} of {} bytes makes no sense", bytes.len()));
    let (head, body) = bytes.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
    let kind = match head[0] {
        1 => EventKind::Put,
        2 => EventKind::Delete,
        _ => return Err(damaged()),
    };
    let key_len = u32::from_be_bytes([head[25], head[26], head[27], head[28]]) as usize;
    if key_len > body.len() {
        return Err(damaged());
    }
    let body = Bytes::copy_from_slice(body);
    let lease = integer(head, 9);
    Ok(Record {
        kind,
        entry: Entry {
            key: body.slice(..key_len),
            value: body.slice(key_len..),
            created: Revision(integer(head, 1)),
            modified: revision,
            lease: (lease != 0).then_some(LeaseId(lease)),
        },
        at_ms: integer(head, 17),
    })
}

fn integer(head: &[u8; HEAD], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[at..at + 8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_round_trip() {
        let (bytes, entry) =
            encode(EventKind::Put, b"key", b"value", Revision(3), Revision(9), Some(LeaseId(7)), 1234);
        let record = decode(Revision(9), &bytes).unwrap();
        assert_eq!((record.kind, &record.entry, record.at_ms), (EventKind::Put, &entry, 1234));
    }

    #[test]
    fn a_cut_record_is_damage() {
        let (bytes, _) = encode(EventKind::Put, b"key", b"", Revision(1), Revision(1), None, 0);
        for cut in 0..bytes.len() {
            assert!(matches!(decode(Revision(1), &bytes[..cut]), Err(LogError::Damaged(_))));
        }
    }
}

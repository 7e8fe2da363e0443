//! Objects that are about to change, and apart from them who owns what.
//!
//! That has as many nodes as the object itself, and nobody reads it but whoever keeps it: as text it is neither built up,
//! copied nor taken down with the object. Who is asked about a write sees it where it belongs ([`Record::put`]).

use bytes::Bytes;
use hako_store::Entry;
use serde_json::Value;

use super::convert;
use super::encoded::{decode_apart, encode_with};
use crate::http::Outcome;
use crate::kinds::Served;
use crate::patch::apply::Record;
use crate::server::Inner;

/// An object as it is before it changes, with its version.
#[derive(Debug)]
pub(super) struct Old {
    pub object: Value,
    pub record: Record,
}

impl Old {
    /// Decodes a stored object, which is in the version of the kind.
    pub(super) fn decode(row: &Served, entry: &Entry) -> Outcome<Self> {
        let (object, record) = decode_apart(row, entry)?;
        Ok(Self { object, record })
    }

    /// All of it.
    pub(super) fn whole(&self) -> Value {
        self.record.with(&self.object)
    }
}

/// Encodes an object of a kind for the store, in the version in which it is kept, with who owns what of it.
pub(super) async fn encode_kept(
    server: &Inner,
    row: &Served,
    object: &mut Value,
    record: &Record,
) -> Outcome<Bytes> {
    let strategy = row.strategy();
    let is_of_other = || strategy.kept_version().is_some_and(|kept| kept != row.api_version());
    if strategy.converter().is_some() && is_of_other() {
        record.put(object);
        return convert::encode_kept(server, row, object).await;
    }
    encode_with(row, object, record)
}

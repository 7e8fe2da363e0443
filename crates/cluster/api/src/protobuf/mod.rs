//! Objects in protobuf, as client-go's typed clients send and ask for them.
//!
//! Owns: the envelope, the wire form and the tables of fields; a body comes out as the JSON it would have been, an answer
//! is made of the JSON that it would be.
//! Does not own: which form a client is answered in (`http`), and what an object means.
//!
//! Invariant: nothing is read past a length, nothing recurs deeper than the tables, fields not in them are skipped.
//!
//! ```text
//! "k8s\0" ─► { 1: { 1: apiVersion, 2: kind }, 2: raw, 3: contentEncoding, 4: contentType }
//!                                               └─► message of the kind ─► JSON
//! ```

mod answer;
mod decode;
mod dump;
mod encode;
mod fields;
#[cfg(test)]
mod tests;
mod wire;
mod zeros;

use hako_error::{Classify, Kind};
use serde_json::Value;

pub use answer::converted;
pub(crate) use answer::{ListParts, Typed, frame};
pub(crate) use dump::{Layout, dump};
pub use wire::WireError;
use wire::{Reader, Wire};
pub(crate) use zeros::note as note_zeros;

/// The media type of these bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// That of watches.
pub(crate) const STREAM_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// Whether bytes have the envelope.
pub(crate) fn is_enveloped(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

const MAGIC: &[u8] = b"k8s\0";

/// Why a body is no object in protobuf.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// No envelope.
    #[error("the body does not begin with the envelope of Kubernetes protobuf")]
    Envelope,
    /// Content in another encoding.
    #[error("the body's content has the encoding {encoding:?} and the type {media:?}; send plain protobuf")]
    Content { encoding: String, media: String },
    /// A kind without a table of fields.
    #[error("no kind {kind:?} of {api_version:?} is known in protobuf; send JSON")]
    UnknownKind { api_version: String, kind: String },
    /// No fields and lengths.
    #[error("the body is no protobuf: {0}")]
    Wire(#[from] WireError),
    /// Too deep.
    #[error("the body nests deeper than {limit} messages")]
    Depth { limit: usize },
    /// A field of another wire type.
    #[error("field {field} has content of another type")]
    Mismatch { field: &'static str },
    /// A text that is none.
    #[error("field {field} is no UTF-8")]
    Text { field: &'static str },
    /// A time beyond all times.
    #[error("field {field} is out of range of times")]
    Time { field: &'static str },
    /// JSON in a field that is none.
    #[error("field {field} is no JSON: {source}")]
    Json { field: &'static str, source: serde_json::Error },
}

/// An object is not what its kind says.
#[derive(Debug, thiserror::Error)]
#[error("{kind} of {api_version} cannot be written in protobuf: {source}; ask for JSON")]
pub struct EncodeError {
    /// The object's `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Where it differs.
    #[source]
    pub source: serde_json::Error,
}

impl Classify for EncodeError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

impl Classify for ProtobufError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// What is around an object.
#[derive(Debug, Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    encoding: String,
    media: String,
}

/// Decodes an object with its envelope.
///
/// # Errors
/// See [`ProtobufError`].
pub fn object(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = Envelope::read(body.strip_prefix(MAGIC).ok_or(ProtobufError::Envelope)?)?;
    let Envelope { api_version, kind, raw, encoding, media } = envelope;
    if !encoding.is_empty() || !matches!(media.as_str(), "" | MEDIA_TYPE) {
        return Err(ProtobufError::Content { encoding, media });
    }
    let of_items = || kind.strip_suffix("List").and_then(|kind| fields::of(&api_version, kind));
    let mut object = if let Some(message) = fields::of(&api_version, &kind) {
        decode::object(message, raw)?
    } else if let Some(message) = of_items() {
        decode::list(message, raw)?
    } else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let (mut envelope, mut reader) = (Self::default(), Reader::new(bytes));
        while let Some(field) = reader.field()? {
            match field {
                (1, Wire::Bytes(bytes)) => envelope.read_type(bytes)?,
                (2, Wire::Bytes(bytes)) => envelope.raw = bytes,
                (3, Wire::Bytes(bytes)) => envelope.encoding = text("contentEncoding", bytes)?,
                (4, Wire::Bytes(bytes)) => envelope.media = text("contentType", bytes)?,
                (1..=4, _) => return Err(ProtobufError::Envelope),
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field {
                (1, Wire::Bytes(bytes)) => self.api_version = text("apiVersion", bytes)?,
                (2, Wire::Bytes(bytes)) => self.kind = text("kind", bytes)?,
                (1..=2, _) => return Err(ProtobufError::Envelope),
                _ => {}
            }
        }
        Ok(())
    }
}

fn text(field: &'static str, bytes: &[u8]) -> Result<String, ProtobufError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ProtobufError::Text { field })
}

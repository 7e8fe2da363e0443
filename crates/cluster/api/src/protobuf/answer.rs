//! Answers: objects with their envelope, lists, and the frames of watches.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{self, Message};
use super::wire::{put_bytes, put_tag, put_varint, varint_length};
use super::{EncodeError, MAGIC, encode};

/// Encoding and type of the content, which are empty.
const END: &[u8] = &[0x1a, 0, 0x22, 0];
const PARTIAL: &str = "PartialObjectMetadata";

/// A kind that has a message.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    api_version: String,
    kind: String,
    message: &'static Message,
}

impl Typed {
    /// The kind, if it has a form in protobuf.
    pub(crate) fn of(api_version: &str, kind: &str) -> Option<Self> {
        let message = fields::of(api_version, kind)?;
        Some(Self { api_version: api_version.to_owned(), kind: kind.to_owned(), message })
    }

    /// The metadata of objects of any kind.
    pub(crate) fn partial(api_version: &str) -> Self {
        Self { api_version: api_version.to_owned(), kind: PARTIAL.to_owned(), message: fields::PARTIAL }
    }

    /// The object with its envelope.
    ///
    /// # Errors
    /// It is not what its kind says.
    pub(crate) fn object(&self, text: &[u8]) -> Result<Vec<u8>, EncodeError> {
        Ok(enveloped(&self.api_version, &self.kind, &self.message(text)?))
    }

    fn message(&self, text: &[u8]) -> Result<Vec<u8>, EncodeError> {
        message(self.message, text).map_err(|source| EncodeError {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            source,
        })
    }
}

/// A list, part by part: its length comes first.
#[derive(Debug)]
pub(crate) struct ListParts {
    typed: Typed,
    metadata: Vec<u8>,
    length: usize,
}

impl ListParts {
    /// A list without items.
    ///
    /// # Errors
    /// Its metadata are none of a list.
    pub(crate) fn new(typed: Typed, metadata: &[u8]) -> Result<Self, EncodeError> {
        let metadata = message(fields::LIST_META, metadata).map_err(|source| EncodeError {
            api_version: typed.api_version.clone(),
            kind: format!("{}List", typed.kind),
            source,
        })?;
        let mut field = Vec::with_capacity(metadata.len() + 8);
        put_bytes(&mut field, 1, &metadata);
        Ok(Self { typed, length: field.len(), metadata: field })
    }

    /// Writes an item as its list has it.
    ///
    /// # Errors
    /// It is not what its kind says.
    pub(crate) fn item(&self, text: &[u8]) -> Result<Vec<u8>, EncodeError> {
        let message = self.typed.message(text)?;
        let mut item = Vec::with_capacity(message.len() + 8);
        put_bytes(&mut item, 2, &message);
        Ok(item)
    }

    /// Counts an item in that is going to be in the list.
    pub(crate) fn count(&mut self, item: &[u8]) {
        self.length += item.len();
    }

    /// All before the first item.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = start(&self.typed.api_version, &format!("{}List", self.typed.kind));
        put_tag(&mut head, 2, 2);
        put_varint(&mut head, self.length as u64);
        head.extend_from_slice(&self.metadata);
        head
    }

    /// All after the last item.
    pub(crate) fn end() -> &'static [u8] {
        END
    }
}

/// An event of a watch: the length of its message in four bytes, the highest first, and the message, which has no envelope.
/// The object in it has one.
pub(crate) fn frame(told: &str, object: &[u8]) -> Vec<u8> {
    let raw = 1 + varint_length(object.len() as u64) + object.len();
    let mut frame = vec![0; 4];
    frame.reserve(raw + told.len() + 16);
    put_bytes(&mut frame, 1, told.as_bytes());
    put_tag(&mut frame, 2, 2);
    put_varint(&mut frame, raw as u64);
    put_bytes(&mut frame, 1, object);
    // INVARIANT: no object is near four gigabytes.
    let length = u32::try_from(frame.len() - 4).unwrap_or_default();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// What an answer in JSON says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ListText<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// The message, with its envelope, of an object or a list in JSON; none of what has no such form.
///
/// # Errors
/// It is not what its kind says.
pub fn converted(text: &[u8]) -> Result<Option<Vec<u8>>, EncodeError> {
    let Ok(Head { api_version, kind }) = serde_json::from_slice(text) else { return Ok(None) };
    // The oldest documents of discovery do not say it.
    let api_version = if api_version.is_empty() { Cow::from("v1") } else { api_version };
    if let Some(typed) = Typed::of(&api_version, &kind) {
        return typed.object(text).map(Some);
    }
    let of_items = kind.strip_suffix("List").and_then(|kind| Typed::of(&api_version, kind));
    let Some((typed, list)) = of_items.zip(serde_json::from_slice::<ListText<'_>>(text).ok()) else {
        return Ok(None);
    };
    let mut parts = ListParts::new(typed, list.metadata.get().as_bytes())?;
    let items =
        list.items.iter().map(|item| parts.item(item.get().as_bytes())).collect::<Result<Vec<_>, _>>()?;
    items.iter().for_each(|item| parts.count(item));
    Ok(Some([parts.head(), items.concat(), END.to_vec()].concat()))
}

fn message(message: &'static Message, text: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    encode::object(message, text, &mut out)?;
    Ok(out)
}

/// What stands before the content.
fn start(api_version: &str, kind: &str) -> Vec<u8> {
    let mut names = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(&mut names, 1, api_version.as_bytes());
    put_bytes(&mut names, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    put_bytes(&mut out, 1, &names);
    out
}

fn enveloped(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = start(api_version, kind);
    out.reserve(message.len() + 16);
    put_bytes(&mut out, 2, message);
    out.extend_from_slice(END);
    out
}

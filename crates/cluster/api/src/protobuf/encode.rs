//! From the JSON of an object to its message.
//!
//! Bytes are those that gogo/protobuf's generated marshalers write (proto2): fields ascend by number, the entries of maps
//! by key, and whatever is no pointer in Go is written even where it is zero.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Field, Kind, Message, Or, Presence, Shape};
use super::wire::{put_bytes, put_tag, put_varint};

const NANOS: i128 = 1_000_000_000;

/// Appends the message of an object, whose members that are not in the message are left out.
pub(super) fn object(message: &'static Message, text: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut parts = Parts::new(message);
    let mut reader = serde_json::Deserializer::from_slice(text);
    Members(&mut parts).deserialize(&mut reader)?;
    reader.end()?;
    parts.write(out);
    Ok(())
}

/// What JSON says of a message: contents in the order of JSON, which [`Parts::write`] brings into that of the numbers.
struct Parts {
    message: &'static Message,
    content: Vec<u8>,
    slots: Vec<Slot>,
    /// Of messages whose fields are the parent's own in JSON: by their place.
    inline: Vec<(usize, Parts)>,
}

/// One content.
struct Slot {
    /// The place of its field in the message.
    field: usize,
    start: usize,
    end: usize,
}

/// Where a member of JSON belongs.
struct Found {
    field: usize,
    /// Within a message whose fields are the parent's own.
    inner: Option<Box<Found>>,
}

fn find(message: &Message, name: &str) -> Option<Found> {
    message.fields.iter().enumerate().find_map(|(at, field)| match field.shape {
        Shape::Inline(inner) => {
            find(inner, name).map(|found| Found { field: at, inner: Some(Box::new(found)) })
        }
        _ => (field.name == name).then_some(Found { field: at, inner: None }),
    })
}

impl Parts {
    fn new(message: &'static Message) -> Self {
        Self { message, content: Vec::new(), slots: Vec::new(), inline: Vec::new() }
    }

    fn inlined(&mut self, at: usize, message: &'static Message) -> &mut Self {
        let known = self.inline.iter().position(|(place, _)| *place == at);
        let place = known.unwrap_or_else(|| {
            self.inline.push((at, Self::new(message)));
            self.inline.len() - 1
        });
        &mut self.inline[place].1
    }

    /// Reads the next value of a JSON object, which is that of a field.
    fn read<'de, A: MapAccess<'de>>(&mut self, found: &Found, map: &mut A) -> Result<(), A::Error> {
        let at = found.field;
        let field: &'static Field = &self.message.fields[at];
        if let (Shape::Inline(inner), Some(found)) = (field.shape, found.inner.as_deref()) {
            return self.inlined(at, inner).read(found, map);
        }
        map.next_value_seed(Member { parts: self, at, field })
    }

    /// Writes one content by way of `write`, which says whether there is one.
    fn push<E>(
        &mut self,
        field: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = self.content.len();
        if write(&mut self.content)? {
            self.slots.push(Slot { field, start, end: self.content.len() });
        } else {
            self.content.truncate(start);
        }
        Ok(())
    }

    fn write(mut self, out: &mut Vec<u8>) {
        self.slots.sort_by_key(|slot| slot.field);
        let mut slots = self.slots.iter().peekable();
        for (at, field) in self.message.fields.iter().enumerate() {
            let kind = match field.shape {
                Shape::One(kind) | Shape::List(kind) => kind,
                // An entry is a message.
                Shape::Map(_) => Kind::Bytes,
                Shape::Inline(inner) => {
                    let known = self.inline.iter().position(|(place, _)| *place == at);
                    let parts = known.map(|place| self.inline.swap_remove(place).1);
                    let mut content = Vec::new();
                    parts.unwrap_or_else(|| Self::new(inner)).write(&mut content);
                    put_bytes(out, field.number, &content);
                    continue;
                }
            };
            let mut is_there = false;
            while let Some(slot) = slots.next_if(|slot| slot.field == at) {
                put(out, field.number, kind, &self.content[slot.start..slot.end]);
                is_there = true;
            }
            if !is_there && is_written(field, kind) {
                let mut zero = Vec::new();
                zero_into(kind, &mut zero);
                put(out, field.number, kind, &zero);
            }
        }
    }
}

/// Whether a field that is absent in JSON is there as a zero. Bytes and lists are not: they are nil in Go.
fn is_written(field: &Field, kind: Kind) -> bool {
    let is_one = matches!(field.shape, Shape::One(_));
    is_one && field.presence != Presence::Nullable && !matches!(kind, Kind::Bytes | Kind::Texts)
}

fn put(out: &mut Vec<u8>, number: u32, kind: Kind, content: &[u8]) {
    match kind {
        Kind::Int | Kind::Flag => {
            put_tag(out, number, 0);
            out.extend_from_slice(content);
        }
        Kind::Double => {
            put_tag(out, number, 1);
            out.extend_from_slice(content);
        }
        _ => put_bytes(out, number, content),
    }
}

fn zero_into(kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Int | Kind::Flag => out.push(0),
        Kind::IntOrText => int_or_text(out, false, 0, ""),
        Kind::Quantity => put_bytes(out, 1, b"0"),
        Kind::Message(message) => Parts::new(message).write(out),
        Kind::Double => out.extend_from_slice(&[0; 8]),
        Kind::SchemaOr(Or::Flag, _) => put(out, 1, Kind::Flag, &[0]),
        Kind::Text | Kind::Bytes | Kind::Time | Kind::MicroTime | Kind::Json | Kind::Texts => {}
        Kind::SchemaOr(Or::List | Or::Texts, _) => {}
    }
}

/// Type (0 number, 1 text), number, text; all of them always.
fn int_or_text(out: &mut Vec<u8>, is_text: bool, number: i64, text: &str) {
    put_tag(out, 1, 0);
    out.push(u8::from(is_text));
    put_tag(out, 2, 0);
    put_varint(out, number.cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
}

/// The members of a JSON object, as parts of a message. Null has none.
struct Members<'p>(&'p mut Parts);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(found) = map.next_key_seed(Name(self.0.message))? {
            match found {
                Some(found) => self.0.read(&found, &mut map)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(true)
    }
}

/// The name of a member.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<Found>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<Found>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(find(self.0, name))
    }
}

/// The value of a member.
struct Member<'p> {
    parts: &'p mut Parts,
    at: usize,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.shape {
            Shape::One(kind) => {
                let field = self.field.name;
                self.parts.push(self.at, |out| One { kind, field, out }.deserialize(deserializer))
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = if matches!(self.field.shape, Shape::List(_)) { "a list" } else { "an object" };
        write!(f, "{wanted} in field {}", self.field.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Shape::List(kind) = self.field.shape else {
            return Err(A::Error::custom(format!("field {} has a list", self.field.name)));
        };
        let (field, mut goes_on) = (self.field.name, true);
        while goes_on {
            self.parts.push(self.at, |out| {
                let start = out.len();
                let item = list.next_element_seed(One { kind, field, out })?;
                goes_on = item.is_some();
                if item == Some(false) {
                    out.truncate(start);
                    zero_into(kind, out);
                }
                Ok(goes_on)
            })?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Shape::Map(kind) = self.field.shape else {
            return Err(A::Error::custom(format!("field {} has an object", self.field.name)));
        };
        let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let (mut value, mut entry) = (Vec::new(), Vec::new());
            let is_there = map.next_value_seed(One { kind, field: self.field.name, out: &mut value })?;
            put_bytes(&mut entry, 1, key.as_bytes());
            if !is_there {
                value.clear();
                zero_into(kind, &mut value);
            }
            put(&mut entry, 2, kind, &value);
            entries.push((key, entry));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        for (_, entry) in entries {
            self.parts.push(self.at, |out| {
                out.extend_from_slice(&entry);
                Ok(true)
            })?;
        }
        Ok(())
    }
}

/// One content, appended to `out`. Null is none.
struct One<'o> {
    kind: Kind,
    field: &'static str,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        match self.kind {
            Kind::Json => {
                let text = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
                if text != "null" {
                    put_bytes(self.out, 1, text.as_bytes());
                }
                Ok(text != "null")
            }
            Kind::Message(message) => {
                let mut parts = Parts::new(message);
                let is_there = Members(&mut parts).deserialize(deserializer)?;
                if is_there {
                    parts.write(self.out);
                }
                Ok(is_there)
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl One<'_> {
    fn fault<E: serde::de::Error>(&self, text: impl fmt::Display) -> E {
        E::custom(format!("field {}: {text}", self.field))
    }

    /// Seconds and nanoseconds, as precise as the type is.
    fn time<E: serde::de::Error>(self, text: &str, nanos_each: i128) -> Result<bool, E> {
        let time: jiff::Timestamp = text.parse().map_err(|error| self.fault(error))?;
        let nanos = time.as_nanosecond();
        let (seconds, nanos) = (nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS) / nanos_each * nanos_each);
        for (number, value) in [(1, seconds), (2, nanos)] {
            put_tag(self.out, number, 0);
            // INVARIANT: both are of a timestamp, whose seconds have 64 bits.
            put_varint(self.out, i64::try_from(value).unwrap_or_default().cast_unsigned());
        }
        Ok(true)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "content of the type of field {}", self.field)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<bool, E> {
        match self.kind {
            Kind::Flag => self.out.push(u8::from(flag)),
            Kind::SchemaOr(Or::Flag, _) => put(self.out, 1, Kind::Flag, &[u8::from(flag)]),
            _ => return Err(self.fault("a flag has no place here")),
        }
        Ok(true)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<bool, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(error) => Err(self.fault(error)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<bool, E> {
        match self.kind {
            Kind::Int => put_varint(self.out, number.cast_unsigned()),
            Kind::Double => return self.visit_f64(number as f64),
            Kind::IntOrText => int_or_text(self.out, false, number, ""),
            Kind::Quantity => put_bytes(self.out, 1, number.to_string().as_bytes()),
            _ => return Err(self.fault("a number has no place here")),
        }
        Ok(true)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<bool, E> {
        match self.kind {
            Kind::Double => self.out.extend_from_slice(&number.to_le_bytes()),
            _ => return Err(self.fault("a fraction has no place here")),
        }
        Ok(true)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        match self.kind {
            Kind::Text => self.out.extend_from_slice(text.as_bytes()),
            Kind::Quantity => put_bytes(self.out, 1, if text.is_empty() { b"0" } else { text.as_bytes() }),
            Kind::IntOrText => int_or_text(self.out, true, 0, text),
            Kind::Bytes => {
                let bytes = STANDARD.decode(text).map_err(|error| self.fault(error))?;
                self.out.extend_from_slice(&bytes);
            }
            Kind::Time => return self.time(text, NANOS),
            Kind::MicroTime => return self.time(text, 1000),
            _ => return Err(self.fault("a text has no place here")),
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        let Kind::SchemaOr(or, message) = self.kind else {
            return Err(self.fault("an object has no place here"));
        };
        let mut parts = Parts::new(message);
        Members(&mut parts).visit_map(map)?;
        let mut schema = Vec::new();
        parts.write(&mut schema);
        if or == Or::Flag {
            put(self.out, 1, Kind::Flag, &[1]);
        }
        put_bytes(self.out, if or == Or::Flag { 2 } else { 1 }, &schema);
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let (kind, number) = match self.kind {
            Kind::Texts => (Kind::Text, 1),
            Kind::SchemaOr(Or::Texts, _) => (Kind::Text, 2),
            Kind::SchemaOr(Or::List, message) => (Kind::Message(message), 2),
            _ => return Err(self.fault("a list has no place here")),
        };
        let mut item = Vec::new();
        while let Some(is_there) = list.next_element_seed(One { kind, field: self.field, out: &mut item })? {
            if !is_there {
                item.clear();
                zero_into(kind, &mut item);
            }
            put(self.out, number, kind, &item);
            item.clear();
        }
        Ok(true)
    }
}

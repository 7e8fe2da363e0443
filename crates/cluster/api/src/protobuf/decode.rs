//! From a message to the JSON its object has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::ProtobufError;
use super::fields::{Field, Kind, Message, Or, Presence, Shape};
use super::wire::{Reader, Wire};

/// Deeper than any message of the table but a schema in a schema; the decoder recurs no further.
const DEPTH_LIMIT: usize = 64;

/// From here on a double does not tell whole numbers apart.
const WHOLE_LIMIT: f64 = 9_007_199_254_740_992.0;

type Outcome<T> = Result<T, ProtobufError>;

/// Decodes a whole message.
pub(super) fn object(message: &Message, bytes: &[u8]) -> Outcome<Map<String, Value>> {
    let mut object = Map::new();
    fill(&mut object, message, bytes, 0)?;
    Ok(object)
}

/// Decodes a list: its metadata, and items of a message.
pub(super) fn list(message: &Message, bytes: &[u8]) -> Outcome<Map<String, Value>> {
    let (mut metadata, mut items, mut reader) = (Map::new(), Vec::new(), Reader::new(bytes));
    while let Some(field) = reader.field()? {
        match field {
            (1, Wire::Bytes(bytes)) => fill(&mut metadata, super::fields::LIST_META, bytes, 1)?,
            (2, Wire::Bytes(bytes)) => items.push(Value::Object(object(message, bytes)?)),
            (1..=2, _) => return Err(ProtobufError::Mismatch { field: "items" }),
            _ => {}
        }
    }
    let members = [("metadata", Value::Object(metadata)), ("items", Value::Array(items))];
    Ok(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Adds a message's fields to an object; a message that comes in several parts is one.
fn fill(object: &mut Map<String, Value>, message: &Message, bytes: &[u8], depth: usize) -> Outcome<()> {
    if depth > DEPTH_LIMIT {
        return Err(ProtobufError::Depth { limit: DEPTH_LIMIT });
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        let Some(field) = message.field(number) else { continue };
        match field.shape {
            Shape::One(kind) => set(object, field, kind, wire, depth)?,
            Shape::List(kind) => push(object, field, kind, wire, depth)?,
            Shape::Map(kind) => insert(object, field, kind, wire, depth)?,
            Shape::Inline(inner) => fill(object, inner, bytes_of(field, wire)?, depth + 1)?,
        }
    }
    Ok(())
}

fn set(
    object: &mut Map<String, Value>,
    field: &Field,
    kind: Kind,
    wire: Wire<'_>,
    depth: usize,
) -> Outcome<()> {
    let before = object.remove(field.name);
    let value = match (kind, before) {
        (Kind::Message(message), Some(Value::Object(mut inner))) => {
            fill(&mut inner, message, bytes_of(field, wire)?, depth + 1)?;
            Value::Object(inner)
        }
        _ => value(field, kind, wire, depth)?,
    };
    if !value.is_null() && (field.presence != Presence::Written || !is_zero(&value)) {
        object.insert(field.name.to_owned(), value);
    }
    Ok(())
}

fn push(
    object: &mut Map<String, Value>,
    field: &Field,
    kind: Kind,
    wire: Wire<'_>,
    depth: usize,
) -> Outcome<()> {
    let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(list) = list else { return Err(mismatch(field)) };
    if let (Kind::Int, Wire::Bytes(packed)) = (kind, wire) {
        let mut numbers = Reader::new(packed);
        while !numbers.is_empty() {
            list.push(numbers.varint()?.cast_signed().into());
        }
        return Ok(());
    }
    list.push(value(field, kind, wire, depth)?);
    Ok(())
}

/// An entry of a map: a message of a key and a value.
fn insert(
    object: &mut Map<String, Value>,
    field: &Field,
    kind: Kind,
    wire: Wire<'_>,
    depth: usize,
) -> Outcome<()> {
    let mut entry = Reader::new(bytes_of(field, wire)?);
    let (mut key, mut content) = (String::new(), Wire::Bytes(&[]));
    while let Some((number, wire)) = entry.field()? {
        match number {
            1 => key = text(field, wire)?,
            2 => content = wire,
            _ => {}
        }
    }
    let value = value(field, kind, content, depth)?;
    let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(map) = map else { return Err(mismatch(field)) };
    map.insert(key, value);
    Ok(())
}

/// One content; null where JSON has nothing.
fn value(field: &Field, kind: Kind, wire: Wire<'_>, depth: usize) -> Outcome<Value> {
    Ok(match kind {
        Kind::Text => text(field, wire)?.into(),
        Kind::Int => number(field, wire)?.into(),
        Kind::Flag => (number(field, wire)? != 0).into(),
        Kind::Bytes => STANDARD.encode(bytes_of(field, wire)?).into(),
        Kind::IntOrText => int_or_text(field, bytes_of(field, wire)?)?,
        Kind::Quantity => match only(field, wire)? {
            Some(wire) => text(field, wire)?.into(),
            None => "".into(),
        },
        Kind::Time => time(field, wire, hako_kube::time::seconds)?,
        Kind::MicroTime => time(field, wire, hako_kube::time::micros)?,
        Kind::Json => json(field, wire)?,
        Kind::Texts => texts(field, wire)?,
        Kind::Double => double(field, wire)?,
        Kind::SchemaOr(or, message) => schema_or(field, or, message, wire, depth)?,
        Kind::Message(message) => {
            let mut inner = Map::new();
            fill(&mut inner, message, bytes_of(field, wire)?, depth + 1)?;
            Value::Object(inner)
        }
    })
}

/// A number; one without a fraction is written without one.
fn double(field: &Field, wire: Wire<'_>) -> Outcome<Value> {
    let Wire::Fixed64(bits) = wire else { return Err(mismatch(field)) };
    let number = f64::from_bits(bits);
    let whole = number as i64;
    let is_whole = number.fract() == 0.0 && number.abs() < WHOLE_LIMIT;
    Ok(if is_whole { whole.into() } else { number.into() })
}

/// A schema, or what stands in its place.
fn schema_or(
    field: &Field,
    or: Or,
    message: &'static Message,
    wire: Wire<'_>,
    depth: usize,
) -> Outcome<Value> {
    let mut reader = Reader::new(bytes_of(field, wire)?);
    let (mut schema, mut flag, mut list) = (None, false, Vec::new());
    while let Some((number, wire)) = reader.field()? {
        match (or, number) {
            (Or::Flag, 1) => flag = self::number(field, wire)? != 0,
            (Or::Flag, 2) | (Or::List | Or::Texts, 1) => {
                schema = Some(value(field, Kind::Message(message), wire, depth)?);
            }
            (Or::List, 2) => list.push(value(field, Kind::Message(message), wire, depth)?),
            (Or::Texts, 2) => list.push(text(field, wire)?.into()),
            _ => {}
        }
    }
    Ok(match (or, schema) {
        (Or::Flag, None) => flag.into(),
        (_, Some(schema)) if list.is_empty() => schema,
        (_, None) if list.is_empty() => Value::Null,
        _ => Value::Array(list),
    })
}

/// What a message of one field, the first, has in it.
fn only<'a>(field: &Field, wire: Wire<'a>) -> Outcome<Option<Wire<'a>>> {
    let mut reader = Reader::new(bytes_of(field, wire)?);
    let mut found = None;
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            found = Some(wire);
        }
    }
    Ok(found)
}

/// Type (0 number, 1 text), number, text.
fn int_or_text(field: &Field, bytes: &[u8]) -> Outcome<Value> {
    let mut reader = Reader::new(bytes);
    let (mut is_text, mut int, mut string) = (false, 0, String::new());
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => is_text = self::number(field, wire)? != 0,
            2 => int = self::number(field, wire)?,
            3 => string = text(field, wire)?,
            _ => {}
        }
    }
    Ok(if is_text { string.into() } else { int.into() })
}

/// Seconds and nanoseconds; an empty message is no time.
fn time(field: &Field, wire: Wire<'_>, write: fn(Timestamp) -> String) -> Outcome<Value> {
    let bytes = bytes_of(field, wire)?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let mut reader = Reader::new(bytes);
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => seconds = self::number(field, wire)?,
            2 => nanos = self::number(field, wire)?,
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Time { field: field.name })?;
    let at = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Time { field: field.name })?;
    Ok(write(at).into())
}

/// All texts of a message of one field.
fn texts(field: &Field, wire: Wire<'_>) -> Outcome<Value> {
    let mut reader = Reader::new(bytes_of(field, wire)?);
    let mut all = Vec::new();
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            all.push(Value::from(text(field, wire)?));
        }
    }
    Ok(Value::Array(all))
}

/// JSON inside a message; serde_json bounds its depth.
fn json(field: &Field, wire: Wire<'_>) -> Outcome<Value> {
    match only(field, wire)? {
        None | Some(Wire::Bytes([])) => Ok(Value::Null),
        Some(wire) => serde_json::from_slice(bytes_of(field, wire)?)
            .map_err(|source| ProtobufError::Json { field: field.name, source }),
    }
}

fn text(field: &Field, wire: Wire<'_>) -> Outcome<String> {
    let text = std::str::from_utf8(bytes_of(field, wire)?);
    text.map(str::to_owned).map_err(|_| ProtobufError::Text { field: field.name })
}

fn number(field: &Field, wire: Wire<'_>) -> Outcome<i64> {
    match wire {
        Wire::Varint(number) => Ok(number.cast_signed()),
        Wire::Bytes(_) | Wire::Fixed64(_) | Wire::Other => Err(mismatch(field)),
    }
}

fn bytes_of<'a>(field: &Field, wire: Wire<'a>) -> Outcome<&'a [u8]> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        Wire::Varint(_) | Wire::Fixed64(_) | Wire::Other => Err(mismatch(field)),
    }
}

fn mismatch(field: &Field) -> ProtobufError {
    ProtobufError::Mismatch { field: field.name }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

//! Values while an expression is evaluated. What comes from JSON is borrowed and read through its declared type.

mod json;
mod list;
mod made;
mod map;
mod order;

pub(crate) use json::from_json;
pub use list::List;
pub(crate) use map::{Key, Map};
pub(crate) use order::{compare, equal};

use crate::opaque::Opaque;
use crate::{Declared, EvalError, Instant, Type, work};
use std::ops::Deref;
use std::sync::Arc;

/// A value; `'a` is the life of the JSON and of the program it comes from.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Instant),
    /// Nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Type),
    Opaque(Opaque),
    /// JSON that is not of its declared type; an error as soon as it is read.
    Fault(Arc<EvalError>),
}

/// A string, borrowed or shared.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> Value<'a> {
    /// A string of our own.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    /// A borrowed string.
    #[must_use]
    pub fn borrowed(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }

    /// A list of our own.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::Shared(Arc::new(items)))
    }

    /// `json` read as `declared`.
    #[must_use]
    pub fn json(json: &'a serde_json::Value, declared: &'a Declared) -> Self {
        from_json(json, declared)
    }

    /// An optional value.
    #[must_use]
    pub fn optional(value: Option<Self>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The type of the value, as `type()` tells it.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(Map::Object(_, object)) => Type::Object(object.name.clone()),
            Self::Map(Map::Made(name, _)) => Type::Object(name.clone()),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Opaque(opaque) => Type::Opaque(opaque.type_name()),
            Self::Fault(_) => Type::Dyn,
        }
    }

    /// Whether a parameter of type `ty` takes the value.
    pub(crate) fn is_of(&self, ty: &Type) -> bool {
        match (self, ty) {
            (_, Type::Dyn | Type::Param(_))
            | (Self::Null, Type::Null)
            | (Self::Bool(_), Type::Bool)
            | (Self::Int(_), Type::Int)
            | (Self::Uint(_), Type::Uint)
            | (Self::Double(_), Type::Double)
            | (Self::String(_), Type::String)
            | (Self::Bytes(_), Type::Bytes)
            | (Self::Timestamp(_), Type::Timestamp)
            | (Self::Duration(_), Type::Duration)
            | (Self::List(_), Type::List(_))
            | (Self::Map(_), Type::Map(..) | Type::Object(_))
            | (Self::Optional(_), Type::Optional(_))
            | (Self::Type(_), Type::Type(_)) => true,
            (Self::Opaque(opaque), Type::Opaque(name)) => opaque.type_name() == *name,
            _ => false,
        }
    }

    /// What `size()` says: characters, octets, items or entries; 1 for what has no size.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::String(text) => characters(text),
            Self::Bytes(octets) => octets.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Optional(Some(inner)) => return inner.size(),
            Self::Opaque(opaque) => return opaque.size(),
            _ => 1,
        };
        size as u64
    }

    /// The work of making the value, what is in its items aside.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::String(text) => work::text(text.len()),
            Self::Bytes(octets) => work::text(octets.len()),
            Self::List(list) => work::ITEM * list.len() as u64,
            Self::Map(map) => work::ITEM * map.len() as u64,
            _ => 1,
        }
    }

    /// The value itself, or the fault that it stands for.
    pub(crate) fn checked(self) -> Result<Self, EvalError> {
        match self {
            Self::Fault(fault) => Err((*fault).clone()),
            value => Ok(value),
        }
    }
}

/// Code points, without decoding when all of them are one byte.
pub(crate) fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

//! Types as the checker knows them (langdef.md, "Values" and "Gradual Type Checking").

use std::fmt;
use std::sync::Arc;

/// A type of an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// Anything; checked when evaluated.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    /// An object with declared fields, by its name.
    Object(Arc<str>),
    Optional(Arc<Type>),
    /// A type of a library, such as `net.IP`.
    Opaque(&'static str),
    /// The type of a type.
    Type(Arc<Type>),
    /// A type not known yet: of a signature, or found while checking.
    Param(u32),
}

impl Type {
    /// `list(element)`.
    #[must_use]
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// `map(key, value)`.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// `optional_type(value)`.
    #[must_use]
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// Whether a value may be `null` instead.
    pub(crate) fn is_nullable(&self) -> bool {
        matches!(
            self,
            Self::Null
                | Self::Timestamp
                | Self::Duration
                | Self::Object(_)
                | Self::Opaque(_)
                | Self::Optional(_)
        )
    }

    /// Of one size whatever the value.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Timestamp | Self::Duration => true,
            Self::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }

    /// The name by which expressions call the type.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Dyn | Self::Param(_) => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Object(name) => name,
            Self::Optional(_) => "optional_type",
            Self::Opaque(name) => name,
            Self::Type(_) => "type",
        }
    }

    /// The direct parts of the type.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::List(part) | Self::Optional(part) | Self::Type(part) => vec![part],
            Self::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    /// The type with its parts replaced by what `change` makes of them.
    pub(crate) fn with_parts(&self, change: &mut impl FnMut(&Self) -> Self) -> Self {
        match self {
            Self::List(part) => Self::list(change(part)),
            Self::Optional(part) => Self::optional(change(part)),
            Self::Type(part) => Self::Type(Arc::new(change(part))),
            Self::Map(key, value) => Self::map(change(key), change(value)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type(of) if matches!(**of, Self::Dyn | Self::Param(_)) => f.write_str("type"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Null => f.write_str("null"),
            other => f.write_str(other.name()),
        }
    }
}

/// Reads the types of our own signature tables: `list(A)`, `map(string,B)`, `optional(V)`, `net.IP`.
pub(crate) fn parse(text: &'static str) -> Type {
    let text = text.trim();
    if let Some(inside) = inside(text, "list(") {
        return Type::list(parse(inside));
    }
    if let Some(inside) = inside(text, "optional(") {
        return Type::optional(parse(inside));
    }
    if let Some(inside) = inside(text, "type(") {
        return Type::Type(Arc::new(parse(inside)));
    }
    if let Some((key, value)) = inside(text, "map(").and_then(|inside| inside.split_once(',')) {
        return Type::map(parse(key), parse(value));
    }
    match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "C" => Type::Param(2),
        opaque => Type::Opaque(opaque),
    }
}

fn inside(text: &'static str, opening: &str) -> Option<&'static str> {
    text.strip_prefix(opening)?.strip_suffix(')')
}

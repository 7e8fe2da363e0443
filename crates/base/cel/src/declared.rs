//! Types with what a schema says of their sizes: what variables are declared with.
//!
//! Values from JSON are read through these, and the cost of an expression is estimated with them. The sizes follow
//! Kubernetes' `apiserver/pkg/cel`: the largest that can be in a request of 3 MiB when a schema sets no limit.

use crate::Type;
use hako_kube::ByName;
use std::sync::Arc;

/// Bytes of the largest request.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// Characters of the largest string in one: without its quotes.
pub const MAX_STRING: u64 = MAX_REQUEST - 2;

/// How two lists of a schema compare and add (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// By the values of these keys.
    Map(Vec<String>),
}

/// A declared type.
#[derive(Debug, Clone)]
pub struct Declared {
    pub(crate) shape: Shape,
    /// Characters, octets, items or entries at most.
    pub(crate) max_size: u64,
    /// Bytes of the smallest value as JSON.
    pub(crate) min_bytes: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Scalar(Type),
    List { element: Arc<Declared>, kind: ListKind },
    Map { key: Arc<Declared>, value: Arc<Declared> },
    Object(Arc<ObjectType>),
}

/// An object whose fields are declared.
#[derive(Debug)]
pub struct ObjectType {
    pub(crate) name: Arc<str>,
    pub(crate) fields: ByName<Field>,
}

/// A field: its name in JSON may hold characters that identifiers cannot.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub json_name: String,
    pub declared: Arc<Declared>,
}

impl ObjectType {
    /// A field by its escaped name, or by one that only had to be escaped as a word of the language.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name).or_else(|| self.fields.get(&format!("__{name}__")))
    }
}

impl Declared {
    fn scalar(ty: Type, max_size: u64, min_bytes: u64) -> Self {
        Self { shape: Shape::Scalar(ty), max_size, min_bytes }
    }

    /// Anything, as long as a request may be.
    #[must_use]
    pub fn dynamic() -> Self {
        Self::scalar(Type::Dyn, 0, 1)
    }

    /// A number or a string of at most `max` characters (`x-kubernetes-int-or-string`).
    #[must_use]
    pub fn int_or_string(max: Option<u64>) -> Self {
        Self::scalar(Type::Dyn, max.map_or(MAX_STRING, |max| max.saturating_mul(4)), 1)
    }

    /// A value of `ty` whose size no schema limits.
    #[must_use]
    pub fn of(ty: Type) -> Self {
        Self::scalar(ty, 0, 1)
    }

    #[must_use]
    pub fn bool() -> Self {
        Self::scalar(Type::Bool, 0, 4)
    }

    #[must_use]
    pub fn int() -> Self {
        Self::scalar(Type::Int, 0, 1)
    }

    #[must_use]
    pub fn double() -> Self {
        Self::scalar(Type::Double, 0, 1)
    }

    /// A string of at most `max` characters of up to four bytes.
    #[must_use]
    pub fn string(max: Option<u64>) -> Self {
        Self::scalar(Type::String, max.map_or(MAX_STRING, |max| max.saturating_mul(4)), 2)
    }

    /// A string that is one of some values, the longest of which has `longest` bytes.
    #[must_use]
    pub fn one_of(longest: u64) -> Self {
        Self::scalar(Type::String, longest, 2)
    }

    /// Octets, base64 in JSON.
    #[must_use]
    pub fn bytes(max: Option<u64>) -> Self {
        Self::scalar(Type::Bytes, max.unwrap_or(MAX_STRING), 2)
    }

    #[must_use]
    pub fn duration() -> Self {
        Self::scalar(Type::Duration, 32, 3)
    }

    /// RFC 3339's full-date.
    #[must_use]
    pub fn date() -> Self {
        Self::scalar(Type::Timestamp, 12, 12)
    }

    /// RFC 3339's date-time.
    #[must_use]
    pub fn date_time() -> Self {
        Self::scalar(Type::Timestamp, 32, 21)
    }

    /// A list of at most `max` items.
    #[must_use]
    pub fn list(element: Self, max: Option<u64>, kind: ListKind) -> Self {
        let max_size = max.unwrap_or((MAX_REQUEST - 2) / (element.min_bytes + 1));
        Self { shape: Shape::List { element: Arc::new(element), kind }, max_size, min_bytes: 2 }
    }

    /// A map from strings with at most `max` entries.
    #[must_use]
    pub fn map(value: Self, max: Option<u64>) -> Self {
        // A key, its quotes, a colon, a comma and the value.
        let max_size = max.unwrap_or((MAX_REQUEST - 2) / (value.min_bytes + 6));
        // Keys have no limit of their own in a schema.
        let key = Self::scalar(Type::String, 0, 2);
        Self { shape: Shape::Map { key: Arc::new(key), value: Arc::new(value) }, max_size, min_bytes: 2 }
    }

    /// An object called `name` with `fields` (name in JSON, type, whether it is always there).
    ///
    /// Fields whose names cannot be escaped to identifiers are not visible.
    #[must_use]
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Self, bool)>) -> Self {
        let mut min_bytes = 2;
        let mut declared = Vec::new();
        for (json_name, field, required) in fields {
            if required {
                min_bytes += json_name.len() as u64 + field.min_bytes + 4;
            }
            if let Some(escaped) = crate::escape::escape(&json_name) {
                declared.push((escaped, Field { json_name, declared: Arc::new(field) }));
            }
        }
        let object = ObjectType { name: name.into(), fields: declared.into_iter().collect() };
        Self { shape: Shape::Object(Arc::new(object)), max_size: 0, min_bytes }
    }

    /// The type that the checker knows.
    #[must_use]
    pub fn ty(&self) -> Type {
        match &self.shape {
            Shape::Scalar(ty) => ty.clone(),
            Shape::List { element, .. } => Type::list(element.ty()),
            Shape::Map { key, value } => Type::map(key.ty(), value.ty()),
            Shape::Object(object) => Type::Object(object.name.clone()),
        }
    }

    /// The type of the member that JSON calls `name`.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        let escaped = crate::escape::escape(name)?;
        self.field(&escaped).map(|field| &*field.declared)
    }

    /// The type of a list's items or of a map's values.
    #[must_use]
    pub fn item(&self) -> Option<&Self> {
        self.element().map(|element| &**element)
    }

    /// Bytes of the smallest value as JSON.
    #[must_use]
    pub fn min_bytes(&self) -> u64 {
        self.min_bytes
    }

    /// The type of items or of an entry's values.
    pub(crate) fn element(&self) -> Option<&Arc<Self>> {
        match &self.shape {
            Shape::List { element, .. } => Some(element),
            Shape::Map { value, .. } => Some(value),
            _ => None,
        }
    }

    pub(crate) fn key(&self) -> Option<&Arc<Self>> {
        match &self.shape {
            Shape::Map { key, .. } => Some(key),
            _ => None,
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        match &self.shape {
            Shape::Object(object) => object.field(name),
            _ => None,
        }
    }
}

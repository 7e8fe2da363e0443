//! The model: types by name, and how to walk them.

use serde_json::Value;
use std::collections::HashMap;
use std::sync::OnceLock;

/// All types of the served kinds.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) types: Vec<TypeDef>,
    pub(super) by_name: HashMap<String, usize>,
}

/// One named type.
#[derive(Debug)]
pub struct TypeDef {
    /// The full name, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it looks like.
    pub shape: Shape,
    /// Whether its members are owned and replaced together.
    pub is_atomic: bool,
}

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Named members.
    Object(Vec<Field>),
    /// Named members and any others; what is no object is a single value.
    Open(Vec<Field>),
    /// A named type, by its place in the model.
    Named(usize),
    /// A list.
    List {
        /// What the items look like.
        item: Box<Shape>,
        /// How two writers share it.
        kind: ListKind,
    },
    /// Any keys, values of one shape.
    Map {
        /// What the values look like.
        value: Box<Shape>,
        /// Whether it is owned and replaced as a whole.
        is_atomic: bool,
    },
    /// A single value.
    Scalar(Scalar),
    /// Anything at all.
    Any,
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in JSON.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it must be given.
    pub is_required: bool,
    /// What the value looks like.
    pub shape: Shape,
    /// How a strategic merge patch treats it.
    pub patch: Patch,
    /// The value a missing member stands for, where it is part of a list's key.
    pub default: Option<Value>,
    /// What the original always has in place of a missing member: those are never new in what is there.
    pub zero: Option<Value>,
    /// Whether the original leaves the member out where it is empty.
    pub leaves_zero: bool,
}

/// How two writers share a list, in server-side apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// As a whole.
    Atomic,
    /// Value by value, without order.
    Set,
    /// Item by item, told apart by these members.
    Map(Vec<String>),
}

/// How a strategic merge patch treats a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Lists are merged, not replaced.
    pub merge: bool,
    /// Members that the patch does not name vanish.
    pub retain_keys: bool,
    /// By what items are told apart; `None` in merged lists of single values.
    pub key: Option<&'static str>,
}

/// The kinds of single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    Text,
    /// Base64 of bytes.
    Bytes,
    /// RFC 3339, in seconds.
    Time,
    /// RFC 3339, in microseconds.
    MicroTime,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// Floating point.
    Number,
    /// True or false.
    Bool,
    /// A number or a text.
    IntOrString,
    /// An amount such as `250m`.
    Quantity,
}

/// The model, built on first use.
#[must_use]
pub fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(super::build::build)
}

impl Model {
    /// A shape that refers to the type of that full name; [`Shape::Any`] if there is none.
    #[must_use]
    pub fn reference(&self, name: &str) -> Shape {
        self.by_name.get(name).map_or(Shape::Any, |at| Shape::Named(*at))
    }

    /// The type of that full name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&TypeDef> {
        self.by_name.get(name).map(|at| &self.types[*at])
    }

    /// All types, sorted by name.
    #[must_use]
    pub fn types(&self) -> &[TypeDef] {
        &self.types
    }

    /// The type a shape names.
    #[must_use]
    pub fn type_of(&self, shape: &Shape) -> Option<&TypeDef> {
        match shape {
            Shape::Named(at) => self.types.get(*at),
            _ => None,
        }
    }

    /// The shape behind a named one.
    #[must_use]
    pub fn resolve<'a>(&'a self, shape: &'a Shape) -> &'a Shape {
        match self.type_of(shape) {
            Some(named) => &named.shape,
            None => shape,
        }
    }

    /// The shape of the type of that full name, [`Shape::Any`] if there is none.
    #[must_use]
    pub fn shape(&self, name: &str) -> &Shape {
        self.named(name).map_or(&Shape::Any, |named| &named.shape)
    }

    /// Whether a value of this shape is owned as a whole.
    #[must_use]
    pub fn is_atomic(&self, shape: &Shape) -> bool {
        if self.type_of(shape).is_some_and(|named| named.is_atomic) {
            return true;
        }
        match self.resolve(shape) {
            Shape::List { kind, .. } => *kind == ListKind::Atomic,
            Shape::Map { is_atomic, .. } => *is_atomic,
            Shape::Scalar(_) | Shape::Any => true,
            Shape::Object(_) | Shape::Open(_) | Shape::Named(_) => false,
        }
    }

    /// The member of that name in an object or map.
    #[must_use]
    pub fn member<'a>(&'a self, shape: &'a Shape, name: &str) -> Option<&'a Shape> {
        match self.resolve(shape) {
            Shape::Object(fields) => field(fields, name).map(|field| &field.shape),
            Shape::Open(fields) => Some(field(fields, name).map_or(&UNKNOWN, |field| &field.shape)),
            Shape::Map { value, .. } => Some(value),
            Shape::Any => Some(&Shape::Any),
            _ => None,
        }
    }

    /// The field of that name in an object.
    #[must_use]
    pub fn field<'a>(&'a self, shape: &'a Shape, name: &str) -> Option<&'a Field> {
        match self.resolve(shape) {
            Shape::Object(fields) | Shape::Open(fields) => field(fields, name),
            _ => None,
        }
    }
}

/// What nothing is known of.
static UNKNOWN: Shape = Shape::Open(Vec::new());

fn field<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.binary_search_by(|field| field.name.as_str().cmp(name)).ok().map(|at| &fields[at])
}

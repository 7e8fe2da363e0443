//! Lists: of JSON, or made by an expression.

use super::{Value, equal, from_json};
use crate::Declared;
use crate::declared::ListKind;
use std::sync::Arc;

static ATOMIC: ListKind = ListKind::Atomic;

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Items of a document, read as `element`.
    Json { items: &'a [serde_json::Value], element: &'a Declared, kind: &'a ListKind },
    /// Items of our own.
    Shared(Arc<Vec<Value<'a>>>),
    /// What a list of a schema became when another one was added: it goes on to compare and add as that list does.
    Added { items: Arc<Vec<Value<'a>>>, kind: &'a ListKind },
}

impl<'a> List<'a> {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Shared(items) | Self::Added { items, .. } => items.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json { items, element, .. } => items.get(index).map(|item| from_json(item, element)),
            Self::Shared(items) | Self::Added { items, .. } => items.get(index).cloned(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn kind(&self) -> &'a ListKind {
        match self {
            Self::Json { kind, .. } | Self::Added { kind, .. } => kind,
            Self::Shared(_) => &ATOMIC,
        }
    }

    pub(crate) fn contains(&self, wanted: &Value<'a>) -> bool {
        self.iter().any(|item| equal(&item, wanted))
    }

    /// The two lists as one. Sets and lists by key keep each key once, as server-side apply would merge them; an
    /// item of `other` takes the place of the one with its key.
    pub(crate) fn concat(&self, other: &Self) -> Self {
        let mut items: Vec<_> = self.iter().collect();
        match self.kind() {
            ListKind::Atomic => items.extend(other.iter()),
            ListKind::Set => {
                for item in other.iter() {
                    if !items.iter().any(|known| equal(known, &item)) {
                        items.push(item);
                    }
                }
            }
            ListKind::Map(keys) => {
                for item in other.iter() {
                    match items.iter_mut().find(|known| same_keys(known, &item, keys)) {
                        Some(known) => *known = item,
                        None => items.push(item),
                    }
                }
            }
        }
        let items = Arc::new(items);
        match self.kind() {
            ListKind::Atomic => Self::Shared(items),
            kind => Self::Added { items, kind },
        }
    }

    pub(crate) fn equals(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if *self.kind() == ListKind::Atomic {
            return self.iter().zip(other.iter()).all(|(left, right)| equal(&left, &right));
        }
        // Sets and lists by key have no order.
        self.iter().all(|item| other.contains(&item))
    }
}

fn same_keys(left: &Value<'_>, right: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(left), Value::Map(right)) = (left, right) else { return false };
    keys.iter().all(|key| match (left.property(key), right.property(key)) {
        (Some(left), Some(right)) => equal(&left, &right),
        (left, right) => left.is_none() && right.is_none(),
    })
}

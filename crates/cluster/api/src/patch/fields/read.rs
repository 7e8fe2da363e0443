//! Sets of fields out of JSON. What is malformed is left out.

use super::{Below, FieldSet, Step};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// As deep as JSON is read.
const MAX_DEPTH: usize = 120;

impl FieldSet {
    /// Reads the text of `fieldsV1`.
    pub(in crate::patch) fn read(text: &str) -> Self {
        let mut written = Written { text, at: 0 };
        let set = written.set(0).filter(|_| written.at == text.len());
        set.map_or_else(|| serde_json::from_str(text).unwrap_or_default(), |(set, _)| set)
    }
}

impl FieldSet {
    /// What is malformed of `fieldsV1`, if anything is. What is of a kind that nobody knows yet is not.
    pub(in crate::patch) fn fault(fields: &Value) -> Option<String> {
        let members = match fields {
            Value::Object(members) => members,
            Value::Null => return None,
            other => return Some(format!("expected an object, but found {other}")),
        };
        members.iter().find_map(|(name, below)| match name.as_bytes() {
            b"." => None,
            [] | [_] => Some("key must be 2 characters long:".to_owned()),
            [_, b':', ..] if Step::decode(name).is_some() => Self::fault(below),
            [b'f' | b'k' | b'v' | b'i', b':', ..] => Some(format!("malformed key: {name}")),
            [_, b':', ..] => None,
            _ => Some(format!("missing colon: {name}")),
        })
    }
}

impl Step {
    fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(2)?;
        Some(match kind {
            "f:" => Self::Field(rest.into()),
            "k:" if is_one_text(rest) => Self::Key(rest.into()),
            "k:" => {
                let map: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Self::Key(serde_json::to_string(&map).ok()?.into())
            }
            "v:" => Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string().into()),
            "i:" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }
}

/// Whether JSON is an object of one member, a text, as it is written when there is nothing to escape.
fn is_one_text(json: &str) -> bool {
    let inside = json.strip_prefix("{\"").and_then(|rest| rest.strip_suffix("\"}"));
    let is_plain = |text: &str| text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    let parts = inside.and_then(|inside| inside.split_once("\":\""));
    parts.is_some_and(|(name, value)| is_plain(name) && is_plain(value))
}

/// A set as it is written: objects within objects, without white space.
struct Written<'t> {
    text: &'t str,
    at: usize,
}

impl Written<'_> {
    /// None of what is written otherwise.
    fn set(&mut self, depth: usize) -> Option<Said> {
        if !self.takes(b'{') || depth > MAX_DEPTH {
            return None;
        }
        if self.takes(b'}') {
            return Some(NOTHING);
        }
        let (mut is_member, mut below) = (false, Below::default());
        loop {
            let step = self.step()?;
            if !self.takes(b':') {
                return None;
            }
            let (mut child, is_leaf) = self.set(depth + 1)?;
            child.is_member |= is_leaf;
            match step {
                Some(Some(step)) => below.put(step, child),
                Some(None) => is_member = true,
                None => {}
            }
            if self.takes(b'}') {
                return Some((FieldSet { is_member, children: below.sorted() }, false));
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    fn step(&mut self) -> Option<Option<Option<Step>>> {
        let begin = self.at;
        if !self.takes(b'"') {
            return None;
        }
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += 2;
                }
                byte if *byte < b' ' => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if has_escapes {
            let name: String = serde_json::from_str(&self.text[begin..self.at]).ok()?;
            return Some(step_of(&name));
        }
        Some(step_of(&self.text[begin + 1..self.at - 1]))
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_it = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_it);
        is_it
    }
}

/// None of what is malformed, and inside for the node itself.
fn step_of(name: &str) -> Option<Option<Step>> {
    if name == "." { Some(None) } else { Step::decode(name).map(Some) }
}

/// Of what the members of an object, or whatever else it is, are read.
struct Fields;

/// Of what a name of a member is read.
struct StepOf;

/// What a value says is below a step: the set, and whether there is nothing in it.
type Said = (FieldSet, bool);

impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fields.deserialize(deserializer).map(|(set, _)| set)
    }
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Said;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Said, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Said, A::Error> {
        let (mut is_member, mut is_hollow, mut below) = (false, true, Below::default());
        while let Some(name) = members.next_key_seed(StepOf)? {
            is_hollow = false;
            let Some(step) = name else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            let (mut child, is_leaf) = members.next_value_seed(Self)?;
            child.is_member |= is_leaf;
            match step {
                None => is_member = true,
                Some(step) => below.put(step, child),
            }
        }
        Ok((FieldSet { is_member, children: below.sorted() }, is_hollow))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Said, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(NOTHING)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Said, E> {
        Ok(NOTHING)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Said, E> {
        Ok(NOTHING)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Said, E> {
        Ok(NOTHING)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Said, E> {
        Ok(NOTHING)
    }

    fn visit_str<E>(self, _: &str) -> Result<Said, E> {
        Ok(NOTHING)
    }

    fn visit_unit<E>(self) -> Result<Said, E> {
        Ok(NOTHING)
    }
}

const NOTHING: Said = (FieldSet { is_member: false, children: Vec::new() }, true);

impl<'de> DeserializeSeed<'de> for StepOf {
    /// None of what is malformed, and inside for the node itself.
    type Value = Option<Option<Step>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for StepOf {
    type Value = Option<Option<Step>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(step_of(name))
    }
}

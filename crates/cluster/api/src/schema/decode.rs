//! From bytes to JSON values, noticing members that are given twice.

use hako_error::{Classify, Kind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// The value; of members given twice, the last.
    pub value: Value,
    /// The paths of members given twice.
    pub duplicates: Vec<String>,
}

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No JSON.
    #[error("the body is no JSON: {0}")]
    Json(serde_json::Error),
    /// No YAML.
    #[error("the body is no YAML: {0}")]
    Yaml(String),
}

impl Classify for DecodeError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Decodes JSON.
///
/// # Errors
/// Where the bytes are no JSON.
pub fn json(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    serde_json::from_slice::<Node>(bytes).map(Node::decoded).map_err(DecodeError::Json)
}

/// Decodes one YAML document; JSON is YAML too.
///
/// # Errors
/// Where the bytes are no YAML; members given twice are an error here already.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return json(bytes);
    }
    let node = serde_saphyr::from_slice::<Node>(bytes);
    node.map(Node::decoded).map_err(|error| DecodeError::Yaml(error.to_string()))
}

/// A value that keeps members given twice.
enum Node {
    Leaf(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn decoded(self) -> Decoded {
        let mut duplicates = Vec::new();
        let value = self.value("", &mut duplicates);
        Decoded { value, duplicates }
    }

    fn value(self, path: &str, duplicates: &mut Vec<String>) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::List(nodes) => nodes
                .into_iter()
                .enumerate()
                .map(|(at, node)| node.value(&format!("{path}[{at}]"), duplicates))
                .collect(),
            Self::Map(members) => {
                let mut map = Map::new();
                for (name, node) in members {
                    let path = hako_kube::field::child(path, &name);
                    let value = node.value(&path, duplicates);
                    if map.insert(name, value).is_some() {
                        duplicates.push(path);
                    }
                }
                Value::Object(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Node::Map(map))
    }
}

//! The version 2 document in the protobuf form that client-go before 1.27 asks for.
//!
//! Only the part of gnostic's `openapi.v2.Document` that the document uses; field numbers are those of its .proto.

use serde_json::{Map, Value};

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten() {
            self.text(field, Some(text));
        }
    }

    fn flag(&mut self, field: u64, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    /// `Named*`: a name and a message.
    fn named(&mut self, field: u64, name: &str, message: &Self) {
        let mut named = Self::default();
        named.bytes(1, name.as_bytes());
        named.message(2, message);
        self.message(field, &named);
    }

    /// `NamedAny`: an extension as YAML, of which JSON is a part.
    fn extensions(&mut self, field: u64, value: &Value) {
        for (name, inner) in members(value).filter(|(name, _)| name.starts_with("x-")) {
            let mut any = Self::default();
            any.bytes(2, inner.to_string().as_bytes());
            self.named(field, name, &any);
        }
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// Encodes a whole document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document["info"].get("title"));
    info.text(2, document["info"].get("version"));
    message.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in members(&document["paths"]) {
        paths.named(2, path, &path_item(item));
    }
    message.message(8, &paths);
    let mut definitions = Message::default();
    for (name, value) in members(&document["definitions"]) {
        definitions.named(1, name, &schema(value));
    }
    message.message(9, &definitions);
    message.0
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (method, field) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(value) = item.get(method) {
            message.message(field, &operation(value));
        }
    }
    message
}

fn operation(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(3, value.get("description"));
    message.text(5, value.get("operationId"));
    message.texts(6, value.get("produces"));
    message.texts(7, value.get("consumes"));
    for parameter in value["parameters"].as_array().into_iter().flatten() {
        let mut item = Message::default();
        item.message(1, &self::parameter(parameter));
        message.message(8, &item);
    }
    let mut responses = Message::default();
    for (code, response) in members(&value["responses"]) {
        let mut inner = Message::default();
        inner.text(1, response.get("description"));
        let mut item = Message::default();
        item.message(1, &schema(&response["schema"]));
        inner.message(2, &item);
        let mut either = Message::default();
        either.message(1, &inner);
        responses.named(1, code, &either);
    }
    message.message(9, &responses);
    message.extensions(13, value);
    message
}

fn parameter(value: &Value) -> Message {
    let (mut message, mut inner) = (Message::default(), Message::default());
    let place = value["in"].as_str().unwrap_or("");
    if place == "body" {
        inner.text(2, value.get("name"));
        inner.text(3, value.get("in"));
        inner.flag(4, value.get("required"));
        inner.message(5, &schema(&value["schema"]));
        message.message(1, &inner);
        return message;
    }
    inner.flag(1, value.get("required"));
    inner.text(2, value.get("in"));
    inner.text(4, value.get("name"));
    // The query's has a field more before the type.
    inner.text(if place == "query" { 6 } else { 5 }, value.get("type"));
    let mut either = Message::default();
    either.message(if place == "query" { 3 } else { 4 }, &inner);
    message.message(2, &either);
    message
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, value.get("$ref"));
    message.text(2, value.get("format"));
    message.text(4, value.get("description"));
    if let Some(default) = value.get("default") {
        let mut any = Message::default();
        any.bytes(2, default.to_string().as_bytes());
        message.message(5, &any);
    }
    message.texts(19, value.get("required"));
    if let Some(inner) = value.get("additionalProperties") {
        let mut either = Message::default();
        either.message(1, &schema(inner));
        message.message(21, &either);
    }
    if value.get("type").is_some() {
        let mut kind = Message::default();
        kind.text(1, value.get("type"));
        message.message(22, &kind);
    }
    if let Some(inner) = value.get("items") {
        let mut items = Message::default();
        items.message(1, &schema(inner));
        message.message(23, &items);
    }
    if value.get("properties").is_some() {
        let mut properties = Message::default();
        for (name, inner) in members(&value["properties"]) {
            properties.named(1, name, &schema(inner));
        }
        message.message(25, &properties);
    }
    message.extensions(31, value);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    /// The length-delimited fields of a message.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            assert_eq!(tag & 7, 2, "only length-delimited fields here");
            let len = usize::try_from(varint(&mut bytes)).unwrap();
            found.push((tag >> 3, bytes[..len].to_vec()));
            bytes = &bytes[len..];
        }
        found
    }

    fn field(bytes: &[u8], number: u64) -> Vec<u8> {
        fields(bytes).into_iter().find(|(its, _)| *its == number).unwrap().1
    }

    #[test]
    fn messages_have_the_wire_form() {
        let long = "d".repeat(300);
        let document = json!({"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {},
            "definitions": {"A": {"type": "string", "description": long, "x-a": 1}}});
        let bytes = encode(&document);
        assert_eq!(field(&bytes, 1), b"2.0");
        assert_eq!(field(&field(&bytes, 2), 2), b"v");
        let named = field(&field(&bytes, 9), 1);
        assert_eq!(field(&named, 1), b"A");
        let schema = field(&named, 2);
        assert_eq!(field(&schema, 4), long.as_bytes());
        assert_eq!(field(&field(&schema, 22), 1), b"string");
        let extension = field(&schema, 31);
        assert_eq!(field(&extension, 1), b"x-a");
        assert_eq!(field(&field(&extension, 2), 2), b"1");
    }
}

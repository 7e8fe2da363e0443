//! Documents in the protobuf form that some clients of OpenAPI ask for: gnostic's `openapi.v2.Document` and
//! `openapi.v3.Document`.
//!
//! Owns: how JSON becomes a message, by the tables of each version ([`v2`], [`v3`]).
//! Does not own: the documents.
//!
//! Invariant: what a table does not have is left out; a document is never refused.

mod v2;
mod v3;

use serde_json::Value;

/// What a message is made of.
struct Message {
    fields: &'static [Field],
    /// Where members go that are no fields: each is a name (1) and a value (2).
    others: Option<(u32, Shape)>,
    /// Where members go whose names begin with `x-`, likewise; 0 if nowhere.
    extensions: u32,
}

/// Number, name in JSON, and content.
type Field = (u32, &'static str, Shape);

/// The content of a field.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Int,
    Double,
    Flag,
    /// A message with the YAML of a value in field 2; JSON is YAML.
    Any,
    /// A message with a number (1), a flag (2) or a text (3), or with nothing.
    Default,
    Message(&'static Message),
    /// A message with the object (1), or with a reference (2).
    OrReference(&'static Message),
    /// A message with the content (1), or with a flag (2).
    OrFlag(&'static Shape),
    /// As often as there are items.
    List(&'static Shape),
    /// A message with the content as often as there are items (1), or once if it is no list.
    Within(&'static Shape),
    /// A parameter of version 2, which is of another message for each place.
    Parameter,
}

/// A map, whose entries are all in field 1.
const fn map(of: Shape) -> Message {
    Message { fields: &[], others: Some((1, of)), extensions: 0 }
}

static REFERENCE: Message = Message { fields: &[(1, "$ref", Shape::Text)], others: None, extensions: 0 };

/// A whole document of version 2.
pub(super) fn v2(document: &Value) -> Vec<u8> {
    whole(&v2::DOCUMENT, document)
}

/// A whole document of version 3.
pub(super) fn v3(document: &Value) -> Vec<u8> {
    whole(&v3::DOCUMENT, document)
}

fn whole(message: &'static Message, document: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.members(message, document);
    writer.0
}

/// A message under construction.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn tag(&mut self, number: u32, kind: u32) {
        self.varint(u64::from(number << 3 | kind));
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A message within this one.
    fn within(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(number, &inner.0);
    }

    fn members(&mut self, message: &'static Message, value: &Value) {
        let Some(members) = value.as_object() else { return };
        for (number, name, shape) in message.fields {
            if let Some(value) = members.get(*name) {
                self.field(*number, *shape, value);
            }
        }
        if message.others.is_none() && message.extensions == 0 {
            return;
        }
        for (name, value) in members {
            let is_extension = message.extensions > 0 && name.starts_with("x-");
            let is_field = || message.fields.iter().any(|(_, field, _)| field == name);
            match message.others {
                _ if is_extension => self.named(message.extensions, name, Shape::Any, value),
                Some((number, shape)) if !is_field() => self.named(number, name, shape, value),
                _ => {}
            }
        }
    }

    fn named(&mut self, number: u32, name: &str, shape: Shape, value: &Value) {
        self.within(number, |entry| {
            entry.bytes(1, name.as_bytes());
            entry.field(2, shape, value);
        });
    }

    /// What is not of the shape, and what is zero in proto3, is left out.
    fn field(&mut self, number: u32, shape: Shape, value: &Value) {
        match shape {
            Shape::Text => {
                if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
                    self.bytes(number, text.as_bytes());
                }
            }
            Shape::Int => {
                if let Some(int) = value.as_i64().filter(|int| *int != 0) {
                    self.tag(number, 0);
                    self.varint(int.cast_unsigned());
                }
            }
            Shape::Double => {
                if let Some(double) = value.as_f64().filter(|double| *double != 0.0) {
                    self.double(number, double);
                }
            }
            Shape::Flag => {
                if value == &Value::Bool(true) {
                    self.flag(number, true);
                }
            }
            Shape::Any => self.within(number, |any| any.bytes(2, value.to_string().as_bytes())),
            Shape::Default => self.within(number, |default| default.scalar(value)),
            Shape::Message(message) => self.within(number, |inner| inner.members(message, value)),
            Shape::OrReference(message) => self.within(number, |either| {
                let is_reference = value.get("$ref").is_some();
                let (number, message) = if is_reference { (2, &REFERENCE) } else { (1, message) };
                either.field(number, Shape::Message(message), value);
            }),
            Shape::OrFlag(shape) => self.within(number, |either| match value {
                Value::Bool(flag) => either.flag(2, *flag),
                value => either.field(1, *shape, value),
            }),
            Shape::List(shape) => self.items(number, *shape, value),
            Shape::Within(shape) => self.within(number, |inner| inner.items(1, *shape, value)),
            Shape::Parameter => self.parameter(number, value),
        }
    }

    fn items(&mut self, number: u32, shape: Shape, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.field(number, shape, item)),
            one => self.field(number, shape, one),
        }
    }

    /// A member of a choice is there even if it is zero.
    fn scalar(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.double(1, number.as_f64().unwrap_or_default()),
            Value::Bool(flag) => self.flag(2, *flag),
            Value::String(text) => self.bytes(3, text.as_bytes()),
            _ => {}
        }
    }

    fn double(&mut self, number: u32, double: f64) {
        self.tag(number, 1);
        self.0.extend_from_slice(&double.to_le_bytes());
    }

    fn flag(&mut self, number: u32, flag: bool) {
        self.tag(number, 0);
        self.0.push(u8::from(flag));
    }

    /// `{1: {1: body}}`, `{1: {2: {place: other}}}`, or `{2: reference}`.
    fn parameter(&mut self, number: u32, value: &Value) {
        self.within(number, |item| {
            if value.get("$ref").is_some() {
                return item.field(2, Shape::Message(&REFERENCE), value);
            }
            item.within(1, |parameter| match value.get("in").and_then(Value::as_str) {
                Some("body") => parameter.field(1, Shape::Message(&v2::BODY), value),
                place => parameter.within(2, |other| {
                    let (number, message) = v2::parameter(place.unwrap_or_default());
                    other.field(number, Shape::Message(message), value);
                }),
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;
    use crate::openapi::{v2_json, v2_proto, v3_doc, v3_proto};
    use serde_json::json;

    /// A schema with all that ours may have.
    fn schema(reference: &str) -> Value {
        json!({
            "type": "object", "description": "d".repeat(300), "required": ["a"], "x-kubernetes-map-type": "atomic",
            "properties": {
                "a": {"type": "string", "enum": ["x", "y"], "pattern": "^x", "maxLength": 7, "format": "f"},
                "b": {"type": "array", "items": {"$ref": reference}, "maxItems": 3, "uniqueItems": true},
                "c": {"type": "object", "additionalProperties": {"type": "integer"}},
                "d": {"type": "object", "additionalProperties": true},
                "e": {"type": "number", "minimum": -1.5, "maximum": 2.0, "exclusiveMaximum": true},
            },
        })
    }

    #[test]
    fn a_schema_of_version_2_comes_back_whole() {
        let schema = schema("#/definitions/B");
        let document = json!({"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {},
            "definitions": {"A": schema, "B": {"type": "string", "default": {"k": [1]}}}});
        assert_eq!(hako_judge::openapi::v2(&v2(&document)).unwrap(), document);
    }

    #[test]
    fn a_schema_of_version_3_comes_back_whole() {
        let mut schema = schema("#/components/schemas/B");
        schema["properties"]["f"] = json!({
            "oneOf": [{"type": "integer"}, {"type": "string"}], "nullable": true, "not": {"type": "boolean"},
            "anyOf": [{"$ref": "#/components/schemas/B"}],
        });
        let defaults: Vec<Value> = [json!("x"), json!(""), json!(false), json!(0.0)].into();
        for default in defaults {
            schema["properties"]["a"]["default"] = default;
            let document = json!({"openapi": "3.0.0", "info": {"title": "t", "version": "v"}, "paths": {},
                "components": {"schemas": {"A": schema, "B": {"type": "string"}}}});
            assert_eq!(hako_judge::openapi::v3(&v3(&document)).unwrap(), document);
        }
    }

    /// Without what the messages have no place for: defaults that are objects; and numbers in them are fractions.
    fn with_defaults_of_messages(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    match (name.as_str(), member) {
                        ("properties", Value::Object(fields)) => {
                            fields.values_mut().for_each(with_defaults_of_messages);
                        }
                        ("default", member) if member.is_number() => *member = json!(member.as_f64()),
                        (_, member) => with_defaults_of_messages(member),
                    }
                }
                // A schema says more than its default.
                let is_schema =
                    ["type", "allOf", "oneOf", "format"].iter().any(|it| members.contains_key(*it));
                members.retain(|name, member| {
                    !(is_schema && name == "default" && (member.is_object() || member.is_array()))
                });
            }
            Value::Array(items) => items.iter_mut().for_each(with_defaults_of_messages),
            _ => {}
        }
    }

    #[test]
    fn others_read_all_that_the_documents_say() {
        let kinds = Registry::default();
        let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let (text, message) = (v2_json(&kinds, &[]), v2_proto(&kinds, &[]));
        assert_eq!(text.etag, message.etag);
        let whole = hako_judge::openapi::v2(&message.bytes).unwrap();
        assert!(whole == parsed(&text.bytes), "version 2 differs");
        for (group, version) in [("", "v1"), ("apps", "v1"), ("apiextensions.k8s.io", "v1")] {
            let (text, message) =
                (v3_doc(&kinds, group, version).unwrap(), v3_proto(&kinds, group, version).unwrap());
            assert_eq!(text.etag, message.etag);
            let mut wanted = parsed(&text.bytes);
            with_defaults_of_messages(&mut wanted);
            let whole = hako_judge::openapi::v3(&message.bytes).unwrap();
            assert!(whole == wanted, "{group}/{version} differs");
        }
    }

    #[test]
    fn what_a_table_does_not_have_is_left_out() {
        let document = json!({"openapi": "3.0.0", "x-a": 1, "other": 2, "paths": 7, "components": {
            "schemas": {"A": {"type": ["string"], "maxLength": "x", "unknown": {}, "format": "f"}, "B": null},
        }});
        let wanted = json!({"openapi": "3.0.0", "x-a": 1, "paths": {}, "components": {
            "schemas": {"A": {"format": "f"}, "B": {}},
        }});
        assert_eq!(hako_judge::openapi::v3(&v3(&document)).unwrap(), wanted);
    }
}

//! What another server's document of version 2 says of its version of a group, and how that becomes part of the one
//! document.
//!
//! Nothing of such a document is believed: what is taken are the paths of that version and the types they lead to, and
//! nothing at all of one that refers to what it does not have.

use super::etag;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

const DEFINITIONS: &str = "#/definitions/";
/// Bytes of the name of a type.
const NAME_MAX: usize = 512;

/// A part of another server's document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Swagger {
    /// Stands for the content.
    pub edition: String,
    paths: Map<String, Value>,
    definitions: Map<String, Value>,
}

impl Swagger {
    /// What a document says of a version of a group; none if that is nothing, or no sound document.
    pub(crate) fn read(group: &str, version: &str, document: &[u8]) -> Option<Self> {
        let mut document: Value = serde_json::from_slice(document).ok()?;
        if document.get("swagger")? != "2.0" {
            return None;
        }
        let mut take = |name: &str| match document.get_mut(name).map(Value::take) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let (mut paths, all) = (take("paths"), take("definitions"));
        let root = format!("/apis/{group}/{version}");
        let is_own =
            |path: &str| path.strip_prefix(&root).is_some_and(|it| it.is_empty() || it.starts_with('/'));
        paths.retain(|path, item| item.is_object() && is_own(path));
        let own = all.iter().filter(|(_, schema)| is_of(schema, group, version));
        let mut open: Vec<String> = own.map(|(name, _)| name.clone()).collect();
        paths.values().try_for_each(|item| references(item, &mut open))?;
        let mut definitions = Map::new();
        while let Some(name) = open.pop() {
            if !definitions.contains_key(&name) {
                let schema = all.get(&name).filter(|schema| schema.is_object() && name.len() <= NAME_MAX)?;
                references(schema, &mut open)?;
                definitions.insert(name, schema.clone());
            }
        }
        if paths.is_empty() && definitions.is_empty() {
            return None;
        }
        definitions.sort_keys();
        let edition =
            etag(&(Value::Object(paths.clone()).to_string(), Value::Object(definitions.clone()).to_string()));
        Some(Self { edition, paths, definitions })
    }

    /// Adds it to a document. A type whose name is that of another one gets a name of its own.
    pub(super) fn add(&self, paths: &mut Map<String, Value>, definitions: &mut Map<String, Value>) {
        let is_other =
            |name: &String| definitions.get(name).is_some_and(|known| *known != self.definitions[name]);
        let clashes: BTreeSet<&String> = self.definitions.keys().filter(|name| is_other(name)).collect();
        let names: BTreeMap<&str, String> =
            clashes.into_iter().map(|name| (name.as_str(), self.free_name(name, definitions))).collect();
        for (name, schema) in &self.definitions {
            let mut schema = schema.clone();
            rename(&mut schema, &names);
            let name = names.get(name.as_str()).unwrap_or(name);
            definitions.entry(name.clone()).or_insert(schema);
        }
        for (path, item) in &self.paths {
            let mut item = item.clone();
            rename(&mut item, &names);
            paths.entry(path.clone()).or_insert(item);
        }
    }

    fn free_name(&self, name: &str, taken: &Map<String, Value>) -> String {
        let is_free = |name: &String| !taken.contains_key(name) && !self.definitions.contains_key(name);
        let mut names = (2_u64..).map(|number| format!("{name}_v{number}"));
        names.find(is_free).unwrap_or_default()
    }
}

/// Whether it is the type of a kind of that version.
fn is_of(schema: &Value, group: &str, version: &str) -> bool {
    let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    kinds.into_iter().flatten().any(|kind| kind["group"] == group && kind["version"] == version)
}

/// Adds the names of all types that a value refers to; none if it refers to something else.
fn references(value: &Value, found: &mut Vec<String>) -> Option<()> {
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| match member {
            Value::String(target) if name == "$ref" => {
                found.push(target.strip_prefix(DEFINITIONS)?.to_owned());
                Some(())
            }
            member => references(member, found),
        }),
        Value::Array(items) => items.iter().try_for_each(|item| references(item, found)),
        _ => Some(()),
    }
}

fn rename(value: &mut Value, names: &BTreeMap<&str, String>) {
    if names.is_empty() {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(target) if name == "$ref" => {
                        let new = target.strip_prefix(DEFINITIONS).and_then(|old| names.get(old));
                        if let Some(new) = new {
                            *target = format!("{DEFINITIONS}{new}");
                        }
                    }
                    member => rename(member, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(document: &Value) -> Option<Swagger> {
        Swagger::read("g.io", "v1", document.to_string().as_bytes())
    }

    fn document() -> Value {
        let to = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        json!({
            "swagger": "2.0",
            "paths": {
                "/apis/g.io/v1/tabs": {"get": {"responses": {"200": {"schema": to("Tab")}}}},
                "/apis/g.io/v10/tabs": {"get": {}},
                "/apis/apps/v1/deployments": {"get": {}},
            },
            "definitions": {
                "Tab": {"type": "object", "properties": {"meta": to("Meta"), "next": to("Tab")}},
                "Meta": {"type": "object", "description": "theirs"}, "Other": {"type": "object"},
                "Lone": {"type": "object", "x-kubernetes-group-version-kind": [{"group": "g.io", "version": "v1", "kind": "Lone"}]},
            },
        })
    }

    #[test]
    fn only_paths_of_the_version_and_types_they_lead_to_are_taken() {
        let read = read(&document()).unwrap();
        assert_eq!(read.paths.keys().collect::<Vec<_>>(), ["/apis/g.io/v1/tabs"]);
        assert_eq!(read.definitions.keys().collect::<Vec<_>>(), ["Lone", "Meta", "Tab"]);
    }

    #[test]
    fn a_type_with_the_name_of_another_gets_a_name_of_its_own() {
        let ours = json!({"type": "object", "description": "ours"});
        let mut definitions = Map::from_iter([("Meta".to_owned(), ours.clone())]);
        let mut paths = Map::new();
        let foreign = read(&document()).unwrap();
        foreign.add(&mut paths, &mut definitions);
        assert_eq!((&definitions["Meta"], &definitions["Meta_v2"]["description"]), (&ours, &json!("theirs")));
        assert_eq!(definitions["Tab"]["properties"]["meta"]["$ref"], "#/definitions/Meta_v2");
        assert_eq!(definitions["Tab"]["properties"]["next"]["$ref"], "#/definitions/Tab");
        assert!(paths.contains_key("/apis/g.io/v1/tabs"));
    }

    #[test]
    fn what_is_no_sound_document_is_not_taken() {
        let changed = |pointer: &str, value: Value| {
            let mut document = document();
            *document.pointer_mut(pointer).unwrap() = value;
            read(&document)
        };
        assert_eq!(changed("/swagger", json!("1.0")), None);
        assert_eq!(changed("/definitions/Meta", json!("text")), None);
        assert_eq!(changed("/definitions", json!({})), None, "it refers to what it has not");
        let elsewhere = json!({"schema": {"$ref": "http://evil/x"}});
        assert_eq!(changed("/paths/~1apis~1g.io~1v1~1tabs/get", elsewhere), None);
        for rubbish in ["", "[]", "{}", "{\"swagger\": \"2.0\", \"paths\": 7}"] {
            assert_eq!(Swagger::read("g.io", "v1", rubbish.as_bytes()), None);
        }
    }
}

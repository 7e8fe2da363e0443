//! OpenAPI documents of the served kinds, by which clients validate and explain.
//!
//! Owns: version 2, and version 3 (index and a document per group-version), in JSON and protobuf.
//! Does not own: their transport; callers compare [`Document::etag`].
//!
//! Invariant: a document is built when somebody asks, from the schema model and the kinds that are served, and known
//! by what it is built of.

mod definitions;
mod documents;
mod foreign;
mod paths;
mod proto;
mod v2;
mod v3;

pub(crate) use documents::Documents;
pub(crate) use foreign::Swagger;
pub(crate) use v2::{v2_json, v2_proto};
pub(crate) use v3::{v3_doc, v3_index, v3_proto};

use bytes::Bytes;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// The encoded bytes of a document.
#[derive(Debug)]
pub struct Document {
    /// The body.
    pub bytes: Bytes,
    /// Changes when the body does; without quotes.
    pub etag: String,
}

impl Document {
    fn new(bytes: Vec<u8>) -> Self {
        Self { etag: etag(&bytes), bytes: bytes.into() }
    }

    /// A value as JSON.
    pub(crate) fn of(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }
}

/// What stands for some content.
fn etag(content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let one = hasher.finish();
    one.hash(&mut hasher);
    format!("{one:016X}{:016X}", hasher.finish())
}

/// Which of the two dialects a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    pub(crate) fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

fn info() -> Value {
    serde_json::json!({ "title": "Kubernetes", "version": "v1.36.0" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;
    use serde_json::json;

    fn parsed(document: &Document) -> Value {
        serde_json::from_slice(&document.bytes).unwrap()
    }

    /// Every reference in a document, as JSON pointers.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (name, inner) in map {
                    match inner {
                        Value::String(target) if name == "$ref" => {
                            found.push(target.trim_start_matches('#').into())
                        }
                        _ => references(inner, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let kinds = Registry::default();
        let mut documents = vec![parsed(&v2_json(&kinds, &[]))];
        for (group, version) in
            [("", "v1"), ("apps", "v1"), ("coordination.k8s.io", "v1"), ("discovery.k8s.io", "v1")]
        {
            documents.push(parsed(&v3_doc(&kinds, group, version).unwrap()));
        }
        for document in documents {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for target in found {
                assert!(document.pointer(&target).is_some(), "{target}");
            }
        }
    }

    /// Some fields have no text upstream either: those of the types of schemas, and a few more.
    #[test]
    fn every_field_that_upstream_explains_has_its_text() {
        let document = parsed(&v2_json(&Registry::default(), &[]));
        let mut silent = Vec::new();
        let mut explained = 0;
        for (name, schema) in document["definitions"].as_object().unwrap() {
            let short = name.rsplit('.').next().unwrap();
            let says = |schema: &Value| schema["description"].as_str().is_some_and(|text| !text.is_empty());
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                if says(schema) {
                    explained += 1;
                } else if short != "JSONSchemaProps" {
                    silent.push(format!("{short}.{field}"));
                }
            }
        }
        let expected = [
            "ExternalDocumentation.description",
            "ExternalDocumentation.url",
            "CertificateSigningRequest.metadata",
            "GroupResource.group",
            "GroupResource.resource",
            "IngressRule.http",
        ];
        silent.sort();
        let mut expected = expected.map(str::to_owned);
        expected.sort();
        assert_eq!(silent, expected);
        assert!(explained > 2000, "{explained}");
    }

    #[test]
    fn the_index_lists_every_group_version_with_its_hash() {
        let kinds = Registry::default();
        let index = parsed(v3_index(&kinds.now()));
        let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
        assert_eq!(
            url,
            format!("/openapi/v3/apis/apps/v1?hash={}", v3_doc(&kinds, "apps", "v1").unwrap().etag)
        );
        assert!(index["paths"]["api/v1"].is_object());
        assert!(v3_doc(&kinds, "none", "v1").is_none());
    }

    #[test]
    fn clients_find_what_they_validate_and_explain_by() {
        let kinds = Registry::default();
        let document = parsed(&v3_doc(&kinds, "apps", "v1").unwrap());
        let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            schema["x-kubernetes-group-version-kind"],
            json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
        );
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        let names: Vec<&str> =
            patch["parameters"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
            assert!(names.contains(&name), "{name}");
        }
        let core = parsed(&v2_json(&kinds, &[]));
        let containers = &core["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    }
}

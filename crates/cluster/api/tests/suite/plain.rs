//! Kinds of objects that nothing but their writers changes, one built in and one of a definition: what the API promises
//! of objects holds of either.

use hako_client::{Object, Patch};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::contract::{config_map, from};
use crate::custom_resources::define;
use crate::every_kind::read;
use crate::support::World;

/// A namespaced kind whose objects have values by keys.
pub trait Plain: Object + PartialEq + Resource<Scope = NamespaceResourceScope> {
    /// Where the objects of the namespace `default` are.
    const PATH: &'static str;
    /// How messages name the resource.
    const RESOURCE: &'static str;
    /// Whether a definition makes it. Its objects have generations, and are replaced only at the version that was read.
    const IS_DEFINED: bool;
    /// Where the values are, from the outermost field to the innermost.
    const VALUES: &'static [&'static str];

    /// An object with a label `app` and a value `key`.
    fn labelled(name: &str, label: &str) -> Self;

    /// A merge patch of one value.
    fn patch_of(key: &str, value: &str) -> Value {
        Self::VALUES.iter().rev().fold(json!({key: value}), |inner, field| json!({*field: inner}))
    }

    fn value(&self, key: &str) -> Option<String> {
        let object = serde_json::to_value(self).unwrap();
        object.pointer(&format!("/{}/{key}", Self::VALUES.join("/")))?.as_str().map(str::to_owned)
    }

    /// The same object with another value.
    fn with(&self, key: &str, value: &str) -> Self {
        let mut object = serde_json::to_value(self).unwrap();
        let values = object.pointer_mut(&format!("/{}", Self::VALUES.join("/"))).unwrap();
        values[key] = value.into();
        from(object)
    }
}

pub fn merge_of<K: Plain>(key: &str, value: &str) -> Patch {
    Patch::Merge(K::patch_of(key, value))
}

impl Plain for ConfigMap {
    const PATH: &'static str = "/api/v1/namespaces/default/configmaps";
    const RESOURCE: &'static str = "configmaps";
    const IS_DEFINED: bool = false;
    const VALUES: &'static [&'static str] = &["data"];

    fn labelled(name: &str, label: &str) -> Self {
        config_map(name, label)
    }
}

/// The suite's own kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gadget {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: Value,
}

impl Gadget {
    /// Makes the kind known.
    pub async fn define(world: &World) {
        define(world, &read("definitions/gadgets.yaml")).await;
    }
}

impl Resource for Gadget {
    const API_VERSION: &'static str = "suite.example.com/v1";
    const GROUP: &'static str = "suite.example.com";
    const KIND: &'static str = "Gadget";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "gadgets";
    type Scope = NamespaceResourceScope;
}

impl Metadata for Gadget {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Plain for Gadget {
    const PATH: &'static str = "/apis/suite.example.com/v1/namespaces/default/gadgets";
    const RESOURCE: &'static str = "gadgets.suite.example.com";
    const IS_DEFINED: bool = true;
    const VALUES: &'static [&'static str] = &["spec", "extra"];

    fn labelled(name: &str, label: &str) -> Self {
        from(json!({
            "apiVersion": Self::API_VERSION, "kind": Self::KIND,
            "metadata": {"name": name, "labels": {"app": label}}, "spec": {"extra": {"key": "value"}},
        }))
    }
}

//! The kind `Site` in both of its versions. The second one is kept; the first one knew a single page.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::crd::merge_crds;
use kube::{CustomResource, CustomResourceExt as _, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a site with no other pages shows.
pub const INDEX: &str = "index.html";

/// What the operator says of a site, in both versions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteStatus {
    /// The generation of the spec that was acted on last.
    pub observed_generation: Option<i64>,
    /// How many pods show it.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The replica of the operator that acted on it last.
    pub reconciled_by: Option<String>,
}

fn one() -> i32 {
    1
}

pub mod v1 {
    use super::{CustomResource, Deserialize, JsonSchema, Serialize, SiteStatus, one};

    /// One page.
    #[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, Serialize)]
    #[kube(
        group = "fleet.example.com",
        version = "v1",
        kind = "Site",
        namespaced,
        status = "SiteStatus",
        deprecated = "fleet.example.com/v1 Site is deprecated; use fleet.example.com/v2"
    )]
    pub struct SiteSpec {
        /// The text of the page.
        #[serde(default)]
        pub page: String,
        /// How many pods show it.
        #[serde(default = "one")]
        pub replicas: i32,
    }
}

pub mod v2 {
    use super::{BTreeMap, CustomResource, Deserialize, KubeSchema, Serialize, SiteStatus, one};

    /// Pages by their names.
    #[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, Serialize)]
    #[kube(
        group = "fleet.example.com",
        version = "v2",
        kind = "Site",
        namespaced,
        status = "SiteStatus",
        shortname = "st",
        category = "fleet",
        selectable = ".spec.replicas",
        scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.readyReplicas"),
        printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas")
    )]
    pub struct SiteSpec {
        /// The texts of the pages.
        #[serde(default)]
        #[x_kube(validation = Rule::new("self.size() <= 8").message("a site has eight pages at most"))]
        pub pages: BTreeMap<String, String>,
        /// How many pods show them.
        #[serde(default = "one")]
        #[schemars(range(min = 0, max = 5))]
        pub replicas: i32,
    }
}

/// The definition, with what converts between the versions.
pub fn definition(conversion: serde_json::Value) -> anyhow::Result<CustomResourceDefinition> {
    let mut definition = merge_crds(vec![v1::Site::crd(), v2::Site::crd()], "v2")?;
    definition.spec.conversion = Some(serde_json::from_value(conversion)?);
    Ok(definition)
}

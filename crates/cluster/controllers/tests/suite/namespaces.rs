//! The end of a namespace.

use crate::cluster::{Cluster, eventually};
use hako_client::{DeleteOptions, Patch, ResourceType, WriteOptions};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use serde_json::json;

/// The status and message of a condition.
async fn condition(cluster: &Cluster, kind: &str) -> Option<(String, String)> {
    let namespace = cluster.client.all::<Namespace>().get("space").await.ok()?;
    let all = namespace.status?.conditions?;
    let condition = all.into_iter().find(|condition| condition.type_ == kind)?;
    Some((condition.status, condition.message.unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_says_what_blocks_its_end() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.client.all::<Namespace>();
    let namespace = json!({ "metadata": { "name": "space" } });
    namespaces.create(&serde_json::from_value(namespace).unwrap()).await.unwrap();
    let maps = cluster.client.namespaced::<ConfigMap>("space");
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    maps.create(&serde_json::from_value(held).unwrap()).await.unwrap();
    namespaces.delete("space", &DeleteOptions::default()).await.unwrap();
    let said =
        ("True".to_owned(), "Some resources are remaining: configmaps. has 1 resource instances".to_owned());
    eventually("what remains", async || {
        condition(&cluster, "NamespaceContentRemaining").await.as_ref() == Some(&said)
    })
    .await;
    let finalizers = condition(&cluster, "NamespaceFinalizersRemaining").await.unwrap();
    assert_eq!(
        finalizers,
        (
            "True".to_owned(),
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
                .to_owned()
        )
    );
    for kind in ["NamespaceDeletionDiscoveryFailure", "NamespaceDeletionContentFailure"] {
        assert_eq!(condition(&cluster, kind).await.unwrap().0, "False", "{kind}");
    }
    let resource = ResourceType::new("", "v1", "configmaps");
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let dynamic = cluster.client.dynamic(&resource, Some("space"));
    dynamic.patch("held", None, &free, &WriteOptions::default()).await.unwrap();
    eventually("no namespace", async || namespaces.get_opt("space").await.unwrap().is_none()).await;
}

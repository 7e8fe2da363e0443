//! The Node authorizer.

use hako_api::Identity;
use hako_error::Kind;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount,
};
use serde_json::{Value, json};

use crate::support::World;

async fn create<K>(world: &World, object: Value)
where
    K: hako_client::Object<Scope = k8s_openapi::NamespaceResourceScope>,
{
    world.inside().namespaced::<K>("default").create(&serde_json::from_value(object).unwrap()).await.unwrap();
}

/// A pod that refers to objects in every way there is.
fn pod(name: &str, node: &str, suffix: &str) -> Value {
    let of = |name: &str| format!("{name}-{suffix}");
    let env = json!([
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": of("env"), "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": of("env"), "key": "k"}}},
    ]);
    let from = json!([{"secretRef": {"name": of("from")}}, {"configMapRef": {"name": of("from")}}]);
    json!({"metadata": {"name": name}, "spec": {
        "nodeName": node,
        "imagePullSecrets": [{"name": of("pull")}],
        "containers": [{"name": "c", "image": "i", "env": env, "envFrom": from}],
        "volumes": [
            {"name": "s", "secret": {"secretName": of("volume")}},
            {"name": "m", "configMap": {"name": of("volume")}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": of("projected")}}, {"configMap": {"name": of("projected")}}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": of("claim")}},
        ],
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_only_what_pods_bound_to_it_need() {
    let world = World::start().await;
    let ways = ["env", "from", "pull", "volume", "projected"];
    for suffix in ["mine", "other"] {
        for way in ways {
            let object = json!({"metadata": {"name": format!("{way}-{suffix}")}});
            create::<Secret>(&world, object.clone()).await;
            create::<ConfigMap>(&world, object).await;
        }
    }
    create::<Pod>(&world, pod("mine", "n", "mine")).await;
    create::<Pod>(&world, pod("other", "m", "other")).await;
    let client = world.server.client(Identity::node("n"));
    let (secrets, maps) = (client.namespaced::<Secret>("default"), client.namespaced::<ConfigMap>("default"));
    for way in ways {
        secrets.get(&format!("{way}-mine")).await.unwrap();
        if way != "pull" {
            maps.get(&format!("{way}-mine")).await.unwrap();
        }
        let refused = secrets.get(&format!("{way}-other")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Forbidden);
        let text = "no relationship found between node 'n' and this object";
        assert!(refused.to_string().contains(text), "{refused}");
        maps.get(&format!("{way}-other")).await.unwrap_err();
    }
    maps.get("pull-mine").await.unwrap_err();
    let params = hako_client::ListParams::default();
    assert_eq!(secrets.list(&params).await.unwrap_err().kind(), Kind::Forbidden, "all of them is too much");
    let accounts = client.namespaced::<ServiceAccount>("default");
    accounts.get("default").await.unwrap();
    create::<ServiceAccount>(&world, json!({"metadata": {"name": "unused"}})).await;
    accounts.get("unused").await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_the_claims_of_its_pods_and_their_volumes() {
    let world = World::start().await;
    for (suffix, node) in [("mine", "n"), ("other", "m")] {
        let claim = json!({"metadata": {"name": format!("claim-{suffix}")}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": suffix}});
        create::<PersistentVolumeClaim>(&world, claim).await;
        let volume: PersistentVolume = serde_json::from_value(json!({"metadata": {"name": suffix}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"},
            "claimRef": {"namespace": "default", "name": format!("claim-{suffix}")}}}))
        .unwrap();
        world.inside().all::<PersistentVolume>().create(&volume).await.unwrap();
        create::<Pod>(&world, pod(suffix, node, suffix)).await;
    }
    let client = world.server.client(Identity::node("n"));
    let claims = client.namespaced::<PersistentVolumeClaim>("default");
    claims.get("claim-mine").await.unwrap();
    claims.get("claim-other").await.unwrap_err();
    let volumes = client.all::<PersistentVolume>();
    volumes.get("mine").await.unwrap();
    volumes.get("other").await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_nodes_name_alone_is_no_node() {
    let world = World::start().await;
    create::<Secret>(&world, json!({"metadata": {"name": "volume-mine"}})).await;
    create::<Pod>(&world, pod("mine", "n", "mine")).await;
    let stranger = world.server.client(Identity::new("system:node:n", &["system:authenticated"]));
    let refused = stranger.namespaced::<Secret>("default").get("volume-mine").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "system:node:n", "groups": ["system:nodes"],
        "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default", "name": "volume-mine"}}});
    let answer = world.kubectl_with(&["create", "-o", "json", "-f", "-"], &review.to_string()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"]["allowed"], true, "a review knows what nodes may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reads_its_own_node_and_the_pods_on_it() {
    let world = World::start().await;
    for node in ["n", "m"] {
        create::<Pod>(&world, pod(&format!("on-{node}"), node, node)).await;
        let object = json!({"metadata": {"name": node}});
        let nodes = world.inside().dynamic(&hako_client::ResourceType::new("", "v1", "nodes"), None);
        nodes.create(&object, &hako_client::WriteOptions::default()).await.unwrap();
    }
    let pair = world.pki.node_client("n").unwrap();
    let certificate = Some((pair.certificate.as_str(), pair.key.as_str()));
    let pods = "/api/v1/pods";
    let cases = [
        (format!("{pods}?fieldSelector=spec.nodeName%3Dn"), 200, ""),
        (format!("{pods}?fieldSelector=status.phase%21%3DFailed%2Cspec.nodeName%3D%3Dn"), 200, ""),
        (
            format!("{pods}?fieldSelector=spec.nodeName%3Dm"),
            403,
            "can only list/watch pods with spec.nodeName",
        ),
        (pods.to_owned(), 403, "can only list/watch pods with spec.nodeName field selector"),
        ("/api/v1/namespaces/default/pods/on-n".to_owned(), 200, ""),
        ("/api/v1/namespaces/default/pods/on-m".to_owned(), 403, "no relationship found between node 'n'"),
        ("/api/v1/nodes/n".to_owned(), 200, ""),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dn".to_owned(), 200, ""),
        ("/api/v1/nodes/m".to_owned(), 403, "node 'n' cannot read 'm', only its own Node object"),
        ("/api/v1/nodes".to_owned(), 403, "only its own Node object"),
    ];
    for (path, code, why) in cases {
        let (status, answer) = super::call(&world, certificate, None, &[], ("GET", &path), None).await;
        assert_eq!(status, code, "{path}: {answer}");
        assert!(answer["message"].as_str().unwrap_or("").contains(why), "{path}: {answer}");
    }
}

//! What nodes may change, and who approves certificates.

use hako_api::Identity;
use hako_client::{DeleteOptions, Patch, WriteOptions};
use serde_json::{Value, json};

use super::{assert_forbidden, create, create_as, kind, make, pod};
use crate::support::World;

async fn patch_as(
    world: &World,
    node: &str,
    name: &str,
    part: Option<&str>,
    patch: Value,
) -> hako_error::Result<Value> {
    let api = world.server.client(Identity::node(node)).dynamic(&kind("nodes"), None);
    api.patch(name, part, &Patch::Merge(patch), &WriteOptions::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_takes_no_pods_until_it_is_ready() {
    let world = World::start().await;
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let node = make(&world, "nodes", json!({"metadata": {"name": "n"}})).await;
    assert_eq!(node["spec"]["taints"], json!([taint]));
    let own = json!({"metadata": {"name": "m"}, "spec": {"taints": [taint]}});
    assert_eq!(make(&world, "nodes", own).await["spec"]["taints"], json!([taint]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_changes_neither_others_nor_what_draws_pods_to_it() {
    let world = World::start().await;
    let labels = json!({"kubernetes.io/hostname": "n", "node-role.kubernetes.io/master": ""});
    let node = |labels: &Value| json!({"metadata": {"name": "n", "labels": labels}});
    let refused = create_as(&world, Identity::node("n"), "nodes", None, node(&labels)).await;
    assert_forbidden(
        refused,
        "nodes \"n\" is forbidden: node \"n\" is not allowed to set the following labels: node-role.kubernetes.io/master",
    );
    let labels = json!({"kubernetes.io/hostname": "n", "kubelet.kubernetes.io/x": "", "own": ""});
    create_as(&world, Identity::node("n"), "nodes", None, node(&labels)).await.unwrap();
    let refused =
        create_as(&world, Identity::node("m"), "nodes", None, json!({"metadata": {"name": "o"}})).await;
    assert_forbidden(refused, "node \"m\" is not allowed to modify node \"o\"");
    for (patch, text) in [
        (json!({"spec": {"taints": []}}), "node \"n\" is not allowed to modify taints"),
        (
            json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}),
            "is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
    ] {
        assert_forbidden(patch_as(&world, "n", "n", None, patch).await, text);
    }
    patch_as(&world, "n", "n", None, json!({"metadata": {"labels": {"own": "2"}}})).await.unwrap();
    let lease = json!({"metadata": {"name": "other"}, "spec": {}});
    let refused =
        create_as(&world, Identity::node("n"), "leases", Some("kube-node-lease"), lease.clone()).await;
    assert_forbidden(refused, "can only access node lease with the same name as the requesting node");
    let refused = create_as(&world, Identity::node("n"), "leases", Some("default"), lease).await;
    assert_forbidden(refused, "can only access leases in the \"kube-node-lease\" system namespace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_and_reports_only_pods_that_are_on_it() {
    let world = World::start().await;
    for (name, node) in [("mine", "n"), ("other", "m")] {
        create(&world, "pods", pod(name, json!({"nodeName": node}))).await.unwrap();
    }
    let pods = world.server.client(Identity::node("n")).dynamic(&kind("pods"), Some("default"));
    let status = |name: &'static str| {
        let patch = Patch::Merge(json!({"status": {"message": "x"}}));
        let pods = &pods;
        async move { pods.patch(name, Some("status"), &patch, &WriteOptions::default()).await }
    };
    status("mine").await.unwrap();
    assert_forbidden(
        status("other").await,
        "can only update pod status for pods with spec.nodeName set to itself",
    );
    let refused = pods.delete("other", &DeleteOptions::default()).await;
    assert_forbidden(refused, "node \"n\" can only delete pods with spec.nodeName set to itself");
    pods.delete("mine", &DeleteOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_tokens_for_pods_that_are_on_it() {
    let world = World::start().await;
    let mine = create(&world, "pods", pod("mine", json!({"nodeName": "n"}))).await.unwrap();
    let other = create(&world, "pods", pod("other", json!({"nodeName": "m"}))).await.unwrap();
    let accounts = world.server.client(Identity::node("n"));
    let accounts = accounts.namespaced::<k8s_openapi::api::core::v1::ServiceAccount>("default");
    let ask = |bound: Value| {
        let body = json!({"spec": {"boundObjectRef": bound}});
        let accounts = &accounts;
        async move { accounts.create_subresource("default", "token", &body).await }
    };
    let of =
        |pod: &Value| json!({"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]});
    let token = ask(of(&mine)).await.unwrap();
    assert!(token["status"]["token"].as_str().is_some_and(|text| !text.is_empty()));
    assert_forbidden(ask(Value::Null).await, "node requested token not bound to a pod");
    let refused = ask(of(&other)).await;
    assert_forbidden(refused, "node requested token bound to a pod scheduled on a different node");
    let refused = ask(json!({"kind": "Pod", "name": "mine"})).await;
    assert_forbidden(refused, "node requested token with a pod binding without a uid");
}

/// A request for a client certificate of somebody in a group.
fn request(name: &str, organization: &str) -> Value {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    json!({"metadata": {"name": name}, "spec": {
        "request": base64::engine::general_purpose::STANDARD.encode(pem),
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_a_master_by_a_certificate_request() {
    let world = World::start().await;
    let admin = Identity::admin;
    let refused =
        create_as(&world, admin(), "certificatesigningrequests", None, request("a", "system:masters")).await;
    assert_forbidden(
        refused,
        "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
    );
    make(&world, "certificatesigningrequests", request("b", "people")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_approves_or_signs_needs_the_right_to_for_that_signer() {
    let world = World::start().await;
    make(&world, "certificatesigningrequests", request("a", "people")).await;
    let rule = "--resource=certificatesigningrequests,certificatesigningrequests/approval,certificatesigningrequests/status";
    world.kubectl(&["create", "clusterrole", "clerk", "--verb=get,update,patch", rule]).await;
    world.kubectl(&["create", "clusterrolebinding", "clerk", "--clusterrole=clerk", "--user=clerk"]).await;
    let (worked, _, error) = world.try_kubectl(&["certificate", "approve", "a", "--as=clerk"], "").await;
    let text =
        "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"";
    assert!(!worked && error.contains(text), "{error}");
    let patch = Patch::Merge(json!({"status": {"certificate": ""}}));
    let condition = json!({"type": "Failed", "status": "True", "reason": "x"});
    let failed = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    let clerk = world.server.client(Identity::new("clerk", &["system:authenticated"]));
    let requests = clerk.dynamic(&kind("certificatesigningrequests"), None);
    requests.patch("a", Some("status"), &patch, &WriteOptions::default()).await.unwrap();
    let refused = requests.patch("a", Some("status"), &failed, &WriteOptions::default()).await;
    assert_forbidden(refused, "user not permitted to sign requests with signerName");
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: approver}\nrules:\n\
                - {apiGroups: [certificates.k8s.io], resources: [signers], resourceNames: ['kubernetes.io/*'], verbs: [approve]}\n";
    world.kubectl_with(&["create", "-f", "-"], role).await;
    world
        .kubectl(&["create", "clusterrolebinding", "approver", "--clusterrole=approver", "--user=clerk"])
        .await;
    world.kubectl(&["certificate", "approve", "a", "--as=clerk"]).await;
}

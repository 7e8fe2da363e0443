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

/// What upstream's role for nodes grants besides.
async fn grant_nodes(world: &World) {
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["csinodes"], "verbs": ["create", "get", "delete"]},
    ]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "nodes"}, "rules": rules});
    world.kubectl_with(&["create", "-f", "-"], &role.to_string()).await;
    world
        .kubectl(&["create", "clusterrolebinding", "nodes", "--clusterrole=nodes", "--group=system:nodes"])
        .await;
    let node = || Identity::node("n");
    let driver = json!({"metadata": {"name": "n"}, "spec": {"drivers": []}});
    for _ in 0..1000 {
        if create_as(world, node(), "csinodes", None, driver.clone()).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the role never came into effect");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_makes_mirrors_of_its_own_pods_alone() {
    let world = World::start().await;
    make(&world, "nodes", json!({"metadata": {"name": "n"}})).await;
    grant_nodes(&world).await;
    let as_node = |object: Value| {
        let world = &world;
        async move { create_as(world, Identity::node("n"), "pods", Some("default"), object).await }
    };
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true}]);
    let mirror = |spec: Value, owners: &Value| {
        let mut object = pod("m", spec);
        object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        object["metadata"]["ownerReferences"] = owners.clone();
        object
    };
    assert_forbidden(
        as_node(pod("p", json!({"nodeName": "n"}))).await,
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n\" can only create mirror pods",
    );
    assert_forbidden(
        as_node(mirror(json!({"nodeName": "other"}), &owner)).await,
        "node \"n\" can only create pods with spec.nodeName set to itself",
    );
    let other =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "other", "uid": "u", "controller": true}]);
    assert_forbidden(
        as_node(mirror(json!({"nodeName": "n"}), &other)).await,
        "node \"n\" can only create pods with an owner reference set to itself",
    );
    as_node(mirror(json!({"nodeName": "n"}), &owner)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_labels_owners_other_pods_and_other_drivers_alone() {
    let world = World::start().await;
    make(&world, "nodes", json!({"metadata": {"name": "n"}})).await;
    grant_nodes(&world).await;
    for (name, node) in [("mine", "n"), ("other", "m")] {
        create(&world, "pods", pod(name, json!({"nodeName": node}))).await.unwrap();
    }
    let node = world.server.client(Identity::node("n"));
    let pods = node.dynamic(&kind("pods"), Some("default"));
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}, "status": {"message": "x"}}));
    let refused = pods.patch("mine", Some("status"), &labelled, &WriteOptions::default()).await;
    match refused {
        // The status alone may change, so a label that comes with it is lost or refused.
        Ok(pod) => assert!(pod["metadata"]["labels"].get("a").is_none(), "{pod}"),
        refused => assert_forbidden(refused, "node \"n\" cannot update labels through pod status"),
    }
    let eviction =
        |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let evict = async |name: &str| {
        let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
        let request = http::Request::post(path).header("content-type", "application/json");
        let body = bytes::Bytes::from(eviction(name).to_string());
        let answer = node.send(request.body(body).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let said = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&said).replace('\\', ""))
    };
    let (code, said) = evict("other").await;
    assert!(code == 403 && said.contains("can only evict pods with spec.nodeName set to itself"), "{said}");
    assert_eq!(evict("mine").await.0, 201);
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]);
    let owned = patch_as(&world, "n", "n", None, json!({"metadata": {"ownerReferences": owner}})).await;
    assert_forbidden(owned, "node \"n\" is not allowed to modify ownerReferences");
    let driver = json!({"metadata": {"name": "other"}, "spec": {"drivers": []}});
    let refused = create_as(&world, Identity::node("n"), "csinodes", None, driver).await;
    assert_forbidden(refused, "can only access CSINode with the same name as the requesting node");
}

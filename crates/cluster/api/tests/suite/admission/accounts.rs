//! ServiceAccount.

use serde_json::{Value, json};

use super::{assert_forbidden, create, create_as, make, patch, pod};
use crate::support::World;

const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_as_the_default_account_with_its_token_mounted() {
    let world = World::start().await;
    let spec = json!({"initContainers": [{"name": "first", "image": "i"}]});
    let pod = create(&world, "pods", pod("p", spec)).await.unwrap();
    let spec = &pod["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["serviceAccount"]),
        (&json!("default"), &json!("default"))
    );
    let volume = &spec["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    let suffix = name.strip_prefix("kube-api-access-").unwrap();
    assert_eq!(suffix.len(), 5);
    let expected = json!({"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]});
    assert_eq!(volume["projected"], expected);
    for list in ["initContainers", "containers"] {
        let mounts = &spec[list][0]["volumeMounts"];
        assert_eq!(mounts, &json!([{"name": name, "readOnly": true, "mountPath": PATH}]), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_pods_may_go_without_a_token() {
    let world = World::start().await;
    let account = json!({"metadata": {"name": "shy"}, "automountServiceAccountToken": false});
    create(&world, "serviceaccounts", account).await.unwrap();
    let has_token = |pod: &Value| pod["spec"]["volumes"].as_array().is_some_and(|list| !list.is_empty());
    for (name, spec, wanted) in [
        ("a", json!({"serviceAccountName": "shy"}), false),
        ("b", json!({"serviceAccountName": "shy", "automountServiceAccountToken": true}), true),
        ("c", json!({"automountServiceAccountToken": false}), false),
        // Whoever named it in the first versions means the same.
        ("d", json!({"serviceAccount": "shy"}), false),
    ] {
        let pod = create(&world, "pods", pod(name, spec)).await.unwrap();
        assert_eq!(has_token(&pod), wanted, "{name}");
    }
    let mount = json!({"name": "own", "mountPath": PATH});
    let own = json!({"name": "main", "image": "i", "volumeMounts": [mount]});
    let spec = json!({"containers": [own], "volumes": [{"name": "own", "emptyDir": {}}]});
    let pod = create(&world, "pods", pod("e", spec)).await.unwrap();
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1, "something else is mounted there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_missing_account_is_refused() {
    let world = World::start().await;
    let refused = create(&world, "pods", pod("p", json!({"serviceAccountName": "none"}))).await;
    assert_forbidden(
        refused,
        "pods \"p\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_the_default_account_of_a_new_namespace() {
    let world = World::start().await;
    make(&world, "namespaces", json!({"metadata": {"name": "young"}})).await;
    let admin = hako_api::Identity::admin;
    let (made, account) =
        tokio::join!(create_as(&world, admin(), "pods", Some("young"), pod("p", json!({}))), async {
            tokio::task::yield_now().await;
            let account = json!({"metadata": {"name": "default"}});
            create_as(&world, admin(), "serviceaccounts", Some("young"), account).await
        });
    account.unwrap();
    assert_eq!(made.unwrap()["spec"]["serviceAccountName"], "default");
    make(&world, "namespaces", json!({"metadata": {"name": "empty"}})).await;
    let refused = create_as(&world, admin(), "pods", Some("empty"), pod("p", json!({}))).await;
    assert_forbidden(refused, "error looking up service account empty/default");
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_secrets_come_from_the_account() {
    let world = World::start().await;
    let account = json!({"metadata": {"name": "puller"}, "imagePullSecrets": [{"name": "registry"}]});
    create(&world, "serviceaccounts", account).await.unwrap();
    let spec = json!({"serviceAccountName": "puller"});
    let made = create(&world, "pods", pod("a", spec.clone())).await.unwrap();
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    let mut own = pod("b", spec);
    own["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    let made = create(&world, "pods", own).await.unwrap();
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_may_hold_its_pods_to_its_secrets() {
    let world = World::start().await;
    let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    let account = json!({
        "metadata": {"name": "strict", "annotations": annotations}, "secrets": [{"name": "mine"}],
    });
    create(&world, "serviceaccounts", account).await.unwrap();
    let because = "is not allowed because service account strict does not reference that";
    let key = |name: &str| json!([{"name": "V", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
    let volume = |name: &str| json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]});
    let env = |name: &str| json!({"containers": [{"name": "main", "image": "i", "env": key(name)}]});
    for (name, mut spec, text) in [
        ("a", volume("other"), format!("volume with secret.secretName=\"other\" {because} secret")),
        (
            "b",
            env("other"),
            format!("with envVar V referencing secret.secretName=\"other\" {because} secret"),
        ),
        (
            "c",
            json!({"imagePullSecrets": [{"name": "mine"}]}),
            format!("imagePullSecrets[0].name=\"mine\" {because} imagePullSecret"),
        ),
    ] {
        spec["serviceAccountName"] = "strict".into();
        assert_forbidden(create(&world, "pods", pod(name, spec)).await, &text);
    }
    for (name, mut spec) in [("d", volume("mine")), ("e", env("mine"))] {
        spec["serviceAccountName"] = "strict".into();
        create(&world, "pods", pod(name, spec)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_added_to_a_pod_are_held_to_the_secrets_of_its_account() {
    let world = World::start().await;
    let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    let account = json!({
        "metadata": {"name": "strict", "annotations": annotations}, "secrets": [{"name": "mine"}],
    });
    create(&world, "serviceaccounts", account).await.unwrap();
    create(&world, "pods", pod("a", json!({"serviceAccountName": "strict"}))).await.unwrap();
    let add = async |source: Value| {
        let added = json!([{"name": "look", "image": "i", "env": [{"name": "V", "valueFrom": source}]}]);
        let spec = json!({"spec": {"ephemeralContainers": added}});
        patch(&world, "pods", "a", Some("ephemeralcontainers"), spec).await
    };
    let key = |name: &str| json!({"secretKeyRef": {"name": name, "key": "k"}});
    let text = "ephemeral container look with envVar V referencing secret.secretName=\"other\" is not allowed because \
                service account strict does not reference that secret";
    assert_forbidden(add(key("other")).await, text);
    let added = add(key("mine")).await.unwrap();
    assert_eq!(added["spec"]["ephemeralContainers"][0]["volumeMounts"], Value::Null, "no token is mounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_pod_gets_nothing_and_refers_to_nothing() {
    let world = World::start().await;
    let mirror = |name: &str, spec: Value| {
        let mut pod = pod(name, spec);
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["spec"]["nodeName"] = "n".into();
        pod
    };
    let made = create(&world, "pods", mirror("a", json!({}))).await.unwrap();
    assert_eq!((made["spec"].get("volumes"), made["spec"].get("serviceAccountName")), (None, None));
    let secret = json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]});
    let refused = create(&world, "pods", mirror("b", secret)).await;
    assert_forbidden(refused, "a mirror pod may not reference secrets");
    let refused = create(&world, "pods", mirror("c", json!({"serviceAccountName": "default"}))).await;
    assert_forbidden(refused, "a mirror pod may not reference service accounts");
}

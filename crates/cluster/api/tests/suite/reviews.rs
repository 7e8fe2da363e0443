//! Reviews of access: one test a documented rule.

use hako_api::Identity;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::raw::Raw;
use crate::support::World;
use crate::writes::{Said, ask};

const ROOT: &str = "/apis/authorization.k8s.io/v1";

async fn review(world: &World, plural: &str, spec: Value) -> Said {
    ask(world, "POST", &format!("{ROOT}/{plural}"), &json!({ "spec": spec })).await
}

/// A world in which jane may look at pods of `default` and at one path.
async fn world() -> World {
    let world = World::start().await;
    world.kubectl(&["create", "role", "looker", "--verb=get,list", "--resource=pods"]).await;
    world.kubectl(&["create", "rolebinding", "looks", "--role=looker", "--user=jane"]).await;
    world.kubectl(&["create", "clusterrole", "pager", "--verb=get", "--non-resource-url=/page/*"]).await;
    world.kubectl(&["create", "clusterrolebinding", "pages", "--clusterrole=pager", "--group=readers"]).await;
    let attributes = json!({"verb": "get", "path": "/page/1"});
    let asked = json!({"groups": ["readers"], "nonResourceAttributes": attributes});
    let began = Instant::now();
    while review(&world, "subjectaccessreviews", asked.clone()).await.body["status"]["allowed"] != true {
        assert!(began.elapsed() < Duration::from_secs(20), "roles never came into effect");
    }
    world
}

fn pods(verb: &str, namespace: &str) -> Value {
    json!({"verb": verb, "resource": "pods", "namespace": namespace})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_a_subject_says_what_it_may_and_by_which_binding() {
    let world = world().await;
    let by_role = "RBAC: allowed by RoleBinding \"looks/default\" of Role \"looker\" to User \"jane\"";
    let by_path =
        "RBAC: allowed by ClusterRoleBinding \"pages\" of ClusterRole \"pager\" to Group \"readers\"";
    let path = |path: &str| json!({"verb": "get", "path": path});
    for (spec, allowed, reason) in [
        (json!({"user": "jane", "resourceAttributes": pods("list", "default")}), true, Some(by_role)),
        (json!({"user": "jane", "resourceAttributes": pods("delete", "default")}), false, None),
        (json!({"user": "jane", "resourceAttributes": pods("list", "")}), false, None),
        (json!({"user": "jane", "resourceAttributes": pods("list", "kube-system")}), false, None),
        (json!({"user": "joe", "resourceAttributes": pods("list", "default")}), false, None),
        (json!({"groups": ["readers"], "nonResourceAttributes": path("/page/2")}), true, Some(by_path)),
        (json!({"groups": ["readers"], "nonResourceAttributes": path("/other")}), false, None),
        (json!({"groups": ["system:masters"], "resourceAttributes": pods("*", "")}), true, None),
    ] {
        let said = review(&world, "subjectaccessreviews", spec.clone()).await.is(201);
        assert_eq!(said["status"]["allowed"], allowed, "{spec}: {said}");
        if let Some(reason) = reason {
            assert_eq!(said["status"]["reason"], reason);
        }
        assert_eq!(said["spec"], spec, "what was asked comes back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_asks_about_somebody_and_about_one_thing() {
    let world = World::start().await;
    let path = json!({"verb": "get", "path": "/x"});
    let one = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    for (spec, text) in [
        (json!({"user": "jane"}), format!("spec.resourceAttributes: Invalid value: null: {one}")),
        (
            json!({"user": "jane", "resourceAttributes": pods("get", "a"), "nonResourceAttributes": path}),
            format!(
                "spec.nonResourceAttributes: Invalid value: {path}: cannot be specified in combination with \
                 resourceAttributes"
            ),
        ),
        (
            json!({"resourceAttributes": pods("get", "a")}),
            "spec.user: Invalid value: \"\": at least one of user or group must be specified".to_owned(),
        ),
        (
            json!({"user": "jane", "resourceAttributes": {"verb": "list", "resource": "pods", "labelSelector": {}}}),
            "spec.resourceAttributes.labelSelector.requirements: Required value: when \
             spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required"
                .to_owned(),
        ),
        (
            json!({"user": "jane", "resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": {
                "rawSelector": "a=b", "requirements": [{"key": "a", "operator": "In", "values": ["b"]}]}}}),
            "spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same \
             time as requirements"
                .to_owned(),
        ),
    ] {
        review(&world, "subjectaccessreviews", spec).await.refuses(422, &text);
    }
    let named =
        json!({"metadata": {"name": "x"}, "spec": {"user": "jane", "resourceAttributes": pods("get", "a")}});
    let said = ask(&world, "POST", &format!("{ROOT}/subjectaccessreviews"), &named).await;
    said.refuses(422, "metadata: Invalid value: {\"name\":\"x\"}: must be empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_review_is_about_its_own_namespace() {
    let world = world().await;
    let local = |spec: Value| {
        let path = format!("{ROOT}/namespaces/default/localsubjectaccessreviews");
        let world = &world;
        async move { ask(world, "POST", &path, &json!({ "spec": spec })).await }
    };
    let said = local(json!({"user": "jane", "resourceAttributes": pods("list", "default")})).await.is(201);
    assert_eq!(
        (&said["status"]["allowed"], &said["metadata"]["namespace"]),
        (&json!(true), &json!("default"))
    );
    let said = local(json!({"user": "joe", "resourceAttributes": pods("list", "default")})).await.is(201);
    assert_eq!(said["status"]["allowed"], false);
    local(json!({"user": "jane", "resourceAttributes": pods("list", "other")})).await.refuses(
        422,
        "spec.resourceAttributes.namespace: Invalid value: \"other\": must match metadata.namespace",
    );
    let path = json!({"verb": "get", "path": "/x"});
    local(json!({"user": "jane", "nonResourceAttributes": path})).await.refuses(
        422,
        &format!("spec.nonResourceAttributes: Invalid value: {path}: disallowed on this kind of request"),
    );
    let named = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": {
        "user": "jane", "resourceAttributes": pods("list", "default")}});
    let path = format!("{ROOT}/namespaces/default/localsubjectaccessreviews");
    ask(&world, "POST", &path, &named).await.refuses(422, "must be empty except for namespace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_oneself_is_about_the_sender_whoever_that_is() {
    let world = world().await;
    let pair = world.pki.client("jane", &["readers"]).unwrap();
    let kubeconfig = world.dir.path().join("jane");
    hako_api::pki::write_kubeconfig(&kubeconfig, "jane", &world.url, world.pki.ca(), &pair).unwrap();
    let jane = hako_client::Client::from_kubeconfig(&kubeconfig).unwrap();
    let mine = async |plural: &str, spec: Value| -> Value {
        let body = bytes::Bytes::from(json!({ "spec": spec }).to_string());
        let request =
            http::Request::post(format!("{ROOT}/{plural}")).header("content-type", "application/json");
        let answer = jane.send(request.body(body).unwrap()).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    };
    let plural = "selfsubjectaccessreviews";
    for (spec, allowed) in [
        (json!({"resourceAttributes": pods("get", "default")}), true),
        (json!({"resourceAttributes": pods("get", "kube-system")}), false),
        (json!({"nonResourceAttributes": {"verb": "get", "path": "/page/9"}}), true),
        (json!({"nonResourceAttributes": {"verb": "post", "path": "/page/9"}}), false),
    ] {
        assert_eq!(mine(plural, spec.clone()).await["status"]["allowed"], allowed, "{spec}");
    }
    let one = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    assert!(mine(plural, json!({})).await["message"].as_str().unwrap().contains(one));
    let rules = mine("selfsubjectrulesreviews", json!({"namespace": "default"})).await["status"].clone();
    assert_eq!(rules["incomplete"], false, "{rules}");
    let of_pods =
        rules["resourceRules"].as_array().unwrap().iter().find(|it| it["resources"] == json!(["pods"]));
    assert_eq!(of_pods.unwrap()["verbs"], json!(["get", "list"]));
    let paths = rules["nonResourceRules"].as_array().unwrap();
    assert!(paths.contains(&json!({"verbs": ["get"], "nonResourceURLs": ["/page/*"]})), "{rules}");
    let elsewhere = mine("selfsubjectrulesreviews", json!({"namespace": "kube-system"})).await;
    let elsewhere = elsewhere["status"]["resourceRules"].as_array().unwrap().clone();
    assert!(!elsewhere.iter().any(|it| it["resources"] == json!(["pods"])), "{elsewhere:?}");
    let nowhere = mine("selfsubjectrulesreviews", json!({})).await;
    assert_eq!((&nowhere["code"], &nowhere["message"]), (&json!(400), &json!("no namespace on request")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_about_others_has_to_be_allowed_to() {
    let world = world().await;
    let jane = world.server.client(Identity::new("jane", &["system:authenticated"]));
    let body = json!({"spec": {"user": "joe", "resourceAttributes": pods("get", "default")}});
    for (path, text) in [
        (format!("{ROOT}/subjectaccessreviews"), "cannot create resource \"subjectaccessreviews\""),
        (
            format!("{ROOT}/namespaces/default/localsubjectaccessreviews"),
            "cannot create resource \"localsubjectaccessreviews\"",
        ),
    ] {
        let request = http::Request::post(path).header("content-type", "application/json");
        let answer = jane.send(request.body(bytes::Bytes::from(body.to_string())).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 403);
        let said = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&said).replace('\\', "").contains(text), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_table_and_who_takes_nothing_else_is_told_so() {
    let world = World::start().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let body = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}).to_string();
    for (accepted, code) in [(table.to_owned(), 406), (format!("{table},application/json"), 201)] {
        let mut raw = Raw::admin(&world).await;
        let headers = format!(
            "Accept: {accepted}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        let path = format!("POST {ROOT}/selfsubjectaccessreviews");
        raw.send(&format!("{path} HTTP/1.1\r\nHost: api\r\n{headers}\r\n{body}")).await;
        assert_eq!(raw.status().await, code, "{accepted}");
    }
}

//! Parts of objects, deletions and connections: what webhooks see of them; and webhooks behind a service.

use hako_client::{DeleteOptions, ResourceType, WriteOptions};
use serde_json::{Value, json};

use super::hook_server::{HookServer, Reply, allowed, patched};
use super::webhooks::{hook, register_hooks};
use super::{configmaps, create};
use crate::support::World;

fn everything() -> Value {
    json!({"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]})
}

/// Part, operation, kind of the request and of its object, of each review that is about pods, deployments or accounts.
fn seen(server: &HookServer) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let of = |review: &Value| {
        let request = &review["request"];
        let kind = request["object"].get("kind").or(request["oldObject"].get("kind")).unwrap_or(&Value::Null);
        (
            text(&request["subResource"]),
            text(&request["operation"]),
            text(&request["kind"]["kind"]),
            text(kind),
        )
    };
    let is_meant = |review: &Value| {
        ["pods", "deployments", "serviceaccounts"]
            .contains(&review["request"]["resource"]["resource"].as_str().unwrap())
    };
    server.asked().iter().map(|asked| &asked.review).filter(|review| is_meant(review)).map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_and_connections_are_asked_about_in_their_own_form() {
    let world = World::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "i"}]}});
    let pods = world.outside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"));
    pods.create(&pod, &WriteOptions::default()).await.unwrap();
    world.kubectl_with(&["create", "-f", "-"], &crate::contract::deployment("web").to_string()).await;
    let server = HookServer::start(|_, _| allowed()).await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "all", everything())]).await;
    let raw = async |path: &str, body: Value| {
        let (done, _, error) =
            world.try_kubectl(&["create", "--raw", path, "-f", "-"], &body.to_string()).await;
        assert!(done, "{path}: {error}");
    };
    let of_pod = "/api/v1/namespaces/default/pods/p";
    raw(
        &format!("{of_pod}/binding"),
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}),
    )
    .await;
    let of_account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    raw(of_account, json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}))
        .await;
    world.kubectl(&["scale", "deployment/web", "--replicas=2"]).await;
    let (done, ..) = world.try_kubectl(&["exec", "p", "--", "ls"], "").await;
    assert!(!done, "there is no such node");
    raw(
        &format!("{of_pod}/eviction"),
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}),
    )
    .await;
    world.kubectl(&["delete", "deployment", "web", "--wait=false"]).await;
    let wanted = [
        ("binding", "CREATE", "Binding", "Binding"),
        ("token", "CREATE", "TokenRequest", "TokenRequest"),
        ("scale", "UPDATE", "Scale", "Scale"),
        ("exec", "CONNECT", "PodExecOptions", "PodExecOptions"),
        ("eviction", "CREATE", "Eviction", "Eviction"),
        ("", "DELETE", "Deployment", "Deployment"),
    ];
    let wanted = wanted.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
    let mut seen = seen(&server);
    seen.dedup();
    assert_eq!(seen, wanted);
    let asked = server.asked();
    let find = |part: &str| {
        let request = asked.iter().map(|asked| &asked.review["request"]).find(|it| it["subResource"] == part);
        request.unwrap()["object"].clone()
    };
    assert_eq!(find("exec")["command"], json!(["ls"]));
    assert_eq!(find("scale")["spec"]["replicas"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_shown_with_what_goes_and_its_options() {
    let world = World::start().await;
    create(&world, "x", json!({"a": "b"})).await.unwrap();
    create(&world, "y", json!({"a": "b"})).await.unwrap();
    let server = HookServer::start(|path, review| match (path, review["request"]["name"].as_str()) {
        ("keeps", Some("y")) => Reply::Response(json!({"allowed": false})),
        ("changes", Some("z")) => patched(&json!([{"op": "add", "path": "/data", "value": {}}])),
        _ => allowed(),
    })
    .await;
    let rules = json!({"rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}]});
    register_hooks(&world, "Mutating", "m", &[hook(&server, "changes", rules.clone())]).await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "keeps", rules)]).await;
    world.kubectl(&["delete", "configmap", "x"]).await;
    let paths: Vec<_> = server.asked().iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(paths, ["changes?timeout=10s", "keeps?timeout=10s"]);
    let request = server.asked()[1].review["request"].clone();
    assert_eq!((&request["object"], &request["oldObject"]["data"]["a"]), (&Value::Null, &json!("b")));
    assert_eq!(
        (&request["options"]["kind"], &request["options"]["propagationPolicy"]),
        (&json!("DeleteOptions"), &json!("Background"))
    );
    let (done, _, error) = world.try_kubectl(&["delete", "configmap", "y"], "").await;
    let text =
        "Error from server: admission webhook \"keeps.example.com\" denied the request without explanation";
    assert!(!done && error.contains(text), "{error}");
    create(&world, "z", json!({})).await.unwrap();
    let error = configmaps(&world).delete("z", &DeleteOptions::default()).await.unwrap_err().to_string();
    assert!(
        error.contains("attempted to modify the object, which is not supported for this operation"),
        "{error}"
    );
    configmaps(&world).get("z").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_behind_a_service_is_found_at_a_ready_endpoint() {
    let world = World::start().await;
    let server =
        HookServer::named("hooks.default.svc", |_, _| Reply::Response(json!({"allowed": false}))).await;
    let service = json!({"service": {"namespace": "default", "name": "hooks", "path": "/check", "port": 8443}, "caBundle": server.ca});
    register_hooks(&world, "Validating", "v", &[hook(&server, "inside", json!({"clientConfig": service}))])
        .await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    let text = "failed calling webhook \"inside.example.com\": failed to call webhook: Post \"https://hooks.default.svc:8443/check?timeout=10s\": \
                services \"hooks\" not found";
    assert!(error.contains(text), "{error}");
    let manifests = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: hooks}}\nspec: {{ports: [{{port: 8443, targetPort: 1}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: hooks-1, labels: {{kubernetes.io/service-name: hooks}}}}\n\
         addressType: IPv4\nports: [{{name: '', port: {port}}}]\nendpoints: [{{addresses: [{address}], conditions: {{ready: READY}}}}]\n",
        port = server.address.port(),
        address = crate::proxy::own_address(),
    );
    world.kubectl_with(&["apply", "-f", "-"], &manifests.replace("READY", "false")).await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("no endpoints available for service \"hooks\""), "{error}");
    world.kubectl_with(&["apply", "-f", "-"], &manifests.replace("READY", "true")).await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("denied the request without explanation"), "{error}");
    assert_eq!(server.asked()[0].path, "check?timeout=10s");
}

//! Who may do what, what is refused, and what the server says about itself.

use std::sync::Arc;

use bytes::Bytes;
use hako_api::Identity;
use hako_client::{Client, HttpTransport, ListParams, Patch, Tls, Transport as _};
use hako_error::Kind;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::{Value, json};

use crate::contract::{config_map, pod};
use crate::support::World;

fn transport(world: &World, identity: Option<(&str, &[&str])>) -> HttpTransport {
    let pair = identity.map(|(user, groups)| world.pki.client(user, groups).unwrap());
    let pair = pair.as_ref().map(|pair| (pair.certificate.as_bytes(), pair.key.as_bytes()));
    HttpTransport::new(&world.url, Some(Tls::from_pem(world.pki.ca().as_bytes(), pair).unwrap()), None)
        .unwrap()
}

/// Sends a request as the administrator; answers code, headers and body.
async fn send(world: &World, request: http::Request<Bytes>) -> (u16, http::HeaderMap, Bytes) {
    let response = transport(world, Some(("admin", &["system:masters"]))).call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
}

fn request(method: &str, path: &str, content_type: &str, body: &str) -> http::Request<Bytes> {
    http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_say_who_calls_and_anonymous_sees_health_only() {
    let world = World::start().await;
    let nobody = Client::new(Arc::new(transport(&world, None)));
    assert_eq!(nobody.get_text("/healthz").await.unwrap(), "ok");
    assert!(nobody.get_text("/version").await.unwrap().contains("v1.36.0+hako"));
    let error = nobody.all::<Pod>().list(&ListParams::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
    assert_eq!(
        error.to_string(),
        "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster \
         scope"
    );
    let jane = Client::new(Arc::new(transport(&world, Some(("jane", &["dev"])))));
    assert!(
        jane.namespaced::<Secret>("default").get("x").await.unwrap_err().to_string().contains("\"jane\"")
    );
    assert!(jane.get_text("/api").await.is_ok(), "whoever is known may discover");
    let master = Client::new(Arc::new(transport(&world, Some(("root", &["system:masters"])))));
    master.namespaced::<ConfigMap>("default").create(&config_map("a", "x")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_not_let_in() {
    let (world, other) = (World::start().await, World::start().await);
    let pair = other.pki.client("root", &["system:masters"]).unwrap();
    let identity = Some((pair.certificate.as_bytes(), pair.key.as_bytes()));
    let tls = Tls::from_pem(world.pki.ca().as_bytes(), identity).unwrap();
    let client = Client::new(Arc::new(HttpTransport::new(&world.url, Some(tls), None).unwrap()));
    assert_eq!(client.get_text("/healthz").await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn components_in_the_process_obey_the_same_rules() {
    let world = World::start().await;
    world.inside().namespaced::<Pod>("default").create(&pod("p")).await.unwrap();
    let node = world.server.client(Identity::node("n1")).namespaced::<Pod>("default");
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    let error = node.patch_status("p", &running).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden, "it is not there yet");
    let scheduler =
        world.server.client(Identity::component("system:kube-scheduler")).namespaced::<Pod>("default");
    scheduler.bind("p", None, "n1").await.unwrap();
    node.patch_status("p", &running).await.unwrap();
    let error =
        node.patch("p", &Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
}

/// The envelope of a kind that has no form in protobuf.
const NO_TABLE: &str = "k8s\0\n\u{c}\n\u{4}x/v1\u{12}\u{4}Nope";

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_and_paths_are_refused_with_a_status() {
    let world = World::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c \
                [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e \
                [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let big = "x".repeat(4 << 20);
    let cases = [
        (request("POST", maps, "application/json", "{"), 400),
        (request("POST", maps, "application/json", &deep), 400),
        (request("POST", maps, "application/yaml", bomb), 400),
        (request("POST", maps, "application/json", &big), 413),
        (request("POST", maps, "application/vnd.kubernetes.protobuf", "x"), 400),
        (request("POST", maps, "application/vnd.kubernetes.protobuf", "k8s\0\n\u{7f}"), 400),
        (request("POST", maps, "application/vnd.kubernetes.protobuf", NO_TABLE), 415),
        (request("POST", maps, "application/cbor", "x"), 415),
        (request("POST", maps, "application/json", "{\"kind\":\"Pod\"}"), 400),
        (request("PATCH", &format!("{maps}/a"), "text/plain", "{}"), 415),
        (request("PUT", maps, "application/json", "{}"), 405),
        (request("GET", "/api/v1/nope", "", ""), 404),
        (request("GET", "/apis/nope/v1/pods", "", ""), 404),
        (request("GET", &format!("{maps}?limit=x"), "", ""), 400),
        (request("GET", &format!("{maps}?labelSelector=%3D%3D"), "", ""), 400),
        (request("GET", "/api/v1/namespaces/default/pods/p/portforward", "", ""), 404),
    ];
    for (request, code) in cases {
        let what = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        let (status, _, body) = send(&world, request).await;
        assert_eq!(status, code, "{what}: {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)), "{what}");
    }
    let mut page = request("GET", maps, "", "");
    page.headers_mut().insert("accept", "text/html".parse().unwrap());
    assert_eq!(send(&world, page).await.0, 406);
    let mut either = request("GET", maps, "", "");
    let accept = "text/html,application/json";
    either.headers_mut().insert("accept", accept.parse().unwrap());
    let (status, headers, _) = send(&world, either).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_says_in_one_way_only_what_becomes_of_dependents() {
    let world = World::start().await;
    world.inside().namespaced::<ConfigMap>("default").create(&config_map("a", "x")).await.unwrap();
    let path = "/api/v1/namespaces/default/configmaps/a";
    let body = r#"{"orphanDependents":true,"propagationPolicy":"Background"}"#;
    for (path, body, expected) in [
        (
            path.to_owned(),
            body,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Background\": \
             orphanDependents and deletionPropagation cannot be both set",
        ),
        (
            format!("{path}?orphanDependents=false&propagationPolicy=Orphan"),
            "",
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": \
             orphanDependents and deletionPropagation cannot be both set",
        ),
        (
            path.to_owned(),
            r#"{"propagationPolicy":"x"}"#,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"x\": supported \
             values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        ),
    ] {
        let (code, _, answer) = send(&world, request("DELETE", &path, "application/json", body)).await;
        let status: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((code, status["message"].as_str().unwrap()), (422, expected));
    }
    let (code, _, _) =
        send(&world, request("DELETE", path, "application/json", r#"{"orphanDependents":false}"#)).await;
    assert_eq!(code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_warned_of_refused_or_ignored() {
    let world = World::start().await;
    let body = r#"{"metadata":{"name":"NAME"},"data":{"a":"1"},"nope":{"x":1}}"#;
    for (mode, code, warnings) in [("Warn", 201, 1), ("Ignore", 201, 0), ("Strict", 400, 0), ("", 201, 1)] {
        let name = format!("c{}", mode.to_lowercase());
        let path = format!("/api/v1/namespaces/default/configmaps?fieldValidation={mode}");
        let (status, headers, answer) =
            send(&world, request("POST", &path, "application/json", &body.replace("NAME", &name))).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status, code, "{mode}: {text}");
        assert_eq!(headers.get_all("warning").iter().count(), warnings, "{mode}: {headers:?}");
        assert!(!text.contains("\"nope\":{"), "{mode}: {text}");
    }
    let twice = r#"{"metadata":{"name":"d"},"data":{"a":"1"},"data":{"a":"2"}}"#;
    let path = "/api/v1/namespaces/default/configmaps?fieldValidation=Strict";
    let (status, _, answer) = send(&world, request("POST", path, "application/json", twice)).await;
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&answer).contains("duplicate field"));
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_objects_and_tables_are_served_on_request() {
    let world = World::start().await;
    world.inside().namespaced::<ConfigMap>("default").create(&config_map("a", "x")).await.unwrap();
    let get = async |path: &str, accept: &str| -> Value {
        let mut request = request("GET", path, "", "");
        request.headers_mut().insert("accept", accept.parse().unwrap());
        serde_json::from_slice(&send(&world, request).await.2).unwrap()
    };
    let maps = "/api/v1/namespaces/default/configmaps";
    let list = get(maps, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
    );
    assert!(list["items"][0].get("data").is_none());
    let table = get(maps, "application/json;as=Table;g=meta.k8s.io;v=v1").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let groups = get("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").await;
    assert_eq!(groups["kind"], "APIGroupDiscoveryList");
    let mut items = groups["items"].as_array().unwrap().iter();
    let of_apps = &items.find(|item| item["metadata"]["name"] == "apps").unwrap()["versions"][0]["resources"];
    let kinds = of_apps.as_array().unwrap().iter().map(|resource| &resource["responseKind"]["kind"]);
    assert!(kinds.into_iter().any(|kind| kind == "Deployment"), "{of_apps}");
    let plain = get("/apis/apps/v1", "application/json").await;
    let names = plain["resources"].as_array().unwrap().iter().map(|resource| &resource["name"]);
    assert!(names.into_iter().any(|name| name == "deployments"), "{plain}");
    let verbose = send(&world, request("GET", "/readyz?verbose", "", "")).await.2;
    assert!(String::from_utf8_lossy(&verbose).contains("[+]etcd ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_tables_carry_what_was_asked_for() {
    let world = World::start().await;
    world.inside().namespaced::<ConfigMap>("default").create(&config_map("a", "x")).await.unwrap();
    let maps = "/api/v1/namespaces/default/configmaps";
    let table = async |query: &str| -> (u16, Value) {
        let mut request = request("GET", &format!("{maps}?{query}"), "", "");
        let accept = "application/json;as=Table;g=meta.k8s.io;v=v1".parse().unwrap();
        request.headers_mut().insert("accept", accept);
        let (code, _, body) = send(&world, request).await;
        (code, serde_json::from_slice(&body).unwrap())
    };
    for (query, kind) in [
        ("", json!("PartialObjectMetadata")),
        ("includeObject=Metadata", json!("PartialObjectMetadata")),
        ("includeObject=Object", json!("ConfigMap")),
        ("includeObject=None", Value::Null),
    ] {
        let (_, list) = table(query).await;
        assert_eq!(list["rows"][0]["object"]["kind"], kind, "{query}");
        let (_, watched) = table(&format!("{query}&watch=1&timeoutSeconds=1")).await;
        assert_eq!(watched["object"]["rows"][0]["object"]["kind"], kind, "watch {query}");
    }
    let (code, refused) = table("includeObject=All").await;
    assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")));
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_failures_have_details() {
    let world = World::start().await;
    for (method, path, code) in [
        ("GET", "/nothing", 404),
        ("GET", "/apis/none.example/v1/things", 404),
        ("PATCH", "/api/v1/namespaces/default/pods/p/nosuch", 404),
        ("POST", "/version", 405),
    ] {
        let (got, _, body) = send(&world, request(method, path, "application/json", "")).await;
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((got, &status["details"]), (code, &json!({})), "{path}");
    }
}

/// A field of bytes, short and plain enough for its tag and length to be text.
fn field(number: u8, content: &str) -> String {
    let [tag, length] = [number << 3 | 2, u8::try_from(content.len()).unwrap()].map(char::from);
    assert!(tag.is_ascii() && length.is_ascii());
    format!("{tag}{length}{content}")
}

/// A body in protobuf with its envelope.
fn enveloped(api_version: &str, kind: &str, raw: &[String]) -> String {
    let head = field(1, &[field(1, api_version), field(2, kind)].concat());
    ["k8s\0", &head, &field(2, &raw.concat())].concat()
}

const WORKLOADS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Two pods, `a` and `b`, and a deployment, `d`.
async fn create_workloads(world: &World) {
    let pod = r#"{"metadata":{"name":"NAME"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    for name in ["a", "b"] {
        let body = pod.replace("NAME", name);
        let created =
            send(world, request("POST", "/api/v1/namespaces/default/pods", "application/json", &body)).await;
        assert_eq!(created.0, 201);
    }
    let labels = r#"{"app":"d"}"#;
    let deployment = format!(
        r#"{{"metadata":{{"name":"d"}},"spec":{{"selector":{{"matchLabels":{labels}}},"template":{{"metadata":
        {{"labels":{labels}}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}}}}}"#
    );
    assert_eq!(send(world, request("POST", WORKLOADS, "application/json", &deployment)).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_writing_path_takes_protobuf() {
    let world = World::start().await;
    let space = "/api/v1/namespaces/default";
    create_workloads(&world).await;
    let named = |name: &str| field(1, &field(1, name));
    let options = |raw: &[String]| enveloped("v1", "DeleteOptions", raw);
    let uid = |uid: &str| field(2, &field(1, uid));
    let node = field(2, &[field(1, "Node"), field(3, "n")].concat());
    let cases = [
        ("POST", format!("{space}/configmaps"), enveloped("v1", "ConfigMap", &[named("m")]), 201),
        ("POST", format!("{space}/configmaps"), enveloped("v1", "Secret", &[named("m")]), 400),
        ("POST", format!("{space}/configmaps"), enveloped("v1", "Nope", &[named("m")]), 415),
        ("PUT", format!("{space}/configmaps/m"), enveloped("v1", "ConfigMap", &[named("m")]), 200),
        (
            "PUT",
            format!("{WORKLOADS}/d/scale"),
            enveloped("autoscaling/v1", "Scale", &[named("d"), field(2, "\x08\x07")]),
            200,
        ),
        (
            "PUT",
            format!("{WORKLOADS}/d/scale"),
            enveloped("autoscaling/v1", "Scale", &[named("d"), field(2, "\x08\0")]),
            200,
        ),
        ("POST", format!("{space}/pods/a/binding"), enveloped("v1", "Binding", &[named("a"), node]), 201),
        (
            "POST",
            format!("{space}/pods/b/eviction"),
            enveloped("policy/v1", "Eviction", &[named("b"), field(2, "\x08\0")]),
            201,
        ),
        ("DELETE", format!("{space}/configmaps/m"), options(&[uid("other")]), 409),
        ("DELETE", format!("{space}/configmaps/m"), options(&[field(5, "All")]), 200),
        (
            "DELETE",
            format!("{space}/configmaps/m"),
            options(&["\x08\0".to_owned(), field(4, "Background")]),
            200,
        ),
        ("DELETE", format!("{WORKLOADS}/d"), enveloped("apps/v1", "DeleteOptions", &[]), 200),
    ];
    for (method, path, body, code) in cases {
        let sent = request(method, &path, "application/vnd.kubernetes.protobuf", &body);
        let (status, _, answer) = send(&world, sent).await;
        assert_eq!(status, code, "{method} {path}: {}", String::from_utf8_lossy(&answer));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        match body.contains("Scale") {
            true => assert_eq!(
                answer["spec"]["replicas"].as_i64().unwrap_or(0),
                if body.ends_with('\0') { 0 } else { 7 }
            ),
            false => assert!(answer["kind"].is_string()),
        }
    }
    let (_, _, bound) = send(&world, request("GET", &format!("{space}/pods/a"), "", "")).await;
    assert_eq!(serde_json::from_slice::<Value>(&bound).unwrap()["spec"]["nodeName"], "n");
    for gone in ["pods/b", "configmaps/m"] {
        assert_eq!(send(&world, request("GET", &format!("{space}/{gone}"), "", "")).await.0, 404);
    }
}

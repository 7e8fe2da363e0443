//! Aggregated API servers: what a service of the cluster serves is found, used, watched and missed like anything else.

mod toy_server;

use std::time::Duration;

use hako_api::Identity;
use hako_client::{Client, ResourceType, WriteOptions};
use hako_error::Kind;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::toy_server::{GROUP, Mood, Toys};
use crate::custom_resources::{define, until};
use crate::every_kind::calls::{Http, Watch};
use crate::support::World;

const NAME: &str = "v1.toys.example.org";
const BALLS: &str = "/apis/toys.example.org/v1/namespaces/default/balls";

fn api_service(toys: &Toys) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": NAME},
        "spec": {
            "group": GROUP, "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
            "caBundle": toys.ca, "service": {"namespace": "default", "name": "toys", "port": 443},
        },
    })
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "toys"},
        "spec": {"ports": [{"port": 443, "targetPort": 1}]}})
}

fn slice(toys: &Toys, is_ready: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "toys-1", "labels": {"kubernetes.io/service-name": "toys"}},
        "ports": [{"name": "", "port": toys.address.port()}],
        "endpoints": [{"addresses": [crate::proxy::own_address()], "conditions": {"ready": is_ready}}],
    })
}

async fn apply(world: &World, objects: &[Value]) {
    for object in objects {
        world.kubectl_with(&["apply", "-f", "-"], &object.to_string()).await;
    }
}

/// Status, reason and message of the condition `Available`.
async fn available(world: &World) -> [String; 3] {
    let object = world.kubectl_json(&["get", "apiservice", NAME, "-o", "json"]).await;
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|it| it["type"] == "Available").unwrap_or_default();
    ["status", "reason", "message"].map(|field| found[field].as_str().unwrap_or("").to_owned())
}

async fn until_reason(world: &World, reason: &str) -> [String; 3] {
    until(reason, async || available(world).await[1] == reason).await;
    available(world).await
}

/// A world with an aggregated server that is available.
async fn with_toys() -> (World, Toys) {
    let world = World::start().await;
    let toys = Toys::start(&world, "toys.default.svc").await;
    apply(&world, &[service(), slice(&toys, true), api_service(&toys)]).await;
    let said = until_reason(&world, "Passed").await;
    assert_eq!(said, ["True", "Passed", "all checks passed"]);
    (world, toys)
}

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = http::Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.send(request.body(bytes::Bytes::new()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_uses_what_an_aggregated_server_serves() {
    let (world, _toys) = with_toys().await;
    let made = world
        .kubectl_with(
            &["create", "-f", "-"],
            "apiVersion: toys.example.org/v1\nkind: Ball\nmetadata: {name: one}\ncolor: red\n",
        )
        .await;
    assert!(made.contains("ball.toys.example.org/one created"), "{made}");
    let list = world.kubectl(&["get", "bl"]).await;
    assert!(list.starts_with("NAME") && list.contains("one"), "{list}");
    let (success, _, error) = world.try_kubectl(&["get", "balls", "none"], "").await;
    assert!(!success && error.contains("not found in the box"), "{error}");
    let found = world.kubectl(&["api-resources", "--api-group=toys.example.org"]).await;
    assert!(found.contains("balls") && found.contains("toys.example.org/v1"), "{found}");
    assert_eq!(world.kubectl(&["auth", "can-i", "create", "balls.toys.example.org"]).await.trim(), "yes");
    let explained = world.kubectl(&["explain", "balls.color"]).await;
    assert!(explained.contains("What it looks like."), "{explained}");
    let services = world.kubectl(&["get", "apiservices", NAME]).await;
    assert!(services.contains("default/toys") && services.contains("True"), "{services}");
    let group = world.kubectl_json(&["get", "--raw", "/apis/toys.example.org"]).await;
    assert_eq!(group["preferredVersion"]["groupVersion"], "toys.example.org/v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_through_and_brings_events_as_they_come() {
    let (world, _toys) = with_toys().await;
    let mut watch = Watch::open(&Http::new(&world), &format!("{BALLS}?watch=1")).await;
    assert_eq!(watch.next().await.1["metadata"]["name"], "first");
    let kind = ResourceType::new(GROUP, "v1", "balls");
    let balls = world.outside().dynamic(&kind, Some("default"));
    balls.create(&json!({"metadata": {"name": "late"}}), &WriteOptions::default()).await.unwrap();
    let (word, object) = watch.next().await;
    assert_eq!((word.as_str(), &object["metadata"]["name"]), ("ADDED", &json!("late")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_told_for_whom_it_is_asked_and_by_us_alone() {
    let (world, toys) = with_toys().await;
    let mut jane = Identity::new("jane", &["dev", "system:authenticated"]);
    jane.extra.insert("example.org/key".to_owned(), vec!["x".to_owned()]);
    let jane = world.server.client(jane);
    let (code, text) = get(&jane, BALLS, &[]).await;
    let refused = "balls.toys.example.org is forbidden: User \\\"jane\\\" cannot list resource \\\"balls\\\" in API group \
                   \\\"toys.example.org\\\" in the namespace \\\"default\\\"";
    assert!(code == 403 && text.contains(refused), "{code} {text}");
    assert!(toys.asked().iter().all(|(path, _)| !path.starts_with(BALLS)), "it is not asked");
    world.kubectl(&["create", "role", "player", "--verb=list", "--resource=balls.toys.example.org"]).await;
    world.kubectl(&["create", "rolebinding", "player", "--role=player", "--user=jane"]).await;
    let lies = [
        ("x-remote-user", "root"),
        ("x-remote-group", "system:masters"),
        ("x-remote-extra-a", "b"),
        ("authorization", "Bearer secret"),
        ("x-own", "1"),
    ];
    until("jane may", async || get(&jane, &format!("{BALLS}?limit=5"), &lies).await.0 == 200).await;
    let asked = toys.asked();
    let (path, headers) = asked.last().unwrap();
    assert_eq!(path, &format!("{BALLS}?limit=5"));
    let all = |name: &str| -> Vec<&str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    };
    assert_eq!(
        (all("x-remote-user"), all("x-remote-group")),
        (vec!["jane"], vec!["dev", "system:authenticated"])
    );
    assert_eq!(all("x-remote-extra-example.org%2fkey"), ["x"]);
    assert_eq!((all("x-remote-extra-a"), all("authorization"), all("x-own")), (vec![], vec![], vec!["1"]));
    for dots in ["..", "%2e%2E", ".%2e", "%2e"] {
        let path = format!("/apis/toys.example.org/v1/balls/{dots}/x");
        let (code, text) = get(&world.inside(), &path, &[]).await;
        assert!(code == 400 && text.contains("segments of dots"), "{path}: {code} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_an_aggregated_server_goes_no_further() {
    let (world, _toys) = with_toys().await;
    let path = "/apis/toys.example.org/v1/moved";
    for headers in [&[][..], &[("connection", "upgrade"), ("upgrade", "echo")]] {
        let (code, text) = get(&world.inside(), path, headers).await;
        let refused = "the backend attempted to redirect this request, which is not permitted";
        assert_eq!((code, text.as_str()), (502, refused), "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_status_says_is_what_is_so_whoever_wrote_it() {
    let (world, _toys) = with_toys().await;
    let lie = json!({"status": {"conditions": [{"type": "Available", "status": "False", "reason": "Lie"}]}});
    let patch = ["patch", "apiservice", NAME, "--subresource=status", "--type=merge", "-p"];
    world.kubectl(&[&patch[..], &[&lie.to_string()]].concat()).await;
    until_reason(&world, "Passed").await;
    // No service is asked any longer.
    world
        .kubectl(&[
            "patch",
            "apiservice",
            NAME,
            "--type=json",
            "-p",
            r#"[{"op": "remove", "path": "/spec/service"}, {"op": "remove", "path": "/spec/caBundle"}]"#,
        ])
        .await;
    let local = ["True", "Local", "Local APIServices are always available"];
    assert_eq!(available(&world).await, local);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_service_is_said_and_it_comes_back() {
    let world = World::start().await;
    let toys = Toys::start(&world, "toys.default.svc").await;
    apply(&world, &[api_service(&toys)]).await;
    let said = until_reason(&world, "ServiceNotFound").await;
    assert_eq!(said, ["False", "ServiceNotFound", "service/toys in \"default\" is not present"]);
    let (code, text) = get(&world.outside(), BALLS, &[]).await;
    assert_eq!((code, text.as_str()), (503, "service unavailable\n"));
    let (success, _, error) = world.try_kubectl(&["get", "--raw", BALLS], "").await;
    assert!(!success && error.contains("the server is currently unable to handle the request"), "{error}");
    apply(&world, &[service()]).await;
    let said = until_reason(&world, "EndpointsNotFound").await;
    assert_eq!(said[2], "cannot find endpointslices for service/toys in \"default\"");
    apply(&world, &[slice(&toys, false)]).await;
    let said = until_reason(&world, "MissingEndpoints").await;
    assert_eq!(
        said[2],
        "endpointslices for service/toys in \"default\" have no addresses with port name \"\""
    );
    toys.set(Mood::Failing);
    apply(&world, &[slice(&toys, true)]).await;
    let said = until_reason(&world, "FailedDiscoveryCheck").await;
    let url = "https://toys.default.svc:443/apis/toys.example.org/v1";
    assert_eq!(said[2], format!("failing or missing response from {url}: bad status from {url}: 500"));
    toys.set(Mood::Good);
    until_reason(&world, "Passed").await;
    world.kubectl(&["get", "balls"]).await;
    world.kubectl(&["delete", "apiservice", NAME]).await;
    until("it is gone", async || get(&world.outside(), BALLS, &[]).await.0 == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_or_lies_keeps_nobody_from_the_others() {
    let (world, toys) = with_toys().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let of_toys = async || {
        let text = get(&world.outside(), "/apis", &[("accept", accept)]).await.1;
        let all: Value = serde_json::from_str(&text).unwrap();
        let mut items = all["items"].as_array().unwrap().iter();
        let names: Vec<_> = items.clone().map(|item| item["metadata"]["name"].clone()).collect();
        assert!(names.contains(&json!("apps")), "{names:?}");
        items.find(|item| item["metadata"]["name"] == GROUP).unwrap()["versions"][0].clone()
    };
    let fresh = of_toys().await;
    assert_eq!(
        (&fresh["freshness"], &fresh["resources"][0]["resource"]),
        (&json!("Current"), &json!("balls"))
    );
    toys.set(Mood::Silent);
    // Nothing but a failed request or half a minute has it asked again.
    world
        .kubectl_with(
            &["apply", "-f", "-"],
            &json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": NAME}, "spec": api_service(&toys)["spec"].as_object().map(|spec| {
                let mut spec = spec.clone();
                spec.insert("versionPriority".to_owned(), json!(11));
                spec
            })})
            .to_string(),
        )
        .await;
    let said = until_reason(&world, "FailedDiscoveryCheck").await;
    assert_eq!(said[2], "timed out waiting for https://toys.default.svc:443/apis/toys.example.org/v1");
    assert_eq!(of_toys().await["freshness"], "Stale");
    // kubectl says what is missing, and finds all the rest.
    world.kubectl(&["get", "pods,deployments"]).await;
    toys.set(Mood::Lying);
    until_reason(&world, "Passed").await;
    assert_eq!(of_toys().await["freshness"], "Stale", "rubbish is no discovery");
    toys.set(Mood::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_here_is_taken_away_by_nobody() {
    let world = World::start().await;
    let toys = Toys::start(&world, "toys.default.svc").await;
    apply(&world, &[service(), slice(&toys, true)]).await;
    for (group, version) in [("apps", "v1"), ("apps", "v9"), ("rbac.authorization.k8s.io", "v1")] {
        let mut claim = api_service(&toys);
        claim["metadata"]["name"] = format!("{version}.{group}").into();
        (claim["spec"]["group"], claim["spec"]["version"]) = (json!(group), json!(version));
        let (success, _, error) = world.try_kubectl(&["apply", "-f", "-"], &claim.to_string()).await;
        assert!(
            !success && error.contains("spec.group: Forbidden: is a group of this server itself"),
            "{error}"
        );
    }
    define(&world, &crate::every_kind::read("definitions/gadgets.yaml")).await;
    let kind = ResourceType::new("apiregistration.k8s.io", "v1", "apiservices");
    let services = world.outside().dynamic(&kind, None);
    let name = "v1.suite.example.com";
    until("the definition has its APIService", async || services.get(name).await.is_ok()).await;
    let own = services.get(name).await.unwrap();
    assert_eq!(own["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "true");
    assert_eq!(
        (&own["spec"]["groupPriorityMinimum"], &own["spec"]["versionPriority"]),
        (&json!(1000), &json!(100))
    );
    // Without the label it is somebody's own; what it claims is served here nevertheless.
    let claim = json!({"metadata": {"labels": null}, "spec": {"service": {"namespace": "default", "name": "toys"}, "caBundle": toys.ca}});
    world.kubectl(&["patch", "apiservice", name, "--type=merge", "-p", &claim.to_string()]).await;
    let reason = async || {
        let object = services.get(name).await.unwrap();
        object["status"]["conditions"].as_array().and_then(|all| all.last().cloned()).unwrap_or_default()["reason"].clone()
    };
    until("it says who serves", async || reason().await == "ServedLocally").await;
    world.kubectl(&["get", "gadgets"]).await;
    assert_eq!(toys.asked().len(), 0);
    world.kubectl(&["delete", "crd", "gadgets.suite.example.com"]).await;
    let apps = services.get("v1.apps").await.unwrap();
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    let list = world.kubectl_json(&["get", "--raw", "/apis"]).await;
    let names: Vec<_> =
        list["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert_eq!(names[..3], ["apiregistration.k8s.io", "apps", "events.k8s.io"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apiservice_of_a_definition_goes_with_it() {
    let world = World::start().await;
    define(&world, &crate::every_kind::read("definitions/gadgets.yaml")).await;
    let kind = ResourceType::new("apiregistration.k8s.io", "v1", "apiservices");
    let services = world.outside().dynamic(&kind, None);
    let name = "v1.suite.example.com";
    until("it is there", async || services.get(name).await.is_ok()).await;
    world.kubectl(&["delete", "crd", "gadgets.suite.example.com"]).await;
    let is_gone = async || services.get(name).await.is_err_and(|error| error.kind() == Kind::NotFound);
    until("it is gone", is_gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_passes_through_and_both_sides_speak() {
    let (world, _toys) = with_toys().await;
    let address = world.url.trim_start_matches("https://");
    let identity = (world.pki.admin().certificate.as_bytes(), world.pki.admin().key.as_bytes());
    let tls = hako_client::Tls::from_pem(world.pki.ca().as_bytes(), Some(identity)).unwrap();
    let mut config = (*tls.config()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let host = "127.0.0.1".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(host, stream).await.unwrap();
    let request =
        format!("GET {BALLS}/one/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let speak = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        stream.write_all(b"ball").await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"ball");
    };
    tokio::time::timeout(Duration::from_secs(20), speak).await.unwrap();
}

async fn swagger(world: &World) -> Value {
    let (code, text) = get(&world.outside(), "/openapi/v2", &[]).await;
    assert_eq!(code, 200);
    serde_json::from_str(&text).unwrap()
}

const BALL: &str = "org.example.toys.v1.Ball";

#[tokio::test(flavor = "multi_thread")]
async fn the_one_document_of_version_2_has_what_aggregated_servers_say_of_their_own_kinds() {
    let (world, toys) = with_toys().await;
    let all = swagger(&world).await;
    assert_eq!(all["definitions"][BALL]["properties"]["color"]["description"], "What it looks like.");
    let path = "/apis/toys.example.org/v1/namespaces/{namespace}/balls/{name}";
    assert_eq!(all["paths"][path]["get"]["x-kubernetes-group-version-kind"]["kind"], "Ball");
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let named = &all["definitions"][BALL]["properties"]["metadata"]["$ref"];
    assert_eq!(*named, format!("#/definitions/{meta}_v2"));
    assert_ne!(all["definitions"][meta], all["definitions"][format!("{meta}_v2")]);
    for absent in
        ["/paths/~1apis~1apps~1v1~1namespaces~1{namespace}~1toys", "/definitions/org.example.Unused"]
    {
        assert_eq!(all.pointer(absent), None, "{absent}");
    }
    assert!(all["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"]["get"].is_object());
    // Old clients explain by the form of it in protobuf.
    let mut old = tokio::process::Command::new(crate::programs::debian_kubectl());
    let old = old.env("KUBECONFIG", &world.kubeconfig).args(["explain", "balls.color"]);
    let explained = old.output().await.unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("What it looks like."), "{explained}");
    // One that lies is left out, and takes nothing of the others along.
    toys.set(Mood::Lying);
    world
        .kubectl(&["patch", "apiservice", NAME, "--type=merge", "-p", r#"{"spec": {"versionPriority": 11}}"#])
        .await;
    until("it is left out", async || swagger(&world).await["definitions"][BALL].is_null()).await;
    assert!(swagger(&world).await["definitions"]["io.k8s.api.apps.v1.Deployment"].is_object());
    toys.set(Mood::Good);
    world
        .kubectl(&["patch", "apiservice", NAME, "--type=merge", "-p", r#"{"spec": {"versionPriority": 12}}"#])
        .await;
    until("it is back", async || swagger(&world).await["definitions"][BALL].is_object()).await;
    world.kubectl(&["delete", "apiservice", NAME]).await;
    until("it is gone", async || swagger(&world).await["definitions"][BALL].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_which_apiservices_are_unavailable_and_how_often_they_came_to_be() {
    let (world, toys) = with_toys().await;
    let metrics = async || world.kubectl(&["get", "--raw", "/metrics"]).await;
    let is_away = format!("aggregator_unavailable_apiservice{{name=\"{NAME}\"}}");
    let now = metrics().await;
    assert!(now.contains(&format!("{is_away} 0\n")), "{now}");
    assert!(now.contains("aggregator_unavailable_apiservice{name=\"v1.apps\"} 0\n"), "{now}");
    apply(&world, &[slice(&toys, false)]).await;
    until_reason(&world, "MissingEndpoints").await;
    let now = metrics().await;
    assert!(now.contains(&format!("{is_away} 1\n")), "{now}");
    let count =
        format!("aggregator_unavailable_apiservice_total{{name=\"{NAME}\",reason=\"MissingEndpoints\"}} 1\n");
    assert!(now.contains(&count), "{now}");
}

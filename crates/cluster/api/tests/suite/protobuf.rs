//! Answers in protobuf beyond objects as they are: what clients accept, what is refused, what is long and what lasts.

use bytes::Bytes;
use hako_api::protobuf;
use hako_client::{Api, Client};
use hako_store::Store as _;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::contract::{config_map, from};
use crate::every_kind::messages::{Frames, PROTOBUF};
use crate::support::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Http(Client);

impl Http {
    async fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: &Value,
    ) -> http::Response<hako_client::Body> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("accept", accept);
        self.0.send(request.header("content-type", "application/json").body(body).unwrap()).await.unwrap()
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: &Value,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let (head, body) = self.send(method, path, accept, body).await.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }

    /// What is answered in protobuf and in nothing else.
    async fn message(&self, method: &str, path: &str, body: &Value, code: u16) -> Value {
        let (status, headers, bytes) = self.call(method, path, PROTOBUF, body).await;
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(
            (status.as_u16(), headers["content-type"].to_str().unwrap()),
            (code, PROTOBUF),
            "{path}: {text}"
        );
        protobuf::object(&bytes).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_served_is_taken_by_weight_and_order() {
    let world = World::start().await;
    let http = Http(world.outside());
    let json = "application/json";
    let table = ";as=Table;g=meta.k8s.io;v=v1";
    for (accept, kind, content_type) in [
        (format!("{PROTOBUF},{json}"), "ConfigMapList", PROTOBUF),
        (format!("{PROTOBUF}, */*"), "ConfigMapList", PROTOBUF),
        (format!("{json},{PROTOBUF}"), "ConfigMapList", json),
        (format!("{PROTOBUF};q=0.3,{json};q=0.2"), "ConfigMapList", PROTOBUF),
        (format!("{PROTOBUF};q=0,*/*"), "ConfigMapList", json),
        (format!("{PROTOBUF}{table},{json}{table},{json}"), "Table", json),
        (format!("{PROTOBUF}{table},{PROTOBUF}"), "ConfigMapList", PROTOBUF),
    ] {
        let (status, headers, bytes) = http.call("GET", MAPS, &accept, &Value::Null).await;
        assert_eq!(
            (status.as_u16(), headers["content-type"].to_str().unwrap()),
            (200, content_type),
            "{accept}"
        );
        let list: Value = match content_type {
            PROTOBUF => protobuf::object(&bytes).unwrap(),
            _ => serde_json::from_slice(&bytes).unwrap(),
        };
        assert_eq!(list["kind"], kind, "{accept}");
    }
    for accept in [
        format!("{PROTOBUF}{table}"),
        format!("{PROTOBUF};as=Nope;g=meta.k8s.io;v=v1"),
        "text/html".into(),
        "text/plain".into(),
        format!("{json};as=Table;g=meta.k8s.io;v=v2"),
    ] {
        let (status, _, bytes) = http.call("POST", MAPS, &accept, &json!({"metadata": {"name": "m"}})).await;
        assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{accept}");
        let said: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&said["kind"], &said["reason"]), (&json!("Status"), &json!("NotAcceptable")));
        assert!(said["message"].as_str().unwrap().contains(PROTOBUF), "{said}");
    }
    assert!(
        world.kubectl(&["get", "configmaps", "-o", "name"]).await.lines().all(|line| !line.ends_with("/m"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_metadata_are_of_the_version_that_is_asked_for() {
    let world = World::start().await;
    let http = Http(world.outside());
    http.message("POST", MAPS, &json!({"metadata": {"name": "m"}}), 201).await;
    for version in ["v1", "v1beta1"] {
        let of = format!("meta.k8s.io/{version}");
        let get = async |path: String, kind: &str| {
            let accept = format!("application/json;as={kind};g=meta.k8s.io;v={version}");
            let (_, _, bytes) = http.call("GET", &path, &accept, &Value::Null).await;
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let watch = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dm&timeoutSeconds=1");
        let one = format!("{MAPS}/m");
        for (path, part) in [(MAPS, ""), (one.as_str(), ""), (watch.as_str(), "/object")] {
            let table = get(path.to_owned(), "Table").await;
            let table = table.pointer(part).unwrap();
            assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!(of)), "{path}");
            let carried = &table["rows"][0]["object"];
            assert_eq!(
                (&carried["kind"], &carried["apiVersion"]),
                (&json!("PartialObjectMetadata"), &json!(of))
            );
            let kind = if path == MAPS { "PartialObjectMetadataList" } else { "PartialObjectMetadata" };
            let partial = get(path.to_owned(), kind).await;
            let partial = partial.pointer(part).unwrap();
            assert_eq!((&partial["kind"], &partial["apiVersion"]), (&json!(kind), &json!(of)), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_in_protobuf_is_answered_in_it() {
    let world = World::start().await;
    let http = Http(world.outside());
    let map = json!({"metadata": {"name": "m"}, "binaryData": {"b": "AP8="}, "data": {"a": "1", "e": ""}});
    let made = http.message("POST", MAPS, &map, 201).await;
    assert_eq!((&made["data"], &made["binaryData"]), (&map["data"], &map["binaryData"]));
    let taken = http.message("POST", MAPS, &map, 409).await;
    assert_eq!((&taken["reason"], &taken["details"]["name"]), (&json!("AlreadyExists"), &json!("m")));
    let bad = json!({"metadata": {"name": "-"}});
    let bad = http.message("POST", MAPS, &bad, 422).await;
    assert_eq!(bad["details"]["causes"][0]["field"], "metadata.name");
    assert_eq!(http.message("GET", "/apis/apps/v1/nopes", &Value::Null, 404).await["status"], "Failure");
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token = http.message("POST", account, &json!({"spec": {"expirationSeconds": 900}}), 201).await;
    assert_eq!(token["spec"]["expirationSeconds"], 900);
    assert!(token["status"]["token"].is_string());
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(http.message("POST", path, &review, 201).await["status"]["allowed"], true);
    let web = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    let workloads = "/apis/apps/v1/namespaces/default/deployments";
    http.message("POST", workloads, &web, 201).await;
    let scale = http.message("GET", &format!("{workloads}/web/scale"), &Value::Null, 200).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    for path in ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"] {
        let document = http.message("GET", path, &Value::Null, 200).await;
        let (_, _, text) = http.call("GET", path, "application/json", &Value::Null).await;
        let text: Value = serde_json::from_slice(&text).unwrap();
        let member = ["versions", "groups", "resources"].into_iter().find(|it| text[*it].is_array()).unwrap();
        let count = |document: &Value| document[member].as_array().unwrap().len();
        assert_eq!((&document["kind"], count(&document)), (&text["kind"], count(&text)), "{path}");
    }
    let gone = http.message("DELETE", &format!("{MAPS}/m"), &Value::Null, 200).await;
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    let all = http.message("DELETE", workloads, &Value::Null, 200).await;
    assert_eq!(
        (&all["kind"], &all["items"][0]["metadata"]["name"]),
        (&json!("DeploymentList"), &json!("web"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_longer_than_what_is_kept_of_it_is_whole_packed_or_not() {
    let world = World::start().await;
    let api: Api<ConfigMap> = world.inside().namespaced("default");
    for at in 0..12 {
        let mut object = config_map(&format!("c{at:02}"), "x");
        object.data.get_or_insert_default().insert("text".into(), "0123456789".repeat(50_000));
        api.create(&object).await.unwrap();
    }
    let http = Http(world.outside());
    let whole = http.message("GET", MAPS, &Value::Null, 200).await;
    let items = whole["items"].as_array().unwrap();
    assert!(
        items
            .iter()
            .filter(|item| item["data"]["text"].as_str().is_some_and(|it| it.len() == 500_000))
            .count()
            == 12
    );
    let page = http.message("GET", &format!("{MAPS}?limit=5"), &Value::Null, 200).await;
    assert!(page["metadata"]["continue"].is_string() && page["metadata"]["remainingItemCount"].is_number());
    let request = Request::get(MAPS).header("accept", PROTOBUF).header("accept-encoding", "gzip");
    let answer = http.0.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let packed = answer.into_body().collect().await.unwrap().to_bytes();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).unwrap();
    assert_eq!(protobuf::object(&plain).unwrap()["items"], whole["items"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_with_what_is_there_and_marks_where_it_is() {
    let world = World::start().await;
    let api: Api<ConfigMap> = world.inside().namespaced("default");
    api.create(&config_map("m", "x")).await.unwrap();
    let http = Http(world.outside());
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let path = format!("{MAPS}?{query}&fieldSelector=metadata.name%3Dm");
    let metadata = format!("{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{PROTOBUF}");
    for (accept, kind) in [(PROTOBUF, "ConfigMap"), (metadata.as_str(), "PartialObjectMetadata")] {
        let answer = http.send("GET", &path, accept, &Value::Null).await;
        assert_eq!(answer.headers()["content-type"], format!("{PROTOBUF};stream=watch"));
        let mut frames = Frames::new(answer.into_body());
        let (word, object) = frames.next().await;
        let object = protobuf::object(&object).unwrap();
        assert_eq!((word.as_str(), &object["kind"]), ("ADDED", &json!(kind)));
        let (word, mark) = frames.next().await;
        let mark = protobuf::object(&mark).unwrap();
        assert_eq!((word.as_str(), &mark["kind"]), ("BOOKMARK", &json!(kind)));
        assert_eq!(mark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert!(mark["metadata"]["resourceVersion"].is_string());
        api.replace("m", &from(json!({"metadata": {"name": "m"}, "data": {"k": kind}}))).await.unwrap();
        let (word, object) = frames.next().await;
        assert_eq!(word, "MODIFIED");
        let object = protobuf::object(&object).unwrap();
        assert_eq!((&object["kind"], object["data"].is_object()), (&json!(kind), kind == "ConfigMap"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_cannot_go_on_says_so_in_protobuf() {
    let world = World::start().await;
    let http = Http(world.outside());
    let list = http.message("GET", MAPS, &Value::Null, 200).await;
    let late = list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    for at in 0..5 {
        let api: Api<ConfigMap> = world.inside().namespaced("default");
        api.create(&config_map(&format!("c{at}"), "x")).await.unwrap();
    }
    let now = world.store.revision().await.unwrap();
    world.store.compact(now).await.unwrap();
    let path = format!("{MAPS}?watch=1&resourceVersion={late}");
    let answer = http.send("GET", &path, PROTOBUF, &Value::Null).await;
    let (word, status) = Frames::new(answer.into_body()).next().await;
    let status = protobuf::object(&status).unwrap();
    assert_eq!(
        (word.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_accepts_yaml_gets_it_of_objects_lists_failures_and_discovery_but_no_watch() {
    let world = World::start().await;
    world.kubectl(&["create", "configmap", "m", "--from-literal=a=yes"]).await;
    let http = Http(world.outside());
    let get = async |path: &str| {
        let (code, headers, body) =
            http.call("GET", path, "application/yaml, application/json;q=0.5", &Value::Null).await;
        let media = headers["content-type"].to_str().unwrap().to_owned();
        (code.as_u16(), media, String::from_utf8(body.to_vec()).unwrap())
    };
    let (code, media, text) = get(&format!("{MAPS}/m")).await;
    assert_eq!((code, media.as_str()), (200, "application/yaml"));
    assert!(text.starts_with("apiVersion: v1\ndata:\n  a: \"yes\"\nkind: ConfigMap\nmetadata:\n"), "{text}");
    let (_, _, text) = get(MAPS).await;
    assert!(
        text.starts_with("apiVersion: v1\nitems:\n- apiVersion: v1\n")
            || text.starts_with("apiVersion: v1\nitems:\n- data:\n"),
        "{text}"
    );
    let (code, _, text) = get(&format!("{MAPS}/none")).await;
    assert!(code == 404 && text.contains("\nreason: NotFound\n"), "{text}");
    let (_, media, text) = get("/apis/apps/v1").await;
    assert!(media == "application/yaml" && text.contains("groupVersion: apps/v1\n"), "{text}");
    let (code, _, text) = get(&format!("{MAPS}?watch=true")).await;
    assert!(code == 406 && text.contains("application/json;stream=watch"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_asked_for_by_its_hash_is_kept_and_others_are_sent_there() {
    let world = World::start().await;
    let http = Http(world.outside());
    let (_, _, index) = http.call("GET", "/openapi/v3", "", &Value::Null).await;
    let index: Value = serde_json::from_slice(&index).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let (code, headers, _) = http.call("GET", url, "application/json", &Value::Null).await;
    assert_eq!((code, &headers["cache-control"]), (StatusCode::OK, &"public, immutable".parse().unwrap()));
    assert!(headers["expires"].to_str().unwrap().ends_with(" GMT"));
    let (code, headers, _) =
        http.call("GET", "/openapi/v3/apis/apps/v1?hash=other", "application/json", &Value::Null).await;
    assert_eq!((code, headers["location"].to_str().unwrap()), (StatusCode::MOVED_PERMANENTLY, url));
    let (_, headers, _) =
        http.call("GET", "/openapi/v3/apis/apps/v1", "application/json", &Value::Null).await;
    assert!(headers.get("cache-control").is_none());
    let (code, _, gone) = http.call("GET", "/apis/batch/v1beta1", "", &Value::Null).await;
    let gone = String::from_utf8_lossy(&gone).into_owned();
    assert!(
        code == StatusCode::NOT_FOUND && gone.contains("batch/v1beta1 is no longer served, use batch/v1"),
        "{gone}"
    );
    let (_, _, root) = http.call("GET", "/", "", &Value::Null).await;
    let root: Value = serde_json::from_slice(&root).unwrap();
    let paths: Vec<&str> =
        root["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    for path in ["/apis/autoscaling", "/openid/v1/jwks", "/.well-known/openid-configuration"] {
        assert_eq!(paths.iter().filter(|it| **it == path).count(), 1, "{path} in {paths:?}");
    }
}

const AGGREGATED: &str =
    "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregated_discovery_in_protobuf_says_what_it_says_in_json() {
    let world = World::start().await;
    let http = Http(world.outside());
    let in_json = AGGREGATED.replace(PROTOBUF, "application/json");
    for path in ["/api", "/apis"] {
        let (_, headers, text) = http.call("GET", path, &in_json, &Value::Null).await;
        let mut text: Value = serde_json::from_slice(&text).unwrap();
        let etag = headers["etag"].clone();
        let accept = format!("{AGGREGATED},{in_json}");
        let (status, headers, message) = http.call("GET", path, &accept, &Value::Null).await;
        assert_eq!(
            (status.as_u16(), headers["content-type"].to_str().unwrap(), &headers["etag"], &headers["vary"]),
            (200, AGGREGATED, &etag, &"Accept".parse().unwrap())
        );
        let mut message = protobuf::object(&message).unwrap();
        for document in [&mut text, &mut message] {
            for group in document["items"].as_array_mut().unwrap() {
                group["metadata"] = group["metadata"]["name"].clone();
            }
        }
        assert_eq!(message["items"], text["items"], "{path}");
        let request = Request::get(path).header("accept", AGGREGATED).header("if-none-match", etag);
        let answer = http.0.send(request.body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{path}");
        // A version that has no such form is passed over.
        let older = format!("{},{PROTOBUF}", AGGREGATED.replace("v=v2", "v=v2beta1"));
        let kind = http.call("GET", path, &older, &Value::Null).await;
        let kind = protobuf::object(&kind.2).unwrap()["kind"].clone();
        assert_eq!(kind, if path == "/api" { "APIVersions" } else { "APIGroupList" });
    }
    let (status, ..) = http.call("GET", "/api/v1/nodes", AGGREGATED, &Value::Null).await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "no object has that form");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_openapi_are_answered_in_the_first_form_that_is_accepted() {
    let world = World::start().await;
    let http = Http(world.outside());
    for (path, version) in [("/openapi/v2", "v2"), ("/openapi/v3/apis/apps/v1", "v3")] {
        let told = format!("application/com.github.proto-openapi.spec.{version}.v1.0+protobuf");
        let asked = told.replace(".v1.0", "@v1.0");
        let (_, headers, text) = http.call("GET", path, "application/json", &Value::Null).await;
        let text: Value = serde_json::from_slice(&text).unwrap();
        let etag = headers["etag"].clone();
        for (accept, wanted) in [
            (asked.clone(), told.as_str()),
            (told.clone(), &told),
            (format!("{asked},application/json"), &told),
            (format!("application/json;q=0.4,{asked};q=0.5"), &told),
            (format!("application/json,{asked}"), "application/json"),
            (format!("{asked};q=0.1,*/*"), "application/json"),
        ] {
            let (status, headers, bytes) = http.call("GET", path, &accept, &Value::Null).await;
            let media = headers["content-type"].to_str().unwrap();
            assert_eq!((status.as_u16(), media, &headers["etag"]), (200, wanted, &etag), "{accept}");
            assert_eq!(headers["vary"], "Accept");
            if wanted == told {
                let read = if version == "v2" { hako_judge::openapi::v2 } else { hako_judge::openapi::v3 };
                let read = read(&bytes).unwrap();
                let paths = |document: &Value| document["paths"].as_object().unwrap().len();
                assert_eq!((paths(&read), &read["info"]), (paths(&text), &text["info"]), "{accept}");
            }
        }
        let request = Request::get(path).header("accept", &asked);
        let request = request.header("if-none-match", format!("\"other\", W/{}", etag.to_str().unwrap()));
        let answer = http.0.send(request.body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{path}");
        let (status, _, refused) = http.call("GET", path, "text/html", &Value::Null).await;
        let refused = String::from_utf8(refused.to_vec()).unwrap();
        assert!(status == StatusCode::NOT_ACCEPTABLE && refused.contains(&asked), "{refused}");
    }
    let (_, _, index) = http.call("GET", "/openapi/v3", "", &Value::Null).await;
    let index: Value = serde_json::from_slice(&index).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let asked = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let (code, headers, _) = http.call("GET", url, asked, &Value::Null).await;
    assert_eq!((code, &headers["cache-control"]), (StatusCode::OK, &"public, immutable".parse().unwrap()));
}

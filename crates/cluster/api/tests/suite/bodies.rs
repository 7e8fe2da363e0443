//! How answers are sent: packed for who takes that, streamed where they are long.

use std::io::Read as _;

use bytes::Bytes;
use hako_client::{Api, ListParams};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::contract::{config_map, from};
use crate::limits::http2;
use crate::support::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Above what is sent as it is, with ten objects.
const EACH_BYTES: usize = 20_000;

async fn fill(world: &World) {
    let api: Api<ConfigMap> = world.inside().namespaced("default");
    for at in 0..10 {
        let mut object = config_map(&format!("c{at}"), "x");
        object.data.get_or_insert_default().insert("text".into(), "0123456789".repeat(EACH_BYTES / 10));
        api.create(&object).await.unwrap();
    }
}

struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::get(format!("https://127.0.0.1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }
}

fn unpack(packed: &[u8]) -> Value {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Without the revision of the list: the server itself writes too.
fn timeless(mut list: Value) -> Value {
    if let Some(version) = list.pointer_mut("/metadata/resourceVersion") {
        version.take();
    }
    list
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_packed_for_who_takes_gzip_in_every_form() {
    let world = World::start().await;
    fill(&world).await;
    let mut client = Client(http2(&world, true).await);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (path, accept) in [(MAPS, "application/json"), ("/api/v1/configmaps", "*/*"), ("/openapi/v2", "*/*")]
    {
        let (status, headers, plain) = client.get(path, &[("accept", accept)]).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!headers.contains_key("content-encoding") && plain.len() > 128 << 10);
        let (status, headers, packed) =
            client.get(path, &[("accept", accept), ("accept-encoding", "gzip")]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["content-encoding"], "gzip");
        let varies = headers.get_all("vary").iter().any(|it| it == "Accept-Encoding");
        assert!(varies, "{headers:?}");
        assert_eq!(headers["content-type"], "application/json");
        assert!(packed.len() * 4 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
        let [packed, plain] = [unpack(&packed), serde_json::from_slice(&plain).unwrap()].map(timeless);
        assert!(packed == plain, "{path}");
    }
    let whole = format!("{MAPS}?includeObject=Object");
    let (_, headers, packed) = client.get(&whole, &[("accept", table), ("accept-encoding", "gzip")]).await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(unpack(&packed)["rows"].as_array().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_short_or_lasts_is_not_packed() {
    let world = World::start().await;
    fill(&world).await;
    let mut client = Client(http2(&world, true).await);
    let gzip = [("accept-encoding", "gzip")];
    let watch = format!("{MAPS}?watch=true&timeoutSeconds=1");
    for path in [&format!("{MAPS}/c0"), &format!("{MAPS}?limit=2"), &watch] {
        let (status, headers, body) = client.get(path, &gzip).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!headers.contains_key("content-encoding") && !headers.contains_key("vary"), "{path}");
        assert!(body.starts_with(b"{"), "{path}");
    }
    let (_, headers, _) = client.get(MAPS, &[("accept-encoding", "br, gzip;q=0")]).await;
    assert!(!headers.contains_key("content-encoding"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_of_a_packed_list_names_the_packing_and_no_length() {
    let world = World::start().await;
    fill(&world).await;
    let mut client = Client(http2(&world, true).await);
    let request = Request::head(format!("https://127.0.0.1{MAPS}")).header("accept-encoding", "gzip");
    let response = client.0.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(!response.headers().contains_key("content-length"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_asks_for_packed_lists_and_reads_them() {
    let world = World::start().await;
    fill(&world).await;
    let list = world.kubectl_json(&["get", "configmaps", "-o", "json", "--chunk-size=0"]).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 10);
    assert_eq!(list["items"][9]["data"]["text"].as_str().unwrap().len(), EACH_BYTES);
    let (is_ok, _, log) =
        world.try_kubectl(&["get", "configmaps", "-o", "json", "--chunk-size=0", "-v=8"], "").await;
    assert!(is_ok && log.contains("Vary: Accept-Encoding"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_shows_one_state_however_slowly_it_is_read() {
    let world = World::start().await;
    fill(&world).await;
    let api: Api<ConfigMap> = world.inside().namespaced("default");
    let mut client = http2(&world, true).await;
    let request = Request::get(format!("https://127.0.0.1{MAPS}")).body(Full::default()).unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    let mut read = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    for at in 0..10 {
        api.replace(&format!("c{at}"), &from(json!({"metadata": {"name": format!("c{at}")}}))).await.unwrap();
    }
    while let Some(frame) = body.frame().await {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let list: Value = serde_json::from_slice(&read).unwrap();
    for item in list["items"].as_array().unwrap() {
        assert_eq!(item["data"]["text"].as_str().unwrap().len(), EACH_BYTES);
    }
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items[0].data, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_is_refused_in_go_s_words() {
    let world = World::start().await;
    let sent = async |method: &str, path: &str, content_type: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let answer = world.outside().send(request.body(Bytes::from_static(body.as_bytes())).unwrap()).await;
        let (head, body) = answer.unwrap().into_parts();
        let status: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (head.status.as_u16(), status["message"].as_str().unwrap().to_owned())
    };
    const UNKNOWN: &str = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ";
    const TYPE: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    for (body, told) in [
        ("", format!("{UNKNOWN}unexpected end of JSON input (<empty>)")),
        ("{", format!("{UNKNOWN}unexpected end of JSON input ({{)")),
        (
            "kind: ConfigMap",
            format!("{UNKNOWN}invalid character 'k' looking for beginning of value (6b696e643a20436f6e6669674d6170)"),
        ),
        (
            r#"{"metadata":{"name":"a"},"data":{x}}"#,
            format!(
                "{UNKNOWN}invalid character 'x' looking for beginning of object key string ({{\"metadata\":{{\"name\":\"a\"}},\"data ...)"
            ),
        ),
        ("[]", format!("{UNKNOWN}json: cannot unmarshal array into Go value of type {TYPE} (5b5d)")),
        (
            r#"{"kind":7}"#,
            format!("{UNKNOWN}json: cannot unmarshal number into Go struct field .kind of type string ({{\"kind\":7}})"),
        ),
        (
            r#"{"metadata":"a"}"#,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta".to_owned(),
        ),
        (
            r#"{"apiVersion":"apps/v1"}"#,
            "the API version in the data (apps/v1) does not match the expected API version (v1)".to_owned(),
        ),
    ] {
        assert_eq!(sent("POST", MAPS, "application/json", body).await, (400, told), "{body}");
    }
    world.inside().namespaced("default").create(&config_map("a", "x")).await.unwrap();
    let path = format!("{MAPS}/a");
    for (kind, told) in [
        ("json-patch", "error decoding patch: unexpected end of JSON input"),
        ("merge-patch", "error decoding patch: unexpected end of JSON input"),
        ("strategic-merge-patch", "unexpected end of JSON input"),
    ] {
        let content_type = format!("application/{kind}+json");
        assert_eq!(sent("PATCH", &path, &content_type, "{").await, (400, told.to_owned()), "{kind}");
    }
}

//! What a client may do to the server's connections: each attack is bounded, and others are served while it runs.

use std::time::Duration;

use bytes::Bytes;
use hako_api::Limits;
use hako_client::{ResourceType, WriteOptions};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits::http2;
use crate::raw::{DEADLINE, Raw, SHORT};
use crate::support::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// An HTTP/2 connection on which frames are written by hand (RFC 9113, 4.1).
struct Frames(Raw);

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET` of a path in HPACK: indexed and literal fields of the static table.
fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 3]);
    block.extend(b"api");
    block
}

impl Frames {
    async fn admin(world: &World) -> Self {
        let mut raw = Raw::open(world, true, "h2").await;
        raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let mut frames = Self(raw);
        frames.write(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        frames
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.0.write_all(bytes).await?;
        self.0.0.flush().await
    }

    /// Reads up to the end of the connection; the codes of all GOAWAY frames.
    async fn goodbye(&mut self) -> Vec<u32> {
        let mut codes = Vec::new();
        let read = async {
            let mut head = [0; 9];
            while self.0.0.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                if self.0.0.read_exact(&mut payload).await.is_err() {
                    return;
                }
                if head[3] == GOAWAY {
                    codes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                }
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("the server ends the connection");
        codes
    }
}

/// Somebody else is served.
async fn others_are_served(world: &World) {
    let mut raw = Raw::admin(world).await;
    assert_eq!(raw.request(&format!("GET {MAPS}"), "").await.status().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_refused_over_both_protocols() {
    let world = World::start().await;
    let many: String = (0..200).map(|at| format!("x-{at}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(200 << 10));
    for headers in [many, long] {
        let mut raw = Raw::admin(&world).await;
        raw.request(&format!("GET {MAPS}"), &headers).await;
        assert_eq!(raw.status().await, 431);
    }
    let mut sender = http2(&world, true).await;
    let request = http::Request::get(format!("{}{MAPS}", world.url)).header("x", "y".repeat(100 << 10));
    let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 431);
    let request = http::Request::get(format!("{}{MAPS}", world.url));
    let response = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "the connection goes on");
    response.into_body().collect().await.unwrap();
}

/// CVE-2024-27316 and its kin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_27316_a_head_that_is_continued_for_ever_ends_the_connection() {
    let world = World::start().await;
    let mut frames = Frames::admin(&world).await;
    frames.write(&frame(HEADERS, END_STREAM, 1, &head("/version"))).await.unwrap();
    // A literal field without a name in the table, over and over.
    let mut block = Vec::new();
    while block.len() < 16_000 {
        block.extend([0x00, 1, b'x', 50]);
        block.extend([b'y'; 50]);
    }
    let more = frame(CONTINUATION, 0, 1, &block);
    for _ in 0..10_000 {
        if frames.write(&more).await.is_err() {
            break;
        }
    }
    frames.goodbye().await;
    others_are_served(&world).await;
}

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2023_44487_requests_that_are_taken_back_at_once_hold_nothing() {
    let world = World::start().await;
    let mut frames = Frames::admin(&world).await;
    let block = head(&format!("{MAPS}?watch=1"));
    let mut ended = false;
    for round in 0..200u32 {
        let mut bytes = Vec::new();
        for at in 0..100 {
            let stream = 2 * (round * 100 + at) + 1;
            bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
            bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        if frames.write(&bytes).await.is_err() {
            ended = true;
            break;
        }
        if round % 50 == 0 {
            others_are_served(&world).await;
        }
    }
    if ended {
        assert!(
            frames.goodbye().await.iter().all(|code| *code == 11),
            "ENHANCE_YOUR_CALM, if anything is said"
        );
    }
    drop(frames);
    let watches = "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"configmaps\"";
    let over = async {
        while number(&world, watches).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, over).await.expect("no watch is left");
    others_are_served(&world).await;
}

/// The sum of what the page of metrics says in lines that begin like this.
async fn number(world: &World, start: &str) -> i64 {
    let mut raw = Raw::admin(world).await;
    raw.request("GET /metrics", "Connection: close\r\n").await;
    let mut page = String::new();
    raw.0.read_to_string(&mut page).await.unwrap();
    let lines = page.lines().filter(|line| line.starts_with(start));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hoards_watches() {
    let world = World::start_with(Limits { long_running_each: 2, ..Limits::DEFAULT }).await;
    let watch = |node| format!("GET /api/v1/nodes?watch=1&fieldSelector=metadata.name%3D{node}");
    let (one, other) = (world.pki.node_client("a").unwrap(), world.pki.node_client("b").unwrap());
    let mut held = Vec::new();
    for code in [200, 200, 429] {
        let mut raw = Raw::open_as(&world, Some(&one), "http/1.1").await;
        assert_eq!(raw.request(&watch("a"), "").await.status().await, code);
        held.push(raw);
    }
    let mut raw = Raw::open_as(&world, Some(&other), "http/1.1").await;
    assert_eq!(raw.request(&watch("b"), "").await.status().await, 200, "others have theirs");
    let mut short = Raw::open_as(&world, Some(&one), "http/1.1").await;
    assert_eq!(
        short.request("GET /api/v1/services", "").await.status().await,
        200,
        "what does not last is let in"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_hoarded_give_way_those_of_nobody_first() {
    let world = World::start_with(Limits { connections: 4, ..Limits::DEFAULT }).await;
    let mut known = Raw::admin(&world).await;
    assert_eq!(known.request("GET /version", "").await.status().await, 200);
    let mut hoard = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::open(&world, false, "http/1.1").await;
        assert_eq!(raw.request("GET /healthz", "").await.status().await, 200);
        hoard.push(raw);
        others_are_served(&world).await;
    }
    hoard[0].closed().await;
    // What is left of the first answer comes before the second.
    let mut rest = known.request("GET /version", "Connection: close\r\n").await.head().await;
    while !rest.contains("connection: close") {
        rest = known.head().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_something_is_asked_does_not_give_way() {
    let world = World::start_with(Limits { connections: 2, ..Limits::DEFAULT }).await;
    let mut watch = Raw::admin(&world).await;
    assert_eq!(watch.request(&format!("GET {MAPS}?watch=1"), "").await.status().await, 200);
    for _ in 0..5 {
        others_are_served(&world).await;
    }
    let maps = world.inside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    maps.create(&json!({"metadata": {"name": "seen"}}), &WriteOptions::default()).await.unwrap();
    let mut seen = String::new();
    let told = async {
        while !seen.contains("\"name\":\"seen\"") {
            seen.push(char::from(watch.0.read_u8().await.unwrap()));
        }
    };
    tokio::time::timeout(DEADLINE, told).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_take_an_answer_loses_the_connection() {
    let world = World::start_with(Limits { send_time: SHORT, ..Limits::DEFAULT }).await;
    let maps = world.inside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    for number in 0..12 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "x".repeat(900_000)}});
        maps.create(&map, &WriteOptions::default()).await.unwrap();
    }
    let busy =
        "apiserver_flowcontrol_current_executing_requests{priority_level=\"exempt\",flow_schema=\"exempt\"}";
    for protocol in ["http/1.1", "h2"] {
        let mut frames = match protocol {
            "h2" => Frames::admin(&world).await,
            _ => Frames(Raw::admin(&world).await),
        };
        match protocol {
            "h2" => frames.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(MAPS))).await.unwrap(),
            _ => drop(frames.0.request(&format!("GET {MAPS}"), "").await),
        }
        let over = async {
            // One is the request that asks.
            while number(&world, busy).await < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            while number(&world, busy).await > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, over)
            .await
            .unwrap_or_else(|_| panic!("{protocol}: its place is kept"));
        frames.0.closed().await;
    }
    let mut watch = Raw::admin(&world).await;
    assert_eq!(watch.request(&format!("GET {MAPS}?watch=1"), "").await.status().await, 200);
    tokio::time::sleep(SHORT * 3).await;
    maps.create(&json!({"metadata": {"name": "late"}}), &WriteOptions::default()).await.unwrap();
    let (mut seen, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    let told = async {
        while !seen.windows(13).any(|part| part == b"\"name\":\"late\"") {
            // Only what may hold the beginning of the name.
            seen.drain(..seen.len().saturating_sub(12));
            let length = watch.0.read(&mut chunk).await.unwrap();
            assert!(length > 0, "the watch ended");
            seen.extend_from_slice(&chunk[..length]);
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("what lasts may be taken slowly");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_are_as_large_as_they_can_be_end_nothing() {
    let world = World::start().await;
    for query in [
        format!("watch=1&timeoutSeconds={}", i64::MAX),
        format!(
            "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds={}",
            i64::MAX
        ),
        format!("limit={}", i64::MAX),
    ] {
        let mut raw = Raw::admin(&world).await;
        assert_eq!(raw.request(&format!("GET {MAPS}?{query}"), "").await.status().await, 200, "{query}");
    }
    others_are_served(&world).await;
}

/// The most memory that this process had at once, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_that_lack_everything_get_no_defaults_beyond_what_is_told_of_them() {
    let world = World::start().await;
    let items = vec!["{}"; 480_000].join(",");
    let before = peak();
    let pods = world.inside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"));
    let body = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{{"containers":[{items}]}}}}"#
    );
    let send = async |method: &str, path: &str, body: String| {
        let request = http::Request::builder().method(method).uri(format!("https://127.0.0.1{path}"));
        let request = request.header("content-type", "application/json").body(Full::from(Bytes::from(body)));
        let mut connection = http2(&world, true).await;
        let response = connection.send_request(request.unwrap()).await.unwrap();
        let status = response.status();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        (status.as_u16(), serde_json::from_slice::<serde_json::Value>(&answer).unwrap())
    };
    let (code, answer) = send("POST", "/api/v1/namespaces/default/pods", body.clone()).await;
    assert_eq!(code, 422);
    let causes = answer["details"]["causes"].as_array().unwrap();
    assert_eq!(
        (&causes[0]["field"], &causes[3]["field"]),
        (&json!("spec.containers[0].name"), &json!("spec.containers[1].image"),)
    );
    assert!(causes.last().unwrap()["message"].as_str().unwrap().contains("there is more wrong"));
    let (code, answer) = send("POST", "/api/v1/namespaces/none/pods", body).await;
    assert_eq!((code, &answer["reason"]), (404, &json!("NotFound")), "{answer}");
    let deployments =
        world.inside().dynamic(&ResourceType::new("apps", "v1", "deployments"), Some("default"));
    deployments.create(&crate::contract::deployment("d"), &WriteOptions::default()).await.unwrap();
    let body = json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": {"spec": {"containers": []}}}});
    let body = body.to_string().replace("[]", &format!("[{items}]"));
    let (code, answer) = send("PUT", "/apis/apps/v1/namespaces/default/deployments/d", body).await;
    assert_eq!(code, 422);
    assert!(answer["message"].as_str().unwrap().contains("template.spec.containers[0].name: Required value"));
    // Some forty bytes for an item as it is sent; with its defaults and its owner it has a thousand more.
    let grown = peak() - before;
    assert!(grown < 300 << 20, "{} MiB", grown >> 20);
    assert!(pods.get("p").await.is_err());
}

//! What a client may take of the server: each limit is driven over HTTPS by a client that goes beyond it.

use std::time::Duration;

use bytes::Bytes;
use hako_api::Limits;
use hako_client::ListParams;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Namespace;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::raw::{DEADLINE, Raw, SHORT};
use crate::support::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_by_its_length_or_where_it_passes_the_limit() {
    assert_eq!(Limits::DEFAULT.body_bytes, 3 << 20, "as large as kube-apiserver takes");
    let world = World::start().await;
    let announced = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", (3 << 20) + 1);
    let mut raw = Raw::admin(&world).await;
    assert_eq!(raw.request(&format!("POST {MAPS}"), &announced).await.status().await, 413);

    let world = World::start_with(Limits { body_bytes: 1000, ..Limits::DEFAULT }).await;
    let mut raw = Raw::admin(&world).await;
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    raw.request(&format!("POST {MAPS}"), chunked).await;
    for _ in 0..2 {
        raw.send(&format!("{:x}\r\n{}\r\n", 600, " ".repeat(600))).await;
    }
    assert_eq!(raw.status().await, 413);
}

/// An HTTP/2 connection; hyper is as strict about its streams as curl is.
pub async fn http2(world: &World, is_admin: bool) -> http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(Raw::open(world, is_admin, "h2").await.0);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_a_refused_body_is_answered_and_the_connection_goes_on() {
    let world = World::start().await;
    for (is_admin, code) in [(true, 413), (false, 403)] {
        let mut sender = http2(&world, is_admin).await;
        for _ in 0..2 {
            let body = Full::new(Bytes::from(vec![b' '; 10 << 20]));
            let request = http::Request::post(format!("{}{MAPS}", world.url)).body(body).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), code);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(status["code"], code);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_head_is_answered_without_a_body_on_every_path() {
    let world = World::start().await;
    let mut sender = http2(&world, true).await;
    let paths = [
        ("/version", 200),
        (MAPS, 200),
        ("/api/v1/namespaces/default/configmaps?watch=true", 200),
        ("/api/v1/namespaces/default/configmaps/none", 404),
        ("/api/v1/none", 404),
        ("/none", 404),
        ("/api/v1/namespaces/default/pods/none/log", 404),
        ("/api/v1/namespaces/default/pods/none/binding", 405),
    ];
    for (path, code) in paths {
        let request = http::Request::head(format!("{}{path}", world.url)).body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), code, "{path}");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
    let mut raw = Raw::admin(&world).await;
    for _ in 0..2 {
        assert_eq!(raw.request("HEAD /none", "").await.status().await, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_gives_its_place_back() {
    let world = World::start_with(Limits { body_time: SHORT, exempt: 1, ..Limits::DEFAULT }).await;
    let mut slow = Raw::admin(&world).await;
    slow.request(&format!("POST {MAPS}"), "Content-Length: 100\r\n").await.send("{").await;
    assert_eq!(slow.status().await, 408);
    let mut next = Raw::admin(&world).await;
    assert_eq!(next.request(&format!("GET {MAPS}"), "").await.status().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_is_told_before_the_body_is_awaited() {
    let world = World::start().await;
    let mut nobody = Raw::open(&world, false, "http/1.1").await;
    nobody.request(&format!("POST {MAPS}"), "Content-Length: 1000000\r\n").await;
    assert_eq!(nobody.status().await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_finish_a_handshake_or_a_header_are_let_go() {
    let limits = Limits { handshake_time: SHORT, header_time: SHORT, ..Limits::DEFAULT };
    let world = World::start_with(limits).await;
    let mut silent = TcpStream::connect(world.url.trim_start_matches("https://")).await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, silent.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0);
    for protocol in ["http/1.1", "h2"] {
        Raw::open(&world, false, protocol).await.closed().await;
    }
    let mut slow = Raw::admin(&world).await;
    slow.send("GET /version HTTP/1.1\r\nHost: api\r\nX-Slow: ").await.closed().await;
    let mut half = Raw::open(&world, false, "h2").await;
    half.send("PRI * HTTP/2.0\r\n").await.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_done_gives_its_place_to_the_next() {
    let limits = Limits { connections: 1, idle_time: SHORT, header_time: SHORT, ..Limits::DEFAULT };
    let world = World::start_with(limits).await;
    let mut first = Raw::admin(&world).await;
    assert_eq!(first.request("GET /version", "").await.status().await, 200);
    let mut second = tokio::time::timeout(DEADLINE, Raw::admin(&world)).await.unwrap();
    assert_eq!(second.request("GET /version", "").await.status().await, 200);
    first.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_are_worked_on_at_once_are_told_to_come_again() {
    let world = World::start_with(Limits { exempt: 1, ..Limits::DEFAULT }).await;
    let mut slow = Raw::admin(&world).await;
    let headers = "Content-Type: application/json\r\nContent-Length: 30\r\nExpect: 100-continue\r\n";
    slow.request(&format!("POST {MAPS}"), headers).await;
    assert_eq!(slow.status().await, 100, "the body is awaited: the place is taken");

    let mut next = Raw::admin(&world).await;
    let refused = next.request(&format!("GET {MAPS}"), "").await.head().await;
    assert!(refused.starts_with("http/1.1 429 ") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    let all = world.inside().all::<Namespace>().list(&ListParams::default()).await;
    assert!(all.is_ok(), "components in this process are not kept waiting by clients");

    slow.send("{\"metadata\":{\"name\":\"a\"}}     ").await;
    assert_eq!(slow.status().await, 201);
    let mut next = Raw::admin(&world).await;
    assert_eq!(next.request(&format!("GET {MAPS}"), "").await.status().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_watches_than_may_run_are_told_to_come_again() {
    let world = World::start_with(Limits { long_running: 2, exempt: 1, ..Limits::DEFAULT }).await;
    let watch = format!("GET {MAPS}?watch=1");
    let (mut one, mut two) = (Raw::admin(&world).await, Raw::admin(&world).await);
    assert_eq!(one.request(&watch, "").await.status().await, 200);
    assert_eq!(two.request(&watch, "").await.status().await, 200);
    assert_eq!(Raw::admin(&world).await.request(&watch, "").await.status().await, 429);
    let mut other = Raw::admin(&world).await;
    assert_eq!(other.request(&format!("GET {MAPS}"), "").await.status().await, 200, "others are not touched");
    drop(one);
    let again = async {
        while Raw::admin(&world).await.request(&watch, "").await.status().await != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_last_has_the_time_it_asks_for_and_no_more_than_the_limit() {
    assert_eq!(Limits::DEFAULT.request_time, Duration::from_secs(60), "as long as kube-apiserver gives");
    let late = "Content-Type: application/json\r\nContent-Length: 10\r\n";
    let world = World::start().await;
    for path in [format!("{MAPS}?timeout=50ms"), format!("{MAPS}?timeout=0.05s")] {
        let mut raw = Raw::admin(&world).await;
        raw.request(&format!("POST {path}"), late).await;
        assert_eq!(raw.status().await, 504, "{path}");
        let said = raw.rest().await;
        let text = "Timeout: request did not complete within the allotted timeout";
        assert!(said.contains(text) && said.contains("\"reason\":\"Timeout\""), "{said}");
    }
    let mut raw = Raw::admin(&world).await;
    raw.request(&format!("GET {MAPS}?timeout=soon"), "").await;
    assert_eq!(raw.status().await, 400);
    let said = raw.rest().await;
    assert!(said.contains("invalid timeout specified in the request URL"), "{said}");
    // What a watch is asked with is no limit of it.
    let mut raw = Raw::admin(&world).await;
    raw.request(&format!("GET {MAPS}?watch=1&resourceVersion=0&timeout=1ms"), "").await;
    assert_eq!(raw.status().await, 200);

    let world = World::start_with(Limits { request_time: SHORT, ..Limits::DEFAULT }).await;
    for asked in ["", "?timeout=1h", "?timeout=0s"] {
        let mut raw = Raw::admin(&world).await;
        raw.request(&format!("POST {MAPS}{asked}"), late).await;
        assert_eq!(raw.status().await, 504, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_once_which_host_it_is_for() {
    let world = World::start().await;
    for (head, code) in [
        ("GET /version HTTP/1.1\r\n\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /version HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut raw = Raw::admin(&world).await;
        assert_eq!(raw.send(head).await.status().await, code, "{head}");
    }
}

use crate::support::{Fixture, run};
use hako_names::Digest;
use hako_registry::config::UpstreamConfig;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A cache of `host` whose tags are compared each time.
fn cache_of(prefix: &str, host: &str) -> Fixture {
    let mut upstream = UpstreamConfig::new(prefix, host);
    upstream.fresh = Duration::ZERO;
    Fixture::start_with(|config| config.upstreams = vec![upstream])
}

#[test]
fn skopeo_pulls_through_and_goes_on_when_the_upstream_is_away() {
    let upstream = Fixture::start();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    crate::skopeo::layout(&source, &vec![9; 5 << 20]);
    let oci = format!("oci:{}", source.display());
    run(
        "skopeo",
        &["copy", "--dest-tls-verify=false", &oci, &format!("docker://{}/team/app:v1", upstream.host())],
    );

    let cache = cache_of("up.test", &upstream.host());
    let image = format!("docker://{}/up.test/team/app:v1", cache.host());
    let pull = |to: &str| {
        let to = format!("dir:{}", work.path().join(to).display());
        run("skopeo", &["copy", "--src-tls-verify=false", &image, &to]);
    };
    pull("first");
    // A blob is recorded as its last piece is sent.
    cache.until(|| cache.stored() == 3);
    drop(upstream);
    pull("second");
    let stale = cache.get("/v2/up.test/team/app/manifests/v1");
    assert_eq!((stale.status, stale.header("warning")), (200, "110 - \"Response is Stale\""));
    let missing = cache.get("/v2/up.test/team/app/manifests/v2");
    assert_eq!(missing.status, 503, "{missing:?}");
    let push = cache.send("POST", "/v2/up.test/team/app/blobs/uploads/", &[], "");
    assert_eq!((push.status, push.code().as_str()), (403, "DENIED"));
}

#[test]
fn a_tag_follows_its_upstream_and_what_is_unknown_there_is_unknown_here() {
    let upstream = Fixture::start();
    let cache = cache_of("", &upstream.host());
    let head = || cache.send("HEAD", "/v2/a/manifests/v", &[], "").header("docker-content-digest").to_owned();
    for layer in ["one", "two"] {
        let digest = upstream.push_image("a", "v", layer.as_bytes());
        assert_eq!(head(), digest.to_string());
    }
    let blob = Digest::of(b"two");
    let sized = cache.send("HEAD", &format!("/v2/a/blobs/{blob}"), &[], "");
    assert_eq!((sized.status, sized.header("content-length")), (200, "3"));
    assert_eq!(cache.send("GET", &format!("/v2/a/blobs/{blob}"), &[("range", "bytes=1-1")], "").body, b"w");
    assert_eq!(cache.get("/v2/a/manifests/none").code(), "MANIFEST_UNKNOWN");
    let absent = Digest::of(b"absent");
    assert_eq!(cache.get(&format!("/v2/a/blobs/{absent}")).code(), "BLOB_UNKNOWN");
    assert_eq!(cache.send("HEAD", &format!("/v2/a/blobs/{absent}"), &[], "").status, 404);
}

#[test]
fn many_who_ask_for_a_blob_at_once_get_it_whole() {
    let upstream = Fixture::start();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = upstream.push_blob("a", &bytes);
    let cache = cache_of("", &upstream.host());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let got = cache.get(&format!("/v2/a/blobs/{digest}"));
                assert!(got.status == 200 && got.body == bytes);
            });
        }
    });
    cache.until(|| cache.stored() == 1);
    drop(upstream);
    assert!(cache.get(&format!("/v2/a/blobs/{digest}")).body == bytes);
}

#[test]
fn an_upstream_that_asks_for_fewer_requests_gets_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            if !head[..read].starts_with(b"GET") {
                continue;
            }
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(
                b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        }
    });
    let cache = cache_of("", &host);
    let first = cache.get("/v2/a/manifests/v1");
    assert_eq!((first.status, first.header("retry-after")), (429, "60"));
    let before = asked.load(Ordering::SeqCst);
    let second = cache.get("/v2/a/manifests/v2");
    assert_eq!((second.status, second.code().as_str()), (429, "TOOMANYREQUESTS"));
    assert_eq!(asked.load(Ordering::SeqCst), before);
}

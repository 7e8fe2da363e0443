use crate::support::{Fixture, OCI_INDEX, OCI_MANIFEST, run};
use hako_names::Digest;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn blobs_have_ranges_conditions_and_heads() {
    let registry = Fixture::start();
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let digest = registry.push_blob("a", &bytes);
    let path = format!("/v2/a/blobs/{digest}");
    let get = |headers: &[(&str, &str)]| registry.send("GET", &path, headers, "");

    let whole = get(&[]);
    assert_eq!((whole.status, whole.header("docker-content-digest")), (200, digest.to_string().as_str()));
    assert!(whole.body == bytes);
    let head = registry.send("HEAD", &path, &[], "");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "4000000", 0));
    let part = get(&[("range", "bytes=1000-299999")]);
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 1000-299999/4000000"));
    assert!(part.body == bytes[1000..300_000]);
    assert!(get(&[("range", "bytes=-10")]).body == bytes[3_999_990..]);
    let outside = get(&[("range", "bytes=4000000-")]);
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */4000000"));
    let tag = whole.header("etag").to_owned();
    assert_eq!(get(&[("if-none-match", &tag)]).status, 304);
    assert_eq!(get(&[("if-none-match", "\"x\", *")]).status, 304);
    assert_eq!(get(&[("if-none-match", "\"x\"")]).status, 200);
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-range", "\"x\"")]).status, 200);
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-range", &tag)]).status, 206);

    let other = registry.get(&format!("/v2/b/blobs/{digest}"));
    assert_eq!((other.status, other.code().as_str()), (404, "BLOB_UNKNOWN"));
    let empty = registry.push_blob("a", b"");
    assert_eq!(registry.get(&format!("/v2/a/blobs/{empty}")).body, b"");
}

#[test]
fn bytes_that_the_storage_lost_are_a_fault_of_the_registry() {
    let registry = Fixture::start();
    let digest = registry.push_image("a", "v1", b"layer");
    let layer = Digest::of(b"layer");
    for lost in [layer, digest] {
        std::fs::remove_file(registry.dir.path().join("content/blobs/sha256").join(lost.hex())).unwrap();
    }
    for path in [format!("/v2/a/blobs/{layer}"), format!("/v2/a/manifests/{digest}")] {
        let answer = registry.get(&path);
        assert_eq!((answer.status, answer.code().as_str()), (500, "UNKNOWN"), "{path}");
    }
}

#[test]
fn manifests_come_back_byte_for_byte_by_tag_and_digest() {
    let registry = Fixture::start();
    let manifest = format!("{:#}\n ", registry.manifest("a", b"layer"));
    let digest = Digest::of(manifest.as_bytes());
    let put = registry.send("PUT", "/v2/a/manifests/v1", &[("content-type", OCI_MANIFEST)], manifest.clone());
    assert_eq!((put.status, put.header("docker-content-digest")), (201, digest.to_string().as_str()));
    for reference in ["v1".to_owned(), digest.to_string()] {
        let path = format!("/v2/a/manifests/{reference}");
        let got = registry.send("GET", &path, &[("accept", OCI_MANIFEST)], "");
        assert_eq!((got.status, got.header("content-type")), (200, OCI_MANIFEST));
        assert_eq!(got.body, manifest.as_bytes());
        let head = registry.send("HEAD", &path, &[], "");
        assert_eq!(head.header("content-length"), manifest.len().to_string());
        assert_eq!(head.header("docker-content-digest"), digest.to_string());
        let known = registry.send("GET", &path, &[("if-none-match", got.header("etag"))], "");
        assert_eq!((known.status, known.body.len()), (304, 0));
    }
    assert_eq!(registry.get("/v2/a/manifests/v2").code(), "MANIFEST_UNKNOWN");
}

#[test]
fn what_a_client_does_not_accept_is_said_and_an_index_gives_its_linux_image() {
    let registry = Fixture::start();
    let image = registry.push_image("a", "image", b"layer");
    let mut descriptor = registry.descriptor("a", image);
    descriptor["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor]});
    let digest = registry.put_manifest("a", "index", &index);
    let get = |reference: &str, accept: &str| {
        registry.send("GET", &format!("/v2/a/manifests/{reference}"), &[("accept", accept)], "")
    };
    let both = format!("text/html, {OCI_INDEX};q=0.5, {OCI_MANIFEST}");
    assert_eq!(get("index", &both).header("docker-content-digest"), digest.to_string());
    assert_eq!(get("index", "*/*").header("docker-content-digest"), digest.to_string());
    assert_eq!(get("index", OCI_MANIFEST).header("docker-content-digest"), image.to_string());
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let refused = get("index", docker);
    assert_eq!((refused.status, refused.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains(OCI_INDEX));
    assert_eq!(get(&digest.to_string(), docker).status, 200, "a digest has no other bytes");
}

#[test]
fn tags_and_repositories_come_in_pages() {
    let registry = Fixture::start();
    for tag in ["b", "a", "c", "d"] {
        registry.push_image("team/app", tag, b"layer");
    }
    registry.push_image("team/app2", "x", b"layer");
    registry.push_blob("other", b"x");
    let all = registry.get("/v2/team/app/tags/list").json();
    assert_eq!(all, serde_json::json!({"name": "team/app", "tags": ["a", "b", "c", "d"]}));
    let mut seen = Vec::new();
    let mut path = "/v2/team/app/tags/list?n=3".to_owned();
    loop {
        let page = registry.get(&path);
        seen.push(page.json()["tags"].clone());
        let Some(next) = page.header("link").strip_prefix('<') else { break };
        path = next.split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen, [serde_json::json!(["a", "b", "c"]), serde_json::json!(["d"])]);
    assert_eq!(registry.get("/v2/team/app/tags/list?n=0").json()["tags"], serde_json::json!([]));
    assert_eq!(registry.get("/v2/team/app/tags/list?last=zz").json()["tags"], serde_json::json!([]));

    let first = registry.get("/v2/_catalog?n=2");
    assert_eq!(first.json()["repositories"], serde_json::json!(["other", "team/app"]));
    assert_eq!(first.header("link"), "</v2/_catalog?n=2&last=team%2Fapp>; rel=\"next\"");
    let second = registry.get("/v2/_catalog?n=2&last=team%2Fapp");
    assert_eq!(second.json()["repositories"], serde_json::json!(["team/app2"]));
    assert_eq!(second.header("link"), "");
}

/// The next response on a connection: its head, and its body by `Content-Length`.
fn read_response(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn bodies_from_memory_and_from_files_keep_their_order_on_one_connection() {
    let registry = Fixture::start();
    let bytes: Vec<u8> = (0..2_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let large = registry.push_blob("a", &bytes);
    registry.push_image("a", "v1", b"a small layer");
    let asked = [
        (format!("/v2/a/blobs/{large}"), "x: y"),
        ("/v2/a/manifests/v1".to_owned(), "x: y"),
        (format!("/v2/a/blobs/{large}"), "range: bytes=7-7999989"),
        (format!("/v2/a/blobs/{}", Digest::of(b"a small layer")), "x: y"),
        (format!("/v2/a/blobs/{large}"), "range: bytes=7000001-"),
    ];
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    // All at once, before anything is read: the socket is full long before the first body is sent.
    for (path, header) in &asked {
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n").unwrap();
    }
    let got = asked.map(|_| read_response(&mut stream).1);
    assert!(got[0] == bytes);
    assert_eq!(got[1], registry.get("/v2/a/manifests/v1").body);
    assert!(got[2] == bytes[7..7_999_990]);
    assert_eq!(got[3], b"a small layer");
    assert!(got[4] == bytes[7_000_001..]);

    // A client that goes away in the middle of a body takes nobody along.
    write!(stream, "GET /v2/a/blobs/{large} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    assert!(registry.get(&format!("/v2/a/blobs/{large}")).body == bytes);
}

#[test]
fn http_2_without_tls_gives_the_same_blobs() {
    let registry = Fixture::start();
    let bytes: Vec<u8> = (0..2_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let url = format!("http://{}/v2/a/blobs/{}", registry.host(), registry.push_blob("a", &bytes));
    let file = registry.dir.path().join("got");
    let version = run(
        "curl",
        &["-sS", "--http2-prior-knowledge", "-w", "%{http_version}", "-o", file.to_str().unwrap(), &url],
    );
    assert_eq!(version, "2");
    assert!(std::fs::read(file).unwrap() == bytes);
}

//! The same requests to Debian's docker-registry: where it supports them, the answers agree.

use crate::support::{Answer, Fixture, OCI_MANIFEST, Plain, manifest_of};
use hako_names::Digest;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// Debian's docker-registry in a directory of its own.
struct Oracle {
    child: Child,
    host: String,
    _dir: tempfile::TempDir,
}

impl Oracle {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp: {{addr: '{host}', relativeurls: true}}\n",
            dir.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}; run scripts/setup"));
        while TcpStream::connect(&host).is_err() {
            std::thread::yield_now();
        }
        Self { child, host, _dir: dir }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What is compared: status, code of the first error, and headers whose values do not depend on the server.
fn seen(answer: &Answer) -> Seen {
    let code = serde_json::from_slice::<serde_json::Value>(&answer.body)
        .ok()
        .and_then(|body| body["errors"][0]["code"].as_str().map(str::to_owned))
        .unwrap_or_default();
    // The length of JSON that the server writes is its own affair.
    let is_content = !answer.header("docker-content-digest").is_empty();
    let headers = [
        "docker-content-digest",
        "range",
        "content-range",
        "content-length",
        "docker-distribution-api-version",
    ];
    let headers = headers.iter().filter(|name| is_content || **name != "content-length");
    let headers = headers.map(|name| format!("{name}: {}", answer.header(name))).collect();
    (answer.status, code, headers)
}

/// Status, code of the first error, headers.
type Seen = (u16, String, Vec<String>);

/// The cases against one server; each is named.
struct Cases {
    client: Plain,
    layer: Vec<u8>,
    seen: Vec<(String, Seen)>,
}

const CONFIG: &[u8] = b"{}";

impl Cases {
    fn run(host: &str) -> Vec<(String, Seen)> {
        let mut cases = Self { client: Plain::new(host), layer: vec![5; 100_000], seen: Vec::new() };
        cases.nothing();
        cases.push();
        cases.pull_and_delete();
        cases.seen
    }

    fn case(
        &mut self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.client.try_send(method, path, headers, body.to_vec()).unwrap();
        self.seen.push((name.to_owned(), seen(&answer)));
        answer
    }

    fn nothing(&mut self) {
        let absent = Digest::of(b"absent");
        self.case("base", "GET", "/v2/", &[], b"");
        self.case("tags of nothing", "GET", "/v2/none/tags/list", &[], b"");
        self.case("manifest of nothing", "GET", "/v2/none/manifests/v1", &[], b"");
        self.case("blob of nothing", "GET", &format!("/v2/none/blobs/{absent}"), &[], b"");
        self.case("head of nothing", "HEAD", &format!("/v2/none/blobs/{absent}"), &[], b"");
        // Not compared: an unknown upload. docker-registry says BLOB_UPLOAD_INVALID for what the specification calls
        // BLOB_UPLOAD_UNKNOWN, because the state it signs into the address is missing.
    }

    fn push(&mut self) {
        let (absent, layer) = (Digest::of(b"absent"), self.layer.clone());
        let (config_digest, layer_digest) = (Digest::of(CONFIG), Digest::of(&layer));
        let begun = self.case("begin", "POST", "/v2/a/blobs/uploads/", &[], b"");
        let join = |location: &str, query: String| {
            format!("{location}{}{query}", if location.contains('?') { "&" } else { "?" })
        };
        let location = begun.header("location").to_owned();
        let first = self.case("chunk", "PATCH", &location, &[("content-range", "0-49999")], &layer[..50_000]);
        let status = self.case("status", "GET", first.header("location"), &[], b"");
        let second = self.case(
            "next chunk",
            "PATCH",
            status.header("location"),
            &[("content-range", "50000-99999")],
            &layer[50_000..],
        );
        self.case("put", "PUT", &join(second.header("location"), format!("digest={layer_digest}")), &[], b"");
        let begun = self.case("begin again", "POST", "/v2/a/blobs/uploads/", &[], b"");
        self.case(
            "put whole",
            "PUT",
            &join(begun.header("location"), format!("digest={config_digest}")),
            &[],
            CONFIG,
        );
        let begun = self.case("begin wrong", "POST", "/v2/a/blobs/uploads/", &[], b"");
        self.case(
            "wrong digest",
            "PUT",
            &join(begun.header("location"), format!("digest={absent}")),
            &[],
            CONFIG,
        );
        let begun = self.case("begin to cancel", "POST", "/v2/a/blobs/uploads/", &[], b"");
        self.case("cancel", "DELETE", begun.header("location"), &[], b"");
    }

    fn pull_and_delete(&mut self) {
        let (config_digest, layer_digest) = (Digest::of(CONFIG), Digest::of(&self.layer));
        let blob = format!("/v2/a/blobs/{layer_digest}");
        self.case("get blob", "GET", &blob, &[], b"");
        self.case("head blob", "HEAD", &blob, &[], b"");
        self.case("range", "GET", &blob, &[("range", "bytes=10-19")], b"");
        // Not compared: a range beyond the end. docker-registry 2.8 announces the blob's length with its 416 and sends less.
        self.case("mount", "POST", &format!("/v2/b/blobs/uploads/?mount={layer_digest}&from=a"), &[], b"");
        self.case("mounted", "HEAD", &format!("/v2/b/blobs/{layer_digest}"), &[], b"");

        let manifest = manifest_of(config_digest, CONFIG.len(), layer_digest, self.layer.len(), 1)
            .to_string()
            .into_bytes();
        let digest = Digest::of(&manifest);
        let media_type = [("content-type", OCI_MANIFEST)];
        let accept = [("accept", OCI_MANIFEST)];
        self.case("put manifest", "PUT", "/v2/a/manifests/v1", &media_type, &manifest);
        // Not compared: a manifest that is none. docker-registry 2.8 answers 500.
        self.case("get manifest", "GET", "/v2/a/manifests/v1", &accept, b"");
        self.case("get by digest", "GET", &format!("/v2/a/manifests/{digest}"), &accept, b"");
        self.case("head manifest", "HEAD", "/v2/a/manifests/v1", &accept, b"");
        self.case(
            "not accepted",
            "GET",
            "/v2/a/manifests/v1",
            &[("accept", "application/vnd.docker.distribution.manifest.v2+json")],
            b"",
        );
        self.case("unknown tag", "GET", "/v2/a/manifests/v9", &accept, b"");
        self.case("tags", "GET", "/v2/a/tags/list", &[], b"");
        self.case("delete manifest", "DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
        self.case("deleted", "GET", "/v2/a/manifests/v1", &accept, b"");
        self.case("delete again", "DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
        self.case("delete blob", "DELETE", &blob, &[], b"");
        self.case("delete blob again", "DELETE", &blob, &[], b"");
    }
}

#[test]
fn answers_agree_with_the_docker_registry() {
    let (oracle, ours) = (Oracle::start(), Fixture::start());
    let different: Vec<String> = Cases::run(&ours.host())
        .into_iter()
        .zip(Cases::run(&oracle.host))
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("{}:\n  ours   {:?}\n  theirs {:?}", ours.0, ours.1, theirs.1))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

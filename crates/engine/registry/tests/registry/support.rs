//! A registry on a port of its own, plain requests to it, and images made here.

use hako_names::Digest;
use hako_registry::{Config, Service};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A running registry in a directory of its own.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    service: Option<Service>,
    runtime: tokio::runtime::Runtime,
}

/// What a request was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the first error.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Fixture {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change)
    }

    pub fn start_in(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            collect_every: Duration::from_millis(50),
            ..Config::default()
        };
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let service = runtime.block_on(Service::start(config, dir.path().to_path_buf())).unwrap();
        Self { dir, service: Some(service), runtime }
    }

    /// Ends it as an operator does; its directory.
    pub fn stop(mut self) -> tempfile::TempDir {
        self.runtime.block_on(self.service.take().unwrap().stop());
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// A request to where metrics are told.
    pub fn watch(&self, path: &str) -> Answer {
        let address = self.service.as_ref().unwrap().metrics_address().unwrap().to_string();
        self.runtime.block_on(send(&address, "GET", path, &[], Vec::new())).unwrap()
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.service.as_ref().unwrap().address().to_string()
    }

    /// One request; a path with its query, headers, a body.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.runtime.block_on(send(&self.host(), method, path, headers, body.into())).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Pushes a blob in one request.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let answer =
            self.send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], bytes);
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Pushes an image of one layer; its manifest's digest.
    pub fn push_image(&self, repository: &str, reference: &str, layer: &[u8]) -> Digest {
        let manifest = self.manifest(repository, layer);
        self.put_manifest(repository, reference, &manifest)
    }

    /// Pushes configuration and layer and makes their manifest.
    pub fn manifest(&self, repository: &str, layer: &[u8]) -> serde_json::Value {
        let config = self.push_blob(repository, br#"{"os":"linux","architecture":"amd64"}"#);
        let layer_digest = self.push_blob(repository, layer);
        serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 37},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer.len()}],
        })
    }

    pub fn put_manifest(&self, repository: &str, reference: &str, manifest: &serde_json::Value) -> Digest {
        let bytes = manifest.to_string();
        let media_type = manifest["mediaType"].as_str().unwrap();
        let path = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.send("PUT", &path, &[("content-type", media_type)], bytes.clone());
        assert_eq!(answer.status, 201, "{answer:?}");
        Digest::of(bytes.as_bytes())
    }

    /// The descriptor of a manifest that is here.
    pub fn descriptor(&self, repository: &str, digest: Digest) -> serde_json::Value {
        let manifest = self.get(&format!("/v2/{repository}/manifests/{digest}"));
        assert_eq!(manifest.status, 200, "{manifest:?}");
        let media_type = manifest.header("content-type");
        serde_json::json!({"mediaType": media_type, "digest": digest, "size": manifest.body.len()})
    }

    /// Puts an index of manifests that are here.
    pub fn put_index(&self, repository: &str, reference: &str, of: Digest) -> Digest {
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [self.descriptor(repository, of)],
        });
        self.put_manifest(repository, reference, &index)
    }

    /// Begins an upload; where it goes on.
    pub fn begin(&self, repository: &str) -> String {
        let begun = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "");
        assert_eq!(begun.status, 202, "{begun:?}");
        begun.header("location").to_owned()
    }

    /// Waits until `is_so`; the test ends by its own timeout.
    pub fn until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        }
    }

    /// How many blobs are on the disk.
    pub fn stored(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("content/blobs/sha256")).unwrap().count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            self.runtime.block_on(service.stop());
        }
    }
}

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

async fn send(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Option<Answer> {
    use http_body_util::{BodyExt as _, Full};
    let stream = tokio::net::TcpStream::connect(host).await.ok()?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes().to_vec();
    drop(sender);
    let _ = driver.await;
    Some(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// A registry in a process of its own, killed at the end.
pub struct Process {
    child: Child,
    pub host: String,
}

impl Process {
    pub fn start(dir: &Path, config: &str) -> Self {
        Self::run(Command::new(Self::program()).arg(dir).arg(config))
    }

    /// On a small file system, in a mount namespace that goes with the process.
    pub fn start_on(size_mib: u32, dir: &Path, config: &str) -> Self {
        let script = "mount -t tmpfs -o size=\"$1\"m tmpfs \"$2\" && exec \"$0\" \"$2\" \"$3\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(Self::program()).arg(size_mib.to_string());
        Self::run(command.arg(dir).arg(config))
    }

    fn program() -> PathBuf {
        let exe = std::env::current_exe().unwrap();
        exe.parent().unwrap().parent().unwrap().join("examples/registry")
    }

    fn run(command: &mut Command) -> Self {
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut host = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut host).unwrap();
        Self { child, host: host.trim().to_owned() }
    }

    /// A path as the process sees it.
    pub fn path(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), path.display()))
    }

    /// The most memory that it has had, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plain requests to a registry that may go away.
pub struct Plain {
    host: String,
    runtime: tokio::runtime::Runtime,
}

impl Plain {
    pub fn new(host: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { host: host.to_owned(), runtime }
    }

    /// `None` when the registry is gone.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        self.runtime.block_on(send(&self.host, method, path, headers, body))
    }
}

/// A manifest of an image of one layer.
pub fn manifest_of(
    config: Digest,
    config_size: usize,
    layer: Digest,
    size: usize,
    note: u64,
) -> serde_json::Value {
    serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "annotations": {"note": note.to_string()},
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size}],
    })
}

/// Repository and tag of `repository:tag`.
pub fn split(name: &str) -> (&str, &str) {
    name.rsplit_once(':').unwrap()
}

/// Runs a program that must succeed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}

pub fn output(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run scripts/setup"))
}

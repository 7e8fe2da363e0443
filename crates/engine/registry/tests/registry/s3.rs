//! A bucket of moto's S3 server as the storage.

use crate::support::{Fixture, Plain, Process};
use hako_names::Digest;
use hako_registry::config::{COPY_LIMIT_BYTES, S3Config};
use std::io::{BufRead as _, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// moto's server on a port of its own, in an environment made once for all tests.
struct Moto {
    child: Child,
    endpoint: String,
}

/// The environment is made under a name of its own and renamed: whoever is first wins.
fn environment() -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
    let (environment, new) = (target.join("moto-5.2.5"), target.join(format!("moto-{}", std::process::id())));
    if !environment.exists() {
        crate::support::run("/usr/bin/python3", &["-m", "venv", "--copies", &new.display().to_string()]);
        let pip = ["-m", "pip", "install", "--quiet", "moto[s3,server]==5.2.5"];
        crate::support::run(&new.join("bin/python3").display().to_string(), &pip);
        let _ = std::fs::rename(&new, &environment);
        let _ = std::fs::remove_dir_all(&new);
    }
    environment
}

impl Moto {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let mut child = Command::new(environment().join("bin/python3"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let endpoint = loop {
            let line = lines.next().expect("moto ended").unwrap();
            if let Some((_, address)) = line.split_once("Running on ") {
                break address.trim().to_owned();
            }
        };
        // Its log would fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let made = Command::new("curl").args(["-sfk", "-X", "PUT", &format!("{endpoint}/images")]).status();
        assert!(made.unwrap().success());
        Self { child, endpoint }
    }

    /// How many objects are in the bucket.
    fn objects(&self) -> usize {
        self.count("list-type=2", "<Key>")
    }

    /// How many uploads in parts are not ended.
    fn uploads(&self) -> usize {
        self.count("uploads", "<UploadId>")
    }

    fn count(&self, query: &str, what: &str) -> usize {
        let list = crate::support::run("curl", &["-sfk", &format!("{}/images?{query}", self.endpoint)]);
        list.matches(what).count()
    }

    /// A registry in `dir` whose blobs are in the bucket.
    fn registry(&self, dir: tempfile::TempDir, lease: Duration) -> Fixture {
        self.registry_that_trusts(None, dir, lease)
    }

    fn registry_that_trusts(
        &self,
        ca_file: Option<PathBuf>,
        dir: tempfile::TempDir,
        lease: Duration,
    ) -> Fixture {
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "secret\n").unwrap();
        Fixture::start_in(dir, |config| {
            config.limits.lease = lease;
            config.s3 = Some(self.bucket(ca_file, secret));
        })
    }

    fn bucket(&self, ca_file: Option<PathBuf>, secret: PathBuf) -> S3Config {
        S3Config {
            bucket: "images".into(),
            region: "us-east-1".into(),
            endpoint: Some(self.endpoint.clone()),
            ca_file,
            prefix: "some/where".into(),
            key: Some(("id".into(), secret)),
            copy_limit_bytes: COPY_LIMIT_BYTES,
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_bucket_holds_blobs_serves_ranges_and_is_collected() {
    let moto = Moto::start();
    // Long enough for a busy machine to push all that the manifest names.
    let registry = moto.registry(tempfile::tempdir().unwrap(), Duration::from_secs(15));
    // More than one part.
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 253) as u8).collect();
    let digest = registry.push_image("a", "v1", &large);
    assert_eq!(moto.objects(), 3, "configuration, layer and manifest, and no upload");
    let layer = Digest::of(&large);
    let path = format!("/v2/a/blobs/{layer}");
    assert!(registry.get(&path).body == large);
    let part = registry.send("GET", &path, &[("range", "bytes=9999990-10000010")], "");
    assert!(part.status == 206 && part.body == large[9_999_990..10_000_011]);
    assert_eq!(registry.get("/v2/a/manifests/v1").header("docker-content-digest"), digest.to_string());
    let wrong = registry.send("POST", &format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"x")), &[], "y");
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(registry.send("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "").status, 202);
    registry.until(|| moto.objects() == 0);
    assert_eq!(registry.get(&path).code(), "BLOB_UNKNOWN");
}

#[test]
fn pieces_mounts_cancellations_and_a_restart_leave_in_the_bucket_what_they_should() {
    let moto = Moto::start();
    let lease = Duration::from_secs(86_400);
    let registry = moto.registry(tempfile::tempdir().unwrap(), lease);
    let large: Vec<u8> = (0..12_000_000_u32).map(|n| (n % 241) as u8).collect();
    let digest = Digest::of(&large);
    let location = registry.begin("a");
    // Not at the borders of the bucket's parts.
    for piece in large.chunks(5_000_001) {
        assert_eq!(registry.send("PATCH", &location, &[], piece).status, 202);
    }
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], "").status, 201);
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    assert_eq!(registry.send("POST", &mount, &[], "").status, 201);
    assert_eq!(registry.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], "").status, 202);

    let cancelled = registry.begin("a");
    assert_eq!(registry.send("PATCH", &cancelled, &[], large.clone()).status, 202);
    assert_eq!(moto.uploads(), 1);
    assert_eq!(registry.send("DELETE", &cancelled, &[], "").status, 204);
    registry.until(|| moto.uploads() == 0);
    assert_eq!(moto.objects(), 1, "one blob, and nothing of what was cancelled");

    let dir = registry.stop();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = moto.bucket(None, dir.path().join("secret"));
    let checked =
        |is_deep| runtime.block_on(hako_registry::check_bucket(dir.path(), &bucket, is_deep)).unwrap();
    let good = hako_registry::Checked { blobs: 1, bytes: 12_000_000, ..Default::default() };
    assert_eq!(checked(true), good);
    assert_eq!(
        hako_registry::check(dir.path(), true).unwrap(),
        hako_registry::Checked { is_blind: true, ..good }
    );
    let object = format!("{}/images/some/where/blobs/sha256/{}", moto.endpoint, digest.hex());
    let change = |arguments: &[&str]| {
        let signed = ["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "id:secret", &object];
        crate::support::run("curl", &[&signed, arguments].concat());
    };
    let put = |bytes: &[u8]| {
        let file = dir.path().join("object");
        std::fs::write(&file, bytes).unwrap();
        change(&["-T", &file.display().to_string()]);
    };
    put(&vec![7; large.len()]);
    assert_eq!(checked(false).faults, [""; 0]);
    assert!(checked(true).faults.concat().contains("is damaged"), "{:?}", checked(true));
    put(b"short");
    assert!(checked(false).faults.concat().contains("has 5 bytes"), "{:?}", checked(false));
    change(&["-X", "DELETE"]);
    assert!(checked(false).faults.concat().contains("is not in the bucket"), "{:?}", checked(false));
    put(&large);

    let registry = moto.registry(dir, lease);
    assert!(registry.get(&format!("/v2/b/blobs/{digest}")).body == large);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).code(), "BLOB_UNKNOWN");
}

/// A way to a server that is shut at first; connections then end at once.
struct Gate {
    endpoint: String,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    fn before(endpoint: &str) -> Self {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let is_open = Arc::new(AtomicBool::new(false));
        let open = Arc::clone(&is_open);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok).filter(|_| open.load(Ordering::SeqCst)) {
                let there = TcpStream::connect(&server).unwrap();
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), there.try_clone().unwrap()), (there, client)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        Self { endpoint, is_open }
    }
}

#[test]
fn what_a_crash_left_goes_also_if_the_bucket_is_away_while_the_registry_starts() {
    let mut moto = Moto::start();
    for left in ["uploads/stray".to_owned(), format!("blobs/sha256/{}", Digest::of(b"stray").hex())] {
        let object = format!("{}/images/some/where/{left}", moto.endpoint);
        crate::support::run("curl", &["-sf", "-X", "PUT", "-d", "stray", &object]);
    }
    assert_eq!(moto.objects(), 2);
    let gate = Gate::before(&moto.endpoint);
    let direct = std::mem::replace(&mut moto.endpoint, gate.endpoint);
    let registry = moto.registry(tempfile::tempdir().unwrap(), Duration::from_secs(60));
    moto.endpoint = direct;
    // By then the registry has looked for what a crash left.
    for _ in 0..2 {
        assert_eq!(registry.send("POST", "/v2/a/blobs/uploads/", &[], "").status, 503);
    }
    gate.is_open.store(true, Ordering::SeqCst);
    registry.until(|| moto.objects() == 0);
}

#[test]
fn kill_9_leaves_no_upload_in_parts_that_the_next_start_does_not_end() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let endpoint = &moto.endpoint;
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let secret = dir.path().join("secret").display().to_string();
    let config = format!(
        "{{listen: '127.0.0.1:0', s3: {{bucket: images, endpoint: '{endpoint}', prefix: 'p ~#', access_key_id: id, \
         secret_access_key_file: '{secret}'}}}}"
    );
    let data = dir.path().join("data");
    let begin = |client: &Plain| {
        let begun = client.try_send("POST", "/v2/a/blobs/uploads/", &[], Vec::new()).unwrap();
        let location = begun.header("location").to_owned();
        assert_eq!(client.try_send("PATCH", &location, &[], vec![7; 20_000_000]).unwrap().status, 202);
        location
    };
    let registry = Process::start(&data, &config);
    begin(&Plain::new(&registry.host));
    assert_eq!(moto.uploads(), 1);
    registry.kill();
    assert_eq!(moto.uploads(), 1, "nobody was left to end it");
    // What another has begun below the same bucket is not ours to end.
    let other = format!("{endpoint}/images/other?uploads");
    let signed = ["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "id:secret", "-X", "POST"];
    crate::support::run("curl", &[&signed[..], &[other.as_str()]].concat());
    let registry = Process::start(&data, &config);
    let client = Plain::new(&registry.host);
    let location = begin(&client);
    for _ in 0..600 {
        if moto.uploads() <= 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(moto.uploads(), 2, "the other's, and the one that goes on");
    let digest = Digest::of(&vec![7; 20_000_000]);
    let put = client.try_send("PUT", &format!("{location}?digest={digest}"), &[], Vec::new()).unwrap();
    assert_eq!((put.status, moto.uploads(), moto.objects()), (201, 1, 1));
    assert_eq!(std::fs::read_dir(data.join("bucket-uploads")).unwrap().count(), 0);
}

#[test]
fn what_is_too_large_for_one_copy_of_the_service_is_copied_in_parts() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let registry = Fixture::start_in(dir, |config| {
        config.s3 = Some(S3Config { copy_limit_bytes: 18_999_999, ..moto.bucket(None, secret) });
    });
    for size in [18_999_999_u32, 19_000_000] {
        let large: Vec<u8> = (0..size).map(|n| (n % 239) as u8).collect();
        registry.push_image("a", &format!("v{size}"), &large);
        let got = registry.get(&format!("/v2/a/blobs/{}", Digest::of(&large)));
        assert!(got.status == 200 && got.body == large, "{size}");
        assert_eq!(moto.uploads(), 0);
        // An object that was made of parts says of how many.
        let object = format!("{}/images/some/where/blobs/sha256/{}", moto.endpoint, Digest::of(&large).hex());
        let signed = ["-sfI", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "id:secret", object.as_str()];
        let head = crate::support::run("curl", &signed).to_ascii_lowercase();
        assert_eq!(head.contains("-3\"\r\n"), size == 19_000_000, "{head}");
    }
    assert_eq!(moto.objects(), 5, "two layers, two manifests and their configuration");
}

#[test]
fn a_bucket_behind_tls_is_believed_by_the_certificate_that_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&key, crate::events::its_own_authority(&certificate).1.serialize_pem()).unwrap();
    let text = |path: &std::path::Path| path.display().to_string();
    let moto = Moto::start_with(&["--ssl", "--ssl-cert", &text(&certificate), "--ssl-key", &text(&key)]);
    assert!(moto.endpoint.starts_with("https://"), "{}", moto.endpoint);
    let registry = moto.registry_that_trusts(Some(certificate), dir, Duration::from_secs(60));
    registry.push_image("a", "v1", b"layer");
    assert_eq!(moto.objects(), 3);
}

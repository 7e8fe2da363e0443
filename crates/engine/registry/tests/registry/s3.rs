//! A bucket of moto's S3 server as the storage.

use crate::support::Fixture;
use hako_names::Digest;
use hako_registry::config::S3Config;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
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
        let mut child = Command::new(environment().join("bin/python3"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
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
        let made = Command::new("curl").args(["-sf", "-X", "PUT", &format!("{endpoint}/images")]).status();
        assert!(made.unwrap().success());
        Self { child, endpoint }
    }

    /// How many objects are in the bucket.
    fn objects(&self) -> usize {
        let list = crate::support::run("curl", &["-sf", &format!("{}/images?list-type=2", self.endpoint)]);
        list.matches("<Key>").count()
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
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let registry = Fixture::start_in(dir, |config| {
        config.limits.lease = Duration::from_secs(5);
        config.s3 = Some(S3Config {
            bucket: "images".into(),
            region: "us-east-1".into(),
            endpoint: Some(moto.endpoint.clone()),
            prefix: "some/where".into(),
            key: Some(("id".into(), secret)),
        });
    });
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

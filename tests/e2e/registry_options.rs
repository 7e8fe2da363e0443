//! Options of `hako registry`: where it listens, what it is configured by, where it keeps everything, what is checked.

use crate::platform::{HAKO, enter_network_namespace, output};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn hako(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(HAKO);
    command.arg("--data-dir").arg(data).arg("registry").args(arguments);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

/// `hako registry serve`, ended with the test.
struct Serve {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Serve {
    fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut command = hako(data, &[&["serve"], arguments].concat());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The address at the end of the next line, which begins so.
    #[track_caller]
    fn address(&mut self, start: &str) -> String {
        let line = self.lines.next().expect("it goes on").unwrap();
        line.strip_prefix(start).unwrap_or_else(|| panic!("{line}")).to_owned()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status of a request.
fn status(host: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// The SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn push_hello(host: &str) -> String {
    status(host, &format!("POST /v2/app/blobs/uploads/?digest=sha256:{HELLO}"), "hello")
}

#[test]
fn a_registry_listens_keeps_and_bounds_as_its_options_say() {
    enter_network_namespace();
    let dir = tempfile::tempdir().unwrap();
    let (data, storage) = (dir.path().join("data"), dir.path().join("storage"));
    let config = dir.path().join("registry.yaml");
    // Nobody has that address here: only what the command line says can be listened on.
    let text = "listen: 192.0.2.1:5000\nmetrics_listen: 127.0.0.1:0\nquotas: [{bytes: 4}]\n";
    fs::write(&config, text).unwrap();
    let (config, kept) = (config.to_str().unwrap(), storage.to_str().unwrap());
    let mut bounded =
        Serve::start(&data, &["--config", config, "--listen", "127.0.0.1:0", "--storage", kept]);
    let host = bounded.address("registry listens on ");
    assert_eq!(push_hello(&host), "403", "the quota of the file");
    let metrics = bounded.address("metrics at http://");
    assert_eq!(status(metrics.trim_end_matches("/metrics"), "GET /metrics", ""), "200");
    assert!(storage.join("metadata.redb").exists() && !data.join("registry").exists());
    drop(bounded);
    let mut usual = Serve::start(&data, &["--listen", "127.0.0.1:0"]);
    assert_eq!(push_hello(&usual.address("registry listens on ")), "201", "no file bounds it");
    assert!(data.join("registry/metadata.redb").exists(), "the place without --storage");
    drop(usual);
    // What the configuration says of the address counts as well.
    let refused = output(&mut hako(&data, &["serve", "--config", config, "--storage", kept]));
    assert!(!refused.status.success() && said(&refused).contains("192.0.2.1"), "{}", said(&refused));
}

#[test]
fn a_configuration_is_checked_without_serving() {
    enter_network_namespace();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("registry.yaml");
    let checked = |text: &str| {
        fs::write(&config, text).unwrap();
        let arguments = ["serve", "--check", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
        // One that served would go on for ever.
        let mut timed = Command::new("timeout");
        let command = hako(dir.path(), &arguments);
        output(timed.arg("20").arg(command.get_program()).args(command.get_args()))
    };
    let good = checked("quotas: [{bytes: 4}]\n");
    assert!(good.status.success() && said(&good).contains("the configuration is good"), "{}", said(&good));
    let bad = checked("quotas: [{}]\nnothing: 1\n");
    assert!(!bad.status.success(), "{}", said(&bad));
    for part in ["quotas[0].bytes", "nothing"] {
        assert!(said(&bad).contains(part), "{part}: {}", said(&bad));
    }
    assert!(!dir.path().join("registry").exists(), "nothing is made");
}

/// The file below `dir` of that name.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find_map(|path| if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) })
}

#[test]
fn a_stored_registry_is_checked_as_deep_as_is_said_and_where_is_said() {
    enter_network_namespace();
    let dir = tempfile::tempdir().unwrap();
    let (data, storage) = (dir.path().join("data"), dir.path().join("storage"));
    let kept = storage.to_str().unwrap();
    let mut registry = Serve::start(&data, &["--listen", "127.0.0.1:0", "--storage", kept]);
    assert_eq!(push_hello(&registry.address("registry listens on ")), "201");
    drop(registry);
    let check = |arguments: &[&str]| {
        let checked = output(&mut hako(&data, &[&["check"], arguments].concat()));
        (checked.status.success(), said(&checked))
    };
    let (is_done, told) = check(&[]);
    assert!(!is_done && told.contains("holds no registry"), "{told}");
    for deep in [&[][..], &["--deep"]] {
        assert_eq!(
            check(&[&["--storage", kept], deep].concat()),
            (true, "1 blobs, 5 bytes, 0 faults\n".into())
        );
    }
    fs::write(find(&storage, HELLO).unwrap(), "jello").unwrap();
    let (is_good, told) = check(&["--storage", kept]);
    assert!(is_good, "only hashing shows it: {told}");
    let (is_good, told) = check(&["--storage", kept, "--deep"]);
    assert!(!is_good && told.contains(HELLO) && told.contains("1 faults"), "{told}");
    // The bytes of a registry with a bucket are looked for there, and nobody answers here.
    let config = dir.path().join("registry.yaml");
    fs::write(dir.path().join("key"), "x").unwrap();
    let s3 = format!(
        "s3: {{bucket: b, endpoint: 'http://127.0.0.1:1', access_key_id: a, secret_access_key_file: {}}}\n",
        dir.path().join("key").display()
    );
    fs::write(&config, s3).unwrap();
    let (is_good, told) = check(&["--storage", kept, "--config", config.to_str().unwrap()]);
    assert!(!is_good && !told.contains("0 faults"), "{told}");
}

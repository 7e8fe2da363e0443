//! ADD of addresses and git repositories, and contexts from them.

use crate::bed::Bed;
use hako_build::{BuildRequest, StepOutcome};
use hako_error::Kind;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MODIFIED: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

/// Serves the same bytes for every path but `/missing`, and redirects `/moved`.
pub(super) fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = match first.split(' ').nth(1).unwrap() {
                "/missing" => "404 Not Found\r\nContent-Length: 0".to_owned(),
                "/moved" => "302 Found\r\nLocation: /x/data.tar\r\nContent-Length: 0".to_owned(),
                _ => format!(
                    "200 OK\r\nETag: \"{first}\"\r\nLast-Modified: {MODIFIED}\r\nContent-Length: {}",
                    bytes.len()
                ),
            };
            let _ = write!(client, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
            if head.starts_with("200") {
                let _ = client.write_all(&bytes);
            }
        }
    });
    address
}

/// Serves a text to who sends that header `Authorization`, and refuses others.
pub(super) fn serve_to(authorization: &'static str) -> String {
    answer(move |lines| {
        let is_known = lines.iter().any(|line| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            name.eq_ignore_ascii_case("authorization") && value == authorization
        });
        let text = if is_known { "for you" } else { "" };
        let status = if is_known { "200 OK" } else { "401 Unauthorized" };
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
    })
}

/// Sends everybody to the same path elsewhere.
pub(super) fn redirect_to(host: &str) -> String {
    let host = host.to_owned();
    answer(move |lines| {
        let path = lines[0].split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {host}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    })
}

/// A server that answers each request by its lines; its address.
fn answer(by: impl Fn(&[String]) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let _ = client.write_all(by(&lines).as_bytes());
        }
    });
    address
}

pub(super) fn tar_of(dir: &Path) -> Vec<u8> {
    Command::new("tar").arg("-C").arg(dir).args(["-cf", "-", "."]).output().unwrap().stdout
}

#[test]
fn an_address_is_fetched_verified_and_dated() {
    let bed = Bed::new("");
    bed.write("../in/f", "inside");
    let tar = tar_of(&bed.dir.path().join("in"));
    let digest = hako_names::Digest::of(&tar);
    let host = serve(tar);
    bed.write(
        "Dockerfile",
        format!(
            "FROM scratch\nADD {host}/moved /a/\nADD --chmod=644 --checksum={digest} {host}/x /b\n\
             ADD --unpack=true {host}/y /c/\n"
        ),
    );
    let image = bed.build();
    bed.look(&image, |root| {
        let a = fs::metadata(root.join("a/moved")).unwrap();
        assert_eq!((a.mode() & 0o7777, a.mtime()), (0o600, 1_700_000_000));
        assert_eq!(fs::metadata(root.join("b")).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(fs::read_to_string(root.join("c/f")).unwrap(), "inside");
    });
    assert_eq!(bed.run(bed.request()).counts(StepOutcome::Cached), 3);
    let wrong = digest.to_string().replace(&digest.to_string()[7..10], "000");
    bed.write("Dockerfile", format!("FROM scratch\nADD --checksum={wrong} {host}/x /b\n"));
    let error = bed.fails(bed.request());
    assert!(error.kind() == Kind::Invalid && error.chain().contains("--checksum wants"), "{error:?}");
    bed.write("Dockerfile", format!("FROM scratch\nADD {host}/missing /b\n"));
    assert_eq!(bed.fails(bed.request()).kind(), Kind::NotFound);
}

#[test]
fn a_tar_or_a_dockerfile_behind_an_address_is_a_context() {
    let bed = Bed::new("");
    bed.write("../in/Dockerfile", "FROM scratch\nCOPY f /f\n");
    bed.write("../in/f", "remote");
    let host = serve(tar_of(&bed.dir.path().join("in")));
    let image = bed.run(BuildRequest { remote: Some(format!("{host}/c.tar")), ..bed.request() }).image();
    assert_eq!(bed.read(&image, "f"), "remote");
    let host = serve(b"FROM scratch\nCOPY <<f /f\nalone\nf\n".to_vec());
    let image = bed.run(BuildRequest { remote: Some(format!("{host}/Dockerfile")), ..bed.request() }).image();
    assert_eq!(bed.read(&image, "f"), "alone\n");
}

/// A git daemon of the test's own.
pub(super) struct Daemon(Child, pub(super) String);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(super) fn daemon(base: &Path) -> Daemon {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Not by way of `git daemon`, which would leave it behind when killed.
    let child = Command::new(Path::new(&git(base, &["--exec-path"])).join("git-daemon"))
        .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", base.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = Daemon(child, format!("git://127.0.0.1:{port}"));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    daemon
}

#[test]
fn repositories_are_contexts_and_sources() {
    let bed = Bed::new("");
    let repository = bed.dir.path().join("git/r.git");
    fs::create_dir_all(repository.join("sub")).unwrap();
    git(&repository, &["init", "-q"]);
    fs::write(repository.join("sub/Dockerfile"), "FROM scratch\nCOPY f /f\n").unwrap();
    fs::write(repository.join("sub/f"), "one").unwrap();
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-q", "-m", "one"]);
    git(&repository, &["tag", "v1"]);
    let first = git(&repository, &["rev-parse", "HEAD"]);
    fs::write(repository.join("sub/f"), "two").unwrap();
    git(&repository, &["commit", "-q", "-a", "-m", "two"]);
    let daemon = daemon(&bed.dir.path().join("git"));
    let url = format!("{}/r.git", daemon.1);
    let remote =
        |reference: &str| BuildRequest { remote: Some(format!("{url}#{reference}:sub")), ..bed.request() };
    assert_eq!(bed.read(&bed.run(remote("")).image(), "f"), "two");
    assert_eq!(bed.read(&bed.run(remote("v1")).image(), "f"), "one");
    assert_eq!(bed.read(&bed.run(remote(&first)).image(), "f"), "one");
    bed.write(
        "Dockerfile",
        format!(
            "FROM scratch\nADD {url}#v1 /src\nADD --keep-git-dir=true --checksum={first} {url}#v1 /git\n"
        ),
    );
    let image = bed.build();
    bed.look(&image, |root| {
        let file = fs::metadata(root.join("src/sub/f")).unwrap();
        assert_eq!(file.mtime(), 1_700_000_000);
        assert!(!root.join("src/.git").exists() && root.join("git/.git/HEAD").is_file());
    });
    for (source, part) in [
        (format!("--checksum=0000 {url}"), "--checksum wants 0000"),
        (format!("{url}#nowhere"), "git fetch failed"),
        (format!("{url}#deadbeef"), "r.git has no commit deadbeef on any branch or tag"),
        (format!("{url}#v1:nowhere"), "no such directory"),
    ] {
        bed.write("Dockerfile", format!("FROM scratch\nADD {source} /x\n"));
        let error = bed.fails(bed.request());
        assert!(error.chain().contains(part), "{source}: {error:?}");
    }
}

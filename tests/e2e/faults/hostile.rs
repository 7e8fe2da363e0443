//! Clients that mean no good, or vanish: what they send is refused, what they hold is bounded and given back, and others
//! are served all the while.

use super::api::Api;
use super::bed::{Bed, Daemon};
use crate::platform::wait_until;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// Memory by which the daemon may grow whatever is sent, in KiB.
const GROWTH_KIB: u64 = 64 << 10;

/// A daemon with a container that says nothing until it is told to.
pub fn with_quiet_container(test: impl FnOnce(&Daemon, &Api)) {
    let bed = Bed::new();
    let daemon = bed.up(None);
    bed.hako(&["image", "import-busybox"]);
    let script = "while [ ! -e /go ]; do sleep 0.05; done; echo hello; exec sleep 100000";
    let host = json!({ "NetworkMode": "none" });
    let body =
        json!({ "Image": "busybox", "Cmd": ["sh", "-c", script], "OpenStdin": true, "HostConfig": host });
    daemon.api.post("/containers/create?name=quiet", body);
    daemon.api.post("/containers/quiet/start", Value::Null);
    test(&daemon, &daemon.api);
    daemon.api.delete("/containers/quiet?force=1");
    drop(daemon);
    bed.down();
}

/// Sends the head of a request, and reads the head of its answer.
pub fn ask(api: &Api, method: &str, path: &str, headers: &str) -> (UnixStream, String) {
    let mut connection = UnixStream::connect(&api.socket).unwrap();
    write!(connection, "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    (connection, String::from_utf8_lossy(&head).into_owned())
}

pub fn hijack(api: &Api) -> (UnixStream, String) {
    let headers = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n";
    ask(api, "POST", "/containers/quiet/attach?stream=1&stdin=1&stdout=1", headers)
}

#[test]
fn clients_that_vanish_leave_nothing_though_the_container_is_silent() {
    with_quiet_container(|daemon, api| {
        api.get("/version");
        let before = daemon.descriptors();
        let mut held = Vec::new();
        for _ in 0..20 {
            let (connection, head) = hijack(api);
            assert!(head.contains(" 101 "), "{head}");
            held.push(connection);
            for path in ["/containers/quiet/logs?follow=1&stdout=1", "/events", "/containers/quiet/stats"] {
                held.push(ask(api, "GET", path, "").0);
            }
            held.push(ask(api, "POST", "/containers/quiet/wait", "Content-Length: 0\r\n").0);
        }
        assert!(daemon.descriptors() > before + 100, "nothing was held");
        // Half of them say first that they send no more.
        for connection in held.iter().step_by(2) {
            connection.shutdown(Shutdown::Write).unwrap();
        }
        drop(held);
        wait_until("what vanished clients held", || daemon.descriptors() <= before);

        let (mut still, _) = hijack(api);
        still.shutdown(Shutdown::Write).unwrap();
        // Looked at meanwhile: one that only sends no more is there.
        let (gone, _) = hijack(api);
        drop(gone);
        wait_until("another that vanished", || daemon.descriptors() <= before + 10);
        api.exec("quiet", "touch /go");
        let mut said = [0; 14];
        still.read_exact(&mut said).unwrap();
        assert!(said.ends_with(b"hello\n"), "{said:?}");
    });
}

#[test]
fn sessions_are_bounded_and_the_next_client_is_told() {
    with_quiet_container(|daemon, api| {
        let before = daemon.descriptors();
        let mut held: Vec<UnixStream> = Vec::new();
        let refusal = loop {
            let (connection, head) = hijack(api);
            if !head.contains(" 101 ") {
                break head;
            }
            held.push(connection);
        };
        assert!(refusal.contains(" 503 "), "{refusal}");
        assert_eq!(held.len(), 1024);
        assert_eq!(api.get("/containers/json").as_array().unwrap().len(), 1);
        drop(held);
        wait_until("what they held", || daemon.descriptors() <= before);
        assert!(hijack(api).1.contains(" 101 "));
    });
}

/// An archive whose entries leave the directory that it is unpacked in: by `..`, by an absolute name, and through a link
/// that it makes itself.
fn escaping_archive(outside: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        // The builder's own setter refuses such names.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_size(if link.is_some() { 0 } else { 4 });
        if let Some(link) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name(link).unwrap();
        }
        header.set_cksum();
        archive.append(&header, if link.is_some() { &b""[..] } else { &b"evil"[..] }).unwrap();
    };
    add(&format!("../../../../../../../..{outside}/dots"), None);
    add(&format!("{outside}/absolute"), None);
    add("way", Some(outside));
    add("way/through", None);
    archive.into_inner().unwrap()
}

#[test]
fn archives_and_names_lead_nowhere_on_the_host() {
    with_quiet_container(|_, api| {
        let outside = tempfile::tempdir().unwrap();
        let archive = escaping_archive(outside.path().to_str().unwrap());
        for options in ["path=/tmp", "path=/tmp&copyUIDGID=1", "path=/../../tmp", "path=/"] {
            // Refused, or unpacked inside: either will do.
            let _ = status(api, |to| {
                write!(
                    to,
                    "PUT /containers/quiet/archive?{options} HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
                    archive.len()
                )?;
                to.write_all(&archive)
            });
        }
        assert_eq!(
            std::fs::read_dir(outside.path()).unwrap().count(),
            0,
            "something was written on the host"
        );

        for name in ["../evil", "a/b", "..", ".", "/abs", "a\u{0}b", "-x"] {
            let refused = api.call("POST", "/volumes/create", &json!({ "Name": name })).unwrap();
            assert_eq!(refused.status, 400, "{name:?}");
            let bind = json!({ "Type": "volume", "Source": name, "Target": "/x" });
            let body = json!({ "Image": "busybox", "HostConfig": { "Mounts": [bind] } });
            let refused = api.call("POST", "/containers/create?name=evil", &body).unwrap();
            assert_eq!(refused.status, 400, "{name:?}");
        }
        for path in ["/volumes/..%2Fcontainers", "/volumes/%2E%2E", "/volumes/..%2F..%2Finstance"] {
            let refused = api.call("DELETE", path, &Value::Null).unwrap();
            // Another spelling of a path is sent to the path itself, which the API judges like any.
            assert!([301, 400, 404].contains(&refused.status), "{path}: {}", refused.status);
        }
        assert!(api.has("/containers/quiet/json") && !api.has("/containers/evil/json"));
    });
}

/// The status of the answer to bytes; none if the connection is closed without one.
fn status(api: &Api, write: impl FnOnce(&mut UnixStream) -> std::io::Result<()>) -> String {
    let mut connection = UnixStream::connect(&api.socket).unwrap();
    // The daemon may answer and close before all is sent.
    let _ = write(&mut connection);
    let mut answer = [0; 12];
    let _ = connection.read_exact(&mut answer);
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

#[test]
fn floods_are_refused_within_bounds_and_others_are_served() {
    let bed = Bed::new();
    let daemon = bed.up(None);
    let api = &daemon.api;
    api.get("/containers/json");
    let before = daemon.memory_kib();
    let large = vec![b'x'; 1 << 20];

    let one_header = status(api, |to| {
        to.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Large: ")?;
        (0..64).try_for_each(|_| to.write_all(&large))
    });
    assert_eq!(one_header, "431");
    let many_headers = status(api, |to| {
        to.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n")?;
        (0..10_000).try_for_each(|number| write!(to, "X-{number}: y\r\n"))?;
        to.write_all(b"\r\n")
    });
    assert_eq!(many_headers, "431");
    let post = "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let long_path = status(api, |to| {
        to.write_all(b"GET /")?;
        // A head may have a megabyte, as dockerd's.
        (0..2).try_for_each(|_| to.write_all(&large))
    });
    assert!(["414", "431"].contains(&long_path.as_str()), "{long_path}");

    // A body in many small chunks, larger than any configuration.
    let chunks = b"8\r\nxxxxxxxx\r\n".repeat(1 << 16);
    let chunked = status(api, |to| {
        write!(to, "{post}Transfer-Encoding: chunked\r\n\r\n")?;
        (0..8).try_for_each(|_| to.write_all(&chunks))?;
        to.write_all(b"0\r\n\r\n")
    });
    assert!(["400", "413"].contains(&chunked.as_str()), "{chunked}");
    let sizes =
        status(api, |to| write!(to, "{post}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\n{{}}"));
    assert_ne!(&sizes[..1], "2", "{sizes}");
    let deep = "[".repeat(1 << 20);
    let nested = status(api, |to| write!(to, "{post}Content-Length: {}\r\n\r\n{deep}", deep.len()));
    assert_eq!(nested, "400");

    let mut held = Vec::new();
    for _ in 0..200 {
        let mut slow_head = UnixStream::connect(&api.socket).unwrap();
        slow_head.write_all(b"G").unwrap();
        let mut slow_body = UnixStream::connect(&api.socket).unwrap();
        write!(slow_body, "{post}Content-Length: 1000000000\r\n\r\n{{").unwrap();
        held.extend([slow_head, slow_body]);
    }
    for _ in 0..20 {
        api.get("/containers/json");
    }
    let grown = daemon.memory_kib().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "the daemon has grown by {grown} KiB");
    let mut end = [0; 1];
    let slow_head = &mut held[0];
    slow_head.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let ended = slow_head.read(&mut end);
    assert!(ended.is_ok(), "one that sends no head is held for ever: {ended:?}");
    drop(held);
    drop(daemon);
    bed.down();
}

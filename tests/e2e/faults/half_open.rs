//! Connections that are half there: a head that never ends, a session whose client does not read, does not take it, or has
//! shut one direction. What they hold is bounded in time or by the client itself, and nobody else waits for them.

use super::api::Api;
use super::bed::Daemon;
use super::hostile::{ask, hijack, with_quiet_container};
use crate::platform::wait_until;
use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Memory by which the daemon may grow for what one client does not read, in KiB.
const GROWTH_KIB: u64 = 32 << 10;
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

fn made_exec(api: &Api, command: &[&str]) -> String {
    let body = json!({ "Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true });
    api.post("/containers/quiet/exec", body)["Id"].as_str().unwrap().to_owned()
}

/// Sends bytes on a connection of its own and holds it.
fn begun(api: &Api, bytes: &str) -> UnixStream {
    let mut connection = UnixStream::connect(&api.socket).unwrap();
    connection.write_all(bytes.as_bytes()).unwrap();
    connection
}

/// Whether the daemon has let go of it.
fn is_over(connection: &UnixStream) -> bool {
    let mut connection = connection;
    connection.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn half_the_head_of_a_session_is_let_go_of_whoever_holds_it() {
    with_quiet_container(|daemon, api| {
        let exec = made_exec(api, &["cat"]);
        let before = daemon.descriptors();
        let heads = [
            format!("POST /containers/quiet/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: x\r\n{UPGRADE}"),
            format!(
                "POST /exec/{exec}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{UPGRADE}Content-Length: 2\r\n"
            ),
            // Without its header, so that it is looked at before the parser.
            "POST /containers/quiet/attach?stream=1&stdin=1 HTTP/1.1\r\nHo".to_owned(),
            "POST /exec/".to_owned(),
            "GET /containers/quiet/attach/ws?stream=1 HTTP/1.1\r\nUpgrade: websocket\r\n".to_owned(),
            "POST /session HTTP/1.1\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: x\r\n".to_owned(),
        ];
        let held: Vec<UnixStream> = heads.iter().cycle().take(60).map(|head| begun(api, head)).collect();
        wait_until("them to be held", || daemon.descriptors() > before + 50);
        assert!(hijack(api).1.contains(" 101 "), "others wait for them");
        wait_until("all to be let go of", || held.iter().all(is_over));
        drop(held);
        wait_until("what they held", || daemon.descriptors() <= before);
    });
}

#[test]
fn a_client_that_goes_before_its_session_begins_leaves_no_process() {
    with_quiet_container(|daemon, api| {
        let before = daemon.descriptors();
        let execs: Vec<String> = (0..20).map(|_| made_exec(api, &["cat"])).collect();
        for (number, exec) in execs.iter().enumerate() {
            let head =
                format!("POST /exec/{exec}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
            let asks = if number % 2 == 0 { UPGRADE } else { "" };
            drop(begun(api, &format!("{head}{asks}Content-Length: 2\r\n\r\n{{}}")));
        }
        let has_ended = |exec: &String| {
            let state = api.get(&format!("/exec/{exec}/json"));
            state["Running"] == false && !state["ExitCode"].is_null()
        };
        wait_until("each to be given the end of its input", || execs.iter().all(has_ended));
        wait_until("what they held", || daemon.descriptors() <= before);
        assert_eq!(
            api.exec("quiet", "ps | grep -c '[c]at$'")
                .trim()
                .trim_start_matches(|c: char| !c.is_ascii_digit()),
            "0"
        );
    });
}

/// Starts a container that says much and then makes a file.
fn flood(api: &Api) {
    let script = "head -c 30000000 /dev/zero; touch /said; exec sleep 100000";
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", script], "Tty": false,
        "HostConfig": { "NetworkMode": "none", "LogConfig": { "Type": "none" } } });
    api.post("/containers/create?name=flood", body);
}

#[test]
fn a_client_that_reads_nothing_holds_up_neither_the_container_nor_the_daemon() {
    with_quiet_container(|daemon, api| {
        flood(api);
        let headers = format!("{UPGRADE}Content-Length: 0\r\n");
        let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let silent = [
            ask(api, "POST", "/containers/flood/attach?stream=1&stdout=1", &headers),
            ask(api, "GET", "/containers/flood/attach/ws?stream=1&stdout=1", websocket),
        ];
        assert!(silent.iter().all(|(_, head)| head.contains(" 101 ")), "{silent:?}");
        let before = daemon.memory_kib();
        api.post("/containers/flood/start", serde_json::Value::Null);
        wait_until("the container to have said everything", || {
            api.exec("flood", "ls /said 2>/dev/null").contains("/said")
        });
        let grown = daemon.memory_kib().saturating_sub(before);
        assert!(grown < GROWTH_KIB, "the daemon has grown by {grown} KiB");
        drop(silent);
        api.delete("/containers/flood?force=1");
    });
}

#[test]
fn who_shuts_the_direction_that_it_is_to_read_is_gone() {
    with_quiet_container(|daemon, api| {
        let before = daemon.descriptors();
        let held: Vec<UnixStream> = (0..10)
            .map(|_| {
                let (connection, head) = hijack(api);
                assert!(head.contains(" 101 "), "{head}");
                connection.shutdown(Shutdown::Read).unwrap();
                connection
            })
            .collect();
        assert!(daemon.descriptors() > before + 9, "nothing was held");
        api.exec("quiet", "touch /go");
        wait_until("what nobody reads", || daemon.descriptors() <= before + held.len());
        drop(held);
        wait_until("what they held", || daemon.descriptors() <= before);
    });
}

/// A frame of a client, RFC 6455, 5.2: final, binary, and masked by zeroes where `is_masked`.
fn frame(length: u64, is_masked: bool) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut frame = vec![0x82, mask | 127];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4].iter().take(if is_masked { 4 } else { 0 }));
    frame
}

#[test]
fn frames_of_a_websocket_that_are_too_long_or_bare_end_it() {
    with_quiet_container(|daemon, api| {
        let before = daemon.memory_kib();
        let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (length, is_masked) in [(1 << 40, true), (u64::MAX, true), (2 << 20, true), (1024, false)] {
            let path = "/containers/quiet/attach/ws?stream=1&stdin=1&stdout=1";
            let (mut socket, head) = ask(api, "GET", path, headers);
            assert!(head.contains(" 101 "), "{head}");
            socket.write_all(&frame(length, is_masked)).unwrap();
            let _ = socket.write_all(&[0; 1024]);
            wait_until("the end of it", || is_over(&socket));
        }
        let grown = daemon.memory_kib().saturating_sub(before);
        assert!(grown < GROWTH_KIB, "the daemon has grown by {grown} KiB");
        still_serves(daemon, api);
    });
}

fn still_serves(daemon: &Daemon, api: &Api) {
    assert!(daemon.lives());
    assert_eq!(api.get("/containers/json").as_array().unwrap().len(), 1);
}

//! What goes over the wire beside the docker command's own ways: WebSockets, bodies as input, headers.

use crate::daemon::{Daemon, with_daemon};
use futures::{SinkExt, StreamExt};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use tokio_tungstenite::tungstenite::Message;

/// Head and body of an answer, by curl on the socket.
fn curl(docker: &Daemon, args: &[&str], path: &str) -> String {
    let output = Command::new("curl")
        .args(["-sS", "-i", "--max-time", "20", "--unix-socket"])
        .arg(&docker.socket)
        .args(args)
        .arg(format!("http://docker{path}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_websocket_carries_both_directions() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "-i", "--name", "echo", "busybox", "cat"]);
        docker.ok(&["start", "echo"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::UnixStream::connect(&docker.socket).await.unwrap();
            let url = "ws://docker/v1.41/containers/echo/attach/ws?stream=1&stdin=1&stdout=1&stderr=1&logs=1&detachKeys=ctrl-x";
            let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
            socket.send(Message::binary("typed\n")).await.unwrap();
            let mut heard = Vec::new();
            while heard != b"typed\n" {
                heard.extend(socket.next().await.unwrap().unwrap().into_data());
            }
            socket.close(None).await.unwrap();
        });
        let refused = curl(docker, &[], "/containers/echo/attach/ws?stream=1");
        assert!(
            refused.starts_with("HTTP/1.1 400")
                && (docker.is_peer() || refused.contains("not a WebSocket handshake")),
            "{refused}"
        );
    });
}

#[test]
fn a_body_is_standard_input_where_the_connection_is_not_upgraded() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "-i", "--name", "echo", "busybox", "cat"]);
        docker.ok(&["start", "echo"]);
        let mut child = Command::new("curl")
            .args(["-sS", "--max-time", "20", "-T", "-", "-X", "POST", "--unix-socket"])
            .arg(&docker.socket)
            .arg("http://docker/v1.41/containers/echo/attach?stream=1&stdin=1&stdout=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.stdout.ends_with(b"typed\n"), "{:?}", output.stdout);
    });
}

/// Reads until `end` has come.
fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains(end) {
        let mut piece = [0; 512];
        let len = stream.read(&mut piece).unwrap();
        assert!(len > 0, "it ends: {}", String::from_utf8_lossy(&told));
        told.extend_from_slice(&piece[..len]);
    }
    String::from_utf8_lossy(&told).into_owned()
}

#[test]
fn a_client_of_a_raw_connection_may_wait_for_leave_to_send_its_body() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let body = r#"{"AttachStdin":true,"AttachStdout":true,"Cmd":["cat"]}"#;
        let made = docker.post("/containers/box/exec", body);
        let id = made.split('"').nth(3).unwrap();
        let mut stream = UnixStream::connect(&docker.socket).unwrap();
        let head = "Host: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue";
        write!(stream, "POST /exec/{id}/start HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
        read_until(&mut stream, "100 Continue\r\n\r\n");
        stream.write_all(b"{}").unwrap();
        let answer = read_until(&mut stream, "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        stream.write_all(b"typed\n").unwrap();
        read_until(&mut stream, "typed\n");
    });
}

#[test]
fn what_comes_with_the_head_of_a_session_is_the_head_alone() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        for asks in ["", "Connection: Upgrade\r\nUpgrade: tcp\r\n"] {
            let body =
                r#"{"AttachStdout":true,"AttachStderr":true,"Cmd":["sh","-c","echo out; echo err >&2"]}"#;
            let made = docker.post("/containers/box/exec", body);
            let id = made.split('"').nth(3).unwrap();
            let mut stream = UnixStream::connect(&docker.socket).unwrap();
            let head = "Host: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
            write!(stream, "POST /exec/{id}/start HTTP/1.1\r\n{head}{asks}\r\n{{}}").unwrap();
            docker.until("its end", || {
                docker.ask("GET", &format!("/exec/{id}/json"), "").contains(r#""ExitCode":0"#)
            });
            // As docker-py reads it, which knows nothing of what else this gave it.
            let mut seen = [0; 8192];
            let len = stream.read(&mut seen).unwrap();
            let seen = String::from_utf8_lossy(&seen[..len]);
            assert!(seen.starts_with("HTTP/1.1 ") && seen.ends_with("\r\n\r\n"), "{seen}");
            let mut output = Vec::new();
            stream.read_to_end(&mut output).unwrap();
            let output = String::from_utf8_lossy(&output);
            assert!(output.contains("out\n") && output.contains("err\n"), "{output}");
        }
    });
}

#[test]
fn users_who_leave_a_terminal_leave_nothing_behind() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-dit", "--name", "box", "busybox", "cat"]);
        let come_and_leave = || {
            let mut stream = UnixStream::connect(&docker.socket).unwrap();
            let path = "/containers/box/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-x";
            let head = "Host: d\r\nConnection: Upgrade\r\nUpgrade: tcp";
            write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
            read_until(&mut stream, "\r\n\r\n");
            stream.write_all(b"\x18").unwrap();
            while stream.read(&mut [0; 512]).unwrap() > 0 {}
        };
        come_and_leave();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for _ in 0..40 {
            come_and_leave();
        }
        // The daemon is in this process.
        docker.until("what they held is given back", || docker.is_peer() || open() < before + 20);
        assert_eq!(docker.ok(&["inspect", "-f", "{{.State.Running}}", "box"]), "true\n");
    });
}

#[test]
fn headers_and_refusals_are_docker_s() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "--name", "said", "busybox", "echo", "said"]);
        let older = curl(docker, &[], "/v1.41/containers/said/logs?stdout=1");
        assert!(older.contains("content-type: application/vnd.docker.raw-stream"), "{older}");
        let newer = curl(docker, &[], "/v1.42/containers/said/logs?stdout=1");
        assert!(newer.contains("content-type: application/vnd.docker.multiplexed-stream"), "{newer}");
        let ping = curl(docker, &[], "/_ping");
        for header in ["api-version: 1.51", "ostype: linux", "server: Docker/", "swarm: inactive"] {
            assert!(ping.to_lowercase().contains(&header.to_lowercase()), "{header}: {ping}");
        }
        let unknown = curl(docker, &[], "/v1.51/nothing");
        assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("page not found"), "{unknown}");
        for (method, path) in
            [("POST", "/services/create"), ("GET", "/nodes"), ("DELETE", "/secrets/one/two")]
        {
            let answer = curl(docker, &["-X", method], path);
            assert!(
                answer.starts_with("HTTP/1.1 503") && answer.contains("not a swarm manager"),
                "{path}: {answer}"
            );
        }
        assert!(curl(docker, &[], "/plugins").ends_with("[]"));
        let checkpoint = curl(docker, &["-X", "POST"], "/containers/said/checkpoints");
        assert!(checkpoint.starts_with("HTTP/1.1 501"), "{checkpoint}");
        let bad =
            curl(docker, &["-G", "--data-urlencode", "filters={\"status\":[\"odd\"]}"], "/containers/json");
        assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("invalid filter 'status=odd'"), "{bad}");
    });
}

#[test]
fn filters_may_be_typed_as_they_are() {
    with_daemon(|docker| {
        docker.import_busybox();
        for name in ["one", "other"] {
            docker.ok(&["create", "--name", name, "busybox"]);
        }
        let asked = |target: &str| docker.ask("GET", target, "");
        let found = asked(r#"/v1.41/containers/json?all=1&filters={"name":["^/one$"]}"#);
        assert!(
            found.starts_with("HTTP/1.0 200") && found.contains("/one") && !found.contains("/other"),
            "{found}"
        );
        let refused = asked(r#"/containers/json?filters={"none":["<x>"]}"#);
        assert!(refused.starts_with("HTTP/1.0 400") && refused.contains("nvalid filter"), "{refused}");
        docker.ok(&["rm", "one", "other"]);
    });
}

#[test]
fn a_head_is_of_what_docker_has_one_of_and_options_are_of_everything() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "box", "busybox"]);
        let status = |method: &str, path: &str| {
            let answer = docker.ask(method, path, "");
            answer.split(' ').nth(1).unwrap().to_owned()
        };
        for path in ["/_ping", "/v1.41/_ping", "/containers/box/archive?path=/bin"] {
            assert_eq!(status("HEAD", path), "200", "{path}");
        }
        for path in ["/containers/json", "/images/json", "/info", "/v1.41/containers/box/json", "/nothing"] {
            assert_eq!(status("HEAD", path), "404", "{path}");
        }
        for path in ["/containers/json", "/v1.41/_ping", "/nothing"] {
            assert_eq!(status("OPTIONS", path), "200", "{path}");
        }
        let ping = docker.ask("HEAD", "/_ping", "").to_lowercase();
        assert!(ping.contains("content-length: 0"), "{ping}");
    });
}

#[test]
fn a_request_with_too_many_headers_is_refused() {
    with_daemon(|docker| {
        let many: Vec<String> = (0..200).map(|number| format!("X-Header-{number}: x")).collect();
        let args: Vec<&str> = many.iter().flat_map(|header| ["-H", header.as_str()]).collect();
        let answer = curl(docker, &args, "/_ping");
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(curl(docker, &[], "/_ping").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn paths_and_queries_are_taken_as_go_s_router_takes_them() {
    with_daemon(|docker| {
        docker.import_busybox();
        for (path, place) in [
            ("//v1.41/_ping", "/v1.41/_ping"),
            ("/v1.41/containers/./json?all=1", "/v1.41/containers/json?all=1"),
        ] {
            let answer = docker.ask("GET", path, "");
            let line = answer
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("location: ").map(str::to_owned));
            assert!(answer.contains(" 301 ") && line.as_deref() == Some(place), "{answer}");
        }
        docker.ok(&["create", "--name", "found", "busybox"]);
        let names = vec![format!("\"{}\"", "absent".repeat(100)); 200].join("%2C");
        let list = |name: &str| {
            docker.ask(
                "GET",
                &format!("/containers/json?all=1&filters=%7B\"name\":[{names},\"{name}\"]%7D")
                    .replace('"', "%22"),
                "",
            )
        };
        assert!(list("found").contains("/found") && list("other").trim_end().ends_with("[]"));
        let mut stream = UnixStream::connect(&docker.socket).unwrap();
        // It may be closed before all of it is sent.
        let _ =
            stream.write_all(format!("GET /_ping?x={} HTTP/1.1\r\n\r\n", "x".repeat(1_200_000)).as_bytes());
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 431");
        for (field, name) in [("CapAdd", "NOSUCH"), ("CapDrop", "CAP_NOSUCH")] {
            let body = format!(r#"{{"Image":"busybox","HostConfig":{{"{field}":["{name}"]}}}}"#);
            let answer = docker.ask("POST", "/containers/create", &body);
            let words = format!(r#"invalid {field}: unknown capability: \"CAP_NOSUCH\""#);
            assert!(answer.contains(" 400 ") && answer.contains(&words), "{answer}");
        }
        let ingress = docker.ask("POST", "/networks/create", r#"{"Name":"way-in","Ingress":true}"#);
        assert!(ingress.contains(" 403 ") && ingress.contains("Ingress network can only be"), "{ingress}");
    });
}

#[test]
fn lists_are_filtered_by_pattern_order_and_port() {
    with_daemon(|docker| {
        docker.import_busybox();
        for name in ["web-1", "web-2", "other"] {
            docker.ok(&["run", "-d", "--name", name, "--expose", "8000-8003", "busybox", "sleep", "1000"]);
        }
        let names = |filter: &str| {
            let out = docker.ok(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
            let mut names: Vec<String> = out.lines().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names("name=^web-[0-9]$"), "web-1 web-2");
        assert_eq!(names("name=eb-2"), "web-2");
        assert_eq!(names("before=web-2"), "web-1");
        assert_eq!(names("since=web-1"), "other web-2");
        assert_eq!(names("expose=8002/tcp"), "other web-1 web-2");
        assert_eq!(names("expose=8002/udp"), "");
        assert_eq!(names("is-task=true"), "");
        docker.ok(&["run", "-d", "--name", "open", "-p", "127.0.0.1::80", "busybox", "sleep", "1000"]);
        let shown = docker.ok(&["port", "open", "80"]);
        let port = shown.trim().rsplit(':').next().unwrap();
        // Of published ports, that of the host is meant.
        assert_eq!(names(&format!("publish={port}")), "open");
        assert_eq!(names(&format!("publish={port}/udp")), "");
        assert_eq!((names("publish=80").as_str(), names("expose=80").as_str()), ("", "open"));
        docker.ok(&["rm", "-f", "other", "open"]);
        docker.ok(&["stop", "-t", "0", "web-1"]);
        assert_eq!(names("expose=8000"), "web-2", "who does not run has no ports");
    });
}

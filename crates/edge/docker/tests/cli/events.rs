//! What `docker events` tells of a session, and connections that clients of old hijack.

use crate::daemon::{Daemon, with_daemon};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

impl Daemon {
    /// All that was told until now, in `format`, of what `filters` let pass.
    fn told(&self, format: &str, filters: &[&str]) -> Vec<String> {
        let filters: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        let now = ["events", "--since", "1", "--until", "0s", "--format", format];
        self.ok(&[&now[..], &filters].concat()).lines().map(str::to_owned).collect()
    }

    fn until_told(&self, filters: &[&str], wanted: &[&str]) {
        let mut told = Vec::new();
        let mut tries = 0;
        let mut has_all = || {
            told = self.told("{{.Type}} {{.Action}}", filters);
            let mut rest = told.iter().map(|line| line.trim_end());
            tries += 1;
            let all = wanted.iter().all(|one| rest.any(|line| line == *one));
            assert!(all || tries < 200, "{wanted:?} in this order: {told:#?}");
            all
        };
        self.until("events are told", &mut has_all);
    }

    /// Sends a request as it stands, and then what a program is to read; all that comes back.
    fn raw(&self, request: &str, input: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 1024];
        // Old clients wait for the head before they speak.
        while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
            let len = stream.read(&mut piece).unwrap();
            assert!(len > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&piece[..len]);
        }
        stream.write_all(input.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut seen).unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one session, step by step")]
fn every_action_of_a_session_is_told_in_its_order() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["volume", "create", "data"]);
        docker.ok(&["network", "create", "app"]);
        let run = [
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "app",
            "-v",
            "data:/data",
            "busybox",
            "sleep",
            "1000",
        ];
        docker.ok(&run);
        docker.ok(&["exec", "web", "true"]);
        docker.ok(&["top", "web"]);
        docker.ok(&["cp", "web:/etc/hosts", docker.dir.join("hosts").to_str().unwrap()]);
        docker.ok(&["cp", docker.dir.join("hosts").to_str().unwrap(), "web:/tmp"]);
        docker.ok(&["export", "-o", docker.dir.join("web.tar").to_str().unwrap(), "web"]);
        docker.ok(&["pause", "web"]);
        docker.ok(&["unpause", "web"]);
        docker.ok(&["rename", "web", "shop"]);
        docker.ok(&["commit", "shop", "made:1"]);
        docker.ok(&["restart", "-t", "0", "shop"]);
        docker.ok(&["rm", "-f", "shop"]);
        docker.ok(&["run", "--rm", "--network", "app", "-v", "data:/data", "busybox", "true"]);
        let (code, ..) = docker.run(&["run", "--rm", "--network", "app", "busybox", "nosuch"]);
        assert_eq!(code, 127);
        let (code, _, said) = docker.run(&["events", "--since", "20", "--until", "10"]);
        assert!(code != 0 && said.contains("`since` time (20) cannot be after `until` time (10)"), "{said}");
        for kind in ["container", "network", "volume", "image"] {
            docker.ok(&[kind, "prune", "-f"]);
        }
        docker.ok(&["rmi", "made:1"]);
        docker.ok(&["volume", "rm", "data"]);
        docker.until_told(
            &[],
            &[
                "image tag",
                "image import",
                "volume create",
                "network create",
                "container create",
                "network connect",
                "volume mount",
                "container start",
                "container exec_create: true",
                "container exec_start: true",
                "container exec_die",
                "container top",
                "container archive-path",
                "container extract-to-dir",
                "container export",
                "container pause",
                "container unpause",
                "container rename",
                "container pause",
                "container unpause",
                "image tag",
                "container commit",
                // The stop signal, which a first process without a handler does not see, and SIGKILL at once.
                "container kill",
                "container kill",
                "container die",
                "network disconnect",
                "volume unmount",
                "container stop",
                "network connect",
                "volume mount",
                "container start",
                "container restart",
                "container kill",
                "container die",
                "network disconnect",
                "volume unmount",
                "container destroy",
                "container create",
                "container attach",
                "network connect",
                "volume mount",
                "container start",
                "container die",
                "network disconnect",
                "volume unmount",
                "container destroy",
                "container create",
                "container attach",
                "network connect",
                "network disconnect",
                "container destroy",
                "container prune",
                "network destroy",
                "network prune",
                "volume prune",
                "image prune",
                "image untag",
                "image delete",
                "volume destroy",
            ],
        );
        let exec =
            docker.told("{{.Actor.Attributes.execID}} {{.Actor.Attributes.exitCode}}", &["event=exec_die"]);
        assert!(exec.len() == 1 && exec[0].len() == 64 + 2 && exec[0].ends_with(" 0"), "{exec:?}");
        let mount = docker.told("{{.Actor.ID}} {{.Actor.Attributes.destination}}", &["event=mount"]);
        assert_eq!(mount, ["data /data"; 3], "at each start");
        let places = docker.told("{{.Action}}", &["type=network", "event=connect", "event=disconnect"]);
        assert_eq!(places, ["connect", "disconnect"].repeat(4), "each place is left once");
        let deaths = docker.told("{{.Actor.Attributes.exitCode}}", &["event=die"]);
        assert_eq!(deaths, ["137", "137", "0"], "who never lived does not die");
        let commit = docker.told("{{.Actor.Attributes.imageRef}}", &["event=commit"]);
        assert_eq!(commit, ["made:1"]);
        let old = docker.told("{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}", &["event=rename"]);
        assert_eq!(old, ["/web shop"]);
        let prunes =
            docker.told("{{.Type}} {{.Actor.Attributes.reclaimed}}", &["event=prune", "type=network"]);
        assert_eq!(prunes, ["network 0"]);
        assert!(docker.told("{{.Action}}", &["container=we"]).contains(&"create".to_owned()));
        assert!(docker.told("{{.Action}}", &["daemon=x"]).is_empty());
        let (code, _, err) = docker.run(&["events", "--until", "0s", "--filter", "colour=red"]);
        assert!(code == 1 && err.contains("invalid filter"), "{err}");
    });
}

#[test]
fn events_and_logs_name_an_image_as_it_was_typed() {
    with_daemon(|docker| {
        docker.import_busybox();
        let id = docker.ok(&["images", "-q", "--no-trunc"]).trim().to_owned();
        for (number, typed) in
            ["busybox", "busybox:latest", "docker.io/library/busybox", &id].iter().enumerate()
        {
            let name = format!("box{number}");
            let log = ["--log-opt", "tag={{.ImageName}}"];
            let run = ["run", "--label", "of=typed", "--name", &name];
            docker.ok(&[&run[..], &log, &[typed, "echo", "said"]].concat());
            let container = format!("container={name}");
            docker.until_told(&[&container], &["container create", "container start", "container die"]);
            let told = docker.told("{{.From}} {{.Actor.Attributes.image}}", &["type=container", &container]);
            assert!(told.iter().all(|line| *line == format!("{typed} {typed}")), "{typed}: {told:?}");
            assert_eq!(
                docker.ok(&["logs", "--details", &name]),
                format!("tag={} said\n", typed.replace(':', "%3A").replace('/', "%2F"))
            );
        }
        let starts = |image: &str| {
            let image = format!("image={image}");
            docker.told("{{.From}}", &["event=start", "label=of=typed", &image]).len()
        };
        // Of a name with a tag, it alone is meant.
        assert_eq!((starts("busybox"), starts("busybox:latest")), (3, 1));
    });
}

#[test]
fn clients_that_ask_for_no_upgrade_get_a_raw_connection() {
    with_daemon(|docker| {
        docker.import_busybox();
        let id = docker.ok(&["create", "-i", "--name", "cat", "busybox", "cat"]);
        docker.ok(&["start", "cat"]);
        let attach = format!(
            "POST /v1.24/containers/{}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n\r\n",
            id.trim()
        );
        let seen = docker.raw(&attach, "POST /exec/x/start HTTP/1.1\r\n\r\n");
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
        let head = seen.split("\r\n\r\n").next().unwrap().to_lowercase();
        assert!(head.contains("application/vnd.docker.raw-stream") && !head.contains("upgrade"), "{head}");
        assert!(seen.ends_with("POST /exec/x/start HTTP/1.1\r\n\r\n"), "{seen}");
        docker.ok(&["rm", "-f", "cat"]);

        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let body = r#"{"AttachStdin":true,"AttachStdout":true,"Cmd":["cat"]}"#;
        let made = docker.post("/containers/box/exec", body);
        let exec = made.split("\"Id\":\"").nth(1).unwrap().split('"').next().unwrap();
        // On a connection that was used before.
        let ping = "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n";
        let mut stream = UnixStream::connect(&docker.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(ping.as_bytes()).unwrap();
        let mut seen = [0; 4096];
        let mut len = 0;
        while !seen[..len].ends_with(b"OK") {
            len += stream.read(&mut seen[len..]).unwrap();
        }
        let start = format!(
            "POST /exec/{exec}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(start.as_bytes()).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut seen = String::new();
        stream.read_to_string(&mut seen).unwrap();
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n") && seen.ends_with("hello"), "{seen}");
    });
}

#[test]
fn the_keys_of_a_terminal_detach_and_the_program_goes_on() {
    with_daemon(|docker| {
        docker.import_busybox();
        let id = docker.ok(&["create", "-it", "--name", "box", "busybox", "cat"]);
        docker.ok(&["start", "box"]);
        let attach = format!(
            "POST /containers/{}/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-x HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
            id.trim()
        );
        let seen = docker.raw(&attach, "hello\n\x18");
        assert!(seen.starts_with("HTTP/1.1 101"), "{seen}");
        docker.until_told(&["container=box"], &["container attach", "container detach"]);
        assert_eq!(docker.ok(&["inspect", "-f", "{{.State.Running}}", "box"]), "true\n");
        let (code, _, err) = docker.run(&["attach", "--detach-keys", "ctrl-", "box"]);
        assert!(code == 1 && !err.is_empty(), "{err}");
    });
}

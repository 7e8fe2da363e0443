//! Health checks and what the docker command line shows of them, manual stops, and refusals at creation.

use crate::daemon::{Daemon, with_daemon};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn health(docker: &Daemon, name: &str) -> String {
    docker.ok(&["inspect", "-f", "{{.State.Health.Status}}", name]).trim().to_owned()
}

#[test]
fn a_container_is_as_healthy_as_its_check_says() {
    with_daemon(|docker| {
        docker.import_busybox();
        let check = [
            "--health-cmd",
            "echo looked; test -e /fine",
            "--health-interval",
            "100ms",
            "--health-retries",
            "2",
        ];
        let mut args = vec!["run", "-d", "--name", "app", "--health-start-period", "1h"];
        args.extend(check);
        args.extend(["busybox", "sleep", "1000"]);
        docker.ok(&args);
        assert_eq!(health(docker, "app"), "starting");
        let row = docker.ok(&["ps", "--format", "{{.Status}}"]);
        assert!(row.trim().ends_with("(health: starting)"), "{row}");
        docker.ok(&["rm", "-f", "app"]);

        let mut args = vec!["run", "-d", "--name", "app"];
        args.extend(check);
        args.extend(["busybox", "sleep", "1000"]);
        docker.ok(&args);
        docker.until("it is unhealthy", || health(docker, "app") == "unhealthy");
        docker.ok(&["exec", "app", "touch", "/fine"]);
        docker.until("it is healthy", || health(docker, "app") == "healthy");
        let shown = docker.ok(&["ps", "--filter", "health=healthy", "--format", "{{.Names}} {{.Status}}"]);
        assert!(shown.starts_with("app Up ") && shown.trim().ends_with("(healthy)"), "{shown}");
        assert_eq!(docker.ok(&["ps", "-q", "--filter", "health=unhealthy"]), "");
        docker.until("five results are kept", || {
            docker.ok(&["inspect", "-f", "{{len .State.Health.Log}}", "app"]) == "5\n"
        });
        let last = "{{(index .State.Health.Log 4).ExitCode}} {{(index .State.Health.Log 4).Output}}";
        assert_eq!(docker.ok(&["inspect", "-f", last, "app"]), "0 looked\n\n");
        let events = || {
            let past = ["events", "--since", "0.1", "--until", "0s", "--filter", "event=health_status"];
            docker.ok(&[&past[..], &["--filter", "container=app", "--format", "{{.Action}}"]].concat())
        };
        docker.until("both are told", || events() == "health_status: unhealthy\nhealth_status: healthy\n");
        docker.ok(&["stop", "-t", "0", "app"]);
        docker.until("what is stopped is not healthy", || health(docker, "app") == "unhealthy");
    });
}

#[test]
fn the_images_check_is_run_and_one_that_takes_too_long_fails() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        let file = "FROM busybox\nHEALTHCHECK --interval=100ms --timeout=100ms --retries=1 CMD sleep 1000\n";
        std::fs::write(context.join("Dockerfile"), file).unwrap();
        docker.ok(&["build", "-t", "checked", context.to_str().unwrap()]);
        docker.ok(&["run", "-d", "--name", "app", "checked", "sleep", "1000"]);
        docker.until("it is unhealthy", || health(docker, "app") == "unhealthy");
        let first = "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}";
        let result = docker.ok(&["inspect", "-f", first, "app"]);
        assert!(result.starts_with("-1 Health check exceeded timeout (100ms)"), "{result}");
        docker.ok(&["run", "-d", "--name", "bare", "--no-healthcheck", "checked", "sleep", "1000"]);
        assert_eq!(docker.ok(&["inspect", "-f", "{{.State.Health}}", "bare"]), "<nil>\n");
        assert_eq!(docker.ok(&["ps", "--filter", "health=none", "--format", "{{.Names}}"]), "bare\n");
    });
}

#[test]
fn top_shows_the_processes_of_a_container_only() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "app", "busybox", "sh", "-c", "sleep 1234 & wait"]);
        docker.until("both processes are shown", || docker.ok(&["top", "app"]).lines().count() == 3);
        let shown = docker.ok(&["top", "app", "-o", "pid,args"]);
        assert!(shown.contains("sleep 1234") && shown.lines().count() == 3, "{shown}");
        docker.ok(&["stop", "-t", "0", "app"]);
        let (code, _, err) = docker.run(&["top", "app"]);
        assert_eq!(code, 1);
        assert!(err.contains("is not running"), "{err}");
    });
}

#[test]
fn a_paused_container_stands_still_until_it_goes_on_or_is_ended() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "app",
            "busybox",
            "sh",
            "-c",
            "trap 'exit 3' TERM; while :; do date >/at; usleep 5000; done",
        ]);
        docker.ok(&["pause", "app"]);
        let shown = docker.ok(&["ps", "--filter", "status=paused", "--format", "{{.State}} {{.Status}}"]);
        assert!(shown.starts_with("paused Up ") && shown.trim().ends_with("(Paused)"), "{shown}");
        assert_eq!(
            docker.ok(&["inspect", "-f", "{{.State.Running}} {{.State.Paused}}", "app"]),
            "true true\n"
        );
        for (args, said) in [(vec!["pause", "app"], "paused"), (vec!["exec", "app", "true"], "unpause")] {
            let (code, _, err) = docker.run(&args);
            assert!(code != 0 && err.contains(said), "{args:?}: {err}");
        }
        docker.ok(&["unpause", "app"]);
        docker.ok(&["exec", "app", "true"]);
        let (code, _, err) = docker.run(&["unpause", "app"]);
        assert!(code == 1 && err.contains("is not paused"), "{err}");
        docker.ok(&["pause", "app"]);
        docker.ok(&["stop", "app"]);
        assert_eq!(docker.ok(&["wait", "app"]), "3\n");
        docker.ok(&["start", "app"]);
        docker.ok(&["pause", "app"]);
        docker.ok(&["kill", "app"]);
        assert_eq!(docker.ok(&["wait", "app"]), "137\n");
        docker.ok(&["start", "app"]);
        docker.ok(&["pause", "app"]);
        docker.ok(&["rm", "-f", "app"]);
    });
}

#[test]
fn a_killed_container_stays_down_until_it_is_started_again() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "app", "--restart", "always", "busybox", "sleep", "1000"]);
        docker.ok(&["kill", "app"]);
        assert_eq!(docker.ok(&["wait", "app"]), "137\n");
        let state = "{{.State.Status}} {{.RestartCount}}";
        assert_eq!(docker.ok(&["inspect", "-f", state, "app"]), "exited 0\n");
        docker.ok(&["restart", "app"]);
        docker.ok(&["exec", "app", "touch", "/seen"]);
        let pid = docker.ok(&["inspect", "-f", "{{.State.Pid}}", "app"]);
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        docker.until("what dies by itself comes back", || {
            docker.ok(&["inspect", "-f", state, "app"]) == "running 1\n"
        });
    });
}

#[test]
fn what_makes_no_sense_is_refused_at_creation() {
    with_daemon(|docker| {
        docker.import_busybox();
        let refused = |args: &[&str]| {
            let (code, _, err) = docker.run(&[&["create"], args, &["busybox", "true"]].concat());
            assert_ne!(code, 0, "{args:?}");
            err
        };
        let err = refused(&["-v", "rel:/x/../.."]);
        let words = if docker.is_peer() { "can't be '/'" } else { "absolute path other than /" };
        assert!(err.contains(words), "{err}");
        let err = refused(&["-e", "=x"]);
        assert!(err.contains("invalid environment variable: =x"), "{err}");
        let err = refused(&["--cpus", "9999"]);
        assert!(err.contains("Range of CPUs is from 0.01 to"), "{err}");
        let ask = |path: &str, body: &str| {
            let mut stream = UnixStream::connect(&docker.socket).unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        if docker.is_peer() {
            return;
        }
        docker.ok(&["create", "--name", "made", "busybox", "true"]);
        for path in
            ["/containers/create", "/containers/made/update", "/containers/made/exec", "/volumes/create"]
        {
            for body in ["{", "", "[1"] {
                let answer = ask(path, body);
                assert!(answer.starts_with("HTTP/1.1 400 "), "{path} {body:?}: {answer}");
                assert!(answer.contains("{\"message\":\"invalid JSON: "), "{path} {body:?}: {answer}");
            }
        }
        let file = docker.dir.join("file");
        std::fs::write(&file, "x").unwrap();
        let bind = format!("{}:/etc", file.display());
        let (code, _, err) = docker.run(&["run", "--rm", "-v", &bind, "busybox", "true"]);
        assert_ne!(code, 0);
        assert!(err.contains(&*file.to_string_lossy()) && err.contains("/etc"), "{err}");
        assert!(err.contains("directory"), "{err}");
    });
}

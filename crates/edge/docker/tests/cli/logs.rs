//! Log drivers, and the first process of `--init`.

use crate::daemon::{Daemon, with_daemon};
use serde_json::Value;
use std::os::unix::net::UnixDatagram;

fn path_of(docker: &Daemon, name: &str) -> String {
    docker.ok(&["inspect", "-f", "{{.LogPath}}", name]).trim().to_owned()
}

#[test]
fn the_file_at_log_path_is_docker_s_json() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let options =
                ["--log-opt", "labels=team", "--log-opt", "env-regex=^COL", "--log-opt", "tag={{.Name}}"];
            let made = ["run", "--name", "web", "--label", "team=red", "-e", "COLOUR=light blue,1=2"];
            let script = ["busybox", "sh", "-c", "echo out; echo err >&2; printf end"];
            docker.ok(&[&made[..], &options, &script].concat());
            let path = path_of(docker, "web");
            assert!(path.ends_with("-json.log"), "{path}");
            let lines: Vec<Value> = std::fs::read_to_string(&path)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let mut said: Vec<_> = lines
                .iter()
                .map(|line| (line["stream"].as_str().unwrap(), line["log"].as_str().unwrap()))
                .collect();
            said.sort_unstable();
            assert_eq!(said, [("stderr", "err\n"), ("stdout", "end"), ("stdout", "out\n")]);
            let attrs = serde_json::json!({ "team": "red", "COLOUR": "light blue,1=2", "tag": "web" });
            assert!(lines.iter().all(|line| line["attrs"] == attrs), "{lines:?}");
            assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
            assert_eq!(docker.ok(&["logs", "--tail", "1", "web"]), "end");
            let details = docker.ok(&["logs", "--details", "--tail", "1", "web"]);
            assert_eq!(details, "COLOUR=light+blue%2C1%3D2,tag=web,team=red end");
            docker.ok(&["rm", "web"]);
        });
    });
}

#[test]
fn a_log_is_followed_until_the_moment_that_is_given() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "quiet", "busybox", "sh", "-c", "echo once; exec sleep 1000"]);
        docker.until("it has spoken", || docker.ok(&["logs", "quiet"]) == "once\n");
        docker.with_each_cli(|docker| {
            if docker.is_peer() {
                // It goes on until somebody says something later than that.
                return;
            }
            // Neither an answer if nothing tells its end.
            assert_eq!(docker.ok(&["logs", "-f", "--until", "1000h", "quiet"]), "");
            let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1500);
            assert_eq!(docker.ok(&["logs", "-f", "--until", &soon.to_string(), "quiet"]), "once\n");
        });
        docker.ok(&["rm", "-f", "quiet"]);
    });
}

#[test]
fn a_log_is_rotated_compressed_and_read_as_one() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done";
        // dockerd tells no path of the other one.
        let drivers = if docker.is_peer() { &["json-file"][..] } else { &["json-file", "local"] };
        for driver in drivers.iter().copied() {
            let options = [
                "run",
                "--name",
                "many",
                "--log-driver",
                driver,
                "--log-opt",
                "max-size=4k",
                "--log-opt",
                "max-file=20",
                "--log-opt",
                "compress=true",
                "busybox",
                "sh",
                "-c",
                script,
            ];
            docker.ok(&options);
            let expected: String = (0..300).map(|number| format!("line {number}\n")).collect();
            assert_eq!(docker.ok(&["logs", "many"]), expected, "{driver}");
            assert_eq!(
                docker.ok(&["logs", "--tail", "250", "many"]).lines().next(),
                Some("line 50"),
                "{driver}"
            );
            let path = std::path::PathBuf::from(path_of(docker, "many"));
            let is_gz = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".gz");
            assert!(std::fs::read_dir(path.parent().unwrap()).unwrap().any(|entry| is_gz(entry.unwrap())));
            docker.ok(&["rm", "many"]);
        }
    });
}

#[test]
fn without_a_log_there_is_nothing_to_read() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let run = ["run", "--name", "quiet", "--log-driver", "none", "busybox", "echo", "seen"];
            assert_eq!(docker.ok(&run), "seen\n");
            let (code, _, err) = docker.run(&["logs", "quiet"]);
            assert!(code != 0 && err.contains("configured logging driver does not support reading"), "{err}");
            assert_eq!(path_of(docker, "quiet"), "");
            docker.ok(&["rm", "quiet"]);
            let (code, _, err) = docker.run(&["create", "--log-opt", "colour=red", "busybox"]);
            assert!(code != 0 && err.contains("unknown log opt 'colour' for json-file log driver"), "{err}");
        });
    });
}

#[test]
fn a_log_daemon_hears_what_a_container_says() {
    with_daemon(|docker| {
        docker.import_busybox();
        let path = docker.dir.join("syslog");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let address = format!("syslog-address=unixgram://{}", path.display());
        let options = [
            "run",
            "--name",
            "web",
            "--log-driver",
            "syslog",
            "--log-opt",
            &address,
            "--log-opt",
            "syslog-facility=local3",
            "--log-opt",
            "tag=is/{{.Name}}",
            "--log-opt",
            "syslog-format=rfc3164",
        ];
        docker.with_each_cli(|docker| {
            docker.ok(&[&options[..], &["busybox", "sh", "-c", "echo heard; echo wrong >&2"]].concat());
            let mut heard = Vec::new();
            for _ in 0..2 {
                let mut message = [0; 1024];
                let size = daemon.recv(&mut message).unwrap();
                heard.push(String::from_utf8_lossy(&message[..size]).into_owned());
            }
            heard.sort();
            // local3 is 19: information is 19 * 8 + 6, an error 19 * 8 + 3.
            assert!(heard[0].starts_with("<155>") && heard[0].contains("is/web"), "{heard:?}");
            assert!(heard[0].trim_end().ends_with(": wrong") && heard[1].starts_with("<158>"), "{heard:?}");
            assert_eq!(docker.ok(&["logs", "web"]), "heard\n", "a copy is kept for readers");
            docker.ok(&["rm", "web"]);
        });
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let (code, _, err) = docker.run(&[&options[..], &["busybox", "true"]].concat());
        assert!(
            match docker.is_peer() {
                true => err.contains("no such file"),
                false => code == 125 && err.contains("cannot open the log"),
            },
            "{err}"
        );
    });
}

#[test]
fn with_init_the_program_is_not_the_first_process_and_orphans_are_taken() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let script = "(sleep 0.1 & exec true) ; echo $$; sleep 0.5; ps -o stat | grep -c Z; exit 7";
            let (code, out, err) = docker.run(&["run", "--rm", "--init", "busybox", "sh", "-c", script]);
            let lines: Vec<&str> = out.lines().collect();
            assert!(code == 7 && lines.len() == 2 && lines[0] != "1" && lines[1] == "0", "{code} {out}{err}");
            let (_, out, _) = docker.run(&["run", "--rm", "busybox", "sh", "-c", "echo $$"]);
            assert_eq!(out, "1\n");
            docker.ok(&["run", "-d", "--init", "--name", "deaf", "busybox", "sleep", "1000"]);
            docker.ok(&["stop", "-t", "10", "deaf"]);
            // Without it, a first process that handles no SIGTERM does not end by it.
            assert_eq!(
                docker.ok(&["inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.Init}}", "deaf"]),
                "143 true\n"
            );
            docker.ok(&["rm", "deaf"]);
        });
    });
}

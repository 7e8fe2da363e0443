//! Containers: run, exec, logs, ports.

use crate::daemon::with_daemon;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

#[test]
fn run_gives_output_and_exit_codes_and_removes_with_rm() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (code, out, err) =
            docker.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!((code, out.as_str(), err.as_str()), (7, "out\n", "err\n"));
        assert_eq!(docker.ok(&["ps", "-aq"]), "");
        let (code, _, err) = docker.run(&["run", "--rm", "busybox", "no-such-program"]);
        assert_eq!(code, 127, "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "busybox", "/etc/passwd"]);
        assert_eq!(code, 126, "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "nothing:here", "true"]);
        assert_eq!(code, 125, "{err}");
        assert!(err.contains("nothing:here"), "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "--storage-opt", "size=1G", "busybox", "true"]);
        let words = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        assert!(code == 125 && err.contains(words), "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "--storage-opt", "other=1", "busybox", "true"]);
        assert!(code == 125 && err.contains("Unknown option other"), "{err}");
        if docker.is_peer() {
            return;
        }
        docker.ok(&["run", "--rm", "--runtime", "runc", "busybox", "true"]);
        let (code, _, err) =
            docker.run(&["create", "--pull=never", "--platform=linux/s390x", "busybox", "true"]);
        assert!(code != 0 && err.contains("not for linux/s390x"), "{err}");
        assert_eq!(docker.ok(&["ps", "-aq"]), "");
    });
}

#[test]
fn a_start_by_a_caller_counts_restarts_anew_and_the_last_end_stays_known() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "[ -f /again ] && exec sleep 1000; touch /again; exit 3";
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "one",
            "--restart",
            "on-failure:5",
            "busybox",
            "sh",
            "-c",
            script,
        ]);
        let state = || docker.ok(&["inspect", "-f", "{{.RestartCount}} {{.State.Running}}", "one"]);
        docker.until("it runs again", || state() == "1 true\n");
        let ended = || docker.ok(&["inspect", "-f", "{{.State.FinishedAt}}", "one"]);
        let first = ended();
        assert!(!first.starts_with("0001-"), "{first}");
        docker.ok(&["restart", "-t", "0", "one"]);
        assert_eq!(state(), "0 true\n");
        let second = ended();
        assert!(second > first, "{second} after {first}");
        docker.ok(&["rm", "-f", "one"]);
    });
}

#[test]
fn a_container_keeps_its_name_where_another_cannot_be_recorded() {
    with_daemon(|docker| {
        if docker.is_peer() {
            return;
        }
        docker.import_busybox();
        docker.ok(&["network", "create", "net"]);
        docker.ok(&["run", "-d", "--name", "one", "--network", "net", "busybox", "sleep", "1000"]);
        let id = docker.ok(&["inspect", "-f", "{{.Id}}", "one"]);
        let members = docker.dir.join("network/members");
        let member = std::fs::read_dir(&members).unwrap().next().unwrap().unwrap().path();
        let state = docker.dir.join("engine/containers").join(id.trim()).join("state.next");
        // A directory in the place of what is written first.
        for place in [state, member.with_extension("partial")] {
            std::fs::create_dir(&place).unwrap();
            let (code, _, err) = docker.run(&["rename", "one", "two"]);
            assert!(code == 1 && err.contains(place.to_str().unwrap()), "{err}");
            std::fs::remove_dir(&place).unwrap();
            assert_eq!(docker.ok(&["inspect", "-f", "{{.Name}}", "one"]), "/one\n");
            docker.ok(&["create", "--name", "two", "busybox"]);
            docker.ok(&["rm", "two"]);
            docker.ok(&["run", "--rm", "--network", "net", "busybox", "nslookup", "one"]);
        }
        docker.ok(&["rename", "one", "two"]);
        docker.ok(&["run", "--rm", "--network", "net", "busybox", "nslookup", "two"]);
        docker.ok(&["rm", "-f", "two"]);
    });
}

#[test]
fn a_container_whose_start_failed_was_never_started_and_goes_with_rm() {
    with_daemon(|docker| {
        docker.import_busybox();
        assert_eq!(docker.run(&["run", "--name", "stays", "busybox", "no-such-program"]).0, 127);
        assert_eq!(docker.run(&["run", "--rm", "--name", "goes", "busybox", "no-such-program"]).0, 127);
        docker.ok(&["create", "--rm", "--name", "waits", "busybox", "no-such-program"]);
        let list = docker.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"]);
        assert_eq!(list, "waits created Created\nstays created Created\n");
        assert_eq!(docker.ok(&["ps", "-aq", "--filter", "exited=127"]), "");
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}}";
        let never = "0001-01-01T00:00:00Z";
        assert_eq!(docker.ok(&["inspect", "-f", format, "stays"]), format!("created 127 {never} {never}\n"));
        assert_eq!(docker.ok(&["wait", "stays"]), "127\n");
        assert_ne!(docker.run(&["start", "waits"]).0, 0);
        docker.until("what was to go has gone", || {
            docker.ok(&["ps", "-aq", "--filter", "name=waits"]).is_empty()
        });
        assert_eq!(docker.ok(&["container", "prune", "-f"]).lines().count(), 4);
    });
}

#[test]
fn refusals_have_docker_s_words() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "there", "busybox"]);
        let run = ["run", "--rm", "--network", "none"];
        let create = ["create", "--network", "none"];
        for (command, options, words) in [
            (
                &run[..],
                &["--user", "nosuch"][..],
                "unable to find user nosuch: no matching entries in passwd file",
            ),
            (
                &run,
                &["--group-add", "nosuch"],
                "unable to find group nosuch: no matching entries in group file",
            ),
            (
                &create,
                &["--memory-swap", "32m"],
                "you should always set the memory limit when using memoryswap limit",
            ),
            (&create, &["--stop-signal", "BOGUS"], "invalid signal: bogus"),
            (&create, &["--restart", "on-failure:-1"], "maximum retry count cannot be negative"),
            (&create, &["-v", "/tmp:/x:bogus"], "invalid mode: bogus"),
            (&create, &["-v", "/tmp:relative"], "'relative' mount path must be absolute"),
            (&create, &["-v", "relative/path:/x"], "includes invalid characters for a local volume name"),
        ] {
            let (code, _, err) = docker.run(&[command, options, &["busybox", "true"]].concat());
            assert!(code != 0 && err.to_lowercase().contains(words), "{options:?}: {code} {err}");
        }
        let long = "a".repeat(256);
        let volume = format!("{long}:/x");
        // dockerd takes longer ones.
        let refused = [["--name", long.as_str()], ["-v", volume.as_str()]];
        for options in refused.iter().filter(|_| !docker.is_peer()) {
            let (code, _, err) = docker.run(&[&create[..], &options[..], &["busybox", "true"]].concat());
            assert!(code != 0 && err.contains("256 characters") && err.contains("at most 255"), "{err}");
        }
        let (code, _, err) = docker.run(&[&run[..], &["busybox", ""]].concat());
        assert!(code == 127 && err.contains("executable file not found"), "{code} {err}");
        let (_, _, err) = docker.run(&["rename", "there", "there"]);
        assert!(err.contains("Renaming a container with the same name as its current name"), "{err}");
    });
}

#[test]
fn a_host_name_is_the_container_s_own_on_the_host_s_network_too() {
    with_daemon(|docker| {
        docker.import_busybox();
        let run = ["run", "--rm", "--network", "host"];
        let own = docker.ok(&[&run[..], &["--hostname", "other", "busybox", "hostname"]].concat());
        assert_eq!(own, "other\n");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(docker.ok(&[&run[..], &["busybox", "hostname"]].concat()), host);
        assert_eq!(docker.ok(&["run", "--rm", "--uts", "host", "busybox", "hostname"]), host);
    });
}

#[test]
fn a_container_without_a_name_gets_one_that_can_be_read() {
    with_daemon(|docker| {
        docker.import_busybox();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let id = docker.ok(&["create", "busybox"]).trim().to_owned();
            let name =
                docker.ok(&["inspect", "-f", "{{.Name}}", &id]).trim().trim_start_matches('/').to_owned();
            let words = name.trim_end_matches(|end: char| end.is_ascii_digit());
            let is_word = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
            assert!(words.split('_').count() == 2 && words.split('_').all(is_word), "{name}");
            assert_eq!(docker.ok(&["rename", &name, &format!("{name}-renamed")]), "");
            names.insert(name);
        }
        assert_eq!(names.len(), 3);
    });
}

#[test]
fn a_container_that_was_killed_has_ended_and_starts_again_at_once() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "up", "busybox", "sleep", "100"]);
        for _ in 0..10 {
            docker.ok(&["kill", "up"]);
            docker.ok(&["start", "up"]);
        }
    });
}

#[test]
fn standard_input_goes_through_run_and_exec() {
    with_daemon(|docker| {
        docker.import_busybox();
        let through = |args: &[&str]| {
            let mut child =
                docker.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
            let output = child.wait_with_output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(
            through(&["run", "-i", "--rm", "busybox", "sh", "-c", "cat; exit 3"]),
            (3, "typed\n".into())
        );
        docker.ok(&["run", "-d", "--name", "up", "busybox", "sleep", "100"]);
        assert_eq!(through(&["exec", "-i", "up", "sh", "-c", "cat; exit 4"]), (4, "typed\n".into()));
        let big = docker.ok(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done",
        ]);
        assert_eq!(big.lines().count(), 3000);
    });
}

#[test]
fn ps_inspect_logs_exec_stop_and_rm_work_on_a_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "trap 'echo asked; exit 0' TERM; echo started; while :; do sleep 0.05; done";
        let id = docker.ok(&[
            "run", "-d", "--name", "web", "-e", "A=b", "--label", "tier=one", "-w", "/tmp", "busybox", "sh",
            "-c", script,
        ]);
        docker.until("it has started", || docker.ok(&["logs", "web"]) == "started\n");
        assert_eq!(docker.ok(&["ps", "--no-trunc", "-q"]), id);
        let row = docker.ok(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}} {{.Status}}"]);
        assert!(row.starts_with("web busybox running Up "), "{row}");
        assert_eq!(docker.ok(&["ps", "-q", "--filter", "label=tier=two"]), "");
        let inspected = docker.ok(&[
            "inspect",
            "-f",
            "{{.State.Running}} {{.Config.WorkingDir}} {{.Name}} {{index .Config.Labels \"tier\"}}",
            "web",
        ]);
        assert_eq!(inspected, "true /tmp /web one\n");
        assert_eq!(
            docker.run(&["exec", "web", "sh", "-c", "echo $A; pwd; exit 5"]),
            (5, "b\n/tmp\n".into(), String::new())
        );
        let (code, out, err) = docker.run(&["exec", "web", "no-such-program"]);
        // Docker 20.10 says 126, newer ones 127.
        assert_eq!(code, if docker.is_peer() { 126 } else { 127 }, "{out}{err}");
        let (code, _, err) = docker.run(&["rm", "web"]);
        assert_eq!(code, 1);
        assert!(err.contains(if docker.is_peer() { "running container" } else { "is running" }), "{err}");
        let (code, _, err) = docker.run(&["run", "--name", "web", "busybox", "true"]);
        assert_eq!(code, 125);
        assert!(err.contains("already in use by container"), "{err}");
        let follow = docker.command(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
        docker.ok(&["stop", "web"]);
        assert_eq!(String::from_utf8(follow.wait_with_output().unwrap().stdout).unwrap(), "started\nasked\n");
        assert_eq!(docker.ok(&["wait", "web"]), "0\n");
        assert_eq!(docker.ok(&["logs", "--tail", "1", "web"]), "asked\n");
        assert!(docker.ok(&["logs", "-t", "--tail", "1", "web"]).starts_with("20"));
        docker.ok(&["start", "web"]);
        docker.ok(&["restart", "-t", "1", "web"]);
        docker.ok(&["rename", "web", "renamed"]);
        docker.ok(&["kill", "-s", "KILL", "renamed"]);
        assert_eq!(docker.ok(&["wait", "renamed"]), "137\n");
        docker.ok(&["rm", "renamed"]);
        let (code, _, err) = docker.run(&["inspect", "renamed"]);
        assert_eq!(code, 1);
        assert!(err.contains("No such object: renamed"), "{err}");
    });
}

#[test]
fn a_terminal_is_a_terminal() {
    with_daemon(|docker| {
        docker.import_busybox();
        // script(1) gives the CLI the terminal that it insists on.
        let host = format!("DOCKER_HOST=unix://{}", docker.socket.display());
        let script = format!(
            "{host} docker run --rm -it busybox sh -c 'tty; test -t 0 && echo is-a-terminal; exit 6'"
        );
        let output = Command::new("script")
            .args(["-qec", &script, "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("/dev/pts/") || text.contains("/dev/console"), "{text}");
        assert!(text.contains("is-a-terminal"), "{text}");
        assert_eq!(output.status.code(), Some(6), "{text}");
    });
}

#[test]
fn options_reach_the_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        let shared = docker.dir.join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("file"), "from the host\n").unwrap();
        let bind = format!("{}:/data:ro", shared.display());
        let script = "cat /data/file; touch /data/x 2>/dev/null || echo ro; touch /t/x /vol/x && echo rw; id -u; hostname; touch /x 2>/dev/null || echo ro; \
                      cat /sys/class/net/*/operstate | wc -l";
        let out = docker.ok(&[
            "run",
            "--rm",
            "-v",
            &bind,
            "-v",
            "data:/vol",
            "--tmpfs",
            "/t",
            "-u",
            "12",
            "--hostname",
            "named",
            "--read-only",
            "--network",
            "none",
            "--memory",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "20",
            "--cap-drop",
            "ALL",
            "--entrypoint",
            "sh",
            "busybox",
            "-c",
            // The volume's directory belongs to root.
            &script.replace("/vol/x", "/t/y"),
        ]);
        assert_eq!(out, "from the host\nro\nrw\n12\nnamed\nro\n1\n");
        assert_eq!(docker.ok(&["volume", "ls", "-q"]), "data\n");
        docker.ok(&["volume", "rm", "data"]);
        let networks = docker.ok(&["network", "ls", "--format", "{{.Name}}"]);
        assert_eq!(networks.lines().collect::<Vec<_>>(), ["bridge", "host", "none"]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "on-failure:1",
            "busybox",
            "sh",
            "-c",
            "echo run; exit 1",
        ]);
        docker.until("it gave up", || {
            docker.ok(&["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "again"]) == "exited 1\n"
        });
        assert_eq!(docker.ok(&["logs", "again"]), "run\nrun\n");
    });
}

#[test]
fn published_ports_are_shown_and_answer() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "127.0.0.1::80",
            "busybox",
            "sh",
            "-c",
            "echo hello >/index.html; exec httpd -f -h /",
        ]);
        let port = docker.ok(&["port", "web", "80/tcp"]);
        let address = port.trim().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        docker.until("it answers", || {
            let Ok(mut stream) = std::net::TcpStream::connect(&address) else { return false };
            let mut answer = String::new();
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.contains("hello")
        });
    });
}

//! One field of a create request at a time, seen from inside the container.

use crate::daemon::{Daemon, with_daemon};

/// What a container says that is made with these options.
fn said(docker: &Daemon, options: &[&str], script: &str) -> String {
    let args = [&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat();
    docker.ok(&args)
}

#[test]
fn an_added_capability_opens_the_filter_for_what_it_permits() {
    with_daemon(|docker| {
        docker.import_busybox();
        let mount = "mount -t tmpfs none /tmp 2>/dev/null && echo mounted || echo refused";
        assert_eq!(said(docker, &[], mount), "refused\n");
        assert_eq!(said(docker, &["--cap-add", "SYS_ADMIN"], mount), "mounted\n");
        let both = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
        assert_eq!(said(docker, &both, mount), "mounted\n");
    });
}

#[test]
fn a_seccomp_profile_of_ones_own_decides() {
    with_daemon(|docker| {
        docker.import_busybox();
        let profile = docker.dir.join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","args":[],"excludes":{"caps":["CAP_SYS_PTRACE"]}}]}"#;
        std::fs::write(&profile, text).unwrap();
        let option = format!("seccomp={}", profile.display());
        let script = "mkdir /made 2>/dev/null && echo made || echo refused";
        docker.with_each_cli(|docker| {
            assert_eq!(said(docker, &["--security-opt", &option], script), "refused\n");
            let with = ["--security-opt", &option, "--cap-add", "SYS_PTRACE"];
            assert_eq!(said(docker, &with, script), "made\n");
        });
    });
}

#[test]
fn groups_devices_and_their_rules_reach_the_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        let groups = said(docker, &["--group-add", "root", "--group-add", "77"], "id -G");
        assert!(groups.trim().split(' ').any(|group| group == "77"), "{groups}");
        let (code, _, err) = docker.run(&["run", "--rm", "--group-add", "nobody-knows", "busybox", "true"]);
        assert!(code != 0 && err.contains("nobody-knows"), "{err}");
        let rule = ["--device-cgroup-rule", "c 1:7 rw"];
        let full = "mknod /tmp/full c 1 7 && echo x >/tmp/full";
        let (_, _, err) = docker.run(&["run", "--rm", rule[0], rule[1], "busybox", "sh", "-c", full]);
        assert!(err.contains("No space left"), "{err}");
        let (_, _, err) = docker.run(&["run", "--rm", "busybox", "sh", "-c", full]);
        assert!(err.contains("not permitted") || err.contains("No space left"), "{err}");
        let dir = docker.dir.join("devices");
        std::fs::create_dir_all(dir.join("below")).unwrap();
        for name in ["one", "below/two"] {
            let path = dir.join(name);
            let status =
                std::process::Command::new("mknod").arg(&path).args(["c", "1", "3"]).status().unwrap();
            assert!(status.success());
        }
        let device = format!("{}:/dev/mine", dir.display());
        let found = said(
            docker,
            &["--device", &device],
            "cd /dev/mine && ls one below/two && echo x >below/two && echo ok",
        );
        assert_eq!(found, "below/two\none\nok\n");
    });
}

#[test]
fn privileged_containers_have_the_devices_of_the_host() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "ls /dev/kmsg /dev/mem 2>/dev/null | head -n 1";
        assert_eq!(said(docker, &[], script), "");
        let is_there = ["/dev/kmsg", "/dev/mem"].into_iter().find(|path| std::path::Path::new(path).exists());
        if let Some(path) = is_there {
            assert_eq!(said(docker, &["--privileged"], script), format!("{path}\n"));
        }
    });
}

#[test]
fn names_of_host_and_domain_are_the_namespaces() {
    with_daemon(|docker| {
        docker.import_busybox();
        let named = said(
            docker,
            &["--hostname", "web", "--domainname", "example.test"],
            "hostname; cat /proc/sys/kernel/domainname",
        );
        assert_eq!(named, "web\nexample.test\n");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(said(docker, &["--uts", "host"], "hostname"), host);
        let (code, _, err) = docker.run(&["create", "--uts", "host", "--hostname", "x", "busybox"]);
        assert!(code != 0 && err.contains("conflicting options: hostname and the UTS mode"), "{err}");
    });
}

#[test]
fn read_only_binds_are_read_only_all_the_way_down() {
    with_daemon(|docker| {
        docker.import_busybox();
        let top = docker.dir.join("top");
        std::fs::create_dir_all(top.join("below")).unwrap();
        let mount = |args: &[&str]| {
            assert!(std::process::Command::new(args[0]).args(&args[1..]).status().unwrap().success());
        };
        let below = top.join("below");
        mount(&["mount", "-t", "tmpfs", "below", below.to_str().unwrap()]);
        let script = "touch /d/below/x 2>/dev/null && echo written || echo refused";
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let bind = format!("{}:/d:ro", top.display());
            assert_eq!(said(docker, &["-v", &bind], script), "refused\n");
            let bind = format!("type=bind,src={},dst=/d", top.display());
            assert_eq!(said(docker, &["--mount", &bind], script), "written\n");
        }));
        mount(&["umount", below.to_str().unwrap()]);
        result.unwrap();
    });
}

#[test]
fn mounts_propagate_where_the_source_s_mount_does_and_are_refused_elsewhere() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = docker.dir.join("spread");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.to_str().unwrap();
        let mount = |args: &[&str]| {
            assert!(std::process::Command::new(args[0]).args(&args[1..]).status().unwrap().success());
        };
        mount(&["mount", "--bind", path, path]);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::fs::create_dir(dir.join("m")).unwrap();
            mount(&["mount", "--make-private", path]);
            for (word, kind) in [("rshared", "shared"), ("rslave", "shared or slave")] {
                let volume = format!("{path}:/v:{word}");
                let typed = format!("type=bind,src={path},dst=/v,bind-propagation={word}");
                for option in [["-v", &volume], ["--mount", &typed]] {
                    let args = [&["run", "--rm"], &option[..], &["busybox", "true"]].concat();
                    let (code, _, err) = docker.run(&args);
                    let words = format!("path {path} is mounted on {path} but it is not a {kind} mount");
                    assert!(code != 0 && err.contains(&words), "{option:?}: {err}");
                }
            }
            mount(&["mount", "--make-shared", path]);
            let hosts = || std::fs::read_dir(dir.join("m")).unwrap().count();
            let script = "mount -t tmpfs none /v/m && touch /v/m/x && echo made";
            for (word, seen) in [("rslave", 0), ("rshared", 1)] {
                let bind = format!("{path}:/v:{word}");
                assert_eq!(said(docker, &["--cap-add", "SYS_ADMIN", "-v", &bind], script), "made\n");
                assert_eq!(hosts(), seen, "{word}");
            }
            mount(&["umount", dir.join("m").to_str().unwrap()]);
            for word in ["rslave", "rshared"] {
                let bind = format!("{path}:/v:{word}");
                docker.ok(&["run", "-d", "--name", word, "-v", &bind, "busybox", "sleep", "100"]);
            }
            mount(&["mount", "-t", "tmpfs", "host", dir.join("m").to_str().unwrap()]);
            std::fs::write(dir.join("m/host"), "").unwrap();
            for word in ["rslave", "rshared"] {
                assert_eq!(docker.ok(&["exec", word, "ls", "/v/m"]), "host\n", "{word}");
            }
            docker.ok(&["rm", "-f", "rslave", "rshared"]);
            assert_ne!(docker.run(&["create", "-v", "named:/v:rshared", "busybox"]).0, 0);
        }));
        mount(&["umount", "-R", path]);
        result.unwrap();
    });
}

#[test]
fn volumes_of_other_containers_are_taken_over_and_survive_them() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "--name",
            "first",
            "-v",
            "/data",
            "-v",
            "named:/named",
            "busybox",
            "sh",
            "-c",
            "echo a >/data/a; echo b >/named/b",
        ]);
        assert_eq!(said(docker, &["--volumes-from", "first"], "cat /data/a /named/b"), "a\nb\n");
        let read_only = "echo c >/data/c 2>/dev/null || echo refused";
        assert_eq!(said(docker, &["--volumes-from", "first:ro"], read_only), "refused\n");
        docker.ok(&["create", "--name", "second", "--volumes-from", "first", "busybox", "cat", "/data/a"]);
        docker.ok(&["rm", "-v", "first"]);
        assert_eq!(docker.ok(&["start", "-a", "second"]), "a\n", "the second one has it still");
        docker.ok(&["rm", "second"]);
        // Docker prunes named volumes too before API 1.42, and does not know the option.
        let all = if docker.is_peer() { "--force" } else { "--all" };
        docker.ok(&["volume", "prune", all, "--force"]);
        assert_eq!(docker.ok(&["volume", "ls", "-q"]), "");
    });
}

#[test]
fn anonymous_volumes_go_with_rm_v_and_with_run_rm_only() {
    with_daemon(|docker| {
        docker.import_busybox();
        let count = || docker.ok(&["volume", "ls", "-q"]).lines().count();
        docker.ok(&["run", "--rm", "-v", "/data", "busybox", "true"]);
        assert_eq!(count(), 0, "run --rm");
        docker.ok(&["run", "--name", "one", "-v", "/data", "busybox", "true"]);
        docker.ok(&["rm", "-v", "one"]);
        assert_eq!(count(), 0, "rm -v");
        docker.ok(&["run", "--name", "two", "-v", "/data", "busybox", "sh", "-c", "echo kept >/data/file"]);
        docker.ok(&["rm", "two"]);
        assert_eq!(count(), 1, "rm keeps what was written");
        let volume = docker.ok(&["volume", "ls", "-q"]);
        let bind = format!("{}:/data", volume.trim());
        assert_eq!(said(docker, &["-v", &bind], "cat /data/file"), "kept\n");
        docker.ok(&["volume", "rm", volume.trim()]);
    });
}

#[test]
fn a_container_that_removes_itself_survives_its_restart() {
    with_daemon(|docker| {
        docker.import_busybox();
        let id = docker.ok(&[
            "run",
            "-d",
            "--rm",
            "--name",
            "again",
            "busybox",
            "sh",
            "-c",
            "echo up; exec sleep 100",
        ]);
        docker.ok(&["restart", "-t", "0", "again"]);
        assert_eq!(docker.ok(&["ps", "-q", "--no-trunc"]), id);
        docker.until("it says so twice", || docker.ok(&["logs", "again"]) == "up\nup\n");
        docker.ok(&["stop", "-t", "0", "again"]);
        docker.until("it is gone", || docker.ok(&["ps", "-aq"]).is_empty());
    });
}

#[test]
fn a_restart_policy_can_be_changed_and_its_own_stop_timeout_counts() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "deaf",
            "--stop-timeout",
            "0",
            "busybox",
            "sh",
            "-c",
            "trap '' TERM; while :; do sleep 1; done",
        ]);
        docker.ok(&["update", "--restart", "on-failure:3", "deaf"]);
        let policy = [
            "inspect",
            "-f",
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "deaf",
        ];
        assert_eq!(docker.ok(&policy), "on-failure 3\n");
        docker.ok(&["stop", "deaf"]);
        assert_eq!(docker.ok(&["inspect", "-f", "{{.State.ExitCode}}", "deaf"]), "137\n");
        docker.ok(&["run", "-d", "--rm", "--name", "once", "busybox", "sleep", "100"]);
        let (code, _, err) = docker.run(&["update", "--restart", "always", "once"]);
        let words = "estart policy cannot be updated because AutoRemove is enabled for the container";
        assert!(code != 0 && err.contains(words), "{err}");
    });
}

#[test]
fn refusals_have_the_words_that_scripts_look_for() {
    with_daemon(|docker| {
        docker.import_busybox();
        let refused = |args: &[&str], words: &str| {
            let (code, out, err) = docker.run(args);
            assert!(code != 0 && err.contains(words), "{args:?}: {out}{err}");
        };
        let id = docker.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "100"]);
        let id = id.trim();
        refused(&["start", "nobody"], "No such container: nobody");
        let taken = format!(
            "Conflict. The container name \"/web\" is already in use by container \"{id}\". You have to remove (or rename)"
        );
        refused(&["create", "--name", "web", "busybox"], &taken);
        let running = match docker.is_peer() {
            true => "You cannot remove a running container",
            false => {
                "cannot remove container \"/web\": container is running: stop the container before removing or force remove"
            }
        };
        refused(&["rm", "web"], running);
        refused(&["unpause", "web"], &format!("{id} is not paused"));
        docker.ok(&["pause", "web"]);
        refused(&["pause", "web"], &format!("{id} is already paused"));
        refused(&["exec", "web", "true"], " is paused, unpause the container before exec");
        docker.ok(&["unpause", "web"]);
        docker.ok(&["stop", "-t", "0", "web"]);
        refused(&["kill", "web"], &format!("{id} is not running"));
        refused(&["exec", "web", "true"], &format!("{id} is not running"));
        refused(&["volume", "inspect", "none"], "no such volume");
        docker.ok(&["create", "--name", "user", "-v", "data:/data", "busybox"]);
        refused(&["volume", "rm", "data"], "volume is in use");
        docker.ok(&["rm", "user"]);
        docker.ok(&["volume", "rm", "data"]);
    });
}

#[test]
fn an_empty_entrypoint_clears_that_of_the_image() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "base", "busybox"]);
        docker.ok(&[
            "commit",
            "-c",
            "ENTRYPOINT [\"false\"]",
            "-c",
            "CMD [\"echo\", \"cmd\"]",
            "base",
            "wrapped",
        ]);
        docker.with_each_cli(|docker| {
            assert_eq!(docker.ok(&["run", "--rm", "--entrypoint", "", "wrapped", "echo", "x"]), "x\n");
            let (code, _, err) = docker.run(&["run", "--rm", "--entrypoint", "", "wrapped"]);
            assert!(code != 0 && err.to_lowercase().contains("no command"), "{err}");
        });
        docker.post("/containers/create?name=cmd", r#"{"Image":"wrapped","Entrypoint":[]}"#);
        assert_eq!(docker.ok(&["start", "-a", "cmd"]), "cmd\n");
    });
}

#[test]
fn the_primary_group_is_also_a_supplementary_one() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let ask = ["busybox", "grep", "Groups", "/proc/self/status"];
            let groups = docker.ok(&[&["run", "--rm", "-u", "1000:1001"], &ask[..]].concat());
            assert_eq!(groups.trim(), "Groups:\t1001");
            docker.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
            let groups = docker.ok(&[&["exec", "-u", "1000:1002", "one"], &ask[1..]].concat());
            assert_eq!(groups.trim(), "Groups:\t1002");
            docker.ok(&["rm", "-f", "one"]);
        });
    });
}

#[test]
fn an_exec_makes_no_directory_and_a_container_does() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.ok(&["run", "-d", "--name", "one", "-w", "/made", "busybox", "sleep", "1000"]);
            let (code, _, err) = docker.run(&["exec", "-w", "/nope", "one", "true"]);
            assert_eq!(code, 126, "{err}");
            assert_eq!(docker.run(&["exec", "one", "nope"]).0, 127);
            docker.ok(&["exec", "one", "test", "-d", "/made"]);
            assert_ne!(docker.run(&["exec", "one", "test", "-e", "/nope"]).0, 0);
            docker.ok(&["rm", "-f", "one"]);
        });
    });
}

#[test]
fn volumes_of_a_container_that_is_not_there_are_a_mistake_in_the_request() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (code, _, err) = docker.run(&["run", "--rm", "--volumes-from", "nope", "busybox", "true"]);
        assert!(code != 0 && !err.contains("Unable to find image") && err.contains("nope"), "{err}");
    });
}

#[test]
fn mistakes_show_when_a_container_is_made() {
    with_daemon(|docker| {
        docker.import_busybox();
        for (options, words) in [
            (["--cpuset-cpus", "4000"], "Requested CPUs are not available"),
            (["--cpuset-mems", "x"], "Invalid value x for cpuset mems"),
            (["--oom-score-adj", "1001"], "oom score adj"),
            (["--workdir", "relative"], "needs to be an absolute path"),
            (["--runtime", "nope"], "unknown or invalid runtime name: nope"),
        ] {
            let (code, _, err) = docker.run(&[&["create"], &options[..], &["busybox"]].concat());
            assert!(code != 0 && err.contains(words), "{options:?}: {err}");
        }
        for field in [
            r#""ExposedPorts":{"abc":{}}"#,
            r#""HostConfig":{"Sysctls":{"kernel.panic":"1"}}"#,
            r#""HostConfig":{"NetworkMode":"host","Sysctls":{"net.core.somaxconn":"77"}}"#,
            r#""HostConfig":{"Ulimits":[{"Name":"nofile","Soft":20,"Hard":10}]}"#,
        ] {
            let answer =
                docker.ask("POST", "/containers/create", &format!(r#"{{"Image":"busybox",{field}}}"#));
            assert!(answer.starts_with("HTTP/1.0 400"), "{field}: {answer}");
        }
        for list in ["images", "volume ls", "network ls"] {
            let args: Vec<&str> = list.split(' ').chain(["--filter", "dangling=wat"]).collect();
            let (code, _, err) = docker.run(&args);
            assert!(code != 0 && err.contains("invalid filter 'dangling=[wat]'"), "{list}: {err}");
        }
        assert_eq!(docker.ok(&["ps", "-aq"]), "");
    });
}

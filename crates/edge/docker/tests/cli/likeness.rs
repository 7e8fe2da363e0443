//! What a container sees of itself, as programs know it from Docker's.

use crate::daemon::with_daemon;
use crate::limits::{is_legacy, lacks};

#[test]
fn an_exec_has_the_home_of_its_user_unless_one_is_given() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        docker.ok(&["run", "-d", "--name", "given", "-e", "HOME=/given", "busybox", "sleep", "1000"]);
        docker.ok(&["exec", "box", "sh", "-c", "echo web:x:33:33::/srv:/bin/sh >>/etc/passwd"]);
        docker.with_each_cli(|docker| {
            let home = |options: &[&str], name: &str| {
                let said = docker.ok(&[&["exec"], options, &[name, "sh", "-c", "echo $HOME"]].concat());
                said.trim().to_owned()
            };
            for (options, name, wanted) in [
                (&["-u", "web"][..], "box", "/srv"),
                (&[], "box", "/root"),
                (&["-u", "33"], "box", "/srv"),
                (&["-u", "4242"], "box", "/"),
                (&["-u", "web", "-e", "HOME=/asked"], "box", "/asked"),
                (&["-u", "nobody"], "given", "/given"),
            ] {
                assert_eq!(home(options, name), wanted, "{options:?} {name}");
            }
        });
        docker.ok(&["rm", "-f", "box", "given"]);
    });
}

#[test]
fn a_container_is_known_by_its_files_without_having_changed_anything() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "stat -c '%a %s' /.dockerenv; readlink /etc/mtab; exec sleep 1000";
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
        docker.until("it has looked", || docker.ok(&["logs", "box"]) == "755 0\n/proc/mounts\n");
        docker.ok(&["create", "--name", "rests", "busybox"]);
        let copied = docker.dir.join("sign");
        docker.with_each_cli(|docker| {
            for name in ["box", "rests"] {
                assert_eq!(docker.ok(&["diff", name]), "", "{name}");
                docker.ok(&["cp", &format!("{name}:/.dockerenv"), copied.to_str().unwrap()]);
                assert_eq!(std::fs::metadata(&copied).unwrap().len(), 0, "{name}");
                std::fs::remove_file(&copied).unwrap();
            }
            let sizes = docker.ok(&["ps", "-a", "-s", "--format", "{{.Size}}"]);
            assert!(sizes.lines().all(|size| size.starts_with("0B (virtual ")), "{sizes}");
        });
        docker.ok(&["exec", "box", "rm", "/.dockerenv"]);
        assert_eq!(docker.ok(&["diff", "box"]), "D /.dockerenv\n");
        docker.ok(&["rm", "-f", "box", "rests"]);
    });
}

#[test]
fn a_volume_can_be_below_the_groups_of_which_each_hierarchy_is_seen() {
    with_daemon(|docker| {
        if !is_legacy() {
            return lacks("the groups of cgroup v1");
        }
        docker.import_busybox();
        let dir = docker.dir.join("foo");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("inside"), "").unwrap();
        let bind = format!("{}:/sys/fs/cgroup/foo", dir.display());
        docker.with_each_cli(|docker| {
            let run = |script| docker.ok(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script]);
            assert_eq!(run("ls /sys/fs/cgroup/foo; touch /sys/fs/cgroup/foo/mine"), "inside\n");
            std::fs::remove_file(dir.join("mine")).unwrap();
            let seen = run("ls /sys/fs/cgroup");
            let root = hako_cgroup::CgroupRoot::detect().unwrap();
            for one in root.hierarchies().iter().filter(|one| one.version == hako_cgroup::Version::V1) {
                let name = one.mount.file_name().unwrap().to_str().unwrap();
                assert!(seen.lines().any(|line| line == name), "{name}: {seen}");
            }
        });
    });
}

#[test]
fn lists_and_refusals_have_the_words_that_scripts_look_for() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.ok(&["create", "--name", "quoted", "busybox", "sh", "-c", "a \"b c\"", "plain"]);
            let shown = docker.ok(&["ps", "-a", "--no-trunc", "--format", "{{.Command}}"]);
            assert_eq!(shown.trim(), r#""sh -c 'a \"b c\"' plain""#);
            docker.ok(&["rm", "quoted"]);
            let ambiguous = "refusing to create an ambiguous tag using digest algorithm as name";
            for (args, words) in [
                (&["tag", "busybox", "sha256:beef"][..], ambiguous),
                (&["tag", "nosuch", "x"], "No such image: nosuch:latest"),
                (&["history", "nosuch"], "No such image: nosuch:latest"),
                (&["images", "--filter", "before=nosuch"], "No such image: nosuch:latest"),
                (
                    &["run", "--rm", "busybox", "nosuch"],
                    r#"exec: "nosuch": executable file not found in $PATH"#,
                ),
                (
                    &["run", "--rm", "busybox", "/nosuch"],
                    r#"exec: "/nosuch": stat /nosuch: no such file or directory"#,
                ),
            ] {
                let (code, _, err) = docker.run(args);
                assert!(code != 0 && err.contains(words), "{args:?}: {code} {err}");
            }
        });
    });
}

#[test]
fn an_image_of_a_container_has_the_variables_that_were_given_and_no_others() {
    with_daemon(|docker| {
        docker.import_busybox();
        let bare = docker.dir.join("busybox.tar");
        docker.ok(&["import", bare.to_str().unwrap(), "bare"]);
        let env = |kind: &str, name: &str| {
            docker.ok(&[kind, "inspect", "-f", "{{json .Config.Env}}", name]).trim().to_owned()
        };
        docker.ok(&["run", "--name", "made", "-e", "X=y", "bare", "/bin/sh", "-c", "echo $PATH"]);
        assert_eq!(
            docker.ok(&["logs", "made"]).trim(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        );
        docker.ok(&["commit", "made", "kept"]);
        assert_eq!(
            (env("container", "made").as_str(), env("image", "kept").as_str()),
            (r#"["X=y"]"#, r#"["X=y"]"#)
        );
        docker.ok(&["rm", "made"]);
    });
}

#[test]
fn an_inspect_shows_mounts_ports_and_paths_as_docker_does() {
    with_daemon(|docker| {
        docker.import_busybox();
        let of_host = docker.dir.display().to_string();
        let (bind, labelled) = (format!("{of_host}:/bind"), format!("{of_host}:/labelled:z,ro"));
        let flags = "--tmpfs /memory --mount type=tmpfs,dst=/typed --mount type=volume,src=vol,dst=/v,readonly \
                     -v named:/named -v empty:/empty:nocopy -v /anonymous";
        let mounts: Vec<&str> = flags.split_whitespace().collect();
        let binds = ["-v", &bind, "-v", &labelled];
        let ports = ["--expose", "90", "-p", "127.0.0.1::80"];
        let run =
            [&["run", "-d", "--name", "box"], &mounts[..], &binds, &ports, &["busybox", "sleep", "1000"]];
        docker.ok(&run.concat());
        let inspected = |format: &str| docker.ok(&["inspect", "-f", format, "box"]);
        let shown = inspected("{{range .Mounts}}{{.Destination}} {{.Type}} {{.Mode}} {{.RW}}\n{{end}}");
        let mut shown: Vec<&str> = shown.lines().filter(|line| !line.is_empty()).collect();
        shown.sort_unstable();
        let expected = [
            "/anonymous volume  true",
            "/bind bind  true",
            "/empty volume nocopy true",
            "/labelled bind z,ro false",
            "/named volume z true",
            "/typed tmpfs  true",
            "/v volume z false",
        ];
        assert_eq!(shown, expected);
        let ports = inspected("{{json .NetworkSettings.Ports}}");
        assert!(
            ports.contains(r#""90/tcp":null"#) && ports.contains(r#""80/tcp":[{"HostIp":"127.0.0.1""#),
            "{ports}"
        );
        let host = inspected(
            "{{json .HostConfig.MemorySwappiness}} {{.HostConfig.MaskedPaths}} {{.HostConfig.ReadonlyPaths}}",
        );
        assert!(
            host.starts_with("null [")
                && host.contains("/proc/kcore")
                && host.contains("/proc/sysrq-trigger"),
            "{host}"
        );
        docker.ok(&["stop", "-t", "0", "box"]);
        assert_eq!(inspected("{{json .NetworkSettings.Ports}}"), "{}\n");
        docker.ok(&["rm", "-v", "box"]);
        docker.ok(&["volume", "rm", "named", "empty", "vol"]);
    });
}

#[test]
fn an_inspect_says_what_is_masked_and_older_clients_see_the_id_among_the_aliases() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "app"]);
        docker.ok(&["create", "--name", "box", "--privileged", "--network", "app", "busybox"]);
        let masked = docker.ok(&["inspect", "-f", "{{json .HostConfig.MaskedPaths}}", "box"]);
        assert_eq!(masked, "null\n");
        docker.ok(&["rm", "box"]);
        let made = ["run", "-d", "--network", "app", "--network-alias", "web", "busybox", "sleep", "1000"];
        let id = docker.ok(&made);
        let id = id.trim();
        let aliases = |version: &str| {
            let answer = docker.ask("GET", &format!("/{version}/containers/{id}/json"), "");
            let shown: serde_json::Value =
                serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            shown["NetworkSettings"]["Networks"]["app"]["Aliases"].clone()
        };
        assert_eq!(aliases("v1.41"), serde_json::json!(["web", &id[..12]]));
        assert!(docker.is_peer() || aliases("v1.45") == serde_json::json!(["web"]));
        docker.ok(&["rm", "-f", id]);
        docker.ok(&["network", "rm", "app"]);
    });
}

#[test]
fn the_files_of_the_network_are_seen_whatever_is_mounted_above_them() {
    with_daemon(|docker| {
        docker.import_busybox();
        let etc = docker.dir.join("etc");
        std::fs::create_dir(&etc).unwrap();
        let bind = format!("{}:/etc", etc.display());
        let script = "cat /etc/hostname; grep -c localhost /etc/hosts; ls -A /etc; test -e /etc/resolv.conf";
        docker.with_each_cli(|docker| {
            for option in [["-v", "etc:/etc:ro"], ["-v", "etc:/etc"], ["-v", &bind], ["--tmpfs", "/etc"]] {
                let run = ["run", "--rm", "--hostname", "web", option[0], option[1], "busybox", "sh", "-c", script];
                let said = docker.ok(&run);
                assert!(said.starts_with("web\n2\n") && said.contains("hostname\nhosts\n"), "{option:?}: {said}");
            }
            let write = "for one in hosts hostname resolv.conf; do echo x 2>/dev/null >/etc/$one && echo $one; done; true";
            let read_only = docker.ok(&["run", "--rm", "--read-only", "busybox", "sh", "-c", write]);
            assert_eq!(read_only, "", "files of a read-only root can be written");
        });
        docker.ok(&["volume", "rm", "etc"]);
    });
}

#[test]
fn ordinary_users_listen_on_every_port_and_ping() {
    with_daemon(|docker| {
        docker.import_busybox();
        let both = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range";
        docker.with_each_cli(|docker| {
            let run = |options: &[&str], script: &str| {
                docker.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat())
            };
            assert_eq!(run(&[], both), "0\n0\t2147483647\n");
            assert_eq!(run(&["--network", "none"], both), "0\n0\t2147483647\n");
            let listens = "nc -l -p 80 </dev/null & until grep -q ':0050 .* 0A' /proc/net/tcp /proc/net/tcp6; \
                           do sleep 0.05; kill -0 $! || exit 1; done; echo listens";
            assert_eq!(run(&["--user", "1000", "--cap-drop", "ALL"], listens), "listens\n");
            let asked = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"];
            assert_eq!(run(&asked, both), "1024\n0\t2147483647\n");
        });
        let host = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
        assert_eq!(
            docker.ok(&["run", "--rm", "--network", "host", "busybox", "sh", "-c", both]).lines().next(),
            host.lines().next()
        );
    });
}

#[test]
fn the_directories_of_a_container_and_of_an_image_are_told_as_overlay2_tells_them() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo mine >/file; sleep 1000"]);
        docker.until("it has written", || docker.run(&["exec", "box", "test", "-s", "/file"]).0 == 0);
        let data = |name: &str, field: &str| {
            docker
                .ok(&["inspect", "-f", &format!("{{{{.GraphDriver.Data.{field}}}}}"), name])
                .trim()
                .to_owned()
        };
        let dir = |name: &str, field: &str| std::path::PathBuf::from(data(name, field));
        for field in ["MergedDir", "UpperDir"] {
            assert_eq!(std::fs::read_to_string(dir("box", field).join("file")).unwrap(), "mine\n", "{field}");
        }
        assert!(dir("box", "MergedDir").join("bin/busybox").is_file() && dir("box", "WorkDir").is_dir());
        let lower = data("box", "LowerDir");
        assert!(
            lower.split(':').any(|dir| std::path::Path::new(dir).join("bin/busybox").is_file()),
            "{lower}"
        );
        assert!(dir("busybox", "UpperDir").join("bin/busybox").is_file());
        assert_eq!(data("busybox", "LowerDir"), "<no value>", "it has one layer");
        docker.ok(&["kill", "box"]);
        docker.ok(&["wait", "box"]);
        assert!(dir("box", "UpperDir").join("file").is_file());
        docker.ok(&["commit", "box", "two"]);
        docker.ok(&["create", "--name", "next", "two"]);
        assert!(dir("two", "UpperDir").join("file").is_file());
        assert!(std::path::Path::new(&data("two", "LowerDir")).join("bin/busybox").is_file());
        docker.ok(&["rm", "box", "next"]);
    });
}

#[test]
fn the_first_process_of_an_init_is_called_as_docker_s() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--init", "--name", "box", "busybox", "sleep", "1000"]);
        let read = |file: &str| docker.ok(&["exec", "box", "cat", &format!("/proc/1/{file}")]);
        assert_eq!(read("cmdline").trim_end_matches('\0'), "/sbin/docker-init\0--\0sleep\x001000");
        assert_eq!(read("comm"), "docker-init\n");
        let top = docker.ok(&["top", "box", "-o", "pid,args"]);
        assert!(
            top.lines().any(|line| line.trim_end().ends_with(" /sbin/docker-init -- sleep 1000")),
            "{top}"
        );
        docker.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn a_container_at_rest_uses_nothing_and_a_command_of_no_words_is_refused_whatever_it_does() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "rest", "-m", "64m", "busybox", "true"]);
        let table = "{{.MemUsage}} {{.MemPerc}} {{.CPUPerc}} {{.PIDs}}";
        assert_eq!(
            docker.ok(&["stats", "--no-stream", "--format", table, "rest"]),
            "0B / 0B 0.00% 0.00% 0\n"
        );
        for name in ["rest", "nobody"] {
            let refused = docker.ask("POST", &format!("/v1.41/containers/{name}/exec"), r#"{"Cmd":[]}"#);
            assert!(refused.contains(" 400 ") && refused.contains("No exec command specified"), "{refused}");
        }
        docker.ok(&["rm", "rest"]);
    });
}

#[test]
fn an_image_without_a_configuration_has_every_field_of_one() {
    with_daemon(|docker| {
        let file = docker.dir.join("plain.tar");
        std::fs::write(&file, hako_image::busybox_rootfs(std::path::Path::new("/bin/busybox")).unwrap())
            .unwrap();
        docker.ok(&["import", file.to_str().unwrap(), "plain"]);
        let config = |version: &str| {
            let answer = docker.ask("GET", &format!("/{version}/images/plain/json"), "");
            let shown: serde_json::Value =
                serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
            shown["Config"].as_object().unwrap().clone()
        };
        let always = ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"];
        let before = ["AttachStdin", "Domainname", "Hostname", "Image", "StdinOnce", "Tty"];
        let old = config("v1.41");
        for name in always.iter().chain(&before) {
            assert!(old.contains_key(*name), "{name}: {old:?}");
        }
        if !docker.is_peer() {
            let new = config("v1.51");
            assert!(always.iter().all(|name| new.contains_key(*name)), "{new:?}");
            assert!(!before.iter().any(|name| new.contains_key(*name)), "{new:?}");
        }
        docker.ok(&["rmi", "plain"]);
    });
}

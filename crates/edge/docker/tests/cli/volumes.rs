//! Volumes by the docker command line.

use crate::daemon::{Daemon, with_daemon};

#[test]
fn a_volume_can_be_a_file_system_that_each_container_mounts() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let create = [
                "volume",
                "create",
                "--opt",
                "type=tmpfs",
                "--opt",
                "device=tmpfs",
                "--opt",
                "o=size=1m,uid=70",
            ];
            docker.ok(&[&create[..], &["memory"]].concat());
            let shown = docker.ok(&[
                "run",
                "--rm",
                "-v",
                "memory:/m",
                "busybox",
                "sh",
                "-c",
                "grep ' /m ' /proc/mounts",
            ]);
            assert!(shown.starts_with("tmpfs /m tmpfs") && shown.contains("uid=70"), "{shown}");
            assert!(shown.contains("size=1024k"), "{shown}");
            let format = "{{.Options.o}}";
            assert_eq!(docker.ok(&["volume", "inspect", "-f", format, "memory"]), "size=1m,uid=70\n");
            let (code, _, err) =
                docker.run(&["volume", "create", "--opt", "type=none", "--opt", "device=/x", "memory"]);
            assert!(docker.is_peer() || (code == 1 && err.contains("exists with other options")), "{err}");
            docker.ok(&["volume", "rm", "memory"]);
        });
    });
}

#[test]
fn a_mount_makes_its_volume_with_options_and_takes_one_that_exists_as_it_is() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let run = |options: &str| {
                let mount = format!("type=volume,src=memory,dst=/m,volume-driver=local{options}");
                docker.run(&["run", "--mount", &mount, "busybox", "grep", " /m ", "/proc/mounts"])
            };
            let sized =
                ",volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=1m\",volume-label=team=a";
            let (code, shown, err) = run(sized);
            assert!(code == 0 && shown.starts_with("tmpfs /m tmpfs"), "{shown}{err}");
            assert!(shown.contains("size=1024k"), "{shown}");
            let format = "{{.Options.type}} {{.Options.device}} {{.Options.o}} {{.Labels.team}}";
            let told = || docker.ok(&["volume", "inspect", "-f", format, "memory"]);
            assert_eq!(told(), "tmpfs tmpfs size=1m a\n");
            let format = "{{range .HostConfig.Mounts}}{{.VolumeOptions.DriverConfig.Options.device}}{{end}}";
            let id = docker.ok(&["ps", "-lq"]);
            assert_eq!(docker.ok(&["inspect", "-f", format, id.trim()]), "tmpfs\n");
            // What is there stays what it is.
            let (code, shown, err) = run(",volume-opt=type=none,volume-opt=device=/x,volume-label=team=b");
            assert!(code == 0 && shown.contains("size=1024k"), "{shown}{err}");
            assert_eq!(told(), "tmpfs tmpfs size=1m a\n");
            let ids = docker.ok(&["ps", "-aq"]);
            let ids: Vec<&str> = ids.split_whitespace().collect();
            docker.ok(&[&["rm"], &ids[..]].concat());
            docker.ok(&["volume", "rm", "memory"]);
            let (code, _, err) = run(",volume-opt=colour=red");
            assert!(code == 125 && err.contains("invalid option"), "{code} {err}");
            assert_eq!(docker.ok(&["ps", "-aq"]), "");
        });
    });
}

#[test]
fn a_volume_without_a_name_has_what_its_mount_says_and_goes_with_its_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "--name", "made", "busybox", "sh", "-c", "mkdir /m && echo hello >/m/file"]);
        docker.ok(&["commit", "made", "filled"]);
        docker.ok(&["rm", "made"]);
        let volumes = |docker: &Daemon| docker.ok(&["volume", "ls", "-q"]);
        docker.with_each_cli(|docker| {
            let run = |options: &[&str], mount: &str, command: &[&str]| {
                let mount = format!("type=volume,dst=/m,volume-driver=local{mount}");
                docker.run(&[&["run"], options, &["--mount", &mount, "filled"], command].concat())
            };
            let sized =
                ",volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=1m\",volume-label=team=a";
            let show = ["grep", " /m ", "/proc/mounts"];
            let (code, shown, err) = run(&["--name", "sized"], sized, &show);
            assert!(code == 0 && shown.starts_with("tmpfs /m tmpfs"), "{shown}{err}");
            assert!(shown.contains("size=1024k"), "{shown}");
            let name = docker.ok(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", "sized"]);
            assert_eq!((name.trim().len(), volumes(docker)), (64, name.clone()));
            let format = "{{.Options.type}} {{.Options.device}} {{.Options.o}} {{.Labels.team}}";
            assert_eq!(
                docker.ok(&["volume", "inspect", "-f", format, name.trim()]),
                "tmpfs tmpfs size=1m a\n"
            );
            let format = "{{range .HostConfig.Mounts}}{{.Source}}{{.VolumeOptions.Labels.team}}{{end}}";
            assert_eq!(docker.ok(&["inspect", "-f", format, "sized"]), "a\n");
            docker.ok(&["rm", "-v", "sized"]);
            assert_eq!(volumes(docker), "");
            let (code, shown, err) = run(&["--rm"], sized, &show);
            assert!(code == 0 && shown.contains("size=1024k"), "{shown}{err}");
            assert_eq!(volumes(docker), "", "it goes with a container that removes itself");
            // What the image has there is in it, unless that is not wanted.
            assert_eq!(run(&["--rm"], ",volume-label=team=a", &["ls", "/m"]).1, "file\n");
            assert_eq!(run(&["--rm"], ",volume-nocopy", &["ls", "/m"]).1, "");
            let (code, _, err) = run(&[], ",volume-opt=colour=red", &["true"]);
            assert!(code == 125 && err.contains("invalid option"), "{code} {err}");
            assert_eq!((docker.ok(&["ps", "-aq"]), volumes(docker)), (String::new(), String::new()));
        });
    });
}

#[test]
fn a_volume_can_be_a_directory_of_the_host() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = docker.dir.join("shared");
        std::fs::create_dir(&dir).unwrap();
        let device = format!("device={}", dir.display());
        docker.ok(&["volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", &device, "here"]);
        docker.ok(&["run", "--rm", "-v", "here:/h", "busybox", "sh", "-c", "echo hello >/h/file"]);
        assert_eq!(std::fs::read_to_string(dir.join("file")).unwrap(), "hello\n");
        docker.ok(&["volume", "rm", "here"]);
        assert!(dir.join("file").exists(), "the directory is not the engine's");
        let quota = if docker.is_peer() { "no quota support" } else { "size is unimplemented" };
        for (option, why) in [("size=1g", quota), ("colour=red", "invalid option")] {
            let (code, _, err) = docker.run(&["volume", "create", "--opt", option, "bad"]);
            assert!(code == 1 && err.contains(why), "{option}: {err}");
        }
    });
}

#[test]
fn volumes_are_found_by_use_driver_and_label() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["volume", "create", "--label", "team=a", "idle"]);
        docker.ok(&["volume", "create", "busy"]);
        docker.ok(&["create", "--name", "holder", "-v", "busy:/b", "busybox", "true"]);
        let names = |filter: &str| docker.ok(&["volume", "ls", "-q", "--filter", filter]);
        for (filter, found) in [
            ("dangling=true", "idle\n"),
            ("dangling=false", "busy\n"),
            ("driver=local", "busy\nidle\n"),
            ("driver=nfs", ""),
            ("label=team", "idle\n"),
        ] {
            assert_eq!(names(filter), found, "{filter}");
        }
        docker.ok(&["rm", "holder"]);
        docker.ok(&["volume", "rm", "idle", "busy"]);
        let seen = || {
            let format = "{{.Action}} {{.Actor.ID}}";
            docker.ok(&[
                "events",
                "--since",
                "1",
                "--until",
                "1s",
                "--filter",
                "type=volume",
                "--format",
                format,
            ])
        };
        docker.until("events are told", || seen().contains("create idle") && seen().contains("destroy busy"));
    });
}

#[test]
fn a_part_of_a_volume_is_mounted_and_links_do_not_lead_out() {
    with_daemon(|docker| {
        docker.import_busybox();
        let fill =
            "mkdir -p /v/a/b; echo inside >/v/a/b/file; ln -s /etc /v/out; ln -s a/b /v/in; ln -s /a /v/root";
        docker.ok(&["run", "--rm", "-v", "data:/v", "busybox", "sh", "-c", fill]);
        let part = |path: &str| format!("type=volume,src=data,dst=/part,volume-subpath={path}");
        for (path, file) in [("a/b", "file"), ("in", "file"), ("root", "b/file"), ("a/b/file", "")] {
            let file = format!("/part/{file}");
            let said = docker.ok(&[
                "run",
                "--rm",
                "--mount",
                &part(path),
                "busybox",
                "cat",
                file.trim_end_matches('/'),
            ]);
            assert_eq!(said, "inside\n", "{path}");
        }
        for path in ["out", "nowhere"] {
            let (code, _, err) =
                docker.run(&["run", "--rm", "--mount", &part(path), "busybox", "ls", "/part"]);
            assert!(code != 0 && err.contains("subpath"), "{path}: {err}");
        }
        let (code, _, err) = docker.run(&["create", "--mount", &part("../x"), "busybox"]);
        assert!(code != 0 && err.contains("relative path within the volume"), "{err}");
        let nameless = "type=volume,dst=/part,volume-subpath=a";
        let (code, _, err) = docker.run(&["create", "--mount", nameless, "busybox"]);
        assert!(code != 0 && err.contains("must not set Subpath when using anonymous volumes"), "{err}");
        docker.ok(&["create", "--name", "rest", "--mount", &part("a"), "busybox"]);
        let copied = docker.dir.join("copied");
        docker.ok(&["cp", "rest:/part/b/file", copied.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(copied).unwrap(), "inside\n");
        docker.ok(&["rm", "rest"]);
        docker.ok(&["volume", "rm", "data"]);
    });
}

/// CVE-2021-25741: a part of a volume that becomes a link between the look at it and its mount.
#[test]
fn cve_2021_25741_a_part_that_is_swapped_for_a_link_never_shows_the_host() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["volume", "create", "data"]);
        let path = docker.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
        let root = std::path::PathBuf::from(path.trim());
        let secret = docker.dir.join("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("host"), "").unwrap();
        std::fs::create_dir(root.join("part")).unwrap();
        std::os::unix::fs::symlink(&secret, root.join("link")).unwrap();
        hako_testkit::while_swapped(&root.join("part"), &root.join("link"), || {
            for _ in 0..12 {
                let mount = "type=volume,src=data,dst=/part,volume-subpath=part";
                let (_, out, _) = docker.run(&["run", "--rm", "--mount", mount, "busybox", "ls", "/part"]);
                assert!(!out.contains("host"), "{out}");
            }
        });
        docker.ok(&["volume", "rm", "data"]);
    });
}

#[test]
fn files_of_an_image_are_mounted_and_kept_while_the_container_is_there() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dockerfile = docker.dir.join("Dockerfile");
        std::fs::write(&dockerfile, "FROM scratch\nCOPY Dockerfile /sub/file\nCOPY Dockerfile /other\n")
            .unwrap();
        docker.ok(&[
            "build",
            "-q",
            "-t",
            "tools",
            docker.dir.to_str().unwrap(),
            "-f",
            dockerfile.to_str().unwrap(),
        ]);
        let script = "ls /tools; touch /tools/x 2>/dev/null || echo refused";
        let run = |options: &str| {
            let mount = format!("type=image,source=tools,target=/tools{options}");
            docker.run(&["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", script])
        };
        assert_eq!(run("").1, "other\nsub\nrefused\n");
        let (_, out, err) = run(",image-subpath=sub");
        assert_eq!(out, "file\nrefused\n", "{err}");
        let mount = "type=image,source=tools,target=/tools";
        docker.ok(&["create", "--name", "user", "--mount", mount, "busybox", "cat", "/tools/sub/file"]);
        docker.ok(&["rmi", "-f", "tools"]);
        assert!(docker.ok(&["start", "-a", "user"]).starts_with("FROM scratch"));
        docker.ok(&["rm", "user"]);
        let (code, _, err) = docker.run(&["create", "--mount", mount, "busybox"]);
        assert!(code != 0 && err.contains("No such image: tools"), "{err}");
        let left = std::fs::read_dir(docker.dir.join("snapshots/live")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "no view is left");
    });
}

#[test]
fn a_tmpfs_has_the_options_that_a_mount_gives_it() {
    with_daemon(|docker| {
        docker.import_busybox();
        let run = |options: &str| {
            let body = format!(
                r#"{{"Image":"busybox","Cmd":["grep"," /t ","/proc/mounts"],"HostConfig":{{"Mounts":[{{"Type":"tmpfs","Target":"/t",
                "TmpfsOptions":{{"SizeBytes":65536,"Mode":448,"Options":{options}}}}}]}}}}"#
            );
            docker.post("/v1.46/containers/create?name=one", &body);
            let said = docker.ok(&["start", "-a", "one"]);
            docker.ok(&["rm", "one"]);
            said
        };
        let usual = run("[]");
        assert!(
            usual.contains("noexec") && usual.contains("size=64k") && usual.contains("mode=700"),
            "{usual}"
        );
        let changed = run(r#"[["exec"],["uid","77"]]"#);
        assert!(!changed.contains("noexec") && changed.contains("uid=77"), "{changed}");
    });
}

#[test]
fn volumes_are_filtered_by_patterns_of_names() {
    with_daemon(|docker| {
        for name in ["data", "data-old", "my-data"] {
            docker.ok(&["volume", "create", name]);
        }
        let named =
            |pattern: &str| docker.ok(&["volume", "ls", "-q", "--filter", &format!("name={pattern}")]);
        assert_eq!(named("^data$"), "data\n");
        assert_eq!(named("data"), "data\ndata-old\nmy-data\n");
        assert_eq!(named("^(my|data)-"), "data-old\nmy-data\n");
    });
}

#[test]
fn volumes_have_names_of_two_letters_and_binds_copy_nothing() {
    with_daemon(|docker| {
        docker.import_busybox();
        let short =
            "create a: volume name is too short, names should be at least two alphanumeric characters";
        for args in
            [&["volume", "create", "a"][..], &["create", "--mount", "type=volume,src=a,dst=/x", "busybox"]]
        {
            let (code, _, err) = docker.run(args);
            assert!(code != 0 && err.contains(short), "{args:?}: {err}");
        }
        // The command line takes `a:` for a drive.
        let answer = docker.ask(
            "POST",
            "/containers/create",
            r#"{"Image":"busybox","HostConfig":{"Binds":["a:/x"]}}"#,
        );
        assert!(answer.contains(" 400 ") && answer.contains(short), "{answer}");
        assert_eq!(docker.ok(&["volume", "ls", "-q"]) + &docker.ok(&["ps", "-aq"]), "");
        for options in ["nocopy", "ro,nocopy"] {
            let bind = format!("/tmp:/x:{options}");
            let (code, _, err) = docker.run(&["create", "-v", &bind, "busybox"]);
            assert!(code != 0 && err.contains("field VolumeOptions must not be specified"), "{err}");
        }
        docker.ok(&["run", "--rm", "-v", "aa:/x:nocopy", "busybox", "true"]);
        docker.ok(&["volume", "rm", "aa"]);
    });
}

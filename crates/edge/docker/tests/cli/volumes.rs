//! Volumes by the docker command line.

use crate::daemon::with_daemon;

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
            assert!(code == 1 && err.contains("exists with other options"), "{err}");
            docker.ok(&["volume", "rm", "memory"]);
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
        for (option, why) in [("size=1g", "size is unimplemented"), ("colour=red", "invalid option")] {
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

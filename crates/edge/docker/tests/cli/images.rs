//! Images: build, import, list, history, remove.

use crate::daemon::with_daemon;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn build_makes_an_image_that_runs_and_a_failing_step_says_why() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("greeting"), "hello from the context\n").unwrap();
        let dockerfile = "FROM busybox AS first\nCOPY greeting /greeting\nRUN echo made by run >> /greeting\nFROM busybox\n\
                          COPY --from=first /greeting /g\nENV WHO=me\nENTRYPOINT [\"cat\"]\nCMD [\"/g\"]\n";
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let out = docker.ok(&["build", "-t", "greeter:v1", context.to_str().unwrap()]);
        assert!(out.contains("Successfully tagged greeter:v1"), "{out}");
        assert_eq!(docker.ok(&["run", "--rm", "greeter:v1"]), "hello from the context\nmade by run\n");
        let again = docker.ok(&["build", "-t", "greeter:v2", context.to_str().unwrap()]);
        assert!(again.contains("Using cache"), "{again}");
        let ids = docker.ok(&["images", "-q", "--no-trunc", "greeter"]);
        let ids: Vec<&str> = ids.lines().collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[0], ids[1]);
        assert_eq!(docker.ok(&["inspect", "-f", "{{json .Config.Entrypoint}}", "greeter:v1"]), "[\"cat\"]\n");
        assert!(docker.ok(&["history", "greeter:v1"]).contains("ENTRYPOINT"));
        docker.ok(&["tag", "greeter:v1", "other/name:x"]);
        assert!(docker.ok(&["rmi", "other/name:x"]).contains("Untagged: other/name:x"));
        std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN echo before; exit 9\n").unwrap();
        let (code, out, err) = docker.run(&["build", context.to_str().unwrap()]);
        assert!(code == 9 && out.contains("before"), "{code} {out}");
        assert!(
            err.contains("The command '/bin/sh -c echo before; exit 9' returned a non-zero code: 9"),
            "{err}"
        );
        std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN [\"sh\", \"-c\", \"exit 3\"]\n")
            .unwrap();
        let (code, _, err) = docker.run(&["build", context.to_str().unwrap()]);
        assert!(code == 3 && err.contains("The command 'sh -c exit 3' returned a non-zero code: 3"), "{err}");
        std::fs::write(context.join("Dockerfile"), "FROM missing-base\n").unwrap();
        let (code, _, err) = docker.run(&["build", context.to_str().unwrap()]);
        assert_ne!(code, 0);
        if docker.is_peer() {
            return;
        }
        assert!(err.contains("missing-base"), "{err}");
        let contexts = docker.dir.join("images/contexts");
        assert!(std::fs::read_dir(contexts).unwrap().next().is_none(), "build contexts are left");
    });
}

#[test]
fn an_image_in_use_stays_and_events_tell_what_happened() {
    with_daemon(|docker| {
        docker.import_busybox();
        let mut events = docker
            .command(&["events", "--filter", "container=told", "--format", "{{.Action}}"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The stream begins when the daemon answers; a container that is made before is not on it.
        let mut seen = String::new();
        let reader = events.stdout.take().unwrap();
        docker.until("the events are connected", || {
            docker.ok(&["create", "--name", "told", "busybox", "true"]);
            docker.ok(&["rm", "told"]);
            let ready = rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN);
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut [ready], Some(&timeout)).unwrap() > 0
        });
        docker.ok(&["run", "--name", "told", "busybox", "true"]);
        let (code, _, err) = docker.run(&["rmi", "busybox"]);
        assert_eq!(code, 1);
        let words = "unable to remove repository reference \"busybox\" (must force) - container ";
        assert!(err.contains(words), "{err}");
        docker.ok(&["rm", "told"]);
        docker.ok(&["rmi", "busybox"]);
        std::thread::sleep(Duration::from_millis(100));
        events.kill().unwrap();
        events.wait().unwrap();
        let mut reader = reader;
        reader.read_to_string(&mut seen).unwrap();
        assert!(seen.contains("create\nattach\nstart\ndie\ndestroy\n"), "{seen}");
        assert!(docker.ok(&["images", "-q"]).is_empty());
    });
}

#[test]
fn history_shows_every_layer_of_imported_and_built_images() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("file"), vec![7; 50_000]).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY file /file\nENV A=b\n").unwrap();
        docker.ok(&["build", "-t", "layered", context.to_str().unwrap()]);
        docker.with_each_cli(|docker| {
            let rows = |name: &str| {
                let format = "{{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}";
                docker.ok(&["history", "--no-trunc", "--format", format, name])
            };
            let id = docker.ok(&["images", "-q", "--no-trunc", "busybox"]);
            let imported = rows("busybox");
            let imported: Vec<&str> = imported.trim_end().split('|').collect();
            assert_eq!((imported[0], imported[3]), (id.trim(), "Imported from -"));
            assert!(imported[2].ends_with("MB"), "{imported:?}");
            let built = rows("layered");
            let built: Vec<Vec<&str>> = built.lines().map(|row| row.split('|').collect()).collect();
            assert_eq!(built.len(), 3, "{built:?}");
            assert!(built[0][1].contains("ENV") && built[0][2] == "0B", "{built:?}");
            assert!(
                built[1][1].contains(if docker.is_peer() { "COPY file:" } else { "COPY file /file" })
                    && built[1][2].ends_with("kB"),
                "{built:?}"
            );
            assert_eq!(built[2][3], "Imported from -");
        });
    });
}

#[test]
fn lists_and_filters_are_dockers() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["tag", "busybox", "other/x:1"]);
        docker.ok(&["tag", "busybox", "other/x:2"]);
        docker.with_each_cli(|docker| {
            let list = |args: &[&str]| {
                let command = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], args].concat();
                let mut names: Vec<String> = docker.ok(&command).lines().map(str::to_owned).collect();
                names.sort();
                names
            };
            assert_eq!(list(&["other/x"]), ["other/x:1", "other/x:2"]);
            assert_eq!(list(&["other/x:2"]), ["other/x:2"]);
            assert_eq!(list(&["--filter", "reference=*"]), ["busybox:latest"]);
            assert_eq!(list(&["--filter", "reference=*/*:1"]), ["other/x:1"]);
            assert_eq!(list(&["--filter", "dangling=true"]), [""; 0]);
            assert_eq!(list(&["--filter", "before=busybox"]), [""; 0]);
            assert_eq!(list(&[]).len(), 3);
            let digests = docker.ok(&["images", "--digests", "--format", "{{.Digest}}"]);
            assert_eq!(digests.matches("sha256:").count(), 3, "{digests}");
            let inspect = |format: &str| docker.ok(&["image", "inspect", "-f", format, "busybox"]);
            assert_eq!(inspect("{{len .RepoTags}} {{len .RepoDigests}}"), "3 2\n");
            assert_eq!(
                inspect("{{json .Config.Cmd}} {{.Os}} {{.Comment}}"),
                "[\"sh\"] linux Imported from -\n"
            );
        });
    });
}

#[test]
fn prune_says_what_it_freed_and_spares_what_containers_have() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "--name", "user", "busybox", "sh", "-c", "head -c 3000000 /dev/zero > /file"]);
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(
            context.join("Dockerfile"),
            "FROM busybox\nRUN head -c 9000000 /dev/urandom > /file\n",
        )
        .unwrap();
        docker.ok(&["build", "-t", "loose", context.to_str().unwrap()]);
        docker.ok(&["volume", "create", "full"]);
        docker.ok(&[
            "run",
            "--rm",
            "-v",
            "full:/v",
            "busybox",
            "sh",
            "-c",
            "head -c 4000000 /dev/zero > /v/x",
        ]);
        let bytes = |out: &str| -> f64 {
            let size =
                out.lines().last().unwrap().strip_prefix("Total reclaimed space: ").unwrap().to_owned();
            let number = size.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse::<f64>().unwrap();
            let unit = size.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            number
                * match unit {
                    "B" => 1.0,
                    "kB" => 1e3,
                    "MB" => 1e6,
                    other => panic!("{other}"),
                }
        };
        let images = docker.ok(&["image", "prune", "-af"]);
        assert!(images.to_lowercase().contains("untagged: loose:latest"), "{images}");
        assert!(images.to_lowercase().contains("deleted: sha256:"), "{images}");
        assert_eq!(docker.ok(&["images", "--format", "{{.Repository}}"]), "busybox\n");
        // The build's cache still has the layer, and keeps it as long as it is young or has room.
        if docker.is_peer() {
            return;
        }
        for left in [["--keep-storage", "100MB"], ["--filter", "until=1h"]] {
            let kept = docker.ok(&[["builder", "prune", "-af"].as_slice(), left.as_slice()].concat());
            assert!(bytes(&kept) < 1.0, "{left:?}: {kept}");
        }
        assert!(bytes(&docker.ok(&["builder", "prune", "-af"])) > 8e6);
        assert!(bytes(&docker.ok(&["container", "prune", "-f"])) > 2.9e6);
        let all = docker.ok(&["system", "prune", "-af"]);
        assert!(all.contains("busybox:latest") && bytes(&all) > 1e6, "{all}");
        assert_eq!(docker.ok(&["images", "-q"]), "");
        assert_eq!(docker.ok(&["volume", "ls", "-q"]), "full\n");
        assert!(bytes(&docker.ok(&["volume", "prune", "-f", "--filter", "all=1"])) > 3.9e6);
    });
}

/// Serves this one answer, as often as it is asked.
fn server(status: &str, body: Vec<u8>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = [0; 1];
            let mut end = Vec::new();
            while !end.ends_with(b"\r\n\r\n") && stream.read(&mut asked).unwrap_or(0) == 1 {
                end.push(asked[0]);
            }
            // A client may have heard enough.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn images_are_imported_from_addresses_and_without_a_name() {
    with_daemon(|docker| {
        let tar = hako_image::busybox_rootfs(std::path::Path::new("/bin/busybox")).unwrap();
        let file = docker.dir.join("root.tar");
        std::fs::write(&file, &tar).unwrap();
        let (good, gone) = (server("200 OK", tar), server("404 Not Found", Vec::new()));
        docker.with_each_cli(|docker| {
            let address = format!("http://{good}/x.tar");
            docker.ok(&["import", &address, "fetched:1"]);
            assert_eq!(docker.ok(&["run", "--rm", "fetched:1", "echo", "hello"]), "hello\n");
            let comment = docker.ok(&["image", "inspect", "-f", "{{.Comment}}", "fetched:1"]);
            assert_eq!(comment.trim(), format!("Imported from {address}"));
            let (code, _, err) = docker.run(&["import", &format!("http://{gone}/x.tar"), "none:1"]);
            assert!(code != 0 && err.contains("404"), "{err}");
            let id = docker.ok(&["import", file.to_str().unwrap()]);
            let tags = docker.ok(&["image", "inspect", "-f", "{{.RepoTags}}", id.trim()]);
            assert_eq!(tags, "[]\n");
            assert_eq!(docker.ok(&["run", "--rm", id.trim(), "echo", "hello"]), "hello\n");
            docker.ok(&["rmi", "fetched:1", id.trim()]);
        });
    });
}

#[test]
fn an_empty_file_is_no_image() {
    with_daemon(|docker| {
        let file = docker.dir.join("empty.tar");
        std::fs::write(&file, "").unwrap();
        let (code, _, err) = docker.run(&["import", file.to_str().unwrap(), "nothing:v1"]);
        assert_eq!(code, 1);
        assert!(err.contains("nothing:v1") && err.contains("empty"), "{err}");
        assert_eq!(docker.ok(&["images", "-q"]), "");
    });
}

#[test]
fn a_container_is_exported_and_committed_as_it_is() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "echo written > /made; rm /etc/passwd; echo ready; exec sleep 1000";
        docker.ok(&["run", "-d", "--name", "maker", "-e", "A=b", "busybox", "sh", "-c", script]);
        docker.until("it has written", || docker.ok(&["logs", "maker"]) == "ready\n");
        docker.with_each_cli(|docker| {
            let tar = docker.dir.join("export.tar");
            docker.ok(&["export", "-o", tar.to_str().unwrap(), "maker"]);
            let list = std::process::Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
            let list = String::from_utf8(list.stdout).unwrap();
            assert!(list.lines().any(|name| name == "made") && list.contains("bin/busybox"), "{list}");
            assert!(!list.contains("etc/passwd"), "{list}");
            std::fs::remove_file(tar).unwrap();
            let changes = ["--change", "CMD [\"cat\", \"/made\"]", "--change", "LABEL x=y"];
            let commit =
                [&["commit", "-m", "by hand", "-a", "me"], &changes[..], &["maker", "made:v1"]].concat();
            let id = docker.ok(&commit);
            assert!(id.starts_with("sha256:"), "{id}");
            assert_eq!(docker.ok(&["run", "--rm", "made:v1"]), "written\n");
            assert_eq!(docker.run(&["run", "--rm", "made:v1", "cat", "/etc/passwd"]).0, 1);
            let shown = docker.ok(&[
                "inspect",
                "-f",
                "{{.Comment}}|{{.Author}}|{{.Config.Labels.x}}|{{.Config.Env}}",
                "made:v1",
            ]);
            assert!(shown.starts_with("by hand|me|y|[") && shown.contains("A=b"), "{shown}");
            assert_eq!(docker.ok(&["history", "-q", "made:v1"]).lines().count(), 2);
            docker.ok(&["rmi", "made:v1"]);
        });
    });
}

#[test]
fn events_of_images_are_told_and_known_afterwards() {
    with_daemon(|docker| {
        let since = jiff::Timestamp::now().to_string();
        docker.import_busybox();
        docker.ok(&["tag", "busybox", "other:x"]);
        docker.ok(&["rmi", "other:x"]);
        docker.ok(&["run", "--rm", "--name", "short", "busybox", "true"]);
        docker.with_each_cli(|docker| {
            let past = |filter: &str| {
                let args = ["events", "--since", &since, "--until", "0s", "--filter", filter];
                docker.ok(&[&args[..], &["--format", "{{.Type}} {{.Action}}"]].concat())
            };
            // What clients mean by now are whole seconds: what happened within this one is told when it is over.
            docker.until("events of images are told in their order", || {
                past("type=image") == "image tag\nimage import\nimage tag\nimage untag\n"
            });
            assert_eq!(past("event=tag"), "image tag\nimage tag\n");
            docker.until("its end is told", || {
                past("container=short").ends_with("container die\ncontainer destroy\n")
            });
        });
    });
}

#[test]
fn what_is_saved_is_loaded_with_its_names() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["tag", "busybox", "team/app:v1"]);
        docker.ok(&["tag", "busybox", "team/app:v2"]);
        docker.with_each_cli(|docker| {
            let file = docker.dir.join("saved.tar");
            let path = file.to_str().unwrap();
            let id = docker.ok(&["images", "-q", "--no-trunc", "busybox"]);
            docker.ok(&["save", "-o", path, "busybox", "team/app:v1"]);
            // Another reader understands it.
            let config = format!("docker-archive:{path}:team/app:v1");
            let peer =
                std::process::Command::new("skopeo").args(["inspect", "--config", &config]).output().unwrap();
            assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
            docker.ok(&["rmi", "busybox", "team/app:v1", "team/app:v2"]);
            assert_eq!(docker.ok(&["images", "-q"]), "");
            let said = docker.ok(&["load", "-i", path]);
            assert!(said.contains("Loaded image: busybox:latest"), "{said}");
            assert!(said.contains("Loaded image: team/app:v1"), "{said}");
            // Of the names only those of the archive are told.
            docker.ok(&["tag", "busybox", "other:here"]);
            let said = docker.ok(&["load", "-i", path]);
            assert!(said.contains("team/app:v1") && !said.contains("other:here"), "{said}");
            docker.ok(&["rmi", "other:here"]);
            assert_eq!(docker.ok(&["images", "-q", "--no-trunc", "busybox"]), id);
            assert_eq!(docker.ok(&["run", "--rm", "team/app:v1", "echo", "back"]), "back\n");
            docker.ok(&["tag", "busybox", "team/app:v2"]);
            // All tags of a repository, through a pipe.
            let script = format!(
                "{0} save team/app | {0} load -q",
                docker.command(&[]).get_program().to_str().unwrap()
            );
            let piped = std::process::Command::new("sh")
                .args(["-c", &script])
                .env("DOCKER_HOST", format!("unix://{}", docker.socket.display()))
                .output()
                .unwrap();
            let piped = String::from_utf8(piped.stdout).unwrap();
            assert!(piped.contains("team/app:v1") && piped.contains("team/app:v2"), "{piped}");
        });
    });
}

#[test]
fn an_archive_of_another_tool_is_loaded_and_a_broken_one_refused() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (saved, other) = (docker.dir.join("saved.tar"), docker.dir.join("other.tar"));
        docker.ok(&["save", "-o", saved.to_str().unwrap(), "busybox"]);
        let (from, to) = (
            format!("docker-archive:{}:busybox:latest", saved.display()),
            format!("docker-archive:{}:made/by:skopeo", other.display()),
        );
        let copied = std::process::Command::new("skopeo").args(["copy", "-q", &from, &to]).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let broken = docker.dir.join("broken.tar");
        let bytes = std::fs::read(&saved).unwrap();
        std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
        let garbage = docker.dir.join("garbage.tar");
        std::fs::write(&garbage, vec![b'x'; 3_000_000]).unwrap();
        docker.with_each_cli(|docker| {
            assert!(docker.ok(&["load", "-i", other.to_str().unwrap()]).contains("made/by:skopeo"));
            assert_eq!(docker.ok(&["run", "--rm", "made/by:skopeo", "echo", "runs"]), "runs\n");
            docker.ok(&["rmi", "made/by:skopeo"]);
            for file in [&broken, &garbage] {
                let (code, out, err) = docker.run(&["load", "-i", file.to_str().unwrap()]);
                assert_eq!(code, 1, "{out}{err}");
                assert!(docker.is_peer() || err.contains("cannot load the archive"), "{err}");
            }
            let (code, _, err) = docker.run(&["save", "-o", broken.to_str().unwrap(), "absent"]);
            assert_eq!(code, 1);
            assert!(err.contains("absent"), "{err}");
        });
    });
}

//! Requests as scripts and older programs write them.

use crate::daemon::{Daemon, with_daemon};
use std::process::{Command, Stdio};

/// What a JSON answer has at a place.
fn inspected(docker: &Daemon, name: &str, format: &str) -> String {
    docker.ok(&["inspect", "-f", format, name]).trim().to_owned()
}

#[test]
fn fields_are_known_in_any_case_as_go_s_decoder_has_it() {
    with_daemon(|docker| {
        docker.import_busybox();
        let body = r#"{"image":"busybox","cmd":["true"],"HostConfig":{"memory":10000000,"networkMode":"none","readonlyRootfs":true},
            "labels":{"memory":"x"}}"#;
        docker.post("/containers/create?name=one", body);
        let format = "{{.HostConfig.Memory}} {{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}} {{.Config.Labels.memory}}";
        assert_eq!(inspected(docker, "one", format), "10000000 none true x");
        docker.post("/containers/one/update", r#"{"cpushares":77}"#);
        assert_eq!(inspected(docker, "one", "{{.HostConfig.CpuShares}}"), "77");
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn changes_of_a_commit_and_an_import_are_read_as_a_dockerfile_is() {
    with_daemon(|docker| {
        docker.import_busybox();
        let changes = [
            "ENV A=1 B=2",
            "ENV C=\"x y\"",
            "LABEL l=1 m=2",
            "EXPOSE 80 443/udp",
            "VOLUME [\"/c\",\"/d\"]",
            "WORKDIR rel",
            "ONBUILD RUN true",
            "HEALTHCHECK CMD true",
            "ENTRYPOINT [\"env\"]",
        ];
        let options: Vec<&str> = changes.iter().flat_map(|change| ["-c", change]).collect();
        docker.ok(&["create", "--name", "one", "busybox", "true"]);
        docker.ok(&[&["commit"], &options[..], &["one", "made"]].concat());
        let format = "{{json .Config.Env}} {{json .Config.Labels}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}} \
                      {{.Config.WorkingDir}} {{json .Config.OnBuild}} {{json .Config.Healthcheck.Test}} {{json .Config.Cmd}}";
        let expected = r#"["PATH=/bin:/sbin:/usr/bin:/usr/sbin","A=1","B=2","C=x y"] {"l":"1","m":"2"} {"443/udp":{},"80/tcp":{}} {"/c":{},"/d":{}} /rel ["RUN true"] ["CMD-SHELL","true"] null"#;
        assert_eq!(inspected(docker, "made", format), expected);
        for change in ["USER", "RUN true", "ENV"] {
            let (code, _, err) = docker.run(&["commit", "-c", change, "one", "other"]);
            assert!(code != 0 && !err.is_empty(), "{change}: {err}");
        }
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn a_quiet_build_tells_its_image_alone() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN true\n").unwrap();
        docker.with_each_cli(|docker| {
            let said = docker.ok(&["build", "-q", "-t", "made", context.to_str().unwrap()]);
            assert_eq!(said.trim(), inspected(docker, "made", "{{.Id}}"));
        });
    });
}

#[test]
fn a_dockerfile_comes_from_standard_input_beside_its_context() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("greeting"), "hello").unwrap();
        for ignored in [None, Some("*.log\n")] {
            if let Some(ignored) = ignored {
                std::fs::write(context.join(".dockerignore"), ignored).unwrap();
            }
            docker.with_each_cli(|docker| {
                use std::io::Write;
                let mut command =
                    docker.command(&["build", "-t", "made", "-f", "-", context.to_str().unwrap()]);
                let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
                child.stdin.take().unwrap().write_all(b"FROM busybox\nCOPY greeting /\n").unwrap();
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
                assert_eq!(docker.ok(&["run", "--rm", "made", "cat", "/greeting"]), "hello");
            });
        }
    });
}

/// A file's bytes as a program packs them.
fn packed(program: &str, file: &std::path::Path) -> Vec<u8> {
    let output = Command::new(program).arg("-c").arg(file).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

#[test]
fn archives_that_xz_and_bzip2_made_are_loaded_imported_and_copied() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let saved = docker.dir.join("saved.tar");
        docker.ok(&["save", "-o", saved.to_str().unwrap(), "busybox"]);
        let fed = |args: &[&str], bytes: &[u8]| {
            use std::io::Write;
            let mut command = docker.command(args);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(bytes).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        for program in ["xz", "bzip2"] {
            assert!(fed(&["load"], &packed(program, &saved)).contains("busybox:latest"));
            fed(&["import", "-", program], &packed(program, &docker.dir.join("busybox.tar")));
            docker.ok(&["run", "--rm", program, "/bin/true"]);
            fed(&["cp", "-", "box:/tmp"], &packed(program, &docker.dir.join("busybox.tar")));
            docker.ok(&["exec", "box", "ls", "/tmp/bin/busybox"]);
            docker.ok(&["exec", "box", "rm", "-r", "/tmp/bin"]);
        }
        docker.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn what_contradicts_itself_is_refused_before_it_is_made() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "one", "busybox", "true"]);
        for (args, words) in [
            (&["create", "--memory-swap", "50m", "busybox"][..], "always set the Memory limit"),
            (&["run", "--rm", "--cpu-shares", "1", "busybox", "true"], "the minimum allowed cpu-shares is 2"),
            (&["update", "--cpu-shares", "300000", "one"], "the maximum allowed cpu-shares is 262144"),
        ] {
            let (code, _, err) = docker.run(args);
            // dockerd leaves it to the start, and to runc, what the kernel takes.
            let is_later = docker.is_peer() && args[0] == "update";
            assert!(is_later || code != 0 && err.contains(words), "{args:?}: {err}");
        }
        for (method, path, body, words) in [
            (
                "POST",
                "/containers/create",
                r#"{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":4}}}"#,
                "aximum retry count",
            ),
            (
                "POST",
                "/containers/create",
                r#"{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"volume","Target":"/x","ReadOnly":true}]}}"#,
                "must not set ReadOnly mode when using anonymous volumes",
            ),
            (
                "GET",
                "/containers/one/stats?stream=1&one-shot=1",
                "",
                "cannot have stream=true and one-shot=true",
            ),
            ("POST", "/v1.24/containers/one/start", r#"{"Binds":["/:/x"]}"#, "non-empty request body"),
        ] {
            let answer = docker.ask(method, path, body);
            assert!(answer.split(' ').nth(1) == Some("400") && answer.contains(words), "{path}: {answer}");
        }
        let (code, _, err) = docker.run(&["run", "--rm", "--tmpfs", "/x:foo", "busybox", "true"]);
        assert!(code != 0 && err.contains(r#"nvalid tmpfs option ["foo"]"#), "{err}");
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn every_refusal_is_json() {
    with_daemon(|docker| {
        let answer = docker.ask("GET", "/containers/%ff/json", "");
        assert!(answer.contains("{\"message\":\""), "{answer}");
    });
}

/// The answer to a request as it is written here, on a connection that ends with it.
fn sent(docker: &Daemon, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(&docker.socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn objects_are_named_with_words_of_the_api() {
    with_daemon(|docker| {
        docker.import_busybox();
        for name in ["json", "create", "prune"] {
            docker.ok(&["create", "--name", name, "busybox"]);
            assert_eq!(inspected(docker, name, "{{.Name}}"), format!("/{name}"));
            docker.ok(&["rm", name]);
        }
        for (kind, name) in
            ["network", "volume"].into_iter().flat_map(|kind| [(kind, "create"), (kind, "prune")])
        {
            docker.ok(&[kind, "create", name]);
            assert_eq!(docker.ok(&[kind, "inspect", "-f", "{{.Name}}", name]), format!("{name}\n"));
            docker.ok(&[kind, "rm", name]);
        }
        for name in ["json", "create", "prune", "get", "load", "search"] {
            docker.ok(&["tag", "busybox", name]);
            docker.ok(&["image", "inspect", name]);
            assert_eq!(docker.ok(&["rmi", name]), format!("Untagged: {name}:latest\n"));
        }
        for path in ["/images/x", "/images/x/unknown", "/containers/x/y/z"] {
            let answer = docker.ask("GET", path, "");
            assert!(answer.contains(" 404 ") && answer.contains("page not found"), "{path}: {answer}");
        }
    });
}

#[test]
fn a_body_is_said_to_be_json_as_it_has_to_be() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "one", "busybox", "true"]);
        let asked = |path: &str, said: &str, body: &str| {
            let length = body.len();
            let head = format!("POST {path} HTTP/1.0\r\n{said}Content-Length: {length}\r\n\r\n{body}");
            sent(docker, &head)
        };
        let of_network = r#"{"Container":"one"}"#;
        for (path, body) in [
            ("/containers/create", r#"{"Image":"busybox"}"#),
            ("/containers/one/update", "{}"),
            ("/containers/one/exec", r#"{"Cmd":["true"]}"#),
            ("/exec/x/start", "{}"),
            ("/commit?container=one", "{}"),
            ("/networks/create", r#"{"Name":"net"}"#),
            ("/networks/bridge/connect", of_network),
            ("/networks/bridge/disconnect", of_network),
            ("/volumes/create", r#"{"Name":"made"}"#),
        ] {
            for kind in ["", "text/plain", "application/x-www-form-urlencoded", ";;", "application/json;x"] {
                let said = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
                let answer = asked(path, &said, body);
                let refusal = format!("Content-Type specified ({kind}) must be 'application/json'");
                assert!(answer.contains(" 400 ") && answer.contains(&refusal), "{path} {kind}: {answer}");
            }
        }
        for kind in ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8"] {
            let answer = asked("/volumes/create", &format!("Content-Type: {kind}\r\n"), r#"{"Name":"made"}"#);
            assert!(answer.contains(" 201 "), "{kind}: {answer}");
        }
        assert!(asked("/commit?container=one", "", "").contains(" 201 "));
        docker.ok(&["volume", "rm", "made"]);
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn a_field_that_is_of_another_type_is_named() {
    with_daemon(|docker| {
        docker.import_busybox();
        for (body, field) in [
            (r#"{"Image":"busybox","Cmd":["x",1]}"#, "Cmd"),
            (r#"{"Image":"busybox","Entrypoint":{}}"#, "Entrypoint"),
            (r#"{"Image":"busybox","HostConfig":{"Memory":"x"}}"#, "HostConfig.Memory"),
            (r#"{"Image":5}"#, "Image"),
        ] {
            let answer = docker.ask("POST", "/containers/create", body);
            assert!(answer.contains(if docker.is_peer() { " 500 " } else { " 400 " }), "{answer}");
            assert!(answer.contains(field), "{field}: {answer}");
        }
        let answer = docker.ask("POST", "/volumes/create", r#"{"Labels":{"a":1}}"#);
        assert!(answer.contains("Labels"), "{answer}");
    });
}

#[test]
fn a_request_of_http_1_1_has_one_host() {
    with_daemon(|docker| {
        let asked = |head: &str| sent(docker, &format!("GET /_ping {head}Connection: close\r\n\r\n"));
        for (head, fault) in [
            ("HTTP/1.1\r\n", "missing required Host header"),
            ("HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "too many Host headers"),
        ] {
            let answer = asked(head);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            // Go's older library has no words for the second.
            assert!(docker.is_peer() || answer.contains(fault), "{answer}");
        }
        for head in ["HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1\r\nHost:\r\n", "HTTP/1.0\r\n"] {
            let answer = asked(head);
            assert!(answer.contains(" 200 OK") && answer.ends_with("OK"), "{answer}");
        }
    });
}

#[test]
fn a_directory_that_nobody_names_is_not_shown_and_not_committed() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "one", "busybox", "pwd"]);
        assert_eq!(docker.ok(&["start", "-a", "one"]), "/\n");
        assert_eq!(inspected(docker, "one", "{{json .Config.WorkingDir}}"), "\"\"");
        docker.ok(&["commit", "one", "made"]);
        assert!(!inspected(docker, "made", "{{json .Config}}").contains("\"WorkingDir\":\"/"));
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn what_has_no_terminal_is_resized_without_effect() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "plain", "busybox", "sleep", "1000"]);
        docker.ok(&["run", "-dt", "--name", "terminal", "busybox", "sleep", "1000"]);
        docker.ok(&["create", "--name", "rest", "busybox", "true"]);
        for (name, query, status) in [
            ("plain", "h=10&w=20", "200"),
            ("terminal", "h=10&w=20", "200"),
            // The kernel has 16 bits for each.
            ("terminal", "h=70000&w=99999999999", "200"),
            ("terminal", "h=x&w=1", "400"),
            ("terminal", "", "400"),
            ("rest", "h=10&w=20", "409"),
        ] {
            let answer = docker.ask("POST", &format!("/containers/{name}/resize?{query}"), "");
            assert_eq!(answer.split(' ').nth(1), Some(status), "{name} {query}: {answer}");
        }
        let made = docker.post("/containers/plain/exec", r#"{"Cmd":["sleep","1000"]}"#);
        let exec = made.split('"').nth(3).unwrap().to_owned();
        docker.post(&format!("/exec/{exec}/start"), r#"{"Detach":true}"#);
        docker.post(&format!("/exec/{exec}/resize?h=10&w=20"), "");
        docker.ok(&["rm", "-f", "plain", "terminal", "rest"]);
    });
}

//! `docker build` by BuildKit's protocol: a session beside the build.

use crate::daemon::{Daemon, with_daemon};
use crate::registry::{Registry, build as build_plainly};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with these files, to build from.
fn context(docker: &Daemon, files: &[(&str, &str)]) -> PathBuf {
    let dir = docker.dir.join("context");
    let _ = fs::remove_dir_all(&dir);
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a build that must succeed; returns what it told on standard error.
fn built(docker: &Daemon, args: &[&str]) -> String {
    let output = docker.buildkit(args).output().unwrap();
    let told = text(&output.stderr);
    assert!(output.status.success(), "docker build {args:?}: {told}{}", text(&output.stdout));
    told
}

fn fails(docker: &Daemon, args: &[&str]) -> String {
    let output = docker.buildkit(args).output().unwrap();
    assert!(!output.status.success(), "docker build {args:?} succeeds: {}", text(&output.stderr));
    text(&output.stderr)
}

fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// No directory of a build is left.
fn assert_nothing_left(docker: &Daemon) {
    if docker.is_peer() {
        return;
    }
    docker.until("the directories of builds are gone", || {
        fs::read_dir(docker.dir.join("images/contexts")).unwrap().next().is_none()
    });
}

#[test]
fn a_session_brings_the_context_and_tells_what_happens() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dockerfile = "FROM busybox AS first\nCOPY . /c\nRUN test ! -e /c/secret.txt && cat /c/dir/greeting > /g\n\
                          FROM busybox\nCOPY --from=first /g /g\nCOPY run.sh /bin/\nENTRYPOINT [\"run.sh\"]\n";
        let dir = context(
            docker,
            &[
                ("Dockerfile", dockerfile),
                (".dockerignore", "# kept out\nsecret.*\n!other\n"),
                ("dir/greeting", "hello by session\n"),
                ("secret.txt", "no\n"),
                ("run.sh", "#!/bin/sh\ncat /g; readlink /c/link || true\n"),
                ("empty", ""),
            ],
        );
        fs::set_permissions(dir.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/etc/passwd", dir.join("link")).unwrap();
        // More than a window of the connection.
        fs::write(dir.join("large"), vec![7; 6 << 20]).unwrap();
        let id_file = docker.dir.join("id");
        let args = ["-t", "by-session:1", "--iidfile", id_file.to_str().unwrap(), dir.to_str().unwrap()];
        let told = built(docker, &args);
        for words in [
            "[internal] load build definition from Dockerfile",
            "[internal] load build context",
            "transferring context: 6.",
            "COPY . /c",
            "writing image sha256:",
            "naming to docker.io/library/by-session:1",
            "DONE",
        ] {
            assert!(told.contains(words), "{words:?} is not in {told}");
        }
        assert_eq!(docker.ok(&["run", "--rm", "by-session:1"]), "hello by session\n");
        let id = docker.ok(&["images", "-q", "--no-trunc", "by-session:1"]);
        assert_eq!(fs::read_to_string(&id_file).unwrap(), id.trim());
        let again = built(docker, &["-t", "by-session:2", dir.to_str().unwrap()]);
        assert!(again.contains("CACHED"), "{again}");
        assert_eq!(docker.ok(&["images", "-q", "--no-trunc", "by-session:2"]), id);
        let quiet = docker.buildkit(&["-q", dir.to_str().unwrap()]).output().unwrap();
        assert_eq!(text(&quiet.stdout), id);
        assert_nothing_left(docker);
    });
}

#[test]
fn a_dockerfile_in_lower_case_counts_where_there_is_no_other() {
    with_daemon(|docker| {
        docker.import_busybox();
        let lower = "FROM busybox\nCOPY . /c\nRUN ls /c > /out\n";
        let rules = ".dockerignore\ndockerfile\n";
        let dir = context(docker, &[("dockerfile", lower), ("f", ""), (".dockerignore", rules)]);
        built(docker, &["-t", "lower", dir.to_str().unwrap()]);
        assert_eq!(docker.ok(&["run", "--rm", "lower", "cat", "/out"]), "f\n");
    });
}

#[test]
fn names_of_one_file_come_out_right_whichever_is_copied() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = context(docker, &[("x", "a\n"), ("Dockerfile", "")]);
        fs::hard_link(dir.join("x"), dir.join("y")).unwrap();
        docker.with_each_cli(|docker| {
            for copied in ["x", "y", "x y"] {
                let dockerfile = format!("FROM busybox\nCOPY {copied} /c/\nRUN cat /c/* >/all\n");
                fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
                for ignored in ["", "x\n", "y\n"] {
                    fs::write(dir.join(".dockerignore"), ignored).unwrap();
                    if copied.split(' ').any(|name| name == ignored.trim()) {
                        continue;
                    }
                    built(docker, &["-t", "linked", dir.to_str().unwrap()]);
                    let all = docker.ok(&["run", "--rm", "linked", "cat", "/all"]);
                    assert_eq!(
                        all,
                        "a\n".repeat(copied.split(' ').count()),
                        "{copied:?} without {ignored:?}"
                    );
                }
            }
        });
    });
}

#[test]
fn limits_of_steps_are_those_that_the_client_gives() {
    with_daemon(|docker| {
        docker.import_busybox();
        let step = "RUN df -k /dev/shm | tail -n 1 | awk '{ print $2 }' >/said; ulimit -n >>/said";
        let dir = context(docker, &[("Dockerfile", &format!("FROM busybox\n{step}\n"))]);
        let dir = dir.to_str().unwrap();
        built(docker, &["--shm-size", "3m", "--ulimit", "nofile=77:99", "-t", "limited", dir]);
        assert_eq!(docker.ok(&["run", "--rm", "limited", "cat", "/said"]), "3072\n77\n");
        let told = fails(docker, &["--memory", "20m", dir]);
        assert!(told.contains("memory"), "{told}");
    });
}

#[test]
fn a_build_that_fails_says_where_and_why() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = context(docker, &[("Dockerfile", "FROM busybox\nRUN echo before; exit 9\n")]);
        let told = fails(docker, &[dir.to_str().unwrap()]);
        assert!(told.contains("before") && told.replace("code:", "code").contains("exit code 9"), "{told}");
        let told = fails(docker, &["-f", "missing", dir.to_str().unwrap()]);
        assert!(told.contains("missing"), "{told}");
        let dir = context(docker, &[("Dockerfile", "FROM busybox\nCOPY absent /\n")]);
        let told = fails(docker, &[dir.to_str().unwrap()]);
        assert!(told.contains("absent"), "{told}");
        if !docker.is_peer() {
            let told = fails(docker, &["--network", "mine", dir.to_str().unwrap()]);
            assert!(told.contains("the network \"mine\" for a build is unimplemented"), "{told}");
        }
        assert_nothing_left(docker);
    });
}

#[test]
fn options_reach_the_build() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dockerfile = "FROM busybox AS one\nARG WHO=nobody\nRUN echo $WHO > /who\n\
                          RUN grep -E '^10.9.8.7[[:space:]]+far$' /etc/hosts > /far\n\
                          RUN ip link | grep -c ^[0-9] > /links\nFROM one AS two\nRUN echo two > /two\n";
        let dir = context(docker, &[("sub/file.df", dockerfile)]);
        let file = dir.join("sub/file.df");
        let args = |extra: &[&str]| {
            let mut args = vec!["--add-host", "far:10.9.8.7", "-f", file.to_str().unwrap(), "-t", "opted"];
            args.extend(extra);
            args.push(dir.to_str().unwrap());
            args.into_iter().map(str::to_owned).collect::<Vec<String>>()
        };
        let run = |extra: &[&str]| {
            let args = args(extra);
            built(docker, &args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        run(&["--build-arg", "WHO=me", "--label", "a=b", "--target", "one", "--network", "none"]);
        assert_eq!(docker.ok(&["run", "--rm", "opted", "cat", "/who", "/links"]), "me\n1\n");
        assert_eq!(docker.ok(&["inspect", "-f", "{{.Config.Labels.a}}", "opted"]), "b\n");
        assert!(!docker.output(&["run", "--rm", "opted", "cat", "/two"]).status.success());
        run(&["--cache-from", "opted"]);
        assert_eq!(docker.ok(&["run", "--rm", "opted", "cat", "/who", "/links"]), "nobody\n2\n");
        let cached = |told: &str| told.matches("CACHED").count();
        assert!(cached(&run(&[])) >= 4);
        // BuildKit counts the base image.
        assert_eq!(cached(&run(&["--no-cache"])), usize::from(docker.is_peer()));
        run(&["--platform", "linux/amd64"]);
        // The classic protocol knows it too.
        let arguments = args(&["--target", "one"]);
        let plain: Vec<&str> = arguments.iter().map(String::as_str).collect();
        docker.ok(&[&["build"], plain.as_slice()].concat());
    });
}

#[test]
fn secrets_and_the_ssh_agent_are_lent_and_never_kept() {
    with_daemon(|docker| {
        docker.import_busybox();
        let program = ssh_client(docker);
        let dockerfile = "FROM busybox\nCOPY ask /bin/ask\n\
                          RUN --mount=type=secret,id=word,required=true wc -c < /run/secrets/word > /length\n\
                          RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n\
                          RUN --mount=type=ssh ask > /keys\n";
        let dir = context(docker, &[("Dockerfile", dockerfile), ("word", "open sesame")]);
        fs::copy(program, dir.join("ask")).unwrap();
        fs::write(dir.join(".dockerignore"), "word\n").unwrap();
        let agent = docker.dir.join("agent.sock");
        let mut process = Command::new("ssh-agent")
            .args(["-D", "-a", agent.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent; is the package openssh-client installed?");
        docker.until("the agent listens", || agent.exists());
        let secret = format!("id=word,src={}", dir.join("word").display());
        let ssh = format!("default={}", agent.display());
        built(docker, &["-t", "lent", "--secret", &secret, "--ssh", &ssh, dir.to_str().unwrap()]);
        assert_eq!(docker.ok(&["run", "--rm", "lent", "cat", "/length", "/keys"]), "11\nanswer 12, keys 0\n");
        let saved = docker.output(&["save", "lent"]).stdout;
        assert!(!saved.windows(11).any(|bytes| bytes == b"open sesame"), "the secret is in the image");
        let told = fails(docker, &["--no-cache", "--ssh", &ssh, dir.to_str().unwrap()]);
        assert!(told.contains("word"), "{told}");
        process.kill().unwrap();
        process.wait().unwrap();
        assert_nothing_left(docker);
    });
}

/// A program that asks the agent for its keys; 11 is the question, 12 the answer.
fn ssh_client(docker: &Daemon) -> PathBuf {
    let source = r#"
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        #include <unistd.h>
        int main(void) {
            struct sockaddr_un to = {.sun_family = AF_UNIX};
            strncpy(to.sun_path, getenv("SSH_AUTH_SOCK"), sizeof to.sun_path - 1);
            int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(fd, (struct sockaddr *)&to, sizeof to)) return 1;
            if (write(fd, "\0\0\0\1\13", 5) != 5) return 2;
            unsigned char answer[9];
            for (size_t had = 0; had < sizeof answer;) {
                ssize_t more = read(fd, answer + had, sizeof answer - had);
                if (more <= 0) return 3;
                had += more;
            }
            printf("answer %d, keys %d\n", answer[4], answer[8]);
            return 0;
        }"#;
    let (file, program) = (docker.dir.join("ask.c"), docker.dir.join("ask"));
    fs::write(&file, source).unwrap();
    let made = Command::new("cc").arg("-static").arg("-o").arg(&program).arg(&file).status().unwrap();
    assert!(made.success());
    program
}

#[test]
fn results_go_to_the_client_as_files() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dockerfile = "FROM busybox AS b\nRUN mkdir -p /out/a && seq 200000 > /out/a/many && ln -s many /out/a/link \
                          && ln /out/a/many /out/twin && chmod 750 /out/a && touch /out/none\nFROM scratch\nCOPY --from=b /out /\n";
        let dir = context(docker, &[("Dockerfile", dockerfile)]);
        let dest = docker.dir.join("dest");
        let output = format!("type=local,dest={}", dest.display());
        let told = built(docker, &["--output", &output, dir.to_str().unwrap()]);
        assert!(told.contains("exporting to client") && told.contains("copying files"), "{told}");
        let many: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(fs::read_to_string(dest.join("a/many")).unwrap(), many);
        assert_eq!(fs::read_to_string(dest.join("twin")).unwrap(), many);
        assert_eq!(fs::read_link(dest.join("a/link")).unwrap(), Path::new("many"));
        assert_eq!(fs::metadata(dest.join("none")).unwrap().len(), 0);
        assert_eq!(fs::metadata(dest.join("a")).unwrap().permissions().mode() & 0o7777, 0o750);
        let tar = docker.dir.join("result.tar");
        let output = format!("type=tar,dest={}", tar.display());
        built(docker, &["--output", &output, dir.to_str().unwrap()]);
        let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
        let listed = text(&listed.stdout);
        assert!(listed.contains("a/many\n") && listed.contains("twin\n"), "{listed}");
        let piped = docker.buildkit(&["-o", "-", dir.to_str().unwrap()]).output().unwrap();
        assert_eq!(piped.stdout.len() as u64, fs::metadata(&tar).unwrap().len(), "{}", text(&piped.stderr));
        assert!(docker.ok(&["images", "-q", "scratch"]).is_empty());
        assert_nothing_left(docker);
    });
}

#[test]
fn contexts_and_dockerfiles_come_from_standard_input_and_addresses() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = context(docker, &[("Dockerfile", "FROM busybox\nCOPY file /f\n"), ("file", "piped\n")]);
        let tar = Command::new("tar").arg("-C").arg(&dir).args(["-czf", "-", "."]).output().unwrap().stdout;
        let done = fed(docker.buildkit(&["-t", "piped", "-"]), &tar);
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(docker.ok(&["run", "--rm", "piped", "cat", "/f"]), "piped\n");
        let done = fed(docker.buildkit(&["-t", "alone", "-"]), b"FROM busybox\nRUN echo alone > /f\n");
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(docker.ok(&["run", "--rm", "alone", "cat", "/f"]), "alone\n");
        let other = b"FROM busybox\nCOPY file /other\n";
        let done = fed(docker.buildkit(&["-t", "other", "-f", "-", dir.to_str().unwrap()]), other);
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(docker.ok(&["run", "--rm", "other", "cat", "/other"]), "piped\n");
        let address = crate::control::serve("FROM busybox\nRUN echo remote > /f\n");
        built(docker, &["-t", "remote", &address]);
        assert_eq!(docker.ok(&["run", "--rm", "remote", "cat", "/f"]), "remote\n");
        assert_nothing_left(docker);
    });
}

#[test]
fn base_images_are_pulled_with_the_clients_credentials() {
    with_daemon(|docker| {
        let registry = Registry::start(docker, "private", true);
        let name = format!("{}/base:v1", registry.host);
        build_plainly(docker, &name);
        docker.ok(&["login", "-u", "captain", "-p", "open sesame", &registry.host]);
        docker.ok(&["push", &name]);
        docker.ok(&["rmi", "-f", &name]);
        let dir = context(docker, &[("Dockerfile", &format!("FROM {name}\nRUN cat /cargo > /c\n"))]);
        built(docker, &["-t", "on-private", dir.to_str().unwrap()]);
        assert_eq!(docker.ok(&["run", "--rm", "on-private", "cat", "/c"]), "shipped\n");
        docker.ok(&["logout", &registry.host]);
        docker.ok(&["rmi", "-f", &name, "on-private"]);
        docker.ok(&["builder", "prune", "-af"]);
        docker.ok(&["image", "prune", "-af"]);
        let told = fails(docker, &["--pull", dir.to_str().unwrap()]);
        let words = if docker.is_peer() { "401 Unauthorized" } else { "authentication required" };
        assert!(told.contains(words), "{told}");
    });
}

#[test]
fn a_client_that_goes_takes_its_build_along() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = context(docker, &[("Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n")]);
        let mut client = docker
            .buildkit(&[dir.to_str().unwrap()])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = client.stderr.take().unwrap();
        let (mut seen, mut buffer) = (String::new(), [0; 4096]);
        while !seen.contains(" begun") {
            let read = told.read(&mut buffer).unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&text(&buffer[..read]));
        }
        client.kill().unwrap();
        client.wait().unwrap();
        assert_nothing_left(docker);
    });
}

/// A request with nothing behind it; its answer's first line.
fn asked(docker: &Daemon, path: &str, headers: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(&docker.socket).unwrap();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 0\r\n\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n") && stream.read(&mut byte).unwrap() > 0 {
        head.push(byte[0]);
    }
    (stream, text(&head).trim().to_owned())
}

#[test]
fn half_a_session_is_refused_or_forgotten() {
    with_daemon(|docker| {
        let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
        let named = |id: &str| format!("{upgrade}X-Docker-Expose-Session-Uuid: {id}\r\n");
        let status = |path: &str, headers: &str| asked(docker, path, headers).1;
        assert_eq!(status("/session", ""), "HTTP/1.1 400 Bad Request");
        assert_eq!(status("/session", upgrade), "HTTP/1.1 400 Bad Request");
        let (first, answer) = asked(docker, "/session", &named("one"));
        assert_eq!(answer, "HTTP/1.1 101 Switching Protocols");
        assert_eq!(status("/session", &named("one")), "HTTP/1.1 409 Conflict");
        drop(first);
        docker.until("a session that is gone gives its id back", || {
            status("/session", &named("one")).ends_with("101 Switching Protocols")
        });
        // What speaks no HTTP/2 loses its connection.
        let (mut stream, _) = asked(docker, "/session", &named("two"));
        stream.write_all(&[b'x'; 4096]).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        docker.until("nonsense frees its place", || {
            status("/session", &named("two")).ends_with("101 Switching Protocols")
        });
    });
}

#[test]
fn a_build_that_nobody_knows_is_as_good_as_cancelled() {
    with_daemon(|docker| {
        let status = |path: &str| asked(docker, path, "").1;
        assert_eq!(status("/build/cancel?id=nobody"), "HTTP/1.1 200 OK");
        // dockerd calls it a fault of its own.
        let nameless = if docker.is_peer() { "500 Internal Server Error" } else { "400 Bad Request" };
        assert_eq!(status("/build/cancel"), format!("HTTP/1.1 {nameless}"));
    });
}

#[test]
fn a_tar_names_no_file_of_the_machine_and_no_pipe_is_waited_for() {
    with_daemon(|docker| {
        // The peer waits for the pipe.
        if docker.is_peer() {
            return;
        }
        let dir = context(docker, &[("Dockerfile", "FROM scratch\nCOPY Dockerfile /d\n")]);
        fs::write(docker.dir.join("secret"), "whispered\n").unwrap();
        symlink("../secret", dir.join("out")).unwrap();
        symlink("..", dir.join("d")).unwrap();
        assert!(Command::new("mkfifo").arg(dir.join("Dockerfile.dockerignore")).status().unwrap().success());
        let tar = Command::new("tar").arg("-C").arg(&dir).args(["-cf", "-", "."]).output().unwrap().stdout;
        for (name, part) in [
            ("out", "Cannot locate specified Dockerfile: out"),
            ("d/secret", "Cannot locate specified Dockerfile: d/secret"),
            ("Dockerfile.dockerignore", "Cannot locate specified Dockerfile: Dockerfile.dockerignore"),
            ("Dockerfile", "it is a FIFO and no regular file"),
        ] {
            let output = fed(docker.buildkit(&["-f", name, "-"]), &tar);
            let told = text(&output.stderr);
            assert!(!output.status.success() && told.contains(part), "{name}: {told}");
            assert!(!told.contains("whispered"), "{name}: {told}");
        }
        assert_nothing_left(docker);
    });
}

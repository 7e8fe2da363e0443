//! Pull, push and log in, with the distribution project's own registry on the other side.

use crate::daemon::{Daemon, with_daemon};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// `captain` with the password `open sesame`.
const USERS: &str = "captain:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// A registry in this test's network namespace, ended with the test.
pub struct Registry {
    process: Child,
    pub host: String,
}

impl Registry {
    pub fn start(docker: &Daemon, name: &str, wants_password: bool) -> Self {
        let dir = docker.dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        let mut config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {0}/data}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            dir.display()
        );
        if wants_password {
            std::fs::write(dir.join("users"), USERS).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}/users}}}}\n", dir.display()));
        }
        let file: PathBuf = dir.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("docker-registry; is its package installed?");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let host = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended: {said}");
            said.push_str(&line);
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().trim().to_owned();
            }
        };
        // Its log is read on, or it would wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An image with a layer of its own on top of busybox.
pub fn build(docker: &Daemon, name: &str) {
    docker.import_busybox();
    let context = docker.dir.join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nRUN echo shipped > /cargo\nCMD [\"cat\", \"/cargo\"]\n",
    )
    .unwrap();
    docker.ok(&["build", "-q", "-t", name, context.to_str().unwrap()]);
}

#[test]
fn what_is_pushed_is_pulled_again_and_runs() {
    with_daemon(|docker| {
        let registry = Registry::start(docker, "registry", false);
        let name = format!("{}/team/app:v1", registry.host);
        build(docker, &name);
        docker.with_each_cli(|docker| {
            let pushed = docker.ok(&["push", &name]);
            let first = format!("The push refers to repository [{}/team/app]", registry.host);
            assert!(pushed.contains(&first), "{pushed}");
            let line = pushed.lines().find(|line| line.starts_with("v1: digest: sha256:")).unwrap();
            let digest = line.split_whitespace().nth(2).unwrap().to_owned();
            assert!(line.split_whitespace().nth(4).unwrap().parse::<u64>().unwrap() > 100, "{line}");
            assert!(docker.ok(&["push", &name]).contains("Layer already exists"));

            docker.ok(&["rmi", &name]);
            docker.ok(&["image", "prune", "-f"]);
            docker.ok(&["builder", "prune", "-af"]);
            let pulled = docker.ok(&["pull", &name]);
            for words in [
                "v1: Pulling from team/app",
                &format!("Digest: {digest}"),
                &format!("Status: Downloaded newer image for {name}"),
                &name,
            ] {
                assert!(pulled.contains(words), "{words} is not in {pulled}");
            }
            assert!(pulled.contains(": Pull complete") || pulled.contains(": Already exists"), "{pulled}");
            assert_eq!(docker.ok(&["run", "--rm", &name]), "shipped\n");
            let again = docker.ok(&["pull", &name]);
            assert!(again.contains("Status: Image is up to date for "), "{again}");
            let pinned = format!("{}/team/app@{digest}", registry.host);
            assert!(docker.ok(&["pull", "-q", &pinned]).contains(&digest));
            assert_eq!(docker.ok(&["run", "--rm", &pinned]), "shipped\n");
        });
        docker.ok(&["rmi", "-f", docker.ok(&["images", "-q", &name]).lines().next().unwrap()]);
        // One that is not here is pulled by run.
        assert!(docker.ok(&["run", "--rm", &name]).ends_with("shipped\n"));
        let events = docker.ok(&[
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "type=image",
            "--format",
            "{{.Action}}",
        ]);
        assert!(events.contains("push\n") && events.contains("pull\n"), "{events}");
    });
}

#[test]
fn all_tags_go_and_come() {
    with_daemon(|docker| {
        let registry = Registry::start(docker, "registry", false);
        let repository = format!("{}/fleet", registry.host);
        docker.import_busybox();
        for tag in ["one", "two"] {
            docker.ok(&["tag", "busybox", &format!("{repository}:{tag}")]);
        }
        docker.with_each_cli(|docker| {
            let pushed = docker.ok(&["push", "-a", &repository]);
            assert!(pushed.contains("one: digest: ") && pushed.contains("two: digest: "), "{pushed}");
            docker.ok(&["rmi", &format!("{repository}:one"), &format!("{repository}:two")]);
            docker.ok(&["pull", "-a", &repository]);
            assert_eq!(docker.ok(&["images", "-q", &repository]).lines().count(), 2);
        });
    });
}

#[test]
fn what_is_not_there_and_who_is_not_known_is_said_in_one_line() {
    with_daemon(|docker| {
        let open = Registry::start(docker, "open", false);
        let closed = Registry::start(docker, "closed", true);
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let fails = |args: &[&str]| {
                let (code, out, err) = docker.run(args);
                assert_ne!(code, 0, "{args:?}: {out}");
                err
            };
            let missing = format!("{}/nothing:v9", open.host);
            assert!(fails(&["pull", &missing]).contains("nothing"), "{}", fails(&["pull", &missing]));
            let err = fails(&["push", &missing]);
            assert!(err.to_lowercase().contains("does not exist locally"), "{err}");
            let hidden = format!("{}/secret:v1", closed.host);
            let err = fails(&["pull", &hidden]);
            if docker.is_peer() {
                return;
            }
            assert!(err.contains("pull access denied"), "{err}");
            docker.ok(&["tag", "busybox", &hidden]);
            let err = fails(&["push", &hidden]);
            assert!(err.contains("refuses") && err.contains(&closed.host), "{err}");
            let gone = "127.0.0.1:1/nothing:v1";
            let err = fails(&["pull", gone]);
            assert!(err.contains("cannot connect to registry 127.0.0.1:1"), "{err}");
        });
    });
}

#[test]
fn who_logs_in_may_push_and_pull() {
    with_daemon(|docker| {
        let registry = Registry::start(docker, "registry", true);
        let name = format!("{}/secret:v1", registry.host);
        docker.import_busybox();
        docker.ok(&["tag", "busybox", &name]);
        docker.with_each_cli(|docker| {
            let login = |password: &str| {
                let args = ["login", "-u", "captain", "--password-stdin", &registry.host];
                let mut child = docker
                    .command(&args)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
                let output = child.wait_with_output().unwrap();
                (output.status.success(), String::from_utf8(output.stderr).unwrap())
            };
            let (is_in, err) = login("wrong");
            assert!(!is_in && err.to_lowercase().contains("unauthorized"), "{err}");
            assert!(!err.contains("wrong"), "the password is shown: {err}");
            let (is_in, err) = login("open sesame");
            assert!(is_in, "{err}");
            assert!(docker.ok(&["push", &name]).contains("v1: digest: "));
            docker.ok(&["rmi", &name]);
            assert!(docker.ok(&["pull", &name]).contains("Downloaded newer image"));
            docker.ok(&["logout", &registry.host]);
            assert_ne!(docker.run(&["pull", &name]).0, 0);
        });
        // Old clients send an address of mail too.
        let who = format!(
            r#"{{"username":"captain","password":"open sesame","email":"a@b.org","serveraddress":"{}"}}"#,
            registry.host
        );
        assert!(docker.post("/auth", &who).contains("Login Succeeded"));
    });
}

#[test]
fn the_distribution_of_a_name_is_told_without_pulling_it() {
    with_daemon(|docker| {
        let registry = Registry::start(docker, "registry", false);
        let name = format!("{}/app:v1", registry.host);
        docker.import_busybox();
        docker.ok(&["tag", "busybox", &name]);
        let pushed = docker.ok(&["push", &name]);
        docker.ok(&["rmi", &name]);
        let get = |path: &str| {
            let output = Command::new("curl")
                .args([
                    "-sS",
                    "--unix-socket",
                    docker.socket.to_str().unwrap(),
                    &format!("http://engine/v1.41{path}"),
                ])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let told = get(&format!("/distribution/{name}/json"));
        let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
        assert!(
            told.contains(&format!("\"digest\":\"{digest}\"")) && told.contains("\"os\":\"linux\""),
            "{told}"
        );
        assert!(get(&format!("/distribution/{}/none:v1/json", registry.host)).contains("message"));
    });
}

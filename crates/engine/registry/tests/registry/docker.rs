//! The docker command line with a real dockerd: login, push, pull.

use crate::support::{Fixture, run};
use hako_registry::config::AuthConfig;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A daemon in directories of its own, without networks: it only moves images.
struct Daemon {
    child: Child,
    dir: PathBuf,
}

impl Daemon {
    fn start(dir: &Path) -> Self {
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        let child = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["-H", &format!("unix://{}", path("sock")), "--storage-driver", "vfs"])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("dockerd: {error}; run scripts/setup"));
        let mut daemon = Self { child, dir: dir.to_path_buf() };
        while !daemon.command(&["version"]).output().unwrap().status.success() {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(daemon.child.try_wait().unwrap().is_none(), "dockerd ended: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        daemon
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["--config", &self.dir.join("config").display().to_string()]);
        command.args(["-H", &format!("unix://{}/sock", self.dir.display())]).args(arguments);
        command
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "docker {arguments:?}: {text}");
        text
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its containerd too.
        run("kill", &[&self.child.id().to_string()]);
        self.child.wait().unwrap();
    }
}

#[test]
fn docker_logs_in_pushes_and_pulls() {
    let work = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(work.path());
    let source = work.path().join("source");
    crate::skopeo::layout(&source, b"from docker");
    let archive = work.path().join("image.tar").display().to_string();
    run(
        "skopeo",
        &["copy", &format!("oci:{}", source.display()), &format!("docker-archive:{archive}:app:v1")],
    );
    daemon.docker(&["load", "-i", &archive]);

    for is_token in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let htpasswd = dir.path().join("htpasswd");
        std::fs::write(&htpasswd, format!("alice:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
        let registry = Fixture::start_in(dir, |config| {
            config.auth = if is_token {
                AuthConfig::Token {
                    htpasswd,
                    service: "test".into(),
                    issuer: "test".into(),
                    realm: None,
                    lifetime: std::time::Duration::from_secs(300),
                }
            } else {
                AuthConfig::Basic { htpasswd, realm: "test".into() }
            };
        });
        let image = format!("{}/team/app:v1", registry.host());
        daemon.docker(&["tag", "app:v1", &image]);
        assert!(
            !daemon.command(&["push", &image]).output().unwrap().status.success(),
            "nobody has logged in"
        );
        daemon.docker(&["login", "-u", "alice", "-p", "secret", &registry.host()]);
        daemon.docker(&["push", &image]);
        let id = daemon.docker(&["inspect", "-f", "{{.Id}}", &image]);
        daemon.docker(&["rmi", &image]);
        daemon.docker(&["pull", &image]);
        assert_eq!(daemon.docker(&["inspect", "-f", "{{.Id}}", &image]), id);
        let other = format!("{}/team/other:v1", registry.host());
        daemon.docker(&["tag", &image, &other]);
        assert!(daemon.docker(&["push", &other]).contains("Mounted from team/app"), "the layer is mounted");
    }
}

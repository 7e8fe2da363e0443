//! docker-compose, as Debian has it, with a file that a person would write.

use crate::daemon::{Daemon, with_daemon};
use std::process::{Command, Stdio};

const FILE: &str = r#"
services:
  store:
    build: ./store
    volumes: [kept:/kept]
    networks: {back: {aliases: [shelf]}}
    healthcheck:
      test: ["CMD", "test", "-e", "/kept/index.html"]
      interval: 100ms
      timeout: 5s
      retries: 100
  web:
    image: busybox
    command: sh -c 'wget -qO /index.html http://shelf/ && echo fetched $$GREETING && exec httpd -f -h /'
    depends_on:
      store: {condition: service_healthy}
    environment: {GREETING: "${GREETING:-hello}"}
    networks: [back, front]
    ports: ["127.0.0.1::80"]
    stop_grace_period: 0s
    init: true
networks:
  back:
  front:
volumes:
  kept: {labels: {kind: pages}}
"#;

const DOCKERFILE: &str = "FROM busybox\nSTOPSIGNAL KILL\nCMD [\"sh\", \"-c\", \"echo page >>/kept/index.html; exec httpd -f -h /kept\"]\n";

/// Standard output and error of a command that must succeed.
fn compose(docker: &Daemon, greeting: &str, args: &[&str]) -> String {
    let mut command = Command::new("docker-compose");
    command.envs(docker.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    // It reads what API 1.45 took out of images, here as with Docker.
    command.env("COMPOSE_API_VERSION", "1.41");
    command.env("GREETING", greeting).env("HOME", &docker.dir).current_dir(docker.dir.join("shop"));
    let output = command.args(["--ansi", "never"]).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "docker-compose {args:?}: {text}");
    text
}

fn fetch(address: &str) -> String {
    use std::io::{Read, Write};
    let mut answer = String::new();
    if let Ok(mut stream) = std::net::TcpStream::connect(address) {
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

#[test]
fn a_project_goes_up_is_looked_at_changed_and_taken_down() {
    with_daemon(|docker| {
        docker.import_busybox();
        let shop = docker.dir.join("shop");
        std::fs::create_dir_all(shop.join("store")).unwrap();
        std::fs::write(shop.join("docker-compose.yml"), FILE).unwrap();
        std::fs::write(shop.join("store/Dockerfile"), DOCKERFILE).unwrap();
        compose(docker, "hello", &["up", "-d"]);
        let shown = compose(docker, "hello", &["ps"]);
        assert!(shown.contains("Up (healthy)") && shown.contains("->80/tcp"), "{shown}");
        let web = compose(docker, "hello", &["port", "web", "80"]);
        docker.until("the page of the other service is there", || fetch(web.trim()).ends_with("page\n"));
        let logs = compose(docker, "hello", &["logs", "web"]);
        assert!(logs.contains("fetched hello"), "{logs}");
        assert_eq!(compose(docker, "hello", &["exec", "-T", "web", "cat", "/index.html"]), "page\n");
        let once =
            compose(docker, "hello", &["run", "--rm", "--no-deps", "web", "wget", "-qO-", "http://store/"]);
        assert!(once.contains("page\n"), "{once}");
        let top = compose(docker, "hello", &["top", "store"]);
        assert!(top.contains("httpd"), "{top}");
        let images = compose(docker, "hello", &["images"]);
        assert!(images.contains("shop_store"), "{images}");

        // A changed service is made anew, the others stay; the volume keeps what it has.
        let store = compose(docker, "hello", &["ps", "-q", "store"]);
        let before = compose(docker, "hello", &["ps", "-q", "web"]);
        compose(docker, "good morning", &["up", "-d"]);
        assert_eq!(compose(docker, "good morning", &["ps", "-q", "store"]), store);
        assert_ne!(compose(docker, "good morning", &["ps", "-q", "web"]), before);
        docker.until("the new one has fetched", || {
            compose(docker, "good morning", &["logs", "web"]).contains("fetched good morning")
        });
        compose(docker, "good morning", &["restart", "store"]);
        compose(docker, "good morning", &["pause", "store"]);
        compose(docker, "good morning", &["unpause", "store"]);
        compose(docker, "good morning", &["up", "-d", "--scale", "web=2"]);
        assert_eq!(compose(docker, "good morning", &["ps", "-q", "web"]).lines().count(), 2);
        compose(docker, "good morning", &["stop", "web"]);
        compose(docker, "good morning", &["rm", "-f", "web"]);

        compose(docker, "good morning", &["down", "-v", "--rmi", "local"]);
        assert_eq!(docker.ok(&["ps", "-aq"]), "");
        assert_eq!(docker.ok(&["volume", "ls", "-q"]), "");
        assert_eq!(docker.ok(&["network", "ls", "-q", "--filter", "type=custom"]), "");
        assert_eq!(docker.ok(&["images", "-q", "shop_store"]), "");
    });
}

//! `hako up --only engine`: containers without a cluster.

use crate::platform::{Platform, enter_network_namespace, output, run};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

#[test]
fn the_engine_runs_without_a_cluster_and_says_so_to_who_asks_for_one() {
    enter_network_namespace();
    let mut platform = Platform::start_here("127.0.0.1:0");
    platform.run(&["image", "import-busybox"]);
    platform.run(&["run", "-d", "--name", "kept", "busybox", "sleep", "1000"]);
    let (kept, api) = (platform.container_processes(), platform.listen().to_owned());
    platform.kill();

    run(platform.hako().args(["up", "--detach", "--only", "engine"]));
    assert_eq!(platform.container_processes(), kept, "the container was not adopted");
    assert!(platform.run(&["ps"]).contains("kept"));
    assert_eq!(platform.run(&["run", "--rm", "busybox", "echo", "hello"]), "hello\n");
    assert!(TcpStream::connect(&api).is_err(), "something serves the Kubernetes API");
    assert!(platform.server().get("api").is_none(), "{}", platform.server());
    let host = format!("unix://{}", platform.server()["engine_socket"].as_str().unwrap());
    for command in [&mut platform.hako(), platform.hako().env("HAKO_HOST", host)] {
        let asked = output(command.args(["get", "pods"]));
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(!asked.status.success() && said.contains("without --only"), "{said}");
    }

    platform.kill();
    platform.up();
    assert_eq!(platform.container_processes(), kept);
    platform.kubectl(&["get", "nodes"]);
    platform.down();
}

#[test]
fn down_removes_the_sockets_for_docker_also_after_a_crash() {
    let platform = Platform::start();
    platform.kill();
    let socket = platform.data_dir().with_file_name("docker.sock");
    run(platform.hako().args(["up", "--detach", "--only", "engine", "--docker-socket"]).arg(&socket));
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
    platform.kill();
    assert!(socket.exists(), "a crash removes nothing");
    platform.run(&["down"]);
    assert!(!socket.exists());
    platform.down();
}

#[test]
fn directories_of_devices_are_those_that_are_named_and_the_last_counts() {
    let platform = Platform::with_busybox();
    platform.kill();
    let scratch = tempfile::tempdir().unwrap();
    let describe = |dir: &str, name: &str| {
        let env = format!("FROM={dir}");
        let device = serde_json::json!({"name": name, "containerEdits": {"env": [env]}});
        let spec = serde_json::json!({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [device]});
        std::fs::create_dir_all(scratch.path().join(dir)).unwrap();
        std::fs::write(scratch.path().join(dir).join(format!("{name}.json")), spec.to_string()).unwrap();
    };
    describe("first", "all");
    describe("first", "0");
    describe("second", "all");
    let mut up = platform.hako();
    up.current_dir(scratch.path()).args([
        "up",
        "--detach",
        "--only",
        "engine",
        "--cdi-dir",
        "first",
        "--cdi-dir",
    ]);
    run(up.arg(scratch.path().join("second")));
    let socket = platform.server()["engine_socket"].as_str().unwrap().to_owned();
    let docker = |arguments: &[&str]| {
        run(Command::new("docker").arg("--host").arg(format!("unix://{socket}")).args(arguments))
    };
    for (asked, from) in [("all", "second\n"), ("device=0", "first\n")] {
        assert_eq!(docker(&["run", "--rm", "--gpus", asked, "busybox", "sh", "-c", "echo $FROM"]), from);
    }
    platform.down();
}

/// What packets of the host meet.
fn ruleset() -> String {
    String::from_utf8(output(Command::new("nft").args(["list", "ruleset"])).stdout).unwrap()
}

#[test]
fn the_host_s_firewall_decides_where_it_is_asked_to_and_down_leaves_nothing_of_it() {
    enter_network_namespace();
    let platform = Platform::start_here("127.0.0.1:0");
    platform.kill();
    let up = || run(platform.hako().args(["up", "--detach", "--only", "engine", "--firewall", "host"]));
    up();
    platform.run(&["image", "import-busybox"]);
    platform.run(&["run", "-d", "-p", "18480:80", "busybox", "httpd", "-f", "-p", "80"]);
    let is_there = || {
        let rules = ruleset();
        assert!(rules.contains("-door") && rules.contains("18480"), "{rules}");
        // It may still be about to listen.
        let answers =
            || TcpStream::connect("127.0.0.1:18480").is_ok() && TcpStream::connect("[::1]:18480").is_ok();
        assert!((0..200).any(|_| answers() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }));
    };
    is_there();
    platform.kill();
    up();
    is_there();
    platform.kill();
    run(platform.hako().args(["up", "--detach", "--only", "engine"]));
    assert!(!ruleset().contains("-door"));
    platform.kill();
    up();
    platform.down();
    assert!(!ruleset().contains("hako"), "{}", ruleset());
}

#[test]
fn what_only_a_cluster_has_is_refused_beside_it() {
    for option in [["--kubeconfig", "/nowhere"], ["--node-name", "n"], ["--listen", "127.0.0.1:0"]] {
        let mut command = std::process::Command::new(crate::platform::HAKO);
        let refused = output(command.args(["up", "--only", "engine"]).args(option));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(option[0]), "{said}");
    }
}

#[test]
fn a_socket_is_asked_for_by_its_own_option_not_by_the_one_that_finds_a_platform() {
    let dir = tempfile::tempdir().unwrap();
    let host = format!("unix://{}/docker.sock", dir.path().display());
    for words in [["up", "--host", &host], ["--host", &host, "up"]] {
        let mut command = std::process::Command::new(crate::platform::HAKO);
        let refused = output(command.args(words).arg("--data-dir").arg(dir.path().join("data")));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("--docker-socket {}/docker.sock", dir.path().display())), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_engine_has_as_many_descriptors_as_it_may_and_programs_what_it_was_given() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let given = Rlimit { current: Some(1024), maximum: hard };
    setrlimit(Resource::Nofile, given).unwrap();
    enter_network_namespace();
    let platform = Platform::start_here("127.0.0.1:0");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", platform.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = hard.map_or("unlimited".to_owned(), |hard| hard.to_string());
    let found: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(found, [&hard, &hard]);
    platform.run(&["image", "import-busybox"]);
    let asks = "ulimit -Sn; ulimit -Hn";
    let expected = format!("1024\n{hard}\n");
    assert_eq!(platform.run(&["run", "--rm", "busybox", "sh", "-c", asks]), expected);
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), format!("FROM busybox\nRUN ({asks}) > /limits\n"))
        .unwrap();
    platform.run(&["build", "-t", "asked", context.path().to_str().unwrap()]);
    assert_eq!(platform.run(&["run", "--rm", "asked", "cat", "/limits"]), expected);
    platform.down();
}

/// What `docker save` writes of an image with one layer that has a name which begins with `/`.
fn absolute_archive(scratch: &std::path::Path) {
    let script = r#"echo x > x && tar -P --transform 's|^x|/etc/x|' -cf layer.tar x
        printf '{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
            $(sha256sum layer.tar | cut -d ' ' -f 1) > c.json
        printf '[{"Config":"c.json","RepoTags":["absolute:1"],"Layers":["layer.tar"]}]' > manifest.json
        tar -cf image.tar manifest.json c.json layer.tar"#;
    run(Command::new("sh").args(["-ec", script]).current_dir(scratch));
}

#[test]
fn layers_with_absolute_names_are_taken_where_that_is_allowed_and_refused_elsewhere() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    absolute_archive(scratch.path());
    let archive = scratch.path().join("image.tar").display().to_string();
    let refused = output(platform.hako().args(["load", "-i", &archive]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    for part in ["layer.tar", "\"/etc/x\"", "--allow-in-layers absolute-names"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(platform.run(&["--output", "name", "images"]), "");
    platform.kill();

    run(platform.hako().args(["up", "--detach", "--only", "engine", "--allow-in-layers", "absolute-names"]));
    platform.run(&["load", "-i", &archive]);
    assert!(platform.run(&["images"]).contains("absolute"));
    platform.down();
}

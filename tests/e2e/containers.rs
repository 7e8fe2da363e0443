//! Single containers through the command line.

use crate::platform::{Platform, output, wait_until};

#[test]
fn a_container_lives_its_life() {
    let platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    assert!(platform.run(&["images"]).contains("busybox:latest"));

    assert_eq!(platform.run(&["run", "--rm", "busybox", "echo", "hello"]), "hello\n");
    assert_eq!(platform.run(&["ps", "--all", "--quiet"]), "", "--rm left something");
    for (command, code) in [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (["/no/such", "a", "b"], 127),
        (["/etc/passwd", "a", "b"], 126),
    ] {
        let output = output(platform.hako().args(["run", "--rm", "busybox"]).args(command));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    platform.run(&[
        "run",
        "-d",
        "--name",
        "web",
        "-e",
        "COLOUR=red",
        "--memory",
        "64m",
        "busybox",
        "sh",
        "-c",
        "echo up; echo err >&2; trap 'exit 3' TERM; while :; do sleep 0.05; done",
    ]);
    assert!(platform.run(&["ps"]).contains("web"));
    wait_until("the first line", || platform.run(&["logs", "web"]).contains("up"));
    assert_eq!(platform.run(&["exec", "web", "sh", "-c", "echo $COLOUR"]), "red\n");
    assert_eq!(output(platform.hako().args(["exec", "web", "sh", "-c", "exit 9"])).status.code(), Some(9));
    platform.run(&["stop", "web"]);
    assert!(platform.run(&["ps", "--all"]).contains("Exited (3)"));
    platform.run(&["rm", "web"]);
    assert_eq!(platform.run(&["ps", "--all", "--quiet"]), "");
    platform.down();
}

#[test]
fn a_published_port_answers() {
    let platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    platform.run(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:18081:80",
        "busybox",
        "sh",
        "-c",
        "echo content > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
    ]);
    wait_until("an answer through the published port", || {
        output(std::process::Command::new("curl").args(["-sf", "--max-time", "2", "http://127.0.0.1:18081/"]))
            .stdout
            == b"content\n"
    });
    platform.down();
}

#[test]
fn a_memory_hog_dies_alone() {
    let platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "1000"]);
    let code = output(platform.hako().args([
        "run",
        "--rm",
        "--memory",
        "16m",
        "busybox",
        "sh",
        "-c",
        "tail /dev/zero",
    ]))
    .status
    .code();
    assert_eq!(code, Some(137));
    assert_eq!(platform.run(&["exec", "steady", "echo", "alive"]), "alive\n");
    platform.down();
}

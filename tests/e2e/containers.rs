//! Single containers through the command line.

use crate::platform::{Platform, output, wait_until};
use nix::pty::{Winsize, openpty};
use std::io::Read;
use std::process::{Command, Stdio};

#[test]
fn a_container_lives_its_life() {
    let platform = Platform::with_busybox();
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
    let inspected: serde_json::Value =
        serde_json::from_str(&platform.run(&["inspect", "web", "busybox"])).unwrap();
    assert_eq!(
        (&inspected[0]["Name"], &inspected[1]["RepoTags"][0]),
        (&"/web".into(), &"busybox:latest".into())
    );
    let missing = output(platform.hako().args(["inspect", "nothing"]));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("is called \"nothing\""));
    assert!(!platform.run(&["prune", "--all", "--force"]).contains("busybox"), "a container has it");
    platform.run(&["stop", "web"]);
    assert!(platform.run(&["ps", "--all"]).contains("Exited (3)"));
    platform.run(&["rm", "web"]);
    assert_eq!(platform.run(&["ps", "--all", "--quiet"]), "");
    platform.down();
}

#[test]
fn a_published_port_answers() {
    let platform = Platform::with_busybox();
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
    let platform = Platform::with_busybox();
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

/// Runs a command at a terminal of 33 rows and 111 columns on which nobody ever types; gives what is on it when the
/// command has ended.
#[track_caller]
fn at_a_terminal(command: &mut Command) -> String {
    let size = Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).unwrap();
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    // The command keeps copies of our end for as long as it is not dropped.
    *command = Command::new("true");
    drop(terminal.slave);
    let mut screen = Vec::new();
    // A terminal whose other end is closed reads as an error.
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut screen);
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&screen).into_owned()
}

#[test]
fn at_a_terminal_a_command_has_its_size_and_ends_without_a_key() {
    let platform = Platform::with_busybox();
    let size = "until stty size | grep 33; do sleep 0.02; done";
    let screen = at_a_terminal(platform.hako().args(["run", "--rm", "-it", "busybox", "sh", "-c", size]));
    assert!(screen.contains("33 111"), "{screen:?}");
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "1000"]);
    let screen = at_a_terminal(platform.hako().args(["exec", "-it", "steady", "sh", "-c", size]));
    assert!(screen.contains("33 111"), "{screen:?}");
    // Nothing of ours is on it, such as the log's own faults.
    let screen = at_a_terminal(platform.hako().args(["exec", "-it", "steady", "echo", "only this"]));
    assert_eq!(screen, "only this\r\n");
    platform.down();
}

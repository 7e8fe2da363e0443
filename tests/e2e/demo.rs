//! The demo is a promise too.

use crate::platform::{
    HAKO, assert_nothing_left, enter_network_namespace, links, repository, run, wait_until,
};
use nix::sys::signal::{Signal, kill};
use std::process::{Command, Stdio};

#[test]
fn the_demo_plays_all_steps_and_leaves_nothing() {
    enter_network_namespace();
    let said = run(Command::new(HAKO).arg("demo").arg("--example").arg(repository().join("examples/hello")));
    for step in ["start", "build", "deploy", "answer", "heal", "scale", "roll", "crash", "down"] {
        assert!(said.lines().any(|line| line.starts_with(step)), "no step {step} in\n{said}");
    }
    let failed: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("requests failed") && !line.trim_end().ends_with(" 0"))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn an_interrupted_demo_takes_everything_down() {
    enter_network_namespace();
    let links = links();
    let scratch = tempfile::tempdir().unwrap();
    let mut demo = Command::new(HAKO)
        .args(["demo", "--example"])
        .arg(repository().join("examples/hello"))
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.id()).unwrap());
    let data = scratch.path().join(format!("hako-demo-{pid}/data"));
    wait_until("the demo's platform", || data.join("server.json").exists());
    let instance = std::fs::read_to_string(data.join("instance")).unwrap();
    kill(pid, Signal::SIGINT).unwrap();
    assert!(!demo.wait().unwrap().success());
    assert_nothing_left(instance.trim(), &links, scratch.path());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

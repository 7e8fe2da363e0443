//! The demo is a promise too.

use crate::platform::{HAKO, enter_network_namespace, repository, run};
use std::process::Command;

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

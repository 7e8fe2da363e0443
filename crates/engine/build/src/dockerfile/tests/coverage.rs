//! The table docs/builder-coverage.md leaves out nothing that a Dockerfile can say.

use super::super::{copy, health, instruction, mount, run};
use std::collections::BTreeSet;

const TABLE: &str = include_str!("../../../../../../docs/builder-coverage.md");

/// What rows are about: the words in backticks of their first cells.
fn subjects() -> Vec<String> {
    let first = TABLE.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_instruction_and_flag_is_in_the_builders_table() {
    let subjects = subjects();
    let is_told = |wanted: &str| {
        subjects.iter().any(|subject| {
            subject.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ' ']))
        })
    };
    let flags = |keyword: &'static str, flags: &[(&'static str, super::super::flags::Takes)]| {
        flags.iter().map(|(name, _)| format!("{keyword} --{name}")).collect::<Vec<_>>()
    };
    let mut wanted: Vec<String> = instruction::KNOWN.map(str::to_owned).into();
    wanted.extend(flags("COPY", &copy::COPY_FLAGS));
    wanted.extend(flags("ADD", &copy::ADD_FLAGS));
    wanted.extend(flags("RUN", &run::FLAGS));
    wanted.extend(flags("HEALTHCHECK", &health::FLAGS));
    wanted.extend(mount::TYPES.map(|kind| format!("RUN --mount=type={kind}")));
    wanted.push("FROM --platform".into());
    let missing: Vec<&String> = wanted.iter().filter(|wanted| !is_told(wanted)).collect();
    assert!(missing.is_empty(), "not in docs/builder-coverage.md: {missing:?}");
}

#[test]
fn every_option_of_a_mount_is_in_the_builders_table() {
    let rows = TABLE.lines().filter(|line| line.starts_with("| `RUN --mount=type="));
    let told: BTreeSet<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let missing: Vec<&str> = mount::KEYS.into_iter().filter(|key| !told.contains(key)).collect();
    assert!(missing.is_empty(), "not in docs/builder-coverage.md: {missing:?}");
}

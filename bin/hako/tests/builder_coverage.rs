//! The table docs/builder-coverage.md: its tests are there, and it leaves out no option of `hako build`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn table() -> String {
    std::fs::read_to_string(root().join("docs/builder-coverage.md")).unwrap()
}

/// Rows as what they are about and what shows it.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| {
        let (what, tests) = line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ")?;
        tests.contains("::").then_some((what, tests))
    })
}

/// The words of a cell that stand in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Tests that are run, as `path/of/file::name` without the ending `.rs`.
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let file = path.with_extension("").display().to_string();
            for test in text.split("#[test]\n").skip(1) {
                let (attributes, rest) = test.split_once("fn ").unwrap();
                let name = rest.split('(').next().unwrap();
                if !attributes.contains("#[ignore") {
                    found.insert(format!("{file}::{name}"));
                }
            }
        }
    }
}

#[test]
fn every_test_of_the_builders_table_exists() {
    let mut known = BTreeSet::new();
    for dir in
        ["crates/engine/build", "crates/engine/registry/tests", "crates/edge/docker/tests", "tests/e2e"]
    {
        tests_below(&root().join(dir), &mut known);
    }
    let table = table();
    let named: Vec<&str> = rows(&table).flat_map(|(_, tests)| quoted(tests)).collect();
    assert!(named.len() > 100, "{}", named.len());
    let is_there = |name: &&&str| known.iter().any(|test| test.ends_with(&format!("/{name}")));
    let missing: Vec<&&str> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(rows(&table).all(|(_, tests)| quoted(tests).all(|name| name.contains("::"))));
}

#[test]
fn every_option_of_hako_build_is_in_the_builders_table() {
    let help = Command::new(env!("CARGO_BIN_EXE_hako")).args(["build", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    // Those of every command are no builder's.
    let general = Command::new(env!("CARGO_BIN_EXE_hako")).args(["ps", "--help"]).output().unwrap();
    let general = String::from_utf8(general.stdout).unwrap();
    let options = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let long = |line: &str| {
            line.split([' ', '=', '[', '<']).find(|word| word.starts_with("--")).map(str::to_owned)
        };
        lines.filter_map(long).collect()
    };
    let wanted: BTreeSet<String> = options(&help).difference(&options(&general)).cloned().collect();
    assert!(wanted.len() > 30, "{wanted:?}");
    let table = table();
    let known: BTreeSet<&str> = rows(&table)
        .flat_map(|(what, _)| quoted(what))
        .filter_map(|words| words.split([' ', '=']).next())
        .collect();
    let missing: Vec<&String> = wanted.iter().filter(|option| !known.contains(option.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/builder-coverage.md: {missing:?}");
}

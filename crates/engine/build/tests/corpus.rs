//! The corpus parses, and to what it did before.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use hako_build::dockerfile::{Dockerfile, parse};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    files.sort();
    files
}

/// One line for each stage and step.
fn shown(file: &Dockerfile) -> String {
    let mut text = format!("{:?}\n", file.directives);
    for step in &file.global_args {
        writeln!(text, "{}: {:?}", step.line, step.instruction).unwrap();
    }
    for stage in &file.stages {
        writeln!(
            text,
            "{}: FROM {:?} name={:?} platform={:?}",
            stage.line, stage.base, stage.name, stage.platform
        )
        .unwrap();
        for step in &stage.steps {
            writeln!(text, "  {}-{}: {:?}", step.line, step.last_line, step.instruction).unwrap();
        }
    }
    text
}

#[test]
fn every_file_of_the_corpus_parses_to_its_snapshot() {
    let files = corpus();
    assert!(files.len() >= 60, "{}", files.len());
    let mut different = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let parsed = shown(&parse(&text, &name).unwrap_or_else(|error| panic!("{error}")));
        let snapshot = path.parent().unwrap().join("parsed").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
            fs::write(&snapshot, &parsed).unwrap();
        }
        if fs::read_to_string(&snapshot).unwrap_or_default() != parsed {
            different.push(name);
        }
    }
    assert_eq!(different, [] as [String; 0]);
}

#[test]
fn every_file_of_the_corpus_is_for_a_base_without_network() {
    for path in corpus() {
        let text = fs::read_to_string(&path).unwrap();
        for stage in parse(&text, "f").unwrap().stages {
            let is_stage = text.to_lowercase().contains(&format!(" as {}", stage.base.to_lowercase()));
            assert!(matches!(stage.base.as_str(), "scratch" | "busybox" | "$BASE") || is_stage, "{path:?}");
        }
    }
}

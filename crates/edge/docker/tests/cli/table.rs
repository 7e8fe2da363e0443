//! The table docs/docker-api.md, made from what the tests have seen.

use crate::daemon::NEWER_CLI;
use crate::seen::{Fact, directory, facts};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Why a fact is not for tests to show: `KEY: REASON`. A key stands for all that begins with it.
const NOTES: &str = include_str!("../facts/notes-1.51.txt");

/// Set by `make docker-api`: the table is written in place of being compared.
const WRITE: &str = "HAKO_WRITE_DOCKER_API";

const HEAD: &str = "\
# The Docker API, endpoint by endpoint

Made from the tests by `make docker-api` after `make test`; the last step of `make test` fails when it is not current. It lists every endpoint,
parameter and field of version 1.51 of the reference. A test's name says that a client asked for it there, with a value other than its
default, and was answered with success; *refused* that a test was answered with an error that names it; *untested* that no test asked.
Of answers the table says which fields a test was answered with.
";

/// The tests that saw each line `STATE KEY`.
type Tests = BTreeMap<String, BTreeSet<String>>;

fn seen() -> Tests {
    let mut tests = Tests::new();
    for file in std::fs::read_dir(directory()).expect("run `make test` before").map(Result::unwrap) {
        let test = file.file_name().into_string().unwrap().replace('.', "::");
        for line in std::fs::read_to_string(file.path()).unwrap().lines() {
            tests.entry(line.to_owned()).or_default().insert(test.clone());
        }
    }
    tests
}

struct Table {
    tests: Tests,
    /// The table as it is committed, by row: a test that is named there stays as long as it is true.
    before: BTreeMap<String, String>,
}

impl Table {
    fn cell(&self, fact: &Fact) -> String {
        let key = fact.key();
        if let Some(tests) = self.tests.get(&format!("works {key}")) {
            let named = self.before.get(&key).and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
            let test = named.filter(|name| tests.contains(*name)).or(tests.first().map(String::as_str));
            return format!("`{}`", test.unwrap_or_default());
        }
        if self.tests.contains_key(&format!("refused {key}")) {
            return "refused".into();
        }
        note(&key).unwrap_or("untested").into()
    }

    fn text(&self) -> String {
        let facts: Vec<Fact> = facts().collect();
        let mut text = HEAD.to_owned();
        let mut group = "";
        for endpoint in facts.iter().filter(|fact| fact.kind.is_empty()) {
            let own = endpoint.path.split('/').nth(1).unwrap_or_default();
            if own != group {
                group = own;
                write!(text, "\n## /{group}\n\n| | | |\n|---|---|---|\n").unwrap();
            }
            writeln!(text, "| **{} {}** | | {} |", endpoint.method, endpoint.path, self.cell(endpoint))
                .unwrap();
            let is_own = |fact: &&Fact| (fact.method, fact.path) == (endpoint.method, endpoint.path);
            let own: Vec<&Fact> = facts.iter().filter(is_own).collect();
            for fact in own.iter().filter(|fact| ["query", "header", "body"].contains(&fact.kind)) {
                writeln!(text, "| {} | `{}` | {} |", fact.kind, fact.name, self.cell(fact)).unwrap();
            }
            self.answers(&mut text, &own);
        }
        text
    }

    fn answers(&self, text: &mut String, own: &[&Fact]) {
        let mut states: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for fact in own.iter().filter(|fact| fact.kind == "answer") {
            let key = fact.key();
            let state = match self.tests.contains_key(&format!("works {key}")) {
                true => "answered",
                false => note(&key).unwrap_or("not seen"),
            };
            states.entry(state).or_default().push(format!("`{}`", fact.name));
        }
        for (state, names) in states {
            writeln!(text, "| answer | {} | {state} |", names.join(" ")).unwrap();
        }
    }
}

fn note(key: &str) -> Option<&'static str> {
    NOTES
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(front, _)| key.starts_with(front))
        .map(|(_, note)| note)
}

/// The last cell of each row that is of one fact.
fn committed(text: &str) -> BTreeMap<String, String> {
    let mut endpoint = String::new();
    let mut cells = BTreeMap::new();
    for line in text.lines() {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, first, name, state, _] = row[..] else { continue };
        let key = match first.strip_prefix("**") {
            Some(bold) => {
                endpoint = bold.trim_end_matches('*').to_owned();
                endpoint.clone()
            }
            None => format!("{endpoint} {first} {}", name.trim_matches('`')),
        };
        cells.insert(key, state.to_owned());
    }
    cells
}

/// The first rows that differ.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}\n"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}\n"));
    gone.take(20).chain(come.take(20)).collect()
}

#[test]
#[ignore = "the last step of `make test`, when all others have told what they saw"]
fn the_table_of_the_api_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/docker-api.md");
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let new = Table { tests: seen(), before: committed(&old) }.text();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, new).unwrap();
    } else if !Path::new(NEWER_CLI).exists() {
        println!("docs/docker-api.md is not compared: {NEWER_CLI}, which asks for newer fields, is not here");
    } else {
        assert!(old == new, "`make docker-api` makes the table current:\n{}", difference(&old, &new));
    }
}

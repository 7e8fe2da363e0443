//! The table docs/kubernetes-api.md, made from what the tests have seen.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use hako_api::kinds;

use crate::seen::{Fact, PATCHES, directory, facts};

/// Set by `make kubernetes-api`: the table is written in place of being compared.
const WRITE: &str = "HAKO_WRITE_KUBERNETES_API";

const HEAD: &str = "\
# The Kubernetes API, verb by verb

Made from the tests by `make kubernetes-api` after `make test`; the last step of `make test` fails when it is not current. It lists every resource,
part and verb of the stable groups of Kubernetes 1.36 and of `storagemigration.k8s.io`, and the paths besides them. *Tested*: a client asked for it in a test of the
API server and was answered with success; *served*: there is one, but no test asked; *unimplemented*: there is none, and who asks is told so.
A patch has four formats: JSON patch, merge patch, strategic merge patch, and server-side apply.
";

/// What is there, of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Tested,
    Served,
    Unimplemented,
}

/// All lines that tests have seen.
fn seen() -> BTreeSet<String> {
    let files = std::fs::read_dir(directory()).expect("run `make test` before").map(Result::unwrap);
    let texts = files.map(|file| std::fs::read_to_string(file.path()).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Every verb that the table of kinds says is served, as the facts have them.
fn served() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |api_version: &str, resource: &str, verbs: &[&str]| {
        for verb in verbs {
            match *verb {
                "patch" if !resource.ends_with("/proxy") => {
                    all.extend(PATCHES.iter().map(|(format, _)| format!("{api_version} {resource} {format}")))
                }
                verb => drop(all.insert(format!("{api_version} {resource} {verb}"))),
            }
        }
    };
    for row in kinds::table() {
        add(&row.api_version(), row.plural, row.verbs);
        for part in row.subresources {
            add(&row.api_version(), &format!("{}/{}", row.plural, part.name), part.verbs);
        }
    }
    all
}

struct Table {
    seen: BTreeSet<String>,
    served: BTreeSet<String>,
}

impl Table {
    fn state(&self, fact: &Fact, verb: &str) -> State {
        let key = format!("{} {} {verb}", fact.group_version, fact.resource);
        match (self.seen.contains(&key), self.served.contains(&key)) {
            (true, _) => State::Tested,
            (false, true) => State::Served,
            (false, false) => State::Unimplemented,
        }
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        let mut group = "";
        for fact in facts() {
            if fact.group_version != group {
                group = fact.group_version;
                let title = if group == "-" { "Paths that are not of resources" } else { group };
                write!(text, "\n## {title}\n\n| | tested | served | unimplemented |\n|---|---|---|---|\n")
                    .unwrap();
            }
            let cell = |state: State| -> String {
                let verbs = fact.verbs.iter().filter(|verb| self.state(&fact, verb) == state);
                verbs.copied().collect::<Vec<_>>().join(", ")
            };
            let [tested, served, missing] =
                [State::Tested, State::Served, State::Unimplemented].map(|state| short(&cell(state)));
            writeln!(text, "| `{}` | {tested} | {served} | {missing} |", fact.resource).unwrap();
        }
        text
    }
}

/// All formats of patches in one word.
fn short(verbs: &str) -> String {
    verbs.replace(&PATCHES.map(|(format, _)| format).join(", "), "patch ×4")
}

/// The lines that differ.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}\n"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}\n"));
    gone.take(20).chain(come.take(20)).collect()
}

#[test]
#[ignore = "the last step of `make test`, when all others have told what they saw"]
fn the_table_of_the_kubernetes_api_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/kubernetes-api.md");
    let table = Table { seen: seen(), served: served() };
    let untested: Vec<String> = facts()
        .flat_map(|fact| {
            let of = |verb: &&str| table.state(&fact, verb) == State::Served;
            let name = format!("{} {}", fact.group_version, fact.resource);
            fact.verbs
                .clone()
                .into_iter()
                .filter(of)
                .map(move |verb| format!("{name} {verb}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(untested.is_empty(), "served, and no test asked for it: {untested:#?}");
    let new = table.text();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, new).unwrap();
        return;
    }
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(old == new, "`make kubernetes-api` makes the table current:\n{}", difference(&old, &new));
}

#[test]
fn nothing_is_served_that_kubernetes_does_not_have() {
    let known: BTreeSet<String> = facts()
        .flat_map(|Fact { group_version, resource, verbs }| {
            verbs.into_iter().map(move |verb| format!("{group_version} {resource} {verb}"))
        })
        .collect();
    let unknown: Vec<String> = served().difference(&known).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

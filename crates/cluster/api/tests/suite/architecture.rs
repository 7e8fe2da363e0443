//! There is one path for all kinds: no kind is named in it but where Kubernetes itself gives it a way of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hako_api::kinds;

/// The files of the way that every request goes.
const PATH: [&str; 8] =
    ["route.rs", "server.rs", "resource", "http", "patch", "discovery", "openapi", "schema/check.rs"];

/// Kinds that the way knows, and why.
const KNOWN: [(&str, &[&str], &str); 7] = [
    ("http/info.rs", &["namespaces"], "its paths have the form of those of what is in a namespace"),
    ("route.rs", &["namespaces", "nodes"], "the same, and what is behind a proxy has paths of its own"),
    ("resource/delete.rs", &["pods"], "they end in steps: grace periods"),
    ("resource/delete.rs", &["jobs"], "their pods are orphaned unless the client says otherwise"),
    ("resource/evict.rs", &["poddisruptionbudgets"], "pods/eviction asks them"),
    ("resource/pods.rs", &["Binding", "pods"], "a binding puts a pod on a node, wherever it is sent"),
    ("resource/token.rs", &["Node", "Pod", "Secret", "nodes", "pods", "secrets"], "tokens are bound to them"),
];

/// Where it is known where a kind comes from.
const REGISTRY: [&str; 2] = ["kinds", "definitions"];

/// Words by which code would ask where a kind comes from.
const ORIGINS: [&str; 8] = [
    "built_in",
    "is_built_in",
    "is_custom",
    "custom_resource",
    "Defined",
    "Definition",
    "of_definition",
    "is_defined",
];

/// Files besides that know one of them, and why.
const ORIGINS_KNOWN: [(&str, &str, &str); 4] = [
    ("aggregation/check.rs", "custom_resource", "conditions are set as those of definitions are"),
    (
        "aggregation/locals.rs",
        "built_in",
        "APIServices of the program's groups are made once, all others come and go",
    ),
    ("openapi/v3.rs", "built_in", "the types of the program change with the program alone"),
    ("sealing.rs", "built_in", "what is kept sealed is said in the table"),
];

/// Every kind's names in paths and objects.
fn names() -> BTreeSet<&'static str> {
    kinds::table().iter().flat_map(|row| [row.plural, row.kind]).collect()
}

/// The files below `path`, by their names from `src`.
fn files(source: &Path, path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            files(source, &entry.unwrap().path(), found);
        }
    } else if path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with("tests")) {
        let name = path.strip_prefix(source).unwrap().display().to_string();
        found.push((name, std::fs::read_to_string(path).unwrap()));
    }
}

/// The literals of a file's code outside of tests.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2))
}

#[test]
fn no_kind_has_a_handler_of_its_own() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    PATH.iter().for_each(|path| files(&source, &source.join(path), &mut all));
    let (names, mut found) = (names(), BTreeMap::<String, BTreeSet<&str>>::new());
    for (file, text) in &all {
        let named: BTreeSet<&str> = literals(text).filter(|literal| names.contains(literal)).collect();
        if !named.is_empty() {
            found.insert(file.clone(), named);
        }
    }
    let mut known = BTreeMap::<String, BTreeSet<&str>>::new();
    for (file, names, _) in KNOWN {
        known.entry(file.to_owned()).or_default().extend(names);
    }
    assert_eq!(found, known, "a kind is a row of the table and its strategy functions, not code of the way");
}

/// A file's code outside of tests, without comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_but_the_registry_asks_where_a_kind_comes_from() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &source, &mut all);
    let is_of_registry = |file: &str| REGISTRY.iter().any(|part| file.split('/').next() == Some(*part));
    let mut found = BTreeSet::new();
    for (file, text) in all.iter().filter(|(file, _)| !is_of_registry(file)) {
        let code = code(text);
        let words = code.split(|sign: char| !sign.is_alphanumeric() && sign != '_');
        found.extend(words.filter_map(|word| {
            let origin = ORIGINS.iter().find(|origin| **origin == word)?;
            Some((file.as_str(), *origin))
        }));
    }
    let known: BTreeSet<_> = ORIGINS_KNOWN.iter().map(|(file, word, _)| (*file, *word)).collect();
    assert_eq!(found, known, "whether a kind is custom is the registry's alone to know: ask what it can");
}

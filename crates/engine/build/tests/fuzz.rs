//! What the fuzz targets run, on the corpus and on damaged copies of it: the same each time.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/dockerfile.rs"]
mod dockerfile;
#[path = "../fuzz/harness/dockerignore.rs"]
mod dockerignore;
#[path = "../fuzz/harness/expand.rs"]
mod expand;

fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_dockerfile_is_read_or_refused() {
    damaged::run(corpus(), 1500, dockerfile::run);
}

#[test]
fn a_dockerignore_is_read_or_refused() {
    let rules = [
        "*.md\n!README.md\na.md",
        "**/x/*\n!**/x/y\na/x/y",
        "[a-\\]b]*\n/..//c/\n[",
        "# a\n\u{feff}*\n!d\nd/e",
    ];
    damaged::run(seeds(&rules), 1500, dockerignore::run);
}

#[test]
fn words_and_modes_are_expanded_within_bounds() {
    let words = [
        "a/b.c\n${x%%.*}${x#*/}${x//a/b} \"$x\" '$x' \\$x",
        "v\n${unset:-${x:+${unset-y}}} ${x:?no} ${unset:?it is not set}",
        "*\n`$x ${x/%c/d}${x/#a/$unset} ${",
        "v\nu=rwX,g+s,o-t",
        "v\n04755",
    ];
    damaged::run(seeds(&words), 3000, expand::run);
}

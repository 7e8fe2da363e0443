use super::*;

fn left(rules: &str, paths: &[&'static str]) -> Vec<&'static str> {
    let ignore = Ignore::parse(rules);
    assert_eq!(ignore.faults(), [], "{rules}");
    paths.iter().copied().filter(|path| !ignore.excludes(path)).collect()
}

#[test]
fn the_last_rule_that_matches_decides() {
    let paths = ["README.md", "docs/a.md", "docs/keep.md", "src/main.rs"];
    assert_eq!(left("*.md\n!README.md", &paths), ["README.md", "docs/a.md", "docs/keep.md", "src/main.rs"]);
    assert_eq!(left("**/*.md\n!README.md", &paths), ["README.md", "src/main.rs"]);
    assert_eq!(left("docs\n!docs/keep.md", &paths), ["README.md", "docs/keep.md", "src/main.rs"]);
    assert_eq!(left("!README.md\n*.md", &paths), ["docs/a.md", "docs/keep.md", "src/main.rs"]);
    assert_eq!(left("*\n!src", &paths), ["src/main.rs"]);
    assert_eq!(left("*\n!docs\ndocs/a.md", &paths), ["docs/keep.md"]);
}

#[test]
fn comments_spaces_and_slashes_do_not_matter() {
    let paths = ["a", "b/c", "d#"];
    assert_eq!(left("# a\n\n  /a/ \n./b//\n", &paths), ["d#"]);
    assert_eq!(left("\u{feff}a\r\n! a\r\nb\r\n", &paths), ["a", "d#"]);
    assert_eq!(left("\u{feff}# a\nx/../d#\n", &paths), ["a", "b/c"]);
}

#[test]
fn a_hash_after_a_space_is_a_name() {
    assert_eq!(left(" #a\n", &["#a", "a"]), ["a"]);
}

#[test]
fn an_exception_for_a_directory_counts_where_it_is_left_out_itself() {
    let paths = ["d/a", "d/e/b"];
    assert_eq!(left("d\n!d", &paths), paths);
    assert_eq!(left("d/*\n!d", &paths), [] as [&str; 0], "d itself was never left out");
    assert_eq!(left("**\n!d/e", &paths), ["d/e/b"]);
}

#[test]
fn an_exclamation_mark_that_cleaning_brings_forward_counts() {
    assert_eq!(left("a\n./!a\n", &["a", "!a"]), ["a", "!a"]);
    assert_eq!(left("\\!a\n", &["a", "!a"]), ["a"]);
}

#[test]
fn what_leads_out_of_the_context_matches_nothing() {
    let paths = ["a", "b"];
    assert_eq!(left("../a\n..\n.\n/\n", &paths), paths);
    assert_eq!(left("/../a\n", &paths), ["b"], "above the root is the root");
}

#[test]
fn double_stars_span_directories() {
    let paths = ["node_modules/x", "a/node_modules/x", "a/b/c/node_modules/y/z", "a/node"];
    assert_eq!(left("**/node_modules", &paths), ["a/node"]);
    assert_eq!(left("a/**/z", &["a/z", "a/b/z", "a/b/c/z", "z"]), ["z"]);
}

#[test]
fn lines_that_are_no_rules_are_named() {
    let ignore = Ignore::parse("a\n!\n[a\nb\\\n!/\n");
    let lines: Vec<usize> = ignore.faults().iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    assert_eq!(ignore.faults()[0].to_string(), "2: an exception needs a pattern after its \"!\"\n  2 | !");
    assert!(ignore.excludes("a") && !ignore.excludes("b"));
}

#[test]
fn files_that_are_too_long_are_refused() {
    assert_eq!(Ignore::parse(&"a".repeat(MAX_BYTES + 1)).faults().len(), 1);
    assert_eq!(Ignore::parse(&"a\n".repeat(MAX_RULES + 1)).faults().len(), 1);
}

/// What a file of tests/dockerignore.json leaves out of `paths`, as numbers; `None` where it is malformed.
#[derive(serde::Deserialize)]
struct Case {
    rules: String,
    left_out: Option<Vec<usize>>,
}

#[derive(serde::Deserialize)]
struct Cases {
    paths: Vec<String>,
    cases: Vec<Case>,
}

/// The Docker CLI walks a directory that is left out only if an exception's text starts with its name. BuildKit
/// does not depend on that where wildcards are involved, nor do we.
fn is_not_walked(rules: &str, ignore: &Ignore, path: &str) -> bool {
    let exceptions: Vec<String> = rules
        .lines()
        .map(|line| match line.trim().strip_prefix('!') {
            Some(pattern) => format!("!{}", clean(pattern.trim()).trim_start_matches('/')),
            None => clean(line.trim()).trim_start_matches('/').to_owned(),
        })
        .filter_map(|rule| rule.strip_prefix('!').map(|pattern| format!("{pattern}/")))
        .collect();
    let is_wanted = |dir: &str| exceptions.iter().any(|pattern| pattern.starts_with(&format!("{dir}/")));
    let mut above = prefixes(path).filter(|prefix| prefix.len() < path.len());
    above.any(|dir| ignore.excludes(dir) && !is_wanted(dir))
}

#[test]
fn the_same_files_are_left_out_as_by_the_docker_command() {
    // Made by sending contexts with random rules from docker 28.2.2 to a server that lists what arrives.
    let text = include_str!("../tests/dockerignore.json");
    let Cases { paths, cases } = serde_json::from_str(text).unwrap();
    assert!(cases.len() > 200);
    for case in cases {
        let ignore = Ignore::parse(&case.rules);
        let is_out = |path: &str| ignore.excludes(path) || is_not_walked(&case.rules, &ignore, path);
        let left_out: Vec<usize> = (0..paths.len()).filter(|index| is_out(&paths[*index])).collect();
        let left_out = ignore.faults().is_empty().then_some(left_out);
        let named = |numbers: &Option<Vec<usize>>| {
            numbers
                .as_ref()
                .map(|numbers| numbers.iter().map(|number| paths[*number].clone()).collect::<Vec<_>>())
        };
        assert_eq!(named(&left_out), named(&case.left_out), "{:?}", case.rules);
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_matcher_panic(
        text in "([!#/ab.*?\\[\\]\\\\^ é-]|\\*\\*/|\n|\r\n|\u{feff}){0,60}",
        path in "([ab.é*-]{0,3}/){0,3}[ab.é*-]{0,3}",
    ) {
        let ignore = Ignore::parse(&text);
        let _ = (ignore.excludes(&path), ignore.may_reenter());
    }

    #[test]
    fn a_directory_that_is_left_out_takes_its_files_with_it(name in "[a-c]{1,3}", below in "[a-c]{1,3}") {
        let ignore = Ignore::parse(&name);
        let path = format!("{name}/{below}");
        proptest::prop_assert!(ignore.excludes(&path));
    }
}

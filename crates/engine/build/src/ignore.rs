//! .dockerignore: which files of the context do not count.

use crate::pattern::matches;

/// The rules of a .dockerignore; the last one that matches decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    is_exception: bool,
}

impl Ignore {
    pub(crate) fn parse(text: &str) -> Self {
        let rules = text
            .trim_start_matches('\u{feff}')
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let line = line.trim();
                let (is_exception, pattern) = match line.strip_prefix('!') {
                    Some(pattern) => (true, pattern.trim()),
                    None => (false, line),
                };
                let pattern = clean(pattern);
                (!pattern.is_empty()).then_some(Rule { pattern, is_exception })
            })
            .collect();
        Self { rules }
    }

    /// Whether the file at that path, relative to the context, is left out. A rule that matches a directory
    /// matches all in it.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            if rule.is_exception != excluded {
                continue;
            }
            let hit = prefixes(path).any(|prefix| matches(&rule.pattern, prefix));
            if hit {
                excluded = !rule.is_exception;
            }
        }
        excluded
    }

    /// Whether a directory that is left out may still hold files that are not.
    pub(crate) fn may_reenter(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_exception)
    }
}

/// A path and all directories above it.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

/// Patterns are cleaned like paths: no leading slash, no `.`, no trailing slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(rules: &str, paths: &[&'static str]) -> Vec<&'static str> {
        let ignore = Ignore::parse(rules);
        paths.iter().copied().filter(|path| !ignore.excludes(path)).collect()
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let paths = ["README.md", "docs/a.md", "docs/keep.md", "src/main.rs"];
        assert_eq!(
            left("*.md\n!README.md", &paths),
            ["README.md", "docs/a.md", "docs/keep.md", "src/main.rs"]
        );
        assert_eq!(left("**/*.md\n!README.md", &paths), ["README.md", "src/main.rs"]);
        assert_eq!(left("docs\n!docs/keep.md", &paths), ["README.md", "docs/keep.md", "src/main.rs"]);
        assert_eq!(left("!README.md\n*.md", &paths), ["docs/a.md", "docs/keep.md", "src/main.rs"]);
        assert_eq!(left("*\n!src", &paths), ["src/main.rs"]);
    }

    #[test]
    fn comments_spaces_and_slashes_do_not_matter() {
        let paths = ["a", "b/c", "d#"];
        assert_eq!(left("# a\n\n  /a/ \n./b//\n", &paths), ["d#"]);
    }

    #[test]
    fn double_stars_span_directories() {
        let paths = ["node_modules/x", "a/node_modules/x", "a/b/c/node_modules/y/z", "a/node"];
        assert_eq!(left("**/node_modules", &paths), ["a/node"]);
        assert_eq!(left("a/**/z", &["a/z", "a/b/z", "a/b/c/z", "z"]), ["z"]);
    }
}

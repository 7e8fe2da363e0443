//! .dockerignore: which files of the context do not count. As moby's ignorefile and patternmatcher have it.

use crate::pattern::Pattern;
use std::fmt;

/// The longest .dockerignore, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The most rules; more would make every file of the context a wait.
const MAX_RULES: usize = 10_000;

/// The rules of a .dockerignore; the last one that matches decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
    faults: Vec<IgnoreFault>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    is_exception: bool,
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IgnoreFault {
    /// From 1.
    pub line: usize,
    /// The line as written.
    pub text: String,
    /// What is wrong.
    pub message: &'static str,
}

impl fmt::Display for IgnoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  {} | {}", self.line, self.message, self.line, self.text)
    }
}

impl Ignore {
    /// Reads the rules; what is none is among [`Self::faults`] and left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut ignore = Self::default();
        if text.len() > MAX_BYTES {
            ignore.fault(1, "", "the file is longer than 1 MiB");
            return ignore;
        }
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            // Only at the very start of a line: " #" is a name.
            if !line.starts_with('#') {
                ignore.rule(index + 1, line.trim());
            }
        }
        if ignore.rules.len() > MAX_RULES {
            ignore.rules.clear();
            ignore.fault(1, "", "there are more than 10,000 rules");
        }
        ignore
    }

    fn rule(&mut self, number: usize, line: &str) {
        if line.is_empty() {
            return;
        }
        let (is_exception, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern.trim()),
            None => (false, line),
        };
        if pattern.is_empty() {
            return self.fault(number, line, "an exception needs a pattern after its \"!\"");
        }
        let cleaned = clean(pattern);
        let cleaned = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
        // What cleaning brings to the front counts too, as in "./!name".
        let (is_exception, cleaned) = match cleaned.strip_prefix('!').filter(|_| !is_exception) {
            None if is_exception && cleaned == "/" => {
                return self.fault(number, line, "an exception needs a pattern after its \"!\"");
            }
            Some("") => return self.fault(number, line, "an exception needs a pattern after its \"!\""),
            Some(rest) => (true, rest),
            None => (is_exception, cleaned),
        };
        match Pattern::compile(cleaned) {
            Some(pattern) => self.rules.push(Rule { pattern, is_exception }),
            None => {
                self.fault(number, line, "the pattern is malformed: an open \"[\" or a \"\\\" at its end")
            }
        }
    }

    fn fault(&mut self, line: usize, text: &str, message: &'static str) {
        if self.faults.len() < 50 {
            self.faults.push(IgnoreFault { line, text: text.chars().take(300).collect(), message });
        }
    }

    /// Lines that are no rules. A build that has any should stop: files would be sent that were not meant to be.
    pub(crate) fn faults(&self) -> &[IgnoreFault] {
        &self.faults
    }

    /// Whether the file at that path, relative to the context, is left out. A rule that matches a directory
    /// matches all in it, if it was asked: a rule is asked only while it can change something, so an exception
    /// for a directory counts where that directory is left out itself.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut hits = vec![false; self.rules.len()];
        let mut excluded = false;
        for prefix in prefixes(path) {
            excluded = false;
            for (rule, hit) in self.rules.iter().zip(&mut hits) {
                if !*hit && rule.is_exception == excluded {
                    *hit = rule.pattern.matches(prefix);
                }
                if *hit {
                    excluded = !rule.is_exception;
                }
            }
        }
        excluded
    }

    /// Whether a rule leaves out everything at once.
    pub(crate) fn excludes_everything(&self) -> bool {
        self.excludes("\u{1}") && self.excludes("\u{1}/\u{1}")
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

/// Go's `filepath.Clean`: without `.`, empty parts and what `..` takes back; a `..` that leads out stays.
pub(crate) fn clean(pattern: &str) -> String {
    let is_rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
#[path = "ignore_tests.rs"]
mod tests;

//! Which rules count: `skip=…;error=…;experimental=…`.

use super::Rule;

/// What a `check` directive or the build argument `BUILDKIT_DOCKERFILE_CHECK` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Rules that do not count.
    skip: Names,
    /// Rules under trial that do count.
    experimental: Names,
    /// Whether a finding fails the build.
    pub is_error: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    is_all: bool,
    names: Vec<String>,
}

impl Names {
    fn parse(text: &str) -> Self {
        if text == "all" {
            return Self { is_all: true, names: Vec::new() };
        }
        let names = text.split(',').map(|name| name.trim().to_owned()).take(100).collect();
        Self { is_all: false, names }
    }

    fn has(&self, rule: Rule) -> bool {
        self.is_all || self.names.iter().any(|name| name == rule.name())
    }

    fn merge(&mut self, other: Self) {
        self.is_all |= other.is_all;
        self.names.extend(other.names);
    }
}

impl Config {
    /// Reads `skip=A,B;error=true`. Fails with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        for part in text.trim().split(';').filter(|part| !part.trim().is_empty()) {
            let expected = "expected skip=, error= or experimental=, with \";\" between them";
            let (key, value) =
                part.split_once('=').ok_or_else(|| format!("check={text}: {part:?}: {expected}"))?;
            match (key.trim(), value.trim()) {
                ("skip", names) => config.skip.merge(Names::parse(names)),
                ("experimental", names) => config.experimental.merge(Names::parse(names)),
                ("error", "true" | "1" | "t" | "True" | "TRUE" | "T") => config.is_error = true,
                ("error", "false" | "0" | "f" | "False" | "FALSE" | "F") => config.is_error = false,
                ("error", other) => {
                    return Err(format!("check={text}: error={other}: expected true or false"));
                }
                (key, _) => return Err(format!("check={text}: {key:?}: {expected}")),
            }
        }
        Ok(config)
    }

    /// Adds what a comment above an instruction says, for that instruction. Whether findings are errors is a matter
    /// of the whole file.
    pub(super) fn with(&self, comments: &[String]) -> Self {
        let mut config = self.clone();
        for comment in comments {
            let said = comment.split_once('=').filter(|(key, _)| key.trim().eq_ignore_ascii_case("check"));
            if let Some((_, value)) = said
                && let Ok(more) = Self::parse(value.split_whitespace().next().unwrap_or_default())
            {
                config.skip.merge(more.skip);
                config.experimental.merge(more.experimental);
            }
        }
        config
    }

    /// Whether the rule counts.
    pub(super) fn has(&self, rule: Rule) -> bool {
        if rule.is_experimental() { self.experimental.has(rule) } else { !self.skip.has(rule) }
    }
}

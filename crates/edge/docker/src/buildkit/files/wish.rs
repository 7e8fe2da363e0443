//! Which files are asked for.

use super::super::peer::metadata;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// A directory of the client, by the name that it gave it, and what of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) name: String,
    /// Only what these patterns match; everything if there are none.
    pub(crate) includes: Vec<String>,
    /// Without what these match, as .dockerignore has them.
    pub(crate) excludes: Vec<String>,
    /// Of the patterns that are names, also what links lead to.
    pub(crate) follow: Vec<String>,
}

impl Wish {
    pub(crate) fn metadata(&self) -> Result<MetadataMap, Status> {
        let all = |key, values: &'_ [String]| {
            values.iter().map(move |value| (key, value.clone())).collect::<Vec<(&'static str, String)>>()
        };
        let mut pairs = vec![("dir-name", self.name.clone())];
        pairs.extend(all("include-patterns", &self.includes));
        // A client reads what is not ASCII only in a form that older ones do not know. Then everything comes,
        // and the builder itself leaves out what it has to.
        if self.excludes.iter().all(|pattern| pattern.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
            pairs.extend(all("exclude-patterns", &self.excludes));
        }
        pairs.extend(all("followpaths", &self.follow));
        metadata(pairs.iter().map(|(key, value)| (*key, value.as_str())))
    }
}

/// The patterns of a .dockerignore in the form that clients match.
pub(crate) fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().filter(|line| !line.starts_with('#')).filter_map(pattern).collect()
}

fn pattern(line: &str) -> Option<String> {
    let line = line.trim();
    let (is_exception, path) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    if path.is_empty() {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let clean = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    Some(if is_exception { format!("!{clean}") } else { clean })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_files_become_clean_patterns_in_order() {
        let text = "\u{feff}# a comment\n\n /target/ \n!./target/keep\na/../b\n*.o\n! x\n!\n";
        assert_eq!(patterns(text), ["target", "!target/keep", "b", "*.o", "!x"]);
    }

    #[test]
    fn patterns_that_old_clients_misread_are_left_to_the_builder() {
        let wish = |excludes: &[&str]| Wish {
            name: "context".into(),
            excludes: excludes.iter().map(|text| (*text).to_owned()).collect(),
            ..Wish::default()
        };
        let sent = |wish: Wish| wish.metadata().unwrap().get_all("exclude-patterns").iter().count();
        assert_eq!(sent(wish(&["a", "b"])), 2);
        assert_eq!(sent(wish(&["a", "b\u{e4}"])), 0);
    }
}

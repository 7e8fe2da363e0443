//! Rules about how lines are written.

use super::{Found, Rule};
use crate::dockerfile::Logical;

pub(super) fn check(lines: &[Logical], found: &mut Found) {
    casing(lines, found);
    for line in lines {
        if let Some(empty) = line.empty_line {
            found.add_at(Rule::NoEmptyContinuation, line, empty, "the line between is empty".into());
        }
        let (keyword, rest) = line.split();
        match keyword.to_ascii_uppercase().as_str() {
            "FROM" => from(line, keyword, rest, found),
            "ARG" => description(line, "ARG", &words_of_arg(rest), found),
            "ENV" | "LABEL" => legacy(line, keyword, rest, found),
            "MAINTAINER" => {
                let message = "MAINTAINER is deprecated, write LABEL org.opencontainers.image.authors=…";
                found.add(Rule::MaintainerDeprecated, line, message.into());
            }
            _ => {}
        }
    }
}

fn is_lower(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_uppercase())
}

fn is_upper(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_lowercase())
}

/// Every keyword against the case that most of them have; upper case where it is a draw.
fn casing(lines: &[Logical], found: &mut Found) {
    // ARG before the first FROM does not count, as in BuildKit.
    let first = lines.iter().position(|line| line.split().0.eq_ignore_ascii_case("FROM")).unwrap_or(0);
    let keywords = || lines[first..].iter().map(|line| (line, line.split().0));
    let lower = keywords().filter(|(_, keyword)| is_lower(keyword)).count();
    let upper = keywords().filter(|(_, keyword)| is_upper(keyword)).count();
    let (wanted, is_wanted): (_, fn(&str) -> bool) =
        if lower > upper { ("lower", is_lower) } else { ("upper", is_upper) };
    for (line, keyword) in keywords().filter(|(_, keyword)| !is_wanted(keyword)) {
        let message = format!("{keyword} should be {wanted} case like most instructions of the file");
        found.add(Rule::ConsistentInstructionCasing, line, message);
    }
}

fn from(line: &Logical, keyword: &str, rest: &str, found: &mut Found) {
    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let [_, with, name] = words.as_slice() else {
        return;
    };
    if !is_lower(name) {
        let message = format!("the stage's name {name:?} should be lower case");
        found.add(Rule::StageNameCasing, line, message);
    }
    let is_same = if is_lower(keyword) { is_lower(with) } else { !is_upper(keyword) || is_upper(with) };
    if !is_same {
        found.add(Rule::FromAsCasing, line, format!("{keyword} and {with} are not of the same case"));
    }
    description(line, "FROM", &[name.to_ascii_lowercase()], found);
}

fn words_of_arg(rest: &str) -> Vec<String> {
    let words = rest.split_whitespace();
    words.map(|word| word.split('=').next().unwrap_or_default().to_owned()).collect()
}

/// The comment right above must start with one of the names.
fn description(line: &Logical, keyword: &str, names: &[String], found: &mut Found) {
    let Some(comment) = line.comments.last() else { return };
    let first = comment.split(' ').next().unwrap_or_default();
    if names.iter().any(|name| name == first) || comment.starts_with("check=") {
        return;
    }
    let name = match names {
        [name] => name,
        _ => "NAME",
    };
    let message = format!("the comment above {keyword} should be of the form \"# {name} description\"");
    found.add(Rule::InvalidDefinitionDescription, line, message);
}

/// The first word decides which form it is.
fn legacy(line: &Logical, keyword: &str, rest: &str, found: &mut Found) {
    let words = crate::dockerfile::split_words(rest, '\\');
    if words.first().is_some_and(|first| !first.contains('=')) {
        let message = format!("write \"{keyword} key=value\" instead of \"{keyword} key value\"");
        found.add(Rule::LegacyKeyValueFormat, line, message);
    }
}

//! The order of versions of an API (Kubernetes documentation, "Versions in CustomResourceDefinitions", "Version
//! priority").

use std::cmp::Ordering;

/// How far a version has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alpha,
    Beta,
    Stable,
}

/// The preferred version is the greater one: stable before beta before alpha, and newer before older. Names of another
/// form come after those, in the order of the alphabet.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    match (parse(one), parse(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => other.cmp(one),
    }
}

fn parse(version: &str) -> Option<(Stage, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let (major, stage, minor) = if let Some((major, minor)) = rest.split_once("alpha") {
        (major, Stage::Alpha, number(minor)?)
    } else if let Some((major, minor)) = rest.split_once("beta") {
        (major, Stage::Beta, number(minor)?)
    } else {
        (rest, Stage::Stable, 0)
    };
    Some((stage, number(major)?, minor))
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_documentation_has_it() {
        let wanted = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
            "v",
            "v01",
            "v1gamma1",
        ];
        let mut sorted = wanted.to_vec();
        sorted.sort_by(|one, other| other.cmp(one));
        sorted.sort_by(|one, other| compare(other, one));
        assert_eq!(sorted, wanted);
    }
}

//! Where two texts differ, line by line, in the unified form of diff: as upstream's messages show it, which Python's `difflib`
//! made first. A run of equal lines that is the longest there is splits the texts, and what is before and after it likewise.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::protobuf::{Layout, dump};

/// Lines around each difference.
const CONTEXT: usize = 3;
/// Lines of either text.
const LINES_MOST: usize = 4000;
/// Lines looked at in all: texts that are made for it have a run for each line, and each line in many places.
const LOOKS_MOST: usize = 4_000_000;
/// Bytes of what is told.
const TOLD_MOST: usize = 32 << 10;
/// Texts of so many lines have lines that occur too often to find anything by.
const POPULAR_FROM: usize = 200;

/// Which part of what kind is compared, and how upstream's own type of it is laid out.
pub(super) struct Part {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub path: &'static [&'static str],
    pub layout: Layout,
}

impl Part {
    /// A refusal of a change, with where the new part differs from the old one below it; none where there is too much of that.
    pub fn told(&self, refusal: &str, new: &Value, old: &Value) -> Option<String> {
        let print = |part| dump((self.api_version, self.kind), self.path, part, self.layout);
        Some(format!("{refusal}\n{}", unified(&print(new)?, &print(old)?)?))
    }
}

/// The difference between two texts; none where there is too much of it.
pub(super) fn unified(one: &str, other: &str) -> Option<String> {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split('\n').collect(), other.split('\n').collect());
    if one.len().max(other.len()) > LINES_MOST {
        return None;
    }
    let mut told = String::new();
    for group in groups(&steps(&one, &other)?) {
        write_group(&mut told, &group, &one, &other);
        if told.len() > TOLD_MOST {
            return None;
        }
    }
    Some(told)
}

/// Lines of one text that become lines of the other: the same, or others.
#[derive(Clone, Copy, Debug)]
struct Step {
    is_equal: bool,
    one: (usize, usize),
    other: (usize, usize),
}

/// Lines that are the same: where they begin in either text, and how many there are.
type Block = (usize, usize, usize);

fn steps(one: &[&str], other: &[&str]) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let (mut i, mut j) = (0, 0);
    let mut blocks = blocks(one, other)?;
    blocks.push((one.len(), other.len(), 0));
    for (at, to, size) in blocks {
        if i < at || j < to {
            steps.push(Step { is_equal: false, one: (i, at), other: (j, to) });
        }
        (i, j) = (at + size, to + size);
        if size > 0 {
            steps.push(Step { is_equal: true, one: (at, i), other: (to, j) });
        }
    }
    Some(steps)
}

/// All runs of the same lines, in their order, none next to the one before; none where they take too long to find.
fn blocks(one: &[&str], other: &[&str]) -> Option<Vec<Block>> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in other.iter().enumerate() {
        places.entry(line).or_default().push(at);
    }
    if other.len() >= POPULAR_FROM {
        let most = other.len() / 100 + 1;
        places.retain(|_, at| at.len() <= most);
    }
    let mut found = Vec::new();
    let mut left = vec![(0, one.len(), 0, other.len())];
    let looks = |line: &&str| 1 + places.get(line).map_or(0, Vec::len);
    let mut looked = 0;
    while let Some((i, i_end, j, j_end)) = left.pop() {
        looked += one[i..i_end].iter().map(looks).sum::<usize>();
        if looked > LOOKS_MOST {
            return None;
        }
        let (at, to, size) = longest(one, other, &places, (i, i_end), (j, j_end));
        if size > 0 {
            found.push((at, to, size));
            left.push((i, at, j, to));
            left.push((at + size, i_end, to + size, j_end));
        }
    }
    found.sort_unstable();
    let mut joined: Vec<Block> = Vec::new();
    for (at, to, size) in found {
        match joined.last_mut() {
            Some(last) if last.0 + last.2 == at && last.1 + last.2 == to => last.2 += size,
            _ => joined.push((at, to, size)),
        }
    }
    Some(joined)
}

/// The longest run of the same lines, the first of several.
fn longest(
    one: &[&str],
    other: &[&str],
    places: &HashMap<&str, Vec<usize>>,
    (i, i_end): (usize, usize),
    (j, j_end): (usize, usize),
) -> Block {
    let (mut at, mut to, mut size) = (i, j, 0);
    // How long the run is that ends at a line of the other text.
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for (line, text) in one.iter().enumerate().take(i_end).skip(i) {
        let mut next = HashMap::new();
        let all = places.get(text).map_or(&[][..], Vec::as_slice);
        for place in all.iter().copied().filter(|place| (j..j_end).contains(place)) {
            let length = place.checked_sub(1).and_then(|before| lengths.get(&before)).map_or(1, |it| it + 1);
            next.insert(place, length);
            if length > size {
                (at, to, size) = (line + 1 - length, place + 1 - length, length);
            }
        }
        lengths = next;
    }
    // Lines that occur too often to be looked for belong to it where they are next to it.
    while at > i && to > j && one[at - 1] == other[to - 1] {
        (at, to, size) = (at - 1, to - 1, size + 1);
    }
    while at + size < i_end && to + size < j_end && one[at + size] == other[to + size] {
        size += 1;
    }
    (at, to, size)
}

/// Differences that are near each other, with the lines around them.
fn groups(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut groups = Vec::new();
    let mut group: Vec<Step> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut step = *step;
        let length = step.one.1 - step.one.0;
        if step.is_equal && at == 0 {
            step = tail(step);
        } else if step.is_equal && at + 1 < steps.len() && length > 2 * CONTEXT {
            group.push(head(step));
            groups.push(std::mem::take(&mut group));
            step = tail(step);
        } else if step.is_equal && at + 1 == steps.len() {
            step = head(step);
        }
        group.push(step);
    }
    if group.iter().any(|step| !step.is_equal) {
        groups.push(group);
    }
    groups
}

fn head(step: Step) -> Step {
    let cut = |(from, to): (usize, usize)| (from, to.min(from + CONTEXT));
    Step { one: cut(step.one), other: cut(step.other), ..step }
}

fn tail(step: Step) -> Step {
    let cut = |(from, to): (usize, usize)| (from.max(to.saturating_sub(CONTEXT)), to);
    Step { one: cut(step.one), other: cut(step.other), ..step }
}

fn write_group(told: &mut String, group: &[Step], one: &[&str], other: &[&str]) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let (from, to) = (range(first.one.0, last.one.1), range(first.other.0, last.other.1));
    // INVARIANT: writing to a text does not fail.
    let _ = writeln!(told, "@@ -{from} +{to} @@");
    let mut put = |mark: char, lines: &[&str]| {
        for line in lines {
            told.push(mark);
            told.push_str(line);
            told.push('\n');
        }
    };
    for step in group {
        if step.is_equal {
            put(' ', &one[step.one.0..step.one.1]);
        } else {
            put('-', &one[step.one.0..step.one.1]);
            put('+', &other[step.other.0..step.other.1]);
        }
    }
}

/// The first line and how many, one of which is not said.
fn range(from: usize, to: usize) -> String {
    match to - from {
        1 => (from + 1).to_string(),
        0 => format!("{from},0"),
        length => format!("{},{length}", from + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::unified;

    fn text(lines: impl IntoIterator<Item = impl ToString>) -> String {
        lines.into_iter().map(|line| line.to_string()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_difference_is_shown_as_difflib_shows_it() {
        let told = "@@ -1,4 +1,4 @@\n-x\n+0\n 1\n 2\n 3\n@@ -17,4 +17,3 @@\n 16\n 17\n 18\n-x\n";
        let old = text(0..19);
        let new = text((0..20).map(|line| if line % 19 == 0 { "x".to_owned() } else { line.to_string() }));
        assert_eq!(unified(&new, &old).unwrap(), told);
        assert_eq!(unified("a", "b").unwrap(), "@@ -1 +1 @@\n-a\n+b\n");
        assert_eq!(unified("a\nb\nc", "a\nc").unwrap(), "@@ -1,3 +1,2 @@\n a\n-b\n c\n");
        assert_eq!(unified("a", "a").unwrap(), "");
    }

    #[test]
    fn what_is_near_is_shown_together() {
        let new = text((0..12).map(|line| if line == 3 || line == 8 { 99 } else { line }));
        let told = unified(&new, &text(0..12)).unwrap();
        assert_eq!(told.matches("@@ -").count(), 1, "{told}");
        assert!(told.starts_with("@@ -1,12 +1,12 @@\n 0\n 1\n 2\n-99\n+3\n 4\n"), "{told}");
    }

    #[test]
    fn lines_that_occur_too_often_cost_nothing_and_still_match_beside_others() {
        let same = vec!["}"; 3000];
        let (new, old) =
            (text([&["a"], &same[..], &["x"]].concat()), text([&["a"], &same[..], &["y"]].concat()));
        assert_eq!(unified(&new, &old).unwrap(), "@@ -2999,4 +2999,4 @@\n }\n }\n }\n-x\n+y\n");
    }

    #[test]
    fn what_nobody_would_read_is_not_told() {
        assert_eq!(unified(&text(0..5000), &text(0..4999)), None);
        assert_eq!(unified(&text(0..3900), &text(4000..7900)), None);
    }

    #[test]
    fn texts_that_are_made_to_take_long_are_given_up() {
        // Every second line is a run of its own, and is in forty places.
        let made = |between: &str| {
            text((0..2000).flat_map(|line| [(line * 7 % 50).to_string(), format!("{between}{line}")]))
        };
        let (new, old) = (made("a"), made("b"));
        let lines: Vec<Vec<&str>> = [&new, &old].map(|text| text.split('\n').collect()).into();
        assert!(super::blocks(&lines[0], &lines[1]).is_none());
        assert_eq!(unified(&new, &old), None);
    }
}

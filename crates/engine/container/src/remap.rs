//! Whose ids containers get, as dockerd's `--userns-remap` says it: the ranges of a user in /etc/subuid, and of a group
//! in /etc/subgid.

use hako_error::{Classify, Error, Kind, Result};
use hako_runtime::{IdMap, IdRange};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Whose ranges `default` are.
const DEFAULT_USER: &str = "dockremap";
/// The first id of ranges that are given to people, as useradd has it, and how many each gets.
const FIRST: u32 = 100_000;
const COUNT: u32 = 65_536;
/// The kernel's bound of lines in a map.
const MAX_RANGES: usize = 340;

#[derive(Debug, thiserror::Error)]
enum RemapError {
    #[error("invalid userns remapping specification in {spec:?}: use default, USER[:GROUP] or UID[:GID]")]
    Spec { spec: String },
    #[error("no {file} ranges found for {kind} {name:?}: add a line NAME:FIRST:COUNT to {path}")]
    NoRanges { file: &'static str, kind: &'static str, name: String, path: PathBuf },
    #[error("{path} has no room for another range of ids")]
    Full { path: PathBuf },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl Classify for RemapError {
    fn kind(&self) -> Kind {
        match self {
            Self::Spec { .. } => Kind::Invalid,
            Self::NoRanges { .. } | Self::Full { .. } => Kind::FailedPrecondition,
            Self::Write { source, .. } => Kind::of_io(source),
        }
    }
}

/// One of the two kinds of ids: where names are, and where ranges are.
struct Ids {
    kind: &'static str,
    names: &'static str,
    ranges: &'static str,
}

const USERS: Ids = Ids { kind: "user", names: "passwd", ranges: "subuid" };
const GROUPS: Ids = Ids { kind: "group", names: "group", ranges: "subgid" };

/// The ids that a specification means. `etc` is /etc. For `default` ranges are written there where they are missing, so
/// that nobody else gets them; no user is made.
///
/// # Errors
/// `Invalid` for what is none, `FailedPrecondition` where there are no ranges.
pub fn remap(spec: &str, etc: &Path) -> Result<IdMap> {
    let mut parts = spec.split(':');
    let (user, group) = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        ("", ..) | (_, Some(""), _) | (.., Some(_)) => {
            return Err(RemapError::Spec { spec: spec.to_owned() }.into());
        }
        (user, group, None) => (user, group),
    };
    if spec == "default" {
        reserve(etc)?;
        return Ok(IdMap {
            uids: ranges(etc, &USERS, DEFAULT_USER)?,
            gids: ranges(etc, &GROUPS, DEFAULT_USER)?,
        });
    }
    let uids = ranges(etc, &USERS, user)?;
    // Without a group, or where it has no ranges, the user's name counts in both files.
    let of_group = group.and_then(|group| ranges(etc, &GROUPS, group).ok());
    let gids = of_group.map_or_else(|| ranges(etc, &GROUPS, &name_of(etc, &USERS, user)), Ok)?;
    Ok(IdMap { uids, gids })
}

fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let fields = |line: &str| line.trim().split(':').map(str::to_owned).collect();
    text.lines().filter(|line| !line.trim_start().starts_with('#')).map(fields).collect()
}

/// The name of an id, or the word itself where it is none.
fn name_of(etc: &Path, ids: &Ids, word: &str) -> String {
    let known = lines(&etc.join(ids.names));
    let found = known.iter().find(|fields| fields.get(2).is_some_and(|id| id == word));
    found.map_or_else(|| word.to_owned(), |fields| fields[0].clone())
}

/// The id of a name.
fn id_of(etc: &Path, ids: &Ids, word: &str) -> Option<String> {
    let known = lines(&etc.join(ids.names));
    known.iter().find(|fields| fields[0] == word).and_then(|fields| fields.get(2).cloned())
}

/// All ranges of a name or id, one after another from the container's 0 on.
fn ranges(etc: &Path, ids: &Ids, word: &str) -> Result<Vec<IdRange>> {
    let path = etc.join(ids.ranges);
    let (name, id) = (name_of(etc, ids, word), id_of(etc, ids, word));
    let is_its = |owner: &String| *owner == name || owner == word || Some(owner) == id.as_ref();
    let mut inside = 0_u32;
    let mut found = Vec::new();
    for (_, first, count) in parsed(&path).into_iter().filter(|(owner, ..)| is_its(owner)).take(MAX_RANGES) {
        found.push(IdRange { inside, outside: first, count });
        inside = inside.saturating_add(count);
    }
    if found.is_empty() {
        return Err(RemapError::NoRanges { file: ids.ranges, kind: ids.kind, name, path }.into());
    }
    Ok(found)
}

/// Lines that are none are passed over, as shadow does.
fn parsed(path: &Path) -> Vec<(String, u32, u32)> {
    let one = |fields: Vec<String>| {
        let [owner, first, count] = <[String; 3]>::try_from(fields).ok()?;
        let (first, count) = (first.parse().ok()?, count.parse().ok()?);
        (count > 0).then_some((owner, first, count))
    };
    lines(path).into_iter().filter_map(one).collect()
}

/// Gives ranges to the default user where it has none: the first ids above all that were given.
fn reserve(etc: &Path) -> Result<()> {
    for ids in [USERS, GROUPS] {
        let path = etc.join(ids.ranges);
        let known = parsed(&path);
        if known.iter().any(|(owner, ..)| owner == DEFAULT_USER) {
            continue;
        }
        let above = known.iter().map(|(_, first, count)| u64::from(*first) + u64::from(*count)).max();
        let first = above.unwrap_or(0).max(u64::from(FIRST));
        if first + u64::from(COUNT) > u64::from(u32::MAX) {
            return Err(RemapError::Full { path }.into());
        }
        append(&path, &format!("{DEFAULT_USER}:{first}:{COUNT}\n"))
            .map_err(|source| Error::from(RemapError::Write { path: path.clone(), source }))?;
    }
    Ok(())
}

/// One write, which a reader sees whole.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let begin = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    File::options().append(true).create(true).open(path)?.write_all(format!("{begin}{line}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etc(subuid: &str, subgid: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("passwd"), "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/:/bin/sh\n")
            .unwrap();
        fs::write(dir.path().join("group"), "root:x:0:\nstaff:x:50:\n").unwrap();
        fs::write(dir.path().join("subuid"), subuid).unwrap();
        fs::write(dir.path().join("subgid"), subgid).unwrap();
        dir
    }

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn ranges_are_those_of_a_user_and_a_group_by_name_or_number() {
        let dir = etc("ann:1000:1\n# bob:1:1\nann:200000:10\nbob:5:5\n", "ann:300000:10\nstaff:400000:10\n");
        let uids = vec![range(0, 1000, 1), range(1, 200_000, 10)];
        for spec in ["ann", "1000", "ann:root"] {
            let map = remap(spec, dir.path()).unwrap();
            assert_eq!((map.uids, map.gids), (uids.clone(), vec![range(0, 300_000, 10)]), "{spec}");
        }
        for spec in ["ann:staff", "1000:50", "ann:50"] {
            assert_eq!(remap(spec, dir.path()).unwrap().gids, [range(0, 400_000, 10)], "{spec}");
        }
    }

    #[test]
    fn who_has_no_ranges_and_what_is_no_specification_is_refused_by_name() {
        let dir = etc("ann:1000:1\nbad:x:1\n", "");
        for (spec, words) in [
            ("nobody", "no subuid ranges found for user \"nobody\""),
            ("ann", "no subgid ranges"),
            ("bad", "no subuid"),
        ] {
            let error = remap(spec, dir.path()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        for spec in ["", ":", "a:", ":b", "a:b:c"] {
            assert_eq!(remap(spec, dir.path()).unwrap_err().kind(), Kind::Invalid, "{spec:?}");
        }
    }

    #[test]
    fn the_default_takes_a_range_above_all_others_and_keeps_it() {
        let dir = etc("ann:100000:65536", "");
        let map = remap("default", dir.path()).unwrap();
        assert_eq!(map.uids, [range(0, 165_536, COUNT)]);
        assert_eq!(map.gids, [range(0, FIRST, COUNT)]);
        fs::write(dir.path().join("more"), "").unwrap();
        append(&dir.path().join("subuid"), "bob:900000:65536\n").unwrap();
        assert_eq!(remap("default", dir.path()).unwrap(), map, "it stays");
        let text = fs::read_to_string(dir.path().join("subuid")).unwrap();
        assert_eq!(text, "ann:100000:65536\ndockremap:165536:65536\nbob:900000:65536\n");
    }
}

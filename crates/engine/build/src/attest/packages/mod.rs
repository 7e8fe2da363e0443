//! What is in a root: packages of the system, by its database, and of languages, by the files that name them.

mod databases;
mod go;
mod languages;

use crate::files::Source;
use hako_error::Result;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;

/// More of a database is not read.
const LARGEST: u64 = 64 << 20;

/// An installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// The type of package-url: `deb`, `apk`, `pypi`, `npm` or `golang`.
    pub kind: &'static str,
    pub licence: Option<String>,
    pub maintainer: Option<String>,
}

/// What is in the root, sorted.
pub(super) fn installed(root: &Source) -> Result<BTreeSet<Package>> {
    let mut found: BTreeSet<Package> = databases::installed(root).into_iter().collect();
    for file in root.walk("")? {
        if file.metadata.is_file() {
            found.extend(languages::package(&file));
            found.extend(go::modules(&file));
        }
    }
    Ok(found)
}

/// The system's `ID` of os-release.
pub(super) fn system(root: &Source) -> Option<String> {
    let text = read(root, "etc/os-release").or_else(|| read(root, "usr/lib/os-release"))?;
    let id = text.lines().find_map(|line| line.strip_prefix("ID="))?.trim_matches(['"', '\'']);
    Some(id.to_owned()).filter(|id| !id.is_empty())
}

fn read(root: &Source, path: &str) -> Option<String> {
    let path = root.resolve(path).ok()?;
    if !fs::metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

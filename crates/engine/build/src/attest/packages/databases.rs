//! Databases of package programs: dpkg's and apk's.

use super::{Package, read};
use crate::files::Source;
use std::fs;

/// What the databases of the root list.
pub(super) fn installed(root: &Source) -> Vec<Package> {
    let mut found = Vec::new();
    if let Some(text) = read(root, "var/lib/dpkg/status") {
        found.extend(dpkg(&text));
    }
    // Images without a shell have one file a package.
    let parts = root.resolve("var/lib/dpkg/status.d").and_then(fs::read_dir);
    for part in parts.into_iter().flatten().flatten() {
        let name = part.file_name().to_string_lossy().into_owned();
        if let Some(text) = read(root, &format!("var/lib/dpkg/status.d/{name}")) {
            found.extend(dpkg(&text));
        }
    }
    for path in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
        found.extend(read(root, path).map(|text| apk(&text)).unwrap_or_default());
    }
    found
}

/// Paragraphs of `Field: value`, deb822.
fn dpkg(text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let field = |name: &str| {
            let value =
                |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
            paragraph.lines().find_map(value)
        };
        // What was removed and left its configuration is not installed.
        if field("Status").is_some_and(|status| !status.ends_with(" installed")) {
            return None;
        }
        Some(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture").unwrap_or_default(),
            kind: "deb",
            licence: None,
            maintainer: field("Maintainer"),
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

/// Paragraphs of `P:name`, apk's installed database.
fn apk(text: &str) -> Vec<Package> {
    let package = |paragraph: &str| {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Some(Package {
            name: field("P:")?,
            version: field("V:")?,
            architecture: field("A:").unwrap_or_default(),
            kind: "apk",
            licence: field("L:"),
            maintainer: field("m:"),
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_read_and_removed_ones_are_not() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1:2-3\nArchitecture: amd64\n\n\
            Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: c\nVersion: 4\n";
        let found: Vec<(String, String)> =
            dpkg(text).into_iter().map(|one| (one.name, one.version)).collect();
        assert_eq!(found, [("a".into(), "1:2-3".into()), ("c".into(), "4".into())]);
        let found = apk("C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:half\n");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].licence.as_deref()), ("musl", Some("MIT")));
    }
}

//! Packages of Python and npm, by the file in which each says what it is.

use super::Package;
use crate::files::Found;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More of such a file is not read; what it is stands at its beginning.
const LARGEST: u64 = 1 << 20;

/// The package that a file speaks of.
pub(super) fn package(file: &Found) -> Option<Package> {
    let (name, parent) = (file.below.file_name()?.to_str()?, file.below.parent()?);
    let directory = parent.file_name()?.to_str()?;
    match name {
        "METADATA" if directory.ends_with(".dist-info") => python(&read(&file.path)?),
        "PKG-INFO" if directory.ends_with(".egg-info") => python(&read(&file.path)?),
        "package.json" if is_installed(parent) => npm(&read(&file.path)?),
        _ => None,
    }
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `node_modules/NAME` and `node_modules/@SCOPE/NAME`; a package has other files of the name too.
fn is_installed(directory: &Path) -> bool {
    let mut above = directory.ancestors().skip(1).map(|path| path.file_name().and_then(|name| name.to_str()));
    match above.next().flatten() {
        Some("node_modules") => true,
        Some(scope) => scope.starts_with('@') && above.next().flatten() == Some("node_modules"),
        None => false,
    }
}

/// Python's core metadata specifications: header fields, up to an empty line.
fn python(text: &str) -> Option<Package> {
    let field = |name: &str| {
        let head = text.lines().take_while(|line| !line.is_empty());
        let value =
            |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        head.filter_map(value).find(|value| !value.is_empty() && value != "UNKNOWN")
    };
    let licence = field("License-Expression").or_else(|| field("License"));
    Some(Package {
        name: field("Name")?,
        version: field("Version")?,
        kind: "pypi",
        licence,
        ..Package::default()
    })
}

fn npm(text: &str) -> Option<Package> {
    let said: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| said[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let licence = field("license");
    Some(Package {
        name: field("name")?,
        version: field("version")?,
        kind: "npm",
        licence,
        ..Package::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_what_its_file_says_and_only_where_it_is_installed() {
        let found = python("Metadata-Version: 2.1\nName: Flask\nVersion: 3.0\nLicense: BSD\n\nVersion: no\n")
            .unwrap();
        assert_eq!(
            (found.name.as_str(), found.version.as_str(), found.licence.as_deref()),
            ("Flask", "3.0", Some("BSD"))
        );
        assert_eq!(python("Name: half\n\nVersion: 1\n"), None);
        let found = npm(r#"{"name": "@a/b", "version": "1.2.3", "license": {"type": "MIT"}}"#).unwrap();
        assert_eq!((found.name.as_str(), found.licence), ("@a/b", None));
        assert_eq!(npm("{"), None);
        for (path, is) in [
            ("app/node_modules/x", true),
            ("node_modules/@s/x", true),
            ("app", false),
            ("node_modules/x/test/data", false),
            ("lib/@s/x", false),
        ] {
            assert_eq!(is_installed(Path::new(path)), is, "{path}");
        }
    }
}

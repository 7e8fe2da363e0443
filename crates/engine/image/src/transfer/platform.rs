//! Operating system, architecture and variant: OCI image index specification, "platform", and GOARCH's names.

use hako_error::{Classify, Kind};
use std::fmt;
use std::str::FromStr;

/// What a program runs on, written `os/arch[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    pub variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "platform {0:?} is not os/arch or os/arch/variant, such as linux/arm64/v8, nor an OS or an architecture alone"
)]
pub struct ParsePlatformError(String);

impl Classify for ParsePlatformError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::host()
    }
}

impl Platform {
    /// What this program runs on.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = normal(std::env::consts::ARCH, None);
        Self { os: std::env::consts::OS.to_owned(), architecture, variant }
    }

    /// A platform from its parts as manifests give them, brought to the usual names.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normal(architecture, variant.filter(|variant| !variant.is_empty()));
        Self { os: os.to_ascii_lowercase(), architecture, variant }
    }

    /// What one word means: an operating system on this architecture, or an architecture with this operating system.
    fn of_word(word: &str) -> Option<Self> {
        let host = Self::host();
        if SYSTEMS.contains(&word.to_ascii_lowercase().as_str()) {
            return Some(Self { os: word.to_ascii_lowercase(), ..host });
        }
        let alone = Self::new(&host.os, word, None);
        ARCHITECTURES.contains(&alone.architecture.as_str()).then_some(alone)
    }

    /// How well an image for `offered` serves here, more is better; `None` if it does not run. An ARM of a
    /// lower variant runs on a higher one, and so do amd64's levels.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<u8> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let level = |variant: &Option<String>| match (self.architecture.as_str(), variant) {
            ("arm64", None) => Some(8),
            ("arm", None) => Some(7),
            ("amd64", None) => Some(1),
            (_, Some(variant)) => variant.strip_prefix('v').and_then(|digits| digits.parse::<u8>().ok()),
            _ => Some(0),
        };
        match (level(&self.variant), level(&offered.variant)) {
            (Some(ours), Some(theirs)) => (theirs <= ours).then_some(theirs),
            _ => (self.variant == offered.variant).then_some(0),
        }
    }
}

/// Operating systems and architectures that may stand alone, in GOOS's and GOARCH's names.
const SYSTEMS: [&str; 7] = ["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris"];
const ARCHITECTURES: [&str; 12] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips64le", "mips64", "ppc64", "ppc64le", "riscv64", "s390x",
    "wasm",
];

/// The names that people use for an architecture, to the one that manifests use.
fn normal(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let variant = variant.map(|variant| {
        let lower = variant.to_ascii_lowercase();
        if lower.starts_with(|c: char| c.is_ascii_digit()) { format!("v{lower}") } else { lower }
    });
    let architecture = architecture.to_ascii_lowercase();
    match (architecture.as_str(), variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64".into(), None),
        ("x86_64" | "x86-64", _) => ("amd64".into(), variant),
        ("aarch64" | "arm64", None | Some("v8")) => ("arm64".into(), None),
        ("aarch64", _) => ("arm64".into(), variant),
        ("armhf", _) => ("arm".into(), Some("v7".into())),
        ("armel", _) => ("arm".into(), Some("v6".into())),
        ("i386" | "i686" | "x86", _) => ("386".into(), None),
        ("powerpc64le" | "powerpc64", _) => ("ppc64le".into(), None),
        _ => (architecture, variant),
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if !parts.iter().all(is_word) {
            return Err(ParsePlatformError(text.to_owned()));
        }
        match parts.as_slice() {
            [one] => Self::of_word(one).ok_or_else(|| ParsePlatformError(text.to_owned())),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(ParsePlatformError(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn common_names_mean_the_same() {
        assert_eq!(platform("linux/x86_64"), platform("linux/amd64"));
        assert_eq!(platform("linux/arm64/v8"), platform("linux/aarch64"));
        assert_eq!(platform("linux/arm/7").to_string(), "linux/arm/v7");
        let host = Platform::host();
        assert_eq!(platform("linux"), Platform { os: "linux".into(), ..host.clone() });
        assert_eq!(platform("aarch64").to_string(), format!("{}/arm64", host.os));
        for text in ["", "a/b/c/d", "linux/", "li nux/amd64", "toaster"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_nearest_variant_below_ranks_highest() {
        let machine = platform("linux/arm/v7");
        assert_eq!(machine.rank(&platform("linux/arm/v7")), Some(7));
        assert_eq!(machine.rank(&platform("linux/arm/v6")), Some(6));
        assert_eq!(machine.rank(&platform("linux/arm/v8")), None);
        assert_eq!(machine.rank(&platform("linux/arm64")), None);
        assert_eq!(platform("linux/amd64").rank(&platform("linux/amd64/v3")), None);
        assert_eq!(platform("linux/amd64").rank(&platform("windows/amd64")), None);
        assert_eq!(platform("linux/s390x").rank(&platform("linux/s390x")), Some(0));
    }
}

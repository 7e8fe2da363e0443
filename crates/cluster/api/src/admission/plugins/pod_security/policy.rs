//! Levels and versions, as the labels of a namespace say them.

use std::fmt;

use hako_error::FieldCause;
use hako_kube::field;
use serde_json::Value;

/// How much pods may do; stricter levels are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// The rules of which minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Minor(u32),
    Latest,
}

/// A level by the rules of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub level: Level,
    pub version: Version,
}

/// What is refused, recorded and warned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub enforce: LevelVersion,
    pub audit: LevelVersion,
    pub warn: LevelVersion,
}

const PREFIX: &str = "pod-security.kubernetes.io/";
const NO_LEVEL: &str = "must be one of privileged, baseline, restricted";
const NO_VERSION: &str = "must be \"latest\" or \"v1.x\"";

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_plain =
            minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
        minor.parse().ok().filter(|_| is_plain).map(Self::Minor)
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl Policy {
    /// What labels say; with faults it refuses more than was meant, and records and warns less.
    pub(super) fn of(labels: Option<&Value>) -> (Self, Vec<FieldCause>) {
        let mut faults = Vec::new();
        let mut mode = |name: &str, otherwise: Level| {
            let of = |suffix: &str| {
                let label = format!("{PREFIX}{name}{suffix}");
                let value = labels.and_then(|labels| labels.get(&label)?.as_str().map(str::to_owned));
                value.map(|value| (field::key("metadata.labels", &label), value))
            };
            let level = of("").map_or(Level::Privileged, |(path, value)| {
                Level::parse(&value).unwrap_or_else(|| {
                    faults.push(field::invalid(path, value, NO_LEVEL));
                    otherwise
                })
            });
            let version = of("-version").map_or(Version::Latest, |(path, value)| {
                Version::parse(&value).unwrap_or_else(|| {
                    faults.push(field::invalid(path, value, NO_VERSION));
                    Version::Latest
                })
            });
            LevelVersion { level, version }
        };
        let enforce = mode("enforce", Level::Restricted);
        let audit = mode("audit", Level::Privileged);
        let warn = mode("warn", Level::Privileged);
        (Self { enforce, audit, warn }, faults)
    }
}

//! References to images, in the grammar of the distribution specification and Docker's defaults.

use crate::Digest;
use hako_error::{Classify, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An image's name: `[host[:port]/]path[:tag][@digest]`.
///
/// Parsing fills in Docker's defaults: `busybox` is `docker.io/library/busybox:latest`. With a digest and no
/// tag there is no default tag. Printing gives the familiar short form back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseImageRefError {
    /// Nothing there.
    #[error("image name is empty, expected [host[:port]/]path[:tag][@digest]")]
    Empty,
    /// Longer than 255 characters.
    #[error("image name {0:?} is longer than 255 characters")]
    TooLong(String),
    /// A part of the path breaks the grammar.
    #[error(
        "image name {name:?} is not valid: {part:?} must be lower-case letters and digits, separated by '.', '_', '__' or '-'"
    )]
    Path { name: String, part: String },
    /// The part before the first slash is no host.
    #[error("image name {name:?} is not valid: {host:?} is no host[:port]")]
    Host { name: String, host: String },
    /// The tag breaks the grammar.
    #[error(
        "image name {name:?} is not valid: tag {tag:?} must be 1 to 128 of [A-Za-z0-9_.-] and not start with '.' or '-'"
    )]
    Tag { name: String, tag: String },
    /// The digest breaks the grammar.
    #[error("image name {name:?} is not valid")]
    Digest { name: String, source: crate::ParseDigestError },
}

impl Classify for ParseImageRefError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";

impl ImageRef {
    /// The registry's host and port, `docker.io` by default.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry, such as `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if the name has one or defaults to one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the name pins one.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The name with every default written out: `docker.io/library/busybox:latest`. Equal names compare equal.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}/{}{}", self.registry, self.repository, self.suffix())
    }

    /// The same repository, pinned to `digest` and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same without a digest.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        Self { digest: None, ..self.clone() }
    }

    /// The short form of the name without tag and digest: `busybox`, `example.com/app`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix(DEFAULT_NAMESPACE) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ if self.repository.split_once('/').is_some_and(|(first, _)| is_like_host(first)) => {
                format!("{DEFAULT_REGISTRY}/{}", self.repository)
            }
            _ => self.repository.clone(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl FromStr for ImageRef {
    type Err = ParseImageRefError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.is_empty() {
            return Err(ParseImageRefError::Empty);
        }
        if name.len() > 255 + 72 {
            return Err(ParseImageRefError::TooLong(name.to_owned()));
        }
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ParseImageRefError::Digest { name: name.into(), source })?;
                (rest, Some(digest))
            }
            None => (name, None),
        };
        let (path, tag) = split_tag(rest);
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ParseImageRefError::Tag { name: name.into(), tag: tag.into() });
        }
        let (registry, repository) = split_registry(name, path)?;
        // The distribution reference's bound on the name with its registry.
        if registry.len() + 1 + repository.len() > 255 {
            return Err(ParseImageRefError::TooLong(name.to_owned()));
        }
        if let Some(part) = repository.split('/').find(|part| !is_path_part(part)) {
            return Err(ParseImageRefError::Path { name: name.into(), part: part.into() });
        }
        let tag = tag.or(if digest.is_none() { Some(DEFAULT_TAG) } else { None }).map(str::to_owned);
        Ok(Self { registry, repository, tag, digest })
    }
}

/// A colon after the last slash starts a tag; an earlier one is a port.
fn split_tag(rest: &str) -> (&str, Option<&str>) {
    match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    }
}

/// The part before the first slash is a host if it has a dot or a colon, is `localhost` or has capitals.
fn is_like_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn split_registry(name: &str, path: &str) -> Result<(String, String), ParseImageRefError> {
    let Some((first, rest)) = path.split_once('/') else {
        return Ok((DEFAULT_REGISTRY.to_owned(), format!("{DEFAULT_NAMESPACE}{path}")));
    };
    if !is_like_host(first) {
        return Ok((DEFAULT_REGISTRY.to_owned(), path.to_owned()));
    }
    if !is_host_and_port(first) {
        return Err(ParseImageRefError::Host { name: name.into(), host: first.into() });
    }
    match first {
        "docker.io" | "index.docker.io" if !rest.contains('/') => {
            Ok((DEFAULT_REGISTRY.to_owned(), format!("{DEFAULT_NAMESPACE}{rest}")))
        }
        "index.docker.io" => Ok((DEFAULT_REGISTRY.to_owned(), rest.to_owned())),
        _ => Ok((first.to_owned(), rest.to_owned())),
    }
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, distribution specification, "Pulling manifests".
fn is_path_part(part: &str) -> bool {
    let is_alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_well = bytes.first().is_some_and(|b| is_alnum(*b)) && bytes.last().is_some_and(|b| is_alnum(*b));
    ends_well
        && bytes
            .split(|b| is_alnum(*b))
            .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|b| *b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !tag.starts_with(['.', '-'])
}

impl TryFrom<String> for ImageRef {
    type Error = ParseImageRefError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> Self {
        reference.canonical()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar_name(), self.suffix())
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<ImageRef>().unwrap().canonical()
    }

    #[test]
    fn defaults_are_dockers() {
        assert_eq!(canonical("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(canonical("me/app:v1"), "docker.io/me/app:v1");
        assert_eq!(canonical("docker.io/busybox"), "docker.io/library/busybox:latest");
        assert_eq!(canonical("index.docker.io/library/busybox"), "docker.io/library/busybox:latest");
        assert_eq!(canonical("localhost/app"), "localhost/app:latest");
        assert_eq!(canonical("127.0.0.1:5000/a/b:2"), "127.0.0.1:5000/a/b:2");
    }

    #[test]
    fn a_digest_replaces_the_default_tag() {
        let digest = Digest::of(b"x");
        assert_eq!(canonical(&format!("app@{digest}")), format!("docker.io/library/app@{digest}"));
        assert_eq!(canonical(&format!("app:1@{digest}")), format!("docker.io/library/app:1@{digest}"));
    }

    #[test]
    fn the_short_form_prints() {
        for text in ["busybox:latest", "me/app:v1", "example.com/app:1", "library.example.com:80/x/y:z"] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_name_of_docker_hub_that_would_read_as_a_host_keeps_its_registry() {
        for text in ["docker.io/localhost/app:1", "docker.io/a.b/c:1"] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        let long = "a".repeat(240);
        for text in [
            "",
            ":tag",
            "A",
            "a//b",
            "a/",
            "/a",
            "a:",
            "a:-x",
            "-a",
            "a..b",
            "a___b",
            "a b",
            "a@sha256:1",
            "a.b:x/c",
            &long,
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?} parsed");
        }
    }
}

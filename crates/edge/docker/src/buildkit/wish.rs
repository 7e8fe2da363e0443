//! What a client wants built, in the words of BuildKit's Dockerfile frontend.

use hako_build::{
    BuildRequest, CacheExport, CacheMode, CacheSource, CacheTarget, Entitlement, Output, Provenance,
    ProvenanceMode, RunNetwork, extra_host, image_field, rlimit,
};
use hako_error::{Error, Kind, Result};
use hako_names::ImageRef;
use hako_oci::runtime::PosixRlimit;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// What frontends know and what changes nothing here: where files come from is said elsewhere, the rest are
/// remarks about the client.
const ELSEWHERE: [&str; 8] = [
    "filename",
    "context",
    "contextkey",
    "dockerfilekey",
    "source",
    "cmdline",
    "frontend.caps",
    "build-arg:BUILDKIT_SYNTAX",
];
/// Prefixes of the same kind.
const REMARKS: [&str; 3] = ["vcs:", "input-metadata:", "context:"];
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

/// A build as its client says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The frontend's attributes.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) exports: Vec<Export>,
    pub(crate) cache_from: Vec<Entry>,
    pub(crate) cache_to: Vec<Entry>,
    pub(crate) allow: BTreeSet<Entitlement>,
}

/// Where the result goes: a kind and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Entry {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "Attrs")]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// The same form serves outputs and caches.
pub(crate) type Export = Entry;

impl Entry {
    fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    fn is(&self, key: &str) -> bool {
        matches!(self.get(key), "1" | "true" | "True" | "TRUE" | "t")
    }

    /// Whether the result is an image of this machine, and not something for the client.
    pub(crate) fn is_image(&self) -> bool {
        matches!(self.kind.as_str(), "moby" | "image")
    }
}

fn unimplemented(text: String) -> Error {
    Error::new(Kind::Unimplemented, format!("{text} is unimplemented"))
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, text)
}

impl Asked {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The Dockerfile's name.
    pub(crate) fn filename(&self) -> &str {
        self.get("filename").unwrap_or("Dockerfile")
    }

    /// Contexts with names and what they are.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("context:")?, value.as_str())))
    }

    /// The names that the image gets.
    pub(crate) fn tags(&self) -> Result<Vec<ImageRef>> {
        let names = self.exports.iter().flat_map(|export| export.get("name").split(','));
        let mut tags = Vec::new();
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            let tag: ImageRef = name.parse().map_err(Error::from)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    /// The request without its files. What cannot be honoured is refused by name.
    pub(crate) fn request(&self, out: &Path) -> Result<BuildRequest> {
        let mut request =
            BuildRequest { tags: self.tags()?, allow: self.allow.clone(), ..BuildRequest::default() };
        for (key, value) in &self.attributes {
            self.attribute(&mut request, key, value)?;
        }
        for entry in &self.cache_from {
            request.cache_from.push(source(entry)?);
        }
        for entry in &self.cache_to {
            request.cache_to.push(target(entry)?);
        }
        for (number, export) in self.exports.iter().enumerate() {
            let is_of_files = matches!(export.kind.as_str(), "local" | "tar");
            for (key, value) in export.attributes.iter().filter(|_| !is_of_files) {
                image_field(&mut request.annotations, key, value)?;
            }
            request.outputs.push(output(export, &out.join(number.to_string()))?);
        }
        Ok(request)
    }

    fn attribute(&self, request: &mut BuildRequest, key: &str, value: &str) -> Result<()> {
        if ELSEWHERE.contains(&key) || REMARKS.iter().any(|prefix| key.starts_with(prefix)) {
            return Ok(());
        }
        if let Some(name) = key.strip_prefix("build-arg:") {
            if name == INLINE_CACHE && matches!(value, "1" | "true") {
                request.cache_to.push(inline_cache());
            }
            request.args.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
        if let Some(name) = key.strip_prefix("label:") {
            request.labels.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
        match key {
            "target" => request.target = self.get(key).map(str::to_owned),
            "no-cache" if value.is_empty() => request.no_cache = true,
            "no-cache" => request.no_cache_stages = value.split(',').map(str::to_owned).collect(),
            "image-resolve-mode" => request.pull = value == "pull",
            "platform" => request.platforms = words(value).map(str::to_owned).collect(),
            // Several platforms make one index anyway.
            "multi-platform" => {}
            "force-network-mode" => request.network = network(value)?,
            "add-hosts" => request.extra_hosts = hosts(value)?,
            "shm-size" => request.limits.shm_bytes = shm_bytes(value)?,
            "ulimit" => request.limits.rlimits = words(value).map(ulimit).collect::<Result<_>>()?,
            "cache-from" => request.cache_from.extend(images(value)?),
            "cache-imports" => {
                let entries: Vec<Entry> =
                    serde_json::from_str(value).map_err(|_| invalid("cache-imports is no list of caches"))?;
                for entry in &entries {
                    request.cache_from.push(source(entry)?);
                }
            }
            "attest:sbom" => request.sbom = sbom(value)?,
            "attest:provenance" => request.provenance = provenance(value)?,
            _ if matches!(value, "" | "0" | "false") => {}
            _ => return Err(unimplemented(format!("the build option {key}={value}"))),
        }
        Ok(())
    }
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Whether a list of packages is wanted; ours is made by no generator's image.
fn sbom(value: &str) -> Result<bool> {
    match words(value).find(|word| !matches!(*word, "disabled=false" | "disabled=true")) {
        Some(word) => Err(unimplemented(format!("the build option attest:sbom={word}"))),
        None => Ok(!words(value).any(|word| word == "disabled=true")),
    }
}

/// What is told of how the result is made. `inline-only` asks for it only where it costs nothing; it is left out then.
fn provenance(value: &str) -> Result<Option<Provenance>> {
    let mut wanted = Provenance::default();
    for word in words(value) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("disabled", "true") | ("inline-only", "true") => return Ok(None),
            ("disabled" | "inline-only", "false") | ("version", "v0.2" | "v1") => {}
            ("mode", "min") => wanted.mode = ProvenanceMode::Min,
            ("mode", "max") => wanted.mode = ProvenanceMode::Max,
            ("builder-id", id) if !id.is_empty() => wanted.builder_id = Some(id.to_owned()),
            _ => return Err(unimplemented(format!("the build option attest:provenance={word}"))),
        }
    }
    Ok(Some(wanted))
}

fn network(value: &str) -> Result<RunNetwork> {
    match value {
        "" | "sandbox" | "default" | "bridge" => Ok(RunNetwork::Bridge),
        "none" => Ok(RunNetwork::None),
        "host" => Ok(RunNetwork::Host),
        other => Err(unimplemented(format!("the network {other:?} for a build"))),
    }
}

/// Bytes; none for 0 and for nothing.
fn shm_bytes(value: &str) -> Result<Option<u64>> {
    let bytes = if value.is_empty() { Ok(0) } else { value.parse::<u64>() };
    let bytes = bytes.map_err(|_| invalid("shm-size is no number of bytes"))?;
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

/// `name=soft[:hard]`, where -1 is unlimited.
fn ulimit(word: &str) -> Result<PosixRlimit> {
    let bad = || invalid("ulimit is no NAME=SOFT[:HARD]");
    let number = |text: &str| match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).unwrap_or(u64::MAX)),
        Err(_) => Err(bad()),
    };
    let (name, limits) = word.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    rlimit(name, number(soft)?, number(hard)?)
}

/// `name=address,name=address`, as the frontend has it.
fn hosts(value: &str) -> Result<Vec<(String, IpAddr)>> {
    value.split(',').filter(|host| !host.is_empty()).map(extra_host).collect()
}

fn images(value: &str) -> Result<Vec<CacheSource>> {
    let names = value.split(',').filter(|name| !name.is_empty());
    names.map(|name| Ok(CacheSource::Inline { reference: name.parse().map_err(Error::from)? })).collect()
}

fn source(entry: &Entry) -> Result<CacheSource> {
    match entry.kind.as_str() {
        "registry" => Ok(CacheSource::Registry { reference: entry.get("ref").parse().map_err(Error::from)? }),
        other => Err(unimplemented(format!("a cache to read of type {other:?}"))),
    }
}

fn inline_cache() -> CacheExport {
    CacheExport { target: CacheTarget::Inline, mode: CacheMode::Min, mounts: false, ignore_error: false }
}

fn target(entry: &Entry) -> Result<CacheExport> {
    let mode = match entry.get("mode") {
        "" | "min" => CacheMode::Min,
        "max" => CacheMode::Max,
        other => return Err(invalid(format!("the cache mode {other:?} is neither min nor max"))),
    };
    let target = match entry.kind.as_str() {
        "inline" => CacheTarget::Inline,
        "registry" => CacheTarget::Registry { reference: entry.get("ref").parse().map_err(Error::from)? },
        other => return Err(unimplemented(format!("a cache to write of type {other:?}"))),
    };
    Ok(CacheExport { target, mode, mounts: false, ignore_error: entry.is("ignore-error") })
}

fn output(export: &Export, dest: &Path) -> Result<Output> {
    let dest = dest.to_owned();
    let compression = match export.get("compression") {
        "" => None,
        word => Some(word.parse().map_err(|source| invalid("the output's compression").with_source(source))?),
    };
    Ok(match export.kind.as_str() {
        _ if export.is_image() => Output::Image { push: export.is("push"), compression },
        "local" => Output::Local { dest },
        "tar" => Output::Tar { dest },
        "oci" => Output::Oci { dest, tar: true, compression },
        "docker" => Output::Docker { dest, compression },
        other => return Err(unimplemented(format!("an output of type {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        let attributes = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Asked { attributes: attributes.collect(), ..Asked::default() }
    }

    #[test]
    fn attributes_become_a_request() {
        let asked = asked(&[
            ("build-arg:A", "b"),
            ("build-arg:BUILDKIT_INLINE_CACHE", "1"),
            ("label:l", "m"),
            ("no-cache", ""),
            ("force-network-mode", "none"),
            ("add-hosts", "a=10.0.0.1,b=::1"),
            ("image-resolve-mode", "pull"),
            ("cmdline", "whatever"),
            ("ulimit", "nofile=7:9,core=-1"),
            ("shm-size", "4096"),
        ]);
        let request = asked.request(Path::new("/out")).unwrap();
        assert_eq!((request.args["A"].as_str(), request.labels["l"].as_str()), ("b", "m"));
        assert!(request.no_cache && request.pull);
        assert_eq!(request.network, RunNetwork::None);
        assert_eq!(request.extra_hosts.len(), 2);
        let limits: Vec<(u64, u64)> =
            request.limits.rlimits.iter().map(|limit| (limit.soft(), limit.hard())).collect();
        assert_eq!(limits, [(7, 9), (u64::MAX, u64::MAX)]);
        assert_eq!(request.limits.shm_bytes, Some(4096));
        assert_eq!(request.cache_to, [inline_cache()]);
    }

    #[test]
    fn statements_beside_the_result_are_asked_for_in_buildkits_words() {
        let wanted = |key: &str, value: &str| asked(&[(key, value)]).request(Path::new("/out")).unwrap();
        assert!(wanted("attest:sbom", "").sbom && !wanted("attest:sbom", "disabled=true").sbom);
        let told = |value: &str| wanted("attest:provenance", value).provenance;
        assert_eq!(told("mode=max,builder-id=me").unwrap().builder_id.as_deref(), Some("me"));
        assert_eq!(told("mode=max,version=v1").unwrap().mode, ProvenanceMode::Max);
        assert!(told("mode=min,inline-only=true").is_none() && told("disabled=true").is_none());
        assert_eq!(wanted("platform", "linux/amd64,linux/arm64").platforms.len(), 2);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (key, value) in [("cgroup-parent", "x"), ("attest:sbom", "generator=x"), ("new-thing", "x")] {
            let error = asked(&[(key, value)]).request(Path::new("/out")).unwrap_err();
            assert_eq!(error.kind(), Kind::Unimplemented);
            assert!(error.chain().contains(key), "{error}");
        }
    }

    #[test]
    fn outputs_have_places_of_their_own_and_names_are_told_once() {
        let export = |kind: &str, name: &str| Entry {
            kind: kind.into(),
            attributes: [("name".to_owned(), name.to_owned())].into(),
        };
        let asked =
            Asked { exports: vec![export("moby", "a:1,b"), export("local", "a:1")], ..Asked::default() };
        let request = asked.request(Path::new("/out")).unwrap();
        assert_eq!(request.tags.len(), 2);
        assert_eq!(request.outputs[0], Output::Image { push: false, compression: None });
        assert_eq!(request.outputs[1], Output::Local { dest: "/out/1".into() });
    }
}

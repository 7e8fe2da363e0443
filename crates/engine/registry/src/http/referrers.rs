//! `GET …/referrers/DIGEST?artifactType`: OCI distribution, "Listing Referrers".

use super::request::{encode, query};
use super::{Answer, Front, OCI_FILTERS, Request, json, set};
use crate::error::RegistryError;
use crate::manifest::OCI_INDEX;
use crate::metadata::ManifestRecord;
use crate::name::{Reference, Repository};
use crate::registry::Registry;
use hako_names::Digest;
use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};
use serde_json::Value;
use std::ops::ControlFlow;

/// Bytes of descriptors on one page: clients read an index of 4 MiB at most.
const PAGE_BYTES: usize = 3 << 20;

/// An index, empty for what nothing refers to. Annotations are as long as manifests may be, so it comes in pages.
pub(super) async fn list(front: &Front, name: &Repository, subject: Digest, request: &Request) -> Answer {
    let wanted = query(request, "artifactType")?.filter(|wanted| !wanted.is_empty());
    let behind = query(request, "last")?.map(|last| Place::parse(&last)).transpose()?;
    let mut page = Page { wanted: wanted.as_deref(), ..Page::default() };
    match front.upstreams.origin(name) {
        // Not kept, so while the upstream cannot be asked it is not said that there are none.
        Some(origin) => page.take_listed(origin.referrers(subject).await?, behind),
        None => take_here(&mut page, &front.registry, name, subject, behind).await?,
    }
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.descriptors});
    let mut response = json(StatusCode::OK, index.to_string());
    set(&mut response, CONTENT_TYPE, OCI_INDEX);
    if wanted.is_some() {
        set(&mut response, OCI_FILTERS, "artifactType");
    }
    if let (true, Some(last)) = (page.is_full, page.last) {
        let filter = wanted.map(|wanted| format!("artifactType={}&", encode(&wanted))).unwrap_or_default();
        let link = format!("</v2/{name}/referrers/{subject}?{filter}last={}>; rel=\"next\"", last.text());
        set(&mut response, LINK, link);
    }
    Ok(response)
}

/// Where a page ends: manifests with a subject come first, then what is only listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A manifest with a subject.
    Manifest(Digest),
    /// So many of a list.
    Listed(usize),
}

impl Place {
    fn parse(text: &str) -> Result<Self, RegistryError> {
        let bad = || RegistryError::Request {
            what: "the parameter last",
            problem: format!("{text:?} is no place in this list"),
        };
        match text.parse() {
            Ok(digest) => Ok(Self::Manifest(digest)),
            Err(_) => text.parse().map(Self::Listed).map_err(|_| bad()),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Manifest(digest) => digest.to_string(),
            Self::Listed(count) => count.to_string(),
        }
    }
}

/// A page that is being filled.
#[derive(Default)]
struct Page<'a> {
    wanted: Option<&'a str>,
    descriptors: Vec<Value>,
    bytes: usize,
    /// The last place that was looked at.
    last: Option<Place>,
    is_full: bool,
}

impl Page<'_> {
    /// Takes what is wanted while there is room. The first one always has it.
    fn take(&mut self, place: Place, descriptor: Value) -> ControlFlow<()> {
        if self.wanted.is_none_or(|wanted| descriptor["artifactType"] == wanted) {
            let bytes = descriptor.to_string().len();
            if self.bytes + bytes > PAGE_BYTES && !self.descriptors.is_empty() {
                self.is_full = true;
                return ControlFlow::Break(());
            }
            self.bytes += bytes;
            self.descriptors.push(descriptor);
        }
        self.last = Some(place);
        ControlFlow::Continue(())
    }

    fn take_listed(&mut self, listed: Vec<Value>, behind: Option<Place>) {
        let first = if let Some(Place::Listed(count)) = behind { count } else { 0 };
        for (at, descriptor) in listed.into_iter().enumerate().skip(first) {
            if self.take(Place::Listed(at + 1), descriptor).is_break() {
                break;
            }
        }
    }
}

async fn take_here(
    page: &mut Page<'_>,
    registry: &Registry,
    name: &Repository,
    subject: Digest,
    behind: Option<Place>,
) -> Result<(), RegistryError> {
    let after = if let Some(Place::Manifest(digest)) = behind { Some(digest) } else { None };
    if !matches!(behind, Some(Place::Listed(_))) {
        registry.metadata().referrers(name, subject, after, &mut |digest, record| {
            page.take(Place::Manifest(digest), descriptor(digest, record))
        })?;
    }
    if page.is_full {
        return Ok(());
    }
    let mut listed = fallback(registry, name, subject).await?;
    for one in &mut listed {
        let digest = one["digest"].as_str().and_then(|digest| digest.parse().ok());
        if let Some(digest) = digest
            && registry.metadata().is_referrer(name, subject, digest)?
        {
            // Told already. It keeps its place, so that those behind it keep theirs.
            *one = Value::Null;
        }
    }
    page.take_listed(listed, behind);
    page.descriptors.retain(|one| !one.is_null());
    Ok(())
}

fn descriptor(digest: Digest, record: ManifestRecord) -> Value {
    let mut descriptor = serde_json::json!({
        "mediaType": record.media_type, "digest": digest, "size": record.size,
    });
    if let Some(artifact_type) = record.artifact_type {
        descriptor["artifactType"] = artifact_type.into();
    }
    if !record.annotations.is_empty() {
        descriptor["annotations"] = serde_json::json!(record.annotations);
    }
    descriptor
}

/// What clients listed themselves, under the tag that they use where there is no referrers API ("Referrers Tag Schema").
async fn fallback(
    registry: &Registry,
    name: &Repository,
    subject: Digest,
) -> Result<Vec<Value>, RegistryError> {
    let tag = format!("sha256-{}", subject.hex()).parse()?;
    let Some((digest, record)) = registry.metadata().manifest(name, &Reference::Tag(tag))? else {
        return Ok(Vec::new());
    };
    if record.media_type != OCI_INDEX {
        return Ok(Vec::new());
    }
    let mut index: Value =
        serde_json::from_slice(&registry.manifest_bytes(name, digest).await?).unwrap_or_default();
    let listed = index.get_mut("manifests").and_then(Value::as_array_mut);
    Ok(listed.map(std::mem::take).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for place in [Place::Manifest(Digest::of(b"x")), Place::Listed(7)] {
            assert_eq!(Place::parse(&place.text()).unwrap(), place);
        }
        for bad in ["", "-1", "v1", "sha256:0"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}

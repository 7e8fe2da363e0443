//! Manifests, tags and referrers.

use super::client::{Call, RemoteClient, Target};
use super::error::RemoteError;
use super::payload::Payload;
use super::{Access, MANIFEST_LIMIT};
use bytes::Bytes;
use hako_names::Digest;
use hako_oci::media_type::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, INDEX, MANIFEST};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;

/// What is read of a list of tags or repositories.
const LIST_LIMIT: usize = 16 << 20;
/// Pages of referrers that are followed.
const REFERRER_PAGES: usize = 1000;
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or index as a registry gave it.
#[derive(Clone, Debug)]
pub struct RemoteManifest {
    /// Its bytes, untouched.
    pub bytes: Bytes,
    /// Its media type: what it says itself, else what the answer's header says.
    pub media_type: String,
    /// What its bytes hash to.
    pub digest: Digest,
}

/// What a registry says of a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest; old registries do not tell it.
    pub digest: Option<Digest>,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The names on it.
    pub items: Vec<String>,
    /// What to pass as `last` for the next page; `None` on the last one.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default, alias = "repositories")]
    tags: Option<Vec<String>>,
}

impl RemoteClient {
    /// What the registry has under a tag or digest; `None` if nothing.
    pub async fn head_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<ManifestHead>, RemoteError> {
        let call = manifest_call(Method::HEAD, repository, reference).accepting(&[404]);
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let headers = response.headers();
        let size = text(headers, "content-length").and_then(|length| length.parse().ok());
        let digest = text(headers, CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
        Ok(Some(ManifestHead { digest, media_type: content_type(headers), size }))
    }

    /// The manifest under a tag or digest, verified against the digest if it is one. The error's
    /// [`RemoteError::is_not_found`] says that there is none.
    pub async fn get_manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<RemoteManifest, RemoteError> {
        let found = self.get_manifest_unless(repository, reference, None).await?;
        let call = manifest_call(Method::GET, repository, reference);
        found.ok_or_else(|| self.protocol(&call, "it says that nothing changed, which was not asked"))
    }

    /// The same, or `None` if it still has the digest `known`: `If-None-Match`.
    pub async fn get_manifest_unless(
        &self,
        repository: &str,
        reference: &str,
        known: Option<Digest>,
    ) -> Result<Option<RemoteManifest>, RemoteError> {
        let mut call = manifest_call(Method::GET, repository, reference);
        if let Some(known) = known {
            call = call.header(header::IF_NONE_MATCH, &format!("\"{known}\"")).accepting(&[304]);
        }
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let said = content_type(response.headers());
        let bytes = self.read(&call.what, response.into_body(), MANIFEST_LIMIT).await?;
        let digest = Digest::of(&bytes);
        if let Ok(expected) = reference.parse::<Digest>()
            && expected != digest
        {
            let (host, what) = (self.host().to_owned(), call.what);
            return Err(RemoteError::Digest { host, what, expected, actual: digest });
        }
        Ok(Some(RemoteManifest { media_type: media_type(&bytes, said), bytes, digest }))
    }

    /// Stores a manifest under a tag or its own digest; returns what the registry calls it.
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, RemoteError> {
        let digest = Digest::of(&bytes);
        let mut call = Call::new(
            Method::PUT,
            format!("/v2/{repository}/manifests/{reference}"),
            name(repository, reference),
        )
        .on(repository, Access::Push)
        .header(header::CONTENT_TYPE, media_type);
        call.payload = Payload::Bytes(bytes);
        // Storing the same bytes under the same name twice is storing them once.
        call.is_repeatable = true;
        let response = self.send(&call).await?;
        match text(response.headers(), CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok()) {
            Some(actual) if actual != digest => {
                let (host, what) = (self.host().to_owned(), call.what);
                Err(RemoteError::Digest { host, what, expected: digest, actual })
            }
            _ => Ok(digest),
        }
    }

    /// Deletes a manifest by digest, or, where the registry allows it, a tag.
    pub async fn delete_manifest(&self, repository: &str, reference: &str) -> Result<(), RemoteError> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let call =
            Call::new(Method::DELETE, path, name(repository, reference)).on(repository, Access::Delete);
        self.send(&call).await.map(drop)
    }

    /// A page of a repository's tags: at most `count` after the tag `last`.
    pub async fn list_tags(
        &self,
        repository: &str,
        count: Option<u32>,
        last: Option<&str>,
    ) -> Result<Page, RemoteError> {
        let path = format!("/v2/{repository}/tags/list{}", paging(count, last));
        let call =
            Call::new(Method::GET, path, format!("the tags of {repository}")).on(repository, Access::Pull);
        self.page(call).await
    }

    /// A page of the registry's repositories.
    pub async fn catalog(&self, count: Option<u32>, last: Option<&str>) -> Result<Page, RemoteError> {
        let path = format!("/v2/_catalog{}", paging(count, last));
        let mut call = Call::new(Method::GET, path, "the catalogue".into());
        call.scope = "registry:catalog:*".into();
        self.page(call).await
    }

    async fn page(&self, call: Call) -> Result<Page, RemoteError> {
        let response = self.send(&call).await?;
        let next = text(response.headers(), "link").and_then(next_of);
        let bytes = self.read(&call.what, response.into_body(), LIST_LIMIT).await?;
        let list: List =
            serde_json::from_slice(&bytes).map_err(|_| self.protocol(&call, "it is no JSON list"))?;
        Ok(Page { items: list.tags.unwrap_or_default(), next })
    }

    /// The descriptors of the manifests that have `digest` as their subject, of all pages; also from registries that keep
    /// them under the fallback tag.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: Digest,
    ) -> Result<Vec<serde_json::Value>, RemoteError> {
        let path = format!("/v2/{repository}/referrers/{digest}");
        let mut call = Call::new(Method::GET, path, format!("the referrers of {digest}"))
            .on(repository, Access::Pull)
            .accepting(&[404]);
        let (mut descriptors, mut room) = (Vec::new(), LIST_LIMIT);
        for _ in 0..REFERRER_PAGES {
            let response = self.send(&call).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return self.fallback_referrers(repository, digest).await;
            }
            let next = text(response.headers(), "link").and_then(target_of).map(str::to_owned);
            let bytes = self.read(&call.what, response.into_body(), room.min(MANIFEST_LIMIT)).await?;
            room -= bytes.len();
            descriptors.append(&mut self.listed(&call, &bytes)?);
            let Some(next) = next else { return Ok(descriptors) };
            call.target =
                target(&next).ok_or_else(|| self.protocol(&call, "its next page is at no usable address"))?;
            // A page that is missing is not the end.
            call.accept = &[];
        }
        Err(self.protocol(&call, "its pages have no end"))
    }

    async fn fallback_referrers(
        &self,
        repository: &str,
        digest: Digest,
    ) -> Result<Vec<serde_json::Value>, RemoteError> {
        let tag = digest.to_string().replace(':', "-");
        match self.get_manifest(repository, &tag).await {
            Ok(found) => self.listed(&manifest_call(Method::GET, repository, &tag), &found.bytes),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The descriptors of an index.
    fn listed(&self, call: &Call, index: &[u8]) -> Result<Vec<serde_json::Value>, RemoteError> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            manifests: Option<Vec<serde_json::Value>>,
        }
        let listed: Listed =
            serde_json::from_slice(index).map_err(|_| self.protocol(call, "it is no index"))?;
        Ok(listed.manifests.unwrap_or_default())
    }
}

fn manifest_call(method: Method, repository: &str, reference: &str) -> Call {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let mut call = Call::new(method, path, name(repository, reference)).on(repository, Access::Pull);
    // Docker's registry takes no list in one header from everybody: one header for each.
    for media_type in [INDEX, MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST] {
        call = call.header(header::ACCEPT, media_type);
    }
    // Anything else is named by its type in the error, rather than "not found".
    call.header(header::ACCEPT, "*/*;q=0.1")
}

fn name(repository: &str, reference: &str) -> String {
    let separator = if reference.contains(':') { '@' } else { ':' };
    format!("manifest {repository}{separator}{reference}")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Content-Type` without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let value = text(headers, "content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// The document's own `mediaType` counts: it is what its digest covers.
fn media_type(bytes: &[u8], said: String) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
    }
    let head = serde_json::from_slice::<Head>(bytes).ok();
    head.and_then(|head| head.media_type).filter(|own| !own.is_empty()).unwrap_or(said)
}

fn paging(count: Option<u32>, last: Option<&str>) -> String {
    let count = count.map(|count| format!("n={count}"));
    let last = last.map(|last| format!("last={}", super::auth::encode(last)));
    let fields: Vec<String> = [count, last].into_iter().flatten().collect();
    if fields.is_empty() { String::new() } else { format!("?{}", fields.join("&")) }
}

/// Where `<...?last=x&n=2>; rel="next"` leads, RFC 8288.
fn target_of(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.replace(['"', ' '], "").contains("rel=next").then_some(target)
}

/// Such an address, absolute or from the registry's root.
fn target(address: &str) -> Option<Target> {
    if address.starts_with('/') && !address.starts_with("//") {
        return Some(Target::Path(address.to_owned()));
    }
    address.parse().ok().filter(|uri: &http::Uri| uri.authority().is_some()).map(Target::Url)
}

/// The `last` of the next page.
fn next_of(link: &str) -> Option<String> {
    let query = target_of(link)?.split_once('?')?.1;
    query.split('&').find_map(|field| field.strip_prefix("last=")).map(decode)
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let value = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match value.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        assert_eq!(next_of(r#"</v2/a/tags/list?last=x%2By&n=2>; rel="next""#).as_deref(), Some("x+y"));
        assert_eq!(next_of(r#"</v2/a/tags/list?n=2&last=v1>; rel=next"#).as_deref(), Some("v1"));
        assert_eq!(next_of(r#"</v2/a/tags/list?last=x>; rel="prev""#), None);
    }

    #[test]
    fn a_documents_own_type_counts_before_the_headers() {
        assert_eq!(media_type(br#"{"mediaType":"a"}"#, "b".into()), "a");
        assert_eq!(media_type(b"{}", "b".into()), "b");
    }
}

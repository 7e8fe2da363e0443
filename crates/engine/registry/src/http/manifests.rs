//! Pulling, pushing and deleting manifests.

use super::blobs::etag;
use super::request::{bytes, header, query_all};
use super::{Answer, Body, CONTENT_DIGEST, Front, OCI_SUBJECT, Request, STALE, empty, set};
use crate::condition::Conditions;
use crate::error::RegistryError;
use crate::manifest::{self, Manifest};
use crate::metadata::{ManifestRecord, Target};
use crate::name::{Reference, Repository, Tag};
use crate::registry::Registry;
use crate::upstream::Freshness;
use hako_names::Digest;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, WARNING};
use http::{HeaderMap, Method, StatusCode};

/// `GET` and `HEAD …/manifests/REFERENCE`: the bytes as they were put.
pub(super) async fn get(front: &Front, name: &Repository, reference: Reference, request: &Request) -> Answer {
    let (registry, headers) = (&front.registry, request.headers());
    let freshness = match front.upstreams.origin(name) {
        Some(origin) => origin.manifest(registry, name, &reference).await?,
        None => Freshness::Fresh,
    };
    let found = registry.manifest(name, &reference)?;
    let (digest, record) = negotiate(registry, name, &reference, found, headers).await?;
    let conditions = Conditions::of(headers);
    conditions.before_read(name, &reference, digest)?;
    let mut response =
        empty(if conditions.is_known(digest) { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    set(&mut response, CONTENT_DIGEST, digest.to_string());
    set(&mut response, ETAG, etag(digest));
    if freshness == Freshness::Stale {
        set(&mut response, WARNING, STALE);
    }
    if response.status() == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    set(&mut response, CONTENT_TYPE, &record.media_type);
    set(&mut response, CONTENT_LENGTH, record.size.to_string());
    if request.method() == Method::GET {
        *response.body_mut() = Body::full(registry.manifest_bytes(name, digest).await?);
    }
    Ok(response)
}

/// Chooses what the client can read. A digest gets its bytes whatever is accepted: no other bytes have that digest.
/// A tag of an index gets a client that knows no indexes the image for linux/amd64, as the Docker registry does.
async fn negotiate(
    registry: &Registry,
    name: &Repository,
    reference: &Reference,
    found: (Digest, ManifestRecord),
    headers: &HeaderMap,
) -> Result<(Digest, ManifestRecord), RegistryError> {
    let accepted = Accepted::of(headers);
    if matches!(reference, Reference::Digest(_)) || accepted.has(&found.1.media_type) {
        return Ok(found);
    }
    if Manifest::is_index(&found.1.media_type) {
        let index = registry.manifest_bytes(name, found.0).await?;
        if let Some(image) = manifest::linux_amd64(&index) {
            let image = registry.manifest(name, &Reference::Digest(image))?;
            if accepted.has(&image.1.media_type) {
                return Ok(image);
            }
        }
    }
    Err(RegistryError::NotAcceptable { reference: reference.clone(), media_type: found.1.media_type })
}

/// The media types of all `Accept` headers.
struct Accepted(Vec<String>);

impl Accepted {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let types = values.flat_map(|value| value.split(',')).filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let is_refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            (!is_refused && !media_type.is_empty()).then_some(media_type)
        });
        Self(types.collect())
    }

    /// A request that names no manifest type at all takes what there is.
    fn has(&self, media_type: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|one| one == media_type || one == "*/*" || one == "application/*")
    }
}

/// `PUT …/manifests/REFERENCE`, by digest perhaps with `?tag=`.
pub(super) async fn put(
    registry: &Registry,
    name: &Repository,
    reference: Reference,
    request: Request,
) -> Answer {
    let mut tags: Vec<Tag> =
        query_all(&request, "tag")?.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?;
    let content_type = header(request.headers(), &CONTENT_TYPE).map(str::to_owned);
    let conditions = Conditions::of(request.headers());
    let bytes = bytes(request.into_body(), manifest::SIZE_LIMIT, "a manifest").await?;
    let actual = Digest::of(&bytes);
    match &reference {
        Reference::Tag(tag) => tags.push(tag.clone()),
        Reference::Digest(digest) if *digest != actual => {
            let source = hako_error::Error::new(
                hako_error::Kind::Invalid,
                format!("the manifest's bytes hash to {actual}"),
            );
            return Err(RegistryError::DigestMismatch { digest: *digest, source });
        }
        Reference::Digest(_) => {}
    }
    let tag_headers: Vec<String> = tags.iter().map(ToString::to_string).collect();
    let target = Target { tags, presumed: Some((reference.clone(), conditions)) };
    let manifest = registry.put_manifest(name, actual, target, content_type.as_deref(), bytes).await?;
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, LOCATION, format!("/v2/{name}/manifests/{reference}"));
    set(&mut response, CONTENT_DIGEST, actual.to_string());
    if let Some(subject) = manifest.subject {
        set(&mut response, OCI_SUBJECT, subject.to_string());
    }
    if matches!(reference, Reference::Digest(_)) {
        for tag in tag_headers {
            if let Ok(value) = tag.parse() {
                response.headers_mut().append("oci-tag", value);
            }
        }
    }
    Ok(response)
}

/// `DELETE …/manifests/REFERENCE`: a tag only, or a manifest with its tags.
pub(super) async fn delete(
    registry: &Registry,
    name: &Repository,
    reference: Reference,
    request: &Request,
) -> Answer {
    registry.delete_manifest(name, reference, Conditions::of(request.headers())).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Auth;
    use crate::blobs::LocalBlobs;
    use crate::clock::now_unix_s;
    use crate::config::{AuthConfig, UpstreamConfig};
    use crate::http::{Door, Server, serve};
    use crate::metadata::Metadata;
    use crate::policy::Policy;
    use crate::registry::Limits;
    use crate::upstream::Upstreams;
    use hako_content::ContentStore;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

    /// A cache of a registry that is away, where nobody looks for garbage.
    fn cache(dir: &Path, upstream: UpstreamConfig) -> Arc<Front> {
        let blobs = LocalBlobs::new(ContentStore::open(dir.join("content")).unwrap());
        let metadata = Metadata::open(dir).unwrap();
        let registry = Registry::new(metadata, Arc::new(blobs), Limits::default(), Policy::default());
        let auth = Auth::open(&AuthConfig::None, &[], dir).unwrap();
        let upstreams = Upstreams::open(&[upstream]).unwrap();
        Arc::new(Front { registry, auth, upstreams, events: Default::default(), is_tls: false })
    }

    /// The first line of an answer.
    async fn status(host: SocketAddr, method: &Method, path: &str) -> String {
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_head_makes_what_a_cache_has_stay_as_a_get_does() {
        let dir = tempfile::tempdir().unwrap();
        let config = UpstreamConfig::new("", "127.0.0.1:1");
        let keep_s = config.keep.as_secs();
        let front = cache(dir.path(), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = Server { listener, tls: None, front: Arc::clone(&front), door: Door::All };
        let serving = tokio::spawn(serve(server, stop.clone()));
        let (repository, digest) = ("a".parse::<Repository>().unwrap(), Digest::of(INDEX.as_bytes()));
        let (bytes, tags) = (bytes::Bytes::from_static(INDEX.as_bytes()), vec!["v1".parse().unwrap()]);
        let media_type = Some(manifest::OCI_INDEX);
        front.registry.cache_manifest(&repository, digest, tags, media_type, bytes).await.unwrap();
        for reference in ["v1".to_owned(), digest.to_string()] {
            for method in [Method::HEAD, Method::GET] {
                let began = now_unix_s();
                front.registry.metadata().touch_manifest(&repository, digest, began - keep_s).unwrap();
                let status = status(host, &method, &format!("/v2/a/manifests/{reference}")).await;
                assert_eq!(status, "HTTP/1.1 200 OK", "{method} {reference}");
                let (_, record) = front.registry.manifest(&repository, &Reference::Digest(digest)).unwrap();
                assert!(record.pushed_unix_s >= began, "{method} {reference}");
            }
        }
        stop.cancel();
        serving.await.unwrap();
    }
}

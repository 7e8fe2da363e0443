//! Paths. A repository's name has slashes, so a path is read from its end.

use super::request::unescape;
use crate::auth::Action;
use crate::error::RegistryError;
use crate::name::{Reference, Repository, parse_digest};
use hako_names::Digest;
use http::Method;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/healthz`, `/readyz`
    Healthy,
    /// `/metrics`
    Metrics,
    /// `/token`
    Token,
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(Repository),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(Repository, Reference),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(Repository, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(Repository, String),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(Repository, Digest),
}

impl Route {
    /// Reads a path. Some clients escape what a URL may have as it is, such as the colon of a digest.
    pub(crate) fn parse(path: &str) -> Result<Self, RegistryError> {
        let path = &*unescape(path).ok_or(RegistryError::NoRoute)?;
        match path {
            "/healthz" | "/readyz" => return Ok(Self::Healthy),
            "/metrics" => return Ok(Self::Metrics),
            "/token" => return Ok(Self::Token),
            _ => {}
        }
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some(rest) => rest.strip_prefix('/').ok_or(RegistryError::NoRoute)?,
            None => return Err(RegistryError::NoRoute),
        };
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let (head, last) = rest.rsplit_once('/').ok_or(RegistryError::NoRoute)?;
        let (head, kind) = head.rsplit_once('/').ok_or(RegistryError::NoRoute)?;
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags(head.parse()?)),
            ("manifests", reference) => Ok(Self::Manifest(head.parse()?, reference.parse()?)),
            ("blobs", "uploads") => Ok(Self::Uploads(head.parse()?)),
            ("blobs", digest) => Ok(Self::Blob(head.parse()?, parse_digest(digest)?)),
            ("referrers", digest) => Ok(Self::Referrers(head.parse()?, parse_digest(digest)?)),
            ("uploads", id) => {
                let name = head.strip_suffix("/blobs").ok_or(RegistryError::NoRoute)?;
                if id.is_empty() {
                    Ok(Self::Uploads(name.parse()?))
                } else {
                    Ok(Self::Upload(name.parse()?, id.to_owned()))
                }
            }
            _ => Err(RegistryError::NoRoute),
        }
    }

    /// The right that a request needs.
    pub(crate) fn wants(&self, method: &Method) -> Option<(&Repository, Action)> {
        match self {
            Self::Healthy | Self::Metrics | Self::Token | Self::Base | Self::Catalog => None,
            Self::Tags(name) | Self::Referrers(name, _) => Some((name, Action::Pull)),
            Self::Uploads(name) | Self::Upload(name, _) => Some((name, Action::Push)),
            Self::Manifest(name, _) | Self::Blob(name, _) => {
                let action = match *method {
                    Method::GET | Method::HEAD => Action::Pull,
                    Method::DELETE => Action::Delete,
                    _ => Action::Push,
                };
                Some((name, action))
            }
        }
    }

    /// The methods that it knows.
    pub(crate) fn allowed(&self) -> &'static str {
        match self {
            Self::Healthy | Self::Metrics | Self::Base => "GET, HEAD",
            Self::Token => "GET, POST",
            Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }

    /// The repository, and the tag or digest in it, that the path names.
    pub(crate) fn object(&self) -> (Option<&Repository>, Option<Reference>) {
        match self {
            Self::Healthy | Self::Metrics | Self::Token | Self::Base | Self::Catalog => (None, None),
            Self::Tags(name) | Self::Uploads(name) | Self::Upload(name, _) => (Some(name), None),
            Self::Manifest(name, reference) => (Some(name), Some(reference.clone())),
            Self::Blob(name, digest) | Self::Referrers(name, digest) => {
                (Some(name), Some(Reference::Digest(*digest)))
            }
        }
    }

    /// The kind of thing, for messages and metrics.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Healthy => "health",
            Self::Metrics => "metrics",
            Self::Token => "token",
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) => "uploads",
            Self::Upload(..) => "upload",
            Self::Referrers(..) => "referrers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_contain_the_words_of_paths() {
        let repository = |text: &str| text.parse::<Repository>().unwrap();
        let digest = Digest::of(b"x");
        let cases = [
            ("/v2/".to_owned(), Route::Base),
            ("/v2".to_owned(), Route::Base),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/tags/list".to_owned(), Route::Tags(repository("a"))),
            ("/v2/tags/list/tags/list".to_owned(), Route::Tags(repository("tags/list"))),
            ("/v2/a/b/blobs/uploads/".to_owned(), Route::Uploads(repository("a/b"))),
            ("/v2/a/b/blobs/uploads".to_owned(), Route::Uploads(repository("a/b"))),
            (
                "/v2/blobs/uploads/blobs/uploads/1".to_owned(),
                Route::Upload(repository("blobs/uploads"), "1".into()),
            ),
            (format!("/v2/a/blobs/{digest}"), Route::Blob(repository("a"), digest)),
            (
                format!("/v2/a/manifests/{digest}"),
                Route::Manifest(repository("a"), Reference::Digest(digest)),
            ),
            (format!("/v2/a/referrers/{digest}"), Route::Referrers(repository("a"), digest)),
            (format!("/v2/a%2Fb/blobs/sha256%3a{}", digest.hex()), Route::Blob(repository("a/b"), digest)),
        ];
        for (path, route) in cases {
            assert_eq!(Route::parse(&path).unwrap(), route, "{path}");
        }
        for path in [
            "/",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/a/b/c",
            "/v2//tags/list",
            "/v2/a/blobs/x",
            "/v2/../tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/%/tags/list",
            "/v2/%zz/tags/list",
            "/v2/%ff/tags/list",
            "/v2/a+b/tags/list",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}

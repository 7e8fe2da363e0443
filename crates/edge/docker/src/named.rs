//! What the last part of a path names.
//!
//! `DELETE /containers/json` removes the container `json`, and `GET /volumes/create` shows the volume `create`: words that
//! are paths of their own with one method are names with the others.

use crate::clean::decoded;
use crate::error::{Failure, invalid};
use axum::extract::FromRequestParts;
use http::request::Parts;

/// All behind the collection that a path begins with.
#[derive(Clone, Debug)]
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let path = parts.uri.path().trim_start_matches('/');
        let name = path.split_once('/').map_or("", |(_, name)| name);
        let name = decoded(name).and_then(|bytes| String::from_utf8(bytes).ok());
        name.map(Self).ok_or_else(|| invalid("path is not valid: its percent encoding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_what_follows_the_collection() {
        for (path, name) in [
            ("/containers/json", "json"),
            ("/images/a/b:1", "a/b:1"),
            ("/volumes/%C3%A9", "é"),
            ("/volumes", ""),
        ] {
            let (mut parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            assert_eq!(Named::from_request_parts(&mut parts, &()).await.unwrap().0, name);
        }
        let (mut parts, ()) = http::Request::get("/volumes/%ff").body(()).unwrap().into_parts();
        assert!(Named::from_request_parts(&mut parts, &()).await.is_err());
    }
}

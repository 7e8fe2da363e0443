//! What a request presumes: `If-Match` and `If-None-Match`.

use crate::support::{Answer, Fixture, OCI_MANIFEST};
use hako_names::Digest;
use hako_registry::config::{Pattern, Selection, UpstreamConfig};
use std::time::Duration;

/// An entity tag that nothing has.
const OTHER: &str = "\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"";

fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

fn put(registry: &Fixture, path: &str, condition: (&str, &str), manifest: &serde_json::Value) -> Answer {
    registry.send("PUT", path, &[("content-type", OCI_MANIFEST), condition], manifest.to_string())
}

#[test]
fn what_is_read_must_be_what_if_match_names() {
    let registry = Fixture::start();
    let digest = registry.push_image("a", "v1", b"layer");
    let layer = Digest::of(b"layer");
    let blob = format!("/v2/a/blobs/{layer}");
    let by_digest = format!("/v2/a/manifests/{digest}");
    for (path, tag) in [(blob.as_str(), layer), (&by_digest, digest), ("/v2/a/manifests/v1", digest)] {
        let both = format!("{OTHER}, {}", etag(tag));
        for method in ["GET", "HEAD"] {
            let send = |headers: &[(&str, &str)]| registry.send(method, path, headers, "");
            for good in ["*", &etag(tag), &both] {
                assert_eq!(send(&[("if-match", good)]).status, 200, "{method} {path} {good}");
            }
            for bad in [OTHER, &format!("W/{}", etag(tag)), ""] {
                let refused = send(&[("if-match", bad)]);
                assert_eq!(refused.status, 412, "{method} {path} {bad:?}");
                let code = if method == "GET" { refused.code() } else { "DENIED".to_owned() };
                assert_eq!((code.as_str(), refused.body.is_empty()), ("DENIED", method == "HEAD"));
            }
            // If-Match is looked at first (RFC 9110, section 13.2.2).
            assert_eq!(send(&[("if-match", OTHER), ("if-none-match", "*")]).status, 412);
            assert_eq!(send(&[("if-match", "*"), ("if-none-match", "*")]).status, 304);
        }
    }
    let part = [("if-match", etag(layer)), ("range", "bytes=1-2".to_owned())];
    let part = part.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(registry.send("GET", &blob, &part, "").body, b"ay");
    let missing = registry.send("GET", "/v2/a/manifests/v2", &[("if-match", OTHER)], "");
    assert_eq!((missing.status, missing.code().as_str()), (404, "MANIFEST_UNKNOWN"));
}

#[test]
fn a_manifest_is_put_and_deleted_only_where_what_is_presumed_is_so() {
    let registry = Fixture::start_with(|config| {
        let of = |text| vec![Pattern::new(text)];
        config.immutable = vec![Selection { repositories: of("**"), tags: of("fixed") }];
    });
    let (one, two) = (registry.manifest("a", b"one"), registry.manifest("a", b"two"));
    let path = "/v2/a/manifests/v1";
    let leads_to = || registry.send("HEAD", path, &[], "").header("docker-content-digest").to_owned();
    for condition in [("if-match", "*"), ("if-match", OTHER)] {
        let refused = put(&registry, path, condition, &one);
        assert_eq!((refused.status, refused.code().as_str()), (412, "DENIED"), "{condition:?}");
    }
    assert_eq!(registry.get(path).code(), "MANIFEST_UNKNOWN");
    assert_eq!(registry.stored(), 3, "configuration and layers, and nothing of what was refused");
    assert_eq!(put(&registry, path, ("if-none-match", "*"), &one).status, 201);
    assert_eq!(put(&registry, path, ("if-none-match", "*"), &two).status, 412, "there is one by now");
    let first = leads_to();
    assert_eq!(put(&registry, path, ("if-match", OTHER), &two).status, 412);
    assert_eq!(leads_to(), first);
    assert_eq!(put(&registry, path, ("if-match", &format!("\"{first}\"")), &two).status, 201);
    let second = leads_to();
    assert_ne!(second, first);

    let by_digest = format!("/v2/a/manifests/{second}");
    let delete = |path: &str, tag: &str| registry.send("DELETE", path, &[("if-match", tag)], "").status;
    assert_eq!(delete(path, &format!("\"{first}\"")), 412, "it leads elsewhere by now");
    assert_eq!(delete(&by_digest, OTHER), 412);
    assert_eq!(leads_to(), second);
    assert_eq!(delete(path, &format!("\"{second}\"")), 202);
    assert_eq!(delete(path, OTHER), 404, "what is not there is not there, whatever was presumed");
    assert_eq!(delete(&by_digest, "*"), 202);
    assert_eq!(registry.get(&by_digest).status, 404);

    // What would be refused anyway is refused for that.
    let fixed = "/v2/a/manifests/fixed";
    assert_eq!(put(&registry, fixed, ("if-none-match", "*"), &one).status, 201);
    assert_eq!(put(&registry, fixed, ("if-match", OTHER), &two).status, 403);
    assert_eq!(delete(fixed, OTHER), 403);
    let (held, free) = (Digest::of(b"one"), registry.push_blob("a", b"free"));
    assert_eq!(delete(&format!("/v2/a/blobs/{held}"), OTHER), 405);
    assert_eq!(delete(&format!("/v2/a/blobs/{free}"), OTHER), 412);
    assert_eq!(delete(&format!("/v2/a/blobs/{free}"), &etag(free)), 202);
}

#[test]
fn of_many_who_presume_the_same_of_a_tag_one_moves_it() {
    let registry = Fixture::start();
    let mut now = registry.push_image("a", "v", b"first");
    for round in 0..5 {
        let manifests: Vec<_> =
            (0..8).map(|n| registry.manifest("a", format!("{round} {n}").as_bytes())).collect();
        let tag = etag(now);
        let statuses = std::thread::scope(|scope| {
            let send = |manifest| put(&registry, "/v2/a/manifests/v", ("if-match", &tag), manifest).status;
            let sent: Vec<_> = manifests.iter().map(|manifest| scope.spawn(move || send(manifest))).collect();
            sent.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!((count(201), count(412)), (1, 7), "{statuses:?}");
        let moved = statuses.iter().position(|status| *status == 201).unwrap();
        now = Digest::of(manifests[moved].to_string().as_bytes());
        assert_eq!(registry.get("/v2/a/manifests/v").header("etag"), etag(now));
    }
}

#[test]
fn a_cache_fetches_no_blob_whose_condition_does_not_hold() {
    let upstream = Fixture::start();
    let digest = upstream.push_blob("a", b"blob");
    let mut config = UpstreamConfig::new("", upstream.host());
    config.fresh = Duration::ZERO;
    let cache = Fixture::start_with(|of| of.upstreams = vec![config]);
    let path = format!("/v2/a/blobs/{digest}");
    let get = |condition: &str| cache.send("GET", &path, &[("if-match", condition)], "");
    let refused = get(OTHER);
    assert_eq!((refused.status, refused.code().as_str()), (412, "DENIED"));
    assert!(!cache.dir.path().join("content/blobs/sha256").join(digest.hex()).exists());
    let missing = format!("/v2/a/blobs/{}", Digest::of(b"missing"));
    assert_eq!(cache.send("GET", &missing, &[("if-match", OTHER)], "").code(), "BLOB_UNKNOWN");
    assert_eq!(get(&etag(digest)).body, b"blob");
}

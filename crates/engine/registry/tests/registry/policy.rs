use crate::referrers::artifact;
use crate::support::{Fixture, OCI_MANIFEST};
use hako_names::Digest;
use hako_registry::config::{Pattern, Quota, Retention, Selection};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

fn patterns(text: &str) -> Vec<Pattern> {
    vec![Pattern::new(text)]
}

fn selection(repositories: &str, tags: &str) -> Selection {
    Selection { repositories: patterns(repositories), tags: patterns(tags) }
}

#[test]
fn a_quota_counts_each_blob_once_and_refuses_what_is_beyond() {
    let registry = Fixture::start_with(|config| {
        config.quotas = vec![Quota { repositories: patterns("small/*"), bytes: 100 }];
    });
    registry.push_blob("small/a", &[1; 60]);
    registry.push_blob("small/a", &[1; 60]);
    registry.push_blob("small/b", &[2; 60]);
    let large = [3; 60];
    let path = format!("/v2/small/a/blobs/uploads/?digest={}", Digest::of(&large));
    let refused = registry.send("POST", &path, &[], large);
    assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"));
    let path = format!("/v2/small/a/blobs/uploads/?mount={}&from=small/b", Digest::of(&[2; 60]));
    assert_eq!(registry.send("POST", &path, &[], "").status, 403, "a mount counts too");
    assert_eq!(registry.stored(), 2, "refused blobs leave no bytes");
    let first = Digest::of(&[1; 60]);
    assert_eq!(registry.send("DELETE", &format!("/v2/small/a/blobs/{first}"), &[], "").status, 202);
    registry.push_blob("small/a", &large);
    registry.push_blob("unbounded", &[4; 1000]);
}

#[test]
fn a_manifest_counts_for_the_quota_and_is_refused_whole() {
    let layer = [1; 60];
    let registry = Fixture::start_with(|config| {
        config.quotas = vec![Quota { repositories: patterns("small"), bytes: 150 }];
    });
    let manifest = registry.manifest("small", &layer);
    let path = "/v2/small/manifests/v1";
    let put = registry.send("PUT", path, &[("content-type", OCI_MANIFEST)], manifest.to_string());
    assert_eq!((put.status, put.code().as_str()), (403, "DENIED"));
    assert_eq!(registry.get(path).code(), "MANIFEST_UNKNOWN");
    registry.until(|| registry.stored() == 2);
    registry.push_blob("small", &[2; 50]);
}

#[test]
fn uploads_under_way_count_for_the_quota() {
    let registry = Fixture::start_with(|config| {
        config.quotas = vec![Quota { repositories: patterns("small"), bytes: 1000 }];
    });
    let piece = [1; 600];
    let digest = Digest::of(&piece);
    let (one, two) = (registry.begin("small"), registry.begin("small"));
    assert_eq!(registry.send("PATCH", &one, &[], piece).status, 202);
    let at_once = format!("/v2/small/blobs/uploads/?digest={digest}");
    let put = format!("{two}?digest={digest}");
    for (method, path) in [("PATCH", &one), ("PATCH", &two), ("PUT", &put), ("POST", &at_once)] {
        let refused = registry.send(method, path, &[], piece);
        assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"), "{method} {path}");
    }
    assert_eq!(registry.send("PATCH", &registry.begin("other"), &[], piece).status, 202);
    assert_eq!(registry.send("DELETE", &one, &[], "").status, 204);
    assert_eq!(registry.send("PATCH", &two, &[], piece).status, 202, "what was cancelled counts no longer");
    assert_eq!(registry.send("PUT", &put, &[], "").status, 201);
    assert_eq!(registry.send("POST", &at_once, &[], piece).status, 201, "it is here already");
}

/// The first line of an answer to a request whose body does not end.
fn first_line(host: &str, request: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("{request}\r\n\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn what_the_quota_has_no_room_for_is_refused_before_it_is_read() {
    let registry = Fixture::start_with(|config| {
        config.quotas = vec![Quota { repositories: patterns("small"), bytes: 1000 }];
    });
    let (host, digest, location) = (registry.host(), Digest::of(b"large"), registry.begin("small"));
    let mut chunk = b"800\r\n".to_vec();
    chunk.extend([1; 0x800]);
    let requests = [
        format!("POST /v2/small/blobs/uploads/?digest={digest}"),
        format!("PUT {location}?digest={digest}"),
        format!("PATCH {location}"),
    ];
    for request in &requests {
        let request = format!("{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 50000000");
        assert!(first_line(&host, &request, b"").contains(" 403 "), "{request}");
    }
    assert_eq!(registry.get(&location).status, 204, "nothing of it was taken: the upload can go on");
    for request in [&requests[0], &requests[2]] {
        let request = format!("{request} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked");
        assert!(first_line(&host, &request, &chunk).contains(" 403 "), "{request}");
    }
    assert_eq!(registry.get(&location).code(), "BLOB_UPLOAD_UNKNOWN", "it has ended, and its bytes are free");
    registry.push_blob("small", &[2; 1000]);
}

#[test]
fn one_repository_does_not_have_all_places_for_uploads() {
    let registry = Fixture::start_with(|config| config.limits.uploads_each = 2);
    let first = registry.begin("a");
    registry.begin("a");
    let refused = registry.send("POST", "/v2/a/blobs/uploads/", &[], "");
    assert_eq!((refused.status, refused.code().as_str()), (429, "TOOMANYREQUESTS"));
    registry.begin("b");
    assert_eq!(registry.send("DELETE", &first, &[], "").status, 204);
    registry.begin("a");
}

#[test]
fn what_an_immutable_tag_leads_to_through_indexes_is_not_deleted() {
    let registry = Fixture::start_with(|config| config.immutable = vec![selection("team/**", "v*")]);
    let image = registry.push_image("team/app", &digest_of_image(&registry, "team/app"), b"layer");
    let inner = registry.put_index("team/app", "inner", image);
    let outer = registry.put_index("team/app", "v1", inner);
    for digest in [image, inner, outer] {
        let path = format!("/v2/team/app/manifests/{digest}");
        let refused = registry.send("DELETE", &path, &[], "");
        assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"), "{refused:?}");
        assert_eq!(registry.get(&path).status, 200);
    }
}

/// The digest that [`Fixture::push_image`] of `layer` will have, to push it without a tag.
fn digest_of_image(registry: &Fixture, repository: &str) -> String {
    Digest::of(registry.manifest(repository, b"layer").to_string().as_bytes()).to_string()
}

#[test]
fn a_manifest_that_an_index_names_is_not_deleted_before_it() {
    let registry = Fixture::start();
    let image = registry.push_image("a", &digest_of_image(&registry, "a"), b"layer");
    let index = registry.put_index("a", "latest", image);
    let delete = |digest: Digest| registry.send("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "");
    let refused = delete(image);
    assert_eq!((refused.status, refused.code().as_str()), (405, "UNSUPPORTED"));
    let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("is named by index {index}")), "{message}");
    assert_eq!((delete(index).status, delete(image).status), (202, 202));
}

#[test]
fn retention_takes_an_index_and_then_what_only_it_named() {
    let registry = Fixture::start_with(|config| {
        config.immutable = vec![selection("a", "v*")];
        config.retention = vec![Retention {
            of: selection("a", "**"),
            except: Vec::new(),
            keep_last: Some(0),
            keep_for: None,
            untagged: true,
            dry_run: false,
        }];
        config.limits.lease = Duration::from_secs(2);
    });
    let (kept, gone) = (registry.manifest("a", b"kept"), registry.manifest("a", b"gone"));
    let by_digest = |manifest: &serde_json::Value| {
        let digest = Digest::of(manifest.to_string().as_bytes());
        registry.put_manifest("a", &digest.to_string(), manifest)
    };
    let (kept, gone) = (by_digest(&kept), by_digest(&gone));
    registry.put_index("a", "v1", kept);
    registry.put_index("a", "build", gone);
    registry.until(|| registry.get(&format!("/v2/a/manifests/{gone}")).status == 404);
    assert_eq!(registry.get(&format!("/v2/a/manifests/{kept}")).status, 200);
}

#[test]
fn retention_leaves_what_refers_to_an_image_that_stays() {
    let registry = Fixture::start_with(|config| {
        config.retention = vec![Retention {
            of: selection("a", "**"),
            except: Vec::new(),
            keep_last: None,
            keep_for: None,
            untagged: true,
            dry_run: false,
        }];
        config.limits.lease = Duration::from_secs(3);
    });
    let by_digest = |manifest: &serde_json::Value| {
        let digest = Digest::of(manifest.to_string().as_bytes());
        registry.put_manifest("a", &digest.to_string(), manifest)
    };
    let sign = |image: Digest, kind: &str| by_digest(&artifact(&registry, image, kind));
    let kept = registry.push_image("a", "v1", b"kept");
    let signature = sign(kept, "application/of-the-kept");
    let gone = by_digest(&registry.manifest("a", b"gone"));
    let other = sign(gone, "application/of-the-gone");

    let status = |digest: Digest| registry.get(&format!("/v2/a/manifests/{digest}")).status;
    // What refers to an image goes after it: rounds have passed then.
    registry.until(|| status(gone) == 404 && status(other) == 404);
    assert_eq!((status(kept), status(signature)), (200, 200));
    let listed = registry.get(&format!("/v2/a/referrers/{kept}")).json();
    assert_eq!(listed["manifests"][0]["digest"], signature.to_string());
}

#[test]
fn an_immutable_tag_neither_moves_nor_goes() {
    let registry = Fixture::start_with(|config| config.immutable = vec![selection("**", "v*")]);
    let first = registry.push_image("a", "v1", b"one");
    registry.push_image("a", "v1", b"one");
    let other = registry.manifest("a", b"two");
    let moved = registry.send(
        "PUT",
        "/v2/a/manifests/v1",
        &[("content-type", crate::support::OCI_MANIFEST)],
        other.to_string(),
    );
    assert_eq!((moved.status, moved.code().as_str()), (403, "DENIED"));
    assert_eq!(registry.send("DELETE", "/v2/a/manifests/v1", &[], "").status, 403);
    assert_eq!(registry.send("DELETE", &format!("/v2/a/manifests/{first}"), &[], "").status, 403);
    let head = registry.send("HEAD", "/v2/a/manifests/v1", &[], "");
    assert_eq!(head.header("docker-content-digest"), first.to_string());
    registry.push_image("a", "latest", b"one");
    registry.push_image("a", "latest", b"two");
}

#[test]
fn retention_keeps_the_last_and_takes_what_has_no_tag() {
    let retention = |dry_run| Retention {
        of: selection("a", "build-*"),
        except: patterns("build-keep"),
        keep_last: Some(2),
        keep_for: None,
        untagged: true,
        dry_run,
    };
    let mut dry = retention(true);
    dry.of.repositories = patterns("dry");
    let registry = Fixture::start_with(|config| {
        config.retention = vec![retention(false), dry];
        config.limits.lease = Duration::from_secs(2);
    });
    for repository in ["a", "dry"] {
        for tag in ["build-keep", "build-1", "build-2", "build-3", "other"] {
            registry.push_image(repository, tag, tag.as_bytes());
        }
    }
    let tags = |repository: &str| registry.get(&format!("/v2/{repository}/tags/list")).json()["tags"].clone();
    registry.until(|| tags("a") == serde_json::json!(["build-2", "build-3", "build-keep", "other"]));
    assert_eq!(tags("dry").as_array().unwrap().len(), 5);
    let layer = Digest::of(b"build-1");
    registry.until(|| registry.get(&format!("/v2/a/blobs/{layer}")).status == 404);
    assert_eq!(registry.get(&format!("/v2/dry/blobs/{layer}")).status, 200);
}

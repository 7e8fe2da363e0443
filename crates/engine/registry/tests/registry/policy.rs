use crate::support::Fixture;
use hako_names::Digest;
use hako_registry::config::{Pattern, Quota, Retention, Selection};
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

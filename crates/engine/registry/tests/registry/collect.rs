use crate::support::Fixture;
use std::time::Duration;

/// A registry whose leases end at once, so that what nothing names is garbage.
fn hasty() -> Fixture {
    Fixture::start_with(|config| config.limits.lease = Duration::ZERO)
}

/// A registry whose leases outlast the test.
fn patient() -> Fixture {
    Fixture::start()
}

#[test]
fn deleting_a_tag_keeps_the_manifest_and_deleting_a_manifest_removes_its_tags() {
    let registry = patient();
    let digest = registry.push_image("a", "one", b"layer");
    registry.push_image("a", "two", b"layer");
    assert_eq!(registry.send("DELETE", "/v2/a/manifests/one", &[], "").status, 202);
    assert_eq!(registry.send("DELETE", "/v2/a/manifests/one", &[], "").code(), "MANIFEST_UNKNOWN");
    assert_eq!(registry.get("/v2/a/manifests/two").status, 200);
    assert_eq!(registry.send("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "").status, 202);
    assert_eq!(registry.get("/v2/a/manifests/two").code(), "MANIFEST_UNKNOWN");
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).code(), "MANIFEST_UNKNOWN");
    assert_eq!(registry.get("/v2/a/tags/list").json()["tags"], serde_json::json!([]));
}

#[test]
fn a_blob_that_a_manifest_names_is_not_deleted() {
    let registry = patient();
    let digest = registry.push_image("a", "v1", b"layer");
    let layer = hako_names::Digest::of(b"layer");
    let path = format!("/v2/a/blobs/{layer}");
    let refused = registry.send("DELETE", &path, &[], "");
    assert_eq!((refused.status, refused.code().as_str()), (405, "DENIED"));
    assert_eq!(registry.send("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "").status, 202);
    assert_eq!(registry.send("DELETE", &path, &[], "").status, 202);
    assert_eq!(registry.get(&path).code(), "BLOB_UNKNOWN");
    assert_eq!(registry.send("DELETE", &path, &[], "").code(), "BLOB_UNKNOWN");
}

#[test]
fn garbage_goes_while_the_registry_serves_and_what_is_named_stays() {
    let registry = Fixture::start_with(|config| config.limits.lease = Duration::from_secs(1));
    let kept = registry.push_image("kept", "v1", b"shared layer");
    let deleted = registry.push_image("gone", "v1", b"shared layer");
    registry.push_image("gone", "v2", b"own layer");
    assert_eq!(kept, deleted, "the same content has the same digest");
    registry.push_blob("gone", b"never named");
    assert_eq!(registry.stored(), 6);
    for tag in ["v1", "v2"] {
        let head = registry.send("HEAD", &format!("/v2/gone/manifests/{tag}"), &[], "");
        let path = format!("/v2/gone/manifests/{}", head.header("docker-content-digest"));
        assert_eq!(registry.send("DELETE", &path, &[], "").status, 202);
    }
    registry.until(|| registry.stored() == 3);
    let layer = hako_names::Digest::of(b"shared layer");
    assert_eq!(registry.get(&format!("/v2/kept/blobs/{layer}")).body, b"shared layer");
    assert_eq!(registry.get(&format!("/v2/gone/blobs/{layer}")).code(), "BLOB_UNKNOWN");
    assert_eq!(registry.get("/v2/kept/manifests/v1").status, 200);
}

#[test]
fn what_is_being_pushed_outlives_the_collector() {
    let registry = patient();
    let manifest = registry.manifest("a", b"layer");
    let upload = registry.begin("a");
    assert_eq!(registry.send("PATCH", &upload, &[], "under").status, 202);
    // A round that began after all that has done its work when this is gone.
    let garbage = registry.push_blob("b", b"garbage");
    assert_eq!(registry.send("DELETE", &format!("/v2/b/blobs/{garbage}"), &[], "").status, 202);
    registry.until(|| registry.stored() == 2);

    registry.put_manifest("a", "v1", &manifest);
    let digest = hako_names::Digest::of(b"under way");
    let put = registry.send("PUT", &format!("{upload}?digest={digest}"), &[], " way");
    assert_eq!(put.status, 201, "{put:?}");
    let metrics = || String::from_utf8(registry.get("/metrics").body).unwrap();
    registry.until(|| metrics().contains("hako_registry_collected_total{what=\"blobs\"} 1\n"));
}

#[test]
fn an_idle_upload_ends() {
    let registry = Fixture::start_with(|config| config.limits.upload_idle = Duration::ZERO);
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    registry.until(|| registry.get(&location).status == 404);
    let ingests = || std::fs::read_dir(registry.dir.path().join("content/ingest")).unwrap().count();
    registry.until(|| ingests() == 0);
}

#[test]
fn pushes_pulls_deletions_and_collection_at_once_lose_nothing() {
    let registry = hasty_but_usable();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                let repository = format!("work/{worker}");
                for round in 0..20 {
                    // The layer is the same for all workers: links come and go while others push it.
                    let layer = format!("layer {}", round % 3);
                    let digest = registry.push_image(&repository, "v", layer.as_bytes());
                    let layer = hako_names::Digest::of(layer.as_bytes());
                    assert_eq!(registry.get(&format!("/v2/{repository}/manifests/v")).status, 200);
                    assert_eq!(registry.get(&format!("/v2/{repository}/blobs/{layer}")).status, 200);
                    let path = format!("/v2/{repository}/manifests/{digest}");
                    assert_eq!(registry.send("DELETE", &path, &[], "").status, 202);
                }
            });
        }
    });
    registry.until(|| registry.stored() == 0);
}

/// Leases that are short, yet longer than the steps of one push.
fn hasty_but_usable() -> Fixture {
    Fixture::start_with(|config| config.limits.lease = Duration::from_secs(3))
}

#[test]
fn a_lease_of_nothing_ends_at_once() {
    let registry = hasty();
    let digest = registry.push_blob("a", b"short life");
    registry.until(|| registry.stored() == 0);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).code(), "BLOB_UNKNOWN");
}

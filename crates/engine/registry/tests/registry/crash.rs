//! kill -9 at any moment.

use crate::support::{Plain, Process, manifest_of, split};
use hako_names::Digest;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const CONFIG: &str = "{listen: '127.0.0.1:0', collect_every_seconds: 0, limits: {lease_seconds: 2}}";

/// One worker pushes images under tags of its own and deletes some, until the registry is gone. `known` holds what
/// was acknowledged: tag → digest, or nothing while an answer is awaited.
fn work(
    host: &str,
    worker: usize,
    known: &Mutex<BTreeMap<String, Option<Digest>>>,
    steps: &AtomicU64,
) -> Option<()> {
    let client = Plain::new(host);
    let repository = format!("work/{}", worker % 2);
    for round in 0.. {
        let tag = format!("w{worker}-{}", round % 5);
        let layer = format!("layer {} of {}", round % 7, worker % 3).repeat(2000);
        known.lock().unwrap().insert(format!("{repository}:{tag}"), None);
        for blob in [b"{}".as_slice(), layer.as_bytes()] {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", Digest::of(blob));
            let status = client.try_send("POST", &path, &[], blob.to_vec())?.status;
            assert_eq!(status, 201);
        }
        let manifest =
            manifest_of(Digest::of(b"{}"), 2, Digest::of(layer.as_bytes()), layer.len(), round).to_string();
        let digest = Digest::of(manifest.as_bytes());
        let path = format!("/v2/{repository}/manifests/{tag}");
        let media_type = [("content-type", crate::support::OCI_MANIFEST)];
        let put = client.try_send("PUT", &path, &media_type, manifest.into_bytes())?;
        assert_eq!(put.status, 201, "{put:?}");
        known.lock().unwrap().insert(format!("{repository}:{tag}"), Some(digest));
        steps.fetch_add(1, Ordering::SeqCst);
        if round % 3 == 2 {
            known.lock().unwrap().insert(format!("{repository}:{tag}"), None);
            client.try_send("DELETE", &format!("/v2/{repository}/manifests/{digest}"), &[], Vec::new())?;
        }
    }
    None
}

#[test]
fn kill_9_during_push_delete_and_collection_loses_nothing_acknowledged_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut known = BTreeMap::new();
    for round in 0..6 {
        let registry = Process::start(dir.path(), CONFIG);
        let host = registry.host.clone();
        let (table, steps) = (Mutex::new(std::mem::take(&mut known)), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (host, table, steps) = (&host, &table, &steps);
                scope.spawn(move || work(host, worker, table, steps));
            }
            while steps.load(Ordering::SeqCst) < 10 + round * 7 {
                std::thread::yield_now();
            }
            registry.kill();
        });
        known = table.into_inner().unwrap();
        let checked = hako_registry::check(dir.path(), true).unwrap();
        assert_eq!(checked.faults, Vec::<String>::new(), "round {round}");
    }
    let registry = Process::start(dir.path(), CONFIG);
    let client = Plain::new(&registry.host);
    for (name, digest) in known.iter().filter_map(|(name, digest)| digest.map(|digest| (name, digest))) {
        let (repository, tag) = split(name);
        let got =
            client.try_send("GET", &format!("/v2/{repository}/manifests/{tag}"), &[], Vec::new()).unwrap();
        assert_eq!((got.status, Digest::of(&got.body)), (200, digest), "{name}");
        let layer = got.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
        let blob =
            client.try_send("GET", &format!("/v2/{repository}/blobs/{layer}"), &[], Vec::new()).unwrap();
        assert_eq!(Digest::of(&blob.body).to_string(), layer, "{name}");
    }
    registry.kill();
}

#[test]
fn bytes_that_a_crash_left_without_a_record_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("content/blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::create_dir_all(dir.path().join("content/ingest")).unwrap();
    std::fs::write(blobs.join(Digest::of(b"stray").hex()), b"stray").unwrap();
    std::fs::write(dir.path().join("content/ingest/1-1"), b"half").unwrap();
    let registry = crate::support::Fixture::start_in(dir, |_| {});
    registry.until(|| registry.stored() == 0);
    assert_eq!(std::fs::read_dir(registry.dir.path().join("content/ingest")).unwrap().count(), 0);
}

#[test]
fn a_second_registry_in_a_directory_is_refused_and_disturbs_nothing() {
    let registry = crate::support::Fixture::start();
    let location = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").header("location").to_owned();
    assert_eq!(registry.send("PATCH", &location, &[("content-range", "0-4")], "under").status, 202);

    let dir = registry.dir.path().to_path_buf();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = hako_registry::Config { listen: "127.0.0.1:0".parse().unwrap(), ..Default::default() };
    let refused = runtime.block_on(hako_registry::Service::start(config, dir.clone())).unwrap_err();
    for error in [refused, hako_registry::check(&dir, true).unwrap_err()] {
        let said = error.chain();
        assert!(
            said.contains("another registry runs in") && said.contains(&dir.display().to_string()),
            "{said}"
        );
    }

    let digest = Digest::of(b"under way");
    let put = registry.send("PUT", &format!("{location}?digest={digest}"), &[], " way");
    assert_eq!(put.status, 201, "the upload that was under way goes on: {put:?}");
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).body, b"under way");
}

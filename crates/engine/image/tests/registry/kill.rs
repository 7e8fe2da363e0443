//! A pull that is killed, and one that finds the disk full.

use crate::fake::{Fake, options, start_of};
use crate::stores::{Store, open};
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::StreamExt;
use hako_error::Kind;
use hako_image::transfer::{Progress, PullOptions, pull};
use hako_image::{Budget, Image, ImageStore, NewImage};
use hako_names::Digest;
use hako_oci::media_type::Compression;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DIR: &str = "HAKO_TEST_KILLED_DIR";
const NAME: &str = "HAKO_TEST_KILLED_NAME";

/// What the killed process does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test starts it as a process and kills it"]
async fn victim() {
    let store = open(&PathBuf::from(std::env::var_os(DIR).unwrap()));
    let name = std::env::var(NAME).unwrap().parse().unwrap();
    pull(&store, &name, &options(), &Progress::none()).await.unwrap();
}

fn received(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir.join("content/ingest")).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).max().unwrap_or(0)
}

/// Lets a process pull into `dir` until it got there, and kills it.
async fn cut(fake: &Fake, dir: &Path, is_there: impl Fn() -> bool) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::victim", "--ignored"])
        .env(DIR, dir)
        .env(NAME, fake.name("app:1").to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_there() {
        assert!(Instant::now() < deadline && victim.try_wait().unwrap().is_none(), "the victim pulls");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// An image that a process was pulling into `dir` when it was killed: 400,000 bytes of its first layer are there.
async fn killed(here: &Store, fake: &Fake, dir: &Path) -> Image {
    let image = here.image("app", Compression::Gzip, &[900_000, 2000]);
    fake.serve(&here.images, &image, "app");
    let layer = image.layers[0].digest.to_string();
    let bytes = std::fs::read(here.images.content().path(image.layers[0].digest)).unwrap();
    let (total, start) = (bytes.len(), Bytes::from(bytes[..400_000].to_vec()));
    fake.rule(move |seen| {
        // The first attempt gets the start and then nothing more.
        (seen.path.ends_with(&layer) && start_of(seen).is_none()).then(|| {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(start.clone())]);
            let body = Body::from_stream(first.chain(futures::stream::pending()));
            Response::builder().header(http::header::CONTENT_LENGTH, total).body(body).unwrap()
        })
    });
    cut(fake, dir, || received(dir) >= 400_000).await;
    image
}

/// Nothing is left but what names reach.
fn assert_clean(store: &ImageStore, dir: &Path) {
    store.gc().unwrap();
    assert_eq!(store.content().list().unwrap(), []);
    assert_eq!(store.snapshots().list(), []);
    for name in ["content/ingest", "content/leases"] {
        assert_eq!(std::fs::read_dir(dir.join(name)).unwrap().count(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pull_leaves_nothing_half_done_and_continues_where_it_was() {
    let (here, fake, dir) = (Store::new(), Fake::start().await, tempfile::tempdir().unwrap());
    let image = killed(&here, &fake, dir.path()).await;
    let store = open(dir.path());
    assert!(store.list().unwrap().is_empty());
    assert_eq!(store.snapshots().list(), []);
    let pulled = pull(&store, &fake.name("app:1"), &options(), &Progress::none()).await.unwrap();
    assert_eq!(pulled.image.id, image.id);
    let starts: Vec<usize> = fake.seen().iter().filter_map(start_of).collect();
    assert_eq!(starts, [400_000], "only the rest is fetched");
    for layer in &image.layers {
        store.content().verify(layer.digest).unwrap();
    }
    assert_eq!(received(dir.path()), 0);
    drop(pulled);
    store.remove(&fake.name("app:1").to_string(), true).unwrap();
    assert_clean(&store, dir.path());
}

/// The lease of a pull that was killed early has only documents; its image may well come later.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_pull_had_goes_with_its_image_whatever_that_was() {
    let here = Store::new();
    let image = here.image("app", Compression::Gzip, &[1000, 2000]);
    let layers: Vec<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
    for (awaited, comes_from_elsewhere) in [(vec![image.id], false), (layers.clone(), false), (layers, true)]
    {
        let (fake, dir) = (Fake::start().await, tempfile::tempdir().unwrap());
        fake.serve(&here.images, &image, "app");
        let (is_alive, stalled) = (Arc::new(AtomicBool::new(true)), awaited.clone());
        let still = is_alive.clone();
        fake.rule(move |seen| {
            let is_stalled = stalled.iter().any(|blob| seen.path.ends_with(&blob.to_string()));
            (is_stalled && still.load(Ordering::Relaxed)).then(|| {
                let never = futures::stream::pending::<std::io::Result<Bytes>>();
                Response::new(Body::from_stream(never))
            })
        });
        cut(&fake, dir.path(), || awaited.iter().all(|blob| fake.count(&blob.to_string()) > 0)).await;
        is_alive.store(false, Ordering::Relaxed);
        let store = open(dir.path());
        if comes_from_elsewhere {
            let (named, mut saved) = ([(image.clone(), vec![fake.name("app:1")])], Vec::new());
            here.images.save(&named, hako_image::SaveFormat::Oci, &mut saved).unwrap();
            tokio::task::block_in_place(|| store.load(&saved[..], &Progress::none())).unwrap();
        }
        let pulled = pull(&store, &fake.name("app:1"), &options(), &Progress::none()).await.unwrap();
        assert_eq!(pulled.is_up_to_date, comes_from_elsewhere);
        store.remove(&fake.name("app:1").to_string(), true).unwrap();
        assert_clean(&store, dir.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_pull_left_is_counted_and_can_be_had_back() {
    let (here, fake, dir) = (Store::new(), Fake::start().await, tempfile::tempdir().unwrap());
    killed(&here, &fake, dir.path()).await;
    let store = open(dir.path());
    assert!(store.content().partial_bytes().unwrap() >= 400_000);
    assert_eq!(store.forget_cut_pulls(Duration::from_secs(3600)).unwrap(), 0, "it may still go on");
    assert!(store.forget_cut_pulls(Duration::ZERO).unwrap() >= 400_000);
    assert_clean(&store, dir.path());
}

/// Runs `test` with a file system of this size, in a mount namespace of its own.
fn on_a_disk(size: &str, test: impl AsyncFnOnce(&Path) + Send) {
    // The runtime's threads are born into the namespace.
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
        let disk = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        mount(Some("tmpfs"), disk.path(), Some("tmpfs"), MsFlags::empty(), Some(&*options)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(test(disk.path()));
        // It has its mount to give back before its directory can go.
        drop(runtime);
        umount(disk.path()).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

#[test]
fn a_full_disk_is_told_and_leaves_room() {
    on_a_disk("600k", async |disk: &Path| {
        let here = Store::new();
        let image = here.image("app", Compression::Gzip, &[100_000, 2_000_000]);
        let fake = Fake::start().await;
        fake.serve(&here.images, &image, "app");
        let store = open(disk);
        let name = fake.name("app:1");
        let error = pull(&store, &name, &options(), &Progress::none()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
        assert!(store.list().unwrap().is_empty());
        assert_eq!(received(disk), 0);
        store.gc().unwrap();
        assert_eq!(store.content().list().unwrap(), []);
        assert_eq!(store.snapshots().list(), []);
    });
}

#[test]
fn images_that_a_registry_has_go_when_the_disk_gets_full_and_those_in_use_stay() {
    on_a_disk("5m", async |disk: &Path| {
        let (here, fake) = (Store::new(), Fake::start().await);
        let store = open(disk);
        let budget = Budget { high_percent: 70, low_percent: 67, youngest: Duration::ZERO };
        let options = PullOptions { budget: None, ..options() };
        let mut images = Vec::new();
        for (at, name) in ["running", "oldest", "older", "newest"].into_iter().enumerate() {
            let image = here.image(name, Compression::Gzip, &[600_000 + at]);
            fake.serve(&here.images, &image, name);
            let name = fake.name(&format!("{name}:1"));
            images.push(pull(&store, &name, &options, &Progress::none()).await.unwrap().image);
        }
        let local = store.commit_image(NewImage {
            layers: Vec::new(),
            names: vec!["local:1".parse().unwrap()],
            ..NewImage::default()
        });
        store.snapshots().prepare("container", images[0].chain_id().as_deref()).unwrap();
        let relieved = store.relieve(&budget).unwrap();
        assert_eq!(relieved.images, [images[1].id], "one is enough, and it is the one used longest ago");
        let left: Vec<_> = store.list().unwrap().into_iter().map(|image| image.id).collect();
        for stays in [images[0].id, images[3].id, local.unwrap().id] {
            assert!(left.contains(&stays));
        }
        assert!(store.relieve(&budget).unwrap().images.is_empty(), "there is room now");
    });
}

#[test]
fn what_fills_disks_makes_room_first() {
    on_a_disk("5m", async |disk: &Path| {
        let (here, fake) = (Store::new(), Fake::start().await);
        let store = open(disk);
        let saved = {
            let image = here.image("local", Compression::Gzip, &[10]);
            let mut saved = Vec::new();
            let named = [(image.clone(), image.names.clone())];
            here.images.save(&named, hako_image::SaveFormat::Oci, &mut saved).unwrap();
            saved
        };
        let pull_old = async |at: usize| {
            let image = here.image("old", Compression::Gzip, &[600_000 + at]);
            fake.serve(&here.images, &image, "old");
            let options = PullOptions { budget: None, ..options() };
            let pulled = pull(&store, &fake.name("old:1"), &options, &Progress::none()).await.unwrap();
            let used = disk.join("images/used").join(pulled.image.manifest_digest.hex());
            let used = std::fs::File::options().append(true).open(used).unwrap();
            used.set_modified(std::time::SystemTime::now() - Duration::from_secs(7200)).unwrap();
        };
        // More than 85 % with the image, less without.
        std::fs::write(disk.join("filler"), vec![1; 3_700_000]).unwrap();
        pull_old(0).await;
        let archive = crate::stores::tar("dir/x", b"x", None);
        let config = hako_oci::image::ImageConfiguration::default();
        store.import_rootfs(&archive[..], &"imported:1".parse().unwrap(), config).unwrap();
        let names = |store: &hako_image::ImageStore| -> Vec<String> {
            let images = store.list().unwrap().into_iter();
            images.flat_map(|image| image.names).map(|name| name.to_string()).collect()
        };
        assert_eq!(names(&store), ["imported:1"]);
        pull_old(1).await;
        tokio::task::block_in_place(|| store.load(&saved[..], &Progress::none())).unwrap();
        let mut left = names(&store);
        left.sort();
        assert_eq!(left, ["imported:1", "local:latest"]);
    });
}

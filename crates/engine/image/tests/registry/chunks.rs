//! Layers in chunks: any reader takes them as a whole, we take what changed.

use crate::peer::{Access, Peer};
use crate::stores::{Store, name, noise, tar};
use hako_image::transfer::{Event, LayerState, Progress, PullOptions, Pulled, PushOptions, pull, push};
use hako_image::{Image, Layer, LayerForm};
use hako_names::Digest;
use hako_oci::media_type::Compression;
use parking_lot::Mutex;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A layer of 151 files of 20 kB and one of 3 MB; `changed` of the small ones are of this version only, and the
/// large one has some bytes inserted.
fn version(number: u64, changed: u64) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut add = |path: &str, content: &[u8]| {
        let one = tar(path, content, None);
        let skip = if whole.is_empty() { 0 } else { 512 };
        whole.extend_from_slice(&one[skip..one.len() - 1024]);
    };
    for file in 0..150 {
        let seed = if file < changed { 1000 * number + file } else { file };
        add(&format!("dir/small{file:03}"), &noise(20_000, seed));
    }
    let mut large = noise(3_000_000, 77);
    large.splice(1_500_000..1_500_000, noise(number as usize * 10, number));
    add("dir/large", &large);
    add("dir/last", &noise(20_000, 78));
    // tar programs fill up to whole records: how far, no table tells, nor does the length of zeros once compressed.
    whole.extend(vec![0; 4096 + 512 * number as usize]);
    whole
}

/// Pushes a version in chunks; returns the image as it is at the registry.
async fn publish(store: &Store, peer: &Peer, number: u64, changed: u64) -> Image {
    let image = store.image_from("app", Compression::None, &[version(number, changed)]);
    let options = PushOptions { form: Some(LayerForm::Chunked), ..PushOptions::default() };
    let pushed = push(&store.images, &image, &peer.name("app:1"), &options, &Progress::none()).await.unwrap();
    assert_eq!(store.images.resolve(&name("app")).unwrap().manifest_digest, image.manifest_digest);
    let manifest: serde_json::Value =
        serde_json::from_slice(&store.images.content().read(pushed.digest).unwrap()).unwrap();
    let sent = &manifest["layers"][0];
    let layer = Layer {
        digest: sent["digest"].as_str().unwrap().parse().unwrap(),
        size: sent["size"].as_u64().unwrap(),
        media_type: sent["mediaType"].as_str().unwrap().into(),
        diff_id: image.layers[0].diff_id,
        annotations: serde_json::from_value(sent["annotations"].clone()).unwrap(),
    };
    Image { manifest_digest: pushed.digest, layers: vec![layer], ..image }
}

async fn fetch(store: &Store, peer: &Peer, progress: &Progress) -> Pulled {
    pull(&store.images, &peer.name("app:1"), &PullOptions::default(), progress).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_moves_what_changed() {
    let peer = Peer::start(Access::Open);
    let (here, there) = (Store::new(), Store::new());
    publish(&here, &peer, 1, 0).await;
    let first = fetch(&there, &peer, &Progress::none()).await;
    assert_eq!(first.saved, 0);
    let image = publish(&here, &peer, 2, 1).await;
    let told = Arc::new(Mutex::new(0));
    let sink = told.clone();
    let progress = Progress::new(move |event| {
        if let Event::Layer { state: LayerState::Done { saved }, .. } = event {
            *sink.lock() += saved;
        }
    });
    let second = fetch(&there, &peer, &progress).await;
    let size = image.layers[0].size;
    assert_eq!(second.image.manifest_digest, image.manifest_digest);
    assert!(second.saved == *told.lock() && second.saved + second.moved >= size, "{second:?}");
    // One file of 150, one chunk of the large one, and the table.
    assert!(second.moved < size / 20, "{} of {size} bytes moved", second.moved);
    there.images.content().verify(image.layers[0].digest).unwrap();
    let stored = here.images.resolve(&name("app")).unwrap();
    for file in ["dir/large", "dir/small000"] {
        assert_eq!(there.read(&second.image, file), here.read(&stored, file));
    }
    assert!(there.ingests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_of_an_imported_root_file_system_moves_what_changed() {
    let peer = Peer::start(Access::Open);
    let (here, there) = (Store::new(), Store::new());
    let options = PushOptions { form: Some(LayerForm::Stored), ..PushOptions::default() };
    let mut moved = Vec::new();
    for number in [1, 2] {
        let root = version(number, number - 1);
        let imported = here.images.import_rootfs(&root[..], &name("app"), Default::default()).unwrap();
        assert_eq!(imported.layers[0].diff_id, Digest::of(&root));
        push(&here.images, &imported, &peer.name("app:1"), &options, &Progress::none()).await.unwrap();
        moved.push(fetch(&there, &peer, &Progress::none()).await.moved);
    }
    assert!(moved[1] < moved[0] / 20, "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_do_not_fit_cost_a_whole_download_and_nothing_else() {
    let peer = Peer::start(Access::Open);
    let (here, there) = (Store::new(), Store::new());
    publish(&here, &peer, 1, 0).await;
    let first = fetch(&there, &peer, &Progress::none()).await;
    // A byte of what is here was changed behind our back.
    let path = there.images.content().path(first.image.layers[0].digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let image = publish(&here, &peer, 2, 1).await;
    let second = fetch(&there, &peer, &Progress::none()).await;
    assert_eq!((second.saved, second.image.id), (0, image.id));
    there.images.content().verify(image.layers[0].digest).unwrap();
    assert!(there.ingests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_reader_of_zstd_takes_a_layer_in_chunks() {
    let peer = Peer::start(Access::Open);
    let here = Store::new();
    let image = publish(&here, &peer, 1, 0).await;
    let layer = &image.layers[0];
    let there = Store::new();
    fetch(&there, &peer, &Progress::none()).await;
    let blob = there.images.content().path(layer.digest);
    let plain = Command::new("zstd").arg("-dc").stdin(std::fs::File::open(&blob).unwrap()).output().unwrap();
    assert_eq!(Digest::of(&plain.stdout), layer.diff_id);
    assert_eq!(plain.stdout, version(1, 0));
    // The footer is where containers/storage looks for it, and says the same as the annotation.
    let bytes = std::fs::read(&blob).unwrap();
    let footer = &bytes[bytes.len() - 64..];
    assert_eq!(&footer[56..], b"GNUlInUx");
    let number = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().unwrap());
    let position = format!("{}:{}:{}:{}", number(0), number(8), number(16), number(24));
    assert_eq!(layer.annotations["io.github.containers.zstd-chunked.manifest-position"], position);
    let table = &bytes[number(0) as usize..(number(0) + number(8)) as usize];
    let checksum = &layer.annotations["io.github.containers.zstd-chunked.manifest-checksum"];
    assert_eq!(*checksum, Digest::of(table).to_string());
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root").display().to_string();
    let run = dir.path().join("run").display().to_string();
    let pulled = Command::new("podman")
        .args(["--storage-driver", "vfs", "--root", &root, "--runroot", &run])
        .args(["pull", "-q", "--tls-verify=false", &peer.name("app:1").to_string()])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert_eq!(String::from_utf8_lossy(&pulled.stdout).trim(), image.id.hex());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_changed_is_written_in_chunks_the_same_each_time() {
    let store = Store::new();
    let lease = store.images.lease("test").unwrap();
    let mut layers = Vec::new();
    for key in ["one", "two"] {
        let mounts = store.images.snapshots().prepare(key, None).unwrap();
        let upper = mounts.upper.clone().unwrap();
        std::fs::write(upper.join("large"), noise(2_000_000, 5)).unwrap();
        std::fs::write(upper.join("empty"), "").unwrap();
        std::fs::create_dir(upper.join("dir")).unwrap();
        let options = hako_image::layer::DiffOptions { newest_unix_s: Some(0) };
        layers.push(store.images.write_layer(&mounts, &options, "a test", &lease).unwrap().commit().unwrap());
    }
    assert_eq!(layers[0], layers[1]);
    assert!(layers[0].annotations.len() == 2);
    assert!(store.images.unpack_layers(&layers[..1]).unwrap().is_some());
}

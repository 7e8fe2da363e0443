//! Against Debian's registry, with skopeo as the second opinion.

use crate::peer::{Access, Peer};
use crate::stores::{Store, name};
use hako_error::Kind;
use hako_image::LayerForm;
use hako_image::remote::{Credentials, PlainHttp, RemoteClient, RemoteOptions};
use hako_image::transfer::{
    Event, LayerState, Platform, Progress, PullOptions, Pulled, PushOptions, pull, push,
};
use hako_names::Digest;
use hako_oci::media_type::{self, Compression};
use parking_lot::Mutex;
use std::sync::Arc;

fn me() -> Credentials {
    Credentials::Basic { username: "me".into(), password: "secret".into() }
}

async fn pulled(store: &Store, peer: &Peer, rest: &str) -> Pulled {
    pull(&store.images, &peer.name(rest), &PullOptions::default(), &Progress::none()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_pulled_byte_for_byte() {
    let peer = Peer::start(Access::Open);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (here, there) = (Store::new(), Store::new());
        let image = here.image("app", compression, &[300_000, 200_000, 10]);
        let target = peer.name(&format!("a/app-{compression:?}:1").to_lowercase());
        let options = PushOptions { form: Some(LayerForm::Stored), ..PushOptions::default() };
        let pushed = push(&here.images, &image, &target, &options, &Progress::none()).await.unwrap();
        assert_eq!(pushed.digest, image.manifest_digest);
        let pulled = pull(&there.images, &target, &PullOptions::default(), &Progress::none()).await.unwrap();
        assert!(!pulled.is_up_to_date && pulled.moved == pushed.moved && pulled.saved == 0);
        assert_eq!(pulled.digest, image.manifest_digest);
        let bytes = |store: &Store| store.images.content().read(image.manifest_digest).unwrap();
        assert_eq!(bytes(&there), bytes(&here));
        assert_eq!(pulled.image.repo_digests, [target.with_digest(pushed.digest)]);
        assert_eq!(there.read(&pulled.image, "dir/file2"), here.read(&image, "dir/file2"));
        assert_eq!(there.read(&pulled.image, "dir/file0"), None, "the whiteout hides it");
        assert!(there.ingests().is_empty());
        let inspected =
            peer.skopeo(&["inspect", "--tls-verify=false", &format!("docker://{}:1", target.repository())]);
        assert!(inspected.contains(&pushed.digest.to_string()), "{inspected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pull_moves_nothing_and_a_second_push_neither() {
    let peer = Peer::start(Access::Open);
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[1000, 1000]);
    let options = PushOptions::default();
    let first = push(&store.images, &image, &peer.name("app"), &options, &Progress::none()).await.unwrap();
    let second = push(&store.images, &image, &peer.name("app"), &options, &Progress::none()).await.unwrap();
    assert_eq!((second.moved, second.saved), (0, first.moved));
    let other = Store::new();
    assert!(!pulled(&other, &peer, "app").await.is_up_to_date);
    let again = pulled(&other, &peer, "app").await;
    assert!(again.is_up_to_date && again.moved == 0);
    // A new version of the last layer: only that one moves.
    let newer = store.image("app", Compression::Gzip, &[1000, 2000]);
    push(&store.images, &newer, &peer.name("app"), &options, &Progress::none()).await.unwrap();
    let newest = pulled(&other, &peer, "app").await;
    assert_eq!(newest.image.id, newer.id);
    assert_eq!(newest.saved, newer.layers[0].size);
    assert_eq!(other.images.resolve(&peer.name("app")).unwrap().id, newer.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_media_types_and_digests_as_names_are_pulled() {
    let peer = Peer::start(Access::Open);
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[5000, 100]);
    push(&store.images, &image, &peer.name("oci:1"), &PushOptions::default(), &Progress::none())
        .await
        .unwrap();
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    peer.skopeo(&[&["copy"], &plain[..], &["--format=v2s2", "docker://oci:1", "docker://docker:1"]].concat());
    let raw = peer.skopeo(&["inspect", "--raw", "--tls-verify=false", "docker://docker:1"]);
    assert!(raw.contains(media_type::DOCKER_MANIFEST));
    let other = Store::new();
    let by_tag = pulled(&other, &peer, "docker:1").await;
    assert_eq!(by_tag.digest, Digest::of(raw.as_bytes()));
    assert_eq!(by_tag.image.chain_id(), image.chain_id());
    let by_digest = pulled(&Store::new(), &peer, &format!("docker@{}", by_tag.digest)).await;
    assert_eq!((by_digest.image.names.len(), by_digest.digest), (0, by_tag.digest));
    let gone = peer.name(&format!("docker@{}", Digest::of(b"x")));
    let missing = pull(&other.images, &gone, &PullOptions::default(), &Progress::none()).await;
    assert!(missing.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_gives_the_image_of_the_platform_and_its_own_digest() {
    let peer = Peer::start(Access::Open);
    let store = Store::new();
    let client = RemoteClient::new(&peer.host, RemoteOptions::default()).unwrap();
    let mut manifests = Vec::new();
    for (at, arch) in ["amd64", "arm64"].into_iter().enumerate() {
        let image = store.image_for(arch, arch, Compression::Gzip, &[100 * (at + 1)]);
        let target = peer.name("multi").with_digest(image.manifest_digest);
        push(&store.images, &image, &target, &PushOptions::default(), &Progress::none()).await.unwrap();
        let size = store.images.content().size(image.manifest_digest).unwrap();
        manifests.push(serde_json::json!({
            "mediaType": media_type::MANIFEST, "digest": image.manifest_digest, "size": size,
            "platform": {"os": "linux", "architecture": arch},
        }));
    }
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
    let bytes = serde_json::to_vec(&index).unwrap();
    let digest = client.put_manifest("multi", "1", media_type::INDEX, bytes.into()).await.unwrap();
    let other = Store::new();
    for (arch, expected) in [("arm64", "arm64"), ("amd64", "amd64")] {
        let platform: Platform = format!("linux/{arch}").parse().unwrap();
        let options = PullOptions { platform, ..PullOptions::default() };
        let found = pull(&other.images, &peer.name("multi:1"), &options, &Progress::none()).await.unwrap();
        let expected = store.images.resolve(&name(expected)).unwrap();
        assert_eq!((found.digest, found.image.id), (digest, expected.id));
        assert_eq!(found.image.repo_digests, [peer.name("multi").with_digest(digest)]);
    }
    let options = PullOptions { platform: "linux/s390x".parse().unwrap(), ..PullOptions::default() };
    let error = pull(&other.images, &peer.name("multi:1"), &options, &Progress::none()).await.unwrap_err();
    assert!(error.chain().contains("linux/s390x") && error.chain().contains("linux/arm64"), "{error:?}");
    // The index survives collection: its digest is what the image is called.
    other.images.gc().unwrap();
    assert!(other.images.content().exists(digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_authorities_are_needed_and_enough() {
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[1000]);
    let locked = Peer::start(Access::Password);
    let secured = Peer::start(Access::Tls);
    let own = Peer::start(Access::OwnAuthority);
    for (peer, ca_files) in
        [(&locked, Vec::new()), (&secured, vec![secured.authority()]), (&own, vec![own.authority()])]
    {
        let target = peer.name("app");
        let remote = RemoteOptions { ca_files, retries: 0, ..RemoteOptions::default() };
        for credentials in
            [Credentials::Anonymous, Credentials::Basic { username: "me".into(), password: "wrong".into() }]
        {
            let remote = RemoteOptions { credentials, ..remote.clone() };
            let options = PushOptions { remote, ..PushOptions::default() };
            let error = push(&store.images, &image, &target, &options, &Progress::none()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unauthorized, "{error:?}");
        }
        let remote = RemoteOptions { credentials: me(), ..remote };
        RemoteClient::new(&peer.host, remote.clone()).unwrap().ping().await.unwrap();
        let options = PushOptions { remote: remote.clone(), ..PushOptions::default() };
        push(&store.images, &image, &target, &options, &Progress::none()).await.unwrap();
        let options = PullOptions { remote, ..PullOptions::default() };
        let found = pull(&Store::new().images, &target, &options, &Progress::none()).await.unwrap();
        assert_eq!(found.image.id, image.id);
    }
    // A certificate of nobody we know is not accepted, unless we are told so.
    let options = |skip_tls_verify, plain_http| RemoteOptions {
        skip_tls_verify,
        plain_http,
        credentials: me(),
        retries: 0,
        ..RemoteOptions::default()
    };
    for (peer, ca_files) in [(&secured, Vec::new()), (&own, Vec::new()), (&own, vec![secured.authority()])] {
        let remote = RemoteOptions { ca_files, ..options(false, PlainHttp::Loopback) };
        let error = RemoteClient::new(&peer.host, remote).unwrap().ping().await.unwrap_err();
        assert!(matches!(error, hako_image::remote::RemoteError::Tls { .. }), "{error:?}");
    }
    let remote = RemoteOptions { ca_files: vec!["/dev/null".into()], ..options(false, PlainHttp::Loopback) };
    let error = RemoteClient::new(&own.host, remote).unwrap().ping().await.unwrap_err();
    let error = hako_error::Error::from(error).chain();
    assert!(error.contains("\"/dev/null\"") && error.contains("no certificate in PEM form"), "{error}");
    RemoteClient::new(&secured.host, options(true, PlainHttp::Never)).unwrap().ping().await.unwrap();
    // One that wants to see a certificate of ours.
    let mutual = Peer::start(Access::Mutual);
    let ours = |client| RemoteOptions { client, ..options(true, PlainHttp::Never) };
    let ping = async |client| RemoteClient::new(&mutual.host, ours(client)).unwrap().ping().await;
    assert!(ping(None).await.is_err());
    ping(Some(mutual.client())).await.unwrap();
    let (certificate, _) = mutual.client();
    let error = ping(Some((certificate, "/none.key".into()))).await.unwrap_err();
    assert!(hako_error::Error::from(error).chain().contains("/none.key"));
    // Plain HTTP only where it is allowed.
    let strict = RemoteClient::new(&locked.host, options(false, PlainHttp::Never)).unwrap();
    assert!(strict.ping().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_another_repository_is_mounted_and_progress_says_so() {
    let peer = Peer::start(Access::Open);
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[50_000]);
    let options = PushOptions::default();
    push(&store.images, &image, &peer.name("one"), &options, &Progress::none()).await.unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    let progress = Progress::new(move |event| sink.lock().push(event));
    let image = store.images.resolve(&name("app")).unwrap();
    let pushed = push(&store.images, &image, &peer.name("two"), &options, &progress).await.unwrap();
    assert_eq!(pushed.moved, 0);
    let mounted =
        Event::Layer { digest: image.layers[0].digest, state: LayerState::Mounted { from: "one".into() } };
    assert!(events.lock().contains(&mounted), "{:?}", events.lock());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_layers_are_compressed_alike_each_time() {
    let peer = Peer::start(Access::Open);
    let digests = [Store::new(), Store::new()].map(|store| {
        let image = store.image("app", Compression::None, &[20_000, 300]);
        (store, image)
    });
    let mut pushed = Vec::new();
    for (store, image) in &digests {
        let target = peer.name("app");
        let done = push(&store.images, image, &target, &PushOptions::default(), &Progress::none()).await;
        pushed.push(done.unwrap());
        assert_eq!(store.images.resolve(&name("app")).unwrap().id, image.id);
        assert_eq!(store.images.list().unwrap().len(), 1);
    }
    assert_eq!(pushed[0].digest, pushed[1].digest);
    assert_eq!(pulled(&Store::new(), &peer, "app").await.image.id, digests[0].1.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_here_goes_as_gzip_and_what_was_pulled_as_it_came() {
    let peer = Peer::start(Access::Open);
    let store = Store::new();
    let image = store.image("app", Compression::Zstd, &[20_000, 300]);
    store.images.tag(&image, &peer.name("app")).unwrap();
    let options = PushOptions::default();
    let first = push(&store.images, &image, &peer.name("app"), &options, &Progress::none()).await.unwrap();
    let raw = peer.skopeo(&["inspect", "--raw", "--tls-verify=false", "docker://app:latest"]);
    assert_eq!(raw.matches(media_type::LAYER_GZIP).count(), 2, "{raw}");
    // The format that knows no zstd.
    let dir = tempfile::tempdir().unwrap();
    let archive = format!("docker-archive:{}/app.tar", dir.path().display());
    peer.skopeo(&["copy", "--src-tls-verify=false", "docker://app:latest", &archive]);

    let here = store.images.resolve(&name("app")).unwrap();
    assert_eq!(here.manifest_digest, image.manifest_digest, "nothing changes here");
    assert_eq!(here.repo_digests, [peer.name("app").with_digest(first.digest)]);
    assert!(pulled(&store, &peer, "app").await.is_up_to_date);

    // Nor does another copy come if only the name is missing.
    store.images.remove(&peer.name("app").to_string(), false).unwrap();
    let renamed = pulled(&store, &peer, "app").await;
    assert_eq!((renamed.is_up_to_date, renamed.moved), (false, 0));
    assert_eq!(renamed.image.manifest_digest, image.manifest_digest);
    assert_eq!(store.images.list().unwrap().len(), 1);

    // The compressed layers go; that the registry has them is known without making them again.
    store.images.gc().unwrap();
    let blobs = store.images.content().list().unwrap().len();
    let again = push(&store.images, &here, &peer.name("app"), &options, &Progress::none()).await.unwrap();
    assert_eq!((again.moved, again.digest), (0, first.digest));
    assert_eq!(store.images.content().list().unwrap().len(), blobs);
    let other = Peer::start(Access::Open);
    let elsewhere =
        push(&store.images, &here, &other.name("app"), &options, &Progress::none()).await.unwrap();
    assert_eq!((elsewhere.moved, elsewhere.digest), (first.moved, first.digest));

    let chunked = PushOptions { form: Some(LayerForm::Chunked), ..PushOptions::default() };
    let target = peer.name("chunked");
    let asked = push(&store.images, &here, &target, &chunked, &Progress::none()).await.unwrap();
    let there = Store::new();
    let found = pulled(&there, &peer, "chunked").await.image;
    assert!(found.layers.iter().all(|layer| layer.annotations.len() == 2), "{:?}", found.layers);
    let onward = push(&there.images, &found, &other.name("onward"), &options, &Progress::none()).await;
    assert_eq!(onward.unwrap().digest, asked.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_go_on_while_images_are_removed_and_everything_is_collected() {
    let peer = Peer::start(Access::Open);
    let (here, there) = (Store::new(), Store::new());
    for (name, sizes) in [("one", [40_000, 100]), ("two", [40_000, 200])] {
        // The first layer is the same.
        let image = here.image(name, Compression::Gzip, &sizes);
        push(&here.images, &image, &peer.name(name), &PushOptions::default(), &Progress::none())
            .await
            .unwrap();
    }
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let collecting = {
        let (images, is_over) = (there.images.clone(), is_over.clone());
        tokio::task::spawn_blocking(move || {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                images.gc().unwrap();
            }
        })
    };
    let pulls = ["one", "two"].map(|name| {
        let (images, name) = (there.images.clone(), peer.name(name));
        tokio::spawn(async move {
            for _ in 0..12 {
                let options = PullOptions::default();
                let found = pull(&images, &name, &options, &Progress::none()).await.unwrap();
                assert!(images.is_unpacked(&found.image.chain_id().unwrap()));
                images.remove(&name.to_string(), false).unwrap();
            }
            pull(&images, &name, &PullOptions::default(), &Progress::none()).await.unwrap()
        })
    });
    for pulled in futures::future::join_all(pulls).await {
        let pulled = pulled.unwrap();
        assert!(there.read(&pulled.image, "dir/file1").is_some());
        pulled.image.layers.iter().for_each(|layer| there.images.content().verify(layer.digest).unwrap());
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    collecting.await.unwrap();
    there.images.gc().unwrap();
    // A manifest and a configuration each, one layer of their own, and the one that both have.
    assert_eq!(there.images.content().list().unwrap().len(), 7);
    assert_eq!(there.images.snapshots().list().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_go_in_pieces_and_what_is_there_is_listed() {
    let peer = Peer::start(Access::Open);
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[100_000]);
    let options = PushOptions { piece: 10_000, ..PushOptions::default() };
    for tag in ["a", "b", "c"] {
        push(&store.images, &image, &peer.name(&format!("app:{tag}")), &options, &Progress::none())
            .await
            .unwrap();
    }
    let client = RemoteClient::new(&peer.host, RemoteOptions::default()).unwrap();
    // This registry knows no pages of tags, and no order.
    let mut tags = client.list_tags("app", None, None).await.unwrap();
    tags.items.sort();
    assert_eq!((tags.items, tags.next), (vec!["a".to_owned(), "b".into(), "c".into()], None));
    assert_eq!(client.catalog(None, None).await.unwrap().items, ["app"]);
    let digest = image.layers[0].digest;
    let mut part = client.get_blob_range("app", digest, 10..30).await.unwrap();
    let bytes = part.chunk().await.unwrap().unwrap();
    let whole = std::fs::read(store.images.content().path(digest)).unwrap();
    assert_eq!(&bytes[..], &whole[10..30]);
    assert_eq!(part.total(), Some(whole.len() as u64));
    assert!(client.referrers("app", image.manifest_digest).await.unwrap().is_empty());
    client.delete_manifest("app", &image.manifest_digest.to_string()).await.unwrap();
    assert_eq!(client.head_manifest("app", "a").await.unwrap(), None);
}

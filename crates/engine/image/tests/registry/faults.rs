//! What goes wrong, is refused, or is tried again.

use crate::fake::{Fake, Seen, cutting, hasty, options, start_of, status};
use crate::stores::{Store, hostile_layers, noise, tar};
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::StreamExt;
use hako_error::Kind;
use hako_image::Image;
use hako_image::layer::{Encoder, Permits};
use hako_image::remote::{Credentials, Payload, RemoteClient, RemoteOptions};
use hako_image::transfer::{Progress, PullOptions, PushOptions, pull, push};
use hako_names::Digest;
use hako_oci::media_type::{self, Compression};
use http::{Method, header};
use serde_json::json;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

/// A server with an image of two layers, as `app:1`.
async fn served() -> (Fake, Store, Image) {
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[400_000, 3000]);
    let fake = Fake::start().await;
    fake.serve(&store.images, &image, "app");
    (fake, store, image)
}

async fn failure(fake: &Fake) -> hako_error::Error {
    let there = Store::new();
    let error = pull(&there.images, &fake.name("app:1"), &options(), &Progress::none()).await.unwrap_err();
    there.assert_empty();
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_download_continues_where_it_broke() {
    let (fake, _store, image) = served().await;
    let proxy = cutting(&fake.host, 70_000).await;
    let there = Store::new();
    let target = format!("{proxy}/app:1").parse().unwrap();
    let pulled = pull(&there.images, &target, &options(), &Progress::none()).await.unwrap();
    let size: u64 = image.layers.iter().map(|layer| layer.size).sum();
    assert_eq!(pulled.moved, size + config_size(&there, &image), "no byte twice");
    let starts: Vec<usize> = fake.seen().iter().filter_map(start_of).collect();
    assert!(starts.len() >= 4 && starts.is_sorted() && starts[0] > 0, "{starts:?}");
    assert!(there.read(&pulled.image, "dir/file1").is_some());
}

fn config_size(store: &Store, image: &Image) -> u64 {
    store.images.content().size(image.id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_names_the_layer_and_leaves_nothing() {
    let (fake, store, image) = served().await;
    let layer = &image.layers[0];
    let mut bytes = std::fs::read(store.images.content().path(layer.digest)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let actual = Digest::of(&bytes);
    fake.file(&format!("/v2/app/blobs/{}", layer.digest), "", bytes.into());
    let error = failure(&fake).await;
    assert_eq!(error.kind(), Kind::Invalid);
    for part in [layer.digest.to_string(), actual.to_string()] {
        assert!(error.chain().contains(&part), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_another_size_is_refused() {
    for change in [-5_i64, 5] {
        let (fake, store, image) = served().await;
        let layer = &image.layers[1];
        let mut bytes = std::fs::read(store.images.content().path(layer.digest)).unwrap();
        bytes.resize((layer.size as i64 + change) as usize, 0);
        fake.file(&format!("/v2/app/blobs/{}", layer.digest), "", bytes.into());
        let error = failure(&fake).await;
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.chain().contains("size mismatch"), "{error:?}");
        assert!(error.chain().contains(&layer.digest.to_string()), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_each_time_is_given_up_and_nothing_but_the_start_stays() {
    let (fake, _store, image) = served().await;
    let path = image.layers[0].digest.to_string();
    fake.rule(move |seen| seen.path.ends_with(&path).then(|| status(503)));
    let error = failure(&fake).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(fake.count(&image.layers[0].digest.to_string()), 5, "once and four retries");
}

/// Serves a manifest with one gzip layer of that tar.
fn serve_layer(fake: &Fake, tar: &[u8], diff_id: Option<Digest>) {
    let mut encoder = Encoder::new(Vec::new(), Compression::Gzip).unwrap();
    encoder.write_all(tar).unwrap();
    let (bytes, own) = encoder.finish().unwrap();
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [diff_id.unwrap_or(own)]},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let (layer, id) = (Digest::of(&bytes), Digest::of(&config));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::CONFIG, "digest": id, "size": config.len()},
        "layers": [{"mediaType": media_type::LAYER_GZIP, "digest": layer, "size": bytes.len()}],
    });
    fake.file(&format!("/v2/app/blobs/{layer}"), "", bytes.into());
    fake.file(&format!("/v2/app/blobs/{id}"), "", config.into());
    serve_manifest(fake, media_type::MANIFEST, &manifest);
}

fn serve_manifest(fake: &Fake, kind: &str, manifest: &serde_json::Value) {
    fake.file("/v2/app/manifests/1", kind, serde_json::to_vec(manifest).unwrap().into());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_layers_are_refused_by_name_and_leave_nothing() {
    let fake = Fake::start().await;
    serve_layer(&fake, &tar("dir/../../../escaped", b"x", None), None);
    let error = failure(&fake).await;
    assert!(error.chain().contains("escaped") && error.kind() == Kind::Invalid, "{error:?}");
    // 3 MB that unpack to 3 GB.
    let mut bomb = Vec::new();
    for at in 0..40 {
        bomb.extend(tar(&format!("dir/zeros{at}"), &vec![0; 30 << 20], None));
        bomb.truncate(bomb.len() - 1024);
    }
    serve_layer(&fake, &bomb, None);
    let error = failure(&fake).await;
    assert!(error.chain().contains("exceeds the limit"), "{error:?}");
    // Content that is not what the configuration says.
    serve_layer(&fake, &tar("dir/x", b"x", None), Some(Digest::of(b"other")));
    let error = failure(&fake).await;
    assert!(error.chain().contains(&Digest::of(b"other").to_string()), "{error:?}");
    // Not even a tar.
    serve_layer(&fake, &noise(10_000, 1), None);
    assert!(failure(&fake).await.chain().contains("no tar"));
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_names_and_devices_in_a_pulled_layer_are_refused_by_name_and_leave_nothing() {
    let fake = Fake::start().await;
    for (layer, expected) in hostile_layers() {
        serve_layer(&fake, &layer, None);
        let error = failure(&fake).await;
        let said = error.chain();
        assert!(said.contains("layer sha256:") && error.kind() == Kind::Invalid, "{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{expected:?}: {said}");
    }
    let there = Store::new();
    there.images.permit(Permits::ALL);
    for (layer, _) in hostile_layers().drain(..4) {
        serve_layer(&fake, &layer, None);
        let pulled = pull(&there.images, &fake.name("app:1"), &options(), &Progress::none()).await;
        // There is no such file in that layer, whose names are below its root.
        let is_dangling = |error: hako_error::Error| error.chain().contains("no such file in the image");
        assert!(pulled.map_or_else(is_dangling, |_| true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_cannot_be_used_say_why() {
    let fake = Fake::start().await;
    let config = json!({"mediaType": media_type::CONFIG, "digest": Digest::of(b"c"), "size": 1});
    let layer = |kind: &str| json!({"mediaType": kind, "digest": Digest::of(b"l"), "size": 1});
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let cases = [
        (json!({"schemaVersion": 1, "fsLayers": []}), "schema 1"),
        (json!({"schemaVersion": 2, "config": config, "layers": [layer(foreign)]}), "foreign"),
        (json!({"schemaVersion": 2, "config": config, "layers": [layer("text/plain")]}), "text/plain"),
        (json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []}), "both"),
        (json!({"schemaVersion": 2, "config": layer("application/vnd.wasm"), "layers": []}), "artifact"),
        (json!({"schemaVersion": 2, "manifests": []}), "no image for"),
        (json!({"schemaVersion": 2}), "no image manifest"),
    ];
    for (manifest, expected) in cases {
        serve_manifest(&fake, "", &manifest);
        let error = failure(&fake).await;
        assert!(error.chain().contains(expected), "{expected}: {error:?}");
        assert_eq!(error.kind(), Kind::Invalid);
    }
    fake.file("/v2/app/manifests/1", media_type::MANIFEST, vec![b' '; (4 << 20) + 1].into());
    let error = failure(&fake).await;
    assert!(error.chain().contains("larger than 4194304 bytes"), "{error:?}");
    let missing = pull(&Store::new().images, &fake.name("gone:1"), &options(), &Progress::none()).await;
    assert!(missing.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_with_the_scope_of_the_challenge() {
    let (fake, _store, _) = served().await;
    let host = fake.host.clone();
    fake.rule(move |seen| {
        if seen.path.starts_with("/token") {
            let body = Body::from(r#"{"token":"let-me-in","expires_in":300}"#);
            return Some(Response::builder().body(body).unwrap());
        }
        if seen.headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer let-me-in") {
            return None;
        }
        let challenge =
            format!(r#"Bearer realm="http://{host}/token",service="s e",scope="repository:app:pull""#);
        let refused = Response::builder().status(401).header(header::WWW_AUTHENTICATE, challenge);
        Some(refused.body(Body::empty()).unwrap())
    });
    let credentials = Credentials::Basic { username: "me".into(), password: "secret".into() };
    let remote = RemoteOptions { credentials, ..hasty() };
    let options = PullOptions { remote, parallel: 1, ..PullOptions::default() };
    pull(&Store::new().images, &fake.name("app:1"), &options, &Progress::none()).await.unwrap();
    let tokens: Vec<_> = fake.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1, "one token serves all calls");
    assert_eq!(tokens[0].path, "/token?service=s%20e&scope=repository:app:pull&account=me");
    assert_eq!(tokens[0].headers[header::AUTHORIZATION], "Basic bWU6c2VjcmV0");
    // An identity token goes by OAuth2's form, and never to the registry itself.
    let remote = RemoteOptions { credentials: Credentials::Identity("refresh".into()), ..hasty() };
    RemoteClient::new(&fake.host, remote).unwrap().head_manifest("app", "1").await.unwrap().unwrap();
    let last = fake.seen().into_iter().rfind(|seen| seen.path.starts_with("/token")).unwrap();
    assert_eq!(last.method, Method::POST);
    let form = String::from_utf8(last.body.to_vec()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh"), "{form}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_elsewhere_sees_no_credentials() {
    let (fake, store, image) = served().await;
    let storage = Fake::start().await;
    storage.serve(&store.images, &image, "app");
    let there = storage.host.clone();
    fake.rule(move |seen| {
        if seen.headers.get(header::AUTHORIZATION).is_none() {
            let refused = Response::builder().status(401).header(header::WWW_AUTHENTICATE, "Basic realm=x");
            return Some(refused.body(Body::empty()).unwrap());
        }
        let location = format!("http://{there}{}", seen.path);
        let away = Response::builder().status(307).header(header::LOCATION, location);
        seen.path.contains("/blobs/").then(|| away.body(Body::empty()).unwrap())
    });
    let credentials = Credentials::Basic { username: "me".into(), password: "secret".into() };
    let remote = RemoteOptions { credentials, ..hasty() };
    let options = PullOptions { remote, ..PullOptions::default() };
    pull(&Store::new().images, &fake.name("app:1"), &options, &Progress::none()).await.unwrap();
    assert_eq!(storage.seen().len(), 3);
    assert!(storage.seen().iter().all(|seen| !seen.headers.contains_key(header::AUTHORIZATION)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_for_patience_gets_it_within_bounds() {
    let (fake, _store, _) = served().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    fake.rule(move |_| {
        let busy = Response::builder().status(429).header(header::RETRY_AFTER, "0");
        (count.fetch_add(1, Ordering::Relaxed) < 2).then(|| busy.body(Body::empty()).unwrap())
    });
    let client = RemoteClient::new(&fake.host, hasty()).unwrap();
    client.get_manifest("app", "1").await.unwrap();
    assert!(asked.load(Ordering::Relaxed) >= 3);
    fake.rule(|_| {
        let busy = Response::builder().status(429).header(header::RETRY_AFTER, "3600");
        Some(busy.body(Body::empty()).unwrap())
    });
    let error = client.get_manifest("app", "1").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_continues_where_the_registry_is() {
    let fake = Fake::start().await;
    let bytes = noise(100_000, 3);
    let stored = Arc::new(parking_lot::Mutex::new(Vec::<u8>::new()));
    let store = stored.clone();
    let patches = AtomicUsize::new(0);
    fake.rule(move |seen| {
        let answer = |code: u16, has: usize| {
            let range = format!("0-{}", has.max(1) - 1);
            let answer =
                Response::builder().status(code).header(header::LOCATION, "/v2/app/blobs/uploads/1?s=x");
            answer.header(header::RANGE, range).body(Body::empty()).unwrap()
        };
        let mut stored = store.lock();
        Some(match seen.method {
            Method::POST => answer(202, 0),
            Method::GET => answer(204, stored.len()),
            Method::PATCH => {
                // Every second piece arrives in half, and its answer is an error.
                let is_broken = patches.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
                let upto = if is_broken { seen.body.len() / 2 } else { seen.body.len() };
                stored.extend_from_slice(&seen.body[..upto]);
                answer(if is_broken { 503 } else { 202 }, stored.len())
            }
            _ => {
                assert!(seen.path.starts_with("/v2/app/blobs/uploads/1?s=x&digest=sha256:"), "{}", seen.path);
                answer(201, stored.len())
            }
        })
    });
    let client = RemoteClient::new(&fake.host, hasty()).unwrap();
    let payload = Payload::Bytes(bytes.clone().into());
    client.upload_blob("app", Digest::of(&bytes), &payload, 30_000).await.unwrap();
    assert_eq!(*stored.lock(), bytes);
}

/// Uploads as a registry takes them, each under its number; of those of gzip, `broken` are answered 503 after half of the
/// piece came.
fn take_uploads(fake: &Fake, broken: &'static [usize]) -> Arc<parking_lot::Mutex<Vec<Vec<u8>>>> {
    let uploads = Arc::new(parking_lot::Mutex::new(Vec::<Vec<u8>>::new()));
    let (taken, patches) = (uploads.clone(), AtomicUsize::new(0));
    fake.rule(move |seen| {
        let (_, upload) = seen.path.split_once("/v2/app/blobs/uploads/")?;
        let mut taken = taken.lock();
        if seen.method == Method::POST {
            taken.push(Vec::new());
        }
        let number = upload.split('?').next().and_then(|number| number.parse().ok()).unwrap_or(taken.len());
        let has = &mut taken[number - 1];
        let status = match seen.method {
            Method::GET => 204,
            Method::PATCH => {
                let is_gzip = has.iter().chain(&seen.body).next() == Some(&0x1f);
                let is_broken = is_gzip && broken.contains(&patches.fetch_add(1, Ordering::Relaxed));
                let upto = if is_broken { seen.body.len() / 2 } else { seen.body.len() };
                has.extend_from_slice(&seen.body[..upto]);
                if is_broken { 503 } else { 202 }
            }
            Method::PUT => 201,
            _ => 202,
        };
        let answer = Response::builder().status(status);
        let answer = answer.header(header::LOCATION, format!("/v2/app/blobs/uploads/{number}?s=x"));
        Some(answer.header(header::RANGE, format!("0-{}", has.len().max(1) - 1)).body(Body::empty()).unwrap())
    });
    fake.rule(|seen| (seen.method == Method::PUT && seen.path.contains("/manifests/")).then(|| status(201)));
    uploads
}

/// The layer among them, and the path under which it was ended.
fn taken_layer(uploads: &parking_lot::Mutex<Vec<Vec<u8>>>) -> (Vec<u8>, String) {
    let uploads = uploads.lock();
    let index = uploads.iter().position(|upload| upload.first() == Some(&0x1f)).unwrap();
    let layer = uploads[index].clone();
    let path = format!("/v2/app/blobs/uploads/{}?s=x&digest={}", index + 1, Digest::of(&layer));
    (layer, path)
}

fn has_length(seen: &Seen) -> bool {
    seen.headers.contains_key(header::CONTENT_LENGTH)
}

fn hasty_push() -> PushOptions {
    PushOptions { remote: hasty(), ..PushOptions::default() }
}

/// How many files of blobs, whole and half, a store has.
fn files(store: &Store) -> usize {
    let dir = store.dir.path().join("content");
    let count = |name: &str| std::fs::read_dir(dir.join(name)).unwrap().count();
    count("blobs/sha256") + count("ingest")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_sent_while_it_is_made_goes_on_after_a_cut_and_stays_nowhere_here() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    let (uploads, before) = (take_uploads(&fake, &[0]), files(&store));
    let pushed =
        push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await.unwrap();
    let (layer, ended) = taken_layer(&uploads);
    let mut patches = fake.seen();
    patches.retain(|seen| seen.method == Method::PATCH && ended.starts_with(&seen.path));
    let first = &patches[0];
    assert!(first.body.first() == Some(&0x1f) && !has_length(first), "its length was known when it was sent");
    assert!(patches[1].headers.get(header::CONTENT_RANGE).is_some(), "{:?}", patches[1].headers);
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(layer.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(Digest::of(&plain), image.layers[0].diff_id);
    assert_eq!(fake.count(&ended), 1, "{ended}");
    assert!(pushed.moved > layer.len() as u64, "the configuration goes too");
    // The manifest that the registry has is all that came.
    assert_eq!(files(&store), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_the_registry_turns_out_to_have_is_taken_back() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    take_uploads(&fake, &[]);
    fake.rule(|seen| (seen.method == Method::HEAD).then(|| status(200)));
    // What is all there before it is known that the registry has it was sent.
    fake.in_order(|seen| seen.method == Method::DELETE, |seen| seen.method == Method::PATCH);
    let pushed =
        push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await.unwrap();
    assert_eq!(pushed.moved, 0);
    let methods: Vec<_> = fake.seen().into_iter().map(|seen| (seen.method, seen.path)).collect();
    let is_upload = |path: &str| path.starts_with("/v2/app/blobs/uploads/");
    assert!(methods.iter().any(|(method, path)| *method == Method::DELETE && is_upload(path)), "{methods:?}");
    assert!(!methods.iter().any(|(method, path)| *method == Method::PUT && is_upload(path)), "{methods:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_push_is_told_before_anything_is_made() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    fake.rule(|seen| (seen.method == Method::POST).then(|| status(403)));
    let refused = push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Forbidden);
    let records = std::fs::read_dir(store.dir.path().join("images/converted"));
    assert_eq!(records.map_or(0, Iterator::count), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_refused_while_it_is_made_is_not_made_to_its_end() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    take_uploads(&fake, &[]);
    fake.refuse(Method::PATCH, 403);
    // What is read of this has no end.
    let blob = store.images.content().path(image.layers[0].digest);
    std::fs::remove_file(&blob).unwrap();
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &blob, fifo, mode, 0).unwrap();
    let endless = std::fs::File::options().read(true).write(true).open(&blob).unwrap();
    let refused = push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await;
    // Who has not opened it yet would wait for somebody to write.
    std::fs::remove_file(&blob).unwrap();
    drop(endless);
    assert_eq!(refused.unwrap_err().kind(), Kind::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_goes_with_its_length_where_the_registry_takes_no_other() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    let uploads = take_uploads(&fake, &[]);
    fake.rule(|seen| (seen.method == Method::PATCH && !has_length(seen)).then(|| status(411)));
    push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await.unwrap();
    assert_eq!(fake.count(&taken_layer(&uploads).1), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_does_not_wait_for_a_layer_that_is_made() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    take_uploads(&fake, &[]);
    let ended = format!("digest={}", image.id);
    let is_layer = |seen: &Seen| seen.method == Method::PATCH && !has_length(seen);
    fake.in_order(move |seen| seen.path.contains(&ended), is_layer);
    push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await.unwrap();
    let begun = fake.seen().iter().filter(|seen| seen.method == Method::POST).count();
    assert_eq!(begun, 2, "something went twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_to_be_left_alone_for_a_day_is_an_error_now() {
    let (fake, store) = (Fake::start().await, Store::new());
    let image = store.image("app", Compression::None, &[300_000]);
    take_uploads(&fake, &[]);
    fake.rule(|seen| {
        let tired = Response::builder().status(429).header(header::RETRY_AFTER, "86400");
        (seen.method == Method::PATCH).then(|| tired.body(Body::empty()).unwrap())
    });
    let made = push(&store.images, &image, &fake.name("app"), &hasty_push(), &Progress::none()).await;
    assert_eq!(made.unwrap_err().kind(), Kind::Exhausted);
    let client = RemoteClient::new(&fake.host, hasty()).unwrap();
    let bytes = vec![7; 1000];
    let payload = Payload::Bytes(bytes.clone().into());
    let sent = client.upload_blob("app", Digest::of(&bytes), &payload, 1000).await;
    assert_eq!(sent.unwrap_err().status(), Some(http::StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_referrers_from_the_fallback_tag() {
    let fake = Fake::start().await;
    fake.rule(|seen| {
        let link = r#"</v2/app/tags/list?last=b&n=2>; rel="next""#;
        let page = match seen.path.as_str() {
            "/v2/app/tags/list?n=2" => (Some(link), r#"{"name":"app","tags":["a","b"]}"#),
            "/v2/app/tags/list?n=2&last=b" => (None, r#"{"name":"app","tags":["c"]}"#),
            _ => return None,
        };
        let mut answer = Response::builder();
        if let Some(link) = page.0 {
            answer = answer.header(header::LINK, link);
        }
        Some(answer.body(Body::from(page.1)).unwrap())
    });
    let client = RemoteClient::new(&fake.host, hasty()).unwrap();
    let first = client.list_tags("app", Some(2), None).await.unwrap();
    let second = client.list_tags("app", Some(2), first.next.as_deref()).await.unwrap();
    assert_eq!([first.items, second.items].concat(), ["a", "b", "c"]);
    assert_eq!(second.next, None);
    let subject = Digest::of(b"subject");
    let fallback = format!("/v2/app/manifests/sha256-{}", subject.hex());
    let index = br#"{"schemaVersion":2,"manifests":[{"size":7}]}"#.as_slice();
    fake.file(&fallback, media_type::INDEX, index.into());
    let found = client.referrers("app", subject).await.unwrap();
    assert_eq!(found, [serde_json::json!({"size": 7})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_of_all_pages_are_told_and_pages_without_end_are_not() {
    let fake = Fake::start().await;
    fake.rule(|seen| {
        let (_, place) = seen.path.split_once("/referrers/")?;
        let page = match place.split_once('?').map(|(_, query)| query) {
            None => 1,
            Some("page=2") => 2,
            Some(_) => 0,
        };
        let next = if page == 1 && seen.path.starts_with("/v2/app/") { "page=2" } else { "page=0" };
        let mut answer = Response::builder();
        if page < 2 {
            let link = format!("<{}?{next}>; rel=\"next\"", seen.path.split('?').next().unwrap());
            answer = answer.header(header::LINK, link);
        }
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [{"size": page}]});
        Some(answer.body(Body::from(index.to_string())).unwrap())
    });
    let client = RemoteClient::new(&fake.host, hasty()).unwrap();
    let subject = Digest::of(b"subject");
    let found = client.referrers("app", subject).await.unwrap();
    assert_eq!(found, [serde_json::json!({"size": 1}), serde_json::json!({"size": 2})]);
    let endless = client.referrers("endless", subject).await.unwrap_err().to_string();
    assert!(endless.contains("its pages have no end"), "{endless}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_lean_on_those_below_are_unpacked_as_if_in_order() {
    // The second layer writes through a link of the first, and hides a directory that it then fills anew.
    let fake = Fake::start().await;
    let store = Store::new();
    let (first, second) = crate::stores::leaning_layers();
    let image = store.image_of("app", &[first, second]);
    fake.serve(&store.images, &image, "app");
    let there = Store::new();
    let pulled = pull(&there.images, &fake.name("app:1"), &options(), &Progress::none()).await.unwrap();
    for file in ["usr/lib/new", "lib/new", "old/kept", "data/fresh"] {
        assert!(there.read(&pulled.image, file).is_some(), "{file}");
        assert_eq!(there.read(&pulled.image, file), store.read(&image, file), "{file}");
    }
    assert_eq!(there.read(&pulled.image, "data/stale"), None);
    assert_eq!(store.read(&image, "data/stale"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_of_the_same_layers_fetch_them_once() {
    let (fake, _store, image) = served().await;
    fake.serve(&_store.images, &image, "other");
    let there = Store::new();
    let (one, two) = (fake.name("app:1"), fake.name("other:1"));
    let (options, progress) = (options(), Progress::none());
    let (first, second) = tokio::join!(
        pull(&there.images, &one, &options, &progress),
        pull(&there.images, &two, &options, &progress),
    );
    assert_eq!(first.unwrap().image.id, second.unwrap().image.id);
    for layer in &image.layers {
        assert_eq!(fake.count(&layer.digest.to_string()), 1);
    }
}

/// How many downloads are under way, and the most that ever were.
#[derive(Default)]
struct Downloads {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// The half of `bytes`; the rest when as many downloads as `meeting` has places are in their middle. They fail when
/// nobody comes in a minute.
fn half_and_half(bytes: Bytes, meeting: Arc<Barrier>, downloads: Arc<Downloads>) -> Response {
    let size = bytes.len();
    downloads.most.fetch_max(downloads.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let (first, rest) = (bytes.slice(..size / 2), bytes.slice(size / 2..));
    let rest = async move {
        let met = tokio::time::timeout(Duration::from_secs(60), meeting.wait()).await;
        downloads.now.fetch_sub(1, Ordering::SeqCst);
        met.map(|_| rest).map_err(|_| std::io::Error::other("no other layer was asked for meanwhile"))
    };
    let first = futures::stream::once(std::future::ready(Ok(first)));
    let body = Body::from_stream(first.chain(futures::stream::once(rest)));
    Response::builder().header(header::CONTENT_LENGTH, size).body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_come_side_by_side_and_no_more_at_once_than_is_said() {
    let store = Store::new();
    let image = store.image("app", Compression::Gzip, &[200_000, 3000, 100_000, 50_000]);
    let fake = Fake::start().await;
    fake.serve(&store.images, &image, "app");
    let layers: HashMap<String, Bytes> = image
        .layers
        .iter()
        .map(|layer| {
            let bytes = std::fs::read(store.images.content().path(layer.digest)).unwrap();
            (format!("/v2/app/blobs/{}", layer.digest), bytes.into())
        })
        .collect();
    let (meeting, downloads) = (Arc::new(Barrier::new(2)), Arc::new(Downloads::default()));
    let seen = downloads.clone();
    fake.rule(move |asked| {
        let bytes = layers.get(&asked.path).filter(|_| asked.method == Method::GET)?;
        Some(half_and_half(bytes.clone(), meeting.clone(), seen.clone()))
    });
    let there = Store::new();
    let remote = RemoteOptions { retries: 0, ..hasty() };
    let options = PullOptions { remote, parallel: 2, ..PullOptions::default() };
    let pulled = pull(&there.images, &fake.name("app:1"), &options, &Progress::none()).await.unwrap();
    assert_eq!(downloads.most.load(Ordering::SeqCst), 2);
    assert_eq!(fake.count("/blobs/"), 5, "each layer and the configuration once");
    assert_eq!(there.read(&pulled.image, "dir/file3"), store.read(&image, "dir/file3"));
}

//! The crate `oci-client`: what programs in Rust use that speak to registries themselves.

use crate::support::{Fixture, run};
use hako_registry::config::AuthConfig;
use oci_client::client::{BlobResponse, Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

/// Chunked uploads, or each blob in one request.
fn client(is_monolithic: bool) -> Client {
    // Another test of this process may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        use_monolithic_push: is_monolithic,
        ..ClientConfig::default()
    })
}

fn locked(is_token: bool) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = crate::auth::users(dir.path());
    Fixture::start_in(dir, |config| {
        config.auth = if is_token {
            AuthConfig::Token {
                htpasswd,
                service: "test".into(),
                issuer: "test".into(),
                realm: None,
                lifetime: std::time::Duration::from_secs(300),
            }
        } else {
            AuthConfig::Basic { htpasswd, realm: "test".into() }
        };
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn oci_client_pushes_in_chunks_and_at_once_and_pulls_the_same() {
    let registry = locked(true);
    let alice = RegistryAuth::Basic("alice".into(), "alice-password".into());
    let layers: Vec<Vec<u8>> = [5 << 20, 300].map(|count: usize| numbers(count)).into();
    runtime().block_on(async {
        for (is_monolithic, tag) in [(false, "chunked"), (true, "at-once")] {
            let image: Reference = format!("{}/team/{tag}:v1", registry.host()).parse().unwrap();
            let client = client(is_monolithic);
            let pushed = layers.iter().map(|bytes| ImageLayer::oci_v1_gzip(bytes.clone(), None));
            let pushed: Vec<ImageLayer> = pushed.collect();
            let config = Config::oci_v1(br#"{"os":"linux","architecture":"amd64"}"#.to_vec(), None);
            client.push(&image, &pushed, config, &alice, None).await.unwrap();

            let other = self::client(false);
            let accepted = vec![IMAGE_LAYER_GZIP_MEDIA_TYPE];
            let pulled = other.pull(&image, &alice, accepted).await.unwrap();
            // They come in the order in which they are done.
            let mut bytes: Vec<Vec<u8>> = pulled.layers.iter().map(|layer| layer.data.to_vec()).collect();
            bytes.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
            assert!(bytes == layers, "{tag}");
            let digest = other.fetch_manifest_digest(&image, &alice).await.unwrap();
            assert_eq!(Some(digest), pulled.digest, "{tag}");
        }
    });
}

#[test]
fn oci_client_lists_mounts_and_reads_parts() {
    // Its tokens are for one repository, so that nothing can be mounted with them.
    let registry = locked(false);
    let alice = RegistryAuth::Basic("alice".into(), "alice-password".into());
    let client = client(false);
    let image = |name: &str| -> Reference { format!("{}/{name}", registry.host()).parse().unwrap() };
    let layer = numbers(400_000);
    runtime().block_on(async {
        let base = image("team/base:v1");
        let config = Config::oci_v1(b"{}".to_vec(), None);
        let pushed = [ImageLayer::oci_v1_gzip(layer.clone(), None)];
        client.push(&base, &pushed, config, &alice, None).await.unwrap();
        let (manifest, digest) = client.pull_image_manifest(&base, &alice).await.unwrap();
        let descriptor = &manifest.layers[0];
        match client.pull_blob_stream_partial(&base, descriptor, 1000, Some(200_000)).await.unwrap() {
            BlobResponse::Partial(part) => {
                use futures::TryStreamExt as _;
                let part: Vec<bytes::Bytes> = part.stream.try_collect().await.unwrap();
                assert!(part.concat() == layer[1000..201_000]);
            }
            BlobResponse::Full(_) => panic!("the whole blob came"),
        }
        let other = image("team/other:v1");
        client.auth(&other, &alice, RegistryOperation::Push).await.unwrap();
        client.mount_blob(&other, &base, &descriptor.digest).await.unwrap();
        let tags = client.list_tags(&base, &alice, None, None).await.unwrap();
        assert_eq!((tags.name.as_str(), tags.tags), ("team/base", vec!["v1".to_owned()]));

        // A signature of the image, found through the referrers API.
        let subject = OciDescriptor {
            media_type: crate::support::OCI_MANIFEST.into(),
            digest: digest.clone(),
            size: 0,
            ..OciDescriptor::default()
        };
        let signature = OciImageManifest {
            subject: Some(subject),
            artifact_type: Some("application/x.signature".into()),
            ..manifest
        };
        let signed = image("team/base:signature");
        client.push_manifest(&signed, &signature.into()).await.unwrap();
        let subject = image(&format!("team/base@{digest}"));
        let found = client.pull_referrers(&subject, Some("application/x.signature")).await.unwrap();
        assert_eq!(found.manifests.len(), 1);
    });
    let skopeo = ["list-tags", "--tls-verify=false", "--creds=alice:alice-password"];
    let tags = run("skopeo", &[&skopeo[..], &[&format!("docker://{}/team/base", registry.host())]].concat());
    assert!(tags.contains("signature"), "{tags}");
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect()
}

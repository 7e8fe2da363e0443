use crate::support::{Fixture, output, run};
use std::path::Path;

/// An OCI layout with one image of one layer, made by hand.
pub fn layout(dir: &Path, layer: &[u8]) {
    use hako_names::Digest;
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let store = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        serde_json::json!({"digest": digest, "size": bytes.len()})
    };
    let describe = |mut descriptor: serde_json::Value, media_type: &str| {
        descriptor["mediaType"] = media_type.into();
        descriptor
    };
    let mut tar = Vec::new();
    tar.extend(header("file", layer.len()));
    tar.extend(layer);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let config = serde_json::json!({"os": "linux", "architecture": "amd64", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar)]}});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": crate::support::OCI_MANIFEST,
        "config": describe(store(config.to_string().as_bytes()), "application/vnd.oci.image.config.v1+json"),
        "layers": [describe(store(&tar), "application/vnd.oci.image.layer.v1.tar")],
    });
    let image = describe(store(manifest.to_string().as_bytes()), crate::support::OCI_MANIFEST);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [image]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// A ustar header of a plain file.
fn header(name: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[test]
fn skopeo_copies_inspects_lists_syncs_and_deletes() {
    let registry = Fixture::start();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    layout(&source, &vec![7; 3 << 20]);
    let oci = format!("oci:{}", source.display());
    let image = |name: &str| format!("docker://{}/{name}", registry.host());

    run("skopeo", &["copy", "--preserve-digests", "--dest-tls-verify=false", &oci, &image("team/app:v1")]);
    run("skopeo", &["copy", "--dest-tls-verify=false", "--format=v2s2", &oci, &image("team/app:docker")]);
    run(
        "skopeo",
        &[
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &image("team/app:v1"),
            &image("else/app:v1"),
        ],
    );
    let inspected: serde_json::Value =
        serde_json::from_str(&run("skopeo", &["inspect", "--tls-verify=false", &image("team/app:v1")]))
            .unwrap();
    assert_eq!(inspected["Os"], "linux");
    let tags = run("skopeo", &["list-tags", "--tls-verify=false", &image("team/app")]);
    let tags: serde_json::Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["docker", "v1"]));

    let pulled = work.path().join("pulled");
    run(
        "skopeo",
        &[
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            &image("else/app:v1"),
            &format!("oci:{}:v1", pulled.display()),
        ],
    );
    let manifest = |dir: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap()
    };
    let digest = |dir: &Path| manifest(dir)["manifests"][0]["digest"].clone();
    assert_eq!(digest(&pulled), digest(&source), "the same content has the same digest everywhere");

    let mirror = work.path().join("mirror");
    let from = format!("{}/team/app", registry.host());
    let to = mirror.display().to_string();
    run("skopeo", &["sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false", &from, &to]);
    assert_eq!(std::fs::read_dir(&mirror).unwrap().count(), 2);

    run("skopeo", &["delete", "--tls-verify=false", &image("team/app:v1")]);
    let gone = output("skopeo", &["inspect", "--tls-verify=false", &image("team/app:v1")]);
    assert!(!gone.status.success());
    assert!(String::from_utf8_lossy(&gone.stderr).contains("manifest unknown"), "{gone:?}");
}

//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/manifest.rs"]
mod manifest;

/// A manifest under each claim.
fn claimed(text: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..manifest::CLAIMS.len() as u8).map(move |claim| [&[claim], text.as_bytes()].concat())
}

#[test]
fn what_is_taken_is_an_image_or_an_index_to_everybody() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let one =
        |kind: &str| format!(r#"{{"mediaType":"application/vnd.{kind}","digest":"{digest}","size":3}}"#);
    let (config, layer) = (one("oci.image.config.v1+json"), one("oci.image.layer.v1.tar+gzip"));
    let foreign = layer.replace("layer.v1", "layer.nondistributable.v1").replace("}", r#","urls":["x:"]}"#);
    let image = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]"#, one("oci.image.manifest.v1+json"));
    let typed = |kind: &str| format!(r#","mediaType":"application/vnd.{kind}"}}"#);
    let texts = [
        format!("{image}}}"),
        format!("{index}}}"),
        image.clone() + &typed("oci.image.manifest.v1+json"),
        image.clone() + &typed("oci.image.index.v1+json"),
        index.clone() + &typed("docker.distribution.manifest.list.v2+json"),
        index + &typed("oci.image.manifest.v1+json"),
        format!(r#"{image},"manifests":[]}}"#),
        format!(r#"{image},"subject":{config},"artifactType":"a/b","annotations":{{"a":"b"}}}}"#),
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{foreign}]}}"#),
        r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"signatures":[]}"#.to_owned(),
        "[".repeat(2000),
    ];
    damaged::run(texts.iter().flat_map(|text| claimed(text)).collect(), 3000, manifest::run);
}

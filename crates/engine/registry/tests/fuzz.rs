//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../fuzz/harness/configuration.rs"]
mod configuration;
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

const FULL: &str = r#"
listen: 127.0.0.1:0
metrics_listen: "[::1]:9"
s3: {bucket: b, endpoint: "http://127.0.0.1:1", prefix: p/, access_key_id: a, secret_access_key_file: none/a}
tls: {own: [a.example, 10.0.0.1]}
auth: {kind: token, htpasswd: none/h, realm: "https://a.example/token", lifetime_seconds: 18446744073709551615}
rules:
- {repositories: [team/**, "*"], users: [anna, "*", anonymous], rights: [pull, push, delete]}
quotas:
- {repositories: team/*, bytes: 10Gi}
- {bytes: 1e3}
immutable_tags:
- {repositories: ["**"], tags: ["v*"]}
retention:
- {repositories: ["**"], tags: ["*"], except: [keep], keep_last: 3, keep_days: 999999999999999999, untagged: true, dry_run: true}
upstreams:
- {registry: docker.io, prefix: hub}
- {registry: "[::1]:5000", prefix: "", ca_file: none/c, username: u, password_file: none/p}
audit_file: none/a
webhooks:
- {url: "https://a.example/x", headers: ["A: b"], actions: [push, pull], retries: 3, timeout_seconds: 0}
limits: {manifest_bytes: 4Mi, lease_seconds: 2}
collect_every_seconds: 30
"#;

#[test]
fn a_configuration_is_taken_whole_or_all_its_faults_are_told_with_their_fields() {
    let unknown: String = (0..50).map(|at| format!("x{at}: 1\n")).collect();
    let laughs: String =
        (1..20).map(|at| format!("a{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9))).collect();
    let seeds = [
        FULL.to_owned(),
        String::new(),
        "{}".to_owned(),
        unknown,
        format!("a0: &a0 [x]\n{laughs}"),
        "rules: [{}, null, [], 3, {repositories: [], users: 7}]\nquotas: {}\ns3: []\ntls: {}\n".to_owned(),
        "retention: [{repositories: ['a**b', A, ''], keep_days: -1, except: ['/']}]\nlisten: 5\n".to_owned(),
        "upstreams: [{registry: 'a:b:c'}, {registry: '[', prefix: A}, {prefix: a}, {prefix: a}]\n".to_owned(),
        "[".repeat(5000),
        "- ".repeat(5000),
    ];
    damaged::run(seeds.map(String::into_bytes).into(), 200, configuration::run);
}

//! What the file says, from its words to what clients see.

use crate::support::{Fixture, OCI_INDEX, output, run};
use hako_error::Classify as _;
use hako_names::Digest;
use hako_registry::{Config, Service};
use serde_json::Value;

/// A registry with that file, on a port of its own and with a quick collector.
fn serve(text: &str) -> Fixture {
    let said = Config::parse(text).unwrap();
    Fixture::start_with(|config| {
        let (listen, collect_every) = (config.listen, config.collect_every);
        *config = Config { listen, collect_every, ..said };
    })
}

fn tags(registry: &Fixture, repository: &str) -> Vec<Value> {
    let listed = registry.get(&format!("/v2/{repository}/tags/list"));
    listed.json()["tags"].as_array().cloned().unwrap_or_default()
}

#[test]
fn tags_stay_for_as_many_days_as_the_rule_says() {
    let registry = serve(
        "retention:\n\
         - {repositories: short, tags: 'build-*', keep_days: 0, except: [build-base]}\n\
         - {repositories: long, tags: 'build-*', keep_days: 1}\n\
         - {repositories: both, tags: 'build-*', keep_days: 0, keep_last: 1, except: [build-base]}\n",
    );
    for repository in ["short", "long", "both"] {
        for tag in ["build-base", "build-1", "build-2", "other"] {
            registry.push_image(repository, tag, tag.as_bytes());
        }
    }
    registry.until(|| tags(&registry, "short") == ["build-base", "other"]);
    registry.until(|| tags(&registry, "both") == ["build-2", "build-base", "other"]);
    assert_eq!(tags(&registry, "long").len(), 4, "they are younger");
}

#[test]
fn what_a_cache_has_stays_for_as_many_days_as_it_says() {
    let upstream = Fixture::start();
    let host = upstream.host();
    for name in ["short", "long"] {
        upstream.push_image("app", name, name.as_bytes());
    }
    let cache = serve(&format!(
        "upstreams:\n- {{prefix: short, registry: '{host}', keep_days: 0}}\n- {{prefix: long, registry: '{host}', keep_days: 1}}\n\
         limits: {{lease_seconds: 1}}\n"
    ));
    for name in ["short", "long"] {
        let pulled = cache.get(&format!("/v2/{name}/app/manifests/{name}"));
        assert_eq!(pulled.status, 200, "{pulled:?}");
    }
    // Without asking for them: what is pulled stays.
    cache.until(|| cache.stored() == 1);
    drop(upstream);
    let status = |name: &str| cache.get(&format!("/v2/{name}/app/manifests/{name}")).status;
    assert_eq!((status("short"), status("long")), (503, 200));
}

#[test]
fn retention_leaves_what_an_index_of_a_cache_names() {
    let upstream = Fixture::start();
    let image = upstream.push_image("app", "single", b"layer");
    upstream.put_index("app", "v1", image);
    let cache = serve(&format!(
        "upstreams: [{{prefix: up, registry: '{}'}}]\nretention: [{{untagged: true}}]\nlimits: {{lease_seconds: 1}}\n",
        upstream.host()
    ));
    let status = |name: &str, reference: &str| cache.get(&format!("/v2/{name}/manifests/{reference}")).status;
    assert_eq!((status("up/app", "v1"), status("up/app", &image.to_string())), (200, 200));
    drop(upstream);
    // It comes later, and is looked at later.
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
    let digest = Digest::of(index.to_string().as_bytes()).to_string();
    cache.put_manifest("zz", &digest, &index);
    cache.until(|| status("zz", &digest) == 404);
    assert_eq!((status("up/app", "v1"), status("up/app", &image.to_string())), (200, 200));
}

#[test]
fn a_tag_is_believed_for_as_many_seconds_as_the_cache_says() {
    let upstream = Fixture::start();
    let host = upstream.host();
    let cache = serve(&format!(
        "upstreams:\n- {{prefix: none, registry: '{host}', fresh_seconds: 0}}\n\
         - {{prefix: one, registry: '{host}', fresh_seconds: 1}}\n\
         - {{prefix: long, registry: '{host}', fresh_seconds: 86400}}\n"
    ));
    let digest = |prefix: &str| {
        let path = format!("/v2/{prefix}/app/manifests/v1");
        cache.send("HEAD", &path, &[], "").header("docker-content-digest").to_owned()
    };
    let first = upstream.push_image("app", "v1", b"first").to_string();
    for prefix in ["none", "one", "long"] {
        assert_eq!(digest(prefix), first);
    }
    let second = upstream.push_image("app", "v1", b"second").to_string();
    assert_eq!(digest("none"), second, "it is compared each time");
    assert_eq!(digest("long"), first);
    cache.until(|| digest("one") == second);
    assert_eq!(digest("long"), first);
}

#[test]
fn a_cache_shows_its_upstream_the_name_and_the_password_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let users = crate::auth::users(dir.path());
    let upstream = serve(&format!("auth: {{kind: basic, htpasswd: '{}'}}\n", users.display()));
    let authorization = crate::auth::credentials("alice");
    let push = |digest: hako_names::Digest, bytes: &[u8]| {
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        upstream.send("POST", &path, &[("authorization", &authorization)], bytes).status
    };
    let blob = b"only for alice";
    let digest = hako_names::Digest::of(blob);
    assert_eq!(push(digest, blob), 201);
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    // As editors end a file.
    std::fs::write(&right, "alice-password\n").unwrap();
    std::fs::write(&wrong, "bob-password\n").unwrap();
    let host = upstream.host();
    let who = |file: &std::path::Path| format!("username: alice, password_file: '{}'", file.display());
    let cache = serve(&format!(
        "upstreams:\n- {{prefix: right, registry: '{host}', {}}}\n- {{prefix: wrong, registry: '{host}', {}}}\n\
         - {{prefix: nobody, registry: '{host}'}}\n",
        who(&right),
        who(&wrong)
    ));
    let pull = |prefix: &str| cache.get(&format!("/v2/{prefix}/app/blobs/{digest}"));
    for prefix in ["wrong", "nobody"] {
        assert_ne!(pull(prefix).status, 200, "{prefix}");
    }
    let pulled = pull("right");
    assert_eq!((pulled.status, pulled.body.as_slice()), (200, blob.as_slice()));
    let missing = dir.path().join("missing");
    let refused = Config::parse(&format!("upstreams: [{{registry: '{host}', {}}}]", who(&missing))).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..refused };
    let started = runtime.block_on(hako_registry::Service::start(config, dir.path().join("own")));
    assert!(started.is_err_and(|error| error.chain().contains("missing")));
}

#[test]
fn a_cache_speaks_to_its_upstream_as_securely_as_it_is_told() {
    let plain = Fixture::start();
    let digest = plain.push_image("app", "v1", b"anything");
    let secured = serve("tls: {own: [127.0.0.1]}\n");
    let work = tempfile::tempdir().unwrap();
    let (source, trust) = (work.path().join("source"), work.path().join("trust"));
    crate::skopeo::layout(&source, b"encrypted");
    std::fs::create_dir(&trust).unwrap();
    let authority = secured.dir.path().join("pki/ca.crt");
    std::fs::copy(&authority, trust.join("ca.crt")).unwrap();
    let (oci, image) = (format!("oci:{}", source.display()), format!("docker://{}/app:v1", secured.host()));
    run("skopeo", &["copy", "--dest-cert-dir", &trust.display().to_string(), &oci, &image]);
    let cache = serve(&format!(
        "upstreams:\n- {{prefix: never, registry: '{plain}', plain_http: never}}\n\
         - {{prefix: only, registry: '{plain}', plain_http: only}}\n\
         - {{prefix: trusted, registry: '{tls}', plain_http: never, ca_file: '{authority}'}}\n\
         - {{prefix: unknown, registry: '{tls}', plain_http: never}}\n\
         - {{prefix: clear, registry: '{tls}', plain_http: only}}\n",
        plain = plain.host(),
        tls = secured.host(),
        authority = authority.display()
    ));
    let pull = |prefix: &str| cache.get(&format!("/v2/{prefix}/app/manifests/v1"));
    for (prefix, is_ok) in
        [("never", false), ("only", true), ("trusted", true), ("unknown", false), ("clear", false)]
    {
        let pulled = pull(prefix);
        assert_eq!(pulled.status == 200, is_ok, "{prefix}: {pulled:?}");
    }
    assert_eq!(pull("only").header("docker-content-digest"), digest.to_string());
}

#[test]
fn no_more_uploads_are_under_way_than_the_bound_says() {
    let registry = serve("limits: {uploads: 1}\n");
    let begin = || registry.send("POST", "/v2/a/blobs/uploads/", &[], "");
    let first = begin();
    let second = begin();
    assert_eq!((first.status, second.status, second.code().as_str()), (202, 429, "TOOMANYREQUESTS"));
    let location = first.header("location");
    assert_eq!(registry.send("DELETE", location, &[], "").status, 204);
    assert_eq!(begin().status, 202);
}

/// The fields of all faults, with what is said of each.
fn faults(text: &str, dir: &std::path::Path) -> Vec<(String, String)> {
    match Config::load(text, dir) {
        Ok(_) => Vec::new(),
        Err(error) => error.causes().into_iter().map(|fault| (fault.field, fault.message)).collect(),
    }
}

#[test]
fn what_cannot_start_or_work_is_found_in_all_sections_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (users, junk) = (file("users", "alice:$apr1$x$y\nbob:$2y$05$short\ncarol\n"), file("junk", "no PEM"));
    let text = format!(
        "tls: {{certificate: /missing/tls.crt, key: '{junk}'}}\n\
         auth: {{kind: token, htpasswd: '{users}', realm: registry.example.org}}\n\
         s3: {{bucket: '', endpoint: 'localhost:9000', access_key_id: id, secret_access_key_file: /missing/secret, ca_file: /missing/ca}}\n\
         rules: [{{repositories: 'team/[ab]', rights: [pull]}}]\n\
         quotas: [{{repositories: 'Team/*', bytes: 1}}]\n\
         immutable_tags: [{{tags: 'v?'}}]\n\
         retention: [{{keep_last: 1, tags: 'a/b', except: '{{a}}'}}]\n\
         upstreams:\n\
         - {{prefix: hub, registry: 'https://docker.io'}}\n\
         - {{prefix: hub, registry: 'docker.io', ca_file: '{junk}'}}\n\
         - {{prefix: 'host:5000', registry: 'host:port'}}\n\
         audit_file: /missing/audit.log\n\
         webhooks: [{{url: 'ftp://ci.example.org', headers: [nothing], actions: [fly], ca_file: '{junk}'}}]\n\
         limits: {{uploads_each: many}}\n"
    );
    let found = faults(&text, dir.path());
    for field in [
        "tls.certificate",
        "tls.key",
        "auth.htpasswd",
        "auth.realm",
        "s3.bucket",
        "s3.endpoint",
        "s3.secret_access_key_file",
        "s3.ca_file",
        "rules[0].repositories",
        "quotas[0].repositories",
        "immutable_tags[0].tags",
        "retention[0].tags",
        "retention[0].except",
        "upstreams[0].registry",
        "upstreams[1].prefix",
        "upstreams[1].ca_file",
        "upstreams[2].prefix",
        "upstreams[2].registry",
        "audit_file",
        "webhooks[0].url",
        "webhooks[0].headers",
        "webhooks[0].actions",
        "webhooks[0].ca_file",
        "limits.uploads_each",
    ] {
        assert!(found.iter().any(|(one, _)| one == field), "{field} in {found:?}");
    }
    for line in ["line 1", "$apr1$", "line 2", "line 3"] {
        assert!(found.iter().any(|(_, said)| said.contains(line)), "{line} in {found:?}");
    }
}

#[test]
fn a_key_must_be_that_of_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join(format!("{name}.crt")), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    make("one");
    make("two");
    let with = |key: &str| {
        let at = dir.path().display();
        faults(&format!("tls: {{certificate: {at}/one.crt, key: {at}/{key}.key}}"), dir.path())
    };
    assert!(with("one").is_empty());
    let found = with("two");
    assert_eq!(found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["tls.key"], "{found:?}");
}

#[test]
fn the_certificate_of_a_file_is_what_clients_see() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let at = (certificate.display(), key.display());
    let registry = serve(&format!("tls: {{certificate: '{}', key: '{}'}}\n", at.0, at.1));
    let url = format!("https://{}/v2/", registry.host());
    assert_eq!(run("curl", &["-sSf", "--cacert", &at.0.to_string(), &url]), "{}");
    assert!(!output("curl", &["-sSf", &url]).status.success(), "nobody else vouches for it");
}

#[test]
fn what_is_found_is_refused_before_anything_is_listened_on_or_made() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = "upstreams: [{registry: 'no host'}]\naudit_file: /missing/audit.log\n";
    let config = Config { listen: taken.local_addr().unwrap(), ..Config::parse(text).unwrap() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(Service::start(config, dir.path().join("own"))).unwrap_err().chain();
    for field in ["upstreams[0].registry", "audit_file"] {
        assert!(refused.contains(field), "{refused}");
    }
    assert!(!dir.path().join("own").exists());
}

//! Each field of the configuration's file, from its word to the field that it sets.

use crate::support::Fixture;
use base64::Engine as _;
use hako_image::remote::PlainHttp;
use hako_registry::config::{
    AuthConfig, COPY_LIMIT_BYTES, Config, Pattern, Quota, Retention, Rights, Rule, S3Config, Selection, Tls,
    UpstreamConfig, WebhookConfig,
};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::time::Duration;

fn patterns(text: &str) -> Vec<Pattern> {
    vec![Pattern::new(text)]
}

const FILE: &str = "\
listen: 127.0.0.1:5001
metrics_listen: 127.0.0.1:9001
s3: {bucket: b, region: eu-west-1, endpoint: 'https://s3.test', ca_file: /s3.crt, prefix: p, access_key_id: id, secret_access_key_file: /s3.key, copy_limit_bytes: 3Gi}
tls: {certificate: /tls.crt, key: /tls.key}
auth: {kind: token, htpasswd: /users, service: served, issuer: issued, realm: 'https://r.test/token', lifetime_seconds: 61}
rules: [{repositories: 'team/**', users: [alice], rights: [pull, delete]}]
quotas: [{repositories: 'small/**', bytes: 2Ki}]
immutable_tags: [{repositories: 'fixed/**', tags: 'v*'}]
retention: [{repositories: 'ci/**', tags: 'build-*', except: [base], keep_last: 3, keep_days: 2, untagged: true, dry_run: true}]
upstreams: [{prefix: up, registry: up.test, username: me, password_file: /up.key, ca_file: /up.crt, plain_http: only, fresh_seconds: 7, keep_days: 3}]
audit_file: /audit
webhooks: [{url: 'https://hook.test', headers: ['A: b'], ca_file: /hook.crt, actions: [delete], retries: 4, timeout_seconds: 5}]
limits: {lease_seconds: 11, upload_idle_seconds: 12, uploads: 13, uploads_each: 14}
collect_every_seconds: 15
";

#[test]
fn each_field_of_the_file_sets_what_it_is_for() {
    let Config {
        listen,
        metrics_listen,
        s3,
        tls,
        auth,
        rules,
        quotas,
        immutable,
        retention,
        upstreams,
        audit,
        webhooks,
        limits,
        collect_every,
    } = Config::parse(FILE).unwrap();
    assert_eq!(listen, "127.0.0.1:5001".parse().unwrap());
    assert_eq!(metrics_listen, Some("127.0.0.1:9001".parse().unwrap()));
    let bucket = S3Config {
        bucket: "b".into(),
        region: "eu-west-1".into(),
        endpoint: Some("https://s3.test".into()),
        ca_file: Some("/s3.crt".into()),
        prefix: "p".into(),
        key: Some(("id".into(), "/s3.key".into())),
        copy_limit_bytes: 3 << 30,
    };
    assert_eq!(s3, Some(bucket));
    assert_eq!(tls, Some(Tls::Files { certificate: "/tls.crt".into(), key: "/tls.key".into() }));
    let token = AuthConfig::Token {
        htpasswd: "/users".into(),
        service: "served".into(),
        issuer: "issued".into(),
        realm: Some("https://r.test/token".into()),
        lifetime: Duration::from_secs(61),
    };
    assert_eq!(auth, token);
    let rights = Rights { pull: true, push: false, delete: true };
    assert_eq!(rules, [Rule { repositories: patterns("team/**"), users: vec!["alice".into()], rights }]);
    assert_eq!(quotas, [Quota { repositories: patterns("small/**"), bytes: 2048 }]);
    assert_eq!(immutable, [Selection { repositories: patterns("fixed/**"), tags: patterns("v*") }]);
    let rule = Retention {
        of: Selection { repositories: patterns("ci/**"), tags: patterns("build-*") },
        except: patterns("base"),
        keep_last: Some(3),
        keep_for: Some(Duration::from_secs(2 * 86_400)),
        untagged: true,
        dry_run: true,
    };
    assert_eq!(retention, [rule]);
    let upstream = UpstreamConfig {
        username: Some("me".into()),
        password_file: Some("/up.key".into()),
        ca_file: Some("/up.crt".into()),
        plain_http: PlainHttp::Only,
        fresh: Duration::from_secs(7),
        keep: Duration::from_secs(3 * 86_400),
        ..UpstreamConfig::new("up", "up.test")
    };
    assert_eq!(upstreams, [upstream]);
    assert_eq!(audit, Some("/audit".into()));
    let hook = WebhookConfig {
        url: "https://hook.test".into(),
        headers: vec!["A: b".into()],
        ca_file: Some("/hook.crt".into()),
        actions: vec!["delete".into()],
        retries: 4,
        timeout: Duration::from_secs(5),
    };
    assert_eq!(webhooks, [hook]);
    assert_eq!((limits.lease, limits.upload_idle), (Duration::from_secs(11), Duration::from_secs(12)));
    assert_eq!((limits.uploads, limits.uploads_each), (13, 14));
    assert_eq!(collect_every, Duration::from_secs(15));
}

/// The claims of a token, unread by who gets it.
fn claims(token: &str) -> serde_json::Value {
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_token_says_by_whom_for_whom_and_how_long_and_where_it_is_to_be_had() {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = crate::auth::users(dir.path());
    let registry = Fixture::start_in(dir, |config| {
        config.rules = crate::auth::rules();
        config.auth = AuthConfig::Token {
            htpasswd,
            service: "served".into(),
            issuer: "issued".into(),
            realm: Some("https://proxy.test/token".into()),
            lifetime: Duration::from_secs(61),
        };
    });
    let challenge = registry.get("/v2/");
    let asked = challenge.header("www-authenticate");
    assert!(asked.contains("realm=\"https://proxy.test/token\""), "{asked}");
    let credentials = crate::auth::credentials("alice");
    let answer = registry.send(
        "GET",
        "/token?service=served&scope=repository:team/app:pull",
        &[("authorization", &credentials)],
        "",
    );
    assert_eq!(answer.json()["expires_in"], 61, "{answer:?}");
    let claims = claims(answer.json()["token"].as_str().unwrap());
    assert_eq!((&claims["iss"], &claims["aud"]), (&"issued".into(), &"served".into()), "{claims}");
    let seconds = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(seconds("exp") - seconds("iat"), 61, "{claims}");
}

#[test]
fn who_has_the_right_to_push_alone_pulls_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = crate::auth::users(dir.path());
    let registry = Fixture::start_in(dir, |config| {
        config.auth = AuthConfig::Basic { htpasswd, realm: "test".into() };
        let rule = |user: &str, pull, push| Rule {
            repositories: patterns("**"),
            users: vec![user.into()],
            rights: Rights { pull, push, delete: false },
        };
        config.rules = vec![rule("alice", false, true), rule("bob", true, false)];
    });
    let blob = b"dropped";
    let digest = hako_names::Digest::of(blob);
    let as_user = |user: &str, method: &str, path: &str, body: &[u8]| {
        registry.send(method, path, &[("authorization", &crate::auth::credentials(user))], body).status
    };
    let (upload, path) =
        (format!("/v2/app/blobs/uploads/?digest={digest}"), format!("/v2/app/blobs/{digest}"));
    assert_eq!(as_user("bob", "POST", &upload, blob), 403);
    assert_eq!(as_user("alice", "POST", &upload, blob), 201);
    assert_eq!(as_user("alice", "GET", &path, b""), 403);
    assert_eq!(as_user("bob", "GET", &path, b""), 200);
}

#[test]
fn quotas_fixed_tags_and_retention_hold_where_they_are_said_to() {
    let registry = Fixture::start_with(|config| {
        config.quotas = vec![Quota { repositories: patterns("small/**"), bytes: 100 }];
        config.immutable = vec![Selection { repositories: patterns("fixed/**"), tags: patterns("v*") }];
        config.retention = vec![Retention {
            of: Selection { repositories: patterns("ci/**"), tags: patterns("build-*") },
            except: Vec::new(),
            keep_last: Some(1),
            keep_for: None,
            untagged: false,
            dry_run: false,
        }];
    });
    let put = |repository: &str, tag: &str, layer: &[u8]| {
        let manifest = registry.manifest(repository, layer);
        let kind = [("content-type", crate::support::OCI_MANIFEST)];
        let path = format!("/v2/{repository}/manifests/{tag}");
        registry.send("PUT", &path, &kind, manifest.to_string()).status
    };
    for (repository, tag, status) in [("fixed/a", "v1", 403), ("fixed/a", "latest", 201), ("bare", "v1", 201)]
    {
        assert_eq!(put(repository, tag, b"one"), 201, "{repository}:{tag}");
        assert_eq!(put(repository, tag, b"two"), status, "{repository}:{tag} moves");
    }
    for (repository, status) in [("small/a", 403), ("bare", 201)] {
        let large = [7; 101];
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", hako_names::Digest::of(&large));
        assert_eq!(registry.send("POST", &path, &[], large).status, status, "{repository}");
    }
    // Collected first, as it is first in order.
    for repository in ["bare", "ci/a"] {
        for tag in ["build-1", "build-2", "other"] {
            assert_eq!(put(repository, tag, tag.as_bytes()), 201);
        }
    }
    let tags = |repository: &str| {
        let listed = registry.get(&format!("/v2/{repository}/tags/list")).json()["tags"].take();
        serde_json::from_value::<Vec<String>>(listed).unwrap()
    };
    registry.until(|| tags("ci/a") == ["build-2", "other"]);
    assert_eq!(tags("bare"), ["build-1", "build-2", "other", "v1"]);
}

#[test]
fn an_event_is_tried_again_as_often_as_is_said_and_no_more() {
    let (url, taken) =
        crate::events::receiver(|number, _| Some(if number < 2 { "503 Busy" } else { "200 OK" }));
    let registry = Fixture::start_with(|config| {
        config.webhooks = vec![WebhookConfig { retries: 1, ..crate::events::webhook(url, &["push"]) }];
    });
    // The last one is for a registry that gives up too early, and would have nothing more to tell.
    for tag in ["v1", "v2", "v3"] {
        registry.push_image("a", tag, b"layer");
    }
    assert_eq!(taken.recv().unwrap()["target"]["tag"], "v2", "after two attempts the first was given up");
}

#[test]
fn all_repositories_together_have_no_more_uploads_than_the_bound_says() {
    let registry = Fixture::start_with(|config| {
        (config.limits.uploads, config.limits.uploads_each) = (3, 2);
    });
    let begin = |repository: &str| {
        let begun = registry.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "");
        (begun.status, begun.header("location").to_owned())
    };
    let (first, location) = begin("a");
    assert_eq!((first, begin("b").0, begin("c").0), (202, 202, 202));
    assert_eq!(begin("d").0, 429, "none of its own is under way");
    assert_eq!(registry.send("DELETE", &location, &[], "").status, 204);
    assert_eq!(begin("d").0, 202);
}

/// What the first request to a server of the test begins with.
fn first_head(listener: &TcpListener) -> String {
    let (stream, _) = listener.accept().unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_bucket_is_asked_for_by_its_name_region_key_and_prefix() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || first_head(&listener));
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let registry = Fixture::start_in(dir, |config| {
        config.s3 = Some(S3Config {
            bucket: "images".into(),
            region: "eu-north-7".into(),
            endpoint: Some(endpoint),
            ca_file: None,
            prefix: "some/where".into(),
            key: Some(("who".into(), secret)),
            copy_limit_bytes: COPY_LIMIT_BYTES,
        });
    });
    let head = asked.join().unwrap();
    let request = head.lines().next().unwrap();
    assert!(request.contains("/images?") && request.contains("some%2Fwhere"), "{head}");
    let signed = head.lines().find(|line| line.starts_with("authorization: ")).unwrap();
    assert!(signed.contains("Credential=who/") && signed.contains("/eu-north-7/s3/"), "{head}");
    drop(registry);
}

//! What the file says, from its words to what clients see.

use crate::support::Fixture;
use hako_registry::Config;
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

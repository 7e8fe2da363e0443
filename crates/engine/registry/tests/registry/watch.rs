//! What those who watch over a registry are told, and where.

use crate::support::Fixture;
use hako_registry::config::{AuthConfig, Config};

fn guarded(change: impl FnOnce(&mut Config)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = crate::auth::users(dir.path());
    Fixture::start_in(dir, |config| {
        config.auth = AuthConfig::Basic { htpasswd, realm: "test".into() };
        change(config);
    })
}

fn is_metrics(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("hako_registry_requests_total")
}

#[test]
fn metrics_are_for_those_who_have_a_password() {
    let registry = guarded(|_| {});
    let as_user = |user: &str| {
        let authorization = crate::auth::credentials(user);
        registry.send("GET", "/metrics", &[("authorization", &authorization)], "")
    };
    let stranger = registry.get("/metrics");
    assert_eq!((stranger.status, stranger.header("www-authenticate")), (401, "Basic realm=\"test\""));
    assert!(!is_metrics(&stranger.body));
    assert_eq!(as_user("nobody").status, 401);
    let known = as_user("alice");
    assert!(known.status == 200 && is_metrics(&known.body), "{known:?}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(registry.get(path).status, 200, "{path} asks for no password");
    }
}

#[test]
fn metrics_with_an_address_of_their_own_are_there_for_all_and_nowhere_else() {
    let registry = guarded(|config| config.metrics_listen = Some("127.0.0.1:0".parse().unwrap()));
    let authorization = crate::auth::credentials("alice");
    let elsewhere = registry.send("GET", "/metrics", &[("authorization", &authorization)], "");
    assert_eq!(elsewhere.status, 404, "{elsewhere:?}");
    let here = registry.watch("/metrics");
    assert!(here.status == 200 && is_metrics(&here.body), "{here:?}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(registry.watch(path).status, 200, "{path}");
    }
    for path in ["/v2/", "/v2/_catalog", "/token"] {
        assert_eq!(registry.watch(path).status, 404, "{path} is nothing to watch");
    }
}

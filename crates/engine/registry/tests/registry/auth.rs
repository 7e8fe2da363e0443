use crate::support::{Answer, Fixture, output, run};
use base64::Engine as _;
use hako_names::Digest;
use hako_registry::config::{AuthConfig, Config, Pattern, Rights, Rule};
use std::path::Path;
use std::time::Duration;

const COST: u32 = 4;

pub fn users(dir: &Path) -> std::path::PathBuf {
    let line = |user: &str| format!("{user}:{}\n", bcrypt::hash(format!("{user}-password"), COST).unwrap());
    let path = dir.join("htpasswd");
    std::fs::write(&path, format!("# people\n{}{}{}", line("alice"), line("bob"), line("admin"))).unwrap();
    path
}

/// alice pushes to team/, bob pulls from there, admin may all, everybody pulls from public/.
pub fn rules() -> Vec<Rule> {
    let rule = |repositories: &str, user: &str, rights: &str| Rule {
        repositories: vec![Pattern::new(repositories)],
        users: vec![user.to_owned()],
        rights: Rights {
            pull: rights.contains("pull"),
            push: rights.contains("push"),
            delete: rights.contains("delete"),
        },
    };
    vec![
        rule("team/**", "alice", "pull push"),
        rule("team/**", "bob", "pull"),
        rule("**", "admin", "pull push delete"),
        rule("public/**", "anonymous", "pull"),
    ]
}

fn start(make: impl FnOnce(std::path::PathBuf) -> AuthConfig) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let auth = make(users(dir.path()));
    Fixture::start_in(dir, |config| {
        config.auth = auth;
        config.rules = rules();
    })
}

fn basic() -> Fixture {
    start(|htpasswd| AuthConfig::Basic { htpasswd, realm: "test".into() })
}

fn token() -> Fixture {
    start(|htpasswd| AuthConfig::Token {
        htpasswd,
        service: "registry.test".into(),
        issuer: "hako".into(),
        realm: None,
        lifetime: Duration::from_secs(60),
    })
}

pub fn credentials(user: &str) -> String {
    let text = format!("{user}:{user}-password");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

fn as_user(registry: &Fixture, user: &str, method: &str, path: &str) -> Answer {
    registry.send(method, path, &[("authorization", &credentials(user))], "")
}

#[test]
fn basic_authentication_gives_each_user_the_rights_of_the_rules() {
    let registry = basic();
    let anonymous = registry.get("/v2/");
    assert_eq!((anonymous.status, anonymous.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(anonymous.header("www-authenticate"), "Basic realm=\"test\"");
    for user in ["alice", "bob", "admin"] {
        assert_eq!(as_user(&registry, user, "GET", "/v2/").status, 200, "{user}");
    }
    let wrong = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("alice:wrong"));
    assert_eq!(registry.send("GET", "/v2/", &[("authorization", &wrong)], "").status, 401);
    assert_eq!(registry.send("GET", "/v2/", &[("authorization", "Basic !!")], "").status, 401);

    let uploads = "/v2/team/app/blobs/uploads/";
    assert_eq!(as_user(&registry, "alice", "POST", uploads).status, 202);
    let refused = as_user(&registry, "bob", "POST", uploads);
    assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"));
    assert_eq!(registry.send("POST", uploads, &[], "").status, 401);
    assert_eq!(as_user(&registry, "alice", "POST", "/v2/else/app/blobs/uploads/").status, 403);
    assert_eq!(as_user(&registry, "alice", "DELETE", "/v2/team/app/manifests/v1").status, 403);
    assert_eq!(as_user(&registry, "admin", "DELETE", "/v2/team/app/manifests/v1").status, 404);
    assert_eq!(registry.get("/v2/public/app/manifests/v1").status, 404, "everybody pulls from public/");
}

#[test]
fn a_user_has_a_users_places_for_uploads_whatever_the_repository() {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = users(dir.path());
    let registry = Fixture::start_in(dir, |config| {
        config.auth = AuthConfig::Basic { htpasswd, realm: "test".into() };
        config.rules = rules();
        config.limits.uploads_each = 1;
    });
    let begin = |user: &str, repository: &str| {
        as_user(&registry, user, "POST", &format!("/v2/{repository}/blobs/uploads/")).status
    };
    assert_eq!((begin("alice", "team/a"), begin("alice", "team/b")), (202, 429));
    assert_eq!((begin("admin", "team/a"), begin("admin", "team/b")), (202, 429));
}

#[test]
fn what_a_caller_may_not_read_is_not_mounted_and_not_in_the_catalogue() {
    let registry = basic();
    let secret = b"secret";
    let digest = Digest::of(secret);
    let put = |user: &str, repository: &str| {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        registry.send("POST", &path, &[("authorization", &credentials(user))], secret.as_slice()).status
    };
    assert_eq!(put("admin", "private/vault"), 201);
    assert_eq!(put("admin", "team/app"), 201);
    assert_eq!(put("admin", "public/app"), 201);
    let mount = |user: &str| {
        let path = format!("/v2/team/other/blobs/uploads/?mount={digest}&from=private/vault");
        as_user(&registry, user, "POST", &path).status
    };
    assert_eq!((mount("alice"), mount("admin")), (202, 201));
    let catalogue =
        |user: &str| as_user(&registry, user, "GET", "/v2/_catalog").json()["repositories"].clone();
    assert_eq!(catalogue("bob"), serde_json::json!(["public/app", "team/app", "team/other"]));
    assert_eq!(catalogue("admin").as_array().unwrap().len(), 4);
}

#[test]
fn tokens_grant_what_the_rules_allow_and_nothing_else() {
    let registry = token();
    let challenge = registry.send("POST", "/v2/team/app/blobs/uploads/", &[], "");
    assert_eq!(challenge.status, 401);
    assert_eq!(
        challenge.header("www-authenticate"),
        format!(
            "Bearer realm=\"http://{}/token\",service=\"registry.test\",scope=\"repository:team/app:pull,push\"",
            registry.host()
        )
    );
    let url = format!("http://{}/v2/", registry.host());
    let by_http2 = run("curl", &["-si", "--http2-prior-knowledge", &url]);
    let realm = format!("realm=\"http://{}/token\"", registry.host());
    assert!(by_http2.starts_with("HTTP/2 401") && by_http2.contains(&realm), "{by_http2}");
    let ask = |user: &str, scope: &str| {
        let answer = as_user(&registry, user, "GET", &format!("/token?service=registry.test&scope={scope}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["token"], answer.json()["access_token"]);
        answer.json()["token"].as_str().unwrap().to_owned()
    };
    let send = |token: &str, method: &str, path: &str| {
        registry.send(method, path, &[("authorization", &format!("Bearer {token}"))], "")
    };
    let push = "/v2/team/app/blobs/uploads/";
    let alice = ask("alice", "repository:team/app:pull,push");
    assert_eq!(send(&alice, "POST", push).status, 202);
    assert_eq!(send(&alice, "POST", "/v2/team/other/blobs/uploads/").status, 401, "another repository");
    assert_eq!(send(&alice, "DELETE", "/v2/team/app/manifests/v1").status, 401, "not asked for");
    let bob = ask("bob", "repository:team/app:pull,push");
    let refused = send(&bob, "POST", push);
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").ends_with("error=\"insufficient_scope\""));
    let admin = ask("admin", "repository:team/app:*");
    assert_eq!(send(&admin, "DELETE", "/v2/team/app/manifests/v1").status, 404);

    let (head, signature) = alice.rsplit_once('.').unwrap();
    let (_, claims) = head.split_once('.').unwrap();
    let none = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    for forged in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{head}.AAAA"),
        "x".into(),
    ] {
        let refused = send(&forged, "POST", push);
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").ends_with("error=\"invalid_token\""));
    }
    let anonymous =
        registry.get("/token?scope=repository:public/app:pull").json()["token"].as_str().unwrap().to_owned();
    assert_eq!(send(&anonymous, "GET", "/v2/public/app/manifests/v1").status, 404);
    assert_eq!(send(&anonymous, "GET", "/v2/team/app/manifests/v1").status, 401);
    assert_eq!(registry.send("GET", "/token", &[("authorization", "Basic YTpi")], "").status, 401);
}

#[test]
fn a_refresh_token_lasts_as_long_as_its_password() {
    let registry = token();
    let form = "grant_type=password&username=alice&password=alice-password&service=registry.test\
        &client_id=test&access_type=offline&scope=repository:team/app:pull";
    let granted = registry.send("POST", "/token", &[], form);
    let refresh = granted.json()["refresh_token"].as_str().unwrap().to_owned();
    let again = || {
        let form = format!("grant_type=refresh_token&refresh_token={refresh}&scope=repository:team/app:push");
        registry.send("POST", "/token", &[], form)
    };
    assert_eq!(again().status, 200);
    let as_access = format!("Bearer {refresh}");
    assert_eq!(registry.send("GET", "/v2/", &[("authorization", &as_access)], "").status, 401);
    let new = format!("alice:{}\n", bcrypt::hash("another", COST).unwrap());
    std::fs::write(registry.dir.path().join("htpasswd"), new).unwrap();
    assert_eq!(again().status, 401);
    assert_eq!(registry.send("POST", "/token", &[], "grant_type=magic").status, 400);
}

#[test]
fn skopeo_logs_in_by_password_and_by_token() {
    for registry in [basic(), token()] {
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("source");
        crate::skopeo::layout(&source, b"authenticated");
        let oci = format!("oci:{}", source.display());
        let image = format!("docker://{}/team/app:v1", registry.host());
        run(
            "skopeo",
            &["copy", "--dest-creds=alice:alice-password", "--dest-tls-verify=false", &oci, &image],
        );
        run("skopeo", &["inspect", "--creds=bob:bob-password", "--tls-verify=false", &image]);
        let auth_file = work.path().join("auth.json").display().to_string();
        let login = [
            "login",
            "--authfile",
            &auth_file,
            "--tls-verify=false",
            "-u",
            "bob",
            "-p",
            "bob-password",
            &registry.host(),
        ];
        run("skopeo", &login);
        run(
            "skopeo",
            &["list-tags", "--authfile", &auth_file, "--tls-verify=false", &image[..image.len() - 3]],
        );
        for refused in [
            vec!["copy", "--dest-creds=bob:bob-password", "--dest-tls-verify=false", &oci, &image],
            vec!["copy", "--dest-creds=alice:wrong", "--dest-tls-verify=false", &oci, &image],
            vec!["inspect", "--tls-verify=false", &image],
            vec!["delete", "--creds=alice:alice-password", "--tls-verify=false", &image],
        ] {
            assert!(!output("skopeo", &refused).status.success(), "{refused:?}");
        }
        run("skopeo", &["delete", "--creds=admin:admin-password", "--tls-verify=false", &image]);
    }
}

#[test]
fn tls_with_an_authority_of_its_own_satisfies_a_client_that_verifies() {
    let registry = Fixture::start_with(|config: &mut Config| {
        config.tls = Some(hako_registry::config::Tls::Own { names: vec!["127.0.0.1".into()] });
    });
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    crate::skopeo::layout(&source, b"encrypted");
    let certs = registry.dir.path().join("pki").display().to_string();
    let image = format!("docker://{}/app:v1", registry.host());
    let oci = format!("oci:{}", source.display());
    // The client wants a directory of certificates only.
    let trust = work.path().join("trust");
    std::fs::create_dir(&trust).unwrap();
    std::fs::copy(Path::new(&certs).join("ca.crt"), trust.join("ca.crt")).unwrap();
    let trust = trust.display().to_string();
    run("skopeo", &["copy", "--dest-cert-dir", &trust, &oci, &image]);
    run("skopeo", &["inspect", "--cert-dir", &trust, &image]);
    assert!(!output("skopeo", &["inspect", &image]).status.success(), "an unknown authority is refused");
}

use crate::support::{Fixture, OCI_INDEX};
use hako_registry::config::{AuthConfig, WebhookConfig};
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What a webhook is told on a connection; nothing if who tells goes away.
fn told(stream: &mut impl Read) -> Option<serde_json::Value> {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&text);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str::<serde_json::Value>(body)
        {
            assert!(head.to_lowercase().contains("x-secret: s3cret"), "{head}");
            return Some(body["events"][0].clone());
        }
    }
}

/// A server that answers each connection, by its number and event, with what `status` says, or never; the events that
/// it took come out of the channel.
pub fn receiver(
    status: fn(usize, &serde_json::Value) -> Option<&'static str>,
) -> (String, mpsc::Receiver<serde_json::Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, taken) = mpsc::channel();
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let Some(event) = told(&mut stream) else { continue };
            let Some(status) = status(number, &event) else {
                unanswered.push(stream);
                continue;
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let is_taken = stream.write_all(answer.as_bytes()).is_ok() && status.starts_with('2');
            if is_taken && sender.send(event).is_err() {
                return;
            }
        }
    });
    (url, taken)
}

pub fn webhook(url: String, actions: &[&str]) -> WebhookConfig {
    WebhookConfig {
        url,
        headers: vec!["X-Secret: s3cret".into()],
        ca_file: None,
        actions: actions.iter().map(ToString::to_string).collect(),
        retries: 3,
        timeout: Duration::from_secs(10),
    }
}

#[test]
fn webhooks_get_each_event_again_until_they_take_it() {
    let (url, taken) = receiver(|number, _| Some(if number == 0 { "500 No" } else { "200 OK" }));
    let registry = Fixture::start_with(|config| config.webhooks = vec![webhook(url, &["push", "delete"])]);
    let digest = registry.push_image("team/app", "v1", b"layer");
    let there = registry.get("/v2/team/app/manifests/v1");
    assert_eq!(there.status, 200);
    let size = there.body.len() as u64;
    assert_eq!(registry.send("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], "").status, 202);
    let event = taken.recv().unwrap();
    assert_eq!(
        (event["action"].as_str(), event["target"]["repository"].as_str()),
        (Some("push"), Some("team/app"))
    );
    assert_eq!(
        (event["target"]["digest"].as_str().unwrap(), event["target"]["tag"].as_str()),
        (digest.to_string().as_str(), Some("v1"))
    );
    assert_eq!(event["target"]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(
        (event["target"]["size"].as_u64(), event["target"]["length"].as_u64()),
        (Some(size), Some(size))
    );
    assert_eq!(taken.recv().unwrap()["action"], "delete", "a pull was not asked for");
}

/// A certificate of an authority, which is written to `ca_file`, and its key.
fn of_an_authority(ca_file: &Path) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (authority_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let authority = params.self_signed(&authority_key).unwrap();
    std::fs::write(ca_file, authority.pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.signed_by(&key, &issuer).unwrap(), key)
}

/// A certificate that is its own authority, as `openssl req -x509` makes it, and its key.
pub fn its_own_authority(ca_file: &Path) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(ca_file, certificate.pem()).unwrap();
    (certificate, key)
}

/// A server with a certificate; what each connection told it, if anything, comes out of the channel.
fn receiver_with_tls(
    (certificate, key): (rcgen::Certificate, rcgen::KeyPair),
) -> (String, mpsc::Receiver<Option<serde_json::Value>>) {
    let certificate = certificate.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let (sender, taken) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let event = told(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    (url, taken)
}

#[test]
fn a_webhook_with_tls_is_told_if_its_authority_is_trusted_and_nothing_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    for certified in [of_an_authority, its_own_authority] {
        let (known, unknown) = (dir.path().join("known.crt"), dir.path().join("unknown.crt"));
        let (trusted_url, trusted) = receiver_with_tls(certified(&known));
        let (strange_url, strange) = receiver_with_tls(certified(&unknown));
        let registry = Fixture::start_with(|config| {
            let with = |url| WebhookConfig { ca_file: Some(known.clone()), ..webhook(url, &["push"]) };
            config.webhooks = vec![with(strange_url), with(trusted_url)];
        });
        let digest = registry.push_image("team/app", "v1", b"layer");
        let event = trusted.recv().unwrap().expect("the trusted one was told nothing");
        assert_eq!(event["target"]["digest"], digest.to_string());
        assert_eq!(strange.recv().unwrap(), None, "a server that nobody vouches for was told of a push");
    }
}

#[test]
fn a_webhook_that_does_not_answer_holds_up_nobody_and_gives_way_to_the_next_event() {
    let (silent, _never) = receiver(|_, _| None);
    let (picky, taken) = receiver(|_, event| (event["target"]["tag"] != "v1").then_some("200 OK"));
    let registry = Fixture::start_with(|config| {
        let patient = WebhookConfig { timeout: Duration::from_secs(86_400), ..webhook(silent, &["push"]) };
        let hasty =
            WebhookConfig { timeout: Duration::from_secs(1), retries: 1, ..webhook(picky, &["push"]) };
        config.webhooks = vec![patient, hasty];
    });
    for tag in ["v1", "v2", "v3"] {
        registry.push_image("a", tag, b"layer");
    }
    let tag = || taken.recv().unwrap()["target"]["tag"].clone();
    assert_eq!((tag(), tag()), ("v2".into(), "v3".into()), "the first was given up, and their order stays");
    let metrics = String::from_utf8(registry.get("/metrics").body).unwrap();
    assert!(metrics.contains("hako_registry_lost_total{queue=\"webhook\"} 1\n"), "{metrics}");
}

/// Who, what, with which answer.
type Deed = (Option<String>, String, u64);

#[test]
fn who_did_what_is_told_to_the_log_and_what_succeeded_to_webhooks() {
    let (url, taken) = receiver(|_, _| Some("200 OK"));
    let dir = tempfile::tempdir().unwrap();
    let (path, htpasswd) = (dir.path().join("audit.log"), crate::auth::users(dir.path()));
    let registry = Fixture::start_in(dir, |config| {
        config.auth = AuthConfig::Basic { htpasswd, realm: "test".into() };
        config.rules = crate::auth::rules();
        config.audit = Some(path.clone());
        config.webhooks = vec![webhook(url, &["push", "pull", "delete"])];
    });
    let send = |user: &str, method: &str, path: &str, body: &str| {
        let authorization = crate::auth::credentials(user);
        let headers = [("authorization", authorization.as_str()), ("content-type", OCI_INDEX)];
        registry.send(method, path, &headers, body).status
    };
    let (index, tag) = (r#"{"schemaVersion":2,"manifests":[]}"#, "/v2/team/app/manifests/v1");
    let deeds = [
        ("bob", "PUT", "push", 403),
        ("nobody", "PUT", "push", 401),
        ("alice", "PUT", "push", 201),
        ("bob", "GET", "pull", 200),
        ("bob", "HEAD", "pull", 200),
        ("alice", "DELETE", "delete", 403),
        ("admin", "DELETE", "delete", 202),
        ("bob", "GET", "pull", 404),
    ];
    for (user, method, _, status) in deeds {
        assert_eq!(send(user, method, tag, index), status, "{user} {method}");
    }
    let lines = || -> Vec<Deed> {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let deed = |line: serde_json::Value| {
            assert!(line["address"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{line}");
            assert_eq!(
                (line["repository"].as_str(), line["reference"].as_str()),
                (Some("team/app"), Some("v1"))
            );
            let text = |field: &str| line[field].as_str().map(str::to_owned);
            let who = text("user").or_else(|| text("tried").map(|name| format!("tried {name}")));
            (who, text("action").unwrap(), line["status"].as_u64().unwrap())
        };
        lines.map(deed).collect()
    };
    registry.until(|| lines().len() == deeds.len());
    // A name that was not proved is nobody's.
    let told = |user: &str| Some(if user == "nobody" { "tried nobody" } else { user }.to_owned());
    let expected = deeds.map(|(user, _, action, status)| (told(user), action.to_owned(), u64::from(status)));
    assert_eq!(lines(), expected);

    for (user, action) in [("alice", "push"), ("bob", "pull"), ("admin", "delete")] {
        let event = taken.recv().unwrap();
        let told = (event["actor"]["name"].as_str(), event["action"].as_str());
        assert_eq!(told, (Some(user), Some(action)), "refusals and HEAD are no events");
    }
    assert!(!std::fs::read_to_string(&path).unwrap().contains("password"));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(registry.get(path).status, 200, "who watches over it proves no name");
    }
}

#[test]
fn the_log_says_which_name_a_token_was_refused_to() {
    let dir = tempfile::tempdir().unwrap();
    let (path, htpasswd) = (dir.path().join("audit.log"), crate::auth::users(dir.path()));
    let registry = Fixture::start_in(dir, |config| {
        config.auth = AuthConfig::Token {
            htpasswd,
            service: "registry.test".into(),
            issuer: "hako".into(),
            realm: None,
            lifetime: Duration::from_secs(60),
        };
        config.audit = Some(path.clone());
    });
    let long = "x".repeat(1000);
    for (name, password, status) in
        [("bob", "wrong", 401), ("bob", "bob-password", 200), (&long, "wrong", 401)]
    {
        let form = format!("grant_type=password&username={name}&password={password}&service=registry.test");
        assert_eq!(registry.send("POST", "/token", &[], form).status, status, "{name}");
    }
    let basic = crate::auth::credentials("stranger");
    assert_eq!(registry.send("GET", "/token", &[("authorization", &basic)], "").status, 401);
    let lines = || -> Vec<(Option<String>, Option<String>)> {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |line: &serde_json::Value, field: &str| line[field].as_str().map(str::to_owned);
        lines.map(|line| (text(&line, "user"), text(&line, "tried"))).collect()
    };
    registry.until(|| std::fs::read_to_string(&path).unwrap().matches('\n').count() == 4);
    let tried = |name: &str| (None, Some(name.to_owned()));
    assert_eq!(lines(), [tried("bob"), (Some("bob".into()), None), tried(&long[..256]), tried("stranger")]);
    assert!(!std::fs::read_to_string(&path).unwrap().contains("wrong"));
}

#[test]
fn the_audit_log_says_who_did_what_and_metrics_count_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let registry = Fixture::start_in(dir, |config| config.audit = Some(path.clone()));
    registry.push_image("a", "v1", b"layer");
    registry.send("GET", "/v2/a/manifests/v1", &[("authorization", "Bearer very-secret")], "");
    registry.get("/v2/a/manifests/v2");
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    registry.until(|| lines().len() == 5);
    assert!(!std::fs::read_to_string(&path).unwrap().contains("very-secret"));
    let lines = lines();
    let (push, pull, missing) = (&lines[2], &lines[3], &lines[4]);
    assert_eq!((push["action"].as_str(), push["status"].as_u64()), (Some("push"), Some(201)));
    assert_eq!((pull["action"].as_str(), pull["repository"].as_str()), (Some("pull"), Some("a")));
    assert_eq!(pull["digest"], push["digest"]);
    assert_eq!(missing["status"], 404);

    let metrics = registry.get("/metrics");
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(
        text.contains(r#"hako_registry_requests_total{kind="manifest",method="PUT",code="201"} 1"#),
        "{text}"
    );
    assert!(text.contains(r#"hako_registry_request_seconds_count{kind="manifest"} 3"#), "{text}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(registry.get(path).status, 200);
    }
}

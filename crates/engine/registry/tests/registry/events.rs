use crate::support::Fixture;
use hako_registry::config::WebhookConfig;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

/// A server that refuses the first event and takes the next ones; what it took comes out of the channel.
fn receiver() -> (String, mpsc::Receiver<serde_json::Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, taken) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, mut text) = (stream.unwrap(), Vec::new());
            let mut piece = [0; 4096];
            let body = loop {
                let read = stream.read(&mut piece).unwrap();
                text.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&text).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str::<serde_json::Value>(body)
                {
                    assert!(head.to_lowercase().contains("x-secret: s3cret"), "{head}");
                    break body;
                }
            };
            let status = if number == 0 { "500 No" } else { "200 OK" };
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
            if number > 0 && sender.send(body).is_err() {
                return;
            }
        }
    });
    (url, taken)
}

#[test]
fn webhooks_get_each_event_again_until_they_take_it() {
    let (url, taken) = receiver();
    let registry = Fixture::start_with(|config| {
        config.webhooks = vec![WebhookConfig {
            url,
            headers: vec!["X-Secret: s3cret".into()],
            actions: vec!["push".into(), "delete".into()],
            retries: 3,
            timeout: Duration::from_secs(10),
        }];
    });
    let digest = registry.push_image("team/app", "v1", b"layer");
    let there = registry.get("/v2/team/app/manifests/v1");
    assert_eq!(there.status, 200);
    let size = there.body.len() as u64;
    assert_eq!(registry.send("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], "").status, 202);
    let first = taken.recv().unwrap();
    let event = &first["events"][0];
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
    assert_eq!(taken.recv().unwrap()["events"][0]["action"], "delete", "a pull was not asked for");
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

//! The audit log: what is recorded of requests, by the policy.

use std::path::PathBuf;
use std::sync::Arc;

use hako_api::{Audit, AuditOptions};
use hako_client::{ListParams, Patch, ResourceType, WriteOptions};
use serde_json::{Value, json};

use crate::raw::{DEADLINE, Raw};
use crate::support::World;

/// A server that records, and where.
async fn world(policy: Option<&str>) -> (World, PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let policy = policy.map(|rules| {
        let path = dir.path().join("policy.yaml");
        std::fs::write(&path, format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")).unwrap();
        path
    });
    let audit =
        Audit::open(&AuditOptions { policy, log: Some(log.clone()), ..AuditOptions::default() }).unwrap();
    (World::start_as(|config| config.audit = audit).await, log, dir)
}

/// The events that `is_wanted` chooses, once there are so many.
async fn events(log: &PathBuf, count: usize, is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    let all = async {
        while found.len() < count {
            let text = std::fs::read_to_string(log).unwrap();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            found =
                whole.lines().map(|line| serde_json::from_str(line).unwrap()).filter(&is_wanted).collect();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("the events come");
    found
}

fn of(event: &Value, user: &str, verb: &str, resource: &str) -> bool {
    event["user"]["username"] == user
        && event["verb"] == verb
        && event["objectRef"]["resource"] == resource
        && event["objectRef"]["namespace"] == "default"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_it_is_recorded_who_asked_for_what_and_no_body() {
    let (world, log, _dir) = world(None).await;
    let secrets = world.outside().dynamic(&ResourceType::new("", "v1", "secrets"), Some("default"));
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}});
    secrets.create(&secret, &WriteOptions::default()).await.unwrap();
    secrets.get("s").await.unwrap();
    let found = events(&log, 1, |event| of(event, "hako-admin", "get", "secrets")).await;
    let event = &found[0];
    assert_eq!((&event["kind"], &event["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
    assert_eq!((&event["level"], &event["stage"]), (&json!("Metadata"), &json!("ResponseComplete")));
    assert_eq!(event["requestURI"], "/api/v1/namespaces/default/secrets/s");
    assert_eq!(
        event["objectRef"],
        json!({"resource": "secrets", "namespace": "default", "name": "s", "apiVersion": "v1"})
    );
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 200}));
    assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]));
    assert!(event["user"]["groups"].as_array().unwrap().contains(&json!("system:masters")));
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    for name in ["requestReceivedTimestamp", "stageTimestamp"] {
        let time = event[name].as_str().unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000000Z".len() && time.ends_with('Z'), "{time}");
    }
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "nothing of a secret is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_says_how_much_is_recorded_and_when() {
    let rules = "omitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n\
                 - {level: None, users: ['system:kube-controller-manager']}\n\
                 - {level: RequestResponse, verbs: [create, patch], resources: [{group: '', resources: [configmaps]}]}\n\
                 - {level: Request, verbs: [list], resources: [{group: '', resources: [configmaps]}], omitStages: []}\n\
                 - {level: RequestResponse, resources: [{group: '', resources: ['*']}]}\n";
    let (world, log, _dir) = world(Some(rules)).await;
    let maps = world.outside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    maps.create(&map, &WriteOptions::default()).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"a": "c"}}));
    maps.patch("m", None, &patch, &WriteOptions::default()).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    // The server makes some of its own.
    let is_ours = |event: &Value| event["objectRef"]["namespace"] == "default";
    let made =
        &events(&log, 1, |event| of(event, "hako-admin", "create", "configmaps") && is_ours(event)).await[0];
    assert_eq!(made["level"], "RequestResponse");
    assert_eq!(made["requestObject"]["data"], json!({"a": "b"}));
    assert_eq!(made["responseObject"]["metadata"]["name"], "m");
    assert!(made["responseObject"]["metadata"]["uid"].is_string());
    assert!(made["responseObject"]["metadata"].get("managedFields").is_none());
    let patched = &events(&log, 1, |event| of(event, "hako-admin", "patch", "configmaps")).await[0];
    assert_eq!(patched["requestObject"], json!({"data": {"a": "c"}}));
    let listed = events(&log, 1, |event| of(event, "hako-admin", "list", "configmaps")).await;
    assert!(listed.iter().all(|event| event["level"] == "Request" && event.get("responseObject").is_none()));
    assert!(listed.iter().all(|event| event["stage"] == "ResponseComplete"));
    let secrets = world.outside().dynamic(&ResourceType::new("", "v1", "secrets"), Some("default"));
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}});
    secrets.create(&secret, &WriteOptions::default()).await.unwrap();
    let made = &events(&log, 1, |event| of(event, "hako-admin", "create", "secrets")).await[0];
    assert_eq!(made["level"], "Metadata", "a star does not mean secrets");
    assert!(!std::fs::read_to_string(&log).unwrap().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_watches_and_requests_for_others_are_recorded() {
    let (world, log, _dir) = world(None).await;
    let jane = world.pki.client("jane", &[]).unwrap();
    let mut raw = Raw::open_as(&world, Some(&jane), "http/1.1").await;
    raw.request("GET /api/v1/namespaces/default/secrets/s", "Audit-ID: mine\r\n").await;
    let head = raw.head().await;
    assert!(head.starts_with("http/1.1 403 ") && head.contains("\r\naudit-id: mine\r\n"), "{head}");
    let refused = &events(&log, 1, |event| event["auditID"] == "mine").await[0];
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(refused["responseStatus"]["code"], 403);
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert!(
        refused["responseStatus"]["message"].as_str().unwrap().contains("cannot get resource \"secrets\"")
    );

    let mut bad = Raw::open(&world, false, "http/1.1").await;
    let token = "Audit-ID: bad\r\nAuthorization: Bearer nonsense.and.more\r\n";
    assert_eq!(bad.request("GET /api/v1/pods", token).await.status().await, 401);
    let refused = &events(&log, 1, |event| event["auditID"] == "bad").await[0];
    assert_eq!(refused["responseStatus"]["code"], 401);
    assert!(!std::fs::read_to_string(&log).unwrap().contains("nonsense"), "no token is told");

    let mut watch = Raw::admin(&world).await;
    let path = "GET /api/v1/namespaces/default/configmaps?watch=1";
    assert_eq!(watch.request(path, "Audit-ID: watch\r\n").await.status().await, 200);
    let stage = async |count| -> Vec<Value> {
        let all = events(&log, count, |event| event["auditID"] == "watch").await;
        all.iter().map(|event| event["stage"].clone()).collect()
    };
    assert_eq!(stage(1).await, ["ResponseStarted"]);
    drop(watch);
    assert_eq!(stage(2).await, ["ResponseStarted", "ResponseComplete"]);

    let mut other = Raw::admin(&world).await;
    let headers = "Audit-ID: other\r\nImpersonate-User: joe\r\nImpersonate-Group: ops\r\n";
    other.request("GET /api/v1/pods", headers).await.status().await;
    let acted = &events(&log, 1, |event| event["auditID"] == "other").await[0];
    assert_eq!(acted["user"]["username"], "hako-admin");
    assert_eq!(acted["impersonatedUser"]["username"], "joe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_something_may_be_done_and_what_admission_says_is_recorded() {
    let (world, log, _dir) = world(None).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "metadata": {"name": "may"}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
    });
    let bindings = world.inside().dynamic(&ResourceType::new(group, "v1", "clusterrolebindings"), None);
    bindings.create(&binding, &WriteOptions::default()).await.unwrap();
    let jane = world.pki.client("jane", &[]).unwrap();
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/audit": "restricted"}}});
    let namespaces = world.inside().dynamic(&ResourceType::new("", "v1", "namespaces"), None);
    namespaces.patch("default", None, &Patch::Merge(label), &WriteOptions::default()).await.unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
    .to_string();
    let code = async {
        loop {
            let mut raw = Raw::open_as(&world, Some(&jane), "http/1.1").await;
            let head =
                format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{pod}", pod.len());
            raw.send(&format!("POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: api\r\n{head}")).await;
            if raw.status().await == 201 {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, code).await.unwrap();
    let is_made =
        |event: &Value| of(event, "jane", "create", "pods") && event["responseStatus"]["code"] == 201;
    let annotations = events(&log, 1, is_made).await[0]["annotations"].clone();
    assert_eq!(
        annotations["authorization.k8s.io/reason"],
        "RBAC: allowed by ClusterRoleBinding \"may\" of ClusterRole \"cluster-admin\" to User \"jane\""
    );
    let violations = annotations["pod-security.kubernetes.io/audit-violations"].as_str().unwrap();
    assert!(violations.contains("would violate PodSecurity \"restricted:latest\""), "{violations}");
}

#[test]
fn a_policy_that_is_none_is_told_with_all_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.yaml");
    let open = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let log = Some(dir.path().join("log"));
        Audit::open(&AuditOptions { policy: Some(path.clone()), log, ..AuditOptions::default() })
            .map(|_: Option<Arc<Audit>>| ())
    };
    let said = |text: &str| open(text).unwrap_err().to_string();
    let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
    open(&format!("{head}rules: [{{level: Metadata}}]\n")).unwrap();
    assert!(
        said("apiVersion: v1\nkind: Policy\nrules: [{level: None}]\n").contains("no audit.k8s.io/v1 Policy")
    );
    assert!(said(head).contains("rules"));
    assert!(said(&format!("{head}rules: [{{level: Everything}}]\n")).contains("Everything"));
    assert!(said(&format!("{head}rules: [{{level: None, reources: []}}]\n")).contains("reources"));
    let no_log =
        Audit::open(&AuditOptions { policy: Some(path.clone()), ..AuditOptions::default() }).unwrap_err();
    assert!(no_log.to_string().contains("--audit-log-path"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_events_many_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/audit?key=1", listener.local_addr().unwrap());
    let (told, mut lists) = tokio::sync::mpsc::unbounded_channel();
    let answer: crate::identities::elsewhere::Answer = Arc::new(move |path, list| {
        assert_eq!(path, "/audit?key=1");
        told.send(list).unwrap();
        (200, json!({}))
    });
    crate::identities::elsewhere::serve(listener, None, answer);
    let options = AuditOptions {
        webhook: Some(crate::identities::webhook_config(&dir, &url)),
        webhook_wait: Some(std::time::Duration::from_millis(200)),
        ..AuditOptions::default()
    };
    let audit = Audit::open(&options).unwrap();
    let world = World::start_as(|config| config.audit = audit).await;
    let maps = world.outside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    for name in ["a", "b", "c"] {
        let map = json!({"metadata": {"name": name}});
        maps.create(&map, &WriteOptions::default()).await.unwrap();
    }
    let (mut ours, mut most) = (Vec::new(), 0);
    let all = async {
        while ours.len() < 3 {
            let list: Value = lists.recv().await.unwrap();
            assert_eq!(
                (&list["kind"], &list["apiVersion"]),
                (&json!("EventList"), &json!("audit.k8s.io/v1"))
            );
            let items = list["items"].as_array().unwrap();
            most = most.max(items.len());
            let is_ours = |event: &&Value| {
                of(event, "hako-admin", "create", "configmaps") && event["stage"] == "ResponseComplete"
            };
            ours.extend(items.iter().filter(is_ours).cloned());
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("the events come");
    assert!(ours.iter().all(|event| event["responseStatus"]["code"] == 201), "{ours:?}");
    assert!(most > 1, "events are sent together");
}

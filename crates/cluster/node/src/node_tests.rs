use super::*;
use crate::fakes::{Diary, FakeApi, FakeDrain, FakeEngine, FakeImages};
use crate::{ClusterDns, NodeServer};
use hako_client::{Client, Informers};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use tokio::time::Instant;

/// A node on fakes, whose agent can be killed and started again.
struct Fixture {
    dir: tempfile::TempDir,
    diary: Diary,
    api: FakeApi,
    engine: Arc<FakeEngine>,
    lasts: Duration,
    node: Option<Inner>,
    started: Instant,
}

impl Fixture {
    fn new(lasts: Duration, is_stubborn: bool) -> Self {
        let diary = Diary::default();
        let mut fixture = Self {
            dir: tempfile::tempdir().unwrap(),
            api: FakeApi::new(diary.clone()),
            engine: Arc::new(FakeEngine::new(diary.clone(), is_stubborn)),
            diary,
            lasts,
            node: None,
            started: Instant::now(),
        };
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        let client = Client::new(Arc::new(self.api.clone()));
        let config = NodeConfig {
            informers: Informers::new(client.clone()),
            client,
            engine: Arc::<FakeEngine>::clone(&self.engine),
            images: Arc::new(FakeImages),
            drain: Arc::new(FakeDrain { diary: self.diary.clone(), lasts: self.lasts }),
            node_name: "n1".into(),
            node_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
            data_dir: self.dir.path().join("data"),
            run_dir: self.dir.path().join("run"),
            pod_cidr: "10.244.0.0/24".into(),
            dns: ClusterDns {
                servers: Vec::new(),
                domain: "cluster.local".into(),
                host_resolv_conf: "/nonexistent".into(),
            },
            api_server: None,
            server: NodeServer {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                certificate_pem: String::new(),
                key_pem: String::new(),
                renewed: None,
                client_ca_pem: String::new(),
            },
            labels: std::collections::BTreeMap::new(),
            capacity: std::collections::BTreeMap::new(),
            version: "v1".into(),
        };
        let clock = Clock::Anchored { base: jiff::Timestamp::now(), instant: Instant::now() };
        let context = Arc::new(Context::new(config, clock, std::collections::BTreeMap::new()));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        self.node = Some(Inner::keep(
            context,
            Arc::default(),
            address,
            watch::channel(true).1,
            CancellationToken::new(),
        ));
    }

    /// The agent is gone between two steps; the engine goes on.
    fn kill_agent(&mut self) {
        self.node.take().unwrap().stop();
    }

    fn create(&self, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = "n1".into();
        self.api.put(
            "pods",
            json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec, "status": {"phase": "Pending"}}),
        );
    }

    fn delete(&self, grace: i64) {
        let mut pod = self.api.get("pods", "shop", "web").unwrap();
        pod["metadata"]["deletionTimestamp"] = "2026-11-20T20:00:00Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.api.put("pods", pod);
    }

    async fn until(&self, is_right: impl Fn(&Value) -> bool) -> Value {
        self.api.until(["pods", "shop", "web"], is_right).await
    }

    async fn until_ready(&self) -> Value {
        self.until(|pod| condition(pod, "Ready") == "True").await
    }

    async fn until_gone(&self) {
        self.until(Value::is_null).await;
    }

    /// What happened besides writes of the status.
    fn happened(&self) -> Vec<String> {
        let diary = self.diary.take();
        diary.into_iter().filter(|line| line != "status").collect()
    }
}

fn condition<'v>(pod: &'v Value, kind: &str) -> &'v str {
    let conditions = pod["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.map_or("", |condition| condition["status"].as_str().unwrap_or(""))
}

fn state(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]
}

fn one() -> Value {
    json!({"containers": [{"name": "main", "image": "app"}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_becomes_ready_with_a_single_write_of_its_status() {
    let fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(one());
    let pod = fixture.until_ready().await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["podIP"], "10.244.0.1");
    assert_eq!(fixture.diary.take(), ["create sandbox", "start main", "status"]);
    assert!(fixture.started.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_written_anew_when_most_of_its_life_is_over() {
    let fixture = Fixture::new(Duration::ZERO, false);
    let mut spec = one();
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 1000}});
    spec["volumes"] = json!([{"name": "api", "projected": {"sources": [source]}}]);
    fixture.create(spec);
    fixture.until_ready().await;
    let token = || std::fs::read_to_string(fixture.dir.path().join("run/pods/u1/volumes/api/token")).unwrap();
    assert_eq!(token(), "token-1");
    let shown = Instant::now();
    while token() == "token-1" {
        assert!(shown.elapsed() < Duration::from_secs(1000), "it is not renewed before its end");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(token(), "token-2");
    assert!(shown.elapsed() >= Duration::from_secs(799), "renewed after {:?}", shown.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_killed_container_runs_again_at_once_and_a_crashing_one_after_its_back_off() {
    let fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.engine.exit("main", 137);
    fixture.until(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    let crashed = Instant::now();
    fixture.engine.exit("main", 1);
    let pod = fixture.until(|pod| state(pod)["waiting"]["reason"] == "CrashLoopBackOff").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(condition(&pod, "Ready"), "False");
    fixture.until(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 2).await;
    let waited = crashed.elapsed().as_secs();
    assert!((9..=11).contains(&waited), "{waited}");
    assert_eq!(
        fixture.engine.specs().len(),
        2,
        "the run before the last one is removed, the last one is kept"
    );
    let events = fixture.api.events();
    assert!(events.iter().any(|event| event.starts_with("BackOff ")), "{events:?}");
    assert!(
        events.contains(&"Pulled Container image \"app\" already present on machine".to_owned()),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn deletion_withdraws_the_address_before_hook_and_signal_and_deletes_the_object_last() {
    let fixture = Fixture::new(Duration::from_secs(3), false);
    let hook = json!({"preStop": {"exec": {"command": ["sleep", "4"]}}});
    fixture.create(json!({"containers": [{"name": "main", "image": "app", "lifecycle": hook}]}));
    fixture.until_ready().await;
    fixture.happened();
    fixture.delete(30);
    fixture.until_gone().await;
    assert_eq!(
        fixture.happened(),
        [
            "withdraw",
            "withdrawn",
            "exec main sleep 4",
            "stop main signal None grace 23s",
            "remove sandbox",
            "delete pods/shop/web"
        ]
    );
    assert!(!fixture.dir.path().join("data/pods/u1").exists());
}

#[tokio::test(start_paused = true)]
async fn connections_that_stay_open_cost_half_of_the_grace_period_at_most() {
    let fixture = Fixture::new(Duration::from_secs(3600), true);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.happened();
    let begin = Instant::now();
    fixture.delete(20);
    fixture.until_gone().await;
    assert_eq!(begin.elapsed().as_secs(), 20);
    let want = [
        "withdraw",
        "withdrawn",
        "stop main signal None grace 9s",
        "kill main",
        "remove sandbox",
        "delete pods/shop/web",
    ];
    let happened: Vec<String> =
        fixture.happened().into_iter().map(|line| line.replace("10s", "9s")).collect();
    assert_eq!(happened, want);
}

#[tokio::test(start_paused = true)]
async fn a_shorter_grace_period_cuts_a_stop_short_and_a_force_delete_ends_it() {
    let fixture = Fixture::new(Duration::ZERO, true);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.delete(300);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let begin = Instant::now();
    fixture.delete(5);
    fixture.until_gone().await;
    assert!((4..=6).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());

    fixture.create(one());
    fixture.until_ready().await;
    let begin = Instant::now();
    fixture.api.delete("pods", "shop", "web");
    while fixture.engine.sandbox_count() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_killed_agent_adopts_what_runs_and_requests_never_lose_the_pod() {
    let mut fixture = Fixture::new(Duration::ZERO, false);
    let probe = json!({"exec": {"command": ["true"]}});
    fixture.create(json!({"containers": [{"name": "main", "image": "app", "readinessProbe": probe}]}));
    fixture.until_ready().await;
    fixture.engine.exit("main", 1);
    fixture
        .until(|pod| {
            pod["status"]["containerStatuses"][0]["restartCount"] == 1 && condition(pod, "Ready") == "True"
        })
        .await;
    let running = fixture.engine.running();
    fixture.kill_agent();
    fixture.happened();
    fixture.start();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(condition(&fixture.api.get("pods", "shop", "web").unwrap(), "Ready"), "True");
    }
    let happened = fixture.happened();
    assert!(happened.iter().all(|line| line.starts_with("exec main")), "nothing was made anew: {happened:?}");
    assert_eq!(fixture.engine.running(), running);
    fixture.engine.exit("main", 1);
    let pod = fixture.until(|pod| !state(pod)["waiting"].is_null()).await;
    assert_eq!(state(&pod)["waiting"]["reason"], "CrashLoopBackOff", "the back-off goes on where it was");
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_nobody_saw_is_acted_upon_by_the_next_start() {
    let mut fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.kill_agent();
    fixture.engine.exit("main", 3);
    fixture.start();
    let pod = fixture.until(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_no_pod_is_removed_after_the_first_list() {
    let mut fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.kill_agent();
    fixture.api.delete("pods", "shop", "web");
    fixture.start();
    while fixture.engine.sandbox_count() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while fixture.dir.path().join("data/pods/u1").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_under_way_is_finished_by_the_next_start() {
    let mut fixture = Fixture::new(Duration::ZERO, true);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.delete(30);
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.kill_agent();
    fixture.start();
    fixture.until_gone().await;
    assert_eq!(fixture.engine.sandbox_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_holds_the_container_back_until_it_appears() {
    let fixture = Fixture::new(Duration::ZERO, false);
    let env = json!([{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "color"}}}]);
    fixture.create(json!({"containers": [{"name": "main", "image": "app", "env": env}]}));
    let pod = fixture.until(|pod| state(pod)["waiting"]["reason"] == "CreateContainerConfigError").await;
    assert_eq!(state(&pod)["waiting"]["message"], "configmap \"conf\" not found");
    fixture.api.put(
        "configmaps",
        json!({"metadata": {"name": "conf", "namespace": "shop"}, "data": {"color": "blue"}}),
    );
    fixture.until_ready().await;
    let env = &fixture.engine.specs()[0].env;
    assert!(env.contains(&"COLOR=blue".to_owned()), "{env:?}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_config_map_reaches_the_mounted_file() {
    let fixture = Fixture::new(Duration::ZERO, false);
    let conf = |text: &str| json!({"metadata": {"name": "conf", "namespace": "shop"}, "data": {"a": text}});
    fixture.api.put("configmaps", conf("1"));
    fixture.create(json!({
        "volumes": [{"name": "v", "configMap": {"name": "conf"}}],
        "containers": [{"name": "main", "image": "app", "volumeMounts": [{"name": "v", "mountPath": "/etc/v"}]}]
    }));
    fixture.until_ready().await;
    let file = fixture.dir.path().join("run/pods/u1/volumes/v/a");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    fixture.api.put("configmaps", conf("2"));
    while std::fs::read_to_string(&file).unwrap() != "2" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_annotation_reaches_the_mounted_file() {
    let fixture = Fixture::new(Duration::ZERO, false);
    let items = json!([{"path": "all", "fieldRef": {"fieldPath": "metadata.annotations"}}]);
    let mut spec = one();
    spec["volumes"] = json!([{"name": "v", "downwardAPI": {"items": items}}]);
    fixture.create(spec);
    fixture.until_ready().await;
    let file = fixture.dir.path().join("run/pods/u1/volumes/v/all");
    for text in ["one", "two"] {
        let mut pod = fixture.api.get("pods", "shop", "web").unwrap();
        pod["metadata"]["annotations"] = json!({"of": text});
        fixture.api.put("pods", pod);
        let (changed, wanted) = (Instant::now(), format!("of=\"{text}\""));
        while std::fs::read_to_string(&file).unwrap() != wanted {
            assert!(changed.elapsed() < Duration::from_secs(60), "still as it was before {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_said_in_status_and_events() {
    for (spec, reason, message) in [
        (
            json!({"containers": [{"name": "main", "image": "absent"}]}),
            "ErrImagePull",
            "pulling is not built yet",
        ),
        (
            json!({"containers": [{"name": "main", "image": "absent", "imagePullPolicy": "Never"}]}),
            "ErrImageNeverPull",
            "not present with pull policy of Never",
        ),
        (json!({"containers": [{"name": "main", "image": "UPPER/x:!"}]}), "InvalidImageName", "is not valid"),
        (
            json!({"containers": [{"name": "main", "image": "app"}], "volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}),
            "ContainerCreating",
            "nfs is not supported by this node",
        ),
        (
            json!({"containers": [{"name": "main", "image": "app"}], "volumes": [
                {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "t", "name": "b"}}]}}]}),
            "ContainerCreating",
            "volume \"v\": clusterTrustBundle is not supported by this node",
        ),
        (
            json!({"containers": [{"name": "main", "image": "app"}], "hostUsers": false}),
            "ContainerCreating",
            "hostUsers: false",
        ),
    ] {
        let fixture = Fixture::new(Duration::ZERO, false);
        fixture.create(spec);
        let pod = fixture.until(|pod| !state(pod)["waiting"]["message"].is_null()).await;
        let waiting = &state(&pod)["waiting"];
        assert_eq!(waiting["reason"], reason);
        assert!(waiting["message"].as_str().unwrap().contains(message), "{waiting}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let events = fixture.api.events();
        assert!(events.iter().any(|event| event.contains(message)), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_sandbox_is_replaced() {
    let fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.happened();
    fixture.engine.lose_sandboxes();
    let pod = fixture.until(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    assert_ne!(pod["status"]["podIP"], "10.244.0.1");
    assert_eq!(fixture.happened(), ["remove sandbox", "create sandbox", "start main"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_done_gives_its_sandbox_back_and_keeps_its_container() {
    let fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "app"}]}));
    fixture.until_ready().await;
    fixture.engine.exit("main", 0);
    let pod = fixture.until(|pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(state(&pod)["terminated"]["reason"], "Completed");
    assert_eq!(fixture.engine.specs().len(), 1);
    fixture.delete(30);
    fixture.until_gone().await;
    assert_eq!(fixture.engine.sandbox_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn taking_the_node_down_ends_every_pod_and_keeps_the_objects() {
    let fixture = Fixture::new(Duration::ZERO, true);
    fixture.create(one());
    fixture.until_ready().await;
    fixture.node.as_ref().unwrap().teardown(Duration::from_secs(2)).await.unwrap();
    assert_eq!(fixture.engine.sandbox_count(), 0);
    assert!(fixture.api.get("pods", "shop", "web").is_some());
}

#[tokio::test(start_paused = true)]
async fn after_the_node_was_taken_down_its_pods_run_again_from_their_init_containers() {
    let mut fixture = Fixture::new(Duration::ZERO, false);
    fixture.create(json!({
        "restartPolicy": "OnFailure",
        "initContainers": [{"name": "init", "image": "app"}],
        "containers": [{"name": "main", "image": "app"}, {"name": "done", "image": "app"}]
    }));
    fixture.until(|pod| !pod["status"]["initContainerStatuses"][0]["state"]["running"].is_null()).await;
    fixture.engine.exit("init", 0);
    fixture.until_ready().await;
    fixture.engine.exit("done", 0);
    fixture.until(|pod| !pod["status"]["containerStatuses"][1]["state"]["terminated"].is_null()).await;
    fixture.node.take().unwrap().teardown(Duration::from_secs(2)).await.unwrap();
    fixture.happened();
    fixture.start();
    fixture.until(|pod| !pod["status"]["initContainerStatuses"][0]["state"]["running"].is_null()).await;
    fixture.engine.exit("init", 0);
    let pod = fixture.until(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(
        fixture.happened(),
        ["create sandbox", "start init", "start main"],
        "what was done stays done"
    );
    assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 1);
}

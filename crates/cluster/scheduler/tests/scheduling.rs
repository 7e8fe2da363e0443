//! The scheduler against a small fake of the API: lists, watches, binding and status.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use hako_client::{Body, Client, Informers, Transport, body_from};
use hako_error::Result;
use hako_scheduler::{Handle, SchedulerConfig, start};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

#[derive(Default)]
struct State {
    version: u64,
    pods: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
    namespaces: BTreeMap<String, Value>,
    watchers: HashMap<&'static str, Vec<mpsc::UnboundedSender<Bytes>>>,
    events: Vec<Value>,
    refuse_binds: usize,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl State {
    fn put(&mut self, plural: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let old = self.objects(plural).insert(name, object.clone());
        self.tell(plural, if old.is_some() { "MODIFIED" } else { "ADDED" }, &object);
    }

    fn delete(&mut self, plural: &'static str, name: &str) {
        self.version += 1;
        let object = self.objects(plural).remove(name).unwrap();
        self.tell(plural, "DELETED", &object);
    }

    fn objects(&mut self, plural: &str) -> &mut BTreeMap<String, Value> {
        match plural {
            "pods" => &mut self.pods,
            "nodes" => &mut self.nodes,
            "namespaces" => &mut self.namespaces,
            other => panic!("nobody asks for {other}"),
        }
    }

    fn tell(&mut self, plural: &'static str, kind: &str, object: &Value) {
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        let watchers = self.watchers.entry(plural).or_default();
        watchers.retain(|watcher| watcher.send(line.clone()).is_ok());
    }

    fn answer(&mut self, request: &Request<Bytes>) -> Response<Body> {
        let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        let query = request.uri().query().unwrap_or_default();
        let body = || serde_json::from_slice::<Value>(request.body()).unwrap();
        match (request.method(), &path[..]) {
            (&Method::GET, ["api", "v1", plural]) if query.contains("watch=") => self.watch(plural),
            (&Method::GET, ["api", "v1", plural]) => self.list(plural),
            (&Method::POST, ["api", "v1", "namespaces", _, "pods", name, "binding"]) => {
                self.bind(name, &body())
            }
            (&Method::PATCH, ["api", "v1", "namespaces", _, "pods", name, "status"]) => {
                let mut pod = self.pods[*name].clone();
                let wanted = &body()["metadata"]["resourceVersion"];
                if !wanted.is_null() && *wanted != pod["metadata"]["resourceVersion"] {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "message": "changed", "code": 409});
                    return respond(409, &status);
                }
                for (field, value) in body()["status"].as_object().unwrap() {
                    pod["status"][field] = value.clone();
                }
                self.put("pods", pod.clone());
                respond(200, &pod)
            }
            (&Method::DELETE, ["api", "v1", "namespaces", _, "pods", name]) => {
                assert_eq!(body()["preconditions"]["uid"], self.pods[*name]["metadata"]["uid"]);
                let mut pod = self.pods[*name].clone();
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                self.put("pods", pod.clone());
                respond(200, &pod)
            }
            (&Method::POST, ["api", "v1", "namespaces", _, "events"]) => {
                self.events.push(body());
                respond(201, &body())
            }
            _ => respond(200, &body()),
        }
    }

    fn list(&mut self, plural: &str) -> Response<Body> {
        let kind = match plural {
            "pods" => "PodList",
            "nodes" => "NodeList",
            _ => "NamespaceList",
        };
        let version = self.version.to_string();
        let items: Vec<Value> = self.objects(plural).values().cloned().collect();
        let list = json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items});
        respond(200, &list)
    }

    fn watch(&mut self, plural: &str) -> Response<Body> {
        let plural = match plural {
            "pods" => "pods",
            "nodes" => "nodes",
            _ => "namespaces",
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.entry(plural).or_default().push(sender);
        let frames = stream::unfold(receiver, |mut receiver| async {
            let line = receiver.recv().await?;
            Some((Ok(Frame::data(line)), receiver))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn bind(&mut self, name: &str, binding: &Value) -> Response<Body> {
        if self.refuse_binds > 0 {
            self.refuse_binds -= 1;
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "ServiceUnavailable", "message": "not now", "code": 503});
            return respond(503, &status);
        }
        let mut pod = self.pods[name].clone();
        assert!(pod["spec"]["nodeName"].is_null(), "{name} is bound once");
        assert_eq!(binding["metadata"]["uid"], pod["metadata"]["uid"]);
        pod["spec"]["nodeName"] = binding["target"]["name"].clone();
        self.put("pods", pod);
        respond(201, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }
}

fn respond(code: u16, body: &Value) -> Response<Body> {
    let body = body_from(Bytes::from(body.to_string()));
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

impl Transport for Fake {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>>> {
        let response = self.0.lock().answer(&request);
        Box::pin(async move { Ok(response) })
    }
}

impl Fake {
    fn node(&self, name: &str, cpu: &str) {
        let status = json!({"allocatable": {"cpu": cpu, "memory": "64Gi", "pods": "1000"}});
        let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}, "status": status});
        self.0.lock().put("nodes", node);
    }

    fn pod(&self, name: &str, cpu: &str) {
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
        let meta = json!({"name": name, "namespace": "default", "uid": format!("uid-{name}")});
        let pod =
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"containers": containers}});
        self.0.lock().put("pods", pod);
    }

    /// A pod of labels with a spec on top.
    fn pod_like(&self, name: &str, labels: &Value, spec: &Value) {
        let meta =
            json!({"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": labels});
        let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"containers": [{"name": "c"}]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        self.0.lock().put("pods", pod);
    }

    fn start(&self) -> (Handle, Informers) {
        let client = Client::new(Arc::new(self.clone()));
        let informers = Informers::new(client.clone());
        (start(SchedulerConfig::new(client, informers.clone())), informers)
    }

    /// How many pods are on each node.
    fn placed(&self) -> BTreeMap<String, usize> {
        let mut placed = BTreeMap::new();
        for pod in self.0.lock().pods.values() {
            if let Some(node) = pod["spec"]["nodeName"].as_str() {
                *placed.entry(node.to_owned()).or_default() += 1;
            }
        }
        placed
    }

    fn message(&self, pod: &str) -> Option<String> {
        let condition = self.0.lock().pods[pod]["status"]["conditions"][0].clone();
        assert!(condition.is_null() || condition["reason"] != "");
        condition["message"].as_str().map(str::to_owned)
    }

    fn reason(&self, pod: &str) -> String {
        let pod = self.0.lock().pods[pod].clone();
        pod["status"]["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn node_of(&self, pod: &str) -> Option<String> {
        self.0.lock().pods[pod]["spec"]["nodeName"].as_str().map(str::to_owned)
    }

    fn labelled_node(&self, name: &str, labels: &Value) {
        let status = json!({"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "1000"}});
        let meta = json!({"name": name, "uid": name, "labels": labels});
        let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": meta, "status": status});
        self.0.lock().put("nodes", node);
    }

    fn events(&self, reason: &str) -> Vec<String> {
        let events = self.0.lock().events.clone();
        let events = events.iter().filter(|event| event["reason"] == reason);
        events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn pods_are_bound_to_nodes_with_room_and_told_so() {
    let fake = Fake::default();
    for name in ["a", "b"] {
        fake.node(name, "2");
    }
    for n in 0..4 {
        fake.pod(&format!("p{n}"), "1");
    }
    let _running = fake.start();
    until("all are bound", || fake.placed().values().sum::<usize>() == 4).await;
    assert_eq!(fake.placed().into_values().collect::<Vec<_>>(), [2, 2]);
    until("events", || fake.events("Scheduled").len() == 4).await;
    assert!(
        fake.events("Scheduled").iter().any(|text| text.starts_with("Successfully assigned default/p0 to "))
    );
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_is_bound_when_there_is_room() {
    let fake = Fake::default();
    fake.node("a", "1");
    fake.pod("first", "1");
    let _running = fake.start();
    until("the first is bound", || fake.placed().len() == 1).await;
    fake.pod("second", "1");
    until("a condition", || fake.message("second").is_some()).await;
    assert_eq!(fake.message("second").unwrap(), "0/1 nodes are available: 1 Insufficient cpu.");
    until("an event", || !fake.events("FailedScheduling").is_empty()).await;
    fake.0.lock().delete("pods", "first");
    until("the second is bound", || fake.placed().len() == 1).await;
}

#[tokio::test]
async fn a_pod_that_came_before_its_node_is_bound_when_the_node_joins() {
    let fake = Fake::default();
    fake.pod("early", "1");
    let _running = fake.start();
    until("a condition", || fake.message("early").is_some()).await;
    assert_eq!(fake.message("early").unwrap(), "no nodes available to schedule pods");
    fake.node("late", "4");
    until("bound", || fake.placed().len() == 1).await;
}

#[tokio::test]
async fn a_refused_bind_gives_its_room_back_and_is_tried_again() {
    let fake = Fake::default();
    fake.node("a", "1");
    fake.0.lock().refuse_binds = 2;
    fake.pod("p", "1");
    let _running = fake.start();
    until("bound", || fake.placed().len() == 1).await;
}

#[tokio::test]
async fn pods_of_another_scheduler_with_gates_or_being_deleted_are_left_alone() {
    let fake = Fake::default();
    fake.node("a", "8");
    let other = |name: &str, extra: Value| {
        let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"containers": [{"name": "c"}]}});
        for (key, value) in extra.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        fake.0.lock().put("pods", pod);
    };
    other("foreign", json!({"schedulerName": "mine"}));
    other("gated", json!({"schedulingGates": [{"name": "g"}]}));
    fake.pod("ours", "1");
    let _running = fake.start();
    until("ours is bound", || fake.placed().len() == 1).await;
    assert_eq!(fake.placed()["a"], 1);
    until("the gated pod says so", || fake.reason("gated") == "SchedulingGated").await;
    assert_eq!(fake.message("gated").unwrap(), "Scheduling is blocked due to non-empty scheduling gates");
    assert!(fake.message("foreign").is_none(), "nothing is written to what is not ours");
    other("gated", json!({}));
    until("the gate is open", || fake.placed()["a"] == 2).await;
}

#[tokio::test]
async fn a_pod_of_higher_priority_takes_the_room_of_one_of_lower_and_waits_until_that_has_left() {
    let fake = Fake::default();
    fake.node("a", "1");
    let spec = |priority: i32| json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    fake.pod_like("low", &json!({}), &spec(0));
    let _running = fake.start();
    until("low is bound", || fake.node_of("low").is_some()).await;
    fake.pod_like("urgent", &json!({}), &spec(9));
    let field = |pod: &str, path: &str| fake.0.lock().pods[pod].pointer(path).cloned();
    until("low is asked to leave", || field("low", "/metadata/deletionTimestamp").is_some()).await;
    assert_eq!(fake.reason("low"), "PreemptionByScheduler");
    assert_eq!(field("low", "/status/conditions/0/type").unwrap(), "DisruptionTarget");
    assert_eq!(field("urgent", "/status/nominatedNodeName").unwrap(), "a");
    until("an event", || !fake.events("Preempted").is_empty()).await;
    assert_eq!(fake.events("Preempted"), ["Preempted by pod uid-urgent on node a"]);
    fake.pod_like("sneaky", &json!({}), &spec(0));
    until("sneaky waits", || fake.message("sneaky").is_some()).await;
    assert_eq!(fake.node_of("urgent"), None, "low has not left yet");
    fake.0.lock().delete("pods", "low");
    until("urgent is bound", || fake.node_of("urgent").is_some()).await;
    assert_eq!(fake.node_of("sneaky"), None);
}

fn required(kind: &str, term: &Value) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

#[tokio::test]
async fn replicas_that_have_to_be_apart_are_and_the_one_too_many_waits_for_a_node() {
    let fake = Fake::default();
    let (labels, apart) = (
        json!({"app": "web"}),
        required(
            "podAntiAffinity",
            &json!({"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "web"}}}),
        ),
    );
    for name in ["a", "b"] {
        fake.labelled_node(name, &json!({"host": name}));
    }
    for n in 0..3 {
        fake.pod_like(&format!("w{n}"), &labels, &apart);
    }
    let _running = fake.start();
    let waiting = || (0..3).map(|n| format!("w{n}")).find(|name| fake.message(name).is_some());
    until("one waits", || waiting().is_some()).await;
    let message = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(fake.message(&waiting().unwrap()).unwrap(), message);
    fake.labelled_node("c", &json!({"host": "c"}));
    until("all are bound", || fake.placed().values().sum::<usize>() == 3).await;
    assert_eq!(fake.placed().into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn a_pod_that_follows_another_waits_until_that_is_bound() {
    let fake = Fake::default();
    fake.labelled_node("a", &json!({"host": "a"}));
    fake.labelled_node("b", &json!({"host": "b"}));
    fake.0.lock().put(
        "namespaces",
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "default", "uid": "ns"}}),
    );
    let selector = json!({"matchLabels": {"app": "leader"}});
    let namespaces = json!({"matchLabels": {"team": "one"}});
    let near = required(
        "podAffinity",
        &json!({"topologyKey": "host", "labelSelector": selector, "namespaceSelector": namespaces}),
    );
    fake.pod_like("follower", &json!({}), &near);
    let _running = fake.start();
    let message = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.";
    until("a condition", || fake.message("follower").as_deref() == Some(message)).await;
    fake.pod_like("leader", &json!({"app": "leader"}), &json!({}));
    until("the leader is bound", || fake.node_of("leader").is_some()).await;
    assert_eq!(fake.node_of("follower"), None, "its namespace is not selected");
    let labelled = json!({"name": "default", "uid": "ns", "labels": {"team": "one"}});
    fake.0.lock().put("namespaces", json!({"kind": "Namespace", "apiVersion": "v1", "metadata": labelled}));
    until("the follower is bound", || fake.node_of("follower").is_some()).await;
    assert_eq!(fake.node_of("follower"), fake.node_of("leader"));
}

#[tokio::test]
async fn spread_pods_wait_for_the_emptier_zone_and_go_on_when_it_fills() {
    let fake = Fake::default();
    fake.labelled_node("a", &json!({"zone": "a"}));
    fake.labelled_node("b", &json!({"zone": "b"}));
    let labels = json!({"app": "web"});
    let spread = |selector: Value| {
        let constraint = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}});
        json!({"topologySpreadConstraints": [constraint], "nodeSelector": selector})
    };
    let ignoring = |zone: &str| {
        let mut spec = spread(json!({"zone": zone}));
        spec["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = "Ignore".into();
        spec
    };
    fake.pod_like("a1", &labels, &ignoring("a"));
    let _running = fake.start();
    until("the first is bound", || fake.node_of("a1").is_some()).await;
    fake.pod_like("a2", &labels, &ignoring("a"));
    let message = "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't match pod topology spread constraints.";
    until("the second waits", || fake.message("a2").as_deref() == Some(message)).await;
    for n in 0..3 {
        fake.pod_like(&format!("s{n}"), &labels, &spread(json!({})));
    }
    until("all are bound", || fake.placed().values().sum::<usize>() == 5).await;
    assert!(fake.placed().into_values().all(|pods| (2..=3).contains(&pods)), "{:?}", fake.placed());
}

/// Prints its rate; asserts only what even a busy machine reaches without optimisation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_pods_are_bound_within_seconds() {
    let fake = Fake::default();
    for n in 0..50 {
        fake.node(&format!("n{n}"), "64");
    }
    for n in 0..3000 {
        fake.pod(&format!("p{n}"), "1");
    }
    bind_all("pods that mind nobody", &fake, 3000).await;
    assert!(fake.placed().values().all(|pods| *pods <= 64), "no node is overcommitted");
}

/// The same for pods that all mind each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_pods_that_mind_each_other_are_bound_within_seconds() {
    let fake = Fake::default();
    for n in 0..50 {
        fake.labelled_node(
            &format!("n{n}"),
            &json!({"host": format!("n{n}"), "zone": format!("z{}", n % 3)}),
        );
    }
    for n in 0..2000 {
        let (labels, other) = (json!({"app": format!("app{}", n % 50)}), format!("app{}", (n + 1) % 50));
        let selector = json!({"matchLabels": labels});
        let constraint = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector});
        let near = json!([{"weight": 1, "podAffinityTerm": {"topologyKey": "host", "labelSelector": {"matchLabels": {"app": other}}}}]);
        let far = json!([{"topologyKey": "host", "labelSelector": selector}]);
        let spec = json!({
            "topologySpreadConstraints": [constraint],
            "affinity": {
                "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": near},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": far},
            },
        });
        fake.pod_like(&format!("p{n}"), &labels, &spec);
    }
    bind_all("pods that mind each other", &fake, 2000).await;
}

async fn bind_all(what: &str, fake: &Fake, pods: usize) {
    let started = Instant::now();
    let _running = fake.start();
    until("all are bound", || fake.placed().values().sum::<usize>() == pods).await;
    let rate = pods as f64 / started.elapsed().as_secs_f64();
    assert!(rate > 50.0, "{rate:.0} binds/s");
    std::io::Write::write_all(&mut std::io::stdout(), format!("{what}: {rate:.0} binds/s\n").as_bytes())
        .unwrap();
}

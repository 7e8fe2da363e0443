//! Priority and fairness over HTTPS: who is let in while others flood the server.
//!
//! A request that sends the head of a write and not its body holds a seat for as long as a test likes; `100 Continue`
//! says that it has got it.

use std::time::Duration;

use hako_api::Limits;
use hako_api::pki::KeyPair;
use hako_client::{DeleteOptions, DynamicApi, Patch, ResourceType, WriteOptions};
use hako_error::Kind;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::raw::{DEADLINE, Raw, SHORT};
use crate::support::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// 24 seats: 2 for `global-default`, 10 for `workload-low`, 3 for `system`, 4 for `node-high`, 1 for `catch-all`.
const FEW: Limits = Limits { in_flight: 24, ..Limits::DEFAULT };

fn flow_control(world: &World, plural: &str) -> DynamicApi {
    world.inside().dynamic(&ResourceType::new("flowcontrol.apiserver.k8s.io", "v1", plural), None)
}

/// Somebody who may do everything and is no administrator.
async fn mighty(world: &World, user: &str) -> KeyPair {
    let bindings = ResourceType::new("rbac.authorization.k8s.io", "v1", "clusterrolebindings");
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    });
    world.inside().dynamic(&bindings, None).create(&binding, &WriteOptions::default()).await.unwrap();
    let pair = world.pki.client(user, &[]).unwrap();
    let is_known = async {
        while ask(world, &pair, "GET /api/v1/nodes").await.starts_with("http/1.1 403") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, is_known).await.unwrap();
    pair
}

/// The head of the answer to a request without a body.
async fn ask(world: &World, pair: &KeyPair, line: &str) -> String {
    Raw::open_as(world, Some(pair), "http/1.1").await.request(line, "").await.head().await
}

/// Begins a write and leaves it at that.
async fn begin(world: &World, pair: &KeyPair) -> Raw {
    let mut raw = Raw::open_as(world, Some(pair), "http/1.1").await;
    let headers = "Content-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n";
    raw.request(&format!("POST {MAPS}?dryRun=All"), headers).await;
    raw
}

/// A number on the page of metrics.
async fn metric(world: &World, start: &str) -> i64 {
    let mut raw = Raw::admin(world).await;
    raw.request("GET /metrics", "Connection: close\r\n").await;
    let mut page = String::new();
    tokio::time::timeout(DEADLINE, raw.0.read_to_string(&mut page)).await.unwrap().unwrap();
    let line = page.lines().find(|line| line.starts_with(start));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let all = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, all).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Requests of somebody: those that got a seat, and `waiting` more that have none.
async fn flood(world: &World, pair: &KeyPair, waiting: i64) -> (Vec<Raw>, Vec<Raw>) {
    let level = "apiserver_flowcontrol_current_inqueue_requests{priority_level=\"global-default\"";
    let (mut seated, mut queued) = (Vec::new(), Vec::new());
    while i64::try_from(queued.len()).unwrap() < waiting {
        let mut raw = begin(world, pair).await;
        let before = i64::try_from(queued.len()).unwrap();
        let mut is_seated = false;
        until("a request neither runs nor waits", async || {
            let mut head = [0; 25];
            if tokio::time::timeout(Duration::from_millis(1), raw.0.read_exact(&mut head)).await.is_ok() {
                assert_eq!(&head, b"HTTP/1.1 100 Continue\r\n\r\n");
                is_seated = true;
            }
            is_seated || metric(world, level).await > before
        })
        .await;
        if is_seated { seated.push(raw) } else { queued.push(raw) }
    }
    (seated, queued)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_leases_and_controllers_are_served_while_a_client_floods() {
    let world = World::start_with(FEW).await;
    let jane = mighty(&world, "jane").await;
    let (seated, queued) = flood(&world, &jane, 3).await;
    assert!(seated.len() >= 12, "what others lend was taken too: {}", seated.len());

    let node = world.pki.node_client("n").unwrap();
    let register = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}).to_string();
    let head =
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{register}", register.len());
    let mut raw = Raw::open_as(&world, Some(&node), "http/1.1").await;
    raw.send(&format!("POST /api/v1/nodes HTTP/1.1\r\nHost: api\r\n{head}")).await;
    assert_eq!(raw.status().await, 201);
    let lease = "GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
    for (pair, line, code) in [
        (&node, "GET /api/v1/nodes/n", "200"),
        (&node, lease, "404"),
        (&world.pki.client("system:kube-controller-manager", &[]).unwrap(), "GET /api/v1/pods", "200"),
        (&world.pki.client("system:kube-scheduler", &[]).unwrap(), "GET /api/v1/pods", "200"),
        (world.pki.admin(), "GET /api/v1/pods", "200"),
        (&world.pki.client("joe", &[]).unwrap(), "GET /healthz", "200"),
    ] {
        let head = ask(&world, pair, line).await;
        assert!(head.starts_with(&format!("http/1.1 {code} ")), "{line}: {head}");
    }
    drop((seated, queued));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_little_goes_before_a_flood_of_the_same_level() {
    let world = World::start_with(FEW).await;
    let (jane, joe) = (mighty(&world, "jane").await, mighty(&world, "joe").await);
    let (mut seated, queued) = flood(&world, &jane, 5).await;
    let mut mouse = begin(&world, &joe).await;
    let waiting = "apiserver_flowcontrol_current_inqueue_requests{priority_level=\"global-default\"";
    until("the request of another waits", async || metric(&world, waiting).await == 6).await;
    drop(seated.pop());
    assert!(mouse.head().await.starts_with("http/1.1 100 "), "joe's is the next that runs");
    drop(mouse);
    until("then one of jane's", async || metric(&world, waiting).await == 4).await;
    drop(queued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_place_in_its_queue_is_told_to_come_again_and_by_whom() {
    let world = World::start_with(FEW).await;
    let jane = mighty(&world, "jane").await;
    let spec = json!({"spec": {"limited": {"lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 1}}}}});
    let levels = flow_control(&world, "prioritylevelconfigurations");
    // The suggested object is kept as it is, unless it says otherwise.
    let own = json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}});
    levels.patch("global-default", None, &Patch::Merge(own), &WriteOptions::default()).await.unwrap();
    levels.patch("global-default", None, &Patch::Merge(spec), &WriteOptions::default()).await.unwrap();
    let limit = "apiserver_flowcontrol_upper_limit_seats{priority_level=\"global-default\"}";
    until("the level follows the object", async || metric(&world, limit).await == 2).await;

    let (_seated, _queued) = flood(&world, &jane, 1).await;
    let head = ask(&world, &jane, "GET /api/v1/pods").await;
    assert!(head.starts_with("http/1.1 429 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let schema = uid(&flow_control(&world, "flowschemas").get("global-default").await.unwrap());
    let level = uid(&levels.get("global-default").await.unwrap());
    assert!(head.contains(&format!("\r\nx-kubernetes-pf-flowschema-uid: {schema}\r\n")), "{head}");
    assert!(head.contains(&format!("\r\nx-kubernetes-pf-prioritylevel-uid: {level}\r\n")), "{head}");
    let full = "apiserver_flowcontrol_rejected_requests_total{priority_level=\"global-default\",\
                flow_schema=\"global-default\",reason=\"queue-full\"}";
    assert_eq!(metric(&world, full).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever() {
    let world = World::start_with(Limits { queue_time: SHORT, in_flight: 1, ..Limits::DEFAULT }).await;
    let jane = mighty(&world, "jane").await;
    let (_seated, mut queued) = flood(&world, &jane, 1).await;
    let head = queued[0].head().await;
    assert!(head.starts_with("http/1.1 429 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_not_read_keeps_its_seat_and_a_watch_does_not() {
    let world = World::start_with(Limits { in_flight: 1, ..Limits::DEFAULT }).await;
    let jane = mighty(&world, "jane").await;
    let maps = world.inside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    for number in 0..24 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "x".repeat(900_000)}});
        maps.create(&map, &WriteOptions::default()).await.unwrap();
    }
    let seats = "apiserver_flowcontrol_current_executing_seats{priority_level=\"global-default\",flow_schema=\"global-default\"}";
    let mut watch = Raw::open_as(&world, Some(&jane), "http/1.1").await;
    assert_eq!(watch.request(&format!("GET {MAPS}?watch=1&resourceVersion=1"), "").await.status().await, 200);
    until("the watch gives its seat back", async || metric(&world, seats).await == 0).await;
    let mut list = Raw::open_as(&world, Some(&jane), "http/1.1").await;
    assert_eq!(list.request(&format!("GET {MAPS}"), "").await.status().await, 200);
    assert!(metric(&world, seats).await > 0);
    drop(list);
    until("whoever is gone gives the seat back", async || metric(&world, seats).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suggested_objects_are_there_and_are_made_again() {
    let world = World::start().await;
    let levels = flow_control(&world, "prioritylevelconfigurations");
    for (name, shares) in [
        ("system", 30),
        ("node-high", 40),
        ("leader-election", 10),
        ("workload-high", 40),
        ("workload-low", 100),
    ] {
        let level = levels.get(name).await.unwrap();
        assert_eq!(level["spec"]["limited"]["nominalConcurrencyShares"], shares, "{name}");
        assert_eq!(level["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"], "true", "{name}");
    }
    let schemas = flow_control(&world, "flowschemas");
    let node = schemas.get("system-node-high").await.unwrap();
    assert_eq!(node["spec"]["matchingPrecedence"], 400);
    schemas.delete("service-accounts", &DeleteOptions::default()).await.unwrap();
    until("it is made again", async || schemas.get("service-accounts").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_says_whether_its_level_is_there_and_counts_only_then() {
    let world = World::start().await;
    let (schemas, levels) =
        (flow_control(&world, "flowschemas"), flow_control(&world, "prioritylevelconfigurations"));
    let schema = json!({"metadata": {"name": "mine"}, "spec": {
        "matchingPrecedence": 50, "priorityLevelConfiguration": {"name": "mine"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}],
    }});
    let uid = |object: Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let mine = uid(schemas.create(&schema, &WriteOptions::default()).await.unwrap());
    let dangling = async || {
        let conditions = schemas.get("mine").await.unwrap()["status"]["conditions"].clone();
        (conditions[0]["type"].clone(), conditions[0]["status"].clone(), conditions[0]["reason"].clone())
    };
    until("it is dangling", async || {
        dangling().await == (json!("Dangling"), json!("True"), json!("NotFound"))
    })
    .await;
    let jane = world.pki.client("jane", &[]).unwrap();
    assert!(!ask(&world, &jane, "GET /version").await.contains(&mine));
    let level = json!({"metadata": {"name": "mine"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}});
    levels.create(&level, &WriteOptions::default()).await.unwrap();
    until("it is found", async || dangling().await == (json!("Dangling"), json!("False"), json!("Found")))
        .await;
    until("it counts", async || ask(&world, &jane, "GET /version").await.contains(&mine)).await;
    let joe = world.pki.client("joe", &[]).unwrap();
    assert!(!ask(&world, &joe, "GET /version").await.contains(&mine));
    let refused = schemas.create(&schema, &WriteOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_see_levels_queues_and_who_waits() {
    let world = World::start_with(FEW).await;
    let jane = mighty(&world, "jane").await;
    // Before the flood, in which joe would have to wait with her.
    let joe = world.pki.client("joe", &[]).unwrap();
    let head = ask(&world, &joe, "GET /debug/api_priority_and_fairness/dump_queues").await;
    assert!(head.starts_with("http/1.1 403"), "{head}");
    let (_seated, _queued) = flood(&world, &jane, 2).await;
    let dump = async |name: &str| {
        let path = format!("/debug/api_priority_and_fairness/{name}");
        let text = world.outside().get_text(&path).await.unwrap();
        let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<String>>();
        text.lines().map(cells).collect::<Vec<_>>()
    };
    let levels = dump("dump_priority_levels").await;
    assert_eq!(
        levels[0][..5],
        ["PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests"]
    );
    let level = levels.iter().find(|row| row[0] == "global-default").unwrap();
    assert_eq!(
        (level[2].as_str(), level[3].as_str(), level[4].as_str()),
        ("false", "false", "2"),
        "{level:?}"
    );
    assert!(levels.iter().any(|row| row[0] == "exempt"), "{levels:?}");
    let queues = dump("dump_queues").await;
    let of_level = queues.iter().filter(|row| row[0] == "global-default");
    let waiting: usize = of_level.map(|row| row[2].parse::<usize>().unwrap()).sum();
    assert_eq!(waiting, 2, "{queues:?}");
    let requests = dump("dump_requests?includeRequestDetails=1").await;
    let [heads, first, second] = &requests[..] else { panic!("{requests:?}") };
    let of = |row: &[String], column: &str| row[heads.iter().position(|it| it == column).unwrap()].clone();
    for row in [first, second] {
        assert_eq!(
            (of(row, "FlowSchemaName"), of(row, "UserName")),
            ("global-default".into(), "jane".into())
        );
        assert_eq!((of(row, "Verb"), of(row, "Resource")), ("create".into(), "configmaps".into()));
        assert_eq!(of(row, "APIPath"), MAPS);
    }
    assert!(!dump("dump_requests").await[0].contains(&"UserName".to_owned()));
}

//! Which requests a webhook is about: one webhook for each rule, all asked about the same requests.

use hako_client::{DeleteOptions, Patch, ResourceType, WriteOptions};
use serde_json::{Value, json};

use super::hook_server::{HookServer, allowed};
use super::webhooks::register_hooks;
use crate::support::World;

fn rule(operations: &[&str], groups: &[&str], versions: &[&str], resources: &[&str], scope: &str) -> Value {
    json!({"rules": [{
        "operations": operations, "apiGroups": groups, "apiVersions": versions, "resources": resources, "scope": scope,
    }]})
}

fn with(mut hook: Value, change: Value) -> Value {
    for (key, value) in change.as_object().unwrap() {
        hook[key] = value.clone();
    }
    hook
}

/// A rule by its name, and whether it is about: creating a Deployment in a namespace labelled `tier: gold` with a label
/// `app: web`, changing its status, deleting it, creating a namespace so labelled, creating a ClusterRole, and creating an
/// HorizontalPodAutoscaler of autoscaling/v1.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn rules() -> Vec<(&'static str, Value, &'static str)> {
    let about_deployments = || rule(&["CREATE"], &["apps"], &["v1"], &["deployments"], "*");
    let all = || rule(&["*"], &["*"], &["*"], &["*"], "*");
    vec![
        ("exact", about_deployments(), "c....."),
        ("all", all(), "c.dnrh"),
        ("all-parts", rule(&["*"], &["*"], &["*"], &["*/*"], "*"), "csdnrh"),
        ("part", rule(&["UPDATE"], &["apps"], &["v1"], &["deployments/status"], "*"), ".s...."),
        ("parts", rule(&["*"], &["apps"], &["v1"], &["deployments/*"], "*"), "csd..."),
        ("status-of-all", rule(&["*"], &["*"], &["*"], &["*/status"], "*"), ".s...."),
        ("delete", rule(&["DELETE"], &["apps"], &["*"], &["deployments"], "*"), "..d..."),
        ("update-only", rule(&["UPDATE"], &["apps"], &["v1"], &["deployments"], "*"), "......"),
        ("other-group", rule(&["*"], &["batch"], &["v1"], &["deployments"], "*"), "......"),
        ("other-version", rule(&["*"], &["apps"], &["v1beta1"], &["deployments"], "*"), "......"),
        ("other-resource", rule(&["*"], &["apps"], &["v1"], &["daemonsets"], "*"), "......"),
        ("namespaced", rule(&["*"], &["*"], &["*"], &["*"], "Namespaced"), "c.d..h"),
        ("cluster", rule(&["*"], &["*"], &["*"], &["*"], "Cluster"), "...nr."),
        ("gold", with(all(), json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}})), "c.dnrh"),
        ("silver", with(all(), json!({"namespaceSelector": {"matchLabels": {"tier": "silver"}}})), "....r."),
        (
            "not-gold",
            with(
                all(),
                json!({"namespaceSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}}),
            ),
            "....r.",
        ),
        ("web", with(all(), json!({"objectSelector": {"matchLabels": {"app": "web"}}})), "c.d..."),
        (
            "not-web",
            with(
                all(),
                json!({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}),
            ),
            "...nrh",
        ),
        ("equivalent", rule(&["*"], &["autoscaling"], &["v2"], &["horizontalpodautoscalers"], "*"), ".....h"),
        (
            "as-it-is",
            with(
                rule(&["*"], &["autoscaling"], &["v2"], &["horizontalpodautoscalers"], "*"),
                json!({"matchPolicy": "Exact"}),
            ),
            "......",
        ),
        (
            "condition",
            with(
                all(),
                json!({"matchConditions": [{"name": "a", "expression": "request.operation == 'CREATE'"}, {"name": "b", "expression": "!has(object.metadata.labels) || object.metadata.labels.?app.orValue('') == 'web'"}]}),
            ),
            "c...rh",
        ),
        (
            "failing-condition",
            with(
                all(),
                json!({"failurePolicy": "Ignore", "matchConditions": [{"name": "a", "expression": "object.spec.nothing == 1"}]}),
            ),
            "......",
        ),
        (
            "no-namespace",
            with(all(), json!({"matchConditions": [{"name": "a", "expression": "namespaceObject == null"}]})),
            "c.dnrh",
        ),
        (
            "nothing-of-it",
            with(
                all(),
                json!({"failurePolicy": "Ignore", "matchConditions": [{"name": "a", "expression": "namespaceObject.metadata.name == 'gold'"}]}),
            ),
            "......",
        ),
        (
            "two-rules",
            json!({"rules": [about_deployments()["rules"][0], rule(&["CREATE"], &[""], &["v1"], &["namespaces"], "Cluster")["rules"][0]]}),
            "c..n..",
        ),
    ]
}

async fn act(world: &World, at: usize) {
    let options = WriteOptions::default();
    let api = |group: &str, plural: &str, namespace: Option<&str>| {
        world.outside().dynamic(&ResourceType::new(group, "v1", plural), namespace)
    };
    let deployments = api("apps", "deployments", Some("gold"));
    match at {
        0 => {
            let mut deployment = crate::contract::deployment("web");
            deployment["metadata"]["labels"] = json!({"app": "web"});
            deployments.create(&deployment, &options).await.unwrap();
        }
        1 => {
            let patch = Patch::Merge(json!({"status": {"replicas": 1}}));
            deployments.patch("web", Some("status"), &patch, &options).await.unwrap();
        }
        2 => deployments.delete("web", &DeleteOptions::default()).await.unwrap(),
        3 => {
            let namespace = json!({"metadata": {"name": "more-gold", "labels": {"tier": "gold"}}});
            api("", "namespaces", None).create(&namespace, &options).await.unwrap();
        }
        4 => {
            let role = json!({"metadata": {"name": "a"}, "rules": []});
            api("rbac.authorization.k8s.io", "clusterroles", None).create(&role, &options).await.unwrap();
        }
        _ => {
            let scaler = json!({
                "metadata": {"name": "h"},
                "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}},
            });
            api("autoscaling", "horizontalpodautoscalers", Some("gold"))
                .create(&scaler, &options)
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rule_is_about_what_it_names() {
    let world = World::start().await;
    let namespace = json!({"metadata": {"name": "gold", "labels": {"tier": "gold"}}});
    let namespaces = world.outside().dynamic(&ResourceType::new("", "v1", "namespaces"), None);
    namespaces.create(&namespace, &WriteOptions::default()).await.unwrap();
    let server = HookServer::start(|_, _| allowed()).await;
    let hook = |(name, change, _): &(&str, Value, &str)| super::webhooks::hook(&server, name, change.clone());
    register_hooks(&world, "Validating", "rules", &rules().iter().map(hook).collect::<Vec<_>>()).await;
    for (at, sign) in "csdnrh".chars().enumerate() {
        server.take_paths();
        act(&world, at).await;
        let asked: Vec<String> =
            server.take_paths().iter().map(|path| path.split('?').next().unwrap().to_owned()).collect();
        for (name, _, wanted) in rules() {
            let count = asked.iter().filter(|path| *path == name).count();
            assert_eq!(count, usize::from(wanted.contains(sign)), "{name} about {sign}: {asked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_equivalent_request_is_shown_and_changed_in_the_version_of_the_rule() {
    let world = World::start().await;
    let server = HookServer::start(|_, review| {
        let metrics = &review["request"]["object"]["spec"]["metrics"];
        assert_eq!(metrics[0]["resource"]["target"]["averageUtilization"], 50, "{review}");
        super::hook_server::patched(&json!([{"op": "replace", "path": "/spec/metrics/0/resource/target/averageUtilization", "value": 60}]))
    })
    .await;
    let change = rule(&["CREATE"], &["autoscaling"], &["v2"], &["horizontalpodautoscalers"], "*");
    register_hooks(&world, "Mutating", "m", &[super::webhooks::hook(&server, "v2", change)]).await;
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
        },
    });
    let v1 = ResourceType::new("autoscaling", "v1", "horizontalpodautoscalers");
    let api = world.outside().dynamic(&v1, Some("default"));
    let made = api.create(&scaler, &WriteOptions::default()).await.unwrap();
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 60, "{made}");
    let request = server.asked()[0].review["request"].clone();
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(
        (&request["resource"]["version"], &request["requestResource"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v2");
}

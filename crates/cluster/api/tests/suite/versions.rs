//! Kinds that are served in several versions or groups and kept in one form, and versions that are no more.

use futures::StreamExt as _;
use hako_client::{DynamicApi, ListParams, Patch, ResourceType, WatchEvent, WriteOptions};
use serde_json::{Value, json};

use crate::support::World;

fn of(world: &World, group: &str, version: &str, plural: &str) -> DynamicApi {
    world.inside().dynamic(&ResourceType::new(group, version, plural), Some("default"))
}

fn autoscaler(version: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 9},
    });
    for (name, value) in spec.as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_of_the_first_version_is_one_of_the_second_and_back() {
    let world = World::start().await;
    let (first, second) = (
        of(&world, "autoscaling", "v1", "horizontalpodautoscalers"),
        of(&world, "autoscaling", "v2", "horizontalpodautoscalers"),
    );
    let options = WriteOptions::default();
    let made = first.create(&autoscaler("v1", json!({"targetCPUUtilizationPercentage": 60})), &options).await;
    assert_eq!(made.unwrap()["spec"]["targetCPUUtilizationPercentage"], 60);
    let read = second.get("web").await.unwrap();
    assert_eq!(read["apiVersion"], "autoscaling/v2");
    assert_eq!(
        read["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 60}}}])
    );
    assert_eq!(read["metadata"]["uid"], first.get("web").await.unwrap()["metadata"]["uid"]);
    let listed = first.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items[0]["spec"]["targetCPUUtilizationPercentage"], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_version_cannot_say_survives_a_write_in_it() {
    let world = World::start().await;
    let (first, second) = (
        of(&world, "autoscaling", "v1", "horizontalpodautoscalers"),
        of(&world, "autoscaling", "v2", "horizontalpodautoscalers"),
    );
    let options = WriteOptions::default();
    let metrics = json!([
        {"type": "Pods", "pods": {"metric": {"name": "rate"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
    ]);
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    let made = second
        .create(&autoscaler("v2", json!({"metrics": metrics, "behavior": behavior})), &options)
        .await
        .unwrap();
    assert_eq!(
        made["spec"]["behavior"]["scaleDown"]["policies"][0]["type"], "Percent",
        "defaults of behavior"
    );
    let mut old = first.get("web").await.unwrap();
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 70);
    assert!(old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].is_string());
    old["spec"]["maxReplicas"] = 11.into();
    first.replace("web", None, &old, &options).await.unwrap();
    let now = second.get("web").await.unwrap();
    assert_eq!(now["spec"]["maxReplicas"], 11);
    let kinds: Vec<&str> =
        now["spec"]["metrics"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Resource", "Pods"]);
    assert_eq!(now["spec"]["behavior"], made["spec"]["behavior"]);
    assert!(now["metadata"].get("annotations").is_none(), "{now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_the_version_it_asked_for() {
    let world = World::start().await;
    let (first, second) = (
        of(&world, "autoscaling", "v1", "horizontalpodautoscalers"),
        of(&world, "autoscaling", "v2", "horizontalpodautoscalers"),
    );
    let options = WriteOptions::default();
    let from = second.list(&ListParams::default()).await.unwrap().resource_version;
    let mut one = first.watch(&ListParams::default(), &from).await.unwrap();
    let mut two = second.watch(&ListParams::default(), &from).await.unwrap();
    second.create(&autoscaler("v2", json!({})), &options).await.unwrap();
    for (watch, version) in [(&mut one, "autoscaling/v1"), (&mut two, "autoscaling/v2")] {
        match watch.next().await.unwrap().unwrap() {
            WatchEvent::Added(object) => assert_eq!(object["apiVersion"], version),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_autoscalers_are_refused_in_both_versions() {
    let world = World::start().await;
    let options = WriteOptions::default();
    let first = of(&world, "autoscaling", "v1", "horizontalpodautoscalers");
    let bad = autoscaler("v1", json!({"minReplicas": 10, "targetCPUUtilizationPercentage": 0}));
    let text = first.create(&bad, &options).await.unwrap_err().to_string();
    assert!(
        text.contains("spec.maxReplicas: Invalid value: 9: must be greater than or equal to `minReplicas`"),
        "{text}"
    );
    assert!(text.contains("averageUtilization: Invalid value: 0: must be greater than 0"), "{text}");
    let second = of(&world, "autoscaling", "v2", "horizontalpodautoscalers");
    let bad = autoscaler(
        "v2",
        json!({"metrics": [{"type": "Pods"}, {"type": "Odd"}],
        "behavior": {"scaleUp": {"selectPolicy": "Best", "policies": [{"type": "Pods", "value": 0, "periodSeconds": 9999}]}}}),
    );
    let text = second.create(&bad, &options).await.unwrap_err().to_string();
    for part in [
        "spec.metrics[0].pods: Required value: must populate information for the given metric source",
        "spec.metrics[1].type: Unsupported value: \"Odd\"",
        "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Best\"",
        "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
        "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9999: must be less than or equal to 1800",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_the_same_in_both_groups() {
    let world = World::start().await;
    let options = WriteOptions::default();
    let (own, core) = (of(&world, "events.k8s.io", "v1", "events"), of(&world, "", "v1", "events"));
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "Started", "action": "Start", "type": "Normal",
        "note": "It runs.", "reportingController": "example.com/c", "reportingInstance": "c-0",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    own.create(&event, &options).await.unwrap();
    let read = core.get("e").await.unwrap();
    assert_eq!((&read["apiVersion"], &read["message"]), (&json!("v1"), &json!("It runs.")));
    assert_eq!(read["involvedObject"]["name"], "p");
    assert_eq!(read["reportingComponent"], "example.com/c");
    let params =
        |selector: &str| ListParams { field_selector: Some(selector.to_owned()), ..ListParams::default() };
    assert_eq!(own.list(&params("regarding.name=p")).await.unwrap().items.len(), 1);
    assert_eq!(core.list(&params("involvedObject.name=p")).await.unwrap().items.len(), 1);
    assert!(own.list(&params("involvedObject.name=p")).await.is_err(), "that is a field of the other group");
    let patch = Patch::Merge(json!({"note": "other"}));
    // Upstream means to refuse that, and its conformance suite asks that it is taken.
    own.patch("e", None, &patch, &options).await.unwrap();
    assert_eq!(core.get("e").await.unwrap()["message"], "other");
    assert!(world.kubectl(&["get", "events.events.k8s.io", "e"]).await.contains("other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_old_name_what_replaced_them() {
    let world = World::start().await;
    for (path, instead) in [
        ("/apis/autoscaling/v2beta2/namespaces/default/horizontalpodautoscalers", "autoscaling/v2"),
        ("/apis/extensions/v1beta1/namespaces/default/ingresses", "networking.k8s.io/v1"),
        ("/apis/batch/v1beta1/namespaces/default/cronjobs", "batch/v1"),
        ("/apis/policy/v1beta1/podsecuritypolicies", "the namespace labels of Pod Security admission"),
    ] {
        let (worked, _, error) = world.try_kubectl(&["get", "--raw", path], "").await;
        assert!(!worked && error.contains("no longer served") && error.contains(instead), "{error}");
    }
    let groups = world.kubectl_json(&["get", "--raw", "/apis/autoscaling"]).await;
    let versions: Vec<&str> =
        groups["versions"].as_array().unwrap().iter().map(|it| it["version"].as_str().unwrap()).collect();
    assert_eq!((versions, &groups["preferredVersion"]["version"]), (vec!["v2", "v1"], &json!("v2")));
}

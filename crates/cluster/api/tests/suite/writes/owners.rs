//! Who owns what of a new object, as clusters have told it since version 1.22: what was sent and what was defaulted, and
//! nothing that the server fills in later.

use serde_json::{Value, json};

use super::{PODS, ask, ask_as};
use crate::support::World;

/// The fields of the entry of a manager, through the object itself or a part.
fn fields(object: &Value, manager: &str, part: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let is_it =
        |entry: &&Value| entry["manager"] == manager && entry["subresource"].as_str().unwrap_or("") == part;
    entries.iter().find(is_it).unwrap_or_else(|| panic!("{manager} {part}: {entries:?}"))["fieldsV1"].clone()
}

/// A container of which the name and the image were said.
fn container() -> Value {
    json!({
        ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
    })
}

/// The spec of a pod of one container.
fn pod_spec(more: Value) -> Value {
    let mut spec = json!({
        "f:containers": {r#"k:{"name":"c"}"#: container()}, "f:dnsPolicy": {}, "f:restartPolicy": {},
        "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

async fn made(world: &World, path: &str, object: &Value) -> Value {
    ask(world, "POST", &format!("{path}?fieldManager=me"), object).await.is(201)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_new_object_what_was_sent_and_defaulted_is_owned_and_what_holds_it() {
    let world = World::start().await;
    let labels = json!({".": {}, "f:a": {}});
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": "x", "labels": {"a": "b"}});

    let pod = made(&world, PODS, &json!({"metadata": metadata, "spec": spec})).await;
    assert!(pod["spec"]["tolerations"].is_array() && pod["spec"]["serviceAccountName"] == "default");
    let wanted = json!({
        "f:metadata": {"f:labels": labels}, "f:spec": pod_spec(json!({"f:enableServiceLinks": {}})),
    });
    assert_eq!(fields(&pod, "me", ""), wanted);

    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
    let selector = json!({"matchLabels": {"a": "b"}});
    let deployment = json!({"metadata": metadata, "spec": {"selector": selector, "template": template}});
    let deployment = made(&world, "/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    let rolling = json!({".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}});
    let wanted = json!({
        "f:metadata": {"f:labels": labels},
        "f:spec": {
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": rolling, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": labels}, "f:spec": pod_spec(json!({}))},
        },
    });
    assert_eq!(fields(&deployment, "me", ""), wanted);

    let service =
        json!({"metadata": {"name": "x"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    let service = made(&world, "/api/v1/namespaces/default/services", &service).await;
    assert!(service["spec"]["clusterIP"].is_string() && service["spec"]["ipFamilies"].is_array());
    let port = json!({".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}});
    let wanted = json!({"f:spec": {
        "f:internalTrafficPolicy": {}, "f:ports": {".": {}, r#"k:{"port":80,"protocol":"TCP"}"#: port},
        "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
    }});
    assert_eq!(fields(&service, "me", ""), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_status_what_was_sent_through_it_is_owned_also_of_the_metadata() {
    let world = World::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service =
        json!({"metadata": {"name": "x"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    made(&world, services, &service).await;
    let change = json!({
        "metadata": {"annotations": {"pool": "a"}}, "spec": {"sessionAffinity": "ClientIP"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    });
    let path = format!("{services}/x/status?fieldManager=balancer");
    let changed = ask(&world, "PATCH", &path, &change).await.is(200);
    let wanted = json!({
        "f:metadata": {"f:annotations": {".": {}, "f:pool": {}}},
        "f:status": {"f:loadBalancer": {"f:ingress": {}}},
    });
    assert_eq!(fields(&changed, "balancer", "status"), wanted);

    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    made(&world, PODS, &pod).await;
    let condition = json!({"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let change = json!({"status": {"conditions": [condition], "podIPs": [{"ip": "192.0.2.2"}]}});
    let path = format!("{PODS}/p/status?fieldManager=kubelet");
    let kind = "application/strategic-merge-patch+json";
    let changed = ask_as(&world, "PATCH", &path, kind, &change).await.is(200);
    let owned = fields(&changed, "kubelet", "status");
    let ready = json!({
        ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {},
    });
    assert_eq!(owned["f:status"]["f:conditions"][r#"k:{"type":"Ready"}"#], ready);
    let addresses = json!({".": {}, r#"k:{"ip":"192.0.2.2"}"#: {".": {}, "f:ip": {}}});
    assert_eq!(owned["f:status"]["f:podIPs"], addresses);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_admission_adds_and_what_a_binding_sets_belong_to_nobody() {
    let world = World::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    made(&world, PODS, &pod).await;
    let node = json!({"metadata": {"name": "n"}});
    ask(&world, "POST", "/api/v1/nodes", &node).await.is(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    ask(&world, "POST", &format!("{PODS}/p/binding?fieldManager=scheduler"), &binding).await.is(201);
    let bound = ask(&world, "GET", &format!("{PODS}/p"), &Value::Null).await.is(200);
    assert_eq!(bound["spec"]["nodeName"], "n");
    let managers: Vec<&Value> =
        bound["metadata"]["managedFields"].as_array().unwrap().iter().map(|it| &it["manager"]).collect();
    assert_eq!(managers, ["me"]);
}

//! Server-side apply as clients see it; how owners are reckoned is tested beside the code.

use serde_json::{Value, json};

use super::{CONFIG_MAPS, Said, ask, ask_as};
use crate::support::World;

const APPLY: &str = "application/apply-patch+yaml";

async fn apply(world: &World, path: &str, query: &str, object: Value) -> Said {
    ask_as(world, "PATCH", &format!("{path}?{query}"), APPLY, &object).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn a() -> String {
    format!("{CONFIG_MAPS}/a")
}

/// Manager, operation and fields of each entry.
fn owners(object: &Value) -> Vec<(String, String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
    entries.iter().map(|it| (text(it, "manager"), text(it, "operation"), it["fieldsV1"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_makes_the_object_and_conflicts_name_fields_and_owners() {
    let world = World::start().await;
    let made = apply(&world, &a(), "fieldManager=one", map(json!({"x": "1", "y": "1"}))).await.is(201);
    let both = json!({"f:data": {"f:x": {}, "f:y": {}}});
    assert_eq!(owners(&made), [("one".into(), "Apply".into(), both)]);
    let said = apply(&world, &a(), "fieldManager=two", map(json!({"x": "2"}))).await;
    said.refuses(409, "Apply failed with 1 conflict: conflict with \"one\": .data.x");
    assert_eq!(said.body["reason"], "Conflict");
    let cause =
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.x"});
    assert_eq!(said.body["details"]["causes"], json!([cause]));
    let said = apply(&world, &a(), "fieldManager=two", map(json!({"x": "2", "y": "2"}))).await;
    said.refuses(409, "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.x\n- .data.y");
    let taken = apply(&world, &a(), "fieldManager=two&force=true", map(json!({"x": "2"}))).await.is(200);
    let of = |name: &str| json!({"f:data": {format!("f:{name}"): {}}});
    let wanted = [("one".into(), "Apply".into(), of("y")), ("two".into(), "Apply".into(), of("x"))];
    assert_eq!(owners(&taken), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_two_owners_goes_with_the_last_of_them() {
    let world = World::start().await;
    apply(&world, &a(), "fieldManager=one", map(json!({"x": "1", "y": "1"}))).await.is(201);
    apply(&world, &a(), "fieldManager=two", map(json!({"x": "1"}))).await.is(200);
    let left = apply(&world, &a(), "fieldManager=one", map(json!({}))).await.is(200);
    assert_eq!(left["data"], json!({"x": "1"}), "the other still wants it");
    let gone = apply(&world, &a(), "fieldManager=two", map(json!({}))).await.is(200);
    assert!(gone["data"].get("x").is_none(), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_lists_are_owned_by_their_keys_and_atomic_lists_as_a_whole() {
    let world = World::start().await;
    let path = "/api/v1/namespaces/default/services/s";
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let ports = |ports: Value| service(json!({"ports": ports}));
    apply(&world, path, "fieldManager=one", ports(json!([{"name": "web", "port": 80}]))).await.is(201);
    let dns = json!([{"name": "dns", "port": 53, "protocol": "UDP"}]);
    let both = apply(&world, path, "fieldManager=two", ports(dns.clone())).await.is(200);
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
    // The key is the port with its protocol, which is TCP where nothing is said.
    let renamed = json!([{"name": "other", "port": 80, "protocol": "TCP"}]);
    let said = apply(&world, path, "fieldManager=two", ports(renamed)).await;
    said.refuses(409, ".spec.ports[port=80,protocol=\"TCP\"].name");
    let left = apply(&world, path, "fieldManager=one", service(json!({}))).await.is(200);
    let names: Vec<&Value> = left["spec"]["ports"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["dns"]);
    let ranges = |list: Value| service(json!({"ports": dns, "externalIPs": list}));
    let said = apply(&world, path, "fieldManager=two", ranges(json!(["192.0.2.7"]))).await;
    assert_eq!(said.is(200)["spec"]["externalIPs"], json!(["192.0.2.7"]));
    let other = service(json!({"externalIPs": ["192.0.2.8"]}));
    apply(&world, path, "fieldManager=three", other).await.refuses(409, ": .spec.externalIPs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_refused() {
    let world = World::start().await;
    let text =
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    apply(&world, &a(), "", map(json!({}))).await.refuses(422, text);
    let mut owned = map(json!({}));
    owned["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Apply"}]);
    apply(&world, &a(), "fieldManager=one", owned).await.refuses(400, "metadata.managedFields must be nil");
    let mut known = map(json!({}));
    known["metadata"]["uid"] = "x".into();
    let text = "uid mismatch: the provided object specified uid x, and no existing object was found";
    apply(&world, &a(), "fieldManager=one", known).await.refuses(409, text);
    let status =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let path = format!("{}/p/status", super::PODS);
    apply(&world, &path, "fieldManager=one", status).await.refuses(404, "pods \"p\" not found");
    let mut stale = map(json!({"x": "2"}));
    apply(&world, &a(), "fieldManager=one", map(json!({"x": "1"}))).await.is(201);
    stale["metadata"]["resourceVersion"] = "1".into();
    apply(&world, &a(), "fieldManager=one", stale).await.refuses(409, "the object has been modified");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_can_be_forgotten_and_then_all_is_of_the_time_before_the_next_application() {
    let world = World::start().await;
    apply(&world, &a(), "fieldManager=one", map(json!({"x": "1"}))).await.is(201);
    let forget = json!({"metadata": {"managedFields": [{}]}});
    let bare = ask(&world, "PATCH", &a(), &forget).await.is(200);
    assert_eq!(bare["metadata"].get("managedFields"), None);
    let changed = ask(&world, "PATCH", &a(), &json!({"data": {"y": "1"}})).await.is(200);
    assert_eq!(changed["metadata"].get("managedFields"), None, "updates alone do not begin anew");
    let said = apply(&world, &a(), "fieldManager=two", map(json!({"x": "2"}))).await;
    said.refuses(409, "conflict with \"before-first-apply\" using v1: .data.x");
    let applied = apply(&world, &a(), "fieldManager=two", map(json!({"x": "1"}))).await.is(200);
    let names: Vec<String> = owners(&applied).into_iter().map(|(manager, ..)| manager).collect();
    assert_eq!(names, ["two", "before-first-apply"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_applied_through_its_part_and_owned_there() {
    let world = World::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    ask(&world, "POST", super::PODS, &pod).await.is(201);
    let path = format!("{}/p/status", super::PODS);
    let condition = json!({"type": "example.com/x", "status": "True"});
    let status = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"conditions": [condition]}});
    let applied = apply(&world, &path, "fieldManager=one", status).await.is(200);
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    let mine = entries.iter().find(|it| it["manager"] == "one").unwrap();
    assert_eq!((&mine["subresource"], &mine["operation"]), (&json!("status"), &json!("Apply")));
    let spec =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let unchanged = apply(&world, &format!("{}/p", super::PODS), "fieldManager=one", spec).await.is(200);
    assert_eq!(unchanged["status"]["phase"], "Pending", "not through the object itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_with_a_status_is_not_owned_through_it() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let world = World::start().await;
    let deployment = json!({"metadata": {"name": "d", "labels": {"a": "b"}}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    ask(&world, "POST", DEPLOYMENTS, &deployment).await.is(201);
    let of = |metadata: Value, status: Value| {
        let mut object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "status": status});
        object["metadata"]["name"] = "d".into();
        object
    };
    let sent = of(json!({"labels": {"x": "1"}, "annotations": {"y": "1"}}), json!({"replicas": 3}));
    let applied = apply(&world, &format!("{DEPLOYMENTS}/d/status"), "fieldManager=one", sent).await.is(200);
    assert_eq!(applied["metadata"]["labels"], json!({"a": "b"}));
    let owned = json!({"f:metadata": {"f:annotations": {"f:y": {}}}, "f:status": {"f:replicas": {}}});
    assert!(owners(&applied).contains(&("one".into(), "Apply".into(), owned)), "{applied}");
    // So that nobody is in the way of who sets it.
    let labelled = of(json!({"labels": {"x": "2"}}), Value::Null);
    let labelled = apply(&world, &format!("{DEPLOYMENTS}/d"), "fieldManager=two", labelled).await.is(200);
    assert_eq!(labelled["metadata"]["labels"], json!({"a": "b", "x": "2"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_goes_over_from_client_side_to_server_side_apply() {
    let world = World::start().await;
    let text = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {data}\n");
    world.kubectl_with(&["apply", "-f", "-"], &text("{x: '1', y: '1'}")).await;
    world.kubectl_with(&["apply", "--server-side", "-f", "-"], &text("{x: '2'}")).await;
    let object = world.kubectl_json(&["get", "configmap", "a", "-o", "json", "--show-managed-fields"]).await;
    assert_eq!(object["data"], json!({"x": "2"}), "what it applied before it may take back");
    let managers: Vec<(String, String)> =
        owners(&object).into_iter().map(|(manager, operation, _)| (manager, operation)).collect();
    // The annotation of the older way has a manager of its own.
    let wanted = ["kubectl-last-applied", "kubectl"].map(|name| (name.to_owned(), "Apply".to_owned()));
    assert_eq!(managers, wanted);
    // And back: the annotation is kept true.
    world.kubectl_with(&["apply", "-f", "-"], &text("{z: '1'}")).await;
    let object = world.kubectl_json(&["get", "configmap", "a", "-o", "json"]).await;
    assert_eq!(object["data"], json!({"z": "1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_scales_owns_the_replicas() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let world = World::start().await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    let path = format!("{DEPLOYMENTS}/d");
    let applied = |who: &str, part: &str, more: &str| format!("{path}{part}?fieldManager={who}{more}");
    ask_as(&world, "PATCH", &applied("owner", "", ""), APPLY, &deployment).await.is(201);
    let scale = |replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}});
    let text = "Apply failed with 1 conflict: conflict with \"owner\": .spec.replicas";
    ask_as(&world, "PATCH", &applied("scaler", "/scale", ""), APPLY, &scale(5)).await.refuses(409, text);
    let forced = applied("scaler", "/scale", "&force=true");
    let scaled = ask_as(&world, "PATCH", &forced, APPLY, &scale(5)).await.is(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    let owners = async |who: &str| -> Vec<Value> {
        let object = ask(&world, "GET", &path, &Value::Null).await.is(200);
        let all = object["metadata"]["managedFields"].as_array().unwrap().clone();
        all.into_iter().filter(|it| it["manager"] == who).collect()
    };
    let [of_scaler] = &owners("scaler").await[..] else { panic!("one entry") };
    assert_eq!(of_scaler["subresource"], "scale");
    assert_eq!(of_scaler["operation"], "Apply");
    assert_eq!(of_scaler["apiVersion"], "apps/v1");
    assert_eq!(of_scaler["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(owners("owner").await[0]["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    // Who owned them before conflicts now, and whoever does not apply takes them.
    let text = "conflict with \"scaler\" with subresource \"scale\": .spec.replicas";
    ask_as(&world, "PATCH", &applied("owner", "", ""), APPLY, &deployment).await.refuses(409, text);
    ask(&world, "PUT", &applied("hpa", "/scale", ""), &scale(7)).await.is(200);
    let [of_hpa] = &owners("hpa").await[..] else { panic!("one entry") };
    assert_eq!((&of_hpa["subresource"], &of_hpa["operation"]), (&json!("scale"), &json!("Update")));
    assert_eq!(of_hpa["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(owners("scaler").await.is_empty(), "nothing is left of what it owned");
}

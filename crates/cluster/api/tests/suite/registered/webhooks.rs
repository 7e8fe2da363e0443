//! Webhooks as clients and their authors meet them.

use hako_client::{Patch, ResourceType, WriteOptions};
use hako_error::Kind;
use serde_json::{Value, json};

use super::hook_server::{HookServer, Reply, allowed, patched};
use super::{GROUP, configmap, configmaps, create, register, settled};
use crate::support::World;

/// A webhook about ConfigMaps that are created or changed, at a path of a server.
pub fn hook(server: &HookServer, name: &str, change: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": server.client_config(name),
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
    });
    for (key, value) in change.as_object().unwrap() {
        hook[key] = value.clone();
    }
    hook
}

/// Registers webhooks; `kind` is `Validating` or `Mutating`.
pub async fn register_hooks(world: &World, kind: &str, name: &str, hooks: &[Value]) {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": format!("{kind}WebhookConfiguration"), "metadata": {"name": name},
        "webhooks": hooks,
    });
    register(world, &format!("{}webhookconfigurations", kind.to_lowercase()), object).await;
    settled(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validating_webhook_refuses_what_kubectl_creates_and_says_why() {
    let world = World::start().await;
    let server = HookServer::start(|_, review| {
        if review["request"]["object"]["data"]["a"] == "bad" {
            let status = json!({"message": "a is bad", "code": 418, "reason": "Teapot"});
            return Reply::Response(json!({"allowed": false, "status": status, "warnings": ["think again"]}));
        }
        Reply::Response(json!({"allowed": true, "warnings": ["this time"]}))
    })
    .await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "check", json!({}))]).await;
    let (done, _, error) = world.try_kubectl(&["create", "configmap", "x", "--from-literal=a=bad"], "").await;
    assert!(!done);
    assert!(error.contains("Warning: think again"), "{error}");
    let text = "admission webhook \"check.example.com\" denied the request: a is bad";
    assert!(error.contains(text) && !error.contains("is forbidden"), "{error}");
    let (done, _, error) =
        world.try_kubectl(&["create", "configmap", "x", "--from-literal=a=good"], "").await;
    assert!(done && error.contains("Warning: this time"), "{error}");
    assert_eq!(server.connections(), 1, "connections are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_says_all_of_the_request() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| allowed()).await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "see", json!({"timeoutSeconds": 7}))]).await;
    let options = WriteOptions {
        field_manager: Some("me".into()),
        field_validation: Some("Strict".into()),
        ..WriteOptions::default()
    };
    let made = configmaps(&world).create(&configmap("x", json!({"a": "b"})), &options).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "see?timeout=7s");
    let review = &asked[0].review;
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    let request = review["request"].as_object().unwrap();
    let names: Vec<&str> = request.keys().map(String::as_str).collect();
    let wanted = "uid kind resource requestKind requestResource name namespace operation userInfo object oldObject dryRun options";
    assert_eq!(names.join(" "), wanted);
    assert_eq!(request["uid"].as_str().unwrap().len(), 36);
    assert_ne!(request["uid"], made["metadata"]["uid"]);
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    assert_eq!((&request["kind"], &request["requestKind"]), (&kind, &kind));
    assert_eq!((&request["resource"], &request["requestResource"]), (&resource, &resource));
    assert_eq!((&request["name"], &request["namespace"]), (&json!("x"), &json!("default")));
    assert_eq!((&request["operation"], &request["dryRun"]), (&json!("CREATE"), &json!(false)));
    assert_eq!(request["userInfo"]["username"], "hako-admin");
    assert!(request["userInfo"]["groups"].as_array().unwrap().contains(&json!("system:masters")));
    assert_eq!((&request["object"]["data"], &request["oldObject"]), (&json!({"a": "b"}), &Value::Null));
    let options = json!({
        "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Strict",
    });
    assert_eq!(request["options"], options);
    let patch = Patch::Merge(json!({"data": {"a": "c"}}));
    configmaps(&world).patch("x", None, &patch, &WriteOptions::default()).await.unwrap();
    let request = server.asked()[1].review["request"].clone();
    assert_eq!(
        (&request["operation"], &request["options"]["kind"]),
        (&json!("UPDATE"), &json!("UpdateOptions"))
    );
    assert_eq!(
        (&request["object"]["data"]["a"], &request["oldObject"]["data"]["a"]),
        (&json!("c"), &json!("b"))
    );
    let owners = |object: &str| request[object]["metadata"]["managedFields"].clone();
    assert_eq!(owners("oldObject"), made["metadata"]["managedFields"]);
    let managers: Vec<_> =
        owners("object").as_array().unwrap().iter().map(|it| it["manager"].clone()).collect();
    assert_eq!(managers.len(), 2, "the patch is one more: {managers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutating_webhooks_change_what_is_stored_by_the_order_of_their_names() {
    let world = World::start().await;
    let server = HookServer::start(|path, review| {
        let seen = review["request"]["object"]["data"]["order"].as_str().unwrap_or("").to_owned();
        patched(&json!([{"op": "add", "path": "/data/order", "value": format!("{seen}{path}")}]))
    })
    .await;
    register_hooks(&world, "Mutating", "b", &[hook(&server, "c", json!({})), hook(&server, "d", json!({}))])
        .await;
    register_hooks(&world, "Mutating", "a", &[hook(&server, "e", json!({}))]).await;
    let made = create(&world, "x", json!({"order": ""})).await.unwrap();
    assert_eq!(made["data"]["order"], "ecd");
    assert_eq!(configmaps(&world).get("x").await.unwrap()["data"]["order"], "ecd");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_asks_for_it_is_asked_again_after_a_change_and_loops_end() {
    let world = World::start().await;
    let server = HookServer::start(|path, review| {
        let seen = review["request"]["object"]["data"]["log"].as_str().unwrap_or("").to_owned();
        patched(&json!([{"op": "add", "path": "/data/log", "value": format!("{seen} {path}")}]))
    })
    .await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let hooks =
        [hook(&server, "one", again.clone()), hook(&server, "two", again), hook(&server, "three", json!({}))];
    register_hooks(&world, "Mutating", "m", &hooks).await;
    let made = create(&world, "x", json!({"log": ""})).await.unwrap();
    // Both change it whenever they are asked, and still each is asked twice only.
    assert_eq!(made["data"]["log"], " one two three one two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_plugins_make_of_a_changed_object_is_made() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| {
        let container = json!({"name": "sidecar", "image": "i"});
        patched(&json!([{"op": "add", "path": "/spec/containers/-", "value": container}]))
    })
    .await;
    let about_pods = json!({"rules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
    }]});
    register_hooks(&world, "Mutating", "m", &[hook(&server, "inject", about_pods)]).await;
    let pods = world.outside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"));
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "i"}]}});
    let made = pods.create(&pod, &WriteOptions::default()).await.unwrap();
    assert_eq!(made["spec"]["containers"].as_array().unwrap().len(), 2, "it was asked once");
    let sidecar = &made["spec"]["containers"][1];
    assert_eq!(sidecar["imagePullPolicy"], "Always", "it has its defaults");
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 1, "the account's token is mounted into it: {sidecar}");
    assert_eq!(made["spec"]["volumes"].as_array().unwrap().len(), 1, "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fixed_a_webhook_does_not_change() {
    let world = World::start().await;
    let server = HookServer::start(|_, review| {
        let data = &review["request"]["object"]["data"];
        let mut patch = vec![
            json!({"op": "add", "path": "/metadata/creationTimestamp", "value": "2001-01-01T00:00:00Z"}),
            json!({"op": "add", "path": "/metadata/generation", "value": 7}),
            json!({"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}),
            json!({"op": "add", "path": "/unknown", "value": true}),
        ];
        for (member, value) in data.as_object().unwrap() {
            patch.push(json!({"op": "add", "path": format!("/metadata/{member}"), "value": value}));
        }
        patched(&Value::Array(patch))
    })
    .await;
    register_hooks(&world, "Mutating", "m", &[hook(&server, "moves", json!({}))]).await;
    let made = create(&world, "x", json!({"uid": "1"})).await.unwrap();
    let metadata = &made["metadata"];
    assert_eq!((&metadata["labels"], made.get("unknown")), (&json!({"a": "b"}), None));
    assert_eq!((metadata["uid"].as_str().unwrap().len(), metadata.get("generation")), (36, None));
    assert!(!metadata["creationTimestamp"].as_str().unwrap().starts_with("2001"), "{metadata}");
    let named = create(&world, "y", json!({"name": "z"})).await.unwrap();
    assert_eq!(named["metadata"]["name"], "z", "nobody knows it by another name yet");
    assert_eq!(configmaps(&world).get("y").await.unwrap_err().kind(), Kind::NotFound);
    configmaps(&world).get("z").await.unwrap();
    let away = create(&world, "w", json!({"namespace": "kube-system"})).await.unwrap_err();
    let text = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!((away.kind(), away.to_string()), (Kind::Invalid, text.to_owned()));
    for (data, code, why) in [
        (
            json!({"name": "other"}),
            Kind::Invalid,
            "metadata.name: Invalid value: \"other\": field is immutable",
        ),
        (
            json!({"name": ""}),
            Kind::Invalid,
            "metadata.name: Required value: name or generateName is required",
        ),
        (json!({"uid": "2"}), Kind::Invalid, "metadata.uid: Invalid value: \"2\": field is immutable"),
        (json!({"namespace": "kube-system"}), Kind::Invalid, text),
    ] {
        let patch = Patch::Json(json!([{"op": "add", "path": "/data", "value": data}]));
        let moved = configmaps(&world).patch("x", None, &patch, &WriteOptions::default()).await.unwrap_err();
        assert!(moved.kind() == code && moved.to_string().contains(why), "{data}: {moved}");
    }
    let patch = Patch::Json(json!([{"op": "add", "path": "/data", "value": {"namespace": "", "uid": ""}}]));
    let stayed = configmaps(&world).patch("x", None, &patch, &WriteOptions::default()).await.unwrap();
    assert_eq!(
        (&stayed["metadata"]["namespace"], &stayed["metadata"]["uid"]),
        (&json!("default"), &metadata["uid"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owns_what_is_as_a_webhook_makes_it_if_it_can_be_read() {
    let world = World::start().await;
    let server = HookServer::start(|_, review| {
        let data = &review["request"]["object"]["data"];
        let says = |name: &str| data[name].as_str().map(|text| serde_json::from_str::<Value>(text).unwrap());
        let add =
            says("add").map(|it| json!({"op": "add", "path": "/metadata/managedFields/-", "value": it}));
        let all = says("all").map(|it| json!({"op": "add", "path": "/metadata/managedFields", "value": it}));
        patched(&Value::Array(add.into_iter().chain(all).collect()))
    })
    .await;
    register_hooks(&world, "Mutating", "m", &[hook(&server, "owns", json!({}))]).await;
    let entry = json!({
        "manager": "hook", "operation": "Update", "apiVersion": "v1", "time": "2001-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:add": {}}},
    });
    let manifest = |name: &str, member: &str, value: &Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {member: value.to_string()},
        })
        .to_string()
    };
    let managers = async |name: &str| {
        let object = configmaps(&world).get(name).await.unwrap();
        let of = |entry: &Value| entry["manager"].as_str().unwrap().to_owned();
        object["metadata"]["managedFields"]
            .as_array()
            .map_or_else(Vec::new, |all| all.iter().map(of).collect())
    };
    let create = ["create", "-f", "-"];
    world.kubectl_with(&create, &manifest("x", "add", &entry)).await;
    assert_eq!(managers("x").await, ["kubectl-create", "hook"], "one more");
    world.kubectl_with(&["replace", "-f", "-"], &manifest("x", "all", &json!([entry]))).await;
    assert_eq!(managers("x").await, ["hook"], "on update too");
    world.kubectl_with(&create, &manifest("y", "all", &json!([]))).await;
    assert_eq!(managers("y").await, [""; 0], "nobody");
    let mut bad = entry.clone();
    bad["operation"] = json!("Guess");
    let (done, _, error) = world.try_kubectl(&create, &manifest("z", "add", &bad)).await;
    let text = "Warning: .metadata.managedFields was in an invalid state after admission; this could be caused by an \
                outdated mutating admission controller; please fix your requests: operation must be `Apply` or `Update`";
    assert!(done && error.contains(text), "{error}");
    assert_eq!(managers("z").await, ["kubectl-create"], "as it was");
    let mut long = entry.clone();
    long["manager"] = json!("h".repeat(129));
    let (done, _, error) = world.try_kubectl(&create, &manifest("w", "add", &long)).await;
    let text = "metadata.managedFields[1].manager: Too long: may not be more than 128 bytes";
    assert!(!done && error.contains(text), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changes_an_object_sees_no_name_that_is_generated_and_who_may_refuse_it_does() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| allowed()).await;
    register_hooks(&world, "Mutating", "m", &[hook(&server, "changes", json!({}))]).await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "refuses", json!({}))]).await;
    let object = json!({"metadata": {"generateName": "x-"}, "data": {}});
    let made = configmaps(&world).create(&object, &WriteOptions::default()).await.unwrap();
    let asked: Vec<_> = server.asked().into_iter().map(|asked| asked.review["request"].clone()).collect();
    let seen = |request: &Value| {
        ["name", "generateName", "uid", "creationTimestamp"]
            .map(|name| request["object"]["metadata"].get(name).cloned().unwrap_or_default())
    };
    let of = |member: &str| made["metadata"][member].clone();
    assert_eq!(asked[0].get("name"), None);
    assert_eq!(seen(&asked[0]), [json!(null), json!("x-"), json!(null), json!(null)]);
    assert_eq!(asked[1]["name"], of("name"));
    assert_eq!(seen(&asked[1]), ["name", "generateName", "uid", "creationTimestamp"].map(of));
    let managers = of("managedFields");
    assert_eq!(managers[0]["operation"], "Update");
    assert_eq!(
        asked.iter().map(|it| &it["object"]["metadata"]["managedFields"]).collect::<Vec<_>>(),
        [&managers; 2]
    );
    let pods = world.outside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"));
    let pod = json!({"metadata": {"generateName": "p-"}, "spec": {
        "priorityClassName": "none", "containers": [{"name": "main", "image": "i"}],
    }});
    let refused = pods.create(&pod, &WriteOptions::default()).await.unwrap_err();
    assert!(refused.to_string().starts_with("pods \"p-\" is forbidden: no PriorityClass"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_made_by_the_name_of_a_path_keeps_it() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| {
        patched(&json!([{"op": "replace", "path": "/metadata/name", "value": "other"}]))
    })
    .await;
    register_hooks(&world, "Mutating", "m", &[hook(&server, "moves", json!({}))]).await;
    let patch = Patch::Apply { object: configmap("x", json!({})), manager: "me".into(), force: false };
    let refused = configmaps(&world).patch("x", None, &patch, &WriteOptions::default()).await.unwrap_err();
    let text = "the name of the object (other) does not match the name on the URL (x)";
    assert_eq!(refused.to_string(), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_makes_no_object_of_another_kind() {
    let world = World::start().await;
    let server = HookServer::start(|_, review| {
        let data = &review["request"]["object"]["data"];
        let to = |(name, value): (&String, &Value)| json!({"op": "add", "path": format!("/{name}"), "value": value});
        patched(&data.as_object().unwrap().iter().map(to).collect())
    })
    .await;
    register_hooks(&world, "Mutating", "m", &[hook(&server, "turns", json!({}))]).await;
    for (name, to) in [("kind", "Secret"), ("apiVersion", "v2")] {
        let error = create(&world, "x", json!({name: to})).await.unwrap_err();
        let text = format!("Internal error occurred: a patch made {name} {to:?} of ");
        assert!(error.kind() == Kind::Internal && error.to_string().starts_with(&text), "{error}");
    }
    let made = create(&world, "x", json!({"kind": "", "apiVersion": ""})).await.unwrap();
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_asks_only_webhooks_without_side_effects() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| allowed()).await;
    let effects = json!({
        "sideEffects": "NoneOnDryRun", "objectSelector": {"matchLabels": {"to": "pure"}},
    });
    register_hooks(&world, "Validating", "v", &[hook(&server, "pure", effects)]).await;
    let mut object = configmap("x", json!({}));
    object["metadata"]["labels"] = json!({"to": "pure"});
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    configmaps(&world).create(&object, &dry).await.unwrap();
    let request = server.asked()[0].review["request"].clone();
    assert_eq!((&request["dryRun"], &request["options"]["dryRun"]), (&json!(true), &json!(["All"])));
    assert_eq!(configmaps(&world).get("x").await.unwrap_err().kind(), Kind::NotFound);
}

/// What plugins took is told of those that were asked.
fn counts_plugins(metrics: &str) {
    let median = "apiserver_admission_step_admission_duration_seconds_summary{operation=\"CREATE\",rejected=\"false\",type=\"admit\",quantile=\"0.5\"} ";
    let told = metrics.lines().find_map(|line| line.strip_prefix(median)).unwrap();
    assert!(told.parse::<f64>().unwrap() > 0.0, "{told}");
    for plugin in ["NamespaceLifecycle\",operation=\"CREATE", "MutatingAdmissionWebhook\",operation=\"CREATE"]
    {
        let series = format!(
            "apiserver_admission_controller_admission_duration_seconds_count{{name=\"{plugin}\",rejected=\"false\",type=\"admit\"}} "
        );
        let count = metrics.lines().find_map(|line| line.strip_prefix(&series));
        assert!(count.is_some_and(|count| count.parse::<u64>().unwrap() > 0), "{series}: {count:?}");
    }
    let idle = "apiserver_admission_controller_admission_duration_seconds_count{name=\"CertificateSigning\"";
    assert!(!metrics.contains(idle), "what was not asked has no series");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_webhooks_do_is_in_the_audit_log_and_in_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let (log, policy) = (dir.path().join("audit.log"), dir.path().join("policy.yaml"));
    std::fs::write(&policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: Request}\n")
        .unwrap();
    let options =
        hako_api::AuditOptions { policy: Some(policy), log: Some(log.clone()), ..Default::default() };
    let audit = hako_api::Audit::open(&options).unwrap();
    let world = World::start_as(|config| config.audit = audit).await;
    let server = HookServer::start(|path, _| match path {
        "changes" => patched(&json!([{"op": "add", "path": "/data/b", "value": "c"}])),
        _ => Reply::Response(json!({"allowed": true, "auditAnnotations": {"seen": "yes"}})),
    })
    .await;
    register_hooks(
        &world,
        "Mutating",
        "m",
        &[hook(&server, "looks", json!({})), hook(&server, "changes", json!({}))],
    )
    .await;
    create(&world, "x", json!({"a": "b"})).await.unwrap();
    let read = async || {
        let text = std::fs::read_to_string(&log).unwrap();
        let lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
        let mut events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let key = "mutation.webhook.admission.k8s.io/round_0_index_1";
        events.find(|event| event["annotations"][key].is_string()).unwrap_or_default()
    };
    let event = super::until("the event is recorded", read, Value::is_object).await;
    let annotation =
        |key: &str| -> Value { serde_json::from_str(event["annotations"][key].as_str().unwrap()).unwrap() };
    let of = |index: usize| annotation(&format!("mutation.webhook.admission.k8s.io/round_0_index_{index}"));
    assert_eq!(of(0), json!({"configuration": "m", "webhook": "looks.example.com", "mutated": false}));
    assert_eq!(of(1), json!({"configuration": "m", "webhook": "changes.example.com", "mutated": true}));
    let patch = json!({
        "configuration": "m", "webhook": "changes.example.com", "patchType": "JSONPatch",
        "patch": [{"op": "add", "path": "/data/b", "value": "c"}],
    });
    assert_eq!(annotation("patch.webhook.admission.k8s.io/round_0_index_1"), patch);
    assert_eq!(event["annotations"]["looks.example.com/seen"], "yes");
    let metrics = world.kubectl(&["get", "--raw", "/metrics"]).await;
    for line in [
        "apiserver_admission_webhook_request_total{name=\"changes.example.com\",operation=\"CREATE\",type=\"admit\",code=\"200\",rejected=\"false\"} 1",
        "apiserver_admission_webhook_admission_duration_seconds_count{name=\"looks.example.com\"",
        "apiserver_validating_admission_policy_check_total{policy=\"probe-",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let step = "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ";
    assert!(metrics.lines().any(|line| line.strip_prefix(step).is_some_and(|count| count != "0")), "{step}");
    counts_plugins(&metrics);
    for histogram in
        ["apiserver_cel_compilation_duration_seconds", "apiserver_cel_evaluation_duration_seconds"]
    {
        let count = metrics.lines().find_map(|line| line.strip_prefix(&format!("{histogram}_count ")));
        assert!(count.is_some_and(|count| count.parse::<u64>().unwrap() > 0), "{histogram}: {count:?}");
    }
}

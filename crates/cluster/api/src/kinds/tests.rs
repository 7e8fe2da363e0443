mod admission;
mod apps;
mod batch;
mod certificates;
mod cluster;
mod core;
mod custom_resources;
mod devices;
mod flow_control;
mod long;
mod networking;
mod placement;
mod pods;
mod policies;
mod samples;
mod services;
mod storage;
mod storage_version_migrations;
mod volumes;
mod warnings;
mod wording;

use super::*;
use serde_json::{Value, json};

fn row(kind: &str) -> &'static KindRow {
    table().iter().find(|row| row.kind == kind).unwrap()
}

/// What the generic path makes of a sent object.
fn created(kind: &str, mut object: Value) -> Value {
    (row(kind).default)(&mut object);
    (row(kind).prepare_create)(&mut object);
    (row(kind).default)(&mut object);
    object
}

fn faults(kind: &str, object: Value) -> Vec<String> {
    row(kind).check_create(&created(kind, object)).iter().map(hako_kube::field::line).collect()
}

fn update_faults(kind: &str, old: &Value, new: &Value) -> Vec<String> {
    row(kind).check_update(new, old).iter().map(hako_kube::field::line).collect()
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    merge(&mut pod["spec"], spec);
    pod
}

fn merge(into: &mut Value, from: Value) {
    into.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
}

fn container(extra: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i:1"});
    merge(&mut container, extra);
    pod(json!({"containers": [container]}))
}

fn deployment(spec: Value) -> Value {
    let mut deployment = json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    merge(&mut deployment["spec"], spec);
    deployment
}

/// Each object is refused with the fault beside it, among others perhaps.
fn refused(kind: &str, cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (object, expected) in cases {
        let found = faults(kind, object);
        assert!(found.iter().any(|fault| fault == expected), "{expected}\nnot in {found:#?}");
    }
}

/// Each change of a sound object is refused with the fault beside it.
fn refused_change(
    kind: &str,
    old: &Value,
    cases: impl IntoIterator<Item = (&'static str, Value, &'static str)>,
) {
    for (pointer, value, expected) in cases {
        let mut new = old.clone();
        set(&mut new, pointer, value);
        let found = update_faults(kind, old, &new);
        assert!(found.iter().any(|fault| fault == expected), "{expected}\nnot in {found:#?}");
    }
}

/// Each change of a sound object is accepted.
fn accepted_change(kind: &str, old: &Value, cases: impl IntoIterator<Item = (&'static str, Value)>) {
    for (pointer, value) in cases {
        let mut new = old.clone();
        set(&mut new, pointer, value);
        assert_eq!(update_faults(kind, old, &new), Vec::<String>::new(), "{pointer}");
    }
}

/// Sets what is at a path such as `/spec/replicas`, making what is missing; null removes it.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = parent.split('/').skip(1).fold(object, |object, part| match part.parse::<usize>() {
        Ok(index) => &mut object[index],
        Err(_) => &mut object[part],
    });
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(name)),
        value => parent[name] = value,
    }
}

fn service(spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": [{"port": 80}]}});
    merge(&mut service["spec"], spec);
    service
}

fn cells(kind: &str, object: &Value) -> Vec<String> {
    let now = "2026-01-01T00:10:00Z".parse().unwrap();
    let show = |cell: Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    let cells = (row(kind).cells)(object, now);
    assert_eq!(cells.len(), row(kind).columns.len());
    cells.into_iter().map(show).collect()
}

#[test]
fn defaults_are_idempotent_and_sound_for_every_kind() {
    for (kind, object) in [
        ("Pod", pod(json!({}))),
        ("Deployment", deployment(json!({}))),
        ("ReplicaSet", deployment(json!({}))),
        ("Service", service(json!({"clusterIP": "10.96.0.9"}))),
        ("ConfigMap", json!({"metadata": {"name": "c", "namespace": "n"}, "data": {"a.b": "c"}})),
        ("Secret", json!({"metadata": {"name": "c", "namespace": "n"}, "stringData": {"a": "b"}})),
        ("Namespace", json!({"metadata": {"name": "n"}})),
        ("Node", json!({"metadata": {"name": "n"}})),
        ("Lease", json!({"metadata": {"name": "n", "namespace": "n"}, "spec": {"leaseDurationSeconds": 40}})),
        ("ServiceAccount", json!({"metadata": {"name": "n", "namespace": "n"}})),
        (
            "Endpoints",
            json!({"metadata": {"name": "n", "namespace": "n"}, "subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}]}]}),
        ),
        (
            "EndpointSlice",
            json!({"metadata": {"name": "n", "namespace": "n"}, "addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}]}),
        ),
        ("Event", json!({"metadata": {"name": "n", "namespace": "n"}, "involvedObject": {"namespace": "n"}})),
    ] {
        let once = created(kind, object);
        let mut twice = once.clone();
        (row(kind).default)(&mut twice);
        assert_eq!(once, twice, "{kind}");
        assert_eq!(row(kind).check_create(&once), [], "{kind}");
        assert_eq!(row(kind).check_update(&once, &once), [], "{kind}");
        cells(kind, &once);
        let fields: Vec<&str> = (row(kind).selectable)(&once).iter().map(|(name, _)| *name).collect();
        assert_eq!(fields, row(kind).selectable_fields, "{kind}");
    }
}

#[test]
fn a_pod_gets_what_upstream_gives_it() {
    let pod = created(
        "Pod",
        container(json!({
            "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
        })),
    );
    let spec = &pod["spec"];
    for (name, value) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("securityContext", json!({})),
        ("enableServiceLinks", json!(true)),
    ] {
        assert_eq!(spec[name], value, "{name}");
    }
    let container = &spec["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(container["resources"]["requests"], container["resources"]["limits"]);
    assert_eq!(
        container["readinessProbe"],
        json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3})
    );
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Guaranteed"}));
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[test]
fn faulty_pods_are_refused_with_path_and_reason() {
    for (object, expected) in [
        (pod(json!({"containers": []})), "spec.containers: Required value"),
        (container(json!({"name": ""})), "spec.containers[0].name: Required value"),
        (container(json!({"image": ""})), "spec.containers[0].image: Required value"),
        (
            container(json!({"imagePullPolicy": "x"})),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            container(json!({"ports": [{"containerPort": 70000}]})),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            container(json!({"livenessProbe": {}})),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            container(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            pod(json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]})),
            "spec.containers[1].name: Duplicate value: \"c\"",
        ),
        (
            pod(json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]})),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            pod(json!({"restartPolicy": "x"})),
            "spec.restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            pod(json!({"tolerations": [{"key": "k", "operator": "x"}]})),
            "spec.tolerations[0].operator: Unsupported value: \"x\": supported values: \"Equal\", \"Exists\"",
        ),
    ] {
        let found = faults("Pod", object);
        assert!(found.iter().any(|fault| fault == expected), "{expected}\nnot in {found:#?}");
    }
    let mut bad = pod(json!({}));
    bad["metadata"] = json!({"name": "A", "namespace": "n", "labels": {"-": "x"}});
    assert_eq!(faults("Pod", bad).len(), 2);
}

#[test]
fn of_a_running_pod_only_images_and_tolerations_change() {
    let old = created("Pod", pod(json!({})));
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = "other:2".into();
    new["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    assert_eq!(update_faults("Pod", &old, &new), Vec::<String>::new());
    new["spec"]["nodeName"] = "x".into();
    new["spec"]["containers"][0]["command"] = json!(["x"]);
    let found = update_faults("Pod", &old, &new);
    assert!(
        found[0].starts_with("spec: Forbidden: pod updates may not change fields other than"),
        "{found:?}"
    );
    // As upstream shows it: what is given is taken away, and what was there is put in its place.
    let told = r#" (allow it to be set to 1 if it was previously negative)
@@ -5,9 +5,7 @@
   {
    "Name": "c",
    "Image": "i:1",
-   "Command": [
-    "x"
-   ],
+   "Command": null,
    "Args": null,
    "WorkingDir": "",
    "Ports": null,
@@ -44,7 +42,7 @@
  "NodeSelector": null,
  "ServiceAccountName": "",
  "AutomountServiceAccountToken": null,
- "NodeName": "x",
+ "NodeName": "",
  "SecurityContext": {
   "SELinuxOptions": null,
   "RunAsUser": null,
"#;
    assert!(found[0].ends_with(told), "{found:?}");
    // What is too long to be read is told by the names of the fields.
    new["spec"]["hostAliases"] = json!(vec![json!({"ip": "10.0.0.1"}); 2000]);
    let found = update_faults("Pod", &old, &new);
    assert!(found[0].ends_with("changed: spec.containers, spec.hostAliases, spec.nodeName"), "{found:?}");
}

#[test]
fn deployments_are_defaulted_validated_and_counted() {
    let made = created("Deployment", deployment(json!({})));
    assert_eq!(made["spec"]["replicas"], 1);
    assert_eq!(
        made["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "Always");
    for (spec, expected) in [
        (json!({"selector": {"matchLabels": {"x": "y"}}}), "`selector` does not match template `labels`"),
        (json!({"replicas": -1}), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
            "may not be 0 when `maxSurge` is 0",
        ),
        (
            json!({"strategy": {"type": "x"}}),
            "spec.strategy: Unsupported value: {\"type\":\"x\"}: supported values: \"Recreate\", \"RollingUpdate\"",
        ),
        (
            json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
    ] {
        let found = faults("Deployment", deployment(spec));
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}\nnot in {found:#?}");
    }
    let mut new = made.clone();
    new["spec"]["replicas"] = 3.into();
    new["status"] = json!({"replicas": 9});
    (row("Deployment").prepare_update)(&mut new, &made);
    assert_eq!((&new["metadata"]["generation"], new.get("status")), (&json!(2), made.get("status")));
    new["spec"]["selector"] = json!({"matchLabels": {"a": "b", "c": "d"}});
    assert!(
        update_faults("Deployment", &made, &new).iter().any(|fault| fault.ends_with("field is immutable"))
    );
}

#[test]
fn services_keep_what_was_allocated() {
    let made = created("Service", service(json!({"type": "NodePort", "clusterIP": "10.96.0.9"})));
    assert_eq!(made["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    assert_eq!(made["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
    let mut old = made.clone();
    old["spec"]["ports"][0]["nodePort"] = 30001.into();
    let mut new = service(json!({"type": "NodePort"}));
    (row("Service").default)(&mut new);
    (row("Service").prepare_update)(&mut new, &old);
    (row("Service").default)(&mut new);
    assert_eq!(new["spec"]["clusterIP"], "10.96.0.9");
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
    let mut moved = old.clone();
    moved["spec"]["clusterIP"] = "10.96.0.10".into();
    moved["spec"]["clusterIPs"] = json!(["10.96.0.10"]);
    assert!(update_faults("Service", &old, &moved)[0].ends_with("may not change once set"));
    let found = faults("Service", service(json!({"ports": [{"port": 80}, {"port": 80}]})));
    assert!(found.contains(&"spec.ports[0].name: Required value".to_owned()), "{found:?}");
    assert!(found.iter().any(|fault| fault.starts_with("spec.ports[1]: Duplicate value")), "{found:?}");
}

#[test]
fn immutable_means_immutable() {
    let old = json!({"metadata": {"name": "c", "namespace": "n"}, "immutable": true, "data": {"a": "b"}});
    let mut new = old.clone();
    new["data"]["a"] = "c".into();
    assert_eq!(
        update_faults("ConfigMap", &old, &new),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
}

#[test]
fn pods_print_as_kubectl_shows_them() {
    let shown = |status: Value, deleting: bool| {
        let mut pod = pod(json!({"nodeName": "n1"}));
        pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        if deleting {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:09:00Z".into();
        }
        pod["status"] = status;
        cells("Pod", &pod)[1..5].to_vec()
    };
    let running = |ready: bool, restarts: i64, last: Value| {
        json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": ready, "restartCount": restarts,
            "state": {"running": {}}, "lastState": last}]})
    };
    assert_eq!(shown(running(true, 0, json!({})), false), ["1/1", "Running", "0", "10m"]);
    assert_eq!(shown(running(false, 0, json!({})), true), ["0/1", "Terminating", "0", "10m"]);
    let last = json!({"terminated": {"finishedAt": "2026-01-01T00:09:00Z"}});
    assert_eq!(shown(running(true, 3, last), false)[2], "3 (60s ago)");
    let waiting = json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]});
    assert_eq!(shown(waiting, false)[1], "ErrImagePull");
    let ended = json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]});
    assert_eq!(shown(ended, false)[1], "ExitCode:3");
    let init = json!({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]});
    assert_eq!(shown(init, false)[1], "Init:0/0");
    assert_eq!(shown(json!({"phase": "Pending"}), false), ["0/1", "Pending", "0", "10m"]);
}

#[test]
fn other_kinds_print_as_kubectl_shows_them() {
    let mut svc = created(
        "Service",
        service(json!({"type": "NodePort", "clusterIP": "10.96.0.9", "selector": {"b": "c", "a": "b"}})),
    );
    svc["spec"]["ports"][0]["nodePort"] = 30001.into();
    svc["metadata"]["creationTimestamp"] = "2026-01-01T00:09:30Z".into();
    assert_eq!(
        cells("Service", &svc),
        ["s", "NodePort", "10.96.0.9", "<none>", "80:30001/TCP", "30s", "a=b,b=c"]
    );
    let mut made = created("Deployment", deployment(json!({"replicas": 3})));
    made["status"] = json!({"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2});
    assert_eq!(cells("Deployment", &made), ["d", "2/3", "3", "2", "<unknown>", "c", "i", "a=b"]);
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1"}, "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}});
    assert_eq!(
        cells("Node", &node)[..6],
        ["n", "Ready,SchedulingDisabled", "control-plane", "<unknown>", "v1", "1.2.3.4"]
    );
    let slice = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 80}],
        "endpoints": [{"addresses": ["1.0.0.1"]}, {"addresses": ["1.0.0.2"]}, {"addresses": ["1.0.0.3"]}, {"addresses": ["1.0.0.4"]}]});
    assert_eq!(cells("EndpointSlice", &slice)[3], "1.0.0.1,1.0.0.2,1.0.0.3 + 1 more...");
}

#[test]
fn scale_reads_and_writes_replicas() {
    let mut made = created("Deployment", deployment(json!({"replicas": 3})));
    let read = scale::of(scale::Paths::usual(), &made);
    assert_eq!((&read["spec"]["replicas"], &read["status"]["selector"]), (&json!(3), &json!("a=b")));
    scale::apply(scale::Paths::usual(), &mut made, &json!({"spec": {"replicas": 7}})).unwrap();
    assert_eq!(made["spec"]["replicas"], 7);
    assert!(scale::apply(scale::Paths::usual(), &mut made, &json!({"spec": {"replicas": -7}})).is_err());
}

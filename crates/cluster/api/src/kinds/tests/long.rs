//! Objects with as many members as fit a body: what is checked of each by looking at all others would not end.

use super::*;

const MANY: usize = 50_000;

fn many(of: impl Fn(usize) -> Value) -> Value {
    (0..MANY).map(of).collect()
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {
        "containers": [{"name": "c", "image": "i"}], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst", "schedulerName": "s", "securityContext": {},
    }});
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

#[test]
fn volumes_and_their_mounts_are_checked_at_once() {
    let container = json!({
        "name": "c", "image": "i",
        "env": many(|at| {
            let key = json!({"volumeName": format!("v{at}"), "path": "p", "key": "K"});
            json!({"name": format!("E{at}"), "valueFrom": {"fileKeyRef": key}})
        }),
        "volumeMounts": many(|at| json!({"name": format!("v{at}"), "mountPath": format!("/m{at}")})),
        "ports": many(|at| json!({"name": format!("p{at}"), "containerPort": 1, "hostPort": at % 45_000 + 1})),
    });
    let volumes = many(|at| json!({"name": format!("v{at}"), "emptyDir": {}}));
    let found = faults("Pod", pod(json!({"volumes": volumes, "containers": [container]})));
    assert_eq!(found.len(), MANY - 45_000, "{:?}", found.first());
    assert!(found.iter().all(|fault| fault.contains("hostPort: Duplicate value")), "{:?}", found.first());
}

#[test]
fn containers_are_checked_at_once() {
    let container = |at: usize| {
        json!({
            "name": format!("c{at}"), "image": "i",
            "resources": {"requests": {format!("example.com/r{at}"): "1"}, "limits": {format!("example.com/r{at}"): "1"}},
        })
    };
    let containers: Value = (0..MANY / 3).map(container).collect();
    let whole = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}});
    let found = faults("Pod", pod(json!({"containers": containers, "resources": whole})));
    assert!(found.iter().all(|fault| fault.starts_with("spec.resources")), "{:?}", found.first());
}

#[test]
fn claims_that_no_container_may_use_are_told_in_few_words() {
    let used = json!({"name": "c", "image": "i", "resources": {"claims": many(|at| json!({"name": format!("u{at}")}))}});
    let claims = many(|at| json!({"name": format!("k{at}"), "resourceClaimName": "r"}));
    let found = faults("Pod", pod(json!({"resourceClaims": claims, "containers": [used]})));
    // Each is long, so that fewer of them are looked for.
    assert!((1000..MANY).contains(&found.len()), "{}", found.len());
    assert!(
        found.iter().all(|fault| fault.len() < 1000 && fault.ends_with("49968 more")),
        "{:?}",
        found.first()
    );
}

#[test]
fn owners_that_all_control_are_told_once() {
    let owner = |at: usize| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": format!("{at}"), "controller": true});
    let map = json!({"metadata": {"name": "m", "namespace": "n", "ownerReferences": many(owner)}});
    assert_eq!(faults("ConfigMap", map).len(), 1);
}

#[test]
fn of_faults_without_end_only_the_first_are_looked_for() {
    let nothing = |_| json!({});
    let container = json!({"name": "c", "image": "i", "ports": many(nothing), "env": many(nothing), "volumeMounts": many(nothing)});
    for spec in [
        json!({"containers": many(nothing)}),
        json!({"initContainers": many(nothing)}),
        json!({"volumes": many(nothing)}),
        json!({"containers": [container]}),
    ] {
        let found = faults("Pod", pod(spec));
        assert!((1000..25_000).contains(&found.len()), "{}: {:?}", found.len(), found.first());
    }
}

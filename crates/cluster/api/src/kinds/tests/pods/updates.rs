//! What may change in a pod: its spec, held back by gates or not, and its status.

use super::*;
use crate::kinds::PartWrite;

fn status_faults(old: &Value, new: &Value) -> Vec<String> {
    let part = PartWrite { name: "status", now: "2026-01-01T00:00:00Z" };
    row("Pod").check_part(new, old, &part).iter().map(hako_kube::field::line).collect()
}

#[test]
fn a_pod_keeps_its_containers_its_deadline_and_its_tolerations() {
    let made = created(
        "Pod",
        pod(json!({"activeDeadlineSeconds": 5, "tolerations": [{"key": "a", "operator": "Exists"}]})),
    );
    refused_change(
        "Pod",
        &made,
        [
            (
                "/spec/containers",
                json!([]),
                "spec.containers: Forbidden: pod updates may not add or remove containers",
            ),
            (
                "/spec/activeDeadlineSeconds",
                json!(6),
                "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value",
            ),
            (
                "/spec/activeDeadlineSeconds",
                Value::Null,
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
            ),
            (
                "/spec/tolerations",
                json!([]),
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ),
        ],
    );
    accepted_change("Pod", &made, [("/spec/activeDeadlineSeconds", json!(4))]);
}

#[test]
fn what_gates_hold_back_may_become_choosier() {
    let when = "requiredDuringSchedulingIgnoredDuringExecution";
    let demand = |key: &str| json!({"key": key, "operator": "Exists"});
    let affinity = |terms: Value| json!({"nodeAffinity": {when: {"nodeSelectorTerms": terms}}});
    let made = created(
        "Pod",
        pod(json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"},
            "affinity": affinity(json!([{"matchExpressions": [demand("a")]}]))})),
    );
    accepted_change(
        "Pod",
        &made,
        [
            ("/spec/nodeSelector", json!({"a": "b", "c": "d"})),
            ("/spec/affinity", affinity(json!([{"matchExpressions": [demand("a"), demand("b")]}]))),
        ],
    );
    let less = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: []: no additions/deletions to non-empty NodeSelectorTerms list are allowed";
    refused_change(
        "Pod",
        &made,
        [
            (
                "/spec/nodeSelector",
                json!({"a": "x"}),
                "spec.nodeSelector: Invalid value: {\"a\":\"x\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            ),
            ("/spec/affinity", affinity(json!([])), less),
            (
                "/spec/affinity",
                affinity(json!([{"matchExpressions": [demand("b")]}])),
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value: {\"matchExpressions\":[{\"key\":\"b\",\"operator\":\"Exists\"}]}: only additions are allowed (no mutations or deletions)",
            ),
        ],
    );
    let free = created("Pod", pod(json!({})));
    let mut new = free.clone();
    new["spec"]["nodeSelector"] = json!({"a": "b"});
    let told = "- \"NodeSelector\": {\n-  \"a\": \"b\"\n- },\n+ \"NodeSelector\": null,\n";
    assert!(update_faults("Pod", &free, &new)[0].contains(told));
}

#[test]
fn a_status_says_what_can_be() {
    let old = created("Pod", pod(json!({"restartPolicy": "Never"})));
    let with = |status: Value| {
        let mut new = old.clone();
        merge(&mut new["status"], status);
        new
    };
    for (status, expected) in [
        (
            json!({"podIPs": [{"ip": "x"}]}),
            "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            json!({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}]}),
            "status.podIPs: Invalid value: [{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.2\"}]: may specify no more than one IP for each IP family",
        ),
        (
            json!({"hostIP": "1.1.1.1", "hostIPs": [{"ip": "1.1.1.2"}]}),
            "status.hostIPs[0].ip: Invalid value: \"1.1.1.2\": must be equal to `hostIP`",
        ),
        (
            json!({"resourceClaimStatuses": [{"name": "x"}]}),
            "status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry in `spec.resourceClaims`",
        ),
        (
            json!({"qosClass": "Guaranteed"}),
            "status.qosClass: Invalid value: \"Guaranteed\": field is immutable",
        ),
        (
            json!({"containerStatuses": [{"name": "c", "user": {"linux": {"uid": -1, "gid": 0}}}]}),
            "status.containerStatuses[0].linux.uid: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
    ] {
        assert_eq!(status_faults(&old, &with(status)), [expected]);
    }
    let found = status_faults(&old, &with(json!({"conditions": [{"type": "a b", "status": "True"}]})));
    assert!(found[0].starts_with("metadata.conditions[0].Type: Invalid value: \"a b\": "), "{found:?}");
}

#[test]
fn what_ended_for_good_does_not_run_again() {
    let ended = |policy: &str, code: i64| {
        let mut old = created("Pod", pod(json!({"restartPolicy": policy})));
        old["status"]["containerStatuses"] =
            json!([{"name": "c", "state": {"terminated": {"exitCode": code}}}]);
        let mut new = old.clone();
        new["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
        status_faults(&old, &new)
    };
    let refused =
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
    assert_eq!(ended("Never", 1), [refused]);
    assert_eq!(ended("OnFailure", 0), [refused]);
    assert_eq!(ended("OnFailure", 1), [""; 0]);
    assert_eq!(ended("Always", 0), [""; 0]);
}

#[test]
fn a_status_that_does_not_say_the_class_leaves_it() {
    let old = created("Pod", pod(json!({})));
    let mut new = old.clone();
    new["status"] = json!({"phase": "Running"});
    (row("Pod").prepare_part)(&mut new, &old, &PartWrite { name: "status", now: "" });
    assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "BestEffort"}));
}

#[test]
fn the_one_address_of_a_pod_is_the_first_of_all() {
    for (given, one, all) in [
        (json!({"podIP": "1.2.3.4"}), json!("1.2.3.4"), json!([{"ip": "1.2.3.4"}])),
        (
            json!({"podIPs": [{"ip": "1.2.3.4"}, {"ip": "::2"}]}),
            json!("1.2.3.4"),
            json!([{"ip": "1.2.3.4"}, {"ip": "::2"}]),
        ),
        (
            json!({"podIP": "1.2.3.5", "podIPs": [{"ip": "1.2.3.4"}]}),
            json!("1.2.3.5"),
            json!([{"ip": "1.2.3.5"}]),
        ),
        (json!({"phase": "Pending"}), json!(null), json!(null)),
    ] {
        let mut made = pod(json!({}));
        made["status"] = given.clone();
        (row("Pod").default)(&mut made);
        assert_eq!((&made["status"]["podIP"], &made["status"]["podIPs"]), (&one, &all), "{given}");
    }
    let part = crate::kinds::PartWrite { name: "status", now: "" };
    let old = created("Pod", pod(json!({})));
    let mut new = old.clone();
    new["status"]["podIP"] = json!("x");
    (row("Pod").default)(&mut new);
    let told: Vec<String> =
        row("Pod").check_part(&new, &old, &part).iter().map(hako_kube::field::line).collect();
    assert_eq!(
        told,
        [
            "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        ]
    );
}

//! Nodes, namespaces, leases, secrets, and what holds for the metadata of all.

use super::*;
use crate::kinds::PartWrite;

fn node(spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": "n"}, "spec": spec, "status": status})
}

#[test]
fn faulty_nodes_are_refused_as_upstream_words_it() {
    let tainted = |taints: Value| node(json!({ "taints": taints }), json!({}));
    for (object, expected) in [
        (tainted(json!([{"key": "a"}])), "metadata.taints[0].effect: Required value"),
        (
            tainted(json!([{"key": "a", "effect": "x"}])),
            "metadata.taints[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
        (
            tainted(
                json!([{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute", "value": "b"}]),
            ),
            "metadata.taints[1]: Duplicate value: {\"key\":\"a\",\"effect\":\"NoExecute\",\"value\":\"b\"}: taints must be unique by key and effect pair",
        ),
        (
            node(json!({"podCIDRs": ["x"]}), json!({})),
            "spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ),
        (
            node(json!({"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}), json!({})),
            "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family",
        ),
        (
            node(json!({}), json!({"capacity": {"pods": "1500m"}, "allocatable": {}})),
            "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
        ),
        (
            node(
                json!({}),
                json!({"addresses": [{"type": "Hostname", "address": "a"}, {"type": "Hostname", "address": "a"}]}),
            ),
            "status.addresses[1]: Duplicate value: {\"type\":\"Hostname\",\"address\":\"a\"}",
        ),
    ] {
        assert_eq!(faults("Node", object), [expected]);
    }
}

#[test]
fn a_node_keeps_its_addresses_and_its_name_at_its_provider() {
    let made = created(
        "Node",
        node(json!({"podCIDR": "10.0.0.0/24", "providerID": "a"}), json!({"capacity": {"cpu": "1"}})),
    );
    assert_eq!(made["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    assert_eq!(made["status"]["allocatable"], json!({"cpu": "1"}));
    refused_change(
        "Node",
        &made,
        [
            (
                "/spec/podCIDRs",
                json!(["10.0.1.0/24"]),
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
            ),
            (
                "/spec/providerID",
                json!("b"),
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            ),
        ],
    );
    accepted_change("Node", &made, [("/spec/unschedulable", json!(true))]);
}

#[test]
fn the_phase_of_a_namespace_says_whether_it_is_going() {
    let part = PartWrite { name: "status", now: "2026-01-01T00:00:00Z" };
    let old = created("Namespace", json!({"metadata": {"name": "n"}}));
    let mut new = old.clone();
    new["status"]["phase"] = "Terminating".into();
    let found: Vec<String> =
        row("Namespace").check_part(&new, &old, &part).iter().map(hako_kube::field::line).collect();
    assert_eq!(
        found,
        [
            "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
        ]
    );
    refused(
        "Namespace",
        [(
            json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["x"]}}),
            "spec.finalizers: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        )],
    );
}

#[test]
fn secrets_for_logging_in_have_what_it_takes() {
    let secret = |kind: &str, data: Value| json!({"metadata": {"name": "s", "namespace": "n"}, "type": kind, "stringData": data});
    for (object, expected) in [
        (
            secret("kubernetes.io/basic-auth", json!({})),
            &["data[username]: Required value", "data[password]: Required value"][..],
        ),
        (
            secret("kubernetes.io/ssh-auth", json!({"ssh-privatekey": ""})),
            &["data[ssh-privatekey]: Required value"],
        ),
        (
            secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "hunter2"})),
            &[
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'h' looking for beginning of value",
            ],
        ),
        (secret("kubernetes.io/dockercfg", json!({})), &["data[.dockercfg]: Required value"]),
    ] {
        assert_eq!(faults("Secret", object), expected);
    }
    let sound = secret("kubernetes.io/basic-auth", json!({"username": ""}));
    assert_eq!(faults("Secret", sound), Vec::<String>::new());
}

#[test]
fn a_lease_prefers_a_holder_only_by_a_strategy() {
    let lease = |spec: Value| json!({"metadata": {"name": "l", "namespace": "n"}, "spec": spec});
    refused(
        "Lease",
        [
            (
                lease(json!({"leaseDurationSeconds": 0})),
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            ),
            (
                lease(json!({"preferredHolder": "a"})),
                "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
            ),
        ],
    );
    refused(
        "Lease",
        [(
            lease(json!({"strategy": "x"})),
            "spec.strategy.strategy: Unsupported value: \"x\": supported values: \"OldestEmulationVersion\"",
        )],
    );
    let sound = lease(json!({"preferredHolder": "a", "strategy": "OldestEmulationVersion"}));
    assert_eq!(faults("Lease", sound), Vec::<String>::new());
}

#[test]
fn dependents_are_left_or_deleted_and_not_both() {
    let object =
        json!({"metadata": {"name": "c", "namespace": "n", "finalizers": ["orphan", "foregroundDeletion"]}});
    assert_eq!(
        faults("ConfigMap", object),
        [
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set"
        ]
    );
}

#[test]
fn owners_are_named_in_full_and_one_of_them_controls() {
    let owned =
        |owners: Value| json!({"metadata": {"name": "c", "namespace": "n", "ownerReferences": owners}});
    let owner = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true});
    assert_eq!(
        faults("ConfigMap", owned(json!([{"apiVersion": "v1", "kind": "Pod", "name": "p"}]))),
        ["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"]
    );
    let event = faults("ConfigMap", owned(json!([owner("Event", "e")])));
    assert!(event[0].ends_with("/v1, Kind=Event is disallowed from being an owner"), "{event:?}");
    let two = faults("ConfigMap", owned(json!([owner("Pod", "p"), owner("Node", "n")])));
    assert!(
        two[0].starts_with("metadata.ownerReferences: Invalid value: [")
            && two[0].ends_with("in references for Pod/p and Node/n"),
        "{two:?}"
    );
}

#[test]
fn what_names_are_made_of_may_end_in_a_dash() {
    let made = |prefix: &str| json!({"metadata": {"name": "a-x", "generateName": prefix, "namespace": "n"}});
    assert_eq!(faults("ConfigMap", made("a-")), Vec::<String>::new());
    let found = faults("ConfigMap", made("A-"));
    assert!(
        found[0].starts_with("metadata.generateName: Invalid value: \"A-\": a lowercase RFC 1123"),
        "{found:?}"
    );
}

#[test]
fn what_a_status_counts_adds_up() {
    let counted = |kind: &str, status: Value| {
        let mut object = created(kind, deployment(json!({})));
        object["status"] = status;
        let causes = row(kind).check_update(&object, &object);
        causes.iter().map(hako_kube::field::line).collect::<Vec<String>>()
    };
    for kind in ["Deployment", "ReplicaSet"] {
        assert_eq!(
            counted(kind, json!({"replicas": 1, "readyReplicas": 2})),
            ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]
        );
        assert_eq!(
            counted(kind, json!({"replicas": 1, "availableReplicas": 1})),
            ["status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas"]
        );
    }
}

#[test]
fn subjects_of_bindings_have_names() {
    let binding = |subject: Value| json!({"metadata": {"name": "b", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [subject]});
    for (subject, expected) in [
        (
            json!({"kind": "User"}),
            &[
                "subjects[0].name: Required value",
                "subjects[0].name: Invalid value: \"\": user name cannot be empty",
            ][..],
        ),
        (
            json!({"kind": "x", "name": "a"}),
            &[
                "subjects[0].kind: Unsupported value: \"x\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
            ],
        ),
    ] {
        assert_eq!(faults("RoleBinding", binding(subject)), expected);
    }
}

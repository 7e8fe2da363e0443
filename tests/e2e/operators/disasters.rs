//! Operators that are killed or gone, and what the platform lets pass meanwhile.

use super::sites::{site, start};
use crate::platform::wait_until;

#[test]
fn another_replica_leads_when_the_leader_is_killed() {
    let operator = start();
    operator.apply(&site("v2", "before", "", r#"{"replicas": 0}"#));
    operator.wait_field("site/before", "{.status.observedGeneration}", "1");
    let old = operator.leader();
    assert_eq!(operator.field("site/before", "{.status.reconciledBy}"), old);
    operator.kill(&old);
    wait_until("another leader", || operator.leader() != old);
    assert_eq!(
        operator.field_in("site-operator", "lease/site-operator", "{.spec.leaseTransitions}"),
        "1",
        "it was taken over once"
    );
    operator.apply(&site("v2", "after", "", r#"{"replicas": 0}"#));
    operator.wait_field("site/after", "{.status.observedGeneration}", "1");
    assert_eq!(operator.field("site/after", "{.status.reconciledBy}"), operator.leader());
    operator.platform.kubectl(&["delete", "sites", "--all"]);
    operator.platform.down();
}

const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"},
    "spec": {"containers": [{"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "1000"]}],
    "terminationGracePeriodSeconds": 0}}"#;

#[test]
fn webhooks_that_are_down_refuse_as_they_say_and_their_operator_is_repaired() {
    let operator = start();
    let kubectl = |arguments: &[&str]| operator.platform.kubectl(arguments);
    operator.apply(&site("v2", "port", "", r#"{"pages": {"index.html": "ahoy"}}"#));
    operator.wait_field("site/port", "{.status.readyReplicas}", "1");
    let said = operator
        .refused(&POD.replace("\"lone\"", "\"lone\", \"labels\": {\"fleet.example.com/refused\": \"\"}"));
    assert!(said.contains("the fleet has no place for it"), "{said}");

    kubectl(&["-n", "site-operator", "scale", "deployment/site-operator", "--replicas=0"]);
    wait_until("its pods to go", || {
        kubectl(&["-n", "site-operator", "get", "pods", "-o", "name"]).is_empty()
    });
    let said = operator.refused(&site("v2", "late", "", "{}"));
    assert!(said.contains("failed calling webhook \"defaults.fleet.example.com\""), "{said}");
    let said = operator.refused(POD);
    assert!(said.contains("failed calling webhook \"pods.fleet.example.com\""), "{said}");
    let (_, said) = operator.with_input(&["get", "sites.v1.fleet.example.com", "port"], "");
    assert!(said.contains("conversion webhook for fleet.example.com/v"), "{said}");
    assert_eq!(operator.field("site/port", "{.spec.pages.index\\.html}"), "ahoy", "what is kept is read");
    // A pod that goes is not made again: its controller says why.
    kubectl(&["delete", "pod", "-l", "site=port"]);
    wait_until("its ReplicaSet to say why", || {
        let condition = "{.items[0].status.conditions[?(@.type==\"ReplicaFailure\")].message}";
        let said =
            kubectl(&["get", "replicasets", "-l", "site=port", "-o", &format!("jsonpath={condition}")]);
        said.contains("failed calling webhook")
    });

    kubectl(&["-n", "site-operator", "scale", "deployment/site-operator", "--replicas=2"]);
    operator.wait_rolled_out();
    operator.apply(&site("v2", "late", "", "{}"));
    operator.apply(POD);
    wait_until("its pods to come back", || {
        operator.field("deployment/port", "{.status.readyReplicas}") == "1"
    });
    operator.wait_field("site/port", "{.status.readyReplicas}", "1");
    kubectl(&["delete", "sites", "--all"]);
    operator.platform.down();
}

#[test]
fn an_operator_goes_on_when_the_platform_is_killed_and_started_again() {
    let mut operator = start();
    operator.apply(&site("v2", "before", "", r#"{"pages": {"index.html": "ahoy"}}"#));
    operator.wait_field("site/before", "{.status.readyReplicas}", "1");
    operator.platform.kill();
    operator.platform.up();
    assert_eq!(operator.field("site/before", "{.spec.pages.index\\.html}"), "ahoy");
    operator.apply(&site("v1", "after", "", r#"{"page": "aboard"}"#));
    operator.wait_field("site/after", "{.status.readyReplicas}", "1");
    operator.platform.kubectl(&["delete", "sites", "--all"]);
    operator.platform.down();
}

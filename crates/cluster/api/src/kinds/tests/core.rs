//! Replication controllers, pod templates, limits and quotas.

use super::*;

fn controller(spec: Value) -> Value {
    let mut controller = deployment(json!({"selector": {"a": "b"}}));
    merge(&mut controller["spec"], spec);
    controller
}

fn limits(item: Value) -> Value {
    json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": [item]}})
}

fn quota(spec: Value) -> Value {
    json!({"metadata": {"name": "q", "namespace": "n"}, "spec": spec})
}

#[test]
fn a_replication_controller_takes_labels_and_selector_from_its_template() {
    let made = created("ReplicationController", controller(json!({"selector": {}})));
    assert_eq!(made["spec"]["selector"], json!({"a": "b"}));
    assert_eq!(made["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!((&made["spec"]["replicas"], &made["status"]), (&json!(1), &json!({"replicas": 0})));
    assert_eq!(cells("ReplicationController", &made), ["d", "1", "0", "0", "<unknown>", "c", "i", "a=b"]);
    assert_eq!(scale::of(scale::Paths::usual(), &made)["status"]["selector"], "a=b");
}

#[test]
fn faulty_replication_controllers_are_refused_as_upstream_words_it() {
    let pods = |change: Value| {
        let mut controller = controller(json!({}));
        merge(&mut controller["spec"]["template"]["spec"], change);
        controller
    };
    let mut nothing = controller(json!({}));
    set(&mut nothing, "/spec/template", Value::Null);
    let mut unlabelled = controller(json!({"selector": {}}));
    set(&mut unlabelled, "/spec/template/metadata", Value::Null);
    refused(
        "ReplicationController",
        [
            (nothing, "spec.template: Required value"),
            (unlabelled, "spec.selector: Required value"),
            (
                controller(json!({"selector": {"x": "y"}})),
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ),
            (
                controller(json!({"replicas": -1})),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                pods(json!({"restartPolicy": "Never"})),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                pods(json!({"activeDeadlineSeconds": 1})),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController is not Supported",
            ),
        ],
    );
    let made = created("ReplicationController", controller(json!({})));
    refused_change(
        "ReplicationController",
        &made,
        [(
            "/status/readyReplicas",
            json!(3),
            "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas",
        )],
    );
}

#[test]
fn pod_templates_count_their_changes() {
    let template = deployment(json!({}))["spec"]["template"].clone();
    let made =
        created("PodTemplate", json!({"metadata": {"name": "t", "namespace": "n"}, "template": template}));
    assert_eq!(made["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!(cells("PodTemplate", &made), ["t", "c", "i", "a=b"]);
    let mut new = made.clone();
    new["template"]["spec"]["containers"][0]["image"] = "i:2".into();
    (row("PodTemplate").prepare_update)(&mut new, &made);
    assert_eq!(new["metadata"]["generation"], 2);
    refused_change(
        "PodTemplate",
        &made,
        [("/template/spec/containers", json!([]), "template.spec.containers: Required value")],
    );
}

#[test]
fn what_a_container_gets_follows_from_its_bounds() {
    let made = created(
        "LimitRange",
        limits(json!({"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "1"}})),
    );
    let item = &made["spec"]["limits"][0];
    assert_eq!(item["default"], json!({"cpu": "2", "memory": "1Gi"}));
    assert_eq!(item["defaultRequest"], json!({"cpu": "2", "memory": "1Gi"}));
    let least = created("LimitRange", limits(json!({"type": "Container", "min": {"cpu": "1"}})));
    assert_eq!(least["spec"]["limits"][0].get("default"), None);
    assert_eq!(least["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "1"}));
    let of_pods = created("LimitRange", limits(json!({"type": "Pod", "max": {"cpu": "2"}})));
    assert_eq!(of_pods["spec"]["limits"][0], json!({"type": "Pod", "max": {"cpu": "2"}}));
    let mut shown = made.clone();
    shown["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(cells("LimitRange", &shown), ["l", "2026-01-01T00:00:00Z"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_limits_are_refused_as_upstream_words_it() {
    let container = |item: Value| {
        let mut of = json!({"type": "Container"});
        merge(&mut of, item);
        limits(of)
    };
    refused(
        "LimitRange",
        [
            (
                limits(json!({"type": "Node"})),
                "spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified",
            ),
            (
                json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}}),
                "spec.limits[1].type: Duplicate value: \"Pod\"",
            ),
            (
                limits(json!({"type": "Pod", "default": {"cpu": "1"}})),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                limits(json!({"type": "PersistentVolumeClaim", "max": {"x.y/z": "1"}})),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                container(json!({"max": {"storage": "1"}})),
                "spec.limits[0].max[storage]: Invalid value: \"storage\": must be a standard resource for containers",
            ),
            (
                container(json!({"min": {"cpu": "2"}, "max": {"cpu": "1"}})),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                container(json!({"min": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}})),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
            ),
            (
                container(json!({"max": {"cpu": "2"}, "defaultRequest": {"cpu": "3"}})),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater than max value 2",
            ),
            (
                container(json!({"default": {"cpu": "2"}, "defaultRequest": {"cpu": "3"}})),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater than default limit value 2",
            ),
            (
                container(json!({"max": {"cpu": "1"}, "default": {"cpu": "2"}})),
                "spec.limits[0].default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1",
            ),
            (
                container(json!({"maxLimitRequestRatio": {"cpu": "500m"}})),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ),
            (
                container(
                    json!({"min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                ),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
            (
                container(json!({"default": {"x.y/z": "2"}, "defaultRequest": {"x.y/z": "1"}})),
                "spec.limits[0].defaultRequest[x.y/z]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in x.y/z",
            ),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_quotas_are_refused_as_upstream_words_it() {
    const EXPRESSIONS: &str = "spec.scopeSelector.matchExpressions";
    let at = |rest: &str| -> &'static str { Box::leak(format!("{EXPRESSIONS}{rest}").into_boxed_str()) };
    let choosing = |expression: Value| quota(json!({"scopeSelector": {"matchExpressions": [expression]}}));
    refused(
        "ResourceQuota",
        [
            (
                quota(json!({"hard": {"storage": "1"}})),
                "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota",
            ),
            (
                quota(json!({"hard": {"bananas": "1"}})),
                "spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource type or fully qualified",
            ),
            (
                quota(json!({"hard": {"pods": "1500m"}})),
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            ),
            (
                quota(json!({"hard": {"cpu": "-1"}})),
                "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (quota(json!({"scopes": ["x"]})), "spec.scopes: Invalid value: [\"x\"]: unsupported scope"),
            (
                quota(json!({"scopes": ["BestEffort"], "hard": {"cpu": "1"}})),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                quota(json!({"scopes": ["BestEffort", "NotBestEffort"]})),
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ),
            (
                choosing(json!({"scopeName": "x", "operator": "Exists"})),
                at(".scopeName: Invalid value: \"x\": unsupported scope"),
            ),
            (
                choosing(json!({"scopeName": "PriorityClass", "operator": "In"})),
                at(
                    ".values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                ),
            ),
            (
                choosing(json!({"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]})),
                at(
                    ".values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                ),
            ),
            (
                choosing(json!({"scopeName": "Terminating", "operator": "In", "values": ["a"]})),
                at(
                    ".operator: Invalid value: \"In\": must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
                ),
            ),
            (
                choosing(json!({"scopeName": "PriorityClass", "operator": "x"})),
                at(".operator: Invalid value: \"x\": not a valid selector operator"),
            ),
        ],
    );
    let sound = quota(
        json!({"hard": {"cpu": "1", "pods": "3", "count/jobs.batch": "1", "requests.x.y/z": "1"},
        "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]}}),
    );
    let only_pods = |mut quota: Value| {
        quota["spec"]["hard"].as_object_mut().unwrap().retain(|name, _| name != "requests.x.y/z");
        quota
    };
    assert_eq!(faults("ResourceQuota", only_pods(sound)), Vec::<String>::new());
}

#[test]
fn a_quota_keeps_its_scopes_and_shows_what_is_used() {
    let mut made =
        created("ResourceQuota", quota(json!({"hard": {"pods": "2"}, "scopes": ["NotBestEffort"]})));
    assert_eq!(made["metadata"].get("generation"), None);
    refused_change(
        "ResourceQuota",
        &made,
        [(
            "/spec/scopes",
            json!(["BestEffort"]),
            "spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable",
        )],
    );
    accepted_change("ResourceQuota", &made, [("/spec/hard", json!({"pods": "3"}))]);
    made["status"] = json!({"hard": {"pods": "2", "limits.cpu": "4", "configmaps": "3"},
        "used": {"pods": "1", "limits.cpu": "500m"}});
    assert_eq!(
        cells("ResourceQuota", &made),
        ["q", "configmaps: 0/3, pods: 1/2", "limits.cpu: 500m/4", "<unknown>"]
    );
}

#[test]
fn an_event_is_selected_by_who_reported_it_whichever_field_says_so() {
    let row = table().iter().find(|row| row.kind == "Event" && row.group.is_empty()).unwrap();
    let source = |event: Value| {
        let all = (row.selectable)(&event);
        all.into_iter().find(|(name, _)| *name == "source").unwrap().1
    };
    assert_eq!(source(json!({"source": {"component": "kubelet"}, "reportingComponent": "x"})), "kubelet");
    assert_eq!(source(json!({"reportingComponent": "scheduler"})), "scheduler");
}

/// An event as a client of today writes it, but for the change.
fn event(change: Value) -> Value {
    let mut event = json!({
        "metadata": {"name": "e", "namespace": "n"}, "involvedObject": {"namespace": "n"}, "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "r", "action": "a",
        "reportingComponent": "example.com/c", "reportingInstance": "i",
    });
    merge(&mut event, change);
    event
}

/// What `events.k8s.io` finds wrong with an event.
fn later_faults(mut event: Value) -> Vec<String> {
    let later = table().iter().find(|row| row.kind == "Event" && row.group == "events.k8s.io").unwrap();
    (later.stored.unwrap().read)(&mut event);
    later.check_create(&event).iter().map(hako_kube::field::line).collect()
}

#[test]
fn an_event_says_what_both_groups_ask_for() {
    let of_all = [
        (
            json!({"eventTime": null, "involvedObject": {"namespace": "m"}}),
            "involvedObject.namespace: Invalid value: \"m\": does not match event.namespace",
        ),
        (
            json!({"involvedObject": null}),
            "involvedObject.namespace: Invalid value: \"\": does not match event.namespace",
        ),
        (
            json!({"eventTime": null, "involvedObject": null, "metadata": {"name": "e", "namespace": "kube-system"}}),
            "involvedObject.namespace: Invalid value: \"\": does not match event.namespace",
        ),
        (json!({"reportingInstance": ""}), "reportingInstance: Required value"),
        (json!({"action": null}), "action: Required value"),
        (json!({"reason": "r".repeat(129)}), "reason: Invalid value: \"\": can have at most 128 characters"),
        (
            json!({"message": "m".repeat(1025)}),
            "message: Invalid value: \"\": can have at most 1024 characters",
        ),
    ];
    for (change, fault) in of_all {
        assert_eq!(faults("Event", event(change.clone())), [fault], "{change}");
        let again = later_faults(event(change.clone()));
        assert!(again.iter().any(|told| told == fault), "{change}: {again:?}");
    }
    let nobody = faults("Event", event(json!({"reportingComponent": "a b"})));
    assert!(
        nobody.len() == 1 && nobody[0].starts_with("reportingComponent: Invalid value: \"a b\": name part"),
        "{nobody:?}"
    );
    assert_eq!(
        faults("Event", event(json!({"eventTime": null, "type": "Odd", "count": 1, "reason": ""}))),
        [""; 0]
    );
    assert_eq!(faults("Event", event(json!({"involvedObject": {"namespace": "m"}}))), [""; 0]);
}

#[test]
fn an_event_says_what_the_later_group_asks_for() {
    assert_eq!(later_faults(event(json!({}))), [""; 0]);
    for (change, fault) in [
        (json!({"eventTime": null}), "eventTime: Required value"),
        (json!({"type": "Odd"}), "type: Invalid value: \"\": has invalid value: Odd"),
        (
            json!({"firstTimestamp": "2026-01-01T00:00:00Z"}),
            "firstTimestamp: Invalid value: \"\": needs to be unset",
        ),
        (json!({"count": 1}), "count: Invalid value: \"\": needs to be unset"),
        (json!({"source": {"host": "h"}}), "source: Invalid value: \"\": needs to be unset"),
        (
            json!({"series": {"count": 1, "lastObservedTime": "x"}}),
            "series.count: Invalid value: \"\": should be at least 2",
        ),
        (json!({"series": {"count": 2}}), "series.lastObservedTime: Required value"),
    ] {
        assert_eq!(later_faults(event(change.clone())), [fault], "{change}");
    }
}

#[test]
fn a_status_is_written_with_metadata_where_upstream_takes_it() {
    let part = crate::kinds::PartWrite { name: "status", now: "" };
    let metadata = |mark: &str| {
        json!({"name": "a", "uid": mark, "labels": {"of": mark}, "annotations": {"of": mark},
            "finalizers": [format!("x/{mark}")], "ownerReferences": [{"uid": mark}]})
    };
    for (kind, taken) in [
        ("Ingress", &["annotations", "finalizers", "labels", "ownerReferences"][..]),
        ("Node", &["annotations", "finalizers", "labels", "ownerReferences"]),
        ("CertificateSigningRequest", &["annotations", "finalizers", "labels", "ownerReferences"]),
        ("Deployment", &["annotations", "finalizers", "ownerReferences"]),
        ("Pod", &["annotations", "finalizers", "labels"]),
        ("CustomResourceDefinition", &[]),
        ("VolumeAttachment", &[]),
        ("FlowSchema", &[]),
        ("ResourceClaim", &[]),
        ("APIService", &[]),
    ] {
        let old = json!({"metadata": metadata("old"), "spec": {"a": 1}, "status": {}});
        let mut new = json!({"metadata": metadata("new"), "spec": {"a": 2}, "status": {"b": 1}});
        let sent = new.clone();
        (row(kind).prepare_part)(&mut new, &old, &part);
        assert_eq!((&new["spec"], &new["status"]["b"]), (&old["spec"], &json!(1)), "{kind}");
        for name in ["annotations", "finalizers", "labels", "ownerReferences", "uid"] {
            let expected = if taken.contains(&name) { &sent } else { &old };
            assert_eq!(new["metadata"][name], expected["metadata"][name], "{kind} {name}");
        }
    }
}

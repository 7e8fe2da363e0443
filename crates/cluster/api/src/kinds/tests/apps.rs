//! Stateful sets, daemon sets and the revisions of both.

use super::*;

fn stateful_set(spec: Value) -> Value {
    let mut set = deployment(json!({"serviceName": "web"}));
    merge(&mut set["spec"], spec);
    set
}

fn daemon_set(spec: Value) -> Value {
    deployment(spec)
}

fn rolling(rolling: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})
}

fn template(pod: Value) -> Value {
    let mut template = deployment(json!({}))["spec"]["template"].clone();
    merge(&mut template["spec"], pod);
    json!({ "template": template })
}

#[test]
fn stateful_sets_are_defaulted_as_upstream_defaults_them() {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let made = created("StatefulSet", stateful_set(json!({"volumeClaimTemplates": [claim]})));
    let spec = &made["spec"];
    for (name, value) in [
        ("replicas", json!(1)),
        ("revisionHistoryLimit", json!(10)),
        ("podManagementPolicy", json!("OrderedReady")),
        (
            "updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}),
        ),
        ("persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
    ] {
        assert_eq!(spec[name], value, "{name}");
    }
    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!((&claim["kind"], &claim["apiVersion"]), (&json!("PersistentVolumeClaim"), &json!("v1")));
    assert_eq!(
        (&claim["spec"]["volumeMode"], &claim["status"]["phase"]),
        (&json!("Filesystem"), &json!("Pending"))
    );
    assert_eq!(made["status"], json!({"availableReplicas": 0, "replicas": 0}));
    assert_eq!(made["metadata"]["generation"], 1);
    let by_hand = created("StatefulSet", stateful_set(json!({"updateStrategy": {"type": "OnDelete"}})));
    assert_eq!(by_hand["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_stateful_sets_are_refused_as_upstream_words_it() {
    let mut named = stateful_set(json!({}));
    named["metadata"]["name"] = "a.b".into();
    assert!(
        faults("StatefulSet", named)[0]
            .starts_with("metadata.name: Invalid value: \"a.b\": must not contain dots")
    );
    refused(
        "StatefulSet",
        [
            (
                stateful_set(json!({"podManagementPolicy": "x"})),
                "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                stateful_set(
                    json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
                ),
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
            ),
            (
                stateful_set(json!({"updateStrategy": {"type": "x"}})),
                "spec.updateStrategy: Invalid value: {\"type\":\"x\"}: must be 'RollingUpdate' or 'OnDelete'",
            ),
            (
                stateful_set(rolling(json!({"partition": -1}))),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                stateful_set(rolling(json!({"maxUnavailable": 0}))),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
            ),
            (
                stateful_set(rolling(json!({"maxUnavailable": "101%"}))),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                stateful_set(rolling(json!({"maxUnavailable": "x"}))),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            (
                stateful_set(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "x"}})),
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"x\": supported values: \"Retain\", \"Delete\"",
            ),
            (
                stateful_set(json!({"replicas": -1})),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                stateful_set(json!({"ordinals": {"start": -1}})),
                "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                stateful_set(json!({"selector": {}})),
                "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
            ),
            (
                stateful_set(json!({"selector": {"matchLabels": {"x": "y"}}})),
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ),
            (
                stateful_set(template(json!({"activeDeadlineSeconds": 1}))),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
            ),
            (
                stateful_set(template(json!({"restartPolicy": "Never"}))),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
        ],
    );
}

#[test]
fn the_claims_of_a_stateful_set_are_volumes_of_its_pods() {
    let mounting = |claim: &str| {
        let container =
            json!({"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]});
        let mut set = stateful_set(template(json!({"containers": [container]})));
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": claim}, "spec": {}}]);
        faults("StatefulSet", set)
    };
    assert_eq!(mounting("data"), Vec::<String>::new());
    assert_eq!(
        mounting("other"),
        ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""]
    );
}

#[test]
fn of_a_stateful_set_only_some_fields_change() {
    const FIXED: &str = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    let made = created("StatefulSet", stateful_set(json!({})));
    accepted_change(
        "StatefulSet",
        &made,
        [
            ("/spec/replicas", json!(3)),
            ("/spec/minReadySeconds", json!(3)),
            ("/spec/ordinals", json!({"start": 3})),
            ("/spec/revisionHistoryLimit", json!(3)),
            ("/spec/updateStrategy", json!({"type": "OnDelete"})),
            ("/spec/template/spec/containers/0/image", json!("i:2")),
            ("/spec/persistentVolumeClaimRetentionPolicy/whenScaled", json!("Delete")),
        ],
    );
    refused_change(
        "StatefulSet",
        &made,
        [
            ("/spec/serviceName", json!("other"), FIXED),
            ("/spec/podManagementPolicy", json!("Parallel"), FIXED),
            ("/spec/volumeClaimTemplates", json!([{"metadata": {"name": "x"}}]), FIXED),
        ],
    );
}

#[test]
fn the_status_of_a_stateful_set_adds_up() {
    let mut made = created("StatefulSet", stateful_set(json!({})));
    made["status"] = json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "collisionCount": 2});
    refused_change(
        "StatefulSet",
        &made,
        [
            (
                "/status/readyReplicas",
                json!(3),
                "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas",
            ),
            (
                "/status/readyReplicas",
                json!(1),
                "status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas",
            ),
            (
                "/status/collisionCount",
                json!(1),
                "status.collisionCount: Invalid value: 1: cannot be decremented",
            ),
            (
                "/status/replicas",
                json!(-1),
                "status.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    );
}

#[test]
fn daemon_sets_are_defaulted_and_count_their_templates() {
    let made = created("DaemonSet", daemon_set(json!({"replicas": null})));
    assert_eq!(
        made["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    );
    assert_eq!(made["spec"]["revisionHistoryLimit"], 10);
    let counted = |object: &Value| {
        let annotation =
            object["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
        (annotation, object["metadata"]["generation"].clone())
    };
    assert_eq!(counted(&made), (json!("1"), json!(1)));
    let mut scaled = made.clone();
    scaled["spec"]["minReadySeconds"] = json!(3);
    scaled["metadata"]["annotations"] = json!({});
    (row("DaemonSet").prepare_update)(&mut scaled, &made);
    assert_eq!(counted(&scaled), (json!("1"), json!(2)));
    let mut changed = scaled.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2".into();
    (row("DaemonSet").prepare_update)(&mut changed, &scaled);
    assert_eq!(counted(&changed), (json!("2"), json!(3)));
}

#[test]
fn faulty_daemon_sets_are_refused_as_upstream_words_it() {
    refused(
        "DaemonSet",
        [
            (
                daemon_set(rolling(json!({"maxUnavailable": 1, "maxSurge": 1}))),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ),
            (
                daemon_set(rolling(json!({"maxUnavailable": "0%", "maxSurge": 0}))),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ),
            (
                daemon_set(rolling(json!({"maxUnavailable": 0, "maxSurge": "200%"}))),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"200%\": must not be greater than 100%",
            ),
            (
                daemon_set(json!({"updateStrategy": {"type": "x"}})),
                "spec.updateStrategy: Unsupported value: {\"type\":\"x\"}: supported values: \"RollingUpdate\", \"OnDelete\"",
            ),
            (
                daemon_set(json!({"selector": {}})),
                "spec.selector: Invalid value: {}: empty selector is invalid for daemonset",
            ),
            (
                daemon_set(template(json!({"activeDeadlineSeconds": 1}))),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
            ),
            (
                daemon_set(template(json!({"ephemeralContainers": [{"name": "e", "image": "i"}]}))),
                "spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
            ),
            (
                daemon_set(json!({"revisionHistoryLimit": -1})),
                "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    );
    let made = created("DaemonSet", daemon_set(json!({})));
    refused_change(
        "DaemonSet",
        &made,
        [
            (
                "/spec/selector",
                json!({"matchLabels": {"c": "d"}}),
                "spec.selector: Invalid value: {\"matchLabels\":{\"c\":\"d\"}}: field is immutable",
            ),
            (
                "/status/numberReady",
                json!(-1),
                "status.numberReady: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    );
}

#[test]
fn revisions_keep_their_data() {
    let revision = |data: Value| {
        json!({"metadata": {"name": "r", "namespace": "n", "ownerReferences": [{"apiVersion": "apps/v1",
            "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}]}, "revision": 3, "data": data})
    };
    let made = created("ControllerRevision", revision(json!({"a": 1})));
    assert_eq!(cells("ControllerRevision", &made), ["r", "statefulset.apps/web", "3", "<unknown>"]);
    assert_eq!(made.get("status"), None);
    refused_change(
        "ControllerRevision",
        &made,
        [
            ("/data", json!({"a": 2}), "data: Invalid value: {\"a\":2}: field is immutable"),
            ("/data", Value::Null, "data: Required value: data is mandatory"),
            ("/revision", json!(-1), "revision: Invalid value: -1: must be greater than or equal to 0"),
        ],
    );
    accepted_change("ControllerRevision", &made, [("/revision", json!(4))]);
}

#[test]
fn the_sets_print_as_kubectl_shows_them() {
    let mut made = created("StatefulSet", stateful_set(json!({"replicas": 3})));
    made["status"]["readyReplicas"] = 2.into();
    assert_eq!(cells("StatefulSet", &made), ["d", "2/3", "<unknown>", "c", "i"]);
    let mut made = created("DaemonSet", daemon_set(template(json!({"nodeSelector": {"a": "b"}}))));
    made["status"] = json!({"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
        "updatedNumberScheduled": 2, "numberAvailable": 1});
    assert_eq!(
        cells("DaemonSet", &made),
        ["d", "5", "4", "3", "2", "1", "a=b", "<unknown>", "c", "i", "a=b"]
    );
}

#[test]
fn a_stateful_set_scales() {
    let mut made = created("StatefulSet", stateful_set(json!({"replicas": 3})));
    assert_eq!(scale::of(scale::Paths::usual(), &made)["spec"]["replicas"], 3);
    scale::apply(scale::Paths::usual(), &mut made, &json!({"spec": {"replicas": 7}})).unwrap();
    assert_eq!(made["spec"]["replicas"], 7);
}

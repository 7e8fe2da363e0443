//! Volumes and claims.

use super::*;

fn volume(spec: Value) -> Value {
    let mut volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}});
    merge(&mut volume["spec"], spec);
    volume
}

fn sourced(source: Value) -> Value {
    let mut volume = volume(source);
    set(&mut volume, "/spec/hostPath", Value::Null);
    volume
}

fn claim(spec: Value) -> Value {
    let mut claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    merge(&mut claim["spec"], spec);
    claim
}

#[test]
fn volumes_and_claims_are_defaulted_as_upstream_defaults_them() {
    let mut sent = volume(json!({}));
    sent["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let made = created("PersistentVolume", sent);
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(made["spec"]["volumeMode"], "Filesystem");
    assert_eq!(made["spec"]["hostPath"]["type"], "");
    assert_eq!(
        made["status"],
        json!({"phase": "Pending", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"})
    );
    let made = created("PersistentVolumeClaim", claim(json!({})));
    assert_eq!(
        (&made["spec"]["volumeMode"], &made["status"]),
        (&json!("Filesystem"), &json!({"phase": "Pending"}))
    );
    assert_eq!(made["metadata"].get("generation"), None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_volumes_are_refused_as_upstream_words_it() {
    let local = json!({"local": {"path": "/disk"}});
    let csi = |csi: Value| sourced(json!({ "csi": csi }));
    refused(
        "PersistentVolume",
        [
            (volume(json!({"accessModes": []})), "spec.accessModes: Required value"),
            (
                volume(json!({"accessModes": ["x"]})),
                "spec.accessModes: Unsupported value: \"x\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ),
            (
                volume(json!({"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]})),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (volume(json!({"capacity": {}})), "spec.capacity: Required value"),
            (
                volume(json!({"capacity": {"cpu": "1"}})),
                "spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\"",
            ),
            (
                volume(json!({"capacity": {"storage": "0"}})),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                volume(json!({"persistentVolumeReclaimPolicy": "x"})),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"x\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
            ),
            (
                volume(json!({"persistentVolumeReclaimPolicy": "Recycle", "hostPath": {"path": "/"}})),
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ),
            (sourced(json!({})), "spec: Required value: must specify a volume type"),
            (
                volume(json!({"nfs": {"server": "s", "path": "/"}})),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (sourced(json!({"nfs": {"path": "/"}})), "spec.nfs.server: Required value"),
            (
                sourced(json!({"nfs": {"server": "s", "path": "x"}})),
                "spec.nfs.path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                volume(json!({"hostPath": {"path": "/a/../b"}})),
                "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            ),
            (sourced(local), "spec.nodeAffinity: Required value: Local volume requires node affinity"),
            (
                volume(json!({"nodeAffinity": {}})),
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
            ),
            (
                volume(json!({"nodeAffinity": {"required": {"nodeSelectorTerms": []}}})),
                "spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term",
            ),
            (csi(json!({"volumeHandle": "h"})), "spec.csi.driver: Required value"),
            (csi(json!({"driver": "d.io"})), "spec.csi.volumeHandle: Required value"),
            (
                csi(json!({"driver": "d.io", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}})),
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ),
            (
                volume(json!({"volumeAttributesClassName": "gold"})),
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ),
            (
                volume(json!({"volumeMode": "x"})),
                "spec.volumeMode: Unsupported value: \"x\": supported values: \"Block\", \"Filesystem\"",
            ),
        ],
    );
}

#[test]
fn a_volume_stays_where_it_is() {
    const SOURCE: &str = r#"spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
@@ -2,7 +2,7 @@
  "GCEPersistentDisk": null,
  "AWSElasticBlockStore": null,
  "HostPath": {
-  "Path": "/other",
+  "Path": "/data",
   "Type": ""
  },
  "Glusterfs": null,
"#;
    let made = created("PersistentVolume", volume(json!({})));
    refused_change(
        "PersistentVolume",
        &made,
        [
            ("/spec/hostPath/path", json!("/other"), SOURCE),
            ("/spec/volumeMode", json!("Block"), "volumeMode: Invalid value: \"Block\": field is immutable"),
        ],
    );
    let terms = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}});
    accepted_change(
        "PersistentVolume",
        &made,
        [
            ("/spec/nodeAffinity", terms),
            ("/spec/capacity/storage", json!("2Gi")),
            ("/spec/claimRef", json!({"name": "c", "namespace": "n"})),
            ("/spec/persistentVolumeReclaimPolicy", json!("Delete")),
        ],
    );
    let csi = json!({"csi": {"driver": "d.io", "volumeHandle": "h"}, "volumeAttributesClassName": "gold"});
    let made = created("PersistentVolume", sourced(csi));
    accepted_change(
        "PersistentVolume",
        &made,
        [("/spec/csi/controllerExpandSecretRef", json!({"name": "s", "namespace": "n"}))],
    );
    let mut new = made.clone();
    new["spec"]["csi"]["volumeHandle"] = "other".into();
    let told = "  \"Driver\": \"d.io\",\n-  \"VolumeHandle\": \"other\",\n+  \"VolumeHandle\": \"h\",\n   \"ReadOnly\": false,\n";
    assert!(update_faults("PersistentVolume", &made, &new)[0].contains(told));
    refused_change(
        "PersistentVolume",
        &made,
        [(
            "/spec/volumeAttributesClassName",
            Value::Null,
            "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden",
        )],
    );
}

#[test]
fn faulty_claims_are_refused_as_upstream_words_it() {
    refused(
        "PersistentVolumeClaim",
        [
            (
                claim(json!({"accessModes": []})),
                "spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (claim(json!({"resources": {}})), "spec.resources[storage]: Required value"),
            (
                claim(json!({"resources": {"requests": {"storage": "0"}}})),
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                claim(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "x"}]}})),
                "spec.selector.matchExpressions[0].operator: Invalid value: \"x\": not a valid selector operator",
            ),
            (
                claim(json!({"dataSource": {"kind": "Pod", "name": "p"}})),
                "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ),
            (
                claim(json!({"dataSource": {"kind": "PersistentVolumeClaim"}})),
                "spec.dataSource.name: Required value",
            ),
            (
                claim(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                    "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}})),
                "spec: Invalid value: \"spec.dataSource\": must match dataSourceRef",
            ),
            (
                claim(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                    "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "m"}})),
                "spec: Invalid value: \"spec.dataSource\": may not be specified when dataSourceRef.namespace is specified",
            ),
        ],
    );
}

#[test]
fn a_source_of_data_has_both_its_names() {
    let source = json!({"kind": "PersistentVolumeClaim", "name": "a"});
    for name in ["dataSource", "dataSourceRef"] {
        let made = created("PersistentVolumeClaim", claim(json!({ name: source })));
        assert_eq!((&made["spec"]["dataSource"], &made["spec"]["dataSourceRef"]), (&source, &source));
    }
    let elsewhere = json!({"kind": "PersistentVolumeClaim", "name": "a", "namespace": "m"});
    let made = created("PersistentVolumeClaim", claim(json!({ "dataSourceRef": elsewhere })));
    assert_eq!(made["spec"].get("dataSource"), None);
}

const SIZE: &str = "/spec/resources/requests/storage";

/// What is told of a change of a claim that may not be.
fn told(difference: &str) -> &'static str {
    const FIXED: &str = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    Box::leak(format!("{FIXED}\n{difference}").into_boxed_str())
}

#[test]
fn an_unbound_claim_does_not_grow() {
    let made = created("PersistentVolumeClaim", claim(json!({})));
    refused_change(
        "PersistentVolumeClaim",
        &made,
        [
            (
                SIZE,
                json!("2Gi"),
                told(
                    "@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n   \"Requests\": {\n-   \"storage\": \"2Gi\"\n\
                     +   \"storage\": \"1Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n",
                ),
            ),
            (
                "/spec/accessModes",
                json!(["ReadWriteMany"]),
                told(
                    "@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteMany\"\n+  \"ReadWriteOnce\"\n  ],\n  \"Selector\": null,\n  \"Resources\": {\n",
                ),
            ),
        ],
    );
    accepted_change(
        "PersistentVolumeClaim",
        &made,
        [("/spec/volumeName", json!("v")), ("/spec/storageClassName", json!("fast"))],
    );
}

#[test]
fn a_bound_claim_grows_and_keeps_the_rest() {
    let mut bound =
        created("PersistentVolumeClaim", claim(json!({"volumeName": "v", "storageClassName": "fast"})));
    bound["spec"]["volumeAttributesClassName"] = "gold".into();
    bound["spec"]["resources"]["requests"]["storage"] = "3Gi".into();
    bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    accepted_change(
        "PersistentVolumeClaim",
        &bound,
        [(SIZE, json!("4Gi")), (SIZE, json!("2Gi")), ("/spec/volumeAttributesClassName", json!("silver"))],
    );
    refused_change(
        "PersistentVolumeClaim",
        &bound,
        [
            (
                SIZE,
                json!("1Gi"),
                "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
            ),
            (
                "/spec/volumeName",
                json!("w"),
                told(
                    "@@ -9,7 +9,7 @@\n    \"storage\": \"3Gi\"\n   }\n  },\n- \"VolumeName\": \"w\",\n+ \"VolumeName\": \"v\",\n  \
                     \"StorageClassName\": \"fast\",\n  \"VolumeMode\": \"Filesystem\",\n  \"DataSource\": null,\n",
                ),
            ),
            (
                "/spec/storageClassName",
                json!("slow"),
                told(
                    "@@ -10,7 +10,7 @@\n   }\n  },\n  \"VolumeName\": \"v\",\n- \"StorageClassName\": \"slow\",\n+ \"StorageClassName\": \"fast\",\n  \
                     \"VolumeMode\": \"Filesystem\",\n  \"DataSource\": null,\n  \"DataSourceRef\": null,\n",
                ),
            ),
            ("/spec/volumeMode", json!("Block"), "volumeMode: Invalid value: \"Block\": field is immutable"),
            (
                "/spec/volumeAttributesClassName",
                json!(""),
                "spec.volumeAttributesClassName: Forbidden: update from non-nil value to an empty string is forbidden",
            ),
            (
                "/status/allocatedResources",
                json!({"cpu": "1"}),
                "status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\"",
            ),
        ],
    );
}

#[test]
fn volumes_and_claims_print_as_kubectl_shows_them() {
    let mut made = created(
        "PersistentVolume",
        volume(
            json!({"accessModes": ["ReadWriteMany", "ReadWriteOnce"], "claimRef": {"namespace": "n", "name": "c"},
            "storageClassName": "fast"}),
        ),
    );
    made["status"]["phase"] = "Bound".into();
    assert_eq!(
        cells("PersistentVolume", &made),
        ["v", "1Gi", "RWO,RWX", "Retain", "Bound", "n/c", "fast", "<unset>", "", "<unknown>", "Filesystem"]
    );
    let mut made = created("PersistentVolumeClaim", claim(json!({})));
    assert_eq!(
        cells("PersistentVolumeClaim", &made),
        ["c", "Pending", "", "", "", "", "<unset>", "<unknown>", "Filesystem"]
    );
    made["spec"]["volumeName"] = "v".into();
    made["status"] =
        json!({"phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOncePod"]});
    assert_eq!(cells("PersistentVolumeClaim", &made)[1..5], ["Bound", "v", "2Gi", "RWOP"]);
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(cells("PersistentVolumeClaim", &made)[1], "Terminating");
}

//! Volumes of every source, and where they appear in containers.

use super::*;

fn volume(source: Value) -> Value {
    let mut volume = json!({"name": "v"});
    merge(&mut volume, source);
    pod(json!({"volumes": [volume]}))
}

fn mounted(mount: Value, source: Value) -> Value {
    let mut one = json!({"name": "v", "mountPath": "/v"});
    merge(&mut one, mount);
    let mut pod = container(json!({"volumeMounts": [one]}));
    pod["spec"]["volumes"] = volume(source)["spec"]["volumes"].clone();
    pod
}

/// The faults of a volume's source, each path from the volume on.
fn refused(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (source, expected) in cases {
        let lines: Vec<String> =
            expected.split(" | ").map(|line| format!("spec.volumes[0].{line}")).collect();
        assert_eq!(faults("Pod", volume(source)), lines);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_sources_are_refused_as_upstream_words_them() {
    refused([
        (
            json!({"emptyDir": {"sizeLimit": "-1"}}),
            "emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (json!({"hostPath": {"path": ""}}), "hostPath.path: Required value"),
        (
            json!({"hostPath": {"path": "/a/.."}}),
            "hostPath.path: Invalid value: \"/a/..\": must not contain '..'",
        ),
        (
            json!({"hostPath": {"path": "/a", "type": "x"}}),
            "hostPath.type: Unsupported value: \"x\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ),
        (json!({"gitRepo": {"repository": ""}}), "gitRepo.repository: Required value"),
        (
            json!({"gitRepo": {"repository": "r", "directory": "/d"}}),
            "gitRepo.directory: Invalid value: \"/d\": must be a relative path",
        ),
        (json!({"gcePersistentDisk": {"pdName": ""}}), "persistentDisk.pdName: Required value"),
        (
            json!({"awsElasticBlockStore": {"volumeID": "a", "partition": 256}}),
            "awsElasticBlockStore.partition: Invalid value: 256: must be between 1 and 255, inclusive",
        ),
        (
            json!({"secret": {"secretName": "s", "defaultMode": 512, "items": [{"key": "", "path": "..a"}]}}),
            "secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive | secret.items[0].key: Required value | secret.items[0].path: Invalid value: \"..a\": must not start with '..'",
        ),
        (json!({"configMap": {}}), "configMap.name: Required value"),
        (
            json!({"nfs": {"server": "s", "path": "a"}}),
            "nfs.path: Invalid value: \"a\": must be an absolute path",
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 0}}),
            "iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2015-02.e.com:a", "lun": 256, "chapAuthSession": true}}),
            "iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive | iscsi.secretRef: Required value",
        ),
        (json!({"glusterfs": {"endpoints": "e", "path": ""}}), "glusterfs.path: Required value"),
        (json!({"flocker": {}}), "flocker: Required value: one of datasetName and datasetUUID is required"),
        (
            json!({"flocker": {"datasetName": "a/b"}}),
            "flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
        ),
        (
            json!({"persistentVolumeClaim": {"claimName": ""}}),
            "persistentVolumeClaim.claimName: Required value",
        ),
        (json!({"rbd": {"monitors": [], "image": "i"}}), "rbd.monitors: Required value"),
        (json!({"cinder": {"volumeID": "v", "secretRef": {}}}), "cinder.secretRef.name: Required value"),
        (json!({"cephfs": {"monitors": []}}), "cephfs.monitors: Required value"),
        (
            json!({"quobyte": {"registry": "", "volume": "v"}}),
            "quobyte.registry: Required value: must be a host:port pair or multiple pairs separated by commas",
        ),
        (
            json!({"quobyte": {"registry": "a:1,b", "volume": "v"}}),
            "quobyte.registry: Invalid value: \"a:1,b\": must be a host:port pair or multiple pairs separated by commas",
        ),
        (
            json!({"fc": {}}),
            "fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both",
        ),
        (
            json!({"fc": {"targetWWNs": ["a"]}}),
            "fc.lun: Required value: lun is required if targetWWNs is specified",
        ),
        (
            json!({"flexVolume": {"driver": "d", "options": {"a.k8s.io/x": "y"}}}),
            "flexVolume.options[a.k8s.io/x]: Invalid value: \"a.k8s.io/x\": kubernetes.io and k8s.io namespaces are reserved",
        ),
        (json!({"azureFile": {"secretName": "s", "shareName": ""}}), "azureFile.shareName: Required value"),
        (
            json!({"azureDisk": {"diskName": "d", "diskURI": "x", "kind": "Managed"}}),
            "azureDisk.diskURI: Unsupported value: \"x\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
        ),
        (json!({"storageos": {}}), "storageos.volumeName: Required value"),
        (
            json!({"scaleIO": {"gateway": "g", "system": "s", "secretRef": {}}}),
            "scaleIO.volumeName: Required value",
        ),
        (
            json!({"csi": {"driver": "d.io", "nodePublishSecretRef": {}}}),
            "csi.nodePublishSecretRef.name: Required value",
        ),
        (json!({"image": {}}), "image.reference: Required value"),
        (
            json!({"image": {"reference": "i", "pullPolicy": "x"}}),
            "image.pullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (json!({"ephemeral": {}}), "ephemeral.volumeClaimTemplate: Required value"),
        (
            json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"]}}}}),
            "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set | ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ),
    ]);
}

#[test]
fn the_second_source_of_a_volume_is_the_one_refused() {
    refused([
        (
            json!({"secret": {"secretName": "s"}, "configMap": {"name": "c"}, "emptyDir": {}}),
            "secret: Forbidden: may not specify more than 1 volume type | configMap: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!({"cephfs": {"monitors": ["m"]}, "emptyDir": {}}),
            "cephFS: Forbidden: may not specify more than 1 volume type",
        ),
    ]);
    let twice = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]});
    refused_exactly([(pod(twice), &["spec.volumes[1].name: Duplicate value: \"v\""][..])]);
}

#[test]
fn a_claim_that_a_pod_makes_is_not_one_that_it_finds() {
    let template =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}});
    let made = json!({"volumes": [{"name": "a", "ephemeral": {"volumeClaimTemplate": template}},
        {"name": "b", "persistentVolumeClaim": {"claimName": "p-a"}}]});
    refused_exactly([(
        pod(made),
        &[
            "spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"p-a\": must not reference a PVC that gets created for an ephemeral volume",
        ][..],
    )]);
}

#[test]
fn faulty_files_about_the_pod_are_refused_as_upstream_words_them() {
    let file = |item: Value| json!({"downwardAPI": {"items": [item]}});
    refused([
        (
            file(json!({"path": "a"})),
            "downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            file(json!({"path": "/a", "fieldRef": {"fieldPath": "metadata.name"}})),
            "downwardAPI.path: Invalid value: \"/a\": must be a relative path",
        ),
        (
            file(json!({"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}})),
            "downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
        ),
        (
            file(json!({"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}})),
            "downwardAPI.resourceFieldRef.containerName: Required value",
        ),
    ]);
}

#[test]
fn faulty_projections_are_refused_as_upstream_words_them() {
    let from = |sources: Value| json!({"projected": { "sources": sources }});
    let items = json!([{"key": "k", "path": "a"}]);
    refused([
        (
            from(
                json!([{"secret": {"name": "s", "items": items}}, {"configMap": {"name": "c", "items": items}}]),
            ),
            "projected: Invalid value: \"c\": conflicting duplicate paths",
        ),
        (
            from(json!([{"secret": {"name": "s"}, "configMap": {"name": "c"}}])),
            "projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
        ),
        (
            from(json!([{"serviceAccountToken": {"path": "t", "expirationSeconds": 599}}])),
            "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes | projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
        ),
        (
            from(json!([{"clusterTrustBundle": {"path": "t"}}])),
            "projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified",
        ),
    ]);
    sound(volume(from(json!([]))));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn mounts_and_devices_are_told_apart() {
    let empty = || json!({"emptyDir": {}});
    refused_exactly([
        (
            mounted(json!({"subPath": "/a"}), empty()),
            &["spec.containers[0].volumeMounts.subPath: Invalid value: \"/a\": must be a relative path"][..],
        ),
        (
            mounted(json!({"subPath": "a", "subPathExpr": "b"}), empty()),
            &[
                "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive",
            ],
        ),
        (
            mounted(json!({"mountPropagation": "Bidirectional"}), empty()),
            &[
                "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            mounted(json!({"mountPropagation": "x"}), empty()),
            &[
                "spec.containers[0].volumeMounts.mountPropagation: Unsupported value: \"x\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
            ],
        ),
        (
            mounted(json!({"recursiveReadOnly": "Enabled"}), empty()),
            &[
                "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
            ],
        ),
    ]);
    let device = |device: Value, source: Value| {
        let mut pod = container(json!({"volumeDevices": [device]}));
        pod["spec"]["volumes"] = volume(source)["spec"]["volumes"].clone();
        pod
    };
    let claimed = || json!({"persistentVolumeClaim": {"claimName": "c"}});
    let both = {
        let mut pod = mounted(json!({}), claimed());
        pod["spec"]["containers"][0]["volumeDevices"] = json!([{"name": "v", "devicePath": "/d"}]);
        pod
    };
    refused_exactly([
        (
            device(json!({"name": "v", "devicePath": "/d"}), empty()),
            &[
                "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ][..],
        ),
        (
            device(json!({"name": "w", "devicePath": "/d"}), claimed()),
            &["spec.containers[0].volumeDevices[0].name: Not found: \"w\""],
        ),
        (
            device(json!({"name": "v", "devicePath": "/d/.."}), claimed()),
            &[
                "spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/d/..\": can not contain backsteps ('..')",
            ],
        ),
        (
            both,
            &[
                "spec.containers[0].volumeMounts[0].name: Invalid value: \"v\": must not already exist in volumeDevices",
                "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": must not already exist in volumeMounts",
            ],
        ),
    ]);
    sound(device(json!({"name": "v", "devicePath": "/d"}), claimed()));
}

//! The kinds of storage.k8s.io.

use super::samples::{changed, refused, sample};
use super::*;

fn made(kind: &str) -> Value {
    created(kind, sample(kind))
}

#[test]
fn storage_is_defaulted_as_upstream_defaults_it() {
    let class = created("StorageClass", json!({"metadata": {"name": "c"}, "provisioner": "p"}));
    assert_eq!(class["reclaimPolicy"], "Delete");
    assert_eq!(class["volumeBindingMode"], "Immediate");
    let driver = created("CSIDriver", json!({"metadata": {"name": "d"}, "spec": {}}));
    assert_eq!(
        driver["spec"],
        json!({"attachRequired": true, "fsGroupPolicy": "ReadWriteOnceWithFSType", "podInfoOnMount": false,
            "storageCapacity": false, "requiresRepublish": false, "seLinuxMount": false,
            "volumeLifecycleModes": ["Persistent"]})
    );
    assert_eq!(made("VolumeAttachment")["status"], json!({"attached": false}));
}

#[test]
fn faulty_classes_are_refused_as_upstream_words_it() {
    refused(
        "StorageClass",
        [
            ("provisioner", json!(""), "provisioner: Required value"),
            (
                "reclaimPolicy",
                json!("Recycle"),
                "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
            ),
            (
                "volumeBindingMode",
                json!("x"),
                "volumeBindingMode: Unsupported value: \"x\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
            ),
            ("parameters", json!({"": "x"}), "parameters: Invalid value: \"\": field can not be empty."),
            (
                "allowedTopologies.0.matchLabelExpressions.0.values",
                json!([]),
                "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            ),
            (
                "allowedTopologies.0.matchLabelExpressions.0.values",
                json!(["a", "a"]),
                "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
            ),
        ],
    );
    refused(
        "VolumeAttributesClass",
        [
            ("driverName", json!(""), "driverName: Required value"),
            ("parameters", json!({}), "parameters: Required value: must contain at least one key/value pair"),
        ],
    );
}

#[test]
fn classes_keep_what_they_mean() {
    refused_change(
        "StorageClass",
        &made("StorageClass"),
        [
            ("/parameters", json!({}), "parameters: Forbidden: updates to parameters are forbidden."),
            ("/provisioner", json!("q"), "provisioner: Forbidden: updates to provisioner are forbidden."),
            (
                "/reclaimPolicy",
                json!("Retain"),
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
            ),
            (
                "/volumeBindingMode",
                json!("WaitForFirstConsumer"),
                "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ),
        ],
    );
    accepted_change("StorageClass", &made("StorageClass"), [("/allowVolumeExpansion", json!(false))]);
    refused_change(
        "VolumeAttributesClass",
        &made("VolumeAttributesClass"),
        [
            ("/driverName", json!("other.io"), "driverName: Forbidden: updates to driverName are forbidden."),
            ("/parameters", json!({"a": "b"}), "parameters: Forbidden: updates to parameters are forbidden."),
        ],
    );
}

#[test]
fn faulty_attachments_are_refused_as_upstream_words_it() {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let source =
        |kind: &str| -> &'static str { Box::leak(format!("spec.source: {kind}: {ONE}").into_boxed_str()) };
    let inline =
        json!({"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, "capacity": {"storage": "1"}});
    refused(
        "VolumeAttachment",
        [
            ("spec.attacher", json!(""), "spec.attacher: Required value"),
            ("spec.source", json!({}), source("Required value")),
            (
                "spec.source",
                json!({"persistentVolumeName": "a", "inlineVolumeSpec": inline}),
                source("Forbidden"),
            ),
            (
                "spec.source",
                json!({ "inlineVolumeSpec": inline }),
                "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
            ),
            (
                "spec.source",
                json!({ "inlineVolumeSpec": inline }),
                "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
            ),
        ],
    );
    let made = made("VolumeAttachment");
    let mut new = made.clone();
    new["spec"]["nodeName"] = "other".into();
    assert!(update_faults("VolumeAttachment", &made, &new)[0].ends_with("field is immutable"));
    refused_change(
        "VolumeAttachment",
        &made,
        [(
            "/status/attachError",
            json!({"message": "x".repeat(1025)}),
            "status.attachError.message: Too long: may not be more than 262144 bytes",
        )],
    );
}

#[test]
fn faulty_drivers_are_refused_as_upstream_words_it() {
    refused(
        "CSIDriver",
        [
            (
                "spec.fsGroupPolicy",
                json!("x"),
                "spec.fsGroupPolicy: Unsupported value: \"x\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
            ),
            (
                "spec.volumeLifecycleModes",
                json!(["x"]),
                "spec.volumeLifecycleModes: Unsupported value: \"x\": supported values: \"Persistent\", \"Ephemeral\"",
            ),
            (
                "spec.tokenRequests.0.expirationSeconds",
                json!(1),
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            ),
            (
                "spec.tokenRequests",
                json!([{"audience": "a"}, {"audience": "a"}]),
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ),
        ],
    );
    let driver = made("CSIDriver");
    refused_change(
        "CSIDriver",
        &driver,
        [
            (
                "/spec/attachRequired",
                json!(false),
                "spec.attachedRequired: Invalid value: false: field is immutable",
            ),
            (
                "/spec/volumeLifecycleModes",
                json!(["Ephemeral"]),
                "spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable",
            ),
        ],
    );
    let mut new = driver.clone();
    new["spec"]["podInfoOnMount"] = true.into();
    assert_eq!(update_faults("CSIDriver", &driver, &new), Vec::<String>::new());
    (row("CSIDriver").prepare_update)(&mut new, &driver);
    assert_eq!((driver["metadata"].get("generation"), &new["metadata"]["generation"]), (None, &json!(1)));
}

#[test]
fn faulty_drivers_of_nodes_are_refused_as_upstream_words_it() {
    refused(
        "CSINode",
        [
            ("spec.drivers.0.name", json!(""), "spec.drivers[0].name: Required value"),
            ("spec.drivers.0.nodeID", json!(""), "spec.drivers[0].nodeID: Required value"),
            (
                "spec.drivers.0.nodeID",
                json!("n".repeat(257)),
                Box::leak(
                    format!(
                        "spec.drivers[0].nodeID: Invalid value: \"{}\": must be 256 characters or less",
                        "n".repeat(257)
                    )
                    .into_boxed_str(),
                ),
            ),
            (
                "spec.drivers.0.allocatable",
                json!({"count": -1}),
                "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            ),
            ("spec.drivers.0.topologyKeys", json!(["a", "a"]), "spec.drivers[0]: Duplicate value: \"a\""),
        ],
    );
    let node = made("CSINode");
    assert_eq!(
        faults("CSINode", changed("CSINode", &[("spec.drivers.0.nodeID", json!("n".repeat(256)))])),
        [""; 0]
    );
    accepted_change(
        "CSINode",
        &node,
        [("/spec/drivers/0/allocatable", json!({"count": 3})), ("/spec/drivers", json!([]))],
    );
    let mut new = node.clone();
    new["spec"]["drivers"][0]["nodeID"] = "other".into();
    let found = update_faults("CSINode", &node, &new);
    assert!(
        found[0].starts_with("spec.drivers: Invalid value: ") && found[0].ends_with("field is immutable"),
        "{found:?}"
    );
}

#[test]
fn a_capacity_is_of_one_class_and_place() {
    refused(
        "CSIStorageCapacity",
        [("capacity", json!("-1"), "capacity: Invalid value: \"-1\": must be greater than or equal to 0")],
    );
    refused_change(
        "CSIStorageCapacity",
        &made("CSIStorageCapacity"),
        [
            (
                "/storageClassName",
                json!("other"),
                "storageClassName: Invalid value: \"other\": field is immutable",
            ),
            ("/nodeTopology", json!({}), "nodeTopology: Invalid value: {}: field is immutable"),
        ],
    );
    accepted_change("CSIStorageCapacity", &made("CSIStorageCapacity"), [("/capacity", json!("1Gi"))]);
}

#[test]
fn storage_prints_as_kubectl_shows_it() {
    let mut class = made("StorageClass");
    class["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    assert_eq!(
        cells("StorageClass", &class),
        ["sample (default)", "disks.example.com", "Delete", "Immediate", "true", "<unknown>"]
    );
    for (kind, expected) in [
        ("VolumeAttributesClass", &["sample", "disks.example.com", "<unknown>"][..]),
        ("VolumeAttachment", &["sample", "disks.example.com", "sample", "node-1", "false", "<unknown>"]),
        ("CSIDriver", &["sample", "true", "false", "false", "vault", "false", "Persistent", "<unknown>"]),
        ("CSINode", &["sample", "1", "<unknown>"]),
        ("CSIStorageCapacity", &["sample", "fast", "10Gi"]),
    ] {
        assert_eq!(cells(kind, &made(kind)), expected, "{kind}");
    }
}

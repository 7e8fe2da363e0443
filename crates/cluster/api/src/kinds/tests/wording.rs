//! Rules compared one by one with those of upstream's v1.36: the value that is shown, the field that is named, and what
//! is let through, where either is easily missed.

use super::samples::{change, changed, refused, sample};
use super::*;

/// The kind takes the change of its sample.
fn accepted<const N: usize>(kind: &str, cases: [(&str, Value); N]) {
    for (path, value) in cases {
        assert_eq!(faults(kind, changed(kind, &[(path, value.clone())])), [""; 0], "{kind} {path} {value}");
    }
}

/// The kind refuses the change of its sample with these lines and no others.
fn exactly(kind: &str, path: &str, value: Value, expected: &[&str]) {
    assert_eq!(faults(kind, changed(kind, &[(path, value)])), expected, "{kind} {path}");
}

#[test]
fn names_are_held_to_what_each_kind_holds_them_to() {
    accepted("PodDisruptionBudget", [("metadata.name", json!("Web_1"))]);
    accepted("CertificateSigningRequest", [("metadata.name", json!("Jane Doe"))]);
    let segment =
        [("metadata.name", json!("a/b"), "metadata.name: Invalid value: \"a/b\": may not contain '/'")];
    refused("PodDisruptionBudget", segment.clone());
    refused("CertificateSigningRequest", segment);
    accepted("CSIDriver", [("metadata.name", json!("a".repeat(63) + ".example.com"))]);
    assert!(faults("CSIDriver", changed("CSIDriver", &[("metadata.name", json!("Disks"))])).len() == 1);
    refused(
        "IPAddress",
        [
            (
                "metadata.name",
                json!("010.0.0.1"),
                "metadata.name: Invalid value: \"010.0.0.1\": must not have leading 0s",
            ),
            (
                "metadata.name",
                json!("2001:DB8::1"),
                "metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")",
            ),
        ],
    );
}

#[test]
fn policies_and_ingresses_show_what_upstream_shows() {
    refused(
        "NetworkPolicy",
        [(
            "spec.ingress.0.ports.0.endPort",
            json!(79),
            "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
        )],
    );
    let mut ingress = sample("Ingress");
    ingress["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": ""});
    assert_eq!(
        faults("Ingress", ingress),
        [
            "annotations.kubernetes.io/ingress.class: Invalid value: \"\": must match `ingressClassName` when both are \
          specified"
        ]
    );
    refused(
        "IngressClass",
        [
            (
                "spec.parameters",
                json!({"name": "n"}),
                "spec.parameters.kind: Required value: kind is required",
            ),
            (
                "spec.parameters",
                json!({"kind": "k"}),
                "spec.parameters.name: Required value: name is required",
            ),
        ],
    );
}

#[test]
fn ranges_of_services_have_one_form_and_one_of_each_family() {
    let both = "spec.cidrs: Invalid value: {\"cidrs\":[\"10.0.0.0/8\",\"11.0.0.0/8\"]}: may specify no more than one \
                IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
    let many = "spec.cidrs: Invalid value: {\"cidrs\":[\"a\",\"b\",\"c\"]}: may only hold up to 2 values";
    for (cidrs, fault) in [
        (json!([]), "spec.cidrs: Required value: at least one CIDR required"),
        (json!(["a", "b", "c"]), many),
        (json!(["10.0.0.0/8", "11.0.0.0/8"]), both),
        (
            json!(["10.1.0.0/8"]),
            "spec.cidrs[0]: Invalid value: \"10.1.0.0/8\": must not have bits set beyond the prefix length",
        ),
        (
            json!(["FD00::/64"]),
            "spec.cidrs[0]: Invalid value: \"FD00::/64\": must be in canonical form (\"fd00::/64\")",
        ),
    ] {
        exactly("ServiceCIDR", "spec.cidrs", cidrs, &[fault]);
    }
    accepted("ServiceCIDR", [("spec.cidrs", json!(["10.0.0.0/8", "fd00::/64"]))]);
}

#[test]
fn metrics_say_what_is_wrong_with_the_first_source_and_that_others_are_too_many() {
    let metric = |metric: Value, expected: &[&str]| {
        exactly("HorizontalPodAutoscaler", "spec.metrics", json!([metric]), expected);
    };
    let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
    let pods = json!({"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}});
    let supported =
        "supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"";
    metric(
        json!({"type": "", "resource": cpu}),
        &[
            "spec.metrics[0].type: Required value: must specify a metric source type",
            &format!("spec.metrics[0].type: Unsupported value: \"\": {supported}"),
        ],
    );
    metric(
        json!({"type": "Rest", "resource": cpu, "pods": pods}),
        &[
            &format!("spec.metrics[0].type: Unsupported value: \"Rest\": {supported}"),
            "spec.metrics[0].pods: Forbidden: must populate the given metric source only",
            "spec.metrics[0].resource: Forbidden: must populate the given metric source only",
        ],
    );
    let of = |name: &str, container: &str| {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        json!({"type": "ContainerResource", "containerResource": {"name": name, "container": container, "target": target}})
    };
    metric(
        of("disk", "App"),
        &[
            "spec.metrics[0].containerResource.name: Invalid value: \"disk\": must be a standard resource type or fully qualified",
            "spec.metrics[0].containerResource.name: Invalid value: \"disk\": must be a standard resource for containers",
            "spec.metrics[0].containerResource.container: Invalid value: \"App\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ],
    );
    metric(of("cpu", "app"), &[]);
    metric(
        json!({"type": "Resource", "pods": pods}),
        &["spec.metrics[0].resource: Required value: must populate information for the given metric source"],
    );
    metric(
        json!({"type": "Resource", "resource": cpu, "pods": pods}),
        &["spec.metrics[0].pods: Forbidden: must populate the given metric source only"],
    );
    metric(
        json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "0"}}}),
        &[
            "spec.metrics[0].pods.target.averageValue: Invalid value: \"0\": must be positive",
            "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
        ],
    );
    metric(
        json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}),
        &[
            "spec.metrics[0].resource.target.type: Required value: must specify a metric target type",
            "spec.metrics[0].resource.target.type: Invalid value: \"\": must be either Utilization, Value, or \
             AverageValue",
        ],
    );
}

#[test]
fn drivers_and_classes_of_storage_are_held_to_upstreams_limits() {
    refused(
        "StorageClass",
        [(
            "provisioner",
            json!("A B"),
            "provisioner: Invalid value: \"a b\": name part must consist of alphanumeric \
           characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
           'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        )],
    );
    let twice = json!([
        {"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]},
        {"matchLabelExpressions": [{"key": "zone", "values": ["b", "a"]}]},
    ]);
    let fault = "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\"";
    refused("StorageClass", [("allowedTopologies", twice, fault)]);
    accepted("VolumeAttributesClass", [("driverName", json!("a".repeat(63) + ".example.com/disks"))]);
    accepted("CSIStorageCapacity", [("maximumVolumeSize", json!("-1"))]);
    refused(
        "CSIDriver",
        [
            (
                "spec.fsGroupPolicy",
                json!("x"),
                "spec.fsGroupPolicy: Unsupported value: \"x\": supported values: \"File\", \"None\", \
                 \"ReadWriteOnceWithFSType\"",
            ),
            (
                "spec",
                json!({"serviceAccountTokenInSecrets": true}),
                "spec.serviceAccountTokenInSecrets: Invalid value: true: may only be set together with tokenRequests",
            ),
        ],
    );
    accepted("CSIDriver", [("spec.serviceAccountTokenInSecrets", json!(true))]);
    refused_change(
        "CSINode",
        &created("CSINode", sample("CSINode")),
        [(
            "/spec/drivers/0/nodeID",
            json!("other"),
            "spec.drivers: Invalid value: {\"name\":\"disks.example.com\",\"nodeID\":\"other\",\"topologyKeys\":[\"zone\"]}: \
             field is immutable",
        )],
    );
    let attachment = created("VolumeAttachment", sample("VolumeAttachment"));
    refused_change(
        "VolumeAttachment",
        &attachment,
        [(
            "/status/attachError",
            json!({"message": "m", "errorCode": -1}),
            "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        )],
    );
}

#[test]
fn the_class_of_a_claim_moves_from_its_annotation_to_its_field() {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let mut old = created("PersistentVolumeClaim", sample("PersistentVolumeClaim"));
    old["metadata"]["annotations"] = json!({CLASS: "fast"});
    let mut new = old.clone();
    new["metadata"]["annotations"] = json!({});
    let immutable = format!("metadata.annotations.{CLASS}: Invalid value: \"\": field is immutable");
    assert_eq!(update_faults("PersistentVolumeClaim", &old, &new), [immutable]);
    new["spec"]["storageClassName"] = "fast".into();
    assert_eq!(update_faults("PersistentVolumeClaim", &old, &new), [""; 0]);
}

#[test]
fn tolerations_of_a_runtime_class_are_there_once() {
    let one = json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1});
    let mut other = one.clone();
    change(&mut other, "tolerationSeconds", json!(2));
    let found = faults(
        "RuntimeClass",
        changed("RuntimeClass", &[("scheduling", json!({"tolerations": [one, other]}))]),
    );
    assert!(
        found.len() == 1 && found[0].starts_with("scheduling.tolerations[1]: Duplicate value: {"),
        "{found:?}"
    );
    accepted("RuntimeClass", [("scheduling", json!({"tolerations": [other]}))]);
}

#[test]
fn slices_of_the_newer_family_hold_no_address_of_the_older() {
    let mut slice = sample("EndpointSlice");
    change(&mut slice, "addressType", json!("IPv6"));
    change(&mut slice, "endpoints.0.addresses.0", json!("::ffff:10.1.2.3"));
    let fault = "endpoints[0].addresses[0]: Invalid value: \"::ffff:10.1.2.3\": must be a valid IPv6 address";
    assert!(faults("EndpointSlice", slice).contains(&fault.to_owned()));
}

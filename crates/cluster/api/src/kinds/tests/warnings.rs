//! What is told and not refused.

use super::*;

fn told(kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let object = created(kind, new.clone());
    (row(kind).warnings)(&object, old)
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [
        {"name": "main", "image": "app"}, {"name": "side", "image": "app"}]}});
    merge(&mut pod["spec"], spec);
    pod
}

#[test]
fn a_pod_is_told_of_what_is_old_and_of_what_it_says_twice() {
    let main = |of: Value| {
        let mut main = json!({"name": "main", "image": "app"});
        merge(&mut main, of);
        json!({"containers": [main, {"name": "side", "image": "app", "ports": [{"containerPort": 80}]}]})
    };
    for (spec, expected) in [
        (
            json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}),
            "spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
        ),
        (
            json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
        ),
        (
            json!({"imagePullSecrets": [{"name": ""}]}),
            "spec.imagePullSecrets[0].name: invalid empty name \"\"",
        ),
        (
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
        ),
        (
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname"}]}}}),
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: \
             a null labelSelector results in matching no pod",
        ),
        (
            json!({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]}),
            "spec.volumes[0].gitRepo: deprecated in v1.11",
        ),
        (
            json!({"terminationGracePeriodSeconds": -1}),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ),
        (
            main(json!({"resources": {"limits": {"memory": "1500m"}, "requests": {"memory": "1"}}})),
            "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, \
             must be an integer",
        ),
        (
            main(json!({"ports": [{"containerPort": 80}]})),
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            main(json!({"ports": [{"containerPort": 80, "hostPort": 81}]})),
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        (
            main(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A):2"},
            {"name": "A", "value": "3"}]})),
            "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
        ),
    ] {
        assert_eq!(told("Pod", &pod(spec.clone()), None), [expected], "{spec}");
    }
    assert_eq!(told("Pod", &pod(json!({})), None), Vec::<String>::new());
    let twice = pod(json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}));
    assert_eq!(told("Pod", &twice, Some(&twice)), Vec::<String>::new(), "programs change pods");
}

#[test]
fn a_workload_is_told_of_its_template_when_that_changes() {
    let mut deployment = deployment(json!({}));
    let annotations = json!({"security.alpha.kubernetes.io/sysctls": "a=1"});
    deployment["spec"]["template"]["metadata"]["annotations"] = annotations;
    let path = "spec.template.metadata.annotations[security.alpha.kubernetes.io/sysctls]";
    let expected = [format!("{path}: non-functional in v1.11+; use the \"sysctls\" field instead")];
    assert_eq!(told("Deployment", &deployment, None), expected);
    let same = created("Deployment", deployment.clone());
    assert_eq!(told("Deployment", &deployment, Some(&same)), Vec::<String>::new());
    let mut other = same;
    other["spec"]["template"]["metadata"]["annotations"] = json!({});
    assert_eq!(told("Deployment", &deployment, Some(&other)), expected);
    let ingress = json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}});
    assert_eq!(
        (row("Ingress").warnings)(&ingress, None),
        [
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
        ]
    );
}

/// Kind, what it is made of, what is told.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let named = |name: &str| json!({"metadata": {"name": name}});
    vec![
        (
            "Service",
            json!({
                "metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}},
                "spec": {"clusterIP": "None", "externalIPs": ["FD00::1"], "loadBalancerIP": "::ffff:10.0.0.1",
                    "sessionAffinity": "ClientIP", "externalName": "x", "trafficDistribution": "PreferClose",
                    "loadBalancerSourceRanges": ["10.0.0.1/8", "FD00::/8", "10.0.0.0/08", "::ffff:10.0.0.0/104"]},
            }),
            vec![
                "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
                "spec.loadBalancerIP is ignored for headless services",
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
                "spec.externalIPs[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
                "spec.loadBalancerIP: non-standard IP address \"::ffff:10.0.0.1\" is invalid: use \"10.0.0.1\"",
                "spec.loadBalancerSourceRanges[0]: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)",
                "spec.loadBalancerSourceRanges[1]: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")",
                "spec.loadBalancerSourceRanges[2]: non-standard CIDR value \"10.0.0.0/08\" is invalid: use \"10.0.0.0/8\"",
                "spec.loadBalancerSourceRanges[3]: non-standard CIDR value \"::ffff:10.0.0.0/104\" is invalid: use \"10.0.0.0/8\"",
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
            ],
        ),
        (
            "Service",
            json!({"spec": {"externalIPs": ["10.0.0.1"]}}),
            vec!["spec.externalIPs is deprecated and may no longer be implemented in some clusters"],
        ),
        (
            "Service",
            json!({"spec": {"type": "ExternalName", "externalName": "x", "externalIPs": ["10.0.0.1"]}}),
            vec!["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
        ),
        (
            "Endpoints",
            json!({"subsets": [{"notReadyAddresses": [{"ip": "FD00::1"}]}]}),
            vec![
                "subsets[0].notReadyAddresses[0].ip: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
            ],
        ),
        (
            "EndpointSlice",
            json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]}),
            vec!["spec.addressType: FQDN endpoints are deprecated"],
        ),
        (
            "NetworkPolicy",
            json!({"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.1.1/16"]}}]}]}}),
            vec![
                "spec.egress[0].to[0].ipBlock.except[0]: CIDR value \"10.1.1.1/16\" is ambiguous in this context (should be \"10.1.0.0/16\" or \"10.1.1.1/32\"?)",
            ],
        ),
        (
            "Node",
            json!({"spec": {"externalID": "x"}}),
            vec!["spec.externalID: this field is deprecated, and is unused by Kubernetes"],
        ),
        (
            "PersistentVolume",
            json!({
                "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}},
                "spec": {"persistentVolumeReclaimPolicy": "Recycle", "storageos": {}, "nodeAffinity": {"required": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "beta.kubernetes.io/os", "values": ["-"]}]}]}}},
            }),
            vec![
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
                "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                "spec.storageOS: deprecated in v1.22, non-functional in v1.25+",
            ],
        ),
        (
            "PersistentVolumeClaim",
            json!({"spec": {"resources": {"requests": {"storage": "1500m"}}}}),
            vec![
                "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
            ],
        ),
        (
            "StorageClass",
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone"}]}]}),
            vec![
                "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
            ],
        ),
        (
            "CSIStorageCapacity",
            json!({"nodeTopology": {"matchLabels": {"node-role.kubernetes.io/master": ""}}}),
            vec![
                "nodeTopology.matchLabels.node-role.kubernetes.io/master: use \"node-role.kubernetes.io/control-plane\" instead",
            ],
        ),
        (
            "RuntimeClass",
            json!({"scheduling": {"nodeSelector": {"beta.kubernetes.io/arch": "x"}}}),
            vec!["scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/arch\" instead"],
        ),
        (
            "ServiceAccount",
            json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}),
            vec![
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets",
            ],
        ),
        (
            "StatefulSet",
            json!({"spec": {"revisionHistoryLimit": -1, "volumeClaimTemplates": [{"spec": {"resources": {"limits": {"storage": "1m"}}}}]}}),
            vec![
                "spec.volumeClaimTemplates[0].resources.limits[storage]: fractional byte value \"1m\" is invalid, must be an integer",
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
            ],
        ),
        (
            "Job",
            json!({"metadata": {"name": "a.b"}, "spec": {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001}}),
            vec![
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
                "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
            ],
        ),
        (
            "Deployment",
            named("a.b"),
            vec![
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            ],
        ),
        (
            "Pod",
            named("a.b"),
            vec![
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            ],
        ),
        ("DaemonSet", named("a.b"), vec![]),
        (
            "CustomResourceDefinition",
            json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {
                "a": {"type": "string", "format": "quantity"}, "b": {"type": "integer", "format": "uint8"},
                "c": {"type": "string", "format": "date-time"}}}}}]}}),
            vec!["unrecognized format \"quantity\"", "unrecognized format \"uint8\""],
        ),
        (
            "Secret",
            json!({"type": "kubernetes.io/tls"}),
            vec!["tls: failed to find any PEM data in certificate input"],
        ),
    ]
}

#[test]
fn other_kinds_are_told_as_upstream_tells_them() {
    for (kind, object, expected) in cases() {
        let mut object = object;
        if object["metadata"].get("name").is_none() {
            object["metadata"]["name"] = "n".into();
        }
        if kind == "Service" {
            for (name, value) in [("type", "ClusterIP"), ("sessionAffinity", "None")] {
                if object["spec"].get(name).is_none() {
                    object["spec"][name] = value.into();
                }
            }
        }
        assert_eq!((row(kind).warnings)(&object, None), expected, "{kind}: {object}");
    }
}

#[test]
fn what_was_there_before_is_not_told_again() {
    let account = json!({"metadata": {"name": "n", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
    assert!((row("ServiceAccount").warnings)(&account, Some(&account)).is_empty());
    let job = json!({"metadata": {"name": "a.b"}, "spec": {"schedule": "TZ=UTC * * * * *"}});
    let expected = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
    assert_eq!((row("CronJob").warnings)(&job, Some(&job)), [expected]);
    let slice = json!({"metadata": {"name": "n"}, "addressType": "FQDN"});
    assert!((row("EndpointSlice").warnings)(&slice, Some(&slice)).is_empty());
}

#[test]
fn a_certificate_that_is_not_of_its_key_is_told() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let pair = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    let told = |certificate: &str, key: &str| {
        let data = json!({"tls.crt": encode(certificate), "tls.key": encode(key)});
        (row("Secret").warnings)(&json!({"type": "kubernetes.io/tls", "data": data}), None)
    };
    let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    assert!(told(&certificate, &key).is_empty());
    for (certificate, key, expected) in [
        (&*certificate, &*other.signing_key.serialize_pem(), "tls: private key does not match public key"),
        (
            &key,
            &key,
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
        ),
        (
            &certificate,
            &certificate,
            "tls: found a certificate rather than a key in the PEM for the private key",
        ),
        (&certificate, "", "tls: failed to find any PEM data in key input"),
    ] {
        assert_eq!(told(certificate, key), [expected]);
    }
}

#[test]
fn whoever_uses_a_version_that_is_on_its_way_out_is_told() {
    let told = |plural: &str| crate::kinds::by_resource("", "v1", plural).unwrap().deprecation.clone();
    let endpoints = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    assert_eq!(told("endpoints").as_deref(), Some(endpoints));
    assert_eq!(told("componentstatuses").as_deref(), Some("v1 ComponentStatus is deprecated in v1.19+"));
    assert_eq!(told("pods"), None);
}

/// What is told of ports of one number, found by comparing each with all before it.
fn clashes(ports: &[(&str, i64)]) -> Vec<String> {
    let mut all = Vec::new();
    for (at, (ip, port)) in ports.iter().enumerate() {
        for (before, (other_ip, other)) in ports[..at].iter().enumerate() {
            let how = match (ip == other_ip, port == other, *port == 0 || *other == 0) {
                (true, true, _) => "duplicate port definition",
                (_, _, true) => "overlapping port definition",
                (false, true, false) if ip.is_empty() || other_ip.is_empty() => {
                    "dangerously ambiguous port definition"
                }
                _ => continue,
            };
            let path = |at: usize| format!("spec.containers[0].ports[{at}]");
            all.push(format!("{}: {how} with {}", path(at), path(before)));
        }
    }
    all
}

fn with_ports(ports: &[(&str, i64)]) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(ip, port)| json!({"containerPort": 80, "protocol": "TCP", "hostIP": ip, "hostPort": port}))
        .collect();
    json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]}})
}

#[test]
fn ports_that_clash_are_found_without_a_look_at_the_others() {
    let kinds: Vec<(&str, i64)> =
        ["", "10.0.0.1", "10.0.0.2"].iter().flat_map(|ip| [0, 81, 82].map(|port| (*ip, port))).collect();
    let ports: Vec<(&str, i64)> = (0..27).map(|at| kinds[at * 7 % 9]).collect();
    let told: Vec<String> = (row("Pod").warnings)(&with_ports(&ports), None)
        .into_iter()
        .filter(|text| text.contains("port definition"))
        .collect();
    assert_eq!(told, clashes(&ports));
    assert!(told.len() > 100, "{}", told.len());
}

#[test]
fn of_ports_that_all_clash_some_are_told() {
    for port in [0, 81] {
        let told = (row("Pod").warnings)(&with_ports(&vec![("", port); 50_000]), None);
        assert_eq!(told.iter().filter(|text| text.contains("duplicate port definition")).count(), 1000);
    }
    // None of these is in another's way.
    let ips: Vec<String> = (0..50_000).map(|at| format!("10.0.{}.{}", at / 250, at % 250)).collect();
    let ports: Vec<(&str, i64)> = ips.iter().map(|ip| (ip.as_str(), 81)).collect();
    let told = (row("Pod").warnings)(&with_ports(&ports), None);
    assert!(!told.iter().any(|text| text.contains("port definition")), "{:?}", told.first());
}

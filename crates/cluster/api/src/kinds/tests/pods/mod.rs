//! What is wrong within a pod's spec, and what may change in a pod.

mod containers;
mod security;
mod updates;
mod volumes;

use super::*;

/// Each change of a sound pod's spec is refused with the lines beside it, and with no others.
fn refused_exactly(cases: impl IntoIterator<Item = (Value, &'static [&'static str])>) {
    for (object, expected) in cases {
        assert_eq!(faults("Pod", object), expected);
    }
}

fn sound(object: Value) {
    assert_eq!(faults("Pod", object.clone()), Vec::<String>::new(), "{object}");
}

#[test]
fn faulty_names_and_choices_are_refused_as_upstream_words_them() {
    refused_exactly([
        (
            pod(json!({"dnsPolicy": "x"})),
            &[
                "spec.dnsPolicy: Unsupported value: \"x\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            ][..],
        ),
        (
            pod(json!({"preemptionPolicy": "x"})),
            &[
                "spec.preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\"",
            ],
        ),
        (
            pod(json!({"terminationGracePeriodSeconds": -1})),
            &["spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            pod(json!({"activeDeadlineSeconds": 0})),
            &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            pod(json!({"tolerations": [{"operator": "Exists", "value": "x"}]})),
            &[
                "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
            ],
        ),
        (
            pod(json!({"tolerations": [{"key": "a", "tolerationSeconds": 1}]})),
            &[
                "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
            ],
        ),
        (
            pod(json!({"tolerations": [{"key": "a", "effect": "x"}]})),
            &[
                "spec.tolerations[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
    ]);
    for (spec, path) in [
        (json!({"nodeName": "A"}), "spec.nodeName"),
        (json!({"hostname": "a.b"}), "spec.hostname"),
        (json!({"subdomain": "a.b"}), "spec.subdomain"),
        (json!({"hostnameOverride": "A"}), "spec.hostnameOverride"),
        (json!({"serviceAccountName": "A"}), "spec.serviceAccountName"),
        (json!({"priorityClassName": "A"}), "spec.priorityClassName"),
        (json!({"runtimeClassName": ""}), "spec.runtimeClassName"),
        (json!({"readinessGates": [{"conditionType": "a b"}]}), "spec.readinessGates[0].conditionType"),
        (json!({"nodeSelector": {"a b": "c"}}), "spec.nodeSelector"),
    ] {
        let found = faults("Pod", pod(spec));
        assert!(found.len() == 1 && found[0].starts_with(&format!("{path}: Invalid value: ")), "{found:?}");
    }
    sound(pod(json!({"imagePullSecrets": [{}], "schedulerName": "a b", "hostname": "a", "subdomain": "b"})));
}

#[test]
fn faulty_resolvers_and_hosts_are_refused_as_upstream_words_them() {
    let dns = |config: Value| pod(json!({"dnsConfig": config}));
    refused_exactly([
        (
            pod(json!({"dnsPolicy": "None"})),
            &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"][..],
        ),
        (
            pod(json!({"dnsPolicy": "None", "dnsConfig": {"searches": ["a"]}})),
            &[
                "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
            ],
        ),
        (
            dns(json!({"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "x"]})),
            &[
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"x\"]: must not have more than 3 nameservers",
                "spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            dns(json!({"options": [{"value": "1"}]})),
            &["spec.dnsConfig.options[0]: Required value: must not be empty"],
        ),
        (
            pod(json!({"hostAliases": [{"ip": "x"}]})),
            &[
                "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            pod(json!({"hostNetwork": true, "hostnameOverride": "a"})),
            &["spec.hostnameOverride: Forbidden: may not be set when hostNetwork is true"],
        ),
    ]);
    let long = vec!["a"; 33];
    let found = faults("Pod", dns(json!({"searches": long})));
    assert!(found[0].ends_with("must not have more than 32 search paths"), "{found:?}");
    let found = faults("Pod", dns(json!({"searches": ["-a", "_b._c.d.", "."]})));
    assert!(
        found.len() == 1 && found[0].starts_with("spec.dnsConfig.searches[0]: Invalid value: \"-a\": "),
        "{found:?}"
    );
    let found = faults("Pod", pod(json!({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "B"]}]})));
    assert!(found.len() == 1 && found[0].starts_with("spec.hostAliases[0].hostnames[1]: "), "{found:?}");
}

//! Services, and the endpoints behind them.

use super::*;
use crate::kinds::PartWrite;

fn sound_service(spec: Value) -> Value {
    let mut object = service(json!({"clusterIP": "10.96.0.9"}));
    merge(&mut object["spec"], spec);
    object
}

fn refused_exactly(cases: impl IntoIterator<Item = (Value, &'static [&'static str])>) {
    for (spec, expected) in cases {
        assert_eq!(faults("Service", sound_service(spec)), expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_services_are_refused_as_upstream_words_it() {
    refused_exactly([
        (json!({"ports": []}), &["spec.ports: Required value"][..]),
        (
            json!({"type": "x"}),
            &[
                "spec.type: Unsupported value: \"x\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            json!({"type": "NodePort", "clusterIP": "None"}),
            &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            json!({"type": "ExternalName", "externalName": "a", "clusterIPs": ["10.96.0.9"]}),
            &["spec.clusterIPs: Forbidden: may not be set for ExternalName services"],
        ),
        (
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}, {"port": 82}]}),
            &["spec.ports[1].name: Duplicate value: \"a\"", "spec.ports[2].name: Required value"],
        ),
        (
            json!({"ports": [{"port": 0, "targetPort": "A_"}]}),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: \"A_\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.ports[0].targetPort: Invalid value: \"A_\": must contain at least one letter (a-z)",
            ],
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30080}]}),
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "name": "a", "nodePort": 30080}, {"port": 81, "name": "b", "nodePort": 30080}]}),
            &["spec.ports[1].nodePort: Duplicate value: 30080"],
        ),
        (
            json!({"sessionAffinity": "x"}),
            &["spec.sessionAffinity: Unsupported value: \"x\": supported values: \"ClientIP\", \"None\""],
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
            &[
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
            ],
        ),
        (
            json!({"externalIPs": ["127.0.0.1", "x"]}),
            &[
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                "spec.externalIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
            &["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.0/8", "x"]}),
            &[
                "spec.LoadBalancerSourceRanges[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            json!({"loadBalancerClass": "a", "allocateLoadBalancerNodePorts": true}),
            &[
                "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ],
        ),
        (
            json!({"externalTrafficPolicy": "Local"}),
            &[
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        (
            json!({"type": "NodePort", "externalTrafficPolicy": "x"}),
            &[
                "spec.externalTrafficPolicy: Unsupported value: \"x\": supported values: \"Cluster\", \"Local\"",
            ],
        ),
        (
            json!({"healthCheckNodePort": 30000}),
            &[
                "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ],
        ),
        (
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
            &["spec.healthCheckNodePort: Required value"],
        ),
        (
            json!({"internalTrafficPolicy": "x"}),
            &[
                "spec.internalTrafficPolicy: Unsupported value: \"x\": supported values: \"Cluster\", \"Local\"",
            ],
        ),
        (
            json!({"trafficDistribution": "x"}),
            &[
                "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
            ],
        ),
    ]);
    let found = faults("Service", sound_service(json!({"ports": [{"port": 80, "appProtocol": "a b"}]})));
    assert!(
        found[0].starts_with("spec.ports[0].appProtocol: Invalid value: \"a b\": name part "),
        "{found:?}"
    );
}

#[test]
fn addresses_and_families_of_a_service_belong_together() {
    refused_exactly([
        (
            json!({"clusterIPs": ["10.96.0.8"]}),
            &["spec.clusterIPs: Invalid value: [\"10.96.0.8\"]: first value must match `clusterIP`"][..],
        ),
        (
            json!({"clusterIP": "x"}),
            &[
                "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            json!({"clusterIPs": ["10.96.0.9", "10.96.0.10"]}),
            &[
                "spec.clusterIPs: Invalid value: [\"10.96.0.9\",\"10.96.0.10\"]: may specify no more than one IP for each IP family",
            ],
        ),
        (
            json!({"clusterIP": "None", "clusterIPs": ["None", "10.96.0.9"], "selector": {"a": "b"}}),
            &[
                "spec.clusterIPs: Invalid value: [\"None\",\"10.96.0.9\"]: 'None' must be the first and only value",
            ],
        ),
        (
            json!({"ipFamilies": ["IPv6"], "clusterIP": "fd00::1"}),
            &["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"],
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            &[
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ],
        ),
    ]);
    let free = created("Service", sound_service(json!({"clusterIP": "None"})));
    assert_eq!(free["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(free["spec"]["ipFamilyPolicy"], "RequireDualStack");
    assert_eq!(row("Service").check_create(&free), []);
    let selecting = created("Service", sound_service(json!({"clusterIP": "None", "selector": {"a": "b"}})));
    assert_eq!(
        (&selecting["spec"]["ipFamilies"], &selecting["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4"]), &json!("SingleStack"))
    );
}

#[test]
fn what_a_service_leaves_out_is_filled_in_as_upstream_does() {
    let made = created(
        "Service",
        sound_service(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}})),
    );
    assert_eq!(made["spec"]["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10_800}}));
    let made = created(
        "Service",
        sound_service(json!({"type": "", "sessionAffinity": "", "sessionAffinityConfig": {}})),
    );
    assert_eq!(
        (&made["spec"]["type"], made["spec"].get("sessionAffinityConfig")),
        (&json!("ClusterIP"), None)
    );
    let made = created("Service", sound_service(json!({"externalIPs": ["1.2.3.4"]})));
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
}

#[test]
fn a_service_keeps_its_address_its_class_and_its_port_for_checks() {
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001,
        "loadBalancerClass": "a.io/b"});
    let made = created("Service", sound_service(local));
    refused_change(
        "Service",
        &made,
        [
            (
                "/spec/loadBalancerClass",
                json!("a.io/c"),
                "spec.loadBalancerClass: Invalid value: \"a.io/c\": may not change once set",
            ),
            (
                "/spec/healthCheckNodePort",
                json!(30002),
                "spec.healthCheckNodePort: Forbidden: field is immutable",
            ),
            (
                "/spec/clusterIPs",
                json!(["10.96.0.10"]),
                "spec.clusterIPs[0]: Invalid value: [\"10.96.0.10\"]: may not change once set",
            ),
            (
                "/spec/clusterIPs",
                json!([]),
                "spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset",
            ),
        ],
    );
    let mut new = made.clone();
    set(&mut new, "/spec/type", json!("ClusterIP"));
    set(&mut new, "/spec/ports/0/nodePort", json!(30003));
    let mut old = made;
    set(&mut old, "/spec/ports/0/nodePort", json!(30003));
    (row("Service").prepare_update)(&mut new, &old);
    (row("Service").default)(&mut new);
    assert_eq!(update_faults("Service", &old, &new), Vec::<String>::new());
    for gone in
        ["loadBalancerClass", "healthCheckNodePort", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"]
    {
        assert_eq!(new["spec"].get(gone), None, "{gone}");
    }
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
}

#[test]
fn a_load_balancer_says_where_it_is() {
    let part = PartWrite { name: "status", now: "2026-01-01T00:00:00Z" };
    let old = created("Service", sound_service(json!({"type": "LoadBalancer"})));
    let with = |point: Value| {
        let mut new = old.clone();
        new["status"] = json!({"loadBalancer": {"ingress": [point]}});
        row("Service")
            .check_part(&new, &old, &part)
            .iter()
            .map(hako_kube::field::line)
            .collect::<Vec<String>>()
    };
    const AT: &str = "status.loadBalancer.ingress[0]";
    assert_eq!(with(json!({"ip": "1.2.3.4", "ipMode": "VIP"})), [""; 0]);
    assert_eq!(
        with(json!({"ip": "1.2.3.4"})),
        [format!("{AT}.ipMode: Required value: must be specified when `ip` is set")]
    );
    assert_eq!(
        with(json!({"hostname": "1.2.3.4"})),
        [format!("{AT}.hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address")]
    );
    assert_eq!(
        with(json!({"ipMode": "VIP"})),
        [format!("{AT}.ipMode: Forbidden: may not be specified when `ip` is not set")]
    );
    let mut inner = created("Service", sound_service(json!({})));
    inner["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}});
    let found: Vec<String> =
        row("Service").check_part(&inner, &inner, &part).iter().map(hako_kube::field::line).collect();
    assert_eq!(
        found,
        ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
    );
}

#[test]
fn faulty_endpoints_are_refused_as_upstream_words_it() {
    let with = |subset: Value| json!({"metadata": {"name": "e", "namespace": "n"}, "subsets": [subset]});
    let address = json!([{"ip": "1.2.3.4"}]);
    for (subset, expected) in [
        (json!({}), "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        (
            json!({"addresses": [{"ip": "169.254.1.1"}]}),
            "subsets[0].addresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            json!({"addresses": [{"ip": "0.0.0.0"}]}),
            "subsets[0].addresses[0].ip: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
        ),
        (
            json!({"addresses": address, "ports": [{"port": 1}, {"port": 2, "name": "a"}]}),
            "subsets[0].ports[0].name: Required value",
        ),
        (
            json!({"addresses": address, "ports": [{"port": 0}]}),
            "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"addresses": address, "ports": [{"port": 1, "protocol": "x"}]}),
            "subsets[0].ports[0].protocol: Unsupported value: \"x\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
    ] {
        assert_eq!(faults("Endpoints", with(subset)), [expected]);
    }
}

#[test]
fn where_the_api_is_may_be_a_loopback() {
    let at = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}, "subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]});
    assert_eq!(faults("Endpoints", at("kubernetes")), Vec::<String>::new());
    assert_eq!(faults("Endpoints", at("other")).len(), 1);
    let slice = |service: &str| {
        json!({"metadata": {"name": "a", "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]})
    };
    assert_eq!(faults("EndpointSlice", slice("kubernetes")), Vec::<String>::new());
    assert_eq!(faults("EndpointSlice", slice("other")).len(), 1);
}

#[test]
fn faulty_slices_of_endpoints_are_refused_as_upstream_words_it() {
    let slice = |more: Value| {
        let mut slice =
            json!({"metadata": {"name": "e", "namespace": "n"}, "addressType": "IPv4", "endpoints": []});
        merge(&mut slice, more);
        slice
    };
    let one = |more: Value| {
        let mut endpoint = json!({"addresses": ["1.2.3.4"]});
        merge(&mut endpoint, more);
        slice(json!({"endpoints": [endpoint]}))
    };
    let many: Vec<String> = (0..101).map(|last| format!("10.0.0.{last}")).collect();
    let zones: Vec<Value> = (0..9).map(|zone| json!({"name": format!("z{zone}")})).collect();
    for (object, expected) in [
        (slice(json!({"addressType": ""})), "addressType: Required value"),
        (
            one(json!({"addresses": []})),
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ),
        (
            one(json!({"addresses": many})),
            "endpoints[0].addresses: Too many: 101: must have at most 100 items",
        ),
        (
            one(json!({"addresses": ["127.0.0.1"]})),
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            slice(json!({"addressType": "FQDN", "endpoints": [{"addresses": ["host"]}]})),
            "endpoints[0].addresses[0]: Invalid value: \"host\": should be a domain with at least two segments separated by dots",
        ),
        (
            one(json!({"hints": {"forZones": zones}})),
            "endpoints[0].hints.forZones: Too many: 9: must have at most 8 items",
        ),
        (
            one(json!({"hints": {"forZones": [{"name": "a"}, {"name": "a"}]}})),
            "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"",
        ),
        (slice(json!({"ports": [{"port": 1}, {"port": 2}]})), "ports[1].name: Duplicate value: \"\""),
        (
            slice(json!({"ports": [{"port": 1, "protocol": "x"}]})),
            "ports[0].protocol: Unsupported value: \"x\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
    ] {
        assert_eq!(faults("EndpointSlice", object), [expected]);
    }
}

//! The kinds of `networking.k8s.io`.

use super::samples::{change, changed, refused, sample};
use super::*;

const PATH: &str = "spec.rules.0.http.paths.0";

/// The sample ingress with a change of its path's backend.
fn backend(backend: Value, expected: &str) {
    refused("Ingress", [(&format!("{PATH}.backend"), backend, expected)]);
}

#[test]
fn an_ingress_has_rules_or_a_default() {
    let object = changed("Ingress", &[("spec.rules", Value::Null)]);
    assert_eq!(
        faults("Ingress", object),
        ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
    );
    refused("Ingress", [("spec.rules.0.http.paths", json!([]), "spec.rules[0].http.paths: Required value")]);
}

#[test]
fn hosts_of_an_ingress_are_names_with_a_star_at_most_in_front() {
    refused(
        "Ingress",
        [(
            "spec.rules.0.host",
            json!("1.2.3.4"),
            "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
        )],
    );
    for (path, shown) in [("spec.rules.0.host", "spec.rules[0].host"), ("spec.tls", "spec.tls[0].hosts[0]")] {
        let value = if path == "spec.tls" { json!([{"hosts": ["a.*.com"]}]) } else { json!("a.*.com") };
        let found = faults("Ingress", changed("Ingress", &[(path, value)]));
        let expected =
            format!("{shown}: Invalid value: \"a.*.com\": a wildcard DNS-1123 subdomain must start with");
        assert!(found[0].starts_with(&expected), "{found:?}");
    }
    assert_eq!(
        faults("Ingress", changed("Ingress", &[("spec.rules.0.host", json!("*.example.com"))])),
        [""; 0]
    );
}

#[test]
fn paths_of_an_ingress_say_how_they_match_and_are_plain() {
    let at = |name: &str| format!("{PATH}.{name}");
    let shown = "spec.rules[0].http.paths[0]";
    let bad = |path: &str, detail: &str| {
        let expected = format!("{shown}.path: Invalid value: {path:?}: {detail}");
        refused("Ingress", [(&at("path"), json!(path), &expected)]);
    };
    bad("a", "must be an absolute path");
    bad("/a//b", "must not contain '//'");
    bad("/a%2Fb", "must not contain '%2F'");
    bad("/a/..", "cannot end with '/..'");
    let expected = format!("{shown}.pathType: Required value: pathType must be specified");
    refused("Ingress", [(&at("pathType"), Value::Null, &expected)]);
    let expected = format!(
        "{shown}.pathType: Unsupported value: \"x\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
    );
    refused("Ingress", [(&at("pathType"), json!("x"), &expected)]);
    let own = [(&*at("pathType"), json!("ImplementationSpecific")), (&*at("path"), json!("/a//b"))];
    assert_eq!(faults("Ingress", changed("Ingress", &own)), [""; 0]);
}

#[test]
fn a_backend_is_a_service_with_a_port_or_a_resource() {
    let at = "spec.rules[0].http.paths[0].backend";
    let service = |port: Value| json!({"service": {"name": "web", "port": port}});
    backend(json!({}), &format!("{at}: Invalid value: \"\": resource or service backend is required"));
    backend(
        json!({"service": {"name": "a"}, "resource": {"kind": "a", "name": "b"}}),
        &format!("{at}: Invalid value: \"\": cannot set both resource and service backends"),
    );
    backend(service(json!({})), &format!("{at}: Required value: port name or number is required"));
    backend(
        service(json!({"name": "a", "number": 1})),
        &format!("{at}: Invalid value: \"\": cannot set both port name & port number"),
    );
    backend(
        service(json!({"number": 70_000})),
        &format!("{at}.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    );
    backend(json!({"service": {"port": {"number": 1}}}), &format!("{at}.service.name: Required value"));
    backend(
        json!({"resource": {"name": "b"}}),
        &format!("{at}.resource.kind: Required value: kind is required"),
    );
    backend(
        json!({"resource": {"kind": "a", "name": "b/c"}}),
        &format!("{at}.resource.name: Invalid value: \"b/c\": may not contain '/'"),
    );
}

#[test]
fn a_new_ingress_names_one_class() {
    let mut object = sample("Ingress");
    object["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "other"});
    let made = created("Ingress", object.clone());
    assert_eq!(
        faults("Ingress", object),
        [
            "annotations.kubernetes.io/ingress.class: Invalid value: \"other\": must match `ingressClassName` when both are specified"
        ]
    );
    assert_eq!(update_faults("Ingress", &made, &made), [""; 0]);
}

#[test]
fn ingresses_print_as_kubectl_shows_them() {
    let mut object = created("Ingress", sample("Ingress"));
    assert_eq!(cells("Ingress", &object), ["sample", "sample", "www.example.com", "", "80", "<unknown>"]);
    object["spec"]["rules"] = json!([{"host": "a"}, {}, {"host": "b"}, {"host": "c"}, {}]);
    object["spec"]["tls"] = json!([{}]);
    object["spec"].as_object_mut().unwrap().remove("ingressClassName");
    object["status"] =
        json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb"}, {"ip": "1.2.3.4"}]}});
    assert_eq!(cells("Ingress", &object)[1..5], ["<none>", "a,b,c + 2 more...", "1.2.3.4,lb", "80, 443"]);
    object["spec"]["rules"] = json!([{}]);
    assert_eq!(cells("Ingress", &object)[2], "*");
}

#[test]
fn the_addresses_in_an_ingress_status_are_addresses_and_names() {
    let mut object = created("Ingress", sample("Ingress"));
    assert_eq!(object["status"], json!({"loadBalancer": {}}));
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "x"}, {"hostname": "1.2.3.4"}]}});
    assert_eq!(
        update_faults("Ingress", &object, &object),
        [
            "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "status.loadBalancer.ingress[1].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
        ]
    );
}

#[test]
fn a_class_of_ingresses_names_its_controller_for_good() {
    refused(
        "IngressClass",
        [
            ("spec.controller", json!(""), "spec.controller: Required value"),
            (
                "spec.controller",
                json!("example.com"),
                "spec.controller: Invalid value: \"example.com\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                "spec.controller",
                json!(format!("a.b/{}", "c".repeat(250))),
                "spec.controller: Too long: may not be more than 250 bytes",
            ),
        ],
    );
    let made = created("IngressClass", sample("IngressClass"));
    let mut new = made.clone();
    new["spec"]["controller"] = "example.com/other".into();
    assert_eq!(
        update_faults("IngressClass", &made, &new),
        ["spec.controller: Invalid value: \"example.com/other\": field is immutable"]
    );
    (row("IngressClass").prepare_update)(&mut new, &made);
    assert_eq!(new["metadata"]["generation"], 2);
}

#[test]
fn parameters_of_a_class_are_in_a_namespace_or_not() {
    let with = |change: Value| {
        let mut parameters = json!({"apiGroup": "example.com", "kind": "P", "name": "p"});
        merge(&mut parameters, change);
        changed("IngressClass", &[("spec.parameters", parameters)])
    };
    let made = created("IngressClass", with(json!({})));
    assert_eq!(made["spec"]["parameters"]["scope"], "Cluster");
    assert_eq!(cells("IngressClass", &made)[..3], ["sample", "example.com/ingress", "P.example.com/p"]);
    for (change, expected) in [
        (
            json!({"scope": "Namespace"}),
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ),
        (
            json!({"namespace": "n"}),
            "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
        ),
        (
            json!({"scope": "x"}),
            "spec.parameters.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespace\"",
        ),
        (json!({"kind": ""}), "spec.parameters.kind: Required value: kind is required"),
    ] {
        assert_eq!(faults("IngressClass", with(change)), [expected]);
    }
}

#[test]
fn a_network_policy_is_about_what_it_has_rules_for() {
    let made = created("NetworkPolicy", sample("NetworkPolicy"));
    assert_eq!(made["spec"]["policyTypes"], json!(["Ingress"]));
    assert_eq!(made["spec"]["ingress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(cells("NetworkPolicy", &made)[..2], ["sample", "app=web"]);
    let made = created("NetworkPolicy", changed("NetworkPolicy", &[("spec", json!({"egress": [{}]}))]));
    assert_eq!(made["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(cells("NetworkPolicy", &made)[1], "<none>");
    refused(
        "NetworkPolicy",
        [
            (
                "spec.policyTypes",
                json!(["x"]),
                "spec.policyTypes[0]: Unsupported value: \"x\": supported values: \"Ingress\", \"Egress\"",
            ),
            (
                "spec.policyTypes",
                json!(["Ingress", "Egress", "Ingress"]),
                "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes",
            ),
        ],
    );
}

#[test]
fn ports_of_a_network_policy_are_numbers_ranges_or_names() {
    let port = |port: Value, expected: &str| {
        refused("NetworkPolicy", [("spec.ingress.0.ports.0", port, expected)]);
    };
    let at = "spec.ingress[0].ports[0]";
    port(
        json!({"port": 80, "endPort": 79}),
        &format!("{at}.endPort: Invalid value: 80: must be greater than or equal to `port`"),
    );
    port(
        json!({"port": "http", "endPort": 90}),
        &format!("{at}.endPort: Invalid value: 90: may not be specified when `port` is non-numeric"),
    );
    port(
        json!({"endPort": 90}),
        &format!("{at}.endPort: Invalid value: 90: may not be specified when `port` is not specified"),
    );
    port(json!({"port": 0}), &format!("{at}.port: Invalid value: 0: must be between 1 and 65535, inclusive"));
    port(
        json!({"port": 1, "protocol": "ICMP"}),
        &format!("{at}.protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\""),
    );
}

#[test]
fn a_peer_of_a_network_policy_is_selected_or_in_a_range() {
    let peer = |peer: Value, expected: &str| {
        refused("NetworkPolicy", [("spec.ingress.0.from.0", peer, expected)]);
    };
    let at = "spec.ingress[0].from[0]";
    let block = |cidr: &str, except: &str| json!({"ipBlock": {"cidr": cidr, "except": [except]}});
    peer(json!({}), &format!("{at}: Required value: must specify a peer"));
    peer(
        json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
        &format!("{at}: Forbidden: may not specify both ipBlock and another peer"),
    );
    peer(json!({"ipBlock": {}}), &format!("{at}.ipBlock.cidr: Required value"));
    peer(
        block("10.0.0.1", "10.1.0.0/16"),
        &format!(
            "{at}.ipBlock.cidr: Invalid value: \"10.0.0.1\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        ),
    );
    peer(
        block("10.0.0.0/8", "11.0.0.0/16"),
        &format!("{at}.ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"),
    );
    peer(
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "x"}]}}),
        &format!(
            "{at}.podSelector.matchExpressions[0].operator: Invalid value: \"x\": not a valid selector operator"
        ),
    );
}

#[test]
fn ranges_of_services_stay_and_get_one_of_the_other_family() {
    let made = created("ServiceCIDR", sample("ServiceCIDR"));
    let with = |cidrs: Value| {
        let mut new = made.clone();
        change(&mut new, "spec.cidrs", cidrs);
        update_faults("ServiceCIDR", &made, &new)
    };
    assert_eq!(with(json!(["10.200.0.0/16", "fd00::/112"])), [""; 0]);
    assert_eq!(
        with(json!(["10.201.0.0/16"])),
        ["spec.cidrs[0]: Invalid value: \"10.201.0.0/16\": field is immutable"]
    );
    assert!(with(json!([]))[0].ends_with("field is immutable"));
    refused(
        "ServiceCIDR",
        [
            ("spec.cidrs", json!([]), "spec.cidrs: Required value: at least one CIDR required"),
            (
                "spec.cidrs",
                json!(["10.0.0.0/8", "11.0.0.0/8"]),
                "spec.cidrs: Invalid value: {\"cidrs\":[\"10.0.0.0/8\",\"11.0.0.0/8\"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ),
            (
                "spec.cidrs",
                json!(["x"]),
                "spec.cidrs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
        ],
    );
    assert_eq!(cells("ServiceCIDR", &made)[..2], ["sample", "10.200.0.0/16"]);
}

#[test]
fn an_address_belongs_to_one_object_for_good() {
    let made = created("IPAddress", sample("IPAddress"));
    assert_eq!(cells("IPAddress", &made), ["10.200.0.1", "services/default/sample"]);
    let mut new = made.clone();
    change(&mut new, "spec.parentRef.name", json!("other"));
    assert!(update_faults("IPAddress", &made, &new)[0].starts_with("spec.parentRef: Invalid value: {"));
    refused(
        "IPAddress",
        [
            (
                "metadata.name",
                json!("a"),
                "metadata.name: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            ("spec.parentRef", Value::Null, "spec.parentRef: Required value"),
            ("spec.parentRef.resource", Value::Null, "spec.parentRef.resource: Required value"),
            (
                "spec.parentRef.namespace",
                json!(".."),
                "spec.parentRef.namespace: Invalid value: \"..\": may not be '..'",
            ),
        ],
    );
}

#[test]
fn addresses_that_some_read_as_others_are_refused_in_every_field_and_stay_where_they_are() {
    const PADDED: &str = "must not have leading 0s";
    const BITS: &str = "must not have bits set beyond the prefix length";
    for (kind, path, value, at, detail) in [
        ("Pod", "spec.dnsConfig", json!({"nameservers": ["010.0.0.1"]}), "nameservers[0]", PADDED),
        (
            "Pod",
            "spec.hostAliases",
            json!([{"ip": "::ffff:1.2.3.4", "hostnames": ["a"]}]),
            "[0].ip",
            "must not be an IPv4-mapped IPv6 address",
        ),
        ("Service", "spec.externalIPs", json!(["10.0.0.08"]), "[0]", PADDED),
        ("Node", "spec.podCIDRs", json!(["10.244.0.1/24"]), "[0]", BITS),
        (
            "NetworkPolicy",
            "spec.ingress",
            json!([{"from": [{"ipBlock": {"cidr": "10.1.0.0/8"}}]}]),
            "[0].from[0].ipBlock.cidr",
            BITS,
        ),
        (
            "NetworkPolicy",
            "spec.ingress",
            json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/016"]}}]}]),
            "[0].from[0].ipBlock.except[0]",
            "must not have leading 0s in IP or prefix length",
        ),
    ] {
        let mut object = created(kind, sample(kind));
        change(&mut object, path, value);
        let found = faults(kind, object.clone());
        let is_told = |fault: &String| fault.contains(at) && fault.ends_with(detail);
        assert!(found.iter().any(is_told), "{kind} {path}: {found:?}");
        // What was written before there was the rule stays, also elsewhere in the object, and may go.
        let mut new = object.clone();
        new["metadata"]["labels"] = json!({"changed": "yes"});
        let left = update_faults(kind, &object, &new);
        assert!(!left.iter().any(is_told), "{kind} {path}: {left:?}");
        let fresh = created(kind, sample(kind));
        let back = update_faults(kind, &fresh, &object);
        assert!(back.iter().any(is_told), "{kind} {path}: {back:?}");
    }
}

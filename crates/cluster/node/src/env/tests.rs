use super::*;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;

const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 5));

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "web", "tier": "front"},
                     "annotations": {"note": "a \"b\""}},
        "spec": {"nodeName": "n1", "serviceAccountName": "robot", "containers": [
            {"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}}]}
    }))
    .unwrap()
}

fn container(env: serde_json::Value) -> Container {
    let mut value = json!({"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"},
                           "requests": {"cpu": "250m"}}});
    value.as_object_mut().unwrap().extend(env.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn referenced() -> Referenced {
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "conf"},
        "data": {"COLOR": "blue", "bad=key": "x"}}))
    .unwrap();
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "key"}, "data": {"TOKEN": "aHVzaA=="}})).unwrap();
    Referenced {
        config_maps: HashMap::from([("conf".to_owned(), Arc::new(map))]),
        secrets: HashMap::from([("key".to_owned(), Arc::new(secret))]),
        tokens: HashMap::new(),
    }
}

fn built(env: serde_json::Value) -> Result<Vec<String>, EnvError> {
    let pod = pod();
    let allocatable = BTreeMap::from([("memory".to_owned(), "1Gi".parse().unwrap())]);
    let facts = PodFacts { pod: &pod, pod_ip: Some(POD), host_ip: HOST, allocatable: &allocatable };
    let services = [("DB_SERVICE_HOST".to_owned(), "10.96.0.9".to_owned())];
    build(&container(env), &facts, &services, &referenced()).map(|env| env.lines())
}

#[test]
fn later_sources_win_over_earlier_ones_and_see_their_values() {
    let lines = built(json!({
        "envFrom": [{"configMapRef": {"name": "conf"}}, {"prefix": "P_", "secretRef": {"name": "key"}}],
        "env": [{"name": "COLOR", "value": "dark$(COLOR)"}, {"name": "URL", "value": "http://$(DB_SERVICE_HOST)/$(NOPE)"},
                {"name": "EMPTY"}]
    }))
    .unwrap();
    assert_eq!(
        lines,
        [
            "DB_SERVICE_HOST=10.96.0.9",
            "COLOR=darkblue",
            "P_TOKEN=hush",
            "URL=http://10.96.0.9/$(NOPE)",
            "EMPTY="
        ]
    );
}

#[test]
fn fields_of_the_pod_and_its_resources_are_values() {
    let from = |path: &str| json!({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}});
    for (path, want) in [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "a \"b\""),
        ("metadata.labels['none']", ""),
        ("metadata.labels", "app=\"web\"\ntier=\"front\""),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.244.0.5"),
        ("status.hostIP", "192.0.2.2"),
    ] {
        let lines = built(json!({"env": [from(path)]})).unwrap();
        assert_eq!(lines[1], format!("X={want}"), "{path}");
    }
    assert_eq!(built(json!({"env": [from("spec.nope")]})), Err(EnvError::Field("spec.nope".into())));
    let resource = |resource: &str, divisor: &str| json!({"env": [{"name": "X", "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}]});
    for (name, divisor, want) in [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1m", "250"),
        ("limits.memory", "1Mi", "64"),
        ("requests.memory", "1Mi", "64"),
        ("limits.memory", "1", "67108864"),
    ] {
        let lines = built(resource(name, divisor)).unwrap();
        assert_eq!(lines[1], format!("X={want}"), "{name} by {divisor}");
    }
    assert!(built(resource("limits.gpu", "1")).is_err());
}

#[test]
fn what_is_missing_is_an_error_unless_it_is_optional() {
    let key = |kind: &str, name: &str, key: &str, optional: bool| json!({"env": [{"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}]});
    assert_eq!(built(key("configMapKeyRef", "conf", "COLOR", false)).unwrap()[1], "X=blue");
    assert_eq!(built(key("secretKeyRef", "key", "TOKEN", false)).unwrap()[1], "X=hush");
    for (kind, name) in [
        ("configMapKeyRef", "conf"),
        ("configMapKeyRef", "no"),
        ("secretKeyRef", "key"),
        ("secretKeyRef", "no"),
    ] {
        assert!(built(key(kind, name, "none", false)).is_err(), "{kind} {name}");
        assert_eq!(built(key(kind, name, "none", true)).unwrap().len(), 1, "{kind} {name}");
    }
    assert_eq!(
        built(json!({"envFrom": [{"secretRef": {"name": "no"}}]})).unwrap_err().to_string(),
        "secret \"no\" not found"
    );
}

#[test]
fn services_are_named_only_when_they_have_an_address_and_links_are_on() {
    let service = |namespace: &str, name: &str, ip: &str| -> Arc<Service> {
        let value = json!({"metadata": {"name": name, "namespace": namespace},
                           "spec": {"clusterIP": ip, "ports": [{"name": "http-web", "port": 80, "protocol": "TCP"}]}});
        Arc::new(serde_json::from_value(value).unwrap())
    };
    let services = [
        service("shop", "my-db", "10.96.0.9"),
        service("shop", "headless", "None"),
        service("other", "hidden", "10.96.0.8"),
    ];
    let lines = service_environment(&services, "shop", true, Some((HOST, 6443)));
    let get = |name: &str| lines.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(get("MY_DB_SERVICE_HOST"), Some("10.96.0.9"));
    assert_eq!(get("MY_DB_SERVICE_PORT_HTTP_WEB"), Some("80"));
    assert_eq!(get("MY_DB_PORT_80_TCP"), Some("tcp://10.96.0.9:80"));
    assert_eq!(get("KUBERNETES_SERVICE_HOST"), Some("192.0.2.2"));
    assert_eq!(get("KUBERNETES_SERVICE_PORT"), Some("6443"));
    assert!(!lines.iter().any(|(name, _)| name.starts_with("HEADLESS") || name.starts_with("HIDDEN")));
    let without = service_environment(&services, "shop", false, None);
    assert!(without.is_empty());
}

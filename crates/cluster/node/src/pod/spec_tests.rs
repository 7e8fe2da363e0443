use super::*;
use serde_json::{Value, json};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "u1"}, "spec": spec}),
    )
    .unwrap()
}

fn dns() -> ClusterDns {
    ClusterDns {
        servers: vec!["10.244.0.1".parse().unwrap()],
        domain: "cluster.local".into(),
        host_resolv_conf: "/nonexistent".into(),
    }
}

fn made(spec: Value, image_user: &str) -> Result<ContainerSpec, ConfigError> {
    let pod = pod(spec);
    let mut environment = Environment::default();
    environment.set("WHO", "world");
    let image = LocalImage { names: Vec::new(), id: "sha256:1".into(), size: 0, user: image_user.into() };
    container(&Parts {
        pod: &pod,
        container: &pod.spec.as_ref().unwrap().containers[0],
        image_name: "app".parse().unwrap(),
        image: &image,
        environment: &environment,
        volumes: &Volumes::default(),
        termination_message: None,
        attempt: 2,
        restarts: 1,
        memory_capacity: 1 << 30,
    })
}

fn with(security: Value, image_user: &str) -> Result<ContainerSpec, ConfigError> {
    made(json!({"containers": [{"name": "main", "securityContext": security}]}), image_user)
}

#[test]
fn commands_limits_and_labels_are_translated() {
    let spec = made(
        json!({"containers": [{"name": "main", "command": ["echo"], "args": ["hello $(WHO)", "$$(WHO)"], "tty": true,
            "lifecycle": {"stopSignal": "SIGUSR1"},
            "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "512Mi"}}}]}),
        "",
    )
    .unwrap();
    assert_eq!(
        (spec.command, spec.args),
        (vec!["echo".into()], vec!["hello world".into(), "$(WHO)".to_owned()])
    );
    assert_eq!(spec.env, ["WHO=world"]);
    let resources = &spec.resources;
    assert_eq!(
        (resources.memory, resources.cpu_quota_us, resources.cpu_shares),
        (Some(64 << 20), Some(150_000), Some(256))
    );
    assert_eq!((spec.stop_signal, spec.oom_score_adj, spec.tty), (Some(10), Some(500), true));
    assert_eq!((spec.labels[labels::ATTEMPT].as_str(), spec.labels[labels::RESTARTS].as_str()), ("2", "1"));
}

#[test]
fn security_settings_of_the_container_win_over_the_pods() {
    let spec = made(
        json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
                                   "seccompProfile": {"type": "Unconfined"}},
               "containers": [{"name": "main", "securityContext": {"runAsUser": 5, "readOnlyRootFilesystem": true,
                   "allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                   "seccompProfile": {"type": "RuntimeDefault"}}}]}),
        "",
    )
    .unwrap();
    assert_eq!((spec.user.as_str(), spec.additional_gids.as_slice()), ("5:2", [4, 3].as_slice()));
    assert!(spec.read_only_rootfs && spec.no_new_privs && spec.seccomp == Seccomp::Default);
    assert_eq!((spec.cap_add, spec.cap_drop), (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()]));
}

#[test]
fn who_must_not_be_root_is_not() {
    let non_root = json!({"runAsNonRoot": true});
    for user in ["", "0", "root", "app"] {
        assert!(with(non_root.clone(), user).is_err(), "{user:?}");
    }
    assert!(with(non_root.clone(), "1000").unwrap().run_as_non_root);
    assert!(with(json!({"runAsNonRoot": true, "runAsUser": 0}), "1000").is_err());
    assert_eq!(with(json!({"runAsNonRoot": true, "runAsUser": 7}), "root").unwrap().user, "7");
    assert_eq!(with(json!({"runAsGroup": 9}), "app").unwrap().user, "app:9");
}

#[test]
fn what_is_not_supported_is_said() {
    for security in [
        json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}),
        json!({"appArmorProfile": {"type": "Localhost"}}),
    ] {
        let error = with(security, "").unwrap_err().to_string();
        assert!(error.ends_with("is not supported by this node"), "{error}");
    }
    let refused = refusals(&pod(
        json!({"shareProcessNamespace": true, "hostUsers": false, "runtimeClassName": "kata", "containers": [
        {"name": "main", "volumeDevices": [{"name": "d", "devicePath": "/dev/x"}]}]}),
    ));
    assert_eq!(refused, ["hostUsers: false", "runtimeClassName", "volumeDevices of container main"]);
    let noticed = notices(&pod(
        json!({"containers": [{"name": "main", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]}),
    ));
    assert_eq!(noticed.len(), 1);
}

#[test]
fn sandboxes_know_names_ports_and_where_to_look_names_up() {
    let spec = json!({"hostname": "db", "subdomain": "data", "hostAliases": [{"ip": "10.1.1.1", "hostnames": ["a", "b"]}],
        "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "100"}]},
        "dnsConfig": {"searches": ["more"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
        "containers": [{"name": "main", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}]});
    let made = sandbox(&pod(spec.clone()), &dns(), &Volumes::default());
    assert_eq!((made.hostname.as_str(), made.ports.len(), made.ports[0].host_port), ("db", 1, 8080));
    assert_eq!(made.domain, "data.shop.svc.cluster.local");
    assert_eq!(made.dns.search, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "more"]);
    assert_eq!(made.dns.options, ["ndots:2", "edns0"]);
    assert_eq!((made.hosts[0].names.len(), made.sysctls.len()), (2, 1));
    assert!(made.hosts_title.starts_with("Kubernetes-managed hosts file"), "{}", made.hosts_title);

    let mut host = spec.clone();
    host["hostNetwork"] = true.into();
    host["dnsConfig"] = Value::Null;
    let made = sandbox(&pod(host), &dns(), &Volumes::default());
    assert_eq!((made.network, made.dns, made.ports.len()), (NetworkMode::Host, Dns::default(), 0));

    let mut fqdn = spec;
    fqdn["setHostnameAsFQDN"] = true.into();
    let made = sandbox(&pod(fqdn), &dns(), &Volumes::default());
    assert_eq!(made.hostname, "db.data.shop.svc.cluster.local");
}

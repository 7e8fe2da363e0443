//! PodSecurity: each rule of the standards, the modes, and what a stricter namespace is told.

use hako_api::Identity;
use hako_error::Result;
use serde_json::{Value, json};

use super::{assert_forbidden, create_as, make, pod};
use crate::support::World;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// A namespace with these labels, and an account in it.
async fn namespace(world: &World, name: &str, labels: &[(&str, &str)]) {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
    make(world, "namespaces", json!({"metadata": {"name": name, "labels": labels}})).await;
    let account = json!({"metadata": {"name": "default"}});
    create_as(world, Identity::admin(), "serviceaccounts", Some(name), account).await.unwrap();
}

async fn create(world: &World, namespace: &str, pod: Value) -> Result<Value> {
    create_as(world, Identity::admin(), "pods", Some(namespace), pod).await
}

/// A pod that the restricted level allows, with a change.
fn hard_pod(name: &str, of_pod: Value, of_container: Value) -> Value {
    let mut made = pod(
        name,
        json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}}),
    );
    made["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    merge(&mut made["spec"], &of_pod);
    merge(&mut made["spec"]["containers"][0], &of_container);
    made
}

fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    to.remove(key);
                } else {
                    merge(to.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (to, from) => *to = from.clone(),
    }
}

/// Pods with these changes are all refused, with these words.
async fn assert_baseline_refuses(world: &World, cases: Vec<(Value, Value, &str)>) {
    namespace(world, "base", &[("enforce", "baseline")]).await;
    for (index, (of_pod, of_container, text)) in cases.into_iter().enumerate() {
        let mut made = pod(&format!("p{index}"), json!({}));
        merge(&mut made["spec"], &of_pod);
        merge(&mut made["spec"]["containers"][0], &of_container);
        let refused = create(world, "base", made).await;
        assert_forbidden(refused, &format!("violates PodSecurity \"baseline:latest\": {text}"));
    }
    create(world, "base", pod("plain", json!({}))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_baseline_level_refuses_each_known_way_out() {
    let world = World::start().await;
    let security = |context: Value| json!({"securityContext": context});
    let none = || json!({});
    let cases = vec![
        (
            json!({"hostNetwork": true, "hostPID": true}),
            none(),
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (json!({"hostIPC": true}), none(), "host namespaces (hostIPC=true)"),
        (
            none(),
            security(json!({"privileged": true})),
            "privileged (container \"main\" must not set securityContext.privileged=true)",
        ),
        (
            none(),
            security(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"main\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            none(),
            "hostPath volumes (volume \"v\")",
        ),
        (
            none(),
            json!({"ports": [{"containerPort": 80, "hostPort": 8080}]}),
            "hostPort (container \"main\" uses hostPort 8080)",
        ),
        (
            none(),
            json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}}),
            "probe or lifecycle host (container \"main\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
    ];
    assert_baseline_refuses(&world, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_baseline_level_refuses_less_confinement() {
    let world = World::start().await;
    let security = |context: Value| json!({"securityContext": context});
    let none = || json!({});
    let cases = vec![
        (
            json!({"hostUsers": false}),
            security(json!({"seLinuxOptions": {"type": "spc_t", "user": "u"}})),
            "seLinuxOptions (container \"main\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)",
        ),
        (
            security(json!({"seccompProfile": {"type": "Unconfined"}})),
            none(),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            security(json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})),
            none(),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            security(json!({"appArmorProfile": {"type": "Unconfined"}})),
            none(),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
    ];
    assert_baseline_refuses(&world, cases).await;
    // Only pods with users of their own may ask for it, and later versions let those.
    namespace(&world, "before", &[("enforce", "baseline"), ("enforce-version", "v1.34")]).await;
    let mut unmasked = pod("unmasked", json!({"hostUsers": false}));
    merge(&mut unmasked["spec"]["containers"][0], &security(json!({"procMount": "Unmasked"})));
    assert_forbidden(
        create(&world, "before", unmasked.clone()).await,
        "violates PodSecurity \"baseline:v1.34\": procMount (container \"main\" must not set \
         securityContext.procMount to \"Unmasked\")",
    );
    create(&world, "base", unmasked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_restricted_level_wants_pods_hardened() {
    let world = World::start().await;
    namespace(&world, "hard", &[("enforce", "restricted")]).await;
    let refused = create(&world, "hard", pod("p", json!({}))).await;
    assert_forbidden(
        refused,
        "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false \
         (container \"main\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities \
         (container \"main\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or \
         container \"main\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"main\" must \
         set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    create(&world, "hard", hard_pod("fine", json!({}), json!({}))).await.unwrap();
    let security = |context: Value| json!({"securityContext": context});
    let cases = [
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            json!({}),
            "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")",
        ),
        (
            json!({}),
            security(json!({"capabilities": {"add": ["CHOWN"]}})),
            "unrestricted capabilities (container \"main\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            json!({}),
            security(json!({"runAsNonRoot": false})),
            "runAsNonRoot != true (container \"main\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            json!({}),
            security(json!({"runAsUser": 0})),
            "runAsUser=0 (container \"main\" must not set runAsUser=0)",
        ),
        (
            json!({}),
            security(json!({"allowPrivilegeEscalation": true})),
            "allowPrivilegeEscalation != false (container \"main\" must set securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            json!({}),
            security(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"main\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ];
    for (index, (of_pod, of_container, text)) in cases.into_iter().enumerate() {
        let refused = create(&world, "hard", hard_pod(&format!("p{index}"), of_pod, of_container)).await;
        assert_forbidden(refused, &format!("violates PodSecurity \"restricted:latest\": {text}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_those_of_the_version_that_the_label_says() {
    let world = World::start().await;
    namespace(&world, "old", &[("enforce", "restricted"), ("enforce-version", "v1.18")]).await;
    let mut made =
        hard_pod("p", json!({}), json!({"securityContext": {"capabilities": null, "runAsUser": 0}}));
    made["spec"]["securityContext"]["seccompProfile"] = Value::Null;
    create(&world, "old", made).await.unwrap();
    let safe_later = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}});
    let refused = create(&world, "old", hard_pod("q", safe_later.clone(), json!({}))).await;
    assert_forbidden(
        refused,
        "violates PodSecurity \"restricted:v1.18\": forbidden sysctls (net.ipv4.tcp_rmem)",
    );
    namespace(&world, "new", &[("enforce", "restricted")]).await;
    create(&world, "new", hard_pod("q", safe_later, json!({}))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_come_for_pods_and_for_what_makes_them() {
    let world = World::start().await;
    let labels = [("warn", "baseline"), ("audit", "restricted")];
    namespace(&world, "w", &labels).await;
    let mut privileged = pod("p", json!({}));
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let text = "Warning: would violate PodSecurity \"baseline:latest\": privileged (container \"main\" must not set \
                securityContext.privileged=true)";
    let arguments = ["create", "-n", "w", "-f", "-"];
    let (worked, _, said) = world.try_kubectl(&arguments, &privileged.to_string()).await;
    assert!(worked && said.contains(text), "{said}");
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": privileged["spec"]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    namespace(&world, "e", &[("enforce", "baseline"), ("warn", "baseline")]).await;
    let arguments = ["create", "-n", "e", "-f", "-"];
    let (worked, _, said) = world.try_kubectl(&arguments, &deployment.to_string()).await;
    assert!(worked && said.contains(text), "what makes pods is not refused: {said}");
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": {
        "schedule": "* * * * *",
        "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": privileged["spec"]["containers"]}}}}}});
    let (worked, _, said) = world.try_kubectl(&arguments, &cron.to_string()).await;
    assert!(worked && said.contains(text), "{said}");
    let (worked, _, said) = world.try_kubectl(&arguments, &privileged.to_string()).await;
    assert!(!worked && said.contains("violates PodSecurity") && !said.contains("Warning"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_mean_nothing_are_refused() {
    let world = World::start().await;
    let label = |key: &str, value: &str| json!({"metadata": {"name": "n", "labels": {format!("{PREFIX}{key}"): value}}});
    for (key, value, text) in [
        ("enforce", "strict", "must be one of privileged, baseline, restricted"),
        ("warn-version", "1.30", "must be \"latest\" or \"v1.x\""),
        ("audit-version", "v1.030", "must be \"latest\" or \"v1.x\""),
    ] {
        let refused = create_as(&world, Identity::admin(), "namespaces", None, label(key, value)).await;
        let error = refused.unwrap_err().to_string();
        let path = format!("metadata.labels[{PREFIX}{key}]: Invalid value: {value:?}: {text}");
        assert!(error.contains(&path), "{error} should say {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_namespace_is_told_which_of_its_pods_do_not_fit() {
    let world = World::start().await;
    namespace(&world, "n", &[]).await;
    for name in ["a", "b"] {
        let mut made = pod(name, json!({"hostNetwork": true}));
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true});
        made["metadata"]["ownerReferences"] = json!([owner]);
        create(&world, "n", made).await.unwrap();
    }
    create(&world, "n", pod("fine", json!({}))).await.unwrap();
    let label = format!("{PREFIX}enforce=baseline");
    let (worked, _, said) = world.try_kubectl(&["label", "namespace", "n", &label], "").await;
    assert!(worked, "{said}");
    let head =
        "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"";
    assert!(said.contains(head), "{said}");
    assert!(said.contains("a (and 1 other pod): host namespaces") && !said.contains("fine"), "{said}");
    let relaxed = format!("{PREFIX}enforce=privileged");
    let (worked, _, said) =
        world.try_kubectl(&["label", "--overwrite", "namespace", "n", &relaxed], "").await;
    assert!(worked && !said.contains("existing pods"), "{said}");
}

//! What roles grant, to whom, and that nobody grants what they do not have.

use hako_api::Identity;
use hako_client::{DynamicApi, ListParams, Patch, ResourceType, WriteOptions};
use hako_error::Kind;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::{Value, json};
use std::time::Duration;

use crate::contract::config_map;
use crate::support::World;

const GROUP: &str = "rbac.authorization.k8s.io";
const PATIENCE: Duration = Duration::from_secs(20);

fn of(world: &World, user: &str, plural: &str, namespace: Option<&str>) -> DynamicApi {
    let client = world.server.client(Identity::new(user, &["dev", "system:authenticated"]));
    client.dynamic(&ResourceType::new(GROUP, "v1", plural), namespace)
}

async fn make(world: &World, plural: &str, namespace: Option<&str>, object: Value) {
    let admin = world.inside().dynamic(&ResourceType::new(GROUP, "v1", plural), namespace);
    admin.create(&object, &WriteOptions::default()).await.unwrap();
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, role: (&str, &str), subject: Value) -> Value {
    json!({
        "metadata": {"name": name}, "roleRef": {"kind": role.0, "name": role.1},
        "subjects": [subject],
    })
}

/// Asks again until the answer is yes: roles apply once the server has heard of them.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let ends = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < ends, "it never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_grants_what_it_says_to_whom_it_says_and_where() {
    let world = World::start().await;
    let rules = json!([
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]},
        {"verbs": ["get", "watch"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]},
    ]);
    make(&world, "roles", Some("default"), role("reader", rules)).await;
    let jane = json!({"kind": "User", "name": "jane"});
    make(&world, "rolebindings", Some("default"), binding("b", ("Role", "reader"), jane)).await;
    world.inside().namespaced::<ConfigMap>("default").create(&config_map("a", "x")).await.unwrap();
    let jane = world.server.client(Identity::new("jane", &["system:authenticated"]));
    until(async || jane.namespaced::<ConfigMap>("default").get("a").await.is_ok()).await;
    let denied = |kind: Kind| assert_eq!(kind, Kind::Forbidden);
    denied(jane.namespaced::<ConfigMap>("kube-system").get("a").await.unwrap_err().kind());
    denied(jane.all::<ConfigMap>().list(&ListParams::default()).await.unwrap_err().kind());
    denied(jane.namespaced::<ConfigMap>("default").create(&config_map("b", "x")).await.unwrap_err().kind());
    let secrets = jane.namespaced::<Secret>("default");
    assert_eq!(secrets.get("one").await.unwrap_err().kind(), Kind::NotFound);
    denied(secrets.get("two").await.unwrap_err().kind());
    denied(secrets.list(&ListParams::default()).await.unwrap_err().kind());
    let joe = world.server.client(Identity::new("joe", &["system:authenticated"]));
    denied(joe.namespaced::<ConfigMap>("default").get("a").await.unwrap_err().kind());

    let admin = world.inside().dynamic(&ResourceType::new(GROUP, "v1", "rolebindings"), Some("default"));
    admin.delete("b", &hako_client::DeleteOptions::default()).await.unwrap();
    until(async || jane.namespaced::<ConfigMap>("default").get("a").await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_cluster_roles_are_granted_in_one_namespace_or_in_all() {
    let world = World::start().await;
    let group = json!({"kind": "Group", "name": "dev"});
    make(&world, "rolebindings", Some("default"), binding("v", ("ClusterRole", "view"), group.clone())).await;
    let jane = world.server.client(Identity::new("jane", &["dev", "system:authenticated"]));
    until(async || jane.namespaced::<Pod>("default").list(&ListParams::default()).await.is_ok()).await;
    assert!(jane.namespaced::<Pod>("kube-system").list(&ListParams::default()).await.is_err());
    let secrets = jane.namespaced::<Secret>("default").list(&ListParams::default()).await;
    assert_eq!(secrets.unwrap_err().kind(), Kind::Forbidden, "view shows no secrets");
    make(&world, "clusterrolebindings", None, binding("v", ("ClusterRole", "view"), group)).await;
    until(async || jane.namespaced::<Pod>("kube-system").list(&ListParams::default()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_more_than_they_have() {
    let world = World::start().await;
    let rules = json!([
        {"verbs": ["*"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    let rules = json!([rules[0].clone(), rules[1].clone()]);
    let mut without_escalate = rules.clone();
    without_escalate[0]["verbs"] = json!(["create", "get", "update", "patch"]);
    make(&world, "roles", Some("default"), role("keeper", without_escalate)).await;
    let jane = json!({"kind": "User", "name": "jane"});
    make(&world, "rolebindings", Some("default"), binding("k", ("Role", "keeper"), jane.clone())).await;
    let roles = of(&world, "jane", "roles", Some("default"));
    let bindings = of(&world, "jane", "rolebindings", Some("default"));
    let create = WriteOptions::default();
    let small = role("small", json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]));
    until(async || roles.create(&small, &create).await.is_ok()).await;
    let large = role(
        "large",
        json!([
            {"verbs": ["get", "delete", "create"], "apiGroups": ["", "apps"], "resources": ["pods"]},
            {"verbs": ["use"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
        ]),
    );
    let error = roles.create(&large, &create).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
    let text = error.to_string();
    assert!(
        text.starts_with("roles.rbac.authorization.k8s.io \"large\" is forbidden: user \"jane\" (groups=")
            && text.contains("is attempting to grant RBAC permissions not currently held:")
            && text.ends_with(
                "{APIGroups:[\"\"], Resources:[\"pods\"], ResourceNames:[\"a\"], Verbs:[\"use\"]}\n\
                 {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"create\"]}\n\
                 {APIGroups:[\"apps\"], Resources:[\"pods\"], Verbs:[\"get\" \"delete\" \"create\"]}"
            ),
        "{text}"
    );
    let patch = Patch::Merge(json!({"rules": large["rules"]}));
    assert!(roles.patch("small", None, &patch, &create).await.is_err(), "nor by a change");
    let to_admin = binding("x", ("ClusterRole", "admin"), jane.clone());
    assert_eq!(bindings.create(&to_admin, &create).await.unwrap_err().kind(), Kind::Forbidden);
    let to_nothing = binding("y", ("Role", "later"), jane.clone());
    assert_eq!(bindings.create(&to_nothing, &create).await.unwrap_err().kind(), Kind::NotFound);
    bindings.create(&binding("z", ("Role", "small"), jane.clone()), &create).await.unwrap();

    let may_bind = json!([{
        "verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["admin"]}]);
    make(&world, "roles", Some("default"), role("binder", may_bind)).await;
    make(&world, "rolebindings", Some("default"), binding("b", ("Role", "binder"), jane)).await;
    until(async || bindings.create(&to_admin, &create).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_escalate_writes_any_rules_and_who_may_not_leaves_them_as_they_are() {
    let world = World::start().await;
    let jane = json!({"kind": "User", "name": "jane"});
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let writes = json!([{
        "verbs": ["create", "get", "patch"], "apiGroups": [GROUP], "resources": ["clusterroles", "clusterrolebindings"],
    }]);
    make(&world, "clusterroles", None, role("writer", writes)).await;
    make(&world, "clusterroles", None, role("large", all.clone())).await;
    make(&world, "clusterrolebindings", None, binding("w", ("ClusterRole", "writer"), jane.clone())).await;
    let joe = json!({"kind": "User", "name": "joe"});
    make(&world, "clusterrolebindings", None, binding("l", ("ClusterRole", "large"), joe)).await;
    let (roles, bindings) =
        (of(&world, "jane", "clusterroles", None), of(&world, "jane", "clusterrolebindings", None));
    let create = WriteOptions::default();
    until(async || roles.create(&role("empty", json!([])), &create).await.is_ok()).await;

    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    roles.patch("large", None, &label, &create).await.expect("its rules stay as they are");
    bindings.patch("l", None, &label, &create).await.expect("nobody is given anything");
    let given = Patch::Merge(json!({"subjects": [jane]}));
    let refusal = bindings.patch("l", None, &given, &create).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Forbidden, "somebody else is given the role");
    let summed = json!({
        "metadata": {"name": "sum"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    });
    let refusal = roles.create(&summed, &create).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Forbidden, "a role that is summed up may come to grant anything");
    assert_eq!(roles.create(&role("any", all.clone()), &create).await.unwrap_err().kind(), Kind::Forbidden);

    let escalates = json!([{
        "verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["any", "sum"],
    }]);
    make(&world, "clusterroles", None, role("escalates", escalates)).await;
    make(&world, "clusterrolebindings", None, binding("e", ("ClusterRole", "escalates"), jane)).await;
    until(async || roles.create(&role("any", all.clone()), &create).await.is_ok()).await;
    roles.create(&summed, &create).await.unwrap();
    let refusal = roles.create(&role("other", all), &create).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Forbidden, "that is for the roles named");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_roles_and_bindings_are_refused_field_by_field() {
    let world = World::start().await;
    let admin =
        |plural: &str, namespace| world.inside().dynamic(&ResourceType::new(GROUP, "v1", plural), namespace);
    let create = WriteOptions::default();
    let roles = admin("roles", Some("default"));
    let bad = role(
        "r",
        json!([{"verbs": [], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["get"], "nonResourceURLs": ["/x"]}, {"verbs": ["get"]}]),
    );
    let text = roles.create(&bad, &create).await.unwrap_err().to_string();
    for part in [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[1].nonResourceURLs: Invalid value",
        "namespaced rules cannot apply to non-resource URLs",
        "rules[2].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[2].resources: Required value: resource rules must supply at least one resource",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let bindings = admin("clusterrolebindings", None);
    let bad = binding("b", ("Role", "x"), json!({"kind": "ServiceAccount", "name": "s"}));
    let text = bindings.create(&bad, &create).await.unwrap_err().to_string();
    assert!(
        text.contains("roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""),
        "{text}"
    );
    assert!(text.contains("subjects[0].namespace: Required value"), "{text}");
    make(
        &world,
        "clusterrolebindings",
        None,
        binding("b", ("ClusterRole", "view"), json!({"kind": "User", "name": "j"})),
    )
    .await;
    let patch = Patch::Merge(json!({"roleRef": {"name": "admin"}}));
    let text = bindings.patch("b", None, &patch, &create).await.unwrap_err().to_string();
    assert!(text.contains("cannot change roleRef"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_asks_what_one_may_and_who_one_is() {
    let world = World::start().await;
    assert_eq!(world.kubectl(&["auth", "can-i", "delete", "nodes"]).await.trim(), "yes");
    let (yes, out, _) = world.try_kubectl(&["auth", "can-i", "list", "pods", "--as", "jane"], "").await;
    assert!(!yes && out.trim() == "no", "{out}");
    world
        .kubectl(&["create", "rolebinding", "v", "--clusterrole=view", "--user=jane", "-n", "default"])
        .await;
    let ask = ["auth", "can-i", "list", "pods", "--as", "jane", "-n", "default"];
    until(async || world.try_kubectl(&ask, "").await.0).await;
    let listed = world.kubectl(&["auth", "can-i", "--list", "--as", "jane", "-n", "default"]).await;
    assert!(
        listed.contains("selfsubjectreviews.authentication.k8s.io") && listed.contains("pods/log"),
        "{listed}"
    );
    let who = ["auth", "whoami", "-o", "json", "--as", "jane", "--as-group", "ops"];
    let who: Value = serde_json::from_str(&world.kubectl(&who).await).unwrap();
    let info = &who["status"]["userInfo"];
    assert_eq!(info["username"], "jane");
    assert_eq!(info["groups"], json!(["ops", "system:authenticated"]));
    let table = world.kubectl(&["get", "clusterrolebindings", "cluster-admin", "-o", "wide"]).await;
    assert!(table.contains("ClusterRole/cluster-admin") && table.contains("system:masters"), "{table}");
    assert!(world.kubectl(&["get", "clusterrole", "view"]).await.contains("CREATED AT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_impersonate_stays_who_they_are() {
    let world = World::start().await;
    world.kubectl(&["create", "clusterrolebinding", "v", "--clusterrole=view", "--user=jane"]).await;
    let ask = ["auth", "can-i", "list", "pods", "--as", "jane"];
    until(async || world.try_kubectl(&ask, "").await.0).await;
    let jane = world.pki.client("jane", &["dev"]).unwrap();
    let kubeconfig = world.dir.path().join("jane");
    hako_api::pki::write_kubeconfig(&kubeconfig, "jane", &world.url, world.pki.ca(), &jane).unwrap();
    let path = kubeconfig.to_str().unwrap();
    let out = world.kubectl(&["--kubeconfig", path, "get", "pods"]).await;
    assert_eq!(out, "");
    for flags in [&["--as", "root", "--as-group", "system:masters"][..], &["--as", "root"]] {
        let (worked, _, error) =
            world.try_kubectl(&[&["--kubeconfig", path, "get", "pods"][..], flags].concat(), "").await;
        let wanted = "users \"root\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" \
                      at the cluster scope";
        assert!(!worked && error.contains(wanted), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn default_roles_are_given_back_what_they_lost_at_a_start_unless_they_say_no() {
    let world = World::start().await;
    let admin = world.inside().dynamic(&ResourceType::new(GROUP, "v1", "clusterroles"), None);
    let options = WriteOptions::default();
    let empty = Patch::Merge(json!({"rules": []}));
    admin.patch("view", None, &empty, &options).await.unwrap();
    let left = Patch::Merge(json!({
        "rules": [], "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}}));
    admin.patch("edit", None, &left, &options).await.unwrap();
    world.server.stop();
    let config = hako_api::ServerConfig::new(std::sync::Arc::clone(&world.store) as _, world.pki.clone());
    let again = hako_api::Server::new(config).await.unwrap();
    let roles =
        again.client(Identity::admin()).dynamic(&ResourceType::new(GROUP, "v1", "clusterroles"), None);
    assert!(!roles.get("view").await.unwrap()["rules"].as_array().unwrap().is_empty());
    assert!(roles.get("edit").await.unwrap()["rules"].as_array().is_none_or(Vec::is_empty));
    again.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_only_look_begins_no_session_over_web_sockets() {
    let world = World::start().await;
    let (looks, acts) = (world.pki.client("looks", &[]).unwrap(), world.pki.client("acts", &[]).unwrap());
    for (user, verbs) in [("looks", "get"), ("acts", "get,create")] {
        let role = ["create", "role", user, "--resource=pods/exec", &format!("--verb={verbs}")];
        world.kubectl(&role).await;
        world
            .kubectl(&["create", "rolebinding", user, &format!("--role={user}"), &format!("--user={user}")])
            .await;
    }
    let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n";
    let line = "GET /api/v1/namespaces/default/pods/none/exec?command=sh&stdout=true";
    let mut codes = Vec::new();
    for pair in [&looks, &acts] {
        let code = async {
            loop {
                let mut raw = crate::raw::Raw::open_as(&world, Some(pair), "http/1.1").await;
                let head = raw.request(line, headers).await.head().await;
                let text = format!("{head}{}", raw.rest().await);
                // Until the role is known even looking is refused.
                if !text.contains("cannot get resource") {
                    return text;
                }
            }
        };
        codes.push(tokio::time::timeout(crate::raw::DEADLINE, code).await.unwrap());
    }
    assert!(
        codes[0].starts_with("http/1.1 403 ") && codes[0].contains("cannot create resource"),
        "{}",
        codes[0]
    );
    assert!(codes[1].starts_with("http/1.1 404 "), "{}", codes[1]);
}

//! The roles and bindings every cluster has, as upstream documents them (RBAC authorization, "Default roles and role
//! bindings"). Controllers and the agent of a node run in this process under rules of their own.

use std::sync::Arc;

use futures::future::try_join_all;
use hako_client::{DynamicApi, ResourceType, WriteOptions};
use hako_error::{Kind, Result};
use serde_json::{Value, json};

use super::cover::uncovered;
use super::rule::Rule;
use crate::auth::Identity;
use crate::server::{Inner, Server};

/// Verbs, groups and resources; or verbs and paths.
enum Grant {
    On(&'static [&'static str], &'static [&'static str], &'static [&'static str]),
    Paths(&'static [&'static str], &'static [&'static str]),
}
use Grant::{On, Paths};

/// A cluster role.
struct DefaultRole {
    name: &'static str,
    /// The role into which it is aggregated.
    into: &'static str,
    grants: &'static [Grant],
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const ANY: &[&str] = &["*"];
const CORE: &[&str] = &[""];
const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];

const fn role(name: &'static str, grants: &'static [Grant]) -> DefaultRole {
    DefaultRole { name, into: "", grants }
}

const ROLES: &[DefaultRole] = &[
    role("cluster-admin", &[On(ANY, ANY, ANY), Paths(ANY, ANY)]),
    role(
        "system:discovery",
        &[Paths(
            &["get"],
            &[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ],
        )],
    ),
    role("system:public-info-viewer", &[Paths(&["get"], HEALTH)]),
    role(
        "system:basic-user",
        &[
            On(
                &["create"],
                &["authorization.k8s.io"],
                &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            ),
            On(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
        ],
    ),
    role(
        "system:monitoring",
        &[Paths(
            &["get"],
            &[
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*",
            ],
        )],
    ),
    role(
        "system:service-account-issuer-discovery",
        &[Paths(
            &["get"],
            &[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ],
        )],
    ),
    role(
        "system:auth-delegator",
        &[
            On(&["create"], &["authentication.k8s.io"], &["tokenreviews"]),
            On(&["create"], &["authorization.k8s.io"], &["subjectaccessreviews"]),
        ],
    ),
    role(
        "system:kube-dns",
        &[
            On(&["list", "watch"], CORE, &["endpoints", "services"]),
            On(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
        ],
    ),
    role(
        "system:node-proxier",
        &[
            On(&["list", "watch"], CORE, &["endpoints", "services"]),
            On(READ, CORE, &["nodes"]),
            On(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]),
            On(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
            On(&["list", "watch"], &["networking.k8s.io"], &["servicecidrs"]),
        ],
    ),
    role(
        "system:kubelet-api-admin",
        &[
            On(READ, CORE, &["nodes"]),
            On(&["proxy"], CORE, &["nodes"]),
            On(ANY, CORE, &["nodes/log", "nodes/metrics", "nodes/proxy", "nodes/spec", "nodes/stats"]),
        ],
    ),
    role(
        "system:node-bootstrapper",
        &[On(&["create", "get", "list", "watch"], &["certificates.k8s.io"], &["certificatesigningrequests"])],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[On(&["create"], &["certificates.k8s.io"], &["certificatesigningrequests/nodeclient"])],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[On(&["create"], &["certificates.k8s.io"], &["certificatesigningrequests/selfnodeclient"])],
    ),
    role(
        "system:persistent-volume-provisioner",
        &[
            On(&["create", "delete", "get", "list", "watch"], CORE, &["persistentvolumes"]),
            On(&["get", "list", "update", "watch"], CORE, &["persistentvolumeclaims"]),
            On(READ, &["storage.k8s.io"], &["storageclasses"]),
            On(&["watch"], CORE, &["events"]),
            On(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]),
        ],
    ),
    DefaultRole {
        name: "system:aggregate-to-view",
        into: "view",
        grants: &[
            On(
                READ,
                CORE,
                &[
                    "configmaps",
                    "endpoints",
                    "persistentvolumeclaims",
                    "persistentvolumeclaims/status",
                    "pods",
                    "replicationcontrollers",
                    "replicationcontrollers/scale",
                    "serviceaccounts",
                    "services",
                    "services/status",
                    "bindings",
                    "events",
                    "limitranges",
                    "namespaces/status",
                    "pods/log",
                    "pods/status",
                    "replicationcontrollers/status",
                    "resourcequotas",
                    "resourcequotas/status",
                    "namespaces",
                ],
            ),
            On(READ, &["discovery.k8s.io"], &["endpointslices"]),
            On(
                READ,
                &["apps"],
                &[
                    "controllerrevisions",
                    "daemonsets",
                    "daemonsets/status",
                    "deployments",
                    "deployments/scale",
                    "deployments/status",
                    "replicasets",
                    "replicasets/scale",
                    "replicasets/status",
                    "statefulsets",
                    "statefulsets/scale",
                    "statefulsets/status",
                ],
            ),
            On(READ, &["autoscaling"], &["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
            On(READ, &["batch"], &["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
            On(READ, &["policy"], &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
            On(READ, &["networking.k8s.io"], &["ingresses", "ingresses/status", "networkpolicies"]),
        ],
    },
    DefaultRole {
        name: "system:aggregate-to-edit",
        into: "edit",
        grants: &[
            On(
                READ,
                CORE,
                &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"],
            ),
            On(&["impersonate"], CORE, &["serviceaccounts"]),
            On(
                WRITE,
                CORE,
                &[
                    "pods",
                    "pods/attach",
                    "pods/exec",
                    "pods/portforward",
                    "pods/proxy",
                    "configmaps",
                    "events",
                    "persistentvolumeclaims",
                    "replicationcontrollers",
                    "replicationcontrollers/scale",
                    "secrets",
                    "serviceaccounts",
                    "services",
                    "services/proxy",
                ],
            ),
            On(&["create"], CORE, &["pods/eviction", "serviceaccounts/token"]),
            On(
                WRITE,
                &["apps"],
                &[
                    "daemonsets",
                    "deployments",
                    "deployments/rollback",
                    "deployments/scale",
                    "replicasets",
                    "replicasets/scale",
                    "statefulsets",
                    "statefulsets/scale",
                ],
            ),
            On(WRITE, &["autoscaling"], &["horizontalpodautoscalers"]),
            On(WRITE, &["batch"], &["cronjobs", "jobs"]),
            On(WRITE, &["policy"], &["poddisruptionbudgets"]),
            On(WRITE, &["networking.k8s.io"], &["ingresses", "networkpolicies"]),
            On(ALL, &["coordination.k8s.io"], &["leases"]),
        ],
    },
    DefaultRole {
        name: "system:aggregate-to-admin",
        into: "admin",
        grants: &[
            On(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews"]),
            On(ALL, &["rbac.authorization.k8s.io"], &["rolebindings", "roles"]),
        ],
    },
];

/// Roles that are the sum of others, by a label, which they have themselves in the last column.
const SUMS: &[(&str, &[&str], &[&str])] = &[
    ("admin", &["admin", "edit", "view"], &[]),
    ("edit", &["edit", "view"], &["admin"]),
    ("view", &["view"], &["admin", "edit"]),
];

/// Cluster role, kind of the subject, its name.
const BINDINGS: &[(&str, &str, &str)] = &[
    ("cluster-admin", "Group", "system:masters"),
    ("system:basic-user", "Group", "system:authenticated"),
    ("system:discovery", "Group", "system:authenticated"),
    ("system:monitoring", "Group", "system:monitoring"),
    ("system:node-proxier", "User", "system:kube-proxy"),
    ("system:service-account-issuer-discovery", "Group", "system:serviceaccounts"),
];

const PUBLIC: &str = "system:public-info-viewer";

/// Makes what is missing, and gives back to the roles what they lack, unless they say that they are not to be kept
/// (`rbac.authorization.kubernetes.io/autoupdate: "false"`).
pub(crate) async fn bootstrap(server: &Arc<Inner>) -> Result<()> {
    let client = Server::of(server).client(Identity::admin()).named("kube-apiserver");
    let of = |plural| client.dynamic(&ResourceType::new("rbac.authorization.k8s.io", "v1", plural), None);
    let (roles, bindings) = (of("clusterroles"), of("clusterrolebindings"));
    let mut wanted: Vec<(String, Value)> = ROLES.iter().map(DefaultRole::object).collect();
    wanted.extend(SUMS.iter().map(sum));
    let lacking = wanted.into_iter().filter(|(name, object)| lacks(server, name, object));
    try_join_all(lacking.map(|(name, object)| keep(&roles, name, object))).await?;
    let made = BINDINGS.iter().map(|(role, kind, name)| binding(role, &[(kind, name)]));
    let public = [("Group", "system:authenticated"), ("Group", "system:unauthenticated")];
    let made: Vec<Value> = made.chain([binding(PUBLIC, &public)]).collect();
    try_join_all(made.iter().map(|object| create(&bindings, object))).await?;
    Ok(())
}

impl DefaultRole {
    fn object(&self) -> (String, Value) {
        let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
        if !self.into.is_empty() {
            labels[label(self.into)] = "true".into();
        }
        let rules: Vec<Value> = self.grants.iter().map(Grant::rule).collect();
        let metadata = metadata(self.name, labels);
        (self.name.to_owned(), json!({"metadata": metadata, "rules": rules}))
    }
}

impl Grant {
    fn rule(&self) -> Value {
        match self {
            On(verbs, groups, resources) => {
                json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
            }
            Paths(verbs, paths) => json!({"verbs": verbs, "nonResourceURLs": paths}),
        }
    }
}

fn label(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

fn metadata(name: &str, labels: Value) -> Value {
    json!({
        "name": name, "labels": labels,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

/// A sum with its rules filled in, so that it grants from the first moment.
fn sum((name, of, into): &(&str, &[&str], &[&str])) -> (String, Value) {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    for role in *into {
        labels[label(role)] = "true".into();
    }
    let parts = ROLES.iter().filter(|role| of.contains(&role.into));
    let rules: Vec<Value> = parts.flat_map(|role| role.grants.iter().map(Grant::rule)).collect();
    let selector = json!([{"matchLabels": {label(name): "true"}}]);
    let object = json!({
        "metadata": metadata(name, labels), "rules": rules,
        "aggregationRule": {"clusterRoleSelectors": selector},
    });
    ((*name).to_owned(), object)
}

fn binding(role: &str, subjects: &[(&str, &str)]) -> Value {
    let group = "rbac.authorization.k8s.io";
    let subjects: Vec<Value> =
        subjects.iter().map(|(kind, name)| json!({"apiGroup": group, "kind": kind, "name": name})).collect();
    json!({
        "metadata": metadata(role, json!({"kubernetes.io/bootstrapping": "rbac-defaults"})),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

fn rules_of(object: &Value) -> Vec<Rule> {
    let rules = object.get("rules").cloned().unwrap_or_default();
    serde_json::from_value(rules).unwrap_or_default()
}

fn lacks(server: &Inner, name: &str, object: &Value) -> bool {
    let index = server.rbac.read();
    index.role("", name).is_none_or(|rules| !uncovered(rules, &rules_of(object)).is_empty())
}

async fn keep(roles: &DynamicApi, name: String, object: Value) -> Result<()> {
    match roles.create(&object, &WriteOptions::default()).await {
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        other => return other.map(drop),
    }
    let mut there = roles.get(&name).await?;
    let annotation = "/metadata/annotations/rbac.authorization.kubernetes.io~1autoupdate";
    if there.pointer(annotation).and_then(Value::as_str) == Some("false") {
        return Ok(());
    }
    let mut rules = rules_of(&there);
    rules.extend(uncovered(&rules, &rules_of(&object)));
    there["rules"] = json!(rules);
    roles.replace(&name, None, &there, &WriteOptions::default()).await.map(drop)
}

async fn create(bindings: &DynamicApi, object: &Value) -> Result<()> {
    match bindings.create(object, &WriteOptions::default()).await {
        Err(error) if error.kind() != Kind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

//! Controllers of objects that are no workloads.

use crate::cluster::{Cluster, eventually};
use hako_client::{DeleteOptions, ListParams, Patch, Propagation, ResourceType, WriteOptions};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Node, Pod, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_keeps_its_number_of_pods() {
    let cluster = Cluster::start().await;
    let template = json!({ "metadata": { "labels": { "app": "rc" } },
        "spec": { "containers": [{ "name": "c", "image": "web:1" }] } });
    let object = json!({ "metadata": { "name": "rc" }, "spec": { "replicas": 2, "template": template } });
    cluster.create::<ReplicationController>(object).await;
    let ready = async || {
        let status =
            cluster.api::<ReplicationController>().get("rc").await.unwrap().status.unwrap_or_default();
        (status.replicas, status.ready_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0))
    };
    eventually("two pods", async || ready().await == (2, 2, 2)).await;
    let pods = cluster.list::<Pod>().await;
    let owner = &pods[0].metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.api_version.as_str()), ("ReplicationController", "v1"));
    let victim = pods[0].metadata.name.as_deref().unwrap();
    cluster.api::<Pod>().delete(victim, &DeleteOptions::default()).await.unwrap();
    eventually("a replacement", async || {
        let names: Vec<_> =
            cluster.list::<Pod>().await.into_iter().map(|pod| pod.metadata.name.unwrap()).collect();
        names.len() == 2 && !names.iter().any(|name| name == victim) && ready().await == (2, 2, 2)
    })
    .await;
    let with_pods = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    cluster.api::<ReplicationController>().delete("rc", &with_pods).await.unwrap();
    eventually("no pods", async || cluster.list::<Pod>().await.is_empty()).await;
}

async fn used(cluster: &Cluster, quota: &str) -> BTreeMap<String, String> {
    let status = cluster.api::<ResourceQuota>().get(quota).await.unwrap().status.unwrap_or_default();
    status.used.unwrap_or_default().into_iter().map(|(name, amount)| (name, amount.0)).collect()
}

fn quota(name: &str, hard: Value, scopes: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "hard": hard, "scopes": scopes } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_says_what_is_used_and_soon_what_is_used_no_more() {
    let cluster = Cluster::start().await;
    let hard = json!({ "pods": "9", "requests.cpu": "2", "count/configmaps": "9", "services": "9",
        "count/roles.rbac.authorization.k8s.io": "9", "requests.storage": "9Gi" });
    let container =
        |requests: Value| json!({ "name": "c", "image": "web:1", "resources": { "requests": requests } });
    let pod = |name: &str, requests: Value| json!({ "metadata": { "name": name }, "spec": { "containers": [container(requests)] } });
    let has_status = async |quota: &str| used(&cluster, quota).await.contains_key("pods");
    cluster.create::<ResourceQuota>(quota("small", json!({ "pods": "9" }), json!(["BestEffort"]))).await;
    eventually("what is used of small", async || has_status("small").await).await;
    cluster.create::<Pod>(pod("small", json!({}))).await;
    cluster.create::<ResourceQuota>(quota("all", hard, Value::Null)).await;
    eventually("what is used of all", async || has_status("all").await).await;
    cluster.create::<Pod>(pod("large", json!({ "cpu": "250m" }))).await;
    let roles = ResourceType::new("rbac.authorization.k8s.io", "v1", "roles");
    let roles = cluster.client.dynamic(&roles, Some("default"));
    roles
        .create(&json!({ "metadata": { "name": "r" }, "rules": [] }), &WriteOptions::default())
        .await
        .unwrap();
    let expected = |pods: &str, cpu: &str, roles: &str| {
        [("pods", pods), ("requests.cpu", cpu), ("count/roles.rbac.authorization.k8s.io", roles)]
            .map(|(name, amount)| (name.to_owned(), amount.to_owned()))
    };
    let is = async |quota: &str, amounts: &[(String, String)]| {
        let used = used(&cluster, quota).await;
        amounts.iter().all(|(name, amount)| used.get(name) == Some(amount))
    };
    eventually("two pods", async || is("all", &expected("2", "250m", "1")).await).await;
    eventually("one that asks for nothing", async || is("small", &[("pods".into(), "1".into())]).await).await;
    eventually("kube-root-ca.crt", async || is("all", &[("count/configmaps".into(), "1".into())]).await)
        .await;
    cluster.api::<Pod>().delete("large", &DeleteOptions::default()).await.unwrap();
    roles.delete("r", &DeleteOptions::default()).await.unwrap();
    eventually("one pod", async || is("all", &expected("1", "0", "0")).await).await;
    let scaled = Patch::Merge(json!({ "spec": { "hard": { "secrets": "3" } } }));
    cluster.api::<ResourceQuota>().patch("all", &scaled).await.unwrap();
    eventually("a new limit", async || is("all", &[("secrets".into(), "0".into())]).await).await;
    cluster.create::<Secret>(json!({ "metadata": { "name": "s" } })).await;
    eventually("a secret", async || is("all", &[("secrets".into(), "1".into())]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_lets_nobody_in_beyond_a_quota() {
    let cluster = Cluster::start().await;
    cluster.create::<ResourceQuota>(quota("few", json!({ "pods": "5" }), Value::Null)).await;
    eventually("a status", async || used(&cluster, "few").await.contains_key("pods")).await;
    let pods = cluster.api::<Pod>();
    let make = async |number: usize| {
        let pod = json!({ "metadata": { "name": format!("p{number}") },
            "spec": { "containers": [{ "name": "c", "image": "broken" }] } });
        pods.create(&serde_json::from_value(pod).unwrap()).await
    };
    for round in 0..10 {
        let made = futures::future::join_all((0..8).map(|number| make(round * 8 + number))).await;
        for refused in made.into_iter().filter_map(Result::err) {
            assert!(refused.chain().to_string().contains("exceeded quota: few"), "{}", refused.chain());
        }
        assert!(cluster.list::<Pod>().await.len() <= 5);
    }
    assert_eq!(cluster.list::<Pod>().await.len(), 5);
    cluster.api::<Pod>().delete_collection(&ListParams::default(), &DeleteOptions::now()).await.unwrap();
    eventually("room again", async || make(100).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_role_has_the_rules_of_those_it_selects() {
    let cluster = Cluster::start().await;
    let roles = cluster.client.all::<ClusterRole>();
    let sum = json!({ "metadata": { "name": "sum" },
        "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "part": "yes" } }] }, "rules": [] });
    roles.create(&serde_json::from_value(sum).unwrap()).await.unwrap();
    let part = json!({ "metadata": { "name": "part", "labels": { "part": "yes" } },
        "rules": [{ "apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"] }] });
    roles.create(&serde_json::from_value(part).unwrap()).await.unwrap();
    let verbs = async || {
        let rules = roles.get("sum").await.unwrap().rules.unwrap_or_default();
        rules.into_iter().map(|rule| rule.verbs.join(",")).collect::<Vec<_>>()
    };
    eventually("the part's rule", async || verbs().await == ["get"]).await;
    roles.delete("part", &DeleteOptions::default()).await.unwrap();
    eventually("no rule", async || verbs().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_kept_by_hand_are_mirrored() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Service>(json!({ "metadata": { "name": "hand" }, "spec": { "ports": [{ "port": 80 }] } }))
        .await;
    let subsets = |ip: &str| json!([{ "addresses": [{ "ip": ip }], "ports": [{ "port": 8080 }] }]);
    cluster
        .create::<Endpoints>(json!({ "metadata": { "name": "hand" }, "subsets": subsets("10.9.9.1") }))
        .await;
    let addresses = async || {
        let params = ListParams::default().labels("kubernetes.io/service-name=hand");
        let slices = cluster.api::<EndpointSlice>().list(&params).await.unwrap().items;
        slices
            .into_iter()
            .flat_map(|slice| slice.endpoints.unwrap_or_default())
            .flat_map(|one| one.addresses)
            .collect::<Vec<_>>()
    };
    eventually("a slice", async || addresses().await == ["10.9.9.1"]).await;
    let moved = Patch::Merge(json!({ "subsets": subsets("10.9.9.2") }));
    cluster.api::<Endpoints>().patch("hand", &moved).await.unwrap();
    eventually("another address", async || addresses().await == ["10.9.9.2"]).await;
    cluster.api::<Endpoints>().delete("hand", &DeleteOptions::default()).await.unwrap();
    eventually("no slice", async || addresses().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_not_kept_goes_once_it_has_finished() {
    let cluster = Cluster::start().await;
    let template =
        json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } });
    let job = |name: &str, ttl: Option<i32>| {
        json!({ "metadata": { "name": name },
        "spec": { "template": template, "ttlSecondsAfterFinished": ttl } })
    };
    cluster.create::<Job>(job("short", Some(0))).await;
    cluster.create::<Job>(job("kept", None)).await;
    let time = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": time, "lastTransitionTime": time });
    let status = json!({ "status": { "succeeded": 1, "startTime": time, "completionTime": time,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")] } });
    for name in ["kept", "short"] {
        cluster.api::<Job>().patch_status(name, &Patch::Merge(status.clone())).await.unwrap();
    }
    eventually("no job", async || cluster.api::<Job>().get_opt("short").await.unwrap().is_none()).await;
    assert!(cluster.api::<Job>().get_opt("kept").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_nodes_that_are_gone_are_removed() {
    let cluster = Cluster::start().await;
    let lost = json!({ "metadata": { "name": "lost", "finalizers": ["example.com/hold"] },
        "spec": { "nodeName": "gone", "containers": [{ "name": "c", "image": "broken" }] } });
    cluster.create::<Pod>(lost).await;
    eventually("on its way", async || {
        let pod = cluster.api::<Pod>().get("lost").await.unwrap();
        pod.metadata.deletion_timestamp.is_some()
    })
    .await;
    let pod = cluster.api::<Pod>().get("lost").await.unwrap();
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let condition =
        status.conditions.unwrap().into_iter().find(|one| one.type_ == "DisruptionTarget").unwrap();
    assert_eq!(condition.reason.as_deref(), Some("DeletionByPodGC"));
    assert!(cluster.client.all::<Node>().get_opt("gone").await.unwrap().is_none());
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    cluster.api::<Pod>().patch("lost", &free).await.unwrap();
    eventually("gone", async || cluster.api::<Pod>().get_opt("lost").await.unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_for_a_token_is_filled_and_goes_with_its_account() {
    let cluster = Cluster::start().await;
    cluster.create::<ServiceAccount>(json!({ "metadata": { "name": "robot" } })).await;
    let secret = json!({ "metadata": { "name": "robot-token", "annotations": { "kubernetes.io/service-account.name": "robot" } },
        "type": "kubernetes.io/service-account-token" });
    cluster.create::<Secret>(secret).await;
    let data = async || cluster.api::<Secret>().get("robot-token").await.unwrap().data.unwrap_or_default();
    eventually("a token", async || data().await.contains_key("token")).await;
    let filled = data().await;
    assert_eq!(filled["namespace"].0, b"default");
    assert_eq!(filled["ca.crt"].0, b"the authority");
    let token = String::from_utf8(filled["token"].0.clone()).unwrap();
    let review = json!({ "spec": { "token": token } });
    let reviews = ResourceType::new("authentication.k8s.io", "v1", "tokenreviews");
    let answer =
        cluster.client.dynamic(&reviews, None).create(&review, &WriteOptions::default()).await.unwrap();
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:robot");
    cluster.api::<ServiceAccount>().delete("robot", &DeleteOptions::default()).await.unwrap();
    eventually("no secret", async || cluster.api::<Secret>().get_opt("robot-token").await.unwrap().is_none())
        .await;
    let lonely = json!({ "metadata": { "name": "lonely", "annotations": { "kubernetes.io/service-account.name": "nobody" } },
        "type": "kubernetes.io/service-account-token" });
    cluster.create::<Secret>(lonely).await;
    eventually("none without an account", async || {
        cluster.api::<Secret>().get_opt("lonely").await.unwrap().is_none()
    })
    .await;
    assert!(cluster.api::<ConfigMap>().get_opt("kube-root-ca.crt").await.unwrap().is_some());
}

/// A request for a certificate, PEM in base64 as a manifest has it.
fn request(common_name: &str, organization: &str) -> Value {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    serde_json::to_value(k8s_openapi::ByteString(pem.into_bytes())).unwrap()
}

async fn ask(cluster: &Cluster, name: &str, signer: &str, request: Value, seconds: Option<i32>) {
    let object = json!({ "metadata": { "name": name }, "spec": { "request": request, "expirationSeconds": seconds,
        "signerName": format!("kubernetes.io/{signer}"), "usages": ["client auth", "digital signature"] } });
    let requests = cluster.client.all::<CertificateSigningRequest>();
    requests.create(&serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn approve(cluster: &Cluster, name: &str) {
    let requests = cluster.client.all::<CertificateSigningRequest>();
    let mut request = serde_json::to_value(requests.get(name).await.unwrap()).unwrap();
    request["status"]["conditions"] = json!([{ "type": "Approved", "status": "True", "reason": "Test" }]);
    requests.replace_subresource(name, "approval", &serde_json::from_value(request).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_certificates_are_approved_signed_or_refused() {
    let cluster = Cluster::start().await;
    let requests = cluster.client.all::<CertificateSigningRequest>();
    let status = async |name: &str| requests.get(name).await.unwrap().status.unwrap_or_default();
    let has = async |name: &str, kind: &str| {
        status(name).await.conditions.into_iter().flatten().any(|condition| condition.type_ == kind)
    };
    ask(&cluster, "node", "kube-apiserver-client-kubelet", request("system:node:n", "system:nodes"), None)
        .await;
    eventually("a node's certificate", async || status("node").await.certificate.is_some()).await;
    assert!(has("node", "Approved").await, "who may ask for it has it approved");

    ask(&cluster, "ann", "kube-apiserver-client", request("ann", "people"), Some(3600)).await;
    ask(&cluster, "bad", "kube-apiserver-client-kubelet", request("bob", "people"), None).await;
    approve(&cluster, "ann").await;
    approve(&cluster, "bad").await;
    eventually("ann's certificate", async || status("ann").await.certificate.is_some()).await;
    eventually("no certificate", async || has("bad", "Failed").await).await;
    assert!(status("bad").await.certificate.is_none());
    let certificate = status("ann").await.certificate.unwrap().0;
    let block = x509_parser::pem::Pem::iter_from_buffer(&certificate).next().unwrap().unwrap();
    let parsed = block.parse_x509().unwrap();
    assert!(parsed.subject().to_string().contains("CN=ann"), "{}", parsed.subject());
    let seconds = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert_eq!(seconds, 3600 + 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_nobody_uses_are_marked_and_removed_in_the_end() {
    let cluster = Cluster::start().await;
    let account =
        json!({ "metadata": { "name": "old" }, "secrets": [{ "name": "auto" }, { "name": "mounted" }] });
    cluster.create::<ServiceAccount>(account).await;
    let secrets = cluster.api::<Secret>();
    for name in ["auto", "mounted", "manual"] {
        let metadata = json!({
            "name": name, "annotations": { "kubernetes.io/service-account.name": "old" },
            "labels": { "kubernetes.io/legacy-token-last-used": "2020-01-01" },
        });
        let pod = json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "web:1" }],
            "volumes": [{ "name": "v", "secret": { "secretName": name } }] } });
        if name == "mounted" {
            cluster.create::<Pod>(pod).await;
        }
        let secret = json!({ "metadata": metadata, "type": "kubernetes.io/service-account-token" });
        cluster.create::<Secret>(secret).await;
    }
    const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
    let since = async |name: &str| {
        let secret = secrets.get_opt(name).await.unwrap();
        secret.map(|secret| secret.metadata.labels.unwrap_or_default().get(INVALID_SINCE).cloned())
    };
    eventually("a mark", async || since("auto").await.flatten().is_some()).await;
    let long_ago = json!({ "metadata": { "labels": { INVALID_SINCE: "2020-01-02" } } });
    secrets.patch("auto", &Patch::Merge(long_ago)).await.unwrap();
    eventually("its removal", async || since("auto").await.is_none()).await;
    assert_eq!(since("mounted").await, Some(None), "a pod uses it");
    assert_eq!(since("manual").await, Some(None), "its account does not list it: somebody made it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_counts_its_pods_and_evictions_keep_to_it() {
    let cluster = Cluster::start().await;
    let labels = json!({ "app": "web" });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "web:1" }] } });
    let deployment = json!({ "metadata": { "name": "web" },
        "spec": { "replicas": 3, "selector": { "matchLabels": labels }, "template": template } });
    cluster.create::<Deployment>(deployment).await;
    let budget = json!({ "metadata": { "name": "web" },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": labels } } });
    cluster.create::<PodDisruptionBudget>(budget).await;
    let counted = async || {
        let status =
            cluster.api::<PodDisruptionBudget>().get("web").await.unwrap().status.unwrap_or_default();
        [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed]
            .map(|count| count.unwrap_or(-1))
    };
    eventually("a count", async || counted().await == [3, 2, 3, 1]).await;
    let pods = cluster.list::<Pod>().await;
    let victim = pods[0].metadata.name.clone().unwrap();
    cluster.api::<Pod>().evict(&victim, &DeleteOptions::default()).await.unwrap();
    // Another comes in its place, and the budget has room again.
    eventually("a replacement", async || {
        let names = cluster.list::<Pod>().await.into_iter().map(|pod| pod.metadata.name.unwrap());
        counted().await == [3, 2, 3, 1] && !names.collect::<Vec<_>>().contains(&victim)
    })
    .await;
    let all = Patch::Merge(json!({ "spec": { "maxUnavailable": 0 } }));
    cluster.api::<PodDisruptionBudget>().patch("web", &all).await.unwrap();
    eventually("no room", async || counted().await == [3, 3, 3, 0]).await;
    let another = cluster.list::<Pod>().await[0].metadata.name.clone().unwrap();
    let refused = cluster.api::<Pod>().evict(&another, &DeleteOptions::default()).await.unwrap_err();
    assert!(refused.to_string().contains("would violate the pod's disruption budget"), "{refused}");
}

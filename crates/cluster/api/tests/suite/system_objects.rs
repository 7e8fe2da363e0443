//! What every cluster has from the start, and what some parts of objects alone may change.

use hako_client::{DeleteOptions, ListParams, ResourceType};
use hako_error::Kind;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_priorities_of_the_system_are_there_and_stay() {
    let world = World::start().await;
    let classes = ResourceType::new("scheduling.k8s.io", "v1", "priorityclasses");
    let classes = world.outside().dynamic(&classes, None);
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        assert_eq!(classes.get(name).await.unwrap()["value"], value);
        let refused = classes.delete(name, &DeleteOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Forbidden, "{refused}");
        assert!(
            refused.to_string().contains("this is a system priority class and cannot be deleted"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_client_have_a_flow_schema_from_the_start() {
    let world = World::start().await;
    for plural in ["flowschemas", "prioritylevelconfigurations"] {
        let kind = ResourceType::new("flowcontrol.apiserver.k8s.io", "v1", plural);
        let list = world.outside().dynamic(&kind, None).list(&ListParams::default()).await.unwrap();
        let names: Vec<&str> =
            list.items.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert!(["catch-all", "exempt"].iter().all(|name| names.contains(name)), "{plural}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_approves_a_certificate_and_status_alone_cannot() {
    let world = World::start().await;
    let sample = include_str!("samples/certificatesigningrequests.certificates.k8s.io.yaml");
    world.kubectl_with(&["apply", "-f", "-"], sample).await;
    let condition = r#"{"status":{"conditions":[{"type":"Approved","status":"True","reason":"mine"}]}}"#;
    let patch = ["patch", "csr", "sample", "--subresource=status", "--type=merge", "-p", condition];
    let (is_done, _, errors) = world.try_kubectl(&patch, "").await;
    assert!(!is_done && errors.contains("updates may not add a condition of type \"Approved\""), "{errors}");
    world.kubectl(&["certificate", "approve", "sample"]).await;
    let shown = world.kubectl(&["get", "csr", "sample", "--no-headers"]).await;
    assert!(shown.contains("example.com/sample") && shown.contains("Approved"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectls_own_commands_make_these_kinds() {
    let world = World::start().await;
    for (command, kind, wanted) in [
        ("create ingress web --class=c --rule=a.com/x*=web:80", "ingress", &["web", "c", "a.com"][..]),
        ("create poddisruptionbudget p --selector=a=b --min-available=50%", "pdb", &["p", "50%", "N/A"]),
        ("create priorityclass high --value=7 --preemption-policy=Never", "pc/high", &["high", "7", "Never"]),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        world.kubectl(&arguments).await;
        let shown = world.kubectl(&["get", kind, "--no-headers"]).await;
        let cells: Vec<&str> = shown.split_whitespace().collect();
        assert!(wanted.iter().all(|cell| cells.contains(cell)), "{command}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_end_by_themselves() {
    let world = World::start_as(|config| config.event_ttl = std::time::Duration::from_secs(1)).await;
    let events = world.inside().namespaced::<k8s_openapi::api::core::v1::Event>("default");
    let event = serde_json::json!({ "metadata": { "name": "e" }, "reason": "Told", "type": "Normal",
        "involvedObject": { "kind": "Pod", "namespace": "default", "name": "p" } });
    events.create(&serde_json::from_value(event).unwrap()).await.unwrap();
    let begun = std::time::Instant::now();
    while events.get_opt("e").await.unwrap().is_some() {
        assert!(begun.elapsed().as_secs() < 30, "the event stays");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_find_out_whose_certificates_to_believe() {
    let world = World::start().await;
    let kind = ResourceType::new("", "v1", "configmaps");
    let reader = world.server.client(hako_api::Identity::component("system:kube-scheduler"));
    let map =
        reader.dynamic(&kind, Some("kube-system")).get("extension-apiserver-authentication").await.unwrap();
    assert_eq!(map["data"]["client-ca-file"], world.pki.ca());
    let jane = world.server.client(hako_api::Identity::new("jane", &["system:authenticated"]));
    let refused = jane.dynamic(&kind, Some("kube-system")).get("extension-apiserver-authentication").await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Forbidden);
    let bind = ["create", "rolebinding", "reader", "-n", "kube-system", "--user=jane"];
    world.kubectl(&[&bind[..], &["--role=extension-apiserver-authentication-reader"]].concat()).await;
    let name = "extension-apiserver-authentication";
    let read = async || jane.dynamic(&kind, Some("kube-system")).get(name).await.is_ok();
    let is_allowed = async {
        while !read().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), is_allowed).await.unwrap();
}

//! Definitions themselves: what they say of themselves, what is told to clients, and how they go.

use http::StatusCode;
use serde_json::{Value, json};

use super::{condition, define, one_version, until};
use crate::every_kind::calls::{Http, Watch};
use crate::support::World;

const GADGETS: &str = include_str!("../definitions/gadgets.yaml");
const GADGET: &str = include_str!("../definitions/gadget.yaml");

fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_defines_explains_applies_gets_and_deletes() {
    let world = World::start().await;
    world.kubectl_with(&["apply", "-f", "-"], GADGETS).await;
    world.kubectl(&["wait", "--for=condition=Established", "crd/gadgets.suite.example.com"]).await;
    world.kubectl_with(&["apply", "-f", "-"], GADGET).await;
    for name in
        ["gadgets", "gadget", "gd", "gadgets.suite.example.com", "gadgets.v1.suite.example.com", "toys"]
    {
        let table = world.kubectl(&["get", name]).await;
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "COLOR", "READY", "AGE"], "{name}: {table}");
        assert_eq!(lines[1][..2], ["sample", "green"], "{name}: {table}");
    }
    assert!(world.kubectl(&["get", "gd", "-o", "wide"]).await.contains("REPLICAS"));
    let explained = world.kubectl(&["explain", "gadgets.spec.color"]).await;
    assert!(explained.contains("How it looks.") && explained.contains("red"), "{explained}");
    let explained = world.kubectl(&["explain", "gadget", "--recursive"]).await;
    assert!(explained.contains("A gadget is a thing") && explained.contains("wheels"), "{explained}");
    let resources = world.kubectl(&["api-resources", "--api-group=suite.example.com", "-o", "wide"]).await;
    assert!(resources.contains("gd") && resources.contains("all,toys"), "{resources}");
    world.kubectl(&["delete", "gadget", "sample"]).await;
    world.kubectl(&["delete", "crd", "gadgets.suite.example.com"]).await;
    let (found, _, error) = world.try_kubectl(&["get", "gadgets"], "").await;
    assert!(!found, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_says_how_it_stands_and_is_told_of_within_a_second() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &one_version("Tab", anything())).await;
    let found = world.definition("tabs.cr.example.com").await;
    assert_eq!(
        found["status"]["acceptedNames"],
        json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"})
    );
    assert_eq!(found["status"]["storedVersions"], json!(["v1"]));
    for (kind, reason) in [("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted")] {
        let condition = condition(&found, kind);
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!(reason)));
    }
    // What is established is served: nothing has to be waited for.
    let list = http.ok("GET", "/apis/cr.example.com/v1", "", &Value::Null).await;
    assert_eq!(list["resources"][0]["name"], "tabs");
    let group = http.ok("GET", "/apis/cr.example.com", "", &Value::Null).await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let index = http.ok("GET", "/openapi/v3", "", &Value::Null).await;
    let url = index["paths"]["apis/cr.example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = http.ok("GET", &url, "", &Value::Null).await;
    let schema = &document["components"]["schemas"]["com.example.cr.v1.Tab"];
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Tab");
    assert!(schema.get("x-kubernetes-selectable-fields").is_none(), "{schema}");
    let whole = http.ok("GET", "/openapi/v2", "", &Value::Null).await;
    assert!(whole["definitions"]["com.example.cr.v1.TabList"].is_object());
    let mut changed = one_version("Tab", anything());
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "other words".into();
    world.kubectl_with(&["apply", "-f", "-"], &changed.to_string()).await;
    until("the new words are published", async || {
        let index = http.ok("GET", "/openapi/v3", "", &Value::Null).await;
        let now = index["paths"]["apis/cr.example.com/v1"]["serverRelativeURL"].as_str().unwrap();
        now != url && http.ok("GET", now, "", &Value::Null).await.to_string().contains("other words")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_whose_conditions_somebody_replaced_still_goes() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &one_version("Tab", anything())).await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tabs.cr.example.com";
    let patch = json!([{"op": "add", "path": "/status/conditions", "value": [{"message": "patched"}]}]);
    let patched = http.ok("PATCH", &format!("{path}/status"), "application/json-patch+json", &patch).await;
    assert_eq!(patched["status"]["conditions"][0]["message"], "patched");
    http.ok("DELETE", path, "", &Value::Null).await;
    until("the definition is gone", async || {
        http.call("GET", path, "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    let (code, _) = http.call("GET", "/apis/cr.example.com", "", &Value::Null).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_are_not_accepted_until_they_are_free() {
    let world = World::start().await;
    let mut first = one_version("Tab", anything());
    first["spec"]["names"]["shortNames"] = json!(["tt"]);
    define(&world, &first).await;
    let mut second = one_version("Tub", anything());
    second["spec"]["names"]["shortNames"] = json!(["tt"]);
    second["spec"]["names"]["listKind"] = "TabList".into();
    world.kubectl_with(&["apply", "-f", "-"], &second.to_string()).await;
    let name = "tubs.cr.example.com";
    world.kubectl(&["wait", "--for=condition=NamesAccepted=false", &format!("crd/{name}")]).await;
    let found = world.definition(name).await;
    let conflict = condition(&found, "NamesAccepted");
    assert_eq!(
        (&conflict["reason"], &conflict["message"]),
        (&json!("ListKindConflict"), &json!("\"TabList\" is already in use"))
    );
    assert_eq!(condition(&found, "Established")["reason"], "NotAccepted");
    assert_eq!(found["status"]["acceptedNames"]["plural"], "tubs");
    let (code, _) = Http::new(&world).call("GET", "/apis/cr.example.com/v1/tubs", "", &Value::Null).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    world.kubectl(&["delete", "crd", "tabs.cr.example.com"]).await;
    world.kubectl(&["wait", "--for=condition=Established", &format!("crd/{name}")]).await;
    world.kubectl(&["get", "tt"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_kubernetes_itself_say_whether_they_are_approved() {
    let world = World::start().await;
    let mut definition = one_version("Tab", anything());
    definition["metadata"]["name"] = "tabs.x-k8s.io".into();
    definition["spec"]["group"] = "x-k8s.io".into();
    world.kubectl_with(&["apply", "-f", "-"], &definition.to_string()).await;
    definition["metadata"]["name"] = "tabs.tab.k8s.io".into();
    definition["spec"]["group"] = "tab.k8s.io".into();
    let (_, _, error) = world.try_kubectl(&["apply", "-f", "-"], &definition.to_string()).await;
    assert!(error.contains("protected groups must have approval annotation"), "{error}");
    definition["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "unapproved, a trial"});
    define(&world, &definition).await;
    until("it says that it is not approved", async || {
        let found = world.definition("tabs.tab.k8s.io").await;
        condition(&found, "KubernetesAPIApprovalPolicyConformant")["reason"] == "UnapprovedAnnotation"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_go_first_and_hold_the_definition_as_long_as_somebody_holds_them() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &one_version("Tab", anything())).await;
    let collection = "/apis/cr.example.com/v1/namespaces/default/tabs";
    let tab = |name: &str, finalizers: Value| {
        json!({
            "apiVersion": "cr.example.com/v1", "kind": "Tab",
            "metadata": {"name": name, "finalizers": finalizers},
        })
    };
    for (name, finalizers) in [("free", json!([])), ("held", json!(["example.com/hold"]))] {
        http.ok("POST", collection, "application/json", &tab(name, finalizers)).await;
    }
    let name = "tabs.cr.example.com";
    world.kubectl(&["delete", "crd", name, "--wait=false"]).await;
    until("what nobody holds is gone", async || {
        let list = http.ok("GET", collection, "", &Value::Null).await;
        list["items"].as_array().unwrap().len() == 1
    })
    .await;
    until("it says what it waits for", async || {
        let found = world.definition(name).await;
        condition(&found, "Terminating")["reason"] == "InstanceDeletionInProgress"
    })
    .await;
    let (code, status) = http.call("POST", collection, "application/json", &tab("late", json!([]))).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "{status}");
    assert_eq!(status["message"], "create not allowed while custom resource definition is terminating");
    let list = http.ok("GET", "/apis/cr.example.com/v1", "", &Value::Null).await;
    let verbs = list["resources"][0]["verbs"].as_array().unwrap();
    assert!(!verbs.contains(&json!("create")) && verbs.contains(&json!("delete")), "{verbs:?}");
    let version = list_version(&http, collection).await;
    let mut watch = Watch::open(&http, &format!("{collection}?watch=1&resourceVersion={version}")).await;
    let free = json!({"metadata": {"finalizers": null}});
    http.ok("PATCH", &format!("{collection}/held"), "application/merge-patch+json", &free).await;
    assert_eq!(watch.next().await.0, "DELETED");
    until("the definition is gone", async || !world.try_kubectl(&["get", "crd", name], "").await.0).await;
    watch.ends().await;
    until("nothing of it is served", async || {
        http.call("GET", collection, "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    // Nothing of before comes back with the next definition of the name.
    define(&world, &one_version("Tab", anything())).await;
    let list = http.ok("GET", collection, "", &Value::Null).await;
    assert_eq!(list["items"], json!([]));
}

async fn list_version(http: &Http, collection: &str) -> String {
    let list = http.ok("GET", collection, "", &Value::Null).await;
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_defined_is_served_again_after_a_start() {
    let world = World::start().await;
    define(&world, &one_version("Tab", anything())).await;
    let tab = json!({"apiVersion": "cr.example.com/v1", "kind": "Tab", "metadata": {"name": "a"}, "x": 1});
    world.kubectl_with(&["apply", "-f", "-"], &tab.to_string()).await;
    let other = world.another().await;
    let client = other.client(hako_api::Identity::admin());
    let text = client.get_text("/apis/cr.example.com/v1/namespaces/default/tabs/a").await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["x"], 1);
    other.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_is_asked_by_group_and_plural() {
    let world = World::start().await;
    define(&world, &one_version("Tab", anything())).await;
    world.kubectl(&["create", "role", "r", "--verb=get,list", "--resource=tabs.cr.example.com"]).await;
    world.kubectl(&["create", "rolebinding", "b", "--role=r", "--user=jane"]).await;
    for (verb, wanted) in [("list", "yes"), ("delete", "no")] {
        let (_, said, _) =
            world.try_kubectl(&["auth", "can-i", verb, "tabs.cr.example.com", "--as=jane"], "").await;
        assert_eq!(said.trim(), wanted, "{verb}");
    }
    world.kubectl(&["get", "tabs", "--as=jane"]).await;
    let (may, _, error) = world.try_kubectl(&["delete", "tabs", "--all", "--as=jane"], "").await;
    assert!(may || error.contains("forbidden"), "{error}");
    let (may, _, error) = world.try_kubectl(&["get", "tabs", "-n", "kube-system", "--as=jane"], "").await;
    assert!(!may && error.contains("tabs.cr.example.com is forbidden"), "{error}");
}

//! Deleting.

use hako_kube::time;
use serde_json::{Value, json};

use super::{CONFIG_MAPS, PODS, ask};
use crate::support::World;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}})
}

fn job(name: &str) -> Value {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    json!({"metadata": {"name": name}, "spec": {"template": {"spec": spec}}})
}

fn held(name: &str) -> Value {
    json!({"metadata": {"name": name, "finalizers": ["example.com/hold"]}})
}

async fn delete(world: &World, path: &str, options: Value) -> super::Said {
    ask(world, "DELETE", path, &options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_answers_with_a_status_or_with_what_is_gone_as_the_kind_says() {
    let world = World::start().await;
    let made = ask(&world, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await.is(201);
    let status = delete(&world, &format!("{CONFIG_MAPS}/a"), Value::Null).await.is(200);
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    let details = json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    assert_eq!(status["details"], details);
    ask(&world, "POST", PODS, &pod("p")).await.is(201);
    let gone = delete(&world, &format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await.is(200);
    assert_eq!((&gone["kind"], &gone["metadata"]["name"]), (&json!("Pod"), &json!("p")));
    let account = json!({"metadata": {"name": "x"}});
    ask(&world, "POST", "/api/v1/namespaces/default/serviceaccounts", &account).await.is(201);
    let gone = delete(&world, "/api/v1/namespaces/default/serviceaccounts/x", Value::Null).await.is(200);
    assert_eq!(gone["kind"], "ServiceAccount");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_ending_can_only_be_made_to_end_sooner() {
    let world = World::start().await;
    let path = format!("{PODS}/p");
    ask(&world, "POST", PODS, &pod("p")).await.is(201);
    let of = |pod: &Value| {
        let metadata = &pod["metadata"];
        let at = time::parse(metadata["deletionTimestamp"].as_str().unwrap()).unwrap();
        (
            metadata["deletionGracePeriodSeconds"].as_i64().unwrap(),
            at,
            metadata["generation"].as_i64().unwrap(),
        )
    };
    let grace = |seconds: i64| json!({"gracePeriodSeconds": seconds});
    let first = of(&delete(&world, &path, grace(600)).await.is(200));
    assert_eq!((first.0, first.2), (600, 2));
    for options in [Value::Null, grace(600), grace(1000)] {
        assert_eq!(of(&delete(&world, &path, options).await.is(200)), first, "it is ending already");
    }
    let sooner = of(&delete(&world, &path, grace(500)).await.is(200));
    assert_eq!((sooner.0, first.1.duration_since(sooner.1).as_secs(), sooner.2), (500, 100, 2));
    let least = of(&delete(&world, &path, grace(-7)).await.is(200));
    assert_eq!(least.0, 1, "less than none is a second");
    delete(&world, &path, grace(0)).await.is(200);
    ask(&world, "GET", &path, &Value::Null).await.refuses(404, "not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_without_a_node_and_pods_that_have_ended_have_no_time_to_end() {
    let world = World::start().await;
    let mut waiting = pod("waiting");
    waiting["spec"].as_object_mut().unwrap().remove("nodeName");
    ask(&world, "POST", PODS, &waiting).await.is(201);
    ask(&world, "POST", PODS, &pod("ended")).await.is(201);
    let over = json!({"status": {"phase": "Succeeded"}});
    ask(&world, "PATCH", &format!("{PODS}/ended/status"), &over).await.is(200);
    for name in ["waiting", "ended"] {
        let path = format!("{PODS}/{name}");
        delete(&world, &path, json!({"gracePeriodSeconds": 30})).await.is(200);
        ask(&world, "GET", &path, &Value::Null).await.refuses(404, "not found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_held_by_a_finalizer_stays_after_its_time_to_end() {
    let world = World::start().await;
    let mut made = pod("p");
    made["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let path = format!("{PODS}/p");
    ask(&world, "POST", PODS, &made).await.is(201);
    delete(&world, &path, json!({"gracePeriodSeconds": 30})).await.is(200);
    let ended = delete(&world, &path, json!({"gracePeriodSeconds": 0})).await.is(200);
    assert_eq!(ended["metadata"]["deletionGracePeriodSeconds"], 0);
    let added = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let text = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
                finalizers";
    ask(&world, "PATCH", &path, &added).await.refuses(422, text);
    ask(&world, "PATCH", &path, &json!({"metadata": {"finalizers": null}})).await.is(200);
    ask(&world, "GET", &path, &Value::Null).await.refuses(404, "not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_word_about_dependents_counts_and_without_one_the_word_before() {
    let world = World::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    ask(&world, "POST", CONFIG_MAPS, &held("a")).await.is(201);
    let policy = |policy: &str| json!({"propagationPolicy": policy});
    for (options, of_collector) in [
        (policy("Foreground"), Some("foregroundDeletion")),
        (Value::Null, Some("foregroundDeletion")),
        (policy("Orphan"), Some("orphan")),
        (json!({"orphanDependents": false}), None),
        (json!({"orphanDependents": true}), Some("orphan")),
        (Value::Null, Some("orphan")),
        (policy("Background"), None),
        (Value::Null, None),
    ] {
        let marked = delete(&world, &path, options.clone()).await.body;
        let wanted: Vec<&str> = ["example.com/hold"].into_iter().chain(of_collector).collect();
        assert_eq!(marked["metadata"]["finalizers"], json!(wanted), "{options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_replication_controllers_leave_their_pods_unless_told_otherwise() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        ask(&world, "POST", JOBS, &job(name)).await.is(201);
    }
    let said = delete(&world, &format!("{JOBS}/a"), Value::Null).await;
    let text = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background";
    assert!(said.warnings.len() == 1 && said.warnings[0].contains(text), "{said:?}");
    assert_eq!(said.is(200)["metadata"]["finalizers"], json!(["orphan"]));
    let said = delete(&world, &format!("{JOBS}/b"), json!({"propagationPolicy": "Background"})).await;
    assert!(said.warnings.is_empty(), "{said:?}");
    assert_eq!(said.is(200)["kind"], "Status");
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let controller = json!({"metadata": {"name": "r"}, "spec": {"replicas": 0, "template": template}});
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    ask(&world, "POST", controllers, &controller).await.is(201);
    let marked = delete(&world, &format!("{controllers}/r"), Value::Null).await.is(200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["orphan"]));
    // All jobs at once are no different.
    let said = delete(&world, JOBS, Value::Null).await;
    assert!(said.warnings.len() == 1 && said.warnings[0].contains(text), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uses_the_older_word_is_told_that_the_deletion_is_under_way() {
    let world = World::start().await;
    ask(&world, "POST", CONFIG_MAPS, &held("a")).await.is(201);
    let path = format!("{CONFIG_MAPS}/a");
    delete(&world, &path, json!({"orphanDependents": false})).await.is(202);
    delete(&world, &path, json!({"propagationPolicy": "Background"})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_deletion_that_make_no_sense_are_refused() {
    let world = World::start().await;
    ask(&world, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await.is(201);
    let path = format!("{CONFIG_MAPS}/a");
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    delete(&world, &path, both)
        .await
        .refuses(422, "orphanDependents and deletionPropagation cannot be both set");
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let text = "the body is no DeleteOptions: its kind is \"ConfigMap\"";
    delete(&world, &path, object).await.refuses(400, text);
    let text = "json: cannot unmarshal number 1.0 into Go struct field DeleteOptions.gracePeriodSeconds of type int64";
    delete(&world, &path, json!({"gracePeriodSeconds": 1.0})).await.refuses(400, text);
    let text = "propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
    delete(&world, &path, json!({"propagationPolicy": "Sideways"})).await.refuses(422, text);
    let text = "dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\"";
    delete(&world, &path, json!({"dryRun": ["Some"]})).await.refuses(422, text);
    let text = "the UID in the precondition (x) does not match the UID in record";
    delete(&world, &path, json!({"preconditions": {"uid": "x"}})).await.refuses(409, text);
    let text = "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record";
    delete(&world, &path, json!({"preconditions": {"resourceVersion": "1"}})).await.refuses(409, text);
    ask(&world, "GET", &path, &Value::Null).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_deletes_nothing_one_by_one_or_all_at_once() {
    let world = World::start().await;
    ask(&world, "POST", CONFIG_MAPS, &held("held")).await.is(201);
    ask(&world, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "free"}})).await.is(201);
    ask(&world, "POST", PODS, &pod("p")).await.is(201);
    let before = ask(&world, "GET", CONFIG_MAPS, &Value::Null).await.is(200)["items"].clone();
    for path in [
        format!("{CONFIG_MAPS}?dryRun=All"),
        format!("{CONFIG_MAPS}/held?dryRun=All"),
        format!("{CONFIG_MAPS}/free?dryRun=All"),
    ] {
        delete(&world, &path, Value::Null).await.is(200);
    }
    delete(&world, CONFIG_MAPS, json!({"dryRun": ["All"]})).await.is(200);
    assert_eq!(ask(&world, "GET", CONFIG_MAPS, &Value::Null).await.is(200)["items"], before);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    ask(&world, "POST", &format!("{PODS}/p/eviction?dryRun=All"), &eviction).await.is(201);
    let there = ask(&world, "GET", &format!("{PODS}/p"), &Value::Null).await.is(200);
    assert_eq!(there["metadata"].get("deletionTimestamp"), None);
}

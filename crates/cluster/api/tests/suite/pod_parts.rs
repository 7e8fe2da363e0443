//! The parts of pods that change their spec: `ephemeralcontainers` and `resize`.

use hako_client::{DynamicApi, Patch, ResourceType, WriteOptions};
use serde_json::{Value, json};

use crate::support::World;

fn pods(world: &World) -> DynamicApi {
    world.inside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"))
}

async fn patch(pods: &DynamicApi, part: Option<&str>, spec: Value) -> Result<Value, String> {
    let patch = Patch::Strategic(json!({ "spec": spec }));
    let patched = pods.patch("p", part, &patch, &WriteOptions::default()).await;
    patched.map_err(|error| error.chain().to_string())
}

async fn world() -> (World, DynamicApi) {
    let world = World::start().await;
    let pods = pods(&world);
    let resources =
        json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "2", "memory": "2Gi" } });
    let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [
        { "name": "main", "image": "app", "resources": resources },
    ] } });
    pods.create(&pod, &WriteOptions::default()).await.unwrap();
    (world, pods)
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_containers_are_added_through_their_part_and_stay() {
    let (world, pods) = world().await;
    let part = Some("ephemeralcontainers");
    let look = |image: &str| {
        json!({ "ephemeralContainers": [
        { "name": "look", "image": image, "targetContainerName": "main", "stdin": true, "tty": true },
    ] })
    };
    let added = patch(&pods, part, look("tools")).await.unwrap();
    assert_eq!(added["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
    assert_eq!(added["metadata"]["generation"], 2);
    let other = json!({ "ephemeralContainers": [{ "name": "again", "image": "tools" }] });
    let two = patch(&pods, part, other).await.unwrap();
    assert_eq!(two["spec"]["ephemeralContainers"].as_array().unwrap().len(), 2);
    for (part, spec, why) in [
        (part, look("others"), "existing ephemeral containers \"look\" may not be changed"),
        (
            part,
            json!({ "ephemeralContainers": [{ "name": "main", "image": "x" }] }),
            "Duplicate value: \"main\"",
        ),
        (
            part,
            json!({ "ephemeralContainers": [{ "name": "x", "image": "x", "ports": [{ "containerPort": 1 }] }] }),
            "ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
        (
            part,
            json!({ "ephemeralContainers": [{ "name": "x", "image": "x", "targetContainerName": "none" }] }),
            "targetContainerName: Not found: \"none\"",
        ),
        (
            None,
            json!({ "ephemeralContainers": [{ "name": "x", "image": "x" }] }),
            "pod updates may not change",
        ),
    ] {
        let error = patch(&pods, part, spec).await.unwrap_err();
        assert!(error.contains(why), "{why}\nnot in {error}");
    }
    // Nothing but the list changes through it.
    let replaced = patch(&pods, part, json!({ "activeDeadlineSeconds": 5 })).await.unwrap();
    assert_eq!(replaced["spec"]["activeDeadlineSeconds"], Value::Null);
    let born = json!({ "metadata": { "name": "born" }, "spec": {
        "containers": [{ "name": "c", "image": "i" }], "ephemeralContainers": [{ "name": "e", "image": "i" }],
    } });
    let error = pods.create(&born, &WriteOptions::default()).await.unwrap_err().chain().to_string();
    assert!(error.contains("spec.ephemeralContainers: Forbidden: cannot be set on create"), "{error}");
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_change_through_resize_alone() {
    let (world, pods) = world().await;
    let with = |resources: Value| json!({ "containers": [{ "name": "main", "resources": resources }] });
    let larger = with(json!({ "requests": { "cpu": "1500m" }, "limits": { "cpu": "3" } }));
    let error = patch(&pods, None, larger.clone()).await.unwrap_err();
    assert!(error.contains("pod updates may not change"), "{error}");
    let resized = patch(&pods, Some("resize"), larger).await.unwrap();
    let resources = &resized["spec"]["containers"][0]["resources"];
    assert_eq!(
        (&resources["requests"]["cpu"], &resources["limits"]["memory"]),
        (&json!("1500m"), &json!("2Gi"))
    );
    assert_eq!(resized["metadata"]["generation"], 2);
    let renamed = json!({ "containers": [{ "name": "main", "image": "other" }] });
    let kept = patch(&pods, Some("resize"), renamed).await.unwrap();
    assert_eq!(kept["spec"]["containers"][0]["image"], "app", "nothing but resources changes through it");
    for (resources, why) in [
        (json!({ "requests": { "ephemeral-storage": "1Gi" } }), "only cpu and memory resources are mutable"),
        (json!({ "limits": { "cpu": null } }), "resource limits cannot be removed"),
        (json!({ "requests": { "cpu": "5" } }), "must be less than or equal to cpu limit"),
        (
            json!({ "requests": { "cpu": "3", "memory": "2Gi" } }),
            "Pod QOS Class may not change as a result of resizing",
        ),
    ] {
        let error = patch(&pods, Some("resize"), with(resources)).await.unwrap_err();
        assert!(error.contains(why), "{why}\nnot in {error}");
    }
    let out = world
        .kubectl(&[
            "patch",
            "pod",
            "p",
            "--subresource=resize",
            "-p",
            r#"{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"4"}}}]}}"#,
        ])
        .await;
    assert!(out.contains("patched"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_resized_says_that_it_needs_no_restart() {
    let world = World::start().await;
    let pods = pods(&world);
    let cpu = json!({ "requests": { "cpu": "1" } });
    let both = json!({ "limits": { "cpu": "1", "memory": "1Gi" } });
    let restarts = json!([{ "resourceName": "cpu", "restartPolicy": "RestartContainer" }]);
    let pod = json!({ "metadata": { "name": "p" }, "spec": {
        "containers": [
            { "name": "plain", "image": "i" },
            { "name": "cpu", "image": "i", "resources": cpu },
            { "name": "both", "image": "i", "resources": both, "resizePolicy": restarts },
        ],
        "initContainers": [
            { "name": "first", "image": "i", "resources": cpu },
            { "name": "stays", "image": "i", "resources": cpu, "restartPolicy": "Always" },
        ],
    } });
    let made = pods.create(&pod, &WriteOptions::default()).await.unwrap();
    let in_place = |name: &str| json!({ "resourceName": name, "restartPolicy": "NotRequired" });
    let of = |list: &str, index: usize| made["spec"][list][index]["resizePolicy"].clone();
    assert_eq!(of("containers", 0), Value::Null);
    assert_eq!(of("containers", 1), json!([in_place("cpu")]));
    assert_eq!(of("containers", 2), json!([restarts[0], in_place("memory")]));
    assert_eq!((of("initContainers", 0), of("initContainers", 1)), (Value::Null, json!([in_place("cpu")])));
    // What a resize adds has its policy at once, and the next update changes nothing.
    let larger =
        json!({ "containers": [{ "name": "cpu", "resources": { "requests": { "memory": "1Gi" } } }] });
    let resized = patch(&pods, Some("resize"), larger).await.unwrap();
    assert_eq!(
        resized["spec"]["containers"][1]["resizePolicy"],
        json!([in_place("cpu"), in_place("memory")])
    );
    pods.replace("p", None, &resized, &WriteOptions::default()).await.unwrap();
}

//! Every kind once round with kubectl: its sample is created, shown, applied and explained.
//!
//! A kind's sample is `samples/PLURAL.GROUP.yaml`, with `core` for the group without a name.

use std::path::PathBuf;

use crate::support::World;

const NAMESPACE: &str = "n";

fn samples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/samples")
}

/// Every kind that kubectl can create, as `PLURAL.GROUP`.
async fn kinds(world: &World) -> Vec<String> {
    let arguments = ["api-resources", "--verbs=create,get,list", "--no-headers", "-o", "name"];
    world.kubectl(&arguments).await.lines().map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_created_shown_and_explained() {
    let world = World::start().await;
    world.kubectl(&["create", "namespace", NAMESPACE]).await;
    world.kubectl(&["create", "serviceaccount", "default", "-n", NAMESPACE]).await;
    let dir = samples();
    let all = ["-n", NAMESPACE, "-f", dir.to_str().unwrap()];
    let on_all = |verb: &[&'static str]| -> Vec<&str> { [verb, &all].concat() };
    world.kubectl(&on_all(&["create"])).await;
    let names = world.kubectl(&on_all(&["get", "-o", "name"])).await;
    assert_eq!(names.lines().count(), std::fs::read_dir(&dir).unwrap().count(), "{names}");
    let tables = world.kubectl(&on_all(&["get", "-o", "wide"])).await;
    assert!(tables.contains("COMPLETIONS") && tables.contains("RECLAIM POLICY"), "{tables}");
    world.kubectl(&on_all(&["apply", "--dry-run=server"])).await;
    let mut missing = Vec::new();
    // The sample of a definition makes a kind of its own.
    for kind in kinds(&world).await.into_iter().filter(|kind| !kind.ends_with(".example.com")) {
        let of_core = if kind.contains('.') { "" } else { ".core" };
        let file = format!("{kind}{of_core}.yaml");
        if !dir.join(&file).exists() {
            missing.push(file);
        }
        // kubectl takes the second name of `events.events.k8s.io` for a field of the first.
        let explained = match kind.as_str() {
            "events.events.k8s.io" => {
                world.kubectl(&["explain", "events", "--api-version=events.k8s.io/v1"]).await
            }
            kind => world.kubectl(&["explain", kind]).await,
        };
        assert!(explained.contains("KIND:"), "{kind}: {explained}");
    }
    assert!(missing.is_empty(), "kinds without a sample in tests/suite/samples: {missing:#?}");
}

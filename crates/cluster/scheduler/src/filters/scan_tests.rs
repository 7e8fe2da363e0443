//! The counts kept in the cache answer as a plain look at every pod on every node would, whatever happened before.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cache::Cache;
use crate::testing::{bound, node_from, pod_from};

const ZONES: [&str; 4] = ["a", "a", "b", ""];

/// What happens to a cluster; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Event {
    Placed { name: u8, node: u8, app: u8, far_from: Option<u8>, namespace: u8 },
    Gone { name: u8 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let placed = (0..8_u8, 0..4_u8, 0..3_u8, proptest::option::of(0..3_u8), 0..2_u8).prop_map(
        |(name, node, app, far_from, namespace)| Event::Placed { name, node, app, far_from, namespace },
    );
    let gone = (0..8_u8).prop_map(|name| Event::Gone { name });
    proptest::collection::vec(prop_oneof![4 => placed, 1 => gone], 0..24)
}

fn term(app: u8) -> Value {
    json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app.to_string()}}})
}

fn far(app: Option<u8>) -> Value {
    let terms: Vec<Value> = app.map(term).into_iter().collect();
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})
}

/// A pod that is there: name, node, app, whom it has to be far from, namespace.
type There = (u8, u8, u8, Option<u8>, u8);

fn zone(node: u8) -> &'static str {
    ZONES[usize::from(node)]
}

/// What a look at every pod says to a pod of app 0 that has to be far from `far_from` and spread over the zones.
fn scanned(there: &[There], node: u8, far_from: Option<u8>) -> &'static str {
    let here = zone(node);
    if here.is_empty() {
        return "node(s) didn't match pod topology spread constraints (missing required label)";
    }
    let own = |pod: &&There| pod.4 == 0;
    let count =
        |zone_: &str| there.iter().filter(own).filter(|pod| zone(pod.1) == zone_ && pod.2 == 0).count();
    if count(here) + 1 - count("a").min(count("b")) > 2 {
        return "node(s) didn't match pod topology spread constraints";
    }
    let mut near = there.iter().filter(own).filter(|pod| zone(pod.1) == here);
    if near.clone().any(|pod| Some(pod.2) == far_from) {
        return "node(s) didn't match pod anti-affinity rules";
    }
    if near.any(|pod| pod.3 == Some(0)) {
        return "node(s) didn't satisfy existing pods anti-affinity rules";
    }
    ""
}

fn apply(cache: &mut Cache, there: &mut Vec<There>, event: &Event) {
    let namespace = |number: u8| if number == 0 { "default" } else { "other" };
    let (Event::Placed { name, .. } | Event::Gone { name }) = event;
    if let Some(at) = there.iter().position(|pod| pod.0 == *name) {
        let old = there.swap_remove(at);
        cache.remove(&(namespace(old.4).to_owned(), old.0.to_string()));
    }
    if let Event::Placed { name, node, app, far_from, namespace: number } = event {
        there.push((*name, *node, *app, *far_from, *number));
        let meta = json!({"name": name.to_string(), "namespace": namespace(*number), "labels": {"app": app.to_string()}});
        let pod = pod_from(json!({"metadata": meta, "spec": {"affinity": far(*far_from)}}));
        cache.apply(&bound(pod, &node.to_string()));
    }
}

proptest! {
    #[test]
    fn the_index_answers_as_a_look_at_every_pod_would(
        events in events(),
        far_from in proptest::option::of(0..3_u8),
    ) {
        let (mut cache, mut there) = (Cache::default(), Vec::new());
        for (node, zone) in ZONES.iter().enumerate() {
            let labels = if zone.is_empty() { json!({}) } else { json!({"zone": zone}) };
            cache.set_node(node_from(&node.to_string(), json!({"metadata": {"labels": labels}})));
        }
        let constraint = json!({"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "0"}}});
        let pod = PodInfo::new(pod_from(json!({"metadata": {"labels": {"app": "0"}},
            "spec": {"affinity": far(far_from), "topologySpreadConstraints": [constraint]}})));
        for event in &events {
            apply(&mut cache, &mut there, event);
            let others = Others::of(&pod, &cache);
            for node in cache.nodes() {
                let number: u8 = node.name.parse().unwrap();
                let said = first_refusal(&pod, &others, node).concat();
                prop_assert_eq!(said, scanned(&there, number, far_from), "node {}, {:?}", number, &there);
            }
        }
        for pod in &there {
            let namespace = if pod.4 == 0 { "default" } else { "other" };
            cache.remove(&(namespace.to_owned(), pod.0.to_string()));
        }
        prop_assert!(cache.neighbours.is_empty());
    }
}

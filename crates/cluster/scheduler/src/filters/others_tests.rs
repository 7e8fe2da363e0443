use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::cache::Cache;
use crate::terms::Labels;
use crate::testing::{bound, node_from, pod_from};

const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI: &str = "node(s) didn't match pod anti-affinity rules";
const EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
const SPREAD: &str = "node(s) didn't match pod topology spread constraints";
const MISSING: &str = "node(s) didn't match pod topology spread constraints (missing required label)";
const FITS: &str = "";

/// Nodes a1 and a2 in zone a, b1 in zone b, and x without a zone.
fn cluster() -> Cache {
    let mut cache = Cache::default();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        cache.set_node(node_from(name, json!({"metadata": {"labels": {"zone": zone, "host": name}}})));
    }
    cache.set_node(node_from("x", json!({"metadata": {"labels": {"host": "x"}}})));
    cache
}

fn put(cache: &mut Cache, node: &str, name: &str, extra: &Value) {
    let mut pod = Arc::unwrap_or_clone(pod_from(extra.clone()));
    pod.metadata.name = Some(name.to_owned());
    pod.metadata.uid = Some(name.to_owned());
    cache.apply(&bound(Arc::new(pod), node));
}

/// What each node says to a pod.
fn asked(cache: &Cache, extra: &Value) -> BTreeMap<String, String> {
    let pod = PodInfo::new(pod_from(extra.clone()));
    let others = Others::of(&pod, cache);
    let answer = |node: &NodeInfo| (node.name.clone(), first_refusal(&pod, &others, node).concat());
    cache.nodes().map(answer).collect()
}

#[track_caller]
fn says(cache: &Cache, extra: &Value, expected: [&str; 4]) {
    let names = ["a1", "a2", "b1", "x"].map(str::to_owned);
    let expected: BTreeMap<_, _> = names.into_iter().zip(expected.map(str::to_owned)).collect();
    assert_eq!(asked(cache, extra), expected, "{extra}");
}

fn web() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}})
}

fn term(key: &str, app: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}})
}

fn minding(labels: &Value, kind: &str, terms: &Value) -> Value {
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
    json!({"metadata": {"labels": labels}, "spec": {"affinity": {kind: required}}})
}

fn near(terms: &Value) -> Value {
    minding(&json!({"app": "me"}), "podAffinity", terms)
}

fn far(terms: &Value) -> Value {
    minding(&json!({"app": "me"}), "podAntiAffinity", terms)
}

fn spread(labels: &Value, constraints: &Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"topologySpreadConstraints": constraints}})
}

/// A hard constraint over `zone` for pods of `app: web` with what is given on top.
fn constraint(extra: &Value) -> Value {
    let mut constraint = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}});
    for (key, value) in extra.as_object().unwrap() {
        constraint[key] = value.clone();
    }
    constraint
}

#[test]
fn a_pod_goes_only_where_somebody_is_whom_it_has_to_be_near() {
    let mut cache = cluster();
    says(&cache, &near(&json!([term("zone", "web")])), [AFFINITY; 4]);
    put(&mut cache, "a1", "w", &web());
    says(&cache, &near(&json!([term("zone", "web")])), [FITS, FITS, AFFINITY, AFFINITY]);
    says(&cache, &near(&json!([term("host", "web")])), [FITS, AFFINITY, AFFINITY, AFFINITY]);
    says(&cache, &near(&json!([term("rack", "web")])), [AFFINITY; 4]);
}

#[test]
fn all_terms_of_affinity_have_to_be_met_by_one_pod() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w", &web());
    put(&mut cache, "a1", "d", &json!({"metadata": {"labels": {"tier": "db"}}}));
    let tier = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"tier": "db"}}});
    let both = near(&json!([term("zone", "web"), tier]));
    says(&cache, &both, [AFFINITY; 4]);
    put(&mut cache, "a2", "wd", &json!({"metadata": {"labels": {"app": "web", "tier": "db"}}}));
    says(&cache, &both, [FITS, FITS, AFFINITY, AFFINITY]);
}

#[test]
fn the_first_of_a_kind_that_wants_its_like_may_begin_where_the_topology_is_known() {
    let mut cache = cluster();
    let group = near(&json!([term("zone", "me")]));
    says(&cache, &group, [FITS, FITS, FITS, AFFINITY]);
    put(&mut cache, "b1", "first", &group);
    says(&cache, &group, [AFFINITY, AFFINITY, FITS, AFFINITY]);
    let mixed = near(&json!([term("zone", "me"), term("zone", "web")]));
    says(&cache, &mixed, [AFFINITY; 4]);
}

#[test]
fn a_pod_stays_away_from_those_it_has_to_be_far_from() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w", &web());
    says(&cache, &far(&json!([term("zone", "web")])), [ANTI, ANTI, FITS, FITS]);
    says(&cache, &far(&json!([term("host", "web")])), [ANTI, FITS, FITS, FITS]);
    says(&cache, &far(&json!([term("rack", "web")])), [FITS; 4]);
    says(&cache, &far(&json!([term("host", "web"), term("zone", "other")])), [ANTI, FITS, FITS, FITS]);
}

#[test]
fn those_that_are_there_keep_away_whom_they_have_to_be_far_from() {
    let mut cache = cluster();
    put(&mut cache, "a1", "lonely", &far(&json!([term("zone", "web")])));
    says(&cache, &web(), [EXISTING, EXISTING, FITS, FITS]);
    says(&cache, &json!({"metadata": {"labels": {"app": "db"}}}), [FITS; 4]);
    says(&cache, &json!({"metadata": {"namespace": "other", "labels": {"app": "web"}}}), [FITS; 4]);
    cache.remove(&("default".to_owned(), "lonely".to_owned()));
    says(&cache, &web(), [FITS; 4]);
}

#[test]
fn a_term_means_the_pods_own_namespace_unless_it_names_or_selects_others() {
    let mut cache = cluster();
    cache.neighbours.namespaces.insert("prod".into(), [("env".into(), "prod".into())].into());
    cache.neighbours.namespaces.insert("default".into(), Labels::default());
    let elsewhere = json!({"metadata": {"namespace": "prod", "labels": {"app": "web"}}});
    put(&mut cache, "a1", "w", &elsewhere);
    let with = |extra: Value| {
        let mut term = term("host", "web");
        for (key, value) in extra.as_object().unwrap() {
            term[key] = value.clone();
        }
        far(&json!([term]))
    };
    let selector = |labels: Value| json!({"namespaceSelector": {"matchLabels": labels}});
    says(&cache, &with(json!({})), [FITS; 4]);
    for there in [json!({"namespaces": ["prod"]}), selector(json!({"env": "prod"})), selector(json!({}))] {
        says(&cache, &with(there), [ANTI, FITS, FITS, FITS]);
    }
    for not_there in [json!({"namespaces": ["test"]}), selector(json!({"env": "test"}))] {
        says(&cache, &with(not_there), [FITS; 4]);
    }
    let either = json!({"namespaces": ["test"], "namespaceSelector": {"matchLabels": {"env": "prod"}}});
    says(&cache, &with(either), [ANTI, FITS, FITS, FITS]);
}

#[test]
fn match_and_mismatch_label_keys_compare_with_the_pods_own_labels() {
    let mut cache = cluster();
    let revision = |hash: &str| json!({"metadata": {"labels": {"app": "web", "hash": hash}}});
    put(&mut cache, "a1", "old", &revision("1"));
    put(&mut cache, "a2", "new", &revision("2"));
    let with = |keys: &str| {
        let mut term = term("host", "web");
        term[keys] = json!(["hash", "absent"]);
        minding(&json!({"app": "web", "hash": "2"}), "podAntiAffinity", &json!([term]))
    };
    says(&cache, &with("matchLabelKeys"), [FITS, ANTI, FITS, FITS]);
    says(&cache, &with("mismatchLabelKeys"), [ANTI, FITS, FITS, FITS]);
}

#[test]
fn without_a_selector_a_term_means_nobody_and_with_an_empty_one_everybody() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w", &web());
    says(&cache, &far(&json!([{"topologyKey": "host"}])), [FITS; 4]);
    says(&cache, &far(&json!([{"topologyKey": "host", "labelSelector": {}}])), [ANTI, FITS, FITS, FITS]);
}

#[test]
fn no_domain_gets_further_ahead_of_the_emptiest_than_the_skew_allows() {
    let mut cache = cluster();
    let labels = json!({"app": "web"});
    let one = spread(&labels, &json!([constraint(&json!({}))]));
    says(&cache, &one, [FITS, FITS, FITS, MISSING]);
    put(&mut cache, "a1", "w1", &web());
    says(&cache, &one, [SPREAD, SPREAD, FITS, MISSING]);
    says(&cache, &spread(&labels, &json!([constraint(&json!({"maxSkew": 2}))])), [FITS, FITS, FITS, MISSING]);
    put(&mut cache, "b1", "w2", &web());
    says(&cache, &one, [FITS, FITS, FITS, MISSING]);
    says(
        &cache,
        &spread(&labels, &json!([constraint(&json!({"topologyKey": "host"}))])),
        [SPREAD, FITS, SPREAD, FITS],
    );
    let wish = constraint(&json!({"whenUnsatisfiable": "ScheduleAnyway", "topologyKey": "rack"}));
    says(&cache, &spread(&labels, &json!([wish])), [FITS; 4]);
}

#[test]
fn a_pod_that_its_constraint_does_not_count_adds_nothing_to_the_skew() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w1", &web());
    let outsider = spread(&json!({"app": "other"}), &json!([constraint(&json!({}))]));
    says(&cache, &outsider, [FITS, FITS, FITS, MISSING]);
    put(&mut cache, "a2", "w2", &web());
    says(&cache, &outsider, [SPREAD, SPREAD, FITS, MISSING]);
}

#[test]
fn pods_of_other_namespaces_and_those_being_deleted_are_not_counted() {
    let mut cache = cluster();
    put(&mut cache, "a1", "foreign", &json!({"metadata": {"namespace": "other", "labels": {"app": "web"}}}));
    let going = json!({"metadata": {"labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    put(&mut cache, "a1", "going", &going);
    let one = spread(&json!({"app": "web"}), &json!([constraint(&json!({}))]));
    says(&cache, &one, [FITS, FITS, FITS, MISSING]);
}

#[test]
fn with_fewer_domains_than_asked_for_the_emptiest_counts_as_empty() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w1", &web());
    put(&mut cache, "b1", "w2", &web());
    let at_least =
        |domains: i32| spread(&json!({"app": "web"}), &json!([constraint(&json!({"minDomains": domains}))]));
    says(&cache, &at_least(2), [FITS, FITS, FITS, MISSING]);
    says(&cache, &at_least(3), [SPREAD, SPREAD, SPREAD, MISSING]);
}

#[test]
fn nodes_that_the_pod_cannot_use_count_only_if_the_policies_say_so() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w1", &web());
    let only_a = |policy: Value| {
        let mut pod = spread(&json!({"app": "web"}), &json!([constraint(&policy)]));
        pod["spec"]["nodeSelector"] = json!({"zone": "a"});
        pod
    };
    let selector = "node(s) didn't match Pod's node affinity/selector";
    says(&cache, &only_a(json!({})), [FITS, FITS, selector, selector]);
    says(&cache, &only_a(json!({"nodeAffinityPolicy": "Ignore"})), [SPREAD, SPREAD, selector, selector]);

    let taints = json!([{"key": "gone", "effect": "NoSchedule"}]);
    let labels = json!({"zone": "b", "host": "b1"});
    cache.set_node(node_from("b1", json!({"metadata": {"labels": labels}, "spec": {"taints": taints}})));
    let taint = "node(s) had untolerated taint {gone: }";
    let with = |policy: Value| spread(&json!({"app": "web"}), &json!([constraint(&policy)]));
    says(&cache, &with(json!({})), [SPREAD, SPREAD, taint, MISSING]);
    says(&cache, &with(json!({"nodeTaintsPolicy": "Honor"})), [FITS, FITS, taint, MISSING]);
}

#[test]
fn spread_keys_and_several_constraints_have_to_hold_together() {
    let mut cache = cluster();
    let revision = |hash: &str| json!({"metadata": {"labels": {"app": "web", "hash": hash}}});
    put(&mut cache, "a1", "old", &revision("1"));
    let labels = json!({"app": "web", "hash": "2"});
    let with = |constraints: Value| spread(&labels, &constraints);
    says(
        &cache,
        &with(json!([constraint(&json!({"matchLabelKeys": ["hash"]}))])),
        [FITS, FITS, FITS, MISSING],
    );
    let both = json!([constraint(&json!({"maxSkew": 2})), constraint(&json!({"topologyKey": "host"}))]);
    says(&cache, &with(both.clone()), [SPREAD, FITS, FITS, MISSING]);
    put(&mut cache, "a2", "old2", &revision("1"));
    says(&cache, &with(both), [SPREAD, SPREAD, FITS, MISSING]);
}

#[test]
fn a_pod_that_minds_nobody_costs_no_counting() {
    let mut cache = cluster();
    put(&mut cache, "a1", "w1", &web());
    let others = Others::of(&PodInfo::new(pod_from(web())), &cache);
    assert!(others.wanted.is_empty() && others.unwelcoming.is_empty() && others.preferred.is_empty());
    assert!(others.hard.is_empty() && others.soft.is_empty());
}

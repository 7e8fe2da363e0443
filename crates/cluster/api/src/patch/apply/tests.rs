use super::*;
use crate::patch::fields::item_step;
use proptest::prelude::*;
use std::collections::BTreeMap;

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn apply_as(manager: &str, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, ApplyError> {
    apply(Apply {
        shape: model().shape(DEPLOYMENT),
        live,
        applied,
        manager,
        force,
        api_version: "apps/v1",
        subresource: "",
        reach: Reach::AllButStatus,
        now: now(),
    })
}

fn update(manager: &str, live: Option<&Value>, mut new: Value) -> Value {
    let shape = model().shape(DEPLOYMENT);
    let reach = Reach::AllButStatus;
    let write = Write { shape, live, manager, api_version: "apps/v1", subresource: "", reach, now: now() };
    track(write, &mut new);
    new
}

fn replicas(count: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": count}})
}

fn containers(list: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": list}}}})
}

#[test]
fn a_first_application_owns_what_it_says() {
    let object = apply_as("me", None, &replicas(2), false).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!(entry["manager"], "me");
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let again = apply_as("me", Some(&object), &replicas(2), false).unwrap();
    assert_eq!(again, object);
}

#[test]
fn another_owners_value_conflicts_unless_forced() {
    let object = apply_as("one", None, &replicas(2), false).unwrap();
    let error = apply_as("two", Some(&object), &replicas(3), false).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
    let shared = apply_as("two", Some(&object), &replicas(2), false).unwrap();
    assert_eq!(shared["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    let taken = apply_as("two", Some(&object), &replicas(3), true).unwrap();
    assert_eq!(taken["spec"]["replicas"], 3);
    assert_eq!(taken["metadata"]["managedFields"].as_array().unwrap().len(), 1);
}

#[test]
fn updates_take_ownership_and_name_their_version_in_conflicts() {
    let object = apply_as("one", None, &replicas(2), false).unwrap();
    let mut changed = object.clone();
    changed["spec"]["replicas"] = 5.into();
    let object = update("hpa", Some(&object), changed);
    let error = apply_as("one", Some(&object), &replicas(2), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1: .spec.replicas"
    );
}

#[test]
fn what_is_no_longer_applied_vanishes_unless_others_own_it() {
    let both = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 1}});
    let one = json!({"metadata": {"labels": {"a": "1"}}});
    let object = apply_as("me", None, &both, false).unwrap();
    let after = apply_as("me", Some(&object), &one, false).unwrap();
    assert_eq!(after["metadata"]["labels"], json!({"a": "1"}));
    assert!(after["spec"].get("replicas").is_none());

    let shared = apply_as("other", Some(&object), &replicas(1), false).unwrap();
    let after = apply_as("me", Some(&shared), &one, false).unwrap();
    assert_eq!(after["spec"]["replicas"], 1);
}

#[test]
fn list_items_are_told_apart_by_their_keys_with_defaults() {
    let mine = containers(json!([{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}]));
    let mut object = apply_as("me", None, &mine, false).unwrap();
    object["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP".into();
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    let theirs = containers(json!([{"name": "b", "image": "y"}]));
    let object = apply_as("you", Some(&object), &theirs, false).unwrap();
    let list = &object["spec"]["template"]["spec"]["containers"];
    assert_eq!(list.as_array().unwrap().len(), 2);
    let again = apply_as("me", Some(&object), &mine, false).unwrap();
    let ports = &again["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(ports, &json!([{"containerPort": 80, "protocol": "TCP"}]));
    let without = apply_as("me", Some(&object), &containers(json!([])), false).unwrap();
    let list = &without["spec"]["template"]["spec"]["containers"];
    assert_eq!(list, &json!([{"name": "b", "image": "y"}]));
}

#[test]
fn sets_unite_and_shrink_by_value() {
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    let object = apply_as("me", None, &finalizers(json!(["a/a", "b/b"])), false).unwrap();
    let object = apply_as("you", Some(&object), &finalizers(json!(["c/c"])), false).unwrap();
    let object = apply_as("me", Some(&object), &finalizers(json!(["a/a"])), false).unwrap();
    let mut left: Vec<&str> =
        object["metadata"]["finalizers"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["a/a", "c/c"]);
}

#[test]
fn server_side_after_client_side_apply_does_not_conflict() {
    let mut made = replicas(2);
    made["metadata"]["annotations"] = json!({ LAST_APPLIED: replicas(2).to_string() });
    let object = update("kubectl-client-side-apply", None, made);
    let object = apply_as("kubectl", Some(&object), &replicas(4), false).unwrap();
    assert_eq!(object["spec"]["replicas"], 4);
    let annotation = object["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert!(annotation.contains("\"replicas\":4"));
}

#[test]
fn status_writes_own_status_only() {
    let object = update("me", None, replicas(1));
    let mut new = object.clone();
    new["status"] = json!({"replicas": 1});
    let write = Write {
        shape: model().shape(DEPLOYMENT),
        live: Some(&object),
        manager: "controller",
        api_version: "apps/v1",
        subresource: "status",
        reach: Reach::Status([true; 4]),
        now: now(),
    };
    track(write, &mut new);
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    let mine = entries.iter().find(|it| it["manager"] == "controller").unwrap();
    assert_eq!(mine["subresource"], "status");
    assert_eq!(mine["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn an_empty_entry_forgets_all_managers_and_many_updaters_are_merged() {
    let object = update("me", None, replicas(1));
    let mut reset = object.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    assert!(update("me", Some(&object), reset)["metadata"].get("managedFields").is_none());

    let mut object = object;
    for count in 0..20 {
        let mut new = object.clone();
        new["metadata"]["labels"][format!("l{count}")] = "x".into();
        object = update(&format!("m{count}"), Some(&object), new);
    }
    assert_eq!(object["metadata"]["managedFields"].as_array().unwrap().len(), 10);
}

fn config() -> impl Strategy<Value = Value> {
    let label = prop::collection::btree_map("[a-c]", "[x-z]", 0..3);
    let names = prop::collection::btree_set("[a-d]", 0..4);
    (label, names, prop::option::of(0..3_i64), "[p-q]").prop_map(|(labels, names, replicas, image)| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": image})).collect();
        let mut object = json!({"metadata": {"labels": labels}, "spec": {"template": {"spec":
            {"containers": containers}}}});
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        object
    })
}

/// The value at a path.
fn find<'v>(shape: &Shape, value: &'v Value, path: &[Step]) -> Option<&'v Value> {
    let [step, rest @ ..] = path else { return Some(value) };
    if let Step::Field(name) = step {
        let inner = model().member(shape, name).unwrap_or(&Shape::Any);
        return find(inner, value.get(name.as_str())?, rest);
    }
    let Shape::List { item, kind } = model().resolve(shape) else { return None };
    let mut items = value.as_array()?.iter().enumerate();
    let (_, inner) = items.find(|(at, value)| item_step(model(), item, kind, *at, value) == *step)?;
    find(item, inner, rest)
}

/// Whether everything `wanted` says is so in `is`.
fn says(shape: &Shape, is: &Value, wanted: &Value) -> bool {
    FieldSet::of(model(), shape, wanted).paths().iter().all(|path| {
        let value = |object| find(shape, object, path);
        let is_container = matches!(path.last(), Some(Step::Key(_)));
        value(is).is_some()
            && (is_container
                || value(is) == value(wanted)
                || value(wanted) == Some(&json!([]))
                || value(wanted) == Some(&json!({})))
    })
}

proptest! {
    #[test]
    fn what_was_applied_is_what_the_object_says(first in config(), second in config(), third in config()) {
        let shape = model().shape(DEPLOYMENT);
        let one = apply_as("one", None, &first, false).unwrap();
        prop_assert!(says(shape, &one, &first));
        let two = apply_as("two", Some(&one), &second, true).unwrap();
        prop_assert!(says(shape, &two, &second));
        let three = apply_as("one", Some(&two), &third, true).unwrap();
        prop_assert!(says(shape, &three, &third), "{three} should say {third}");
        prop_assert_eq!(&apply_as("one", Some(&three), &third, false).unwrap(), &three);
    }
}

#[test]
fn long_lists_are_applied_changed_and_taken_away_at_once() {
    let list = |from: usize, to: usize, value: &str| {
        let all: Vec<Value> =
            (from..to).map(|at| json!({"name": format!("E{at}"), "value": value})).collect();
        containers(json!([{"name": "c", "env": all}]))
    };
    let env = |object: &Value| {
        object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().map_or(0, Vec::len)
    };
    let all = apply_as("one", None, &list(0, 20_000, "a"), false).unwrap();
    let ApplyError::Conflicts(conflicts) =
        apply_as("two", Some(&all), &list(0, 20_000, "b"), false).unwrap_err()
    else {
        panic!("they conflict")
    };
    assert_eq!(conflicts.len(), 20_000);
    let both = apply_as("two", Some(&all), &list(19_000, 21_000, "a"), false).unwrap();
    assert_eq!(env(&both), 21_000);
    let rest = apply_as("one", Some(&both), &list(0, 1, "a"), false).unwrap();
    assert_eq!(env(&rest), 2_001);
    let mut changed = both.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap().reverse();
    assert_eq!(env(&update("three", Some(&both), changed)), 21_000);
}

/// A pod template of one container, with parts of that container and of the pod.
fn template(mut container: Value, mut pod: Value) -> Value {
    container["name"] = "c".into();
    pod["containers"] = json!([container]);
    json!({"spec": {"template": {"spec": pod}}})
}

fn pod(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]
}

#[test]
fn objects_that_hold_what_is_no_longer_applied_go_with_what_was_defaulted_in_them() {
    let probe = |probe: Value| template(json!({"livenessProbe": probe}), json!({}));
    let bare = template(json!({}), json!({}));
    let affinity = template(
        json!({"securityContext": {"capabilities": {"add": ["X"]}}}),
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}),
    );
    let http = probe(json!({"httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": "b"}]}}));
    let exec = probe(json!({"exec": {"command": ["x"]}}));
    for (first, second, wanted) in [
        (&http, &bare, json!([{"name": "c"}])),
        (
            &http,
            &exec,
            json!([{"name": "c", "livenessProbe": {"exec": {"command": ["x"]}, "timeoutSeconds": 1}}]),
        ),
        (&affinity, &bare, json!([{"name": "c"}])),
    ] {
        let mut live = apply_as("me", None, first, false).unwrap();
        let container = live.pointer_mut("/spec/template/spec/containers/0").unwrap();
        if container.get("livenessProbe").is_some() {
            container["livenessProbe"]["httpGet"]["scheme"] = "HTTP".into();
            container["livenessProbe"]["timeoutSeconds"] = 1.into();
        }
        let after = apply_as("me", Some(&live), second, false).unwrap();
        assert_eq!(*pod(&after), json!({"containers": wanted}), "{second} after {first}");
    }
}

#[test]
fn objects_in_which_somebody_else_owns_a_field_stay_with_what_was_defaulted_in_them() {
    let probe = |probe: Value| template(json!({"livenessProbe": probe}), json!({}));
    let mut live =
        apply_as("me", None, &probe(json!({"httpGet": {"port": 80, "path": "/"}})), false).unwrap();
    live["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["scheme"] = "HTTP".into();
    let bare = template(json!({}), json!({}));
    let applied = apply_as("you", Some(&live), &probe(json!({"httpGet": {"port": 80}})), false).unwrap();
    let mut changed = live.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"] = 81.into();
    for (shared, port) in [(applied, 80), (update("you", Some(&live), changed), 81)] {
        let after = apply_as("me", Some(&shared), &bare, false).unwrap();
        let left = json!({"httpGet": {"port": port, "scheme": "HTTP"}});
        assert_eq!(pod(&after)["containers"][0]["livenessProbe"], left);
    }
}

#[test]
fn metadata_stay_when_nothing_in_them_is_applied_any_more() {
    let mut live = apply_as("me", None, &json!({"metadata": {"labels": {"a": "b"}}}), false).unwrap();
    live["metadata"]["uid"] = "u".into();
    let after = apply_as("me", Some(&live), &json!({}), false).unwrap();
    assert_eq!(after["metadata"], json!({"uid": "u"}));
}

/// Versions that differ in their names alone.
struct Alike;

impl Versions for Alike {
    fn shape(&self, _: &str) -> Option<&Shape> {
        Some(model().shape(DEPLOYMENT))
    }

    fn convert(
        &self,
        mut objects: Vec<Value>,
        api_version: &str,
    ) -> futures::future::BoxFuture<'_, Result<Vec<Value>, hako_error::Error>> {
        objects.iter_mut().for_each(|object| object["apiVersion"] = api_version.into());
        Box::pin(async { Ok(objects) })
    }
}

#[tokio::test]
async fn objects_go_or_stay_the_same_way_where_others_write_in_other_versions() {
    let applied = |version: &str, mut object: Value| {
        object["apiVersion"] = format!("apps/{version}").into();
        object
    };
    let send = async |live: &Value, manager: &str, version: &str, object: Value| {
        let (object, live) = (applied(version, object), applied(version, live.clone()));
        let request = Apply {
            shape: model().shape(DEPLOYMENT),
            live: Some(&live),
            applied: &object,
            manager,
            force: false,
            api_version: &format!("apps/{version}"),
            subresource: "",
            reach: Reach::AllButStatus,
            now: now(),
        };
        apply_across(request, &live, &Alike).await.unwrap()
    };
    let probes = |liveness: Value| {
        let readiness = json!({"exec": {"command": ["x"]}});
        template(json!({"livenessProbe": liveness, "readinessProbe": readiness}), json!({}))
    };
    let mine = probes(json!({"httpGet": {"port": 80, "path": "/"}}));
    let mut live = apply_as("me", None, &applied("v1", mine), false).unwrap();
    let container = &mut live["spec"]["template"]["spec"]["containers"][0];
    container["livenessProbe"]["httpGet"]["scheme"] = "HTTP".into();
    container["readinessProbe"]["timeoutSeconds"] = 1.into();
    let theirs = template(json!({"livenessProbe": {"httpGet": {"port": 80}}}), json!({}));
    let shared = send(&live, "you", "v2", theirs).await;
    let left = json!([{"name": "c", "livenessProbe": {"httpGet": {"port": 80, "scheme": "HTTP"}}}]);
    for version in ["v1", "v2"] {
        let after = send(&shared, "me", version, template(json!({}), json!({}))).await;
        assert_eq!(pod(&after)["containers"], left, "by who moves to {version}");
    }
}

fn nested() -> impl Strategy<Value = Value> {
    let handler = prop::sample::select(vec![
        json!({"exec": {"command": ["x"]}}),
        json!({"httpGet": {"port": 80}}),
        json!({"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 3}),
    ]);
    let security = prop::sample::select(vec![
        json!({"runAsUser": 1}),
        json!({"seLinuxOptions": {"level": "a"}, "capabilities": {"add": ["X"]}}),
    ]);
    (prop::option::of(handler), prop::option::of(security), prop::option::of(0..3_i64)).prop_map(
        |(probe, security, surge)| {
            let mut container = json!({});
            for (name, part) in [("livenessProbe", probe), ("securityContext", security)] {
                if let Some(part) = part {
                    container[name] = part;
                }
            }
            let mut object = template(container, json!({}));
            if let Some(surge) = surge {
                object["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = surge.into();
            }
            object
        },
    )
}

proptest! {
    #[test]
    fn what_one_alone_applies_is_all_there_is(first in nested(), second in nested()) {
        let live = apply_as("me", None, &first, false).unwrap();
        let after = apply_as("me", Some(&live), &second, false).unwrap();
        prop_assert_eq!(without_managed(&after)["spec"].clone(), second["spec"].clone());
    }
}

/// The fields that a manager owns.
fn fields_of(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().find(|entry| entry["manager"] == manager).unwrap()["fieldsV1"].clone()
}

#[test]
fn who_creates_an_object_owns_also_what_holds_its_fields_unless_it_is_always_there() {
    let container = json!({
        "name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}},
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
    });
    let mut made = containers(json!([container]));
    made["metadata"]["labels"]["a"] = "b".into();
    made["spec"]["selector"]["matchLabels"]["a"] = "b".into();
    made["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
    made["spec"]["template"]["metadata"]["labels"]["a"] = "b".into();
    let made = update("me", None, made);
    // As a cluster answers it for a deployment of these fields.
    let labels = json!({".": {}, "f:a": {}});
    let container = json!({
        ".": {}, "f:image": {}, "f:name": {},
        "f:ports": {".": {}, r#"k:{"containerPort":80,"protocol":"TCP"}"#: {
            ".": {}, "f:containerPort": {}, "f:protocol": {}}},
        "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}}},
    });
    let wanted = json!({
        "f:metadata": {"f:labels": labels},
        "f:spec": {
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": labels},
                "f:spec": {"f:containers": {r#"k:{"name":"c"}"#: container}},
            },
        },
    });
    assert_eq!(fields_of(&made, "me"), wanted);
    // What is added to it later, too, and what was always there is not new.
    let mut more = made.clone();
    let added = json!({"name": "d", "image": "i"});
    more["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(added);
    more["metadata"]["annotations"] = json!({"x": "y"});
    more["status"] = json!({"replicas": 1});
    let more = update("you", Some(&made), more);
    let item = json!({".": {}, "f:image": {}, "f:name": {}, "f:resources": {}});
    let wanted = json!({
        "f:metadata": {"f:annotations": {".": {}, "f:x": {}}},
        "f:spec": {"f:template": {"f:spec": {"f:containers": {r#"k:{"name":"d"}"#: item}}}},
    });
    assert_eq!(fields_of(&more, "you"), wanted);
}

#[test]
fn who_empties_a_map_owns_nothing_of_it_and_nobody_else_does() {
    let mut made = replicas(1);
    made["metadata"]["labels"] = json!({"a": "b"});
    let made = update("me", None, made);
    let mut bare = made.clone();
    bare["metadata"]["labels"] = json!({});
    let bare = update("you", Some(&made), bare);
    assert_eq!(fields_of(&bare, "me")["f:metadata"], json!({"f:labels": {}}));
    assert_eq!(bare["metadata"]["managedFields"].as_array().unwrap().len(), 1);
}

#[test]
fn applications_own_entries_of_maps_with_what_is_in_them_and_nothing_of_empty_lists() {
    let of = |applied: &Value| fields_of(&apply_as("me", None, applied, false).unwrap(), "me");
    let affinity = json!({"preferredDuringSchedulingIgnoredDuringExecution": []});
    let applied =
        template(json!({"env": [], "securityContext": {}}), json!({"affinity": {"podAffinity": affinity}}));
    let wanted = json!({"f:spec": {"f:template": {"f:spec": {
        "f:affinity": {"f:podAffinity": {"f:preferredDuringSchedulingIgnoredDuringExecution": {}}},
        "f:containers": {r#"k:{"name":"c"}"#: {".": {}, "f:name": {}, "f:securityContext": {}}},
    }}}});
    assert_eq!(of(&applied), wanted);
}

#[test]
fn an_item_that_is_no_longer_applied_goes_even_if_an_updater_changed_a_field_in_it() {
    let both = containers(json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]));
    let made = apply_as("me", None, &both, false).unwrap();
    let mut changed = made.clone();
    changed["spec"]["template"]["spec"]["containers"][1]["image"] = "y".into();
    let changed = update("you", Some(&made), changed);
    let one = containers(json!([{"name": "a", "image": "x"}]));
    let after = apply_as("me", Some(&changed), &one, false).unwrap();
    assert_eq!(pod(&after)["containers"], json!([{"name": "a", "image": "x"}]));
    assert_eq!(after["metadata"]["managedFields"].as_array().unwrap().len(), 1, "{after}");
    // Whoever made the item keeps it.
    let mut more = made.clone();
    let third = json!({"name": "t", "image": "x"});
    more["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(third.clone());
    let more = update("you", Some(&made), more);
    let shared = apply_as("me", Some(&more), &containers(json!([third])), false).unwrap();
    let after = apply_as("me", Some(&shared), &one, false).unwrap();
    assert_eq!(pod(&after)["containers"].as_array().unwrap().len(), 2);
}

#[test]
fn the_oldest_updaters_are_united_version_by_version() {
    let mut object = update("m0", None, replicas(1));
    for count in 1..12 {
        let mut new = object.clone();
        new["metadata"]["labels"][format!("l{count}")] = "x".into();
        let api_version = if count % 2 == 0 { "apps/v1" } else { "apps/v2" };
        let manager = format!("m{count}");
        let write = Write {
            shape: model().shape(DEPLOYMENT),
            live: Some(&object),
            manager: &manager,
            api_version,
            subresource: "",
            reach: Reach::AllButStatus,
            now: now() + jiff::SignedDuration::from_secs(count),
        };
        track(write, &mut new);
        object = new;
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let ancient: Vec<&Value> = entries.iter().filter(|it| it["manager"] == managers::ANCIENT).collect();
    assert_eq!(entries.len(), 10);
    let versions: Vec<&Value> = ancient.iter().map(|it| &it["apiVersion"]).collect();
    assert_eq!(versions, ["apps/v1", "apps/v2"]);
    assert!(ancient[0]["fieldsV1"]["f:spec"].is_object() && ancient[1]["fieldsV1"].get("f:spec").is_none());
}

#[tokio::test]
async fn who_owns_a_label_conflicts_with_nobody_who_sets_another_in_another_version() {
    let labeled = |version: &str, name: &str, value: &str| json!({"apiVersion": version, "metadata": {"labels": {name: value}}});
    let made = update("one", None, labeled("apps/v1", "a", "1"));
    let send = async |live: &Value, object: Value| {
        let mut live = live.clone();
        live["apiVersion"] = "apps/v2".into();
        let request = Apply {
            shape: model().shape(DEPLOYMENT),
            live: Some(&live),
            applied: &object,
            manager: "two",
            force: false,
            api_version: "apps/v2",
            subresource: "",
            reach: Reach::AllButStatus,
            now: now(),
        };
        apply_across(request, &live, &Alike).await
    };
    let both = send(&made, labeled("apps/v2", "b", "2")).await.unwrap();
    assert_eq!(both["metadata"]["labels"], json!({"a": "1", "b": "2"}));
    assert_eq!(fields_of(&both, "one"), json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}));
    let error = send(&both, labeled("apps/v2", "a", "2")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\" using apps/v1: .metadata.labels.a"
    );
}

#[test]
fn what_cannot_be_told_apart_is_owned_together() {
    let env = |values: &[&str]| {
        let all: Vec<Value> = values.iter().map(|value| json!({"name": "E", "value": value})).collect();
        containers(json!([{"name": "c", "env": all}]))
    };
    let of = |object: &Value, manager: &str| {
        let fields = fields_of(object, manager);
        fields
            .pointer(r#"/f:spec/f:template/f:spec/f:containers/k:{"name":"c"}/f:env/k:{"name":"E"}"#)
            .cloned()
    };
    let one = update("me", None, env(&["1"]));
    assert_eq!(of(&one, "me"), Some(json!({".": {}, "f:name": {}, "f:value": {}})));
    let change = |live: &Value, manager: &str, values: &[&str]| {
        let mut new = live.clone();
        new["spec"] = env(values)["spec"].clone();
        update(manager, Some(live), new)
    };
    let two = change(&one, "you", &["1", "2"]);
    assert_eq!((of(&two, "me"), of(&two, "you")), (None, Some(json!({}))));
    let changed = change(&two, "them", &["1", "3"]);
    assert_eq!(of(&changed, "them"), Some(json!({})));
    let single = change(&changed, "me", &["3"]);
    assert_eq!(of(&single, "me"), Some(json!({".": {}, "f:name": {}, "f:value": {}})));
}

#[test]
fn items_that_cannot_be_told_apart_are_not_applied() {
    let port = |name: &str| json!({"containerPort": 80, "name": name});
    let mut applied = containers(json!([{"name": "c", "ports": [port("a"), port("b")]}]));
    applied["apiVersion"] = "apps/v1".into();
    applied["kind"] = "Deployment".into();
    applied["metadata"] = json!({"name": "d", "namespace": "n"});
    let error = apply_as("me", None, &applied, true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.template.spec.containers[name=\"c\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]"
    );
    applied["metadata"]["finalizers"] = json!(["a/a", "a/a"]);
    let error = apply_as("me", None, &applied, true).unwrap_err().to_string();
    assert!(
        error
            .starts_with("failed to create typed patch object (n/d; apps/v1, Kind=Deployment): errors:\n  .")
    );
    assert!(error.contains("\n  .metadata.finalizers: duplicate entries for key [=\"a/a\"]"), "{error}");
}

#[test]
fn an_object_of_unknown_fields_goes_with_what_was_applied_in_it() {
    let field = crate::schema::Field {
        name: "spec".into(),
        description: String::new(),
        is_required: false,
        shape: Shape::Open(Vec::new()),
        patch: crate::schema::Patch::default(),
        default: None,
        zero: None,
        leaves_zero: false,
    };
    let shape = Shape::Object(vec![field]);
    let send = |manager: &str, live: Option<&Value>, spec: Value| {
        let applied = json!({ "spec": spec });
        let request = Apply {
            shape: &shape,
            live,
            applied: &applied,
            manager,
            force: false,
            api_version: "x/v1",
            subresource: "",
            reach: Reach::AllButStatus,
            now: now(),
        };
        apply(request).unwrap()
    };
    let both = send("me", None, json!({"kept": 1, "gone": {"deep": {"a": 1}}}));
    assert_eq!(send("me", Some(&both), json!({"kept": 1}))["spec"], json!({"kept": 1}));
    let shared = send("you", Some(&both), json!({"gone": {"deep": {"b": 2}}}));
    let left = send("me", Some(&shared), json!({"kept": 1}));
    assert_eq!(left["spec"], json!({"kept": 1, "gone": {"deep": {"b": 2}}}));
}

/// An object with a list of items by name and a map, which are owned part by part or as a whole.
fn shared(is_whole: bool) -> Shape {
    let field = |name: &str, shape: Shape| crate::schema::Field {
        name: name.to_owned(),
        description: String::new(),
        is_required: false,
        shape,
        patch: crate::schema::Patch::default(),
        default: None,
        zero: None,
        leaves_zero: false,
    };
    let text = || Shape::Scalar(crate::schema::Scalar::Text);
    let kind = match is_whole {
        true => crate::schema::ListKind::Atomic,
        false => crate::schema::ListKind::Map(vec!["name".to_owned()]),
    };
    let item = Box::new(Shape::Object(vec![field("name", text()), field("value", text())]));
    let spec = Shape::Object(vec![
        field("items", Shape::List { item, kind }),
        field("texts", Shape::Map { value: Box::new(text()), is_atomic: is_whole }),
    ]);
    let metadata = model().reference("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    Shape::Object(vec![field("metadata", metadata), field("spec", spec)])
}

fn apply_to(
    shape: &Shape,
    manager: &str,
    live: Option<&Value>,
    spec: Value,
    force: bool,
) -> Result<Value, ApplyError> {
    let applied = json!({"metadata": {"name": "a"}, "spec": spec});
    let (reach, subresource) = (Reach::AllButStatus, "");
    let applied = &applied;
    apply(Apply { shape, live, applied, manager, force, api_version: "g/v1", subresource, reach, now: now() })
}

/// What each owns of the spec.
fn owned(object: &Value) -> BTreeMap<String, Value> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    entries
        .map(|entry| (entry["manager"].as_str().unwrap().to_owned(), entry["fieldsV1"]["f:spec"].clone()))
        .collect()
}

#[test]
fn who_had_a_part_has_all_of_what_becomes_one_and_conflicts_with_others() {
    let (parts, whole) = (shared(false), shared(true));
    let one = json!({"items": [{"name": "a", "value": "1"}], "texts": {"a": "1"}});
    let two = json!({"items": [{"name": "b", "value": "2"}], "texts": {"b": "2"}});
    let object = apply_to(&parts, "one", None, one.clone(), false).unwrap();
    let object = apply_to(&parts, "two", Some(&object), two, false).unwrap();
    assert_eq!(owned(&object)["one"]["f:texts"], json!({"f:a": {}}));
    // Nothing of that changes by a write of something else but what is owned.
    let mut labelled = object.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let (live, reach) = (Some(&object), Reach::AllButStatus);
    let write = Write {
        shape: &whole,
        live,
        manager: "three",
        api_version: "g/v1",
        subresource: "",
        reach,
        now: now(),
    };
    track(write, &mut labelled);
    let all = json!({"f:items": {}, "f:texts": {}});
    let owners = owned(&labelled);
    assert_eq!((&owners["one"], &owners["two"]), (&all, &all));
    for live in [&object, &labelled] {
        let error = apply_to(&whole, "one", Some(live), one.clone(), false).unwrap_err().to_string();
        assert!(
            error.contains("2 conflicts") && error.contains("\"two\"") && error.contains(".spec.items"),
            "{error}"
        );
        let taken = apply_to(&whole, "one", Some(live), one.clone(), true).unwrap();
        assert_eq!((&taken["spec"], &owned(&taken)["one"]), (&one, &all));
        assert!(!owned(&taken).contains_key("two"));
    }
}

#[test]
fn who_had_a_whole_has_of_its_parts_what_it_applies_and_nobody_has_the_others() {
    let (parts, whole) = (shared(false), shared(true));
    let items = json!([{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]);
    let both = json!({"items": items, "texts": {"a": "1", "b": "2"}});
    let object = apply_to(&whole, "one", None, both.clone(), false).unwrap();
    assert_eq!(owned(&object)["one"], json!({"f:items": {}, "f:texts": {}}));
    // Somebody else may have a part now.
    let other = json!({"items": [{"name": "c", "value": "3"}], "texts": {"c": "3"}});
    let object = apply_to(&parts, "two", Some(&object), other, false).unwrap();
    assert_eq!(object["spec"]["items"].as_array().unwrap().len(), 3);
    let same = apply_to(&parts, "one", Some(&object), both, false).unwrap();
    assert_eq!(same["spec"], object["spec"]);
    assert_eq!(owned(&same)["one"]["f:texts"], json!({"f:a": {}, "f:b": {}}));
    let less = json!({"items": [{"name": "a", "value": "1"}], "texts": {"a": "1"}});
    // What it had of the whole it has never had as a part, as upstream sees it: that stays.
    let fewer = apply_to(&parts, "one", Some(&object), less.clone(), false).unwrap();
    assert_eq!(fewer["spec"], object["spec"]);
    assert_eq!(owned(&fewer)["one"]["f:texts"], json!({"f:a": {}}));
    let fewer = apply_to(&parts, "one", Some(&same), less, false).unwrap();
    let wanted = json!({
        "items": [{"name": "a", "value": "1"}, {"name": "c", "value": "3"}], "texts": {"a": "1", "c": "3"},
    });
    assert_eq!(fewer["spec"], wanted);
}

#[test]
fn a_type_that_stays_as_it_was_changes_no_set() {
    let shape = shared(false);
    let one = json!({"items": [{"name": "a", "value": "1"}], "texts": {}});
    let object = apply_to(&shape, "one", None, one, false).unwrap();
    let mut managers = Managers::decode(&object);
    let before = managers.clone();
    managers.reconcile(|_| Some(&shape));
    managers.reconcile(|version| (version == "other").then_some(&shape));
    assert_eq!(managers, before);
}

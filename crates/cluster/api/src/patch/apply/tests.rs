use super::*;
use proptest::prelude::*;

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
        now: now(),
    })
}

fn update(manager: &str, live: Option<&Value>, mut new: Value) -> Value {
    let shape = model().shape(DEPLOYMENT);
    let write = Write { shape, live, manager, api_version: "apps/v1", subresource: "", now: now() };
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

/// Whether everything `wanted` says is so in `is`.
fn says(shape: &Shape, is: &Value, wanted: &Value) -> bool {
    owned(shape, wanted, "").paths().iter().all(|path| {
        let value = |object| merge::find(model(), shape, object, path);
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

//! Creating and updating.

use hako_api::Identity;
use hako_client::{ResourceType, WriteOptions};
use hako_error::Kind;
use serde_json::{Value, json};

use super::{CONFIG_MAPS, ask, ask_as};
use crate::support::World;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn some_kinds_are_updated_at_a_version_only_and_others_at_any() {
    let world = World::start().await;
    let map = format!("{CONFIG_MAPS}/a");
    ask(&world, "POST", CONFIG_MAPS, &named("a")).await.is(201);
    let updated =
        ask(&world, "PUT", &map, &json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await.is(200);
    let stale = json!({"metadata": {"name": "a", "resourceVersion": "1"}});
    ask(&world, "PUT", &map, &stale)
        .await
        .refuses(409, "the object has been modified; please apply your changes");
    assert_eq!(ask(&world, "GET", &map, &Value::Null).await.is(200)["data"], updated["data"]);
    ask(&world, "POST", LEASES, &named("l")).await.is(201);
    let lease = format!("{LEASES}/l");
    let text = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be \
                specified for an update";
    ask(&world, "PUT", &lease, &named("l")).await.refuses(422, text);
    let there = ask(&world, "GET", &lease, &Value::Null).await.is(200);
    ask(&world, "PUT", &lease, &there).await.is(200);
    // Who patches says nothing of versions.
    ask(&world, "PATCH", &lease, &json!({"spec": {"holderIdentity": "me"}})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_makes_what_is_not_there_where_its_kind_lets_it() {
    let world = World::start().await;
    let map = format!("{CONFIG_MAPS}/a");
    ask(&world, "PUT", &map, &named("a")).await.refuses(404, "configmaps \"a\" not found");
    let lease = format!("{LEASES}/l");
    let other = json!({"metadata": {"name": "l", "uid": "x"}});
    ask(&world, "PUT", &lease, &other).await.refuses(409, "Precondition failed: UID in precondition: x");
    let made = ask(&world, "PUT", &lease, &named("l")).await.is(201);
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["resourceVersion"].is_string(), "{made}");
    ask(&world, "PUT", &format!("{LEASES}/dry?dryRun=All"), &named("dry")).await.is(201);
    ask(&world, "GET", &format!("{LEASES}/dry"), &Value::Null).await.refuses(404, "not found");
    // Whoever may only update may not create that way.
    let rules =
        json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]}]);
    let rbac = |plural: &str| ResourceType::new("rbac.authorization.k8s.io", "v1", plural);
    let roles = world.inside().dynamic(&rbac("roles"), Some("default"));
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    roles.create(&role, &WriteOptions::default()).await.unwrap();
    let bindings = world.inside().dynamic(&rbac("rolebindings"), Some("default"));
    let binding = json!({
        "metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    bindings.create(&binding, &WriteOptions::default()).await.unwrap();
    let leases = ResourceType::new("coordination.k8s.io", "v1", "leases");
    let jane = world.server.client(Identity::new("jane", &["system:authenticated"]));
    let leases = jane.dynamic(&leases, Some("default"));
    let replace = async |name: &str| leases.replace(name, None, &named(name), &WriteOptions::default()).await;
    // What roles grant is known a moment after it is written.
    let mut error = replace("other").await.unwrap_err();
    while error.to_string().contains("cannot update") {
        tokio::task::yield_now().await;
        error = replace("other").await.unwrap_err();
    }
    assert!(error.kind() == Kind::Forbidden && error.to_string().contains("cannot create"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_of_the_object_in_its_path() {
    let world = World::start().await;
    ask(&world, "POST", CONFIG_MAPS, &named("a")).await.is(201);
    let map = format!("{CONFIG_MAPS}/a");
    let text = "the name of the object (a based on URL) was undeterminable: name must be provided";
    ask(&world, "PUT", &map, &json!({"metadata": {}})).await.refuses(400, text);
    let text = "the name of the object (b) does not match the name on the URL (a)";
    ask(&world, "PUT", &map, &named("b")).await.refuses(400, text);
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "kube-system"}});
    let text = "the namespace of the provided object does not match the namespace sent on the request";
    ask(&world, "PUT", &map, &elsewhere).await.refuses(400, text);
    ask(&world, "POST", CONFIG_MAPS, &elsewhere).await.refuses(400, text);
    let other = json!({"metadata": {"name": "a", "uid": "x"}});
    ask(&world, "PUT", &map, &other).await.refuses(409, "Precondition failed: UID in precondition: x");
    // What lives in no namespace loses the one it is sent with.
    let class = json!({"metadata": {"name": "c", "namespace": "default"}, "value": 1});
    let made = ask(&world, "POST", "/apis/scheduling.k8s.io/v1/priorityclasses", &class).await.is(201);
    assert_eq!(made["metadata"].get("namespace"), None);
    let versioned = json!({"metadata": {"name": "v", "resourceVersion": "7"}});
    let text = "resourceVersion should not be set on objects to be created";
    ask(&world, "POST", CONFIG_MAPS, &versioned).await.refuses(400, text);
    let zero = json!({"metadata": {"name": "v", "resourceVersion": "0"}});
    ask(&world, "POST", CONFIG_MAPS, &zero).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_by_something_on_its_way_out_says_so() {
    let world = World::start().await;
    let held = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    ask(&world, "POST", CONFIG_MAPS, &held).await.is(201);
    let taken = ask(&world, "POST", CONFIG_MAPS, &named("a")).await;
    taken.refuses(409, "configmaps \"a\" already exists");
    assert_eq!(taken.body["reason"], "AlreadyExists");
    ask(&world, "DELETE", &format!("{CONFIG_MAPS}/a"), &Value::Null).await.is(200);
    for query in ["", "?dryRun=All"] {
        let taken = ask(&world, "POST", &format!("{CONFIG_MAPS}{query}"), &named("a")).await;
        taken.refuses(409, "object is being deleted: configmaps \"a\" already exists");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_named_twice_is_one_and_the_sender_is_told() {
    let world = World::start().await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"});
    let owned = json!({"metadata": {"name": "a", "ownerReferences": [owner, owner]}});
    let said = ask(&world, "POST", CONFIG_MAPS, &owned).await;
    assert!(
        said.warnings[0].contains(".metadata.ownerReferences contains duplicate entries; API server"),
        "{said:?}"
    );
    assert!(said.warnings[0].contains("duplicate UID(s) observed: u"), "{said:?}");
    assert_eq!(said.is(201)["metadata"]["ownerReferences"], json!([owner]));
    let said = ask(&world, "PUT", &format!("{CONFIG_MAPS}/a"), &owned).await;
    assert_eq!((said.warnings.len(), said.code), (1, 200), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deletion_set_changes_through_deletions_only() {
    let world = World::start().await;
    let held = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    let created = ask(&world, "POST", CONFIG_MAPS, &held).await.is(201);
    let map = format!("{CONFIG_MAPS}/a");
    let with = |member: &str, value: Value| {
        let mut object = held.clone();
        object["metadata"][member] = value;
        object
    };
    let at = "2030-01-02T03:04:05Z";
    let immutable = "field is immutable; may only be changed via deletion";
    let text = format!("metadata.deletionTimestamp: Invalid value: \"{at}\": {immutable}");
    ask(&world, "PUT", &map, &with("deletionTimestamp", at.into())).await.refuses(422, &text);
    let text = format!("metadata.deletionGracePeriodSeconds: Invalid value: 5: {immutable}");
    ask(&world, "PUT", &map, &with("deletionGracePeriodSeconds", 5.into())).await.refuses(422, &text);
    let text = format!("metadata.creationTimestamp: Invalid value: \"{at}\": field is immutable");
    ask(&world, "PUT", &map, &with("creationTimestamp", at.into())).await.refuses(422, &text);
    // Who sends nothing, or what there is in other words, changes nothing.
    let was = created["metadata"]["creationTimestamp"].as_str().unwrap().replace('Z', "+00:00");
    for same in [Value::Null, was.into()] {
        let kept = ask(&world, "PUT", &map, &with("creationTimestamp", same)).await.is(200);
        assert!(kept["metadata"]["creationTimestamp"].is_string(), "{kept}");
    }
    let marked = ask(&world, "DELETE", &map, &Value::Null).await.is(200);
    let text = format!("metadata.deletionGracePeriodSeconds: Invalid value: 9: {immutable}");
    ask(&world, "PUT", &map, &with("deletionGracePeriodSeconds", 9.into())).await.refuses(422, &text);
    // Once marked, an object stays so, whatever is sent.
    for sent in [Value::Null, at.into()] {
        let kept = ask(&world, "PUT", &map, &with("deletionTimestamp", sent)).await.is(200);
        for member in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            assert_eq!(kept["metadata"][member], marked["metadata"][member]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_what_is_most_likely_not_meant_is_told_so() {
    let world = World::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"beta.kubernetes.io/os": "linux"}},
    });
    let mut deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let told = "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14";
    let made = ask(&world, "POST", path, &deployment).await;
    assert!(made.warnings.iter().any(|warning| warning.contains(told)), "{made:?}");
    deployment["spec"]["replicas"] = 2.into();
    let scaled = ask(&world, "PUT", &format!("{path}/d"), &deployment).await;
    assert!(scaled.warnings.is_empty(), "{scaled:?}");
    deployment["spec"]["template"]["metadata"]["labels"]["c"] = "d".into();
    let changed = ask(&world, "PUT", &format!("{path}/d"), &deployment).await;
    assert!(changed.warnings.iter().any(|warning| warning.contains(told)), "{changed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_of_no_whole_number_changes_no_replicas() {
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let world = World::start().await;
    let mut deployment = crate::contract::deployment("web");
    deployment["spec"]["replicas"] = 3.into();
    ask(&world, "POST", DEPLOYMENTS, &deployment).await.is(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let scale = |replicas: Value| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
    let kinds = ["application/merge-patch+json", "application/strategic-merge-patch+json"];
    for (replicas, what) in [(json!("1"), "string"), (json!(1.5), "number 1.5"), (json!(true), "bool")] {
        let told = format!(
            "json: cannot unmarshal {what} into Go struct field ScaleSpec.spec.replicas of type int32"
        );
        let whole = format!("Scale in version \"v1\" cannot be handled as a Scale: {told}");
        ask(&world, "PUT", &path, &scale(replicas.clone())).await.refuses(400, &whole);
        for kind in kinds {
            let patch = json!({"spec": {"replicas": replicas}});
            let said = ask_as(&world, "PATCH", &path, kind, &patch).await;
            said.refuses(422, &told);
        }
        let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": replicas}]);
        ask_as(&world, "PATCH", &path, "application/json-patch+json", &patch).await.refuses(422, &told);
    }
    let fraction = json!({"spec": {"replicas": 2.0}});
    ask_as(&world, "PATCH", &path, kinds[0], &fraction)
        .await
        .refuses(422, "cannot unmarshal number 2.0 into");
    let now = ask(&world, "GET", &path, &Value::Null).await.is(200);
    assert_eq!(now["spec"]["replicas"], 3);
    let now = ask_as(&world, "PATCH", &path, kinds[1], &fraction).await.is(200);
    assert_eq!(now["spec"]["replicas"], 2, "a strategic patch knows no fractions");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_a_part_has_the_type_of_the_part() {
    let world = World::start().await;
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token =
        |spec: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let refused = [
        (account, token(json!({"audiences": "vault"})), "TokenRequestSpec.spec.audiences of type []string"),
        (
            account,
            token(json!({"expirationSeconds": "600"})),
            "TokenRequestSpec.spec.expirationSeconds of type int64",
        ),
        (account, token(json!([])), "cannot unmarshal array into Go struct field TokenRequest.spec"),
        (
            "/api/v1/namespaces/default/pods/p/eviction",
            json!({"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": "0"}}),
            "cannot unmarshal string into Go struct field DeleteOptions.deleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            "/api/v1/namespaces/default/pods/p/binding",
            json!({"target": "node"}),
            "cannot unmarshal string into Go struct field Binding.target of type v1.ObjectReference",
        ),
    ];
    for (path, body, told) in refused {
        ask(&world, "POST", path, &body).await.refuses(400, told);
    }
    let good = token(json!({"audiences": ["vault"], "expirationSeconds": 600}));
    let issued = ask(&world, "POST", account, &good).await.is(201);
    assert_eq!(issued["spec"]["audiences"], json!(["vault"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_and_bytes_are_kept_in_one_form_or_refused_in_go_s_words() {
    let world = World::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let events = "/api/v1/namespaces/default/events";
    let secrets = "/api/v1/namespaces/default/secrets";
    let lease = |time: Value| json!({"metadata": {"name": "l"}, "spec": {"renewTime": time}});
    let made = ask(&world, "POST", leases, &lease(json!("2020-01-01T01:00:00.000001+01:00"))).await.is(201);
    assert_eq!(made["spec"]["renewTime"], "2020-01-01T00:00:00.000001Z");
    for (time, why) in [
        (json!("2020-01-01T00:00:00Z"), "cannot parse \"Z\" as \".000000\""),
        (json!("2020-01-01T24:00:00.000000Z"), "hour out of range"),
        (
            json!(7),
            "Lease: json: cannot unmarshal number into Go struct field LeaseSpec.spec.renewTime of type string",
        ),
    ] {
        ask(&world, "POST", leases, &lease(time)).await.refuses(400, why);
    }
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "count": 1,
        "firstTimestamp": "2020-01-01T03:00:00.5+03:00", "lastTimestamp": "0001-01-01T00:00:00Z",
    });
    let made = ask(&world, "POST", events, &event).await.is(201);
    assert_eq!(made["firstTimestamp"], "2020-01-01T00:00:00Z");
    assert!(made["lastTimestamp"].is_null(), "{made}");
    let secret = |text: &str| json!({"metadata": {"generateName": "s"}, "data": {"a": text}});
    let made = ask(&world, "POST", secrets, &secret("YR==\n")).await.is(201);
    assert_eq!(made["data"]["a"], "YQ==");
    let why = "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 2";
    ask(&world, "POST", secrets, &secret("YW Jj")).await.refuses(400, why);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_empty_is_not_kept_and_nobody_owns_it() {
    let world = World::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let sent = json!({"metadata": {"name": "a", "labels": {}, "annotations": {"x": ""}}, "data": {}, "immutable": false});
    let made = ask(&world, "POST", CONFIG_MAPS, &sent).await.is(201);
    assert_eq!((made.get("data"), made["metadata"].get("labels")), (None, None), "{made}");
    assert_eq!((&made["immutable"], &made["metadata"]["annotations"]), (&json!(false), &json!({"x": ""})));
    let owned = json!({"f:immutable": {}, "f:metadata": {"f:annotations": {".": {}, "f:x": {}}}});
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"], owned);
    let emptied = json!({"metadata": {"annotations": {"x": null}}});
    let made = ask(&world, "PATCH", &path, &emptied).await.is(200);
    assert_eq!(made["metadata"].get("annotations"), None, "{made}");
}

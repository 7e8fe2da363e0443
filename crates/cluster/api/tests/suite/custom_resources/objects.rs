//! Objects of a defined kind: pruned, defaulted, checked, shared by fields, selected and scaled.

use http::StatusCode;
use serde_json::{Value, json};

use super::{define, one_version, until};
use crate::every_kind::calls::{Http, Watch};
use crate::every_kind::read;
use crate::support::World;

const GADGETS: &str = "/apis/suite.example.com/v1/namespaces/default/gadgets";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn world() -> (World, Http) {
    let world = World::start().await;
    define(&world, &read("definitions/gadgets.yaml")).await;
    let http = Http::new(&world);
    (world, http)
}

fn gadget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "suite.example.com/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": spec})
}

fn path(name: &str) -> String {
    format!("{GADGETS}/{name}")
}

async fn refused(http: &Http, method: &str, path: &str, content_type: &str, body: &Value) -> String {
    let (code, status) = http.call(method, path, content_type, body).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
    status["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_dropped_or_refused_and_absent_ones_filled_in() {
    let (_world, http) = world().await;
    let sent = gadget(
        "a",
        json!({
            "size": 1, "extra": {"kept": [{"deep": 1}]}, "port": "http", "color": null,
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t"}, "any": true},
            "wheels": [{"name": "front", "spokes": 30}],
        }),
    );
    let (code, status) = http.call("POST", &format!("{GADGETS}?fieldValidation=Strict"), JSON, &sent).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains(r#"unknown field "spec.size", unknown field "spec.wheels[0].spokes""#),
        "{message}"
    );
    let created = http.ok("POST", GADGETS, JSON, &sent).await;
    assert_eq!(
        created["spec"],
        json!({
            "extra": {"kept": [{"deep": 1}]}, "port": "http", "color": "red", "replicas": 1, "most": 100,
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t"}, "any": true},
            "wheels": [{"name": "front", "size": 3}],
        })
    );
    assert_eq!(created["metadata"]["generation"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_and_rules_are_kept_and_old_faults_may_stay() {
    let (world, http) = world().await;
    for (spec, wanted) in [
        (json!({"color": "pink"}), r#"spec.color: Unsupported value: "pink""#),
        (json!({"replicas": "1"}), r#"spec.replicas: Invalid value: "string""#),
        (json!({"replicas": 200}), "there may not be more than most"),
        (json!({"tags": ["a", "a"]}), r#"spec.tags[1]: Duplicate value: "a""#),
        (json!({"wheels": [{"size": 1}]}), "spec.wheels[0].name: Required value"),
        (json!({"wheels": [{"name": "x"}, {"name": "x"}]}), "spec.wheels[1]: Duplicate value"),
    ] {
        let message = refused(&http, "POST", GADGETS, JSON, &gadget("a", spec)).await;
        assert!(message.starts_with(r#"Gadget.suite.example.com "a" is invalid: "#), "{message}");
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
    http.ok("POST", GADGETS, JSON, &gadget("a", json!({"frozen": "x", "color": "green"}))).await;
    let change = json!({"spec": {"frozen": "y"}});
    let message = refused(&http, "PATCH", &path("a"), MERGE, &change).await;
    assert!(message.contains("frozen stays as it is"), "{message}");
    // What was sound when it was written may stay, though it would be refused now.
    let mut stricter = read("definitions/gadgets.yaml");
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    stricter.pointer_mut(properties).unwrap()["color"]["enum"] = json!(["red", "blue"]);
    define(&world, &stricter).await;
    until("the new schema is in effect", async || {
        let new = gadget("b", json!({"color": "green"}));
        http.call("POST", &format!("{GADGETS}?dryRun=All"), JSON, &new).await.0
            == StatusCode::UNPROCESSABLE_ENTITY
    })
    .await;
    let kept = http.ok("PATCH", &path("a"), MERGE, &json!({"spec": {"replicas": 2}})).await;
    assert_eq!((&kept["spec"]["color"], &kept["metadata"]["generation"]), (&json!("green"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_came_later_warns_of_what_stays_as_it_was() {
    let world = World::start().await;
    let schema = |rules: Value| {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "object", "properties": {"n": {"type": "integer"}}, "x-kubernetes-validations": rules},
            "b": {"type": "integer"},
        }}}})
    };
    define(&world, &one_version("Tab", schema(json!([])))).await;
    let tab = json!({"apiVersion": "cr.example.com/v1", "kind": "Tab", "metadata": {"name": "t"}, "spec": {"a": {"n": -1}}});
    world.kubectl_with(&["create", "-f", "-"], &tab.to_string()).await;
    define(
        &world,
        &one_version("Tab", schema(json!([{"rule": "self.n > 0", "message": "n is more than 0"}]))),
    )
    .await;
    let patch = async |spec: &str| {
        let patch = format!(r#"{{"spec": {spec}}}"#);
        world.try_kubectl(&["patch", "tab", "t", "--type=merge", "-p", &patch], "").await
    };
    let warning = "Warning: spec.a: Invalid value: n is more than 0";
    until("the rule is in effect", async || {
        patch(r#"{"a": {"n": -2}}"#).await.2.contains("spec.a: Invalid value")
    })
    .await;
    let (is_done, _, said) = patch(r#"{"b": 2}"#).await;
    assert!(is_done && said.contains(warning), "{said}");
    let (is_done, _, said) = patch(r#"{"a": {"n": -3}}"#).await;
    assert!(
        !is_done && said.contains("spec.a: Invalid value: n is more than 0") && !said.contains("Warning"),
        "{said}"
    );
    let (is_done, _, said) = patch(r#"{"a": {"n": 3}}"#).await;
    assert!(is_done && !said.contains("Warning"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_that_came_later_is_seen_in_what_is_there() {
    let (world, http) = world().await;
    http.ok("POST", GADGETS, JSON, &gadget("a", json!({"color": "green"}))).await;
    let mut later = read("definitions/gadgets.yaml");
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    later.pointer_mut(properties).unwrap()["weight"] = json!({"type": "integer", "default": 7});
    define(&world, &later).await;
    until("it is read", async || http.ok("GET", &path("a"), "", &Value::Null).await["spec"]["weight"] == 7)
        .await;
    let list = http.ok("GET", GADGETS, "", &Value::Null).await;
    assert_eq!(list["items"][0]["spec"]["weight"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn appliers_share_lists_as_the_schema_says() {
    let (_world, http) = world().await;
    let apply = async |manager: &str, spec: Value, force: bool| {
        let path = format!("{}?fieldManager={manager}&force={force}", path("a"));
        http.call("PATCH", &path, APPLY, &gadget("a", spec)).await
    };
    let one = json!({
        "tags": ["x"], "order": ["1"], "wheels": [{"name": "front", "side": "left"}], "extra": {"a": {"b": 1}},
    });
    let (code, _) = apply("one", one, false).await;
    assert_eq!(code, StatusCode::CREATED);
    let two = json!({"tags": ["y"], "wheels": [{"name": "back", "side": "right"}], "extra": {"a": {"c": 2}}});
    let (code, both) = apply("two", two, false).await;
    assert_eq!(code, StatusCode::OK, "{both}");
    assert_eq!(both["spec"]["tags"], json!(["x", "y"]));
    assert_eq!(both["spec"]["extra"], json!({"a": {"b": 1, "c": 2}}));
    let names: Vec<&Value> =
        both["spec"]["wheels"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["front", "back"]);
    for (spec, field) in [
        (json!({"order": ["2"]}), ".spec.order"),
        (json!({"wheels": [{"name": "front", "side": "right"}]}), r#".spec.wheels[name="front"].side"#),
        (json!({"extra": {"a": {"b": 3}}}), ".spec.extra.a.b"),
    ] {
        let (code, status) = apply("three", spec.clone(), false).await;
        assert_eq!(code, StatusCode::CONFLICT, "{status}");
        assert!(status["message"].as_str().unwrap().contains(field), "{field}: {status}");
        assert_eq!(apply("three", spec, true).await.0, StatusCode::OK);
    }
    let (_, gone) = apply("two", json!({}), false).await;
    assert_eq!(gone["spec"]["tags"], json!(["x"]));
    assert_eq!(gone["spec"]["wheels"].as_array().unwrap().len(), 1);
    let strategic = json!({"spec": {"color": "blue"}});
    let (code, status) = http.call("PATCH", &path("a"), STRATEGIC, &strategic).await;
    assert_eq!(
        (code, &status["reason"]),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("UnsupportedMediaType"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_selected_by_the_fields_that_the_definition_names() {
    let (_world, http) = world().await;
    for (name, color) in [("a", "red"), ("b", "green")] {
        http.ok("POST", GADGETS, JSON, &gadget(name, json!({"color": color}))).await;
    }
    let selected = format!("{GADGETS}?fieldSelector=spec.color%3Dgreen");
    let list = http.ok("GET", &selected, "", &Value::Null).await;
    assert_eq!(
        (&list["items"][0]["metadata"]["name"], list["items"].as_array().unwrap().len()),
        (&json!("b"), 1)
    );
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Watch::open(&http, &format!("{selected}&watch=1&resourceVersion={version}")).await;
    for (name, color) in [("a", "green"), ("b", "blue")] {
        http.ok("PATCH", &path(name), MERGE, &json!({"spec": {"color": color}})).await;
    }
    assert_eq!(watch.next().await.0, "ADDED");
    assert_eq!(watch.next().await.0, "DELETED");
    let (code, status) =
        http.call("GET", &format!("{GADGETS}?fieldSelector=spec.size%3D1"), "", &Value::Null).await;
    assert_eq!(
        (code, &status["message"]),
        (StatusCode::BAD_REQUEST, &json!("field label not supported: spec.size"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_tells_by_which_fields_objects_are_selected() {
    let (_world, http) = world().await;
    let (name, fields) = ("com.example.suite.v1.Gadget", json!([{"fieldPath": "spec.color"}]));
    let third = http.ok("GET", "/openapi/v3/apis/suite.example.com/v1", "", &Value::Null).await;
    assert_eq!(third["components"]["schemas"][name]["x-kubernetes-selectable-fields"], fields);
    let second = http.ok("GET", "/openapi/v2", "", &Value::Null).await;
    assert_eq!(second["definitions"][name]["x-kubernetes-selectable-fields"], fields);
    let pod = &second["definitions"]["io.k8s.api.core.v1.Pod"];
    assert!(pod.is_object() && pod.get("x-kubernetes-selectable-fields").is_none(), "{pod}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_scale_are_parts_of_their_own() {
    let (world, http) = world().await;
    let mut sent = gadget("a", json!({"replicas": 2}));
    sent["status"] = json!({"replicas": 9});
    let created = http.ok("POST", GADGETS, JSON, &sent).await;
    assert!(created["status"].is_null(), "{created}");
    world.kubectl(&["scale", "gadget/a", "--replicas=5"]).await;
    let status = json!({"status": {"replicas": 4, "selector": "app=a"}, "spec": {"replicas": 50}});
    let told = http.ok("PATCH", &format!("{}/status", path("a")), MERGE, &status).await;
    assert_eq!((&told["spec"]["replicas"], &told["status"]["replicas"]), (&json!(5), &json!(4)));
    assert_eq!(told["metadata"]["generation"], 2);
    let scale = http.ok("GET", &format!("{}/scale", path("a")), "", &Value::Null).await;
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 5}), &json!({"replicas": 4, "selector": "app=a"}))
    );
    let strategic = json!({"spec": {"replicas": 6}});
    for part in ["scale", "status"] {
        let path = format!("{}/{part}", path("a"));
        let (code, status) = http.call("PATCH", &path, STRATEGIC, &strategic).await;
        assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{part}: {status}");
    }
    let (code, _) = http.call("GET", &format!("{}/log", path("a")), "", &Value::Null).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_count_custom_objects() {
    let (world, http) = world().await;
    let resource = "count/gadgets.suite.example.com";
    world.kubectl(&["create", "quota", "q", &format!("--hard={resource}=1")]).await;
    let used = json!({"status": {"hard": {resource: "1"}, "used": {resource: "0"}}});
    http.ok("PATCH", "/api/v1/namespaces/default/resourcequotas/q/status", MERGE, &used).await;
    http.ok("POST", GADGETS, JSON, &gadget("a", json!({}))).await;
    let (code, status) = http.call("POST", GADGETS, JSON, &gadget("b", json!({}))).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{status}");
    assert!(status["message"].as_str().unwrap().contains("exceeded quota: q"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn integers_are_kept_and_served_as_such_however_they_are_written() {
    let (_world, http) = world().await;
    let spec = json!({"replicas": 3.0, "wheels": [{"name": "front", "size": 5.0}], "extra": {"n": 7.0, "half": 0.5}});
    let created = http.ok("POST", GADGETS, JSON, &gadget("a", spec)).await;
    let plain = |object: &Value| {
        let spec = &object["spec"];
        [&spec["replicas"], &spec["wheels"][0]["size"], &spec["extra"]["n"], &spec["extra"]["half"]]
            .map(ToString::to_string)
    };
    assert_eq!(plain(&created), ["3", "5", "7", "0.5"]);
    assert_eq!(plain(&http.ok("GET", &path("a"), "", &Value::Null).await), ["3", "5", "7", "0.5"]);
    let scale = format!("{}/scale", path("a"));
    assert_eq!(http.ok("GET", &scale, "", &Value::Null).await["spec"]["replicas"], 3);
    let changed = http.ok("PATCH", &path("a"), MERGE, &json!({"spec": {"replicas": 4.0}})).await;
    assert_eq!(changed["spec"]["replicas"].to_string(), "4");
    assert_eq!(http.ok("GET", &scale, "", &Value::Null).await["spec"]["replicas"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_replicas_has_no_scale_until_it_is_given_some() {
    let world = World::start().await;
    let http = Http::new(&world);
    let mut definition = one_version(
        "Bare",
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"much": {"type": "integer"}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        }}),
    );
    definition["spec"]["versions"][0]["subresources"] =
        json!({"scale": {"specReplicasPath": ".spec.much", "statusReplicasPath": ".status.replicas"}});
    define(&world, &definition).await;
    let bares = "/apis/cr.example.com/v1/namespaces/default/bares";
    let bare =
        json!({"apiVersion": "cr.example.com/v1", "kind": "Bare", "metadata": {"name": "b"}, "spec": {}});
    http.ok("POST", bares, JSON, &bare).await;
    let scale = format!("{bares}/b/scale");
    let (code, said) = http.call("GET", &scale, "", &Value::Null).await;
    assert_eq!((code.as_u16(), &said["reason"]), (500, &json!("InternalError")), "{said}");
    let text = "Internal error occurred: the spec replicas field \".spec.much\" does not exist";
    assert_eq!(said["message"], text);
    let (code, said) = http.call("PATCH", &scale, MERGE, &json!({"metadata": {"name": "b"}})).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{said}");
    assert_eq!(said["message"], "the spec replicas field \".spec.much\" cannot be empty");
    let given = http.ok("PATCH", &scale, MERGE, &json!({"spec": {"replicas": 0}})).await;
    assert_eq!(given["spec"]["replicas"], 0);
    assert_eq!(http.ok("GET", &scale, "", &Value::Null).await["spec"]["replicas"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_another_type_than_in_a_scale_has_none() {
    let world = World::start().await;
    let http = Http::new(&world);
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut definition =
        one_version("Odd", json!({"type": "object", "properties": {"spec": any, "status": any}}));
    definition["spec"]["versions"][0]["subresources"] = json!({"scale": {
        "specReplicasPath": ".spec.much", "statusReplicasPath": ".status.much", "labelSelectorPath": ".status.which",
    }});
    define(&world, &definition).await;
    let odds = "/apis/cr.example.com/v1/namespaces/default/odds";
    for (name, parts, text) in [
        (
            "a",
            json!({"spec": {"much": "x"}}),
            ".spec.much accessor error: x is of the type string, expected int64",
        ),
        (
            "b",
            json!({"spec": {"much": 1}, "status": {"much": true}}),
            ".status.much accessor error: true is of the type bool, expected int64",
        ),
        (
            "c",
            json!({"spec": {"much": 1}, "status": {"which": {"a": "b"}}}),
            ".status.which accessor error: map[a:b] is of the type map[string]interface {}, expected string",
        ),
    ] {
        let mut odd = json!({"apiVersion": "cr.example.com/v1", "kind": "Odd", "metadata": {"name": name}});
        odd.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
        http.ok("POST", odds, JSON, &odd).await;
        let scale = format!("{odds}/{name}/scale");
        for (method, media, body) in
            [("GET", "", Value::Null), ("PATCH", MERGE, json!({"spec": {"replicas": 2}}))]
        {
            let (code, said) = http.call(method, &scale, media, &body).await;
            assert_eq!((code.as_u16(), &said["message"]), (500, &json!(text)), "{method} {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_a_defined_kind_does_not_have_cannot_be_applied() {
    let (_world, http) = world().await;
    let apply = async |path: &str, object: &Value| {
        http.call("PATCH", &format!("{path}?fieldManager=m&force=true"), APPLY, object).await
    };
    let open = json!({
        "color": "red", "extra": {"any": {"deep": [1]}},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t", "labels": {"a": "b"}}, "any": true},
    });
    let (code, made) = apply(&path("a"), &gadget("a", open)).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(
        (&made["spec"]["extra"]["any"]["deep"][0], &made["spec"]["template"]["any"]),
        (&json!(1), &json!(true))
    );
    let typed = "failed to create typed patch object (/a; suite.example.com/v1, Kind=Gadget): ";
    for (spec, wanted) in [
        (json!({"colour": "red"}), ".spec.colour: field not declared in schema"),
        (
            json!({"wheels": [{"name": "front", "spokes": 3}]}),
            ".spec.wheels[name=\"front\"].spokes: field not declared in schema",
        ),
    ] {
        let (code, said) = apply(&path("a"), &gadget("a", spec)).await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "as upstream has it: {said}");
        let message = said["message"].as_str().unwrap();
        assert!(message.contains(typed) && message.contains(wanted), "{message}");
    }
    let scale = |spec: Value| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": spec});
    let part = format!("{}/scale", path("a"));
    let (code, said) = apply(&part, &scale(json!({"replicas": 2, "replicaz": 3}))).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.contains(".spec.replicaz: field not declared in schema"), "{message}");
    let (code, said) = apply(&part, &scale(json!({"replicas": 2}))).await;
    assert_eq!((code, &said["spec"]["replicas"]), (StatusCode::OK, &json!(2)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_begin_with_watch_are_watches() {
    let (world, http) = world().await;
    http.ok("POST", GADGETS, JSON, &gadget("a", json!({}))).await;
    http.ok("POST", GADGETS, JSON, &gadget("b", json!({}))).await;
    let map = json!({"metadata": {"name": "last"}});
    http.ok("POST", "/api/v1/namespaces/default/configmaps", JSON, &map).await;
    let (custom, core) = ("/apis/suite.example.com/v1/watch", "/api/v1/watch");
    for (path, first) in [
        (format!("{custom}/gadgets"), "a"),
        (format!("{custom}/namespaces/default/gadgets"), "a"),
        (format!("{custom}/namespaces/default/gadgets/b"), "b"),
        (format!("{core}/namespaces/default/configmaps/last"), "last"),
        (format!("{core}/namespaces/default"), "default"),
    ] {
        let mut watch = Watch::open(&http, &path).await;
        let (word, object) = watch.next().await;
        assert_eq!((word.as_str(), &object["metadata"]["name"]), ("ADDED", &json!(first)), "{path}");
    }
    let (code, _) = http.call("POST", &format!("{core}/namespaces/default/configmaps"), JSON, &map).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    let named = format!("{core}/namespaces/default/configmaps/last?fieldSelector=");
    let mut watch =
        Watch::open(&http, &format!("{named}metadata.namespace%3Ddefault,metadata.name%3Dlast")).await;
    assert_eq!(watch.next().await.1["metadata"]["name"], "last");
    for other in ["metadata.name%3Dother", "metadata.namespace%3Ddefault", "metadata.name!%3Dlast"] {
        let (code, said) = http.call("GET", &format!("{named}{other}"), "", &Value::Null).await;
        let text = "fieldSelector metadata.name doesn't match requested name";
        assert_eq!((code, &said["message"]), (StatusCode::BAD_REQUEST, &json!(text)), "{other}");
    }
    let (code, _) =
        http.call("GET", &format!("{custom}/namespaces/default/gadgets/a/scale"), "", &Value::Null).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    // Whoever may get and list may not watch for that.
    world.kubectl(&["create", "role", "looks", "--verb=get,list", "--resource=configmaps"]).await;
    world.kubectl(&["create", "rolebinding", "looks", "--role=looks", "--user=jane"]).await;
    let look = async |path: &str| world.try_kubectl(&["get", "--raw", path, "--as=jane"], "").await;
    assert!(look("/api/v1/namespaces/default/configmaps").await.0);
    for path in ["namespaces/default/configmaps", "namespaces/default/configmaps/last"] {
        let (is_done, _, said) = look(&format!("{core}/{path}?timeoutSeconds=1")).await;
        assert!(!is_done && said.contains("cannot watch resource \"configmaps\""), "{said}");
    }
}

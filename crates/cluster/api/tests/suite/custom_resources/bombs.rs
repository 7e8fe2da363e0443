//! Definitions and objects that are made to cost: each is refused with the field, within bounds, and others are unharmed.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{define, one_version};
use crate::every_kind::calls::Http;
use crate::support::World;

const JSON: &str = "application/json";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/cr.example.com/v1/namespaces/default/tabs";
const SCHEMA: &str = "spec.validation.openAPIV3Schema";

fn resource(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

async fn define_answer(http: &Http, schema: Value) -> (StatusCode, Value) {
    http.call("POST", DEFINITIONS, JSON, &one_version("Tab", schema)).await
}

fn nested(levels: usize, wrap: impl Fn(Value) -> Value, inner: Value) -> Value {
    (0..levels).fold(inner, |inner, _| wrap(inner))
}

/// Schemas that would cost, and how each is refused.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn schemas() -> Vec<(&'static str, Value, String)> {
    let rule = |part: &str, rule: String| {
        let mut part: Value = serde_json::from_str(part).unwrap();
        part["x-kubernetes-validations"] = json!([{"rule": rule}]);
        resource(&part)
    };
    let at = format!("{SCHEMA}.properties[spec]");
    let rules = format!("{at}.x-kubernetes-validations[0].rule: ");
    let text = r#"{"type": "string"}"#;
    let lists = r#"{"type": "array", "items": {"type": "string"}}"#;
    let four = "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d != ''))))";
    vec![
        (
            "a schema that refers to itself",
            resource(&json!({"type": "object", "properties": {"again": {"$ref": "#"}}})),
            format!("{at}.properties[again].$ref: Forbidden: $ref is not supported"),
        ),
        (
            "a schema without end",
            resource(&nested(
                105,
                |inner| json!({"type": "array", "items": inner}),
                json!({"type": "string"}),
            )),
            format!("{at}{}: Forbidden: a schema is at most 100 levels deep", ".items".repeat(100)),
        ),
        (
            "a pattern that grows when it is compiled",
            resource(&json!({"type": "string", "pattern": r"(\pL{30}){30}"})),
            format!(
                r#"{at}.pattern: Invalid value: "(\\pL{{30}}){{30}}": the pattern takes too much memory"#
            ),
        ),
        (
            "a pattern that repeats more often than a thousand times",
            resource(&json!({"type": "string", "pattern": "((((a{99}){99}){99}){99}){99}"})),
            format!(
                "{at}.pattern: Invalid value: \"((((a{{99}}){{99}}){{99}}){{99}}){{99}}\": must be a valid regular expression, but isn't: error parsing regexp: invalid repeat count: `{{99}}`"
            ),
        ),
        (
            "a rule that takes all of all",
            rule(lists, four.to_owned()),
            format!("{rules}Forbidden: estimated rule cost exceeds budget by factor of more than 100x"),
        ),
        (
            "a rule nested without end",
            rule(text, format!("{}self{} == ''", "(".repeat(20_000), ")".repeat(20_000))),
            rules.clone(),
        ),
        (
            "a rule that makes its texts longer and longer",
            rule(text, format!("[self].all(x0, {})", doubled(30))),
            rules.clone(),
        ),
        (
            "a rule with a pattern that grows",
            rule(text, "self.matches('((((a{99}){99}){99}){99}){99}')".to_owned()),
            rules,
        ),
        (
            "defaults that do not fit",
            resource(
                &json!({"type": "object", "default": {"a": {"b": 1}}, "properties": {"a": {"type": "string"}}}),
            ),
            format!("{at}.default.a: Invalid value: \"object\""),
        ),
    ]
}

/// An expression that doubles a text so often.
fn doubled(times: usize) -> String {
    (0..times)
        .rev()
        .fold(format!("x{times} == ''"), |inner, at| format!("[x{at} + x{at}].all(x{}, {inner})", at + 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_would_cost_are_refused_with_the_field() {
    let world = World::start().await;
    let http = Http::new(&world);
    for (what, schema, expected) in schemas() {
        let (code, status) = define_answer(&http, schema).await;
        let message = status["message"].as_str().unwrap_or("");
        assert!(message.len() < 1 << 20, "{what}: {} bytes", message.len());
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{what}: {status}");
        assert!(message.contains(&expected), "{what}: {expected}\nnot in {message}");
    }
    // A body that is nested deeper than any is read is not read.
    let objects = |inner| json!({"type": "object", "properties": {"n": inner}});
    let (code, status) = define_answer(&http, nested(98, objects, json!({"type": "string"}))).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("json parse error: recursion limit exceeded at line 1"), "{message}");
    // What is wrong a hundred thousand times is not told so often.
    let many: Map<String, Value> = (0..100_000).map(|at| (format!("p{at}"), json!({}))).collect();
    let schema =
        json!({"type": "object", "properties": {"n".repeat(300): {"type": "object", "properties": many}}});
    let (code, status) = define_answer(&http, schema).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(status.to_string().len() < 8 << 20, "{} bytes", status.to_string().len());
    assert!(status["message"].as_str().unwrap().contains("there is more wrong than is shown"));
    world.kubectl(&["create", "configmap", "unharmed"]).await;
}

/// Texts that each have a pattern of their own, which takes its time and its memory to compile.
fn texts_with_patterns(count: usize) -> Value {
    let texts: Map<String, Value> = (0..count)
        .map(|at| (format!("p{at:03}"), json!({"type": "string", "pattern": format!(r"^\pL{{12}}{at}$")})))
        .collect();
    resource(&json!({"type": "object", "properties": texts}))
}

/// Ten reads of one client, none of which waits for what another one asked for.
async fn read_before_it_is_done<T>(reader: &Http, working: &tokio::task::JoinHandle<T>) {
    for _ in 0..10 {
        reader.ok("GET", "/api/v1/namespaces/default", "", &Value::Null).await;
    }
    assert!(!working.is_finished(), "all that was read had to wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn patterns_keep_nobody_from_reading_and_are_refused_where_they_are_too_many() {
    let world = World::start().await;
    let (reader, writer) = (Http::new(&world), Arc::new(Http::new(&world)));
    reader.ok("GET", "/api/v1/namespaces/default", "", &Value::Null).await;
    let post = |path: &'static str, body: Value| {
        let writer = Arc::clone(&writer);
        tokio::spawn(async move { writer.call("POST", path, JSON, &body).await })
    };
    let creating = post(DEFINITIONS, one_version("Tab", texts_with_patterns(1_000)));
    read_before_it_is_done(&reader, &creating).await;
    let (code, status) = creating.await.unwrap();
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
    let expected = format!(
        r#"{SCHEMA}.properties[spec].properties[p016].pattern: Invalid value: "^\\pL{{12}}16$": the patterns of the definition take too much memory together"#
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(&expected), "{}", &message[..message.len().min(500)]);
    assert!(!message.contains("properties[p015]"));

    // The first object is checked by patterns that are compiled for it.
    define(&world, &one_version("Tab", texts_with_patterns(16))).await;
    let creating = post(TABS, tab(&json!({"p007": "aaaaaaaaaaaa7"})));
    read_before_it_is_done(&reader, &creating).await;
    let (code, created) = creating.await.unwrap();
    assert_eq!(code, StatusCode::CREATED, "{created}");
}

fn tab(spec: &Value) -> Value {
    json!({"apiVersion": "cr.example.com/v1", "kind": "Tab", "metadata": {"name": "a"}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one definition, step by step")]
async fn objects_that_would_cost_are_refused_with_the_field() {
    let world = World::start().await;
    let http = Http::new(&world);
    let tries = nested(9, |inner| json!({"anyOf": [inner.clone(), inner]}), json!({"minLength": 5}));
    let mut text = tries;
    text["type"] = "string".into();
    let schema = resource(&json!({"type": "object", "properties": {
        "texts": {"type": "array", "items": text},
        "numbers": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
        "words": {"type": "array", "maxItems": 3000, "items": {"type": "string", "maxLength": 20},
            "x-kubernetes-validations": [{"rule": "self.all(x, self.exists_one(y, x == y))", "message": "twice"}]},
        "pattern": {"type": "string", "pattern": "^(a+)+$"},
    }}));
    // The rule would cost too much by its estimate; what passed under another one is stopped when it runs.
    let mut dear = schema.clone();
    dear["properties"]["spec"]["properties"]["words"]["maxItems"] = 300.into();
    // What doubles again and again has no estimate that tells: it is stopped when it runs.
    let levels = 40;
    let twice = (0..levels).rev().fold(format!("x{levels} == x{levels}"), |inner, at| {
        format!("[[x{at}, x{at}]].all(x{}, {inner})", at + 1)
    });
    dear["properties"]["spec"]["properties"]["twice"] = json!({"type": "integer",
        "x-kubernetes-validations": [{"rule": format!("[[self]].all(x0, {twice})"), "message": "not twice"}]});
    define(&world, &one_version("Tab", dear)).await;
    let words: Vec<String> = (0..290).map(|at| format!("w{at}")).collect();
    http.ok("POST", &format!("{TABS}?dryRun=All"), JSON, &tab(&json!({"words": words}))).await;
    for (what, spec, expected) in [
        (
            "alternatives that multiply",
            json!({"texts": vec!["x"; 500]}),
            "takes more than 100000 alternatives",
        ),
        (
            "a long name around many faults",
            json!({"numbers": {"n".repeat(2_000): vec!["x"; 20_000]}}),
            "there is more wrong than is shown",
        ),
        (
            "a text that matches almost",
            json!({"pattern": format!("{}b", "a".repeat(100_000))}),
            "should match '^(a+)+$'",
        ),
    ] {
        let (code, status) = http.call("POST", TABS, JSON, &tab(&spec)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{what}: {code}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(expected), "{what}: {}", &message[..message.len().min(500)]);
        assert!(status.to_string().len() < 8 << 20, "{what}");
    }
    let long = json!({"numbers": {"n".repeat(1 << 20): vec![1; 100_000]}});
    let (code, status) = http.call("POST", TABS, JSON, &tab(&long)).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{code}");
    assert!(status["message"].as_str().unwrap().contains("have shorter names around many values"));
    // Large is not dear: this has more values than alternatives are tried.
    let large = json!({"numbers": {"n".repeat(100): vec![1; 150_000]}});
    http.ok("POST", TABS, JSON, &tab(&large)).await;
    let mut unknown: Map<String, Value> = (0..100_000).map(|at| (format!("u{at}"), json!(1))).collect();
    unknown.insert("pattern".into(), "aa".into());
    let (code, answer) =
        http.call("PUT", &format!("{TABS}/a"), JSON, &tab(&Value::Object(unknown.clone()))).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "it names no version: {answer}");
    let mut patch = json!({"spec": unknown});
    patch["spec"]["numbers"] = Value::Null;
    let kept = http.ok("PATCH", &format!("{TABS}/a"), "application/merge-patch+json", &patch).await;
    assert_eq!(kept["spec"], json!({"pattern": "aa"}));
    world.kubectl(&["create", "configmap", "unharmed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_custom_objects_that_explode_are_refused() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(
        &world,
        &one_version("Tab", json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
    )
    .await;
    http.ok("POST", TABS, JSON, &tab(&json!({"a": "b"}))).await;
    let doubling: Vec<Value> =
        (0..40).map(|at| json!({"op": "copy", "from": "/spec", "path": format!("/spec/c{at}")})).collect();
    let (code, status) =
        http.call("PATCH", &format!("{TABS}/a"), "application/json-patch+json", &json!(doubling)).await;
    assert!(code.is_client_error(), "{code} {status}");
    assert!(status.to_string().len() < 1 << 20);
    assert_eq!(http.ok("GET", &format!("{TABS}/a"), "", &Value::Null).await["spec"], json!({"a": "b"}));
}

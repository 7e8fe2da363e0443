//! The operator of the crate `kube`, with all its replicas up.

use super::program::{Operator, collect};
use crate::platform::{HAKO, Platform, run, wait_until};
use std::path::Path;
use std::process::Command;

const DOCKERFILE: &str = "FROM busybox\nCOPY root /\nCMD [\"site-operator\"]\n";

/// The operator with both replicas.
pub fn start() -> Operator {
    Operator::start("rust", "site-operator", build)
}

fn build(platform: &Platform, context: &Path) {
    let program = Path::new(HAKO).with_file_name("examples").join("site-operator");
    assert!(program.exists(), "{} is not there: `cargo build --examples` makes it", program.display());
    // Where lines are in the source is most of its size.
    let small = context.join("site-operator");
    run(Command::new("strip").arg("-o").arg(&small).arg(&program));
    collect(&context.join("root"), &small, "/bin/site-operator", &[]);
    std::fs::remove_file(small).unwrap();
    std::fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
    platform.run(&["build", "-t", "site-operator:test", context.to_str().unwrap()]);
}

/// A site in JSON.
pub fn site(version: &str, name: &str, metadata: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "fleet.example.com/{version}", "kind": "Site", "metadata": {{"name": "{name}"{metadata}}}, "spec": {spec}}}"#
    )
}

/// What the first pod of a site answers.
fn page(operator: &Operator, name: &str, page: &str) -> String {
    let selector = format!("pods --selector=site={name} --field-selector=status.phase=Running");
    let arguments: Vec<&str> = selector.split(' ').collect();
    let mut command = operator.platform.kubectl_command();
    command.arg("get").args(arguments).args(["-o", "jsonpath={.items[0].status.podIP}"]);
    let address = run(&mut command);
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "5", &format!("http://{address}:8080/{page}")]);
    String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned()
}

#[test]
fn an_operator_in_pods_makes_what_an_object_asks_for_and_cleans_up_after_it() {
    let operator = start();
    let kubectl = |arguments: &[&str]| operator.platform.kubectl(arguments);
    operator.apply(&site("v2", "port", "", r#"{"pages": {"index.html": "ahoy", "crew.html": "three"}}"#));
    operator.wait_field("site/port", "{.status.readyReplicas} {.status.observedGeneration}", "1 1");
    assert_eq!(page(&operator, "port", "crew.html"), "three");
    assert!(kubectl(&["get", "st"]).contains("READY"), "its columns are shown");
    let leader = operator.leader();
    assert_eq!(operator.field("site/port", "{.status.reconciledBy}"), leader);

    // Whatever of it is changed or goes comes back.
    kubectl(&["delete", "deployment", "port"]);
    kubectl(&["patch", "configmap", "port", "-p", r#"{"data": {"crew.html": "mutiny"}}"#]);
    operator.wait_field("configmap/port", "{.data.crew\\.html}", "three");
    operator.wait_field("deployment/port", "{.status.readyReplicas}", "1");
    kubectl(&["scale", "site/port", "--replicas=2"]);
    operator.wait_field("site/port", "{.status.readyReplicas} {.status.observedGeneration}", "2 2");
    assert_eq!(
        kubectl(&["get", "site", "--field-selector=spec.replicas=2", "-o", "name"]).lines().count(),
        1
    );
    let owners = "{.metadata.managedFields[?(@.manager==\"site-operator\")].operation}";
    assert_eq!(operator.field("configmap/port", owners), "Apply");

    let registered = || operator.field_in("site-operator", "configmap/register", "{.data.default\\.port}");
    assert_eq!(registered(), operator.field("site/port", "{.metadata.uid}"));
    kubectl(&["delete", "site", "port"]);
    assert_eq!(registered(), "", "the finalizer ran before the object went");
    wait_until("its children to go", || {
        kubectl(&["get", "configmaps,deployments,replicasets,pods", "-l", "site=port", "-o", "name"])
            .is_empty()
    });
    operator.platform.down();
}

#[test]
fn an_operators_webhooks_change_refuse_and_convert() {
    let operator = start();
    let kubectl = |arguments: &[&str]| operator.platform.kubectl(arguments);
    operator.apply(&site("v2", "bare", "", r#"{"replicas": 1}"#));
    assert_eq!(operator.field("site/bare", "{.spec.pages.index\\.html}"), "bare is under construction");
    let who = "{.metadata.annotations.fleet\\.example\\.com/created-by}";
    assert_ne!(operator.field("site/bare", who), "");
    let said = operator.refused(&site("v2", "deep", "", r#"{"pages": {"a/b.html": ""}}"#));
    let reason =
        "admission webhook \"checks.fleet.example.com\" denied the request: page \"a/b.html\" has a slash";
    assert!(said.contains(reason), "{said}");
    let said = operator.refused(&site("v2", "many", "", r#"{"replicas": 9}"#));
    assert!(said.contains("spec.replicas") && said.contains("less than or equal to 5"), "{said}");
    let nine = (0..9).map(|at| format!("\"{at}.html\": \"\"")).collect::<Vec<_>>().join(",");
    let said = operator.refused(&site("v2", "full", "", &format!("{{\"pages\": {{{nine}}}}}")));
    assert!(said.contains("a site has eight pages at most"), "{said}");
    let said = operator.apply(&site("v2", "bare", "", r#"{"replicas": 0}"#));
    assert!(said.contains("Warning: nobody will see a site of no pods"), "{said}");

    // Who writes the old version is asked for the new one, and reads back what was written.
    let said = operator.apply(&site("v1", "old", "", r#"{"page": "aboard"}"#));
    assert!(said.contains("fleet.example.com/v1 Site is deprecated"), "{said}");
    assert_eq!(operator.field("sites.v2.fleet.example.com/old", "{.spec.pages.index\\.html}"), "aboard");
    assert_ne!(operator.field("site/old", who), "", "the webhook for the new version saw it");
    kubectl(&["patch", "site", "old", "--type=merge", "-p", r#"{"spec": {"pages": {"b.html": "below"}}}"#]);
    let said = kubectl(&["get", "sites.v1.fleet.example.com", "old", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["spec"], serde_json::json!({"page": "aboard", "replicas": 1}));
    assert!(found["metadata"]["annotations"]["fleet.example.com/other-pages"].is_string());
    let change = r#"{"spec": {"page": "ashore"}}"#;
    kubectl(&["patch", "sites.v1.fleet.example.com", "old", "--type=merge", "-p", change]);
    let pages = operator.field("site/old", "{.spec.pages.index\\.html} {.spec.pages.b\\.html}");
    assert_eq!(pages, "ashore below", "nothing is lost on the way there and back");
    operator.wait_field("site/old", "{.status.observedGeneration}", "3");

    kubectl(&["annotate", "site", "old", "fleet.example.com/protected=yes"]);
    let (_, said) = operator.with_input(&["delete", "site", "old"], "");
    assert!(said.contains("site \"old\" is protected: remove its annotation"), "{said}");
    kubectl(&["annotate", "site", "old", "fleet.example.com/protected-"]);
    kubectl(&["delete", "sites", "--all"]);
    operator.platform.down();
}

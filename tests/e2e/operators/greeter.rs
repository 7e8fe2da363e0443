//! The operator of PyPI's `kubernetes`.

use super::program::{Operator, collect};
use crate::platform::{Platform, repository, run, wait_until};
use crate::programs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn start() -> Operator {
    // The platform's network namespace leads to no registry of packages.
    let python = programs::python("kubernetes", "37.0.2");
    Operator::start("python", "greeter", |platform, context| build(platform, context, &python))
}

/// The machine's Python with the client's packages.
fn build(platform: &Platform, context: &Path, python: &Path) {
    let packages = python.ancestors().nth(2).unwrap().join("lib/python3.11/site-packages");
    let library = Path::new("/usr/lib/python3.11");
    let modules = run(Command::new("find").args([library, &packages]).args(["-name", "*.so"]));
    let modules: Vec<PathBuf> = modules.lines().map(PathBuf::from).collect();
    collect(&context.join("root"), Path::new("/usr/bin/python3.11"), "/usr/bin/python3", &modules);
    for file in ["Dockerfile", "greeter.py"] {
        std::fs::copy(repository().join("tests/operators/python").join(file), context.join(file)).unwrap();
    }
    let named = [("packages", packages.as_path()), ("stdlib", library)];
    let named = named.map(|(name, path)| format!("--build-context={name}={}", path.display()));
    platform.run(&["build", "-t", "greeter:test", &named[0], &named[1], context.to_str().unwrap()]);
}

fn greeting(name: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "greet.example.com/v1", "kind": "Greeting", "metadata": {{"name": "{name}"}}, "spec": {spec}}}"#
    )
}

#[test]
fn a_python_operator_in_pods_greets_hands_over_and_cleans_up() {
    let operator = start();
    let kubectl = |arguments: &[&str]| operator.platform.kubectl(arguments);
    operator.apply(&greeting("a", r#"{"words": "ahoy", "loudness": "100%"}"#));
    operator.wait_field("greeting/a", "{.status.text} {.status.observedGeneration}", "ahoy!!! 1");
    operator.wait_field("configmap/a", "{.data.text}", "ahoy!!!");
    let said = operator.refused(&greeting("b", r#"{"words": "ahoy", "loudness": "a lot"}"#));
    assert!(said.contains("loudness is 0 to 9, or a share such as 50%"), "{said}");
    kubectl(&["delete", "configmap", "a"]);
    operator.wait_field("configmap/a", "{.data.text}", "ahoy!!!");

    let old = operator.leader();
    assert_eq!(operator.field("greeting/a", "{.status.greetedBy}"), old);
    operator.kill(&old);
    wait_until("another leader", || operator.leader() != old);
    kubectl(&["patch", "hi", "a", "--type=merge", "-p", r#"{"spec": {"loudness": 0}}"#]);
    operator.wait_field("greeting/a", "{.status.text} {.status.observedGeneration}", "ahoy 2");
    assert_eq!(operator.field("greeting/a", "{.status.greetedBy}"), operator.leader());
    assert!(kubectl(&["get", "hi"]).contains("ahoy"), "its column is shown");

    let greeted = || operator.field_in("greeter", "configmap/greeted", "{.data.default\\.a}");
    assert_eq!(greeted(), operator.field("greeting/a", "{.metadata.uid}"));
    kubectl(&["delete", "greeting", "a"]);
    assert_eq!(greeted(), "", "the finalizer ran before the object went");
    wait_until("its ConfigMap to go", || operator.field("configmap/a", "{.metadata.name}").is_empty());
    operator.platform.down();
}

//! Arrows point down only: what may never depend on what, held over `cargo metadata`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Our packages by name: the floor they stand on and what they depend on outside tests.
struct Package {
    floor: String,
    dependencies: BTreeSet<String>,
}

fn packages() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let root = metadata["workspace_root"].as_str().unwrap().to_owned();
    let package = |package: &Value| {
        let path = package["manifest_path"]
            .as_str()
            .unwrap()
            .trim_start_matches(&root)
            .trim_start_matches('/')
            .to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let floor = if parts[0] == "crates" && parts.len() == 4 { parts[1] } else { parts[0] };
        let floor = if package["name"] == "hako-testkit" { "testkit" } else { floor };
        let is_production = |dependency: &&Value| dependency["kind"].as_str() != Some("dev");
        let dependencies = package["dependencies"].as_array().unwrap().iter().filter(is_production);
        let dependencies =
            dependencies.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
        (package["name"].as_str().unwrap().to_owned(), Package { floor: floor.to_owned(), dependencies })
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

/// Breaches of a rule, as `from -> to`.
fn breaches(
    packages: &BTreeMap<String, Package>,
    is_forbidden: impl Fn(&str, &Package, &str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, package) in packages {
        for dependency in &package.dependencies {
            if is_forbidden(name, package, dependency) {
                found.push(format!("{name} -> {dependency}"));
            }
        }
    }
    found
}

#[test]
fn arrows_point_down_only() {
    let packages = packages();
    let height =
        |floor: &str| ["base", "host", "engine", "cluster", "edge"].iter().position(|one| *one == floor);
    let found = breaches(&packages, |_, package, dependency| {
        match (height(&package.floor), packages.get(dependency).and_then(|to| height(&to.floor))) {
            (Some(from), Some(to)) => to > from,
            _ => false,
        }
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_base_is_pure() {
    let packages = packages();
    let found = breaches(&packages, |_, package, dependency| {
        package.floor == "base"
            && (dependency == "tokio" || packages.get(dependency).is_some_and(|to| to.floor != "base"))
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn only_the_api_knows_the_store_and_it_knows_no_engine() {
    let packages = packages();
    let found = breaches(&packages, |name, package, dependency| {
        let is_consumer =
            ["hako-controllers", "hako-scheduler", "hako-node", "hako-dataplane", "hako-gateway"]
                .contains(&name);
        let reaches_behind = is_consumer && ["hako-store", "hako-api"].contains(&dependency);
        let api_reaches_down =
            name == "hako-api" && packages.get(dependency).is_some_and(|to| to.floor == "engine");
        let face_to_face =
            package.floor == "edge" && packages.get(dependency).is_some_and(|to| to.floor == "edge");
        reaches_behind || api_reaches_down || face_to_face
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn nothing_depends_on_the_program_or_on_test_code() {
    let packages = packages();
    let found = breaches(&packages, |_, package, dependency| {
        dependency == "hako" || (dependency == "hako-testkit" && package.floor != "testkit")
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn unsafe_code_lives_on_the_host_floor_only() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for floor in ["base", "engine", "cluster", "edge"] {
        visit(&root.join("crates").join(floor), &mut found);
    }
    visit(&root.join("bin"), &mut found);
    assert!(found.is_empty(), "unsafe code outside crates/host: {found:?}");
}

fn visit(directory: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                visit(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            if text.contains("expect(unsafe_code") || text.contains("allow(unsafe_code") {
                found.push(path.display().to_string());
            }
        }
    }
}

//! Builds for several platforms, and what the docker command says to a build that has words for it.

use crate::builds::context;
use crate::images::Registry;
use crate::platform::{Platform, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEVERAL: &str = "FROM --platform=$BUILDPLATFORM busybox AS tools\nARG TARGETPLATFORM\n\
    RUN echo for $TARGETPLATFORM > /for\nFROM scratch\nCOPY --from=tools / /\nCMD [\"cat\", \"/for\"]\n";

fn start() -> (Platform, tempfile::TempDir) {
    let platform = Platform::with_busybox();
    (platform, tempfile::tempdir().unwrap())
}

/// Every docker command line of this machine, speaking to the platform.
fn dockers(platform: &Platform) -> Vec<impl Fn(&[&str]) -> String> {
    let host = format!("unix://{}", platform.server()["engine_socket"].as_str().unwrap());
    let known = ["/usr/bin/docker", "/usr/local/bin/docker"].map(PathBuf::from);
    let present = known.into_iter().filter(|cli| cli.exists());
    let speaking = present.map(|cli| {
        let host = host.clone();
        move |arguments: &[&str]| {
            let mut command = Command::new(&cli);
            run(command.args(arguments).env("DOCKER_HOST", &host).env("DOCKER_BUILDKIT", "0"))
        }
    });
    let all: Vec<_> = speaking.collect();
    assert!(!all.is_empty(), "no docker command line: install the package docker.io");
    all
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_index_goes_from_the_flag_to_the_registry_and_back_and_runs() {
    let (platform, dir) = start();
    let registry = Registry::start(dir.path(), false);
    let name = format!("{}/team/app:v1", registry.host);
    let main = context(&dir.path().join("main"), SEVERAL);
    let path = |name: &str| dir.path().join(name).display().to_string();
    let flags = ["build", "--platform", "linux/amd64,linux/arm64", "--platform", "linux/arm/v7", "-t", &name];
    let more = ["--sbom", "--provenance=mode=max", "-o", "type=registry"];
    let files = ["--iidfile", &path("iid"), "--metadata-file", &path("metadata.json"), &main];
    let printed = platform.run(&[&flags[..], &more, &files].concat());
    let id = fs::read_to_string(path("iid")).unwrap();
    let told = json(Path::new(&path("metadata.json")));
    assert_eq!(printed.trim(), id);
    assert_eq!(told["platforms"], serde_json::json!(["linux/amd64", "linux/arm64", "linux/arm/v7"]));
    for image in [name.as_str(), &id] {
        assert_eq!(platform.run(&["run", "--rm", image]), "for linux/amd64\n");
    }
    let raw = run(Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{name}")));
    let index: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 6, "{raw}");
    fs::write(path("raw"), &raw).unwrap();
    let sum = run(Command::new("sha256sum").arg(path("raw")));
    let there = format!("sha256:{}", sum.split(' ').next().unwrap());
    assert_eq!(told["containerimage.digest"], there, "what is told is what the registry has");
    platform.run(&["save", "--format", "oci", "-o", &path("saved.tar"), &name]);
    let all = run(Command::new("skopeo")
        .args(["inspect", "--raw"])
        .arg(format!("oci-archive:{}", path("saved.tar"))));
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["manifests"].as_array().unwrap().len(), 6, "{all}");

    platform.run(&["rmi", &name]);
    platform.run(&["system", "prune", "--force"]);
    platform.run(&["pull", &name]);
    assert_eq!(platform.run(&["run", "--rm", &name]), "for linux/amd64\n");
    platform.run(&["rmi", &name]);
    platform.run(&["load", "-i", &path("saved.tar")]);
    assert_eq!(platform.run(&["run", "--rm", "--pull", "never", &name]), "for linux/amd64\n", "loaded");
    platform.run(&["save", "--format", "oci", "-o", &path("again.tar"), &name]);
    assert!(
        fs::read(path("again.tar")).unwrap() == fs::read(path("saved.tar")).unwrap(),
        "with all that it had"
    );
    platform.down();
}

#[test]
fn docker_build_makes_several_platforms_too() {
    let (platform, dir) = start();
    let main = context(&dir.path().join("main"), SEVERAL);
    for docker in dockers(&platform) {
        let said = docker(&["build", "--platform", "linux/amd64,linux/arm64", "-t", "several", &main]);
        assert!(said.contains("Successfully tagged"), "{said}");
        assert_eq!(docker(&["run", "--rm", "several"]), "for linux/amd64\n");
    }
    platform.down();
}

#[test]
fn docker_build_takes_results_from_an_image_that_carries_them() {
    let (platform, dir) = start();
    let registry = Registry::start(dir.path(), false);
    let main =
        context(&dir.path().join("main"), "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /drawn\n");
    for (number, docker) in dockers(&platform).into_iter().enumerate() {
        let (carrier, app) = (format!("{}/team/carrier:{number}", registry.host), format!("app:{number}"));
        docker(&["build", "--no-cache", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "-t", &carrier, &main]);
        let drawn = docker(&["run", "--rm", &carrier, "cat", "/drawn"]);
        docker(&["push", &carrier]);
        docker(&["rmi", &carrier]);
        docker(&["builder", "prune", "--force"]);
        let said = docker(&["build", "--cache-from", &carrier, "-t", &app, &main]);
        assert_eq!(said.matches("Using cache").count(), 1, "{said}");
        assert_eq!(docker(&["run", "--rm", &app, "cat", "/drawn"]), drawn, "from the registry");
        docker(&["rmi", "-f", &app]);
        docker(&["builder", "prune", "--force"]);
        let said =
            docker(&["build", "--cache-from", &format!("{}/team/none:1", registry.host), "-t", &app, &main]);
        assert!(said.contains("[Warning]") && !said.contains("Using cache"), "{said}");
        assert_ne!(docker(&["run", "--rm", &app, "cat", "/drawn"]), drawn);
    }
    platform.down();
}

#[test]
fn a_pull_brings_the_image_for_the_platform_that_it_names() {
    let (platform, dir) = start();
    let registry = Registry::start(dir.path(), false);
    let name = format!("{}/team/app:v1", registry.host);
    let main = context(&dir.path().join("main"), "FROM scratch\nCOPY Dockerfile /\n");
    platform.run(&[
        "build",
        "--platform",
        "linux/amd64,linux/arm64",
        "-t",
        &name,
        "-o",
        "type=registry",
        &main,
    ]);
    platform.run(&["rmi", &name]);
    platform.run(&["system", "prune", "--force"]);
    for (flags, architecture) in [(&["--platform", "linux/arm64"][..], "arm64"), (&[], "amd64")] {
        assert_eq!(platform.run(&[&["pull", "-q", &name], flags].concat()), format!("{name}\n"));
        let inspected: Value = serde_json::from_str(&platform.run(&["image", "inspect", &name])).unwrap();
        assert_eq!(inspected["Architecture"], architecture);
    }
    platform.down();
}

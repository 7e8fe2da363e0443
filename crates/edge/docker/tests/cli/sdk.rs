//! Clients of other languages: the same life of a container through docker-py and dockerode.

use crate::daemon::{Daemon, with_daemon};
use std::path::{Path, PathBuf};
use std::process::Command;

fn run(program: &Path, args: &[&str], dir: &Path) {
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    assert!(
        output.status.success(),
        "{} {args:?}: {}{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A place for a client's packages, made once for all runs. It is made under a name of its own and renamed: whoever is
/// first wins.
fn environment(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
    let (environment, new) = (target.join(name), target.join(format!("{name}-{}", std::process::id())));
    if !environment.exists() {
        make(&new);
        let _ = std::fs::rename(&new, &environment);
        let _ = std::fs::remove_dir_all(&new);
    }
    environment
}

pub fn python() -> PathBuf {
    let environment = environment("docker-py-7.2.0", |new| {
        run(
            Path::new("/usr/bin/python3"),
            &["-m", "venv", "--copies", new.to_str().unwrap()],
            Path::new("/"),
        );
        let pip = ["-m", "pip", "install", "--quiet", "docker==7.2.0"];
        run(&new.join("bin/python3"), &pip, Path::new("/"));
    });
    environment.join("bin/python3")
}

pub fn node() -> PathBuf {
    environment("dockerode-5.0.1", |new| {
        std::fs::create_dir(new).unwrap();
        std::fs::write(new.join("package.json"), r#"{"private":true}"#).unwrap();
        run(Path::new("npm"), &["install", "--silent", "--no-audit", "--no-fund", "dockerode@5.0.1"], new);
    })
}

fn script(docker: &Daemon, program: &Path, file: &str, dir: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(file);
    let output = Command::new(program)
        .arg(path)
        .env("DOCKER_HOST", format!("unix://{}", docker.socket.display()))
        .env("NODE_PATH", dir.join("node_modules"))
        .env("HOME", &docker.dir)
        .env("API", if docker.is_peer() { "1.41" } else { "1.51" })
        .current_dir(&docker.dir)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.ends_with("done\n"), "{file}: {out}{err}");
}

#[test]
fn docker_py_lives_through_a_container() {
    // The daemon's network namespace leads nowhere.
    let python = python();
    with_daemon(move |docker| {
        docker.import_busybox();
        script(docker, &python, "life.py", Path::new("/"));
    });
}

#[test]
fn docker_py_of_an_adversary_is_refused_in_words_and_harms_nobody() {
    let python = python();
    with_daemon(move |docker| {
        docker.import_busybox();
        script(docker, &python, "adversary.py", Path::new("/"));
    });
}

#[test]
fn dockerode_lives_through_a_container() {
    let packages = node();
    with_daemon(move |docker| {
        docker.import_busybox();
        script(docker, Path::new("node"), "life.js", &packages);
    });
}

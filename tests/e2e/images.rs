//! Images through the command line: archives, registries, credentials, disk space.

use crate::platform::{Platform, output, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `captain` with the password `open sesame`.
const USERS: &str = "captain:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// The distribution project's registry in the present network namespace, ended with the test.
pub struct Registry {
    process: Child,
    pub host: String,
}

impl Registry {
    pub fn start(dir: &Path, wants_password: bool) -> Self {
        let mut config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n",
            dir.display()
        );
        if wants_password {
            std::fs::write(dir.join("users"), USERS).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}/users}}}}\n", dir.display()));
        }
        let file = dir.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("docker-registry, from scripts/setup");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on ")?;
            Some(address.split(['"', ' ', ',']).next()?.to_owned())
        });
        let host = address.expect("the registry says where it listens");
        // A full pipe would stop it.
        std::thread::spawn(move || log.for_each(drop));
        Self { process, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn images_travel_as_archives_and_leave_nothing_when_pruned() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    platform.run(&["image", "import-busybox"]);
    platform.run(&["tag", "busybox", "team/app:v1"]);
    assert!(platform.run(&["history", "busybox"]).contains("Imported from -"));

    platform.run(&["save", "-o", &path("images.tar"), "busybox", "team/app:v1"]);
    platform.run(&["image", "export", "team/app:v1", &path("root.tar")]);
    let refused = output(platform.hako().args(["save", "-o", &path("none.tar"), "absent"]));
    assert!(!refused.status.success() && said(&refused).contains("absent"), "{}", said(&refused));
    let mut files: Vec<_> =
        std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["images.tar", "root.tar"], "an archive is there when it is whole, or not at all");

    assert_eq!(platform.run(&["rmi", "busybox", "team/app:v1"]), "busybox\nteam/app:v1\n");
    assert_eq!(platform.run(&["images", "--output", "name"]), "");
    assert_eq!(platform.run(&["load", "-i", &path("images.tar")]), "busybox:latest\nteam/app:v1\n");
    let loaded: Value = serde_json::from_str(&platform.run(&["image", "inspect", "busybox"])).unwrap();
    platform.run(&["save", "--format", "oci-dir", "-o", &path("layout"), "team/app:v1"]);
    let there = run(Command::new("skopeo").args(["inspect", "--config", &format!("oci:{}", path("layout"))]));
    let there: Value = serde_json::from_str(&there).unwrap();
    assert_eq!(there["rootfs"]["diff_ids"], loaded["RootFS"]["Layers"]);
    let again =
        output(platform.hako().args(["save", "--format", "oci-dir", "-o", &path("layout"), "busybox"]));
    assert!(!again.status.success() && said(&again).contains("not empty"), "{}", said(&again));
    platform.run(&["rmi", "busybox", "team/app:v1"]);
    assert_eq!(platform.run(&["load", "-i", &path("layout")]), "team/app:v1\n");
    platform.run(&["tag", "team/app:v1", "busybox"]);
    let none = output(platform.hako().args(["load", "-i", scratch.path().to_str().unwrap()]));
    assert!(!none.status.success() && said(&none).contains("no index.json"), "{}", said(&none));
    let odd =
        output(platform.hako().args(["save", "--compression", "estargz", "-o", &path("odd"), "busybox"]));
    assert!(!odd.status.success() && said(&odd).contains("zstd:chunked"), "{}", said(&odd));
    platform.run(&["image", "import", &path("root.tar"), "again:v1"]);
    assert_eq!(platform.run(&["run", "--rm", "again:v1", "/bin/busybox", "echo", "whole"]), "whole\n");

    platform.run(&["run", "--name", "ended", "busybox", "sh", "-c", "head -c 3000000 /dev/zero > /file"]);
    let usage: Value = serde_json::from_str(&platform.run(&["system", "df", "--output", "json"])).unwrap();
    assert!(usage["Containers"][0]["SizeRw"].as_u64().unwrap() >= 3_000_000, "{usage}");
    assert!(platform.run(&["system", "df"]).lines().nth(2).unwrap().contains("3.0"));
    let unasked = output(platform.hako().args(["system", "prune", "-a"]));
    assert!(!unasked.status.success() && said(&unasked).contains("--force"), "{}", said(&unasked));
    let pruned = platform.run(&["system", "prune", "-a", "--force", "--output", "json"]);
    let pruned: Value = serde_json::from_str(&pruned).unwrap();
    assert!(pruned["freed"].as_u64().unwrap() > 6_000_000, "{pruned}");
    assert_eq!(platform.run(&["images", "--output", "name"]), "");
    assert_eq!(platform.run(&["ps", "--all", "--quiet"]), "");
    platform.down();
}

#[test]
fn prune_takes_the_form_of_an_image_that_has_no_name_and_leaves_that_with_one() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    platform.run(&["image", "import-busybox"]);
    for form in ["gzip", "uncompressed"] {
        let archive = path(form);
        platform.run(&["save", "--format", "oci", "--compression", form, "-o", &archive, "busybox"]);
    }
    // Each of them is once that with the name.
    for archive in ["gzip", "uncompressed", "gzip"].map(path) {
        platform.run(&["load", "-i", &archive]);
        let listed = platform.run(&["images"]);
        let (rows, named) = (listed.lines().count() - 1, listed.matches("busybox:latest").count());
        assert_eq!((rows, named), (2, 1), "{listed}");
        let id = listed.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
        assert_eq!(platform.run(&["run", "--rm", id, "echo", "by its id"]), "by its id\n");
        platform.run(&["image", "prune", "--force"]);
        let left = platform.run(&["images", "--output", "name"]);
        assert_eq!(left.lines().count(), 1, "{left}");
        assert_eq!(platform.run(&["run", "--rm", "busybox", "echo", "whole"]), "whole\n");
    }
    platform.down();
}

#[test]
fn who_is_logged_in_pushes_and_pulls() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let registry = Registry::start(scratch.path(), true);
    let config = scratch.path().join("docker");
    let name = format!("{}/fleet/box:v1", registry.host);
    let hako = |arguments: &[&str]| {
        let mut command = platform.hako();
        command.args(arguments).env("DOCKER_CONFIG", &config);
        command
    };
    let login = |password: &str| {
        let mut child = hako(&["login", "-u", "captain", "--password-stdin", &registry.host])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    platform.run(&["image", "import-busybox"]);
    platform.run(&["tag", "busybox", &name]);
    let stranger = output(&mut hako(&["push", &name]));
    assert!(!stranger.status.success() && said(&stranger).contains("hako login"), "{}", said(&stranger));

    let wrong = login("mellon");
    assert!(!wrong.status.success() && said(&wrong).contains("refuses this user name"), "{}", said(&wrong));
    assert!(!said(&wrong).contains("mellon") && !config.exists(), "{}", said(&wrong));
    assert!(login("open sesame\n").status.success());
    let mode = std::fs::metadata(config.join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let pushed: Value = serde_json::from_str(&run(&mut hako(&["push", "--output", "json", &name]))).unwrap();
    let digest = pushed["digest"].as_str().unwrap().to_owned();
    assert!(pushed["moved"].as_u64().unwrap() > 500_000 && pushed["saved"] == 0, "{pushed}");
    let nothing: Value = serde_json::from_str(&run(&mut hako(&["push", "--output", "json", &name]))).unwrap();
    assert!(nothing["moved"] == 0 && nothing["saved"] == pushed["moved"], "{nothing}");
    // Another client sees what was pushed, with the same credentials file.
    let mut peer = Command::new("skopeo");
    peer.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")]);
    assert_eq!(run(peer.arg("--authfile").arg(config.join("config.json"))).trim(), digest);

    platform.run(&["rmi", &name, "busybox"]);
    let pulled = output(&mut hako(&["pull", &name]));
    assert_eq!(String::from_utf8_lossy(&pulled.stdout), format!("{name}\n"));
    for words in
        ["Pulling from fleet/box", ": Pull complete", &digest, "Downloaded newer image", "saved 0B (0 %)"]
    {
        assert!(said(&pulled).contains(words), "{words} is not in {}", said(&pulled));
    }
    assert!(!said(&pulled).contains('\x1b'), "a pipe is no terminal");
    assert_eq!(said(&output(&mut hako(&["pull", "-q", &name]))), "");
    assert_eq!(platform.run(&["run", "--rm", &name, "echo", "aboard"]), "aboard\n");
    platform.run(&["rmi", &name]);
    let never = output(&mut hako(&["run", "--rm", "--pull", "never", &name, "true"]));
    assert_eq!(never.status.code(), Some(125), "{}", said(&never));
    let pulled = output(&mut hako(&["run", "--rm", &name, "echo", "fetched"]));
    assert_eq!(String::from_utf8_lossy(&pulled.stdout), "fetched\n", "{}", said(&pulled));
    let missing = output(&mut hako(&["pull", &format!("{}/none:v1", registry.host)]));
    assert_eq!(said(&missing).lines().count(), 1, "{}", said(&missing));

    run(&mut hako(&["logout", &registry.host]));
    assert!(!output(&mut hako(&["pull", &name])).status.success());
    assert!(!std::fs::read_to_string(config.join("config.json")).unwrap().contains(&registry.host));
    platform.down();
}

#[test]
fn a_registry_without_tls_elsewhere_has_to_be_named() {
    let platform = Platform::start();
    // Another address of this namespace that is not loopback.
    run(Command::new("ip").args(["address", "add", "198.51.100.7/32", "dev", "lo"]));
    let scratch = tempfile::tempdir().unwrap();
    let registry = Registry::start(scratch.path(), false);
    let port = registry.host.rsplit_once(':').unwrap().1.to_owned();
    drop(registry);
    let file = scratch.path().join("config.yml");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("127.0.0.1:0", &format!("198.51.100.7:{port}"));
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new("docker-registry")
        .arg("serve")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("198.51.100.7:{port}/box:v1");
    platform.run(&["image", "import-busybox"]);
    platform.run(&["tag", "busybox", &name]);
    crate::platform::wait_until("the registry", || {
        std::net::TcpStream::connect(format!("198.51.100.7:{port}")).is_ok()
    });
    let refused = output(platform.hako().args(["push", &name]));
    assert!(!refused.status.success() && said(&refused).contains("198.51.100.7"), "{}", said(&refused));
    platform.kill();
    run(platform.hako().args([
        "up",
        "--detach",
        "--listen",
        platform.listen(),
        "--insecure-registry",
        "198.51.100.0/24",
    ]));
    platform.run(&["push", &name]);
    let bad =
        output(
            Command::new(crate::platform::HAKO)
                .args(["--data-dir"])
                .arg(scratch.path().join("other"))
                .args(["up", "--listen", "127.0.0.1:0", "--insecure-registry", "10.0.0.0/99"]),
        );
    assert!(!bad.status.success() && said(&bad).contains("10.0.0.0/99"), "{}", said(&bad));
    // Whether such a start leaves a directory or not is no concern here.
    output(
        Command::new(crate::platform::HAKO)
            .arg("--data-dir")
            .arg(scratch.path().join("other"))
            .args(["down", "--purge"]),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    platform.down();
}

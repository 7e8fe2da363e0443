//! A whole distribution: debootstrap's root filesystem built on, run, pushed, and pulled.

use crate::platform::{HAKO, Platform, run};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a test of images has no use for, and would take most of its time.
const EXCLUDED: [&str; 6] = [
    "./var/cache/apt/archives/*",
    "./var/cache/apt/*.bin",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./dev/*",
];

/// The base as a tar archive: made once, and kept beside what cargo builds. It is made under a name of its own and
/// renamed, so that it is whole or not there.
fn base() -> PathBuf {
    let tar = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm-minbase.tar");
    if !tar.exists() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, new) = (scratch.path().join("root"), tar.with_extension("new"));
        run(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&root));
        let excluded = EXCLUDED.map(|pattern| format!("--exclude={pattern}"));
        let mut pack = Command::new("tar");
        pack.arg("--sort=name").arg("-C").arg(&root).args(excluded).arg("-cf").arg(&new).arg(".");
        run(&mut pack);
        std::fs::rename(&new, &tar).unwrap();
    }
    tar
}

/// `hako registry serve`, ended with the test.
struct Serve {
    process: Child,
    host: String,
}

impl Serve {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(HAKO);
        command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--storage"]).arg(dir);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let host = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { process, host }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const DOCKERFILE: &str = "\
FROM debian:bookworm AS tools
RUN dpkg-query -W -f='${Package}\\n' | sort > /packages && perl -e 'print \"perl works\\n\"' > /perl
FROM debian:bookworm
RUN useradd --create-home --shell /bin/bash ship && chmod 2755 /usr/bin/passwd && rm -r /usr/share/bug
COPY --from=tools /packages /perl /
COPY --chown=ship:ship file /home/ship/
USER ship
CMD [\"bash\", \"-c\", \"id -un; cat /perl; stat -c '%a %U' /home/ship/file /usr/bin/passwd /bin/su\"]
";
const SAYS: &str = "ship\nperl works\n644 ship\n2755 root\n4755 root\n";

#[test]
fn an_image_on_debian_is_built_run_pushed_and_pulled() {
    let base = base();
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let registry = Serve::start(&scratch.path().join("registry"));
    let name = format!("{}/fleet/debian:1", registry.host);
    platform.run(&["image", "import", base.to_str().unwrap(), "debian:bookworm"]);
    let context = scratch.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
    std::fs::write(context.join("file"), "aboard\n").unwrap();
    platform.run(&["build", "-t", &name, context.to_str().unwrap()]);
    assert_eq!(platform.run(&["run", "--rm", &name]), SAYS);
    let packages = platform.run(&["run", "--rm", &name, "cat", "/packages"]);
    assert!(packages.lines().any(|line| line == "bash") && packages.lines().count() > 50, "{packages}");

    let pushed: Value = serde_json::from_str(&platform.run(&["push", "--output", "json", &name])).unwrap();
    let mut peer = Command::new("skopeo");
    peer.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")]);
    assert_eq!(run(&mut peer).trim(), pushed["digest"].as_str().unwrap());

    platform.run(&["rmi", &name, "debian:bookworm"]);
    platform.run(&["system", "prune", "--all", "--force"]);
    assert_eq!(platform.run(&["images", "--output", "name"]), "");
    platform.run(&["pull", &name]);
    assert_eq!(platform.run(&["run", "--rm", &name]), SAYS, "every byte, mode and owner came back");
    platform.down();
}

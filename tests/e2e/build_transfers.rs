//! What a build fetches and where its result goes: registries, repositories, standard output; and what it takes
//! from the shell.

use crate::builds::context;
use crate::images::Registry;
use crate::platform::{Platform, output, run};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn start() -> (Platform, tempfile::TempDir) {
    let platform = Platform::with_busybox();
    (platform, tempfile::tempdir().unwrap())
}

/// Builds a Dockerfile alone; gives what the build says.
#[track_caller]
fn build(platform: &Platform, dir: &Path, dockerfile: &str, flags: &[&str]) -> String {
    let main = context(dir, dockerfile);
    let output = output(platform.hako().arg("build").args(flags).arg(main));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{flags:?}: {said}");
    said
}

#[test]
fn results_go_to_registries_and_newer_bases_come_from_there_if_wanted() {
    let (platform, dir) = start();
    let registry = Registry::start(dir.path(), false);
    let (pushed, other) = (format!("{}/base:1", registry.host), format!("{}/base:2", registry.host));
    let main = dir.path().join("main");
    build(&platform, &main, "FROM busybox\nRUN echo old > /v\n", &["-t", "old"]);
    build(
        &platform,
        &main,
        "FROM busybox\nRUN echo new > /v\n",
        &["-t", &pushed, "-o", "type=image,push=true"],
    );
    build(&platform, &main, "FROM busybox\n", &["-t", &other, "--output", "type=registry"]);
    for name in [&pushed, &other] {
        run(Command::new("skopeo").args(["inspect", "--tls-verify=false", &format!("docker://{name}")]));
    }
    platform.run(&["tag", "old", &pushed]);
    let app = format!("FROM {pushed}\nRUN cp /v /seen\n");
    build(&platform, &main, &app, &["-t", "app"]);
    assert_eq!(platform.run(&["run", "--rm", "app", "cat", "/seen"]), "old\n", "what is here is taken");
    build(&platform, &main, &app, &["-t", "app", "--pull"]);
    assert_eq!(platform.run(&["run", "--rm", "app", "cat", "/seen"]), "new\n");
    platform.down();
}

#[test]
fn a_result_can_be_a_layout_or_go_to_standard_output() {
    let (platform, dir) = start();
    let main = context(&dir.path().join("main"), "FROM scratch\nCOPY Dockerfile /in/file\n");
    let layout = dir.path().join("layout").display().to_string();
    platform.run(&["build", "-t", "app:1", "-o", &format!("type=oci,tar=false,dest={layout}"), &main]);
    let inspected = run(Command::new("skopeo").args(["inspect", &format!("oci:{layout}")]));
    assert_eq!(serde_json::from_str::<Value>(&inspected).unwrap()["Layers"].as_array().unwrap().len(), 1);
    let to_file = |flags: &[&str], name: &str| {
        let file = dir.path().join(name);
        let mut command = platform.hako();
        command.arg("build").args(flags).arg(&main).stdin(Stdio::null());
        let status = command.stdout(fs::File::create(&file).unwrap()).status().unwrap();
        assert!(status.success(), "{flags:?}");
        file.display().to_string()
    };
    let tar = to_file(&["-o", "-"], "files.tar");
    assert_eq!(run(Command::new("tar").args(["-tf", &tar])), "in\nin/file\n");
    let archive = to_file(&["-t", "app:1", "--output=type=docker,dest=-"], "docker.tar");
    run(Command::new("skopeo").args(["inspect", &format!("docker-archive:{archive}")]));
    let refused = output(platform.hako().args(["build", "-o", "type=local,dest=-", &main]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("type=tar"), "{said}");
    // A device in the place of a file is written to, not replaced.
    platform.run(&["build", "-o", "type=tar,dest=/dev/null", &main]);
    assert_eq!(fs::read("/dev/null").unwrap(), b"");
    platform.down();
}

#[test]
fn what_the_shell_says_reaches_the_build_and_only_what_counts_for_the_cache_counts() {
    let (platform, dir) = start();
    let main = context(&dir.path().join("main"), "FROM busybox\nRUN echo $http_proxy > /p; date +%N > /n\n");
    let created = |epoch: &str| {
        let mut command = platform.hako();
        command.args(["build", "-t", "dated", &main]).env("SOURCE_DATE_EPOCH", epoch);
        run(&mut command);
        let inspected = platform.run(&["image", "inspect", "dated"]);
        serde_json::from_str::<Value>(&inspected).unwrap()["Created"].as_str().unwrap().to_owned()
    };
    assert_eq!(created("86400")[..19], *"1970-01-02T00:00:00");
    assert_ne!(created("")[..4], *"1970");
    let proxied = |proxy: &str, flags: &[&str]| {
        let argument = format!("--build-arg=http_proxy={proxy}");
        let output =
            output(platform.hako().args(["build", "-t", "proxied", &argument]).args(flags).arg(&main));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    proxied("http://one", &["--no-cache"]);
    assert_eq!(platform.run(&["run", "--rm", "proxied", "cat", "/p"]), "http://one\n");
    let live = proxied("http://two", &["--progress=tty"]);
    assert!(live.contains("\x1b[") && live.contains(" => CACHED [0 2/2] RUN"), "{live:?}");
    let inspected = platform.run(&["image", "inspect", "proxied"]);
    assert!(!inspected.contains("http://"), "{inspected}");
    platform.down();
}

#[test]
fn checks_know_the_variables_of_images_that_are_here() {
    let (platform, dir) = start();
    let main = dir.path().join("main");
    build(
        &platform,
        &main,
        "FROM busybox\nENV GIVEN=1\nONBUILD ARG ASKED\nONBUILD ENV LATER=$ASKED\n",
        &["-t", "base"],
    );
    let checked = |base: &str, flags: &[&str]| {
        let text = format!(
            "FROM {base} AS one\nENV OWN=1\nFROM one\nLABEL a=$GIVEN b=$LATER c=$OWN d=$PATH e=$ASKED\nLABEL f=$STRANGE\n"
        );
        let main = context(&main, &text);
        let output = output(platform.hako().args(["build", "--check", &main]).args(flags));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for found in [checked("base", &[]), checked("x", &["--build-context=x=docker-image://base"])] {
        assert!(found.starts_with("Dockerfile:5: UndefinedVar: $STRANGE"), "{found}");
        assert_eq!(found.matches("UndefinedVar").count(), 1, "{found}");
    }
    assert!(!checked("nowhere", &[]).contains("UndefinedVar"), "nothing is known of that image");
    platform.down();
}

/// A git daemon of the test's own network namespace.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=t", "-c", "user.email=t@t"]);
    run(command.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null"));
}

#[test]
fn a_repository_is_a_context() {
    let (platform, dir) = start();
    let repository = dir.path().join("r.git");
    context(&repository.join("sub"), "FROM busybox\nCOPY Dockerfile /d\nRUN echo one > /v\n");
    git(&repository, &["init", "-q"]);
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-q", "-m", "one"]);
    git(&repository, &["tag", "v1"]);
    context(&repository.join("sub"), "FROM nothing\n");
    git(&repository, &["commit", "-q", "-a", "-m", "two"]);
    // Not by way of `git daemon`, which would leave it behind when killed.
    let exec_path = run(Command::new("git").arg("--exec-path"));
    let mut command = Command::new(Path::new(exec_path.trim()).join("git-daemon"));
    command.args(["--export-all", "--listen=127.0.0.1", "--port=9418"]);
    command.arg(format!("--base-path={}", dir.path().display())).stdout(Stdio::null()).stderr(Stdio::null());
    let daemon = Daemon(command.spawn().unwrap());
    crate::platform::wait_until("the git daemon", || {
        std::net::TcpStream::connect(("127.0.0.1", 9418)).is_ok()
    });
    platform.run(&["build", "-t", "cloned", "git://127.0.0.1/r.git#v1:sub"]);
    assert_eq!(platform.run(&["run", "--rm", "cloned", "cat", "/v"]), "one\n");
    drop(daemon);
    platform.down();
}

/// A server of https with a file; it ends with the test.
struct Secure {
    child: Child,
    url: String,
    certificate: PathBuf,
}

impl Secure {
    /// Its certificate says that it is an authority's, as `openssl req -x509` makes them.
    fn start(dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nsecret").unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = dir.join("tls.crt");
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
        let server = ["s_server", "-accept", "127.0.0.1:0", "-HTTP", "-cert", "tls.crt", "-key", "tls.key"];
        let mut command = Command::new("openssl");
        command.args(server).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: format!("https://{}/file", address.unwrap()), certificate }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_file_is_added_from_a_server_whose_own_certificate_the_machine_trusts() {
    crate::platform::enter_network_namespace();
    let dir = tempfile::tempdir().unwrap();
    let known = Secure::start(&dir.path().join("known"));
    let unknown = Secure::start(&dir.path().join("unknown"));
    let platform = Platform::prepare(&[]);
    let mut up = platform.hako();
    up.args(["up", "--detach", "--listen", "127.0.0.1:0"]).env("SSL_CERT_FILE", &known.certificate);
    run(&mut up);
    let file = |url| format!("FROM scratch\nADD {url} /file\n");
    let (main, to) = (dir.path().join("main"), dir.path().join("to"));
    build(&platform, &main, &file(&known.url), &["-o", &to.display().to_string()]);
    assert_eq!(fs::read_to_string(to.join("file")).unwrap(), "secret");
    let refused = output(platform.hako().args(["build", &context(&main, &file(&unknown.url))]));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no certificate that this machine trusts"), "{said}");
    platform.down();
}

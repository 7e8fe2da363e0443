//! A platform whose objects are in etcd: over TLS, away and back, not there at all.

use crate::bad_input::{assert_says, fails_with_one_line};
use crate::platform::{HAKO, Platform, enter_network_namespace, output, run, wait_until};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Debian's etcd, which takes only clients of its authority.
struct Etcd {
    process: Child,
    dir: tempfile::TempDir,
    ports: [u16; 2],
}

impl Etcd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_certificates(dir.path());
        let free = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(free);
        let process = spawn(dir.path(), ports);
        let etcd = Self { process, dir, ports };
        etcd.wait();
        etcd
    }

    fn wait(&self) {
        wait_until("etcd", || output(self.etcdctl().args(["endpoint", "health"])).status.success());
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports[0])
    }

    fn options(&self) -> Vec<String> {
        let [ca, certificate, key] = ["ca.crt", "client.crt", "client.key"].map(|name| self.file(name));
        [
            ("--etcd-servers", self.endpoint()),
            ("--etcd-cafile", ca),
            ("--etcd-certfile", certificate),
            ("--etcd-keyfile", key),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }

    fn etcdctl(&self) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args([
            "--endpoints",
            &self.endpoint(),
            "--cacert",
            &self.file("ca.crt"),
        ]);
        command.args(["--cert", &self.file("client.crt"), "--key", &self.file("client.key")]);
        command
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.ports);
        self.wait();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, ports: [u16; 2]) -> Child {
    let client = format!("https://127.0.0.1:{}", ports[0]);
    let peer = format!("http://127.0.0.1:{}", ports[1]);
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    Command::new("etcd")
        .args(["--data-dir", &file("data"), "--name", "one", "--unsafe-no-fsync"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .args(["--client-cert-auth", "--trusted-ca-file", &file("ca.crt")])
        .args(["--cert-file", &file("server.crt"), "--key-file", &file("server.key")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("etcd: {error}; install the package etcd-server"))
}

/// An authority, a server of it and a client.
fn make_certificates(dir: &Path) {
    let openssl = |arguments: &[&str]| run(Command::new("openssl").current_dir(dir).args(arguments));
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    openssl(&[&new[..], &["-subj", "/CN=etcd-ca", "-keyout", "ca.key", "-out", "ca.crt"]].concat());
    for (name, usage) in [("server", "serverAuth,clientAuth"), ("client", "clientAuth")] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let (subject, usage) = (format!("/CN={name}"), format!("extendedKeyUsage={usage}"));
        let names = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"];
        let own = ["-subj", &subject, "-addext", &usage, "-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(&[&new[..], &names, &own, &["-keyout", &key, "-out", &certificate]].concat());
    }
}

fn readyz(platform: &Platform) -> String {
    let answer = output(platform.kubectl_command().args(["get", "--raw", "/readyz?verbose"]));
    String::from_utf8_lossy(&answer.stdout).into_owned() + &String::from_utf8_lossy(&answer.stderr)
}

#[test]
fn a_platform_on_etcd_keeps_secrets_sealed_there_and_outlives_its_absence() {
    enter_network_namespace();
    let mut etcd = Etcd::start();
    let options = etcd.options();
    let mut platform = Platform::prepare(&options.iter().map(String::as_str).collect::<Vec<_>>());
    platform.up();
    assert!(!platform.data_dir().join("store").exists(), "nothing is kept in the data directory");
    platform.kubectl(&["create", "secret", "generic", "mine", "--from-literal=key=nobody-finds-this"]);
    let dump = run(etcd.etcdctl().args(["get", "/hako/", "--prefix", "--write-out=json"]));
    assert!(dump.contains("L2hha28v"), "keys below the prefix, in base64");
    assert!(!dump.contains("bm9ib2R5LWZpbmRzLXRoaXM"), "the secret lies readable in etcd");

    etcd.kill();
    let mut refused = String::new();
    wait_until("requests to be refused", || {
        let answer = output(platform.kubectl_command().args(["get", "secret", "mine"]));
        refused = String::from_utf8_lossy(&answer.stderr).into_owned();
        !answer.status.success()
    });
    assert!(refused.contains(&etcd.endpoint()) && refused.contains("does not serve"), "{refused}");
    assert!(readyz(&platform).contains("[-]etcd failed"), "{}", readyz(&platform));

    etcd.start_again();
    wait_until("the platform to recover", || readyz(&platform).contains("[+]etcd ok"));
    platform.kubectl(&["create", "configmap", "after"]);
    platform.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"]);
    who_goes_on_after_a_revision_is_told_all_of_it(&etcd, &platform);
    // What was there is there after a kill of the platform too, and after a backup elsewhere.
    platform.kill();
    platform.up();
    let key = platform.kubectl(&["get", "secret", "mine", "-o", "go-template={{.data.key | base64decode}}"]);
    assert_eq!(key, "nobody-finds-this");
    let file = etcd.dir.path().join("backup");
    platform.run(&["backup", file.to_str().unwrap()]);
    assert!(file.exists());
    platform.down();
}

/// One step of etcd may write several objects, as the addresses of one service are: they have one revision, and a watch
/// that was cut may have told the first of them only.
fn who_goes_on_after_a_revision_is_told_all_of_it(etcd: &Etcd, platform: &Platform) {
    let maps = "/hako/k//registry/core/configmaps/default/";
    let map = |name: &str| {
        format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"default\"}}}}"
        )
    };
    let puts: String =
        ["one", "two", "three"].map(|name| format!("put {maps}{name} {:?}\n", map(name))).concat();
    let mut txn = etcd.etcdctl();
    let mut txn = txn.arg("txn").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    txn.stdin.take().unwrap().write_all(format!("\n{puts}\n\n").as_bytes()).unwrap();
    assert!(txn.wait().unwrap().success());
    let version = |name: &str| {
        platform.kubectl(&["get", "configmap", name, "-o", "jsonpath={.metadata.resourceVersion}"])
    };
    let told = |after: &str| {
        let path = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=2&resourceVersion=";
        let lines = platform.kubectl(&["get", "--raw", &format!("{path}{after}")]);
        let name = |line: &str| {
            ["one", "two", "three", "after"].into_iter().find(|name| line.contains(&format!("\"{name}\"")))
        };
        lines.lines().filter_map(name).collect::<Vec<_>>()
    };
    let shared = version("one");
    assert_eq!((version("two"), version("three")), (shared.clone(), shared.clone()));
    assert_eq!(told(&shared), ["two", "three"], "at least the first of them was told");
    assert_eq!(told(&version("after")), ["one", "two", "three"], "what was of one object is not told again");
    platform.kubectl(&["label", "configmap", "one", "a=b"]);
    assert_eq!(told(&shared), ["two", "three", "one"], "what came after follows");
}

#[test]
fn an_etcd_that_is_not_there_or_not_ours_is_told_in_one_line() {
    enter_network_namespace();
    let etcd = Etcd::start();
    let scratch = tempfile::tempdir().unwrap();
    let new: PathBuf = scratch.path().join("data");
    let nobody = "https://127.0.0.1:1";
    let endpoint = etcd.endpoint();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--etcd-servers", nobody], &["--etcd-servers", nobody, "does not serve"]),
        (&["--etcd-servers", &endpoint], &[&endpoint, "does not serve"]),
        (&["--etcd-servers", "127.0.0.1:2379"], &["127.0.0.1:2379", "https://"]),
        (&["--etcd-servers", &endpoint, "--etcd-cafile", "/nowhere"], &["--etcd-cafile", "/nowhere"]),
    ];
    for (options, words) in cases {
        let mut command = Command::new(HAKO);
        command.arg("--data-dir").arg(&new).args(["up", "--listen", "127.0.0.1:0"]).args(options);
        assert_says(&fails_with_one_line(&mut command), words);
        assert!(!new.exists(), "a start that failed left its directory");
    }
}

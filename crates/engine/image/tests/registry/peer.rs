//! Debian's registry (distribution 2.8) as a child process.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How the registry is to be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Open,
    /// Basic authentication of `me` with `secret`.
    Password,
    /// TLS with an authority of its own, and the password.
    Tls,
    /// TLS with a certificate that is its own authority, and the password.
    OwnAuthority,
    /// TLS on both sides, and the password.
    Mutual,
}

impl Access {
    fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::OwnAuthority | Self::Mutual)
    }
}

/// A registry of its own; it ends when dropped.
pub struct Peer {
    child: Child,
    dir: tempfile::TempDir,
    pub host: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    pub fn start(access: Access) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}, delete: \
             {{enabled: true}}}}\n"
        );
        let mut http = "http:\n  addr: 127.0.0.1:0\n".to_owned();
        if access != Access::Open {
            write_password(dir.path());
            config += &format!("auth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}\n");
        }
        if access.has_tls() {
            match access {
                Access::OwnAuthority => write_own_authority(dir.path()),
                _ => write_certificates(dir.path()),
            }
            let clients = if access == Access::Mutual { ", clientcas: [CA]" } else { "" };
            let clients = clients.replace("CA", &format!("{root}/ca.pem"));
            http += &format!("  tls: {{certificate: {root}/server.pem, key: {root}/server.key{clients}}}\n");
        }
        std::fs::write(dir.path().join("config.yml"), config + &http).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker-registry, from scripts/setup");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, address) = line.split_once("listening on 127.0.0.1:")?;
                let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u16>().ok()
            })
            .expect("the registry says where it listens");
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        // The name in the certificate is localhost.
        let host = if access.has_tls() { "localhost" } else { "127.0.0.1" };
        Self { child, dir, host: format!("{host}:{port}") }
    }

    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate that it knows, and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("server.pem"), self.dir.path().join("server.key"))
    }

    /// A reference to a repository in it.
    pub fn name(&self, rest: &str) -> hako_names::ImageRef {
        format!("{}/{rest}", self.host).parse().unwrap()
    }

    /// Runs skopeo; `docker://` names get the host in front.
    pub fn skopeo(&self, args: &[&str]) -> String {
        let args = args.iter().map(|arg| arg.replace("docker://", &format!("docker://{}/", self.host)));
        let output = Command::new("skopeo").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn write_password(dir: &Path) {
    let output = Command::new("htpasswd").args(["-Bbn", "-C", "4", "me", "secret"]).output();
    let output = output.expect("htpasswd, from scripts/setup");
    assert!(output.status.success());
    std::fs::File::create(dir.join("htpasswd")).unwrap().write_all(&output.stdout).unwrap();
}

fn write_certificates(dir: &Path) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.join("server.pem"), server.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

/// As `openssl req -x509` makes it.
fn write_own_authority(dir: &Path) {
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = parameters.self_signed(&key).unwrap().pem();
    std::fs::write(dir.join("ca.pem"), &pem).unwrap();
    std::fs::write(dir.join("server.pem"), &pem).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

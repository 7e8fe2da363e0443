//! Debian's registry (distribution 2.8) as a child process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A registry of its own; it ends when dropped.
pub struct Distribution {
    child: Child,
    dir: tempfile::TempDir,
    pub host: String,
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Distribution {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yml");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n",
            dir.path().display()
        );
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker-registry, from scripts/setup");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on ")?;
            Some(address.split(['"', ' ', ',']).next()?.to_owned())
        });
        let host = address.expect("the registry says where it listens");
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, dir, host }
    }

    /// A reference to a repository in it.
    pub fn name(&self, rest: &str) -> hako_names::ImageRef {
        format!("{}/{rest}", self.host).parse().unwrap()
    }

    /// Removes the bytes of a blob behind the registry's back.
    pub fn lose(&self, digest: hako_names::Digest) {
        let hex = digest.hex();
        let data = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        std::fs::remove_dir_all(data.join(&hex[..2]).join(hex)).unwrap();
    }

    /// Runs skopeo against a repository in it, without TLS; gives what it printed.
    pub fn inspect(&self, rest: &str) -> String {
        let name = format!("docker://{}/{rest}", self.host);
        let output =
            Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &name]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

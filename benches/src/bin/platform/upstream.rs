//! etcd and kube-apiserver of the bench's own, where they are installed: the least that answers as an API server.

use crate::process::{cpu_seconds, memory_kib};
use anyhow::Context;
use hako_benches::{has, ms, time};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const NAME: &str = "etcd + kube-apiserver";

pub struct Upstream {
    etcd: Child,
    api: Child,
    /// From nothing to an answer of /readyz.
    pub ready_ms: f64,
    /// Where both keep their state; goes last.
    _directory: tempfile::TempDir,
}

/// Says which one is not, if one is not.
pub fn is_installed() -> bool {
    let missing: Vec<&str> = ["etcd", "kube-apiserver"].into_iter().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        println!("start: no {NAME} to compare with: {} is not on the PATH", missing.join(" and "));
    }
    missing.is_empty()
}

impl Upstream {
    pub fn start() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hako-bench-upstream-").tempdir()?;
        let key = directory.path().join("service-account.key");
        time(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
        let [client, peer, api] = [free_port()?, free_port()?, free_port()?];
        let began = Instant::now();
        let mut etcd = start_etcd(directory.path(), client, peer)?;
        let api_process = match start_api(directory.path(), &key, client, api) {
            Ok(process) => process,
            Err(error) => {
                end(&mut etcd);
                return Err(error);
            }
        };
        let mut upstream = Self { etcd, api: api_process, ready_ms: 0.0, _directory: directory };
        upstream.wait_until_ready(api, began)?;
        upstream.ready_ms = ms(began.elapsed());
        Ok(upstream)
    }

    fn wait_until_ready(&mut self, port: u16, began: Instant) -> anyhow::Result<()> {
        let url = format!("https://127.0.0.1:{port}/readyz");
        while time(Command::new("curl").args(["--insecure", "--silent", "--fail", &url])).is_err() {
            for (name, process) in [("etcd", &mut self.etcd), ("kube-apiserver", &mut self.api)] {
                if let Some(status) = process.try_wait()? {
                    anyhow::bail!("{name} ended with {status} before it was ready");
                }
            }
            anyhow::ensure!(began.elapsed() < Duration::from_secs(60), "{NAME} is not ready after 60 s");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// MiB of both.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        Ok(self.sum(|pid| memory_kib(pid, &["Rss"]))? / 1024.0)
    }

    /// CPU seconds that both have used.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.sum(cpu_seconds)
    }

    fn sum(&self, figure: impl Fn(u64) -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        Ok(figure(self.etcd.id().into())? + figure(self.api.id().into())?)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        end(&mut self.api);
        end(&mut self.etcd);
    }
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

/// A port that was free a moment ago: neither program says which one it got.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start_etcd(directory: &Path, client: u16, peer: u16) -> anyhow::Result<Child> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(directory.join("etcd"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    quietly(&mut command)
}

fn start_api(directory: &Path, key: &Path, etcd: u16, port: u16) -> anyhow::Result<Child> {
    let mut command = Command::new("kube-apiserver");
    command.arg("--cert-dir").arg(directory.join("certificates"));
    command.arg("--service-account-key-file").arg(key);
    command.arg("--service-account-signing-key-file").arg(key);
    command.args(["--service-account-issuer", "https://kubernetes.default.svc.cluster.local"]);
    command.args(["--etcd-servers", &format!("http://127.0.0.1:{etcd}")]);
    command.args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()]);
    command.args(["--advertise-address", "127.0.0.1", "--service-cluster-ip-range", "10.0.0.0/24"]);
    command.args(["--authorization-mode", "RBAC"]);
    quietly(&mut command)
}

fn quietly(command: &mut Command) -> anyhow::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("{command:?}"))
}

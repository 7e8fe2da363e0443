//! A server to test against.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hako_api::pki::{Pki, ServerNames, write_kubeconfig};
use hako_api::{External, ExternalOptions, Identity, Limits, Server, ServerConfig};
use hako_client::Client;
use hako_store::Embedded;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::seen;

/// A running server with a store and a kubeconfig of its own.
pub struct World {
    pub server: Server,
    pub pki: Arc<Pki>,
    pub store: Arc<Embedded>,
    pub url: String,
    pub kubeconfig: PathBuf,
    pub dir: tempfile::TempDir,
}

/// What a controller makes in every namespace.
async fn default_account(client: &Client) {
    let metadata = ObjectMeta { name: Some("default".into()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    client.namespaced::<ServiceAccount>("default").create(&account).await.unwrap();
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(Limits::DEFAULT).await
    }

    /// With others that say who somebody is, or what they may do.
    pub async fn start_external(options: &ExternalOptions) -> Self {
        let external = Arc::new(External::load(options).unwrap());
        Self::start_as(|config| config.external = external).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        Self::start_as(|config| config.limits = limits).await
    }

    /// With what `change` says otherwise.
    pub async fn start_as(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(dir.path().join("store")).unwrap());
        let pki = Arc::new(Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = ServerConfig::new(Arc::clone(&store) as _, Arc::clone(&pki));
        config.service_cidr = (Ipv4Addr::new(10, 96, 0, 0), 16);
        // Of documentation (RFC 5737): what is on loopback is told to nobody.
        config.advertise = (Ipv4Addr::new(192, 0, 2, 1), port);
        config.proxies_to_loopback = true;
        config.recorder = Some(seen::recorder());
        change(&mut config);
        let server = Server::new(config).await.unwrap();
        default_account(&server.client(Identity::admin())).await;
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        let url = format!("https://127.0.0.1:{port}");
        let kubeconfig = dir.path().join("kubeconfig");
        write_kubeconfig(&kubeconfig, "hako", &url, pki.ca(), pki.admin()).unwrap();
        Self { server, pki, store, url, kubeconfig, dir }
    }

    /// Another server on the same store and keys, which listens nowhere.
    pub async fn another(&self) -> Server {
        let config = ServerConfig::new(Arc::clone(&self.store) as _, Arc::clone(&self.pki));
        Server::new(config).await.unwrap()
    }

    /// The administrator in this process.
    pub fn inside(&self) -> Client {
        self.server.client(Identity::admin())
    }

    /// The administrator over HTTPS.
    pub fn outside(&self) -> Client {
        Client::from_kubeconfig(&self.kubeconfig).unwrap()
    }

    /// Runs kubectl; answers whether it succeeded, and its output and errors.
    pub async fn try_kubectl(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        self.run_kubectl(arguments, input, &[]).await
    }

    /// Runs a program of somebody else with the kubeconfig of the administrator; answers like [`Self::try_kubectl`].
    pub async fn try_program(
        &self,
        program: impl AsRef<Path>,
        arguments: &[&str],
        input: &str,
        environment: &[(&str, &str)],
    ) -> (bool, String, String) {
        self.run_program(program.as_ref(), arguments, input, environment).await
    }

    async fn run_kubectl(
        &self,
        arguments: &[&str],
        input: &str,
        environment: &[(&str, &str)],
    ) -> (bool, String, String) {
        self.run_program(Path::new("kubectl"), arguments, input, environment).await
    }

    async fn run_program(
        &self,
        program: &Path,
        arguments: &[&str],
        input: &str,
        environment: &[(&str, &str)],
    ) -> (bool, String, String) {
        let home = self.dir.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", home).args(arguments);
        command.envs(environment.iter().copied());
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            use std::io::Write as _;
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        let output = output.await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// Runs kubectl, which has to succeed.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "").await
    }

    /// Runs kubectl in an environment, which has to succeed.
    pub async fn kubectl_in(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let (success, out, error) = self.run_kubectl(arguments, "", environment).await;
        assert!(success, "kubectl {arguments:?}: {out}{error}");
        out
    }

    /// Runs kubectl in an environment; answers whether it succeeded, and its output and errors.
    pub async fn try_kubectl_in(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> (bool, String, String) {
        self.run_kubectl(arguments, "", environment).await
    }

    /// Runs kubectl, which has to succeed and to print JSON.
    pub async fn kubectl_json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.kubectl(arguments).await).unwrap()
    }

    /// Runs kubectl with an input, which has to succeed.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> String {
        let (success, out, error) = self.try_kubectl(arguments, input).await;
        assert!(success, "kubectl {arguments:?}: {out}{error}");
        out
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.stop();
        seen::write();
    }
}

//! The built-in certificate authority, the certificates it signs and the kubeconfig that carries one.
//!
//! Owns: the files of `pki/` and their renewal, at a start and while it runs. ECDSA P-256 throughout; keys are readable by the
//! owner alone.
//! Does not own: who may do what with a certificate (`auth`).
//!
//! Invariant: the authority's key never leaves its file; a certificate near its end is replaced, and whoever shows it
//! shows the new one at the next handshake.

mod accounts;
mod authority;
mod files;
mod issued;
mod kubeconfig;
mod requests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hako_error::{Classify, Kind, Result};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use accounts::AccountKey;
pub use authority::Lifetimes;
use authority::{Authority, Purpose, end_of};
pub use issued::Issued;
pub use kubeconfig::write_kubeconfig;

/// What can go wrong with the files or with signing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum PkiError {
    #[error("read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("write {path}")]
    Write { path: String, source: std::io::Error },
    #[error("{path} is no certificate or key of ours; remove it to have a new one made")]
    Damaged { path: String, problem: String },
    #[error("make certificate for {name}")]
    Sign { name: String, source: rcgen::Error },
    #[error("TLS configuration: {problem}")]
    Tls { problem: String },
}

impl Classify for PkiError {
    fn kind(&self) -> Kind {
        match self {
            Self::Damaged { .. } => Kind::DataLoss,
            _ => Kind::Internal,
        }
    }
}

/// A certificate and its key, both PEM. `Debug` shows no key.
#[derive(Clone)]
pub struct KeyPair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair")
    }
}

/// The names under which servers of this platform are reached.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// Host names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

/// All certificates of one platform.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    authority: Authority,
    server: Arc<Issued>,
    admin: Arc<Issued>,
    first_admin: Arc<KeyPair>,
    api_client: Arc<Issued>,
    front_proxy: FrontProxy,
    /// Those of nodes, by the names of their files.
    nodes: Mutex<BTreeMap<String, Arc<Issued>>>,
    accounts: AccountKey,
    /// Counts what was renewed.
    renewals: watch::Sender<u64>,
}

/// Whom aggregated servers believe who it is they answer: an authority for that alone, since whoever has a certificate
/// of it may speak in anybody's name.
#[derive(Debug)]
struct FrontProxy {
    authority: Authority,
    client: Arc<Issued>,
}

impl FrontProxy {
    fn open(dir: &Path, lifetimes: Lifetimes) -> Result<Self, PkiError> {
        let authority = Authority::open(dir, "front-proxy-ca", lifetimes)?;
        let purpose = Purpose::client(FRONT_PROXY_CLIENT, &[]);
        let client = Arc::new(Issued::open(&authority, dir, FRONT_PROXY_CLIENT, purpose)?);
        Ok(Self { authority, client })
    }
}

/// The name in the certificate that aggregated servers are shown, and that of its files.
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";

/// How long to wait at most before looking at certificates again, and at least.
const LOOK: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_millis(500));

impl Pki {
    /// Reads the files of `dir`, making or renewing what is missing or near its end.
    pub fn open(dir: &Path, names: &ServerNames) -> Result<Self> {
        Self::open_with(dir, names, Lifetimes::DEFAULT)
    }

    /// The same with other lifetimes.
    pub fn open_with(dir: &Path, names: &ServerNames, lifetimes: Lifetimes) -> Result<Self> {
        files::make_dir(dir)?;
        let authority = Authority::open(dir, "ca", lifetimes)?;
        let mut dns: Vec<String> = names.dns.clone();
        let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        dns.extend(service.map(str::to_owned));
        dns.extend(["kubernetes.default.svc.cluster.local", "localhost"].map(str::to_owned));
        let mut ips = names.ips.clone();
        ips.push(IpAddr::from([127, 0, 0, 1]));
        let issue = |name: &str, purpose: Purpose| Issued::open(&authority, dir, name, purpose).map(Arc::new);
        let api_client = Purpose::client("kube-apiserver-kubelet-client", &["system:masters"]);
        let admin = issue("admin", Purpose::client("hako-admin", &["system:masters"]))?;
        Ok(Self {
            server: issue("apiserver", Purpose::server("kube-apiserver", &dns, &ips))?,
            first_admin: admin.pair(),
            admin,
            api_client: issue("apiserver-kubelet-client", api_client)?,
            front_proxy: FrontProxy::open(dir, lifetimes)?,
            nodes: Mutex::default(),
            authority,
            accounts: AccountKey::open(dir)?,
            dir: dir.to_owned(),
            renewals: watch::Sender::new(0),
        })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        self.authority.certificate()
    }

    /// What the API server shows to its clients.
    #[must_use]
    pub fn server(&self) -> &Arc<Issued> {
        &self.server
    }

    /// What a person with all rights shows to the API server, as it was when this was opened: good for longer than
    /// any process needs that does not run for weeks.
    #[must_use]
    pub fn admin(&self) -> &KeyPair {
        &self.first_admin
    }

    /// The same as of now.
    #[must_use]
    pub fn admin_now(&self) -> Arc<KeyPair> {
        self.admin.pair()
    }

    /// What the API server shows to nodes.
    #[must_use]
    pub fn api_client(&self) -> Arc<KeyPair> {
        self.api_client.pair()
    }

    /// What the API server shows to aggregated servers, as it is now.
    #[must_use]
    pub fn front_proxy(&self) -> &Arc<Issued> {
        &self.front_proxy.client
    }

    /// The certificate of the authority of that, PEM.
    #[must_use]
    pub fn front_proxy_ca(&self) -> &str {
        self.front_proxy.authority.certificate()
    }

    fn issued(&self) -> Vec<Arc<Issued>> {
        let mut all = vec![Arc::clone(&self.server), Arc::clone(&self.admin), Arc::clone(&self.api_client)];
        all.extend(self.nodes.lock().values().cloned());
        all
    }

    /// Makes those anew that are near their end; answers how many that were. Files come first, then who shows them.
    pub fn renew(&self) -> Result<usize> {
        let FrontProxy { authority, client } = &self.front_proxy;
        let mut renewed = usize::from(client.renew(authority, &self.dir)?);
        for issued in self.issued() {
            renewed += usize::from(issued.renew(&self.authority, &self.dir)?);
        }
        if renewed > 0 {
            self.renewals.send_modify(|count| *count += 1);
        }
        Ok(renewed)
    }

    /// Changes whenever something was renewed.
    #[must_use]
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// Renews for as long as it is polled.
    pub async fn keep_renewed(&self) {
        loop {
            tokio::time::sleep(self.until_due()).await;
            if let Err(error) = self.renew() {
                tracing::warn!(%error, "certificates could not be renewed, trying again");
                tokio::time::sleep(LOOK.1).await;
            }
        }
    }

    fn until_due(&self) -> Duration {
        let mut issued = self.issued();
        issued.push(Arc::clone(&self.front_proxy.client));
        let ends = issued.iter().filter_map(|issued| end_of(&issued.pair().certificate)).min();
        let left = ends.map_or(i64::MAX, |end| end.saturating_sub(Timestamp::now().as_second()));
        let due = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        due.saturating_sub(self.authority.renew_before()).clamp(LOOK.1, LOOK.0)
    }

    /// Where the keys are with which objects are kept sealed.
    #[must_use]
    pub fn sealing_keys(&self) -> PathBuf {
        self.dir.join("sealing.keys")
    }

    /// What signs the tokens of service accounts.
    #[must_use]
    pub fn accounts(&self) -> &AccountKey {
        &self.accounts
    }

    /// What a node shows to the clients of its own HTTPS API, as it is now.
    pub fn node_server(&self, node: &str, ips: &[IpAddr]) -> Result<KeyPair> {
        Ok(KeyPair::clone(&self.node_server_renewed(node, ips)?.pair()))
    }

    /// The same, which is renewed while it is used.
    pub fn node_server_renewed(&self, node: &str, ips: &[IpAddr]) -> Result<Arc<Issued>> {
        let dns = [node.to_owned(), "localhost".to_owned()];
        let mut all = ips.to_vec();
        all.push(IpAddr::from([127, 0, 0, 1]));
        let purpose = Purpose::server(&format!("system:node:{node}"), &dns, &all);
        self.node(&format!("node-{node}-server"), purpose)
    }

    /// What a node in another process shows to the API server. From now on its files are renewed.
    pub fn node_client(&self, node: &str) -> Result<KeyPair> {
        let purpose = Purpose::client(&format!("system:node:{node}"), &["system:nodes"]);
        Ok(KeyPair::clone(&self.node(&format!("node-{node}-client"), purpose)?.pair()))
    }

    fn node(&self, name: &str, purpose: Purpose) -> Result<Arc<Issued>> {
        if let Some(known) = self.nodes.lock().get(name).filter(|known| known.covers(&purpose)) {
            return Ok(Arc::clone(known));
        }
        let issued = Arc::new(Issued::open(&self.authority, &self.dir, name, purpose)?);
        self.nodes.lock().insert(name.to_owned(), Arc::clone(&issued));
        Ok(issued)
    }

    /// Signs a request in PEM for these uses, such as `client auth`, and so many seconds at most: a certificate in PEM.
    pub fn sign_request(&self, request: &str, usages: &[String], seconds: i64) -> Result<String> {
        Ok(self.authority.sign_request(request, usages, seconds)?)
    }

    /// A client certificate for anybody else; not kept in a file.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<KeyPair> {
        Ok(self.authority.sign(&Purpose::client(user, groups))?)
    }
}

#[cfg(test)]
mod tests;

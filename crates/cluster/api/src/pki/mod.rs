//! The built-in certificate authority, the certificates it signs and the kubeconfig that carries one.
//!
//! Owns: the files of `pki/` and their renewal at start. ECDSA P-256 throughout; keys are readable by the
//! owner alone.
//! Does not own: who may do what with a certificate (`auth`).
//!
//! Invariant: the authority's key never leaves its file; a certificate near its end is replaced at start.

mod accounts;
mod authority;
mod files;
mod kubeconfig;
mod requests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hako_error::{Classify, Kind, Result};

pub use accounts::AccountKey;
use authority::{Authority, Purpose};
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
    server: KeyPair,
    admin: KeyPair,
    api_client: KeyPair,
    accounts: AccountKey,
}

impl Pki {
    /// Reads the files of `dir`, making or renewing what is missing or near its end.
    pub fn open(dir: &Path, names: &ServerNames) -> Result<Self> {
        files::make_dir(dir)?;
        let authority = Authority::open(dir)?;
        let mut dns: Vec<String> = names.dns.clone();
        let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        dns.extend(service.map(str::to_owned));
        dns.extend(["kubernetes.default.svc.cluster.local", "localhost"].map(str::to_owned));
        let mut ips = names.ips.clone();
        ips.push(IpAddr::from([127, 0, 0, 1]));
        let server = Purpose::server("kube-apiserver", &dns, &ips);
        let admin = Purpose::client("hako-admin", &["system:masters"]);
        let api_client = Purpose::client("kube-apiserver-kubelet-client", &["system:masters"]);
        Ok(Self {
            server: authority.pair(dir, "apiserver", &server)?,
            admin: authority.pair(dir, "admin", &admin)?,
            api_client: authority.pair(dir, "apiserver-kubelet-client", &api_client)?,
            authority,
            accounts: AccountKey::open(dir)?,
            dir: dir.to_owned(),
        })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        self.authority.certificate()
    }

    /// What the API server shows to its clients.
    #[must_use]
    pub fn server(&self) -> &KeyPair {
        &self.server
    }

    /// What a person with all rights shows to the API server.
    #[must_use]
    pub fn admin(&self) -> &KeyPair {
        &self.admin
    }

    /// What the API server shows to nodes.
    #[must_use]
    pub fn api_client(&self) -> &KeyPair {
        &self.api_client
    }

    /// What signs the tokens of service accounts.
    #[must_use]
    pub fn accounts(&self) -> &AccountKey {
        &self.accounts
    }

    /// What a node shows to the clients of its own HTTPS API.
    pub fn node_server(&self, node: &str, ips: &[IpAddr]) -> Result<KeyPair> {
        let dns = [node.to_owned(), "localhost".to_owned()];
        let mut all = ips.to_vec();
        all.push(IpAddr::from([127, 0, 0, 1]));
        let purpose = Purpose::server(&format!("system:node:{node}"), &dns, &all);
        Ok(self.authority.pair(&self.dir, &format!("node-{node}-server"), &purpose)?)
    }

    /// What a node in another process shows to the API server.
    pub fn node_client(&self, node: &str) -> Result<KeyPair> {
        let purpose = Purpose::client(&format!("system:node:{node}"), &["system:nodes"]);
        Ok(self.authority.pair(&self.dir, &format!("node-{node}-client"), &purpose)?)
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

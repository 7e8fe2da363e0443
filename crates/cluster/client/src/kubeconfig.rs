//! Reading of kubeconfig files: server, authority and client certificate of the current context.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_error::Result;
use serde::Deserialize;

use crate::error::ClientError;

/// The current context of a kubeconfig, files read and base64 undone. Secrets are not shown by `Debug`.
#[derive(Clone)]
pub struct Kubeconfig {
    /// Such as `https://127.0.0.1:6443`.
    pub server: String,
    /// The default namespace of the context.
    pub namespace: Option<String>,
    /// PEM of the authorities that may have signed the server's certificate.
    pub ca: Option<Vec<u8>>,
    /// PEM of the client's certificate and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// A bearer token.
    pub token: Option<String>,
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubeconfig").field("server", &self.server).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    clusters: Vec<Named<ClusterEntry>>,
    #[serde(default)]
    users: Vec<Named<UserEntry>>,
    #[serde(default)]
    contexts: Vec<Named<ContextEntry>>,
    #[serde(default)]
    current_context: String,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    value: T,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ClusterEntry {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UserEntry {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextEntry {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

impl Kubeconfig {
    /// Reads the current context of the file.
    pub fn read(path: &Path) -> Result<Self> {
        let problem = |problem: String| ClientError::Kubeconfig { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        Ok(Self::parse(&text, base).map_err(problem)?)
    }

    /// The current context of a text; files that it names are relative to `base`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        file.resolve(base)
    }
}

impl File {
    fn resolve(self, base: &Path) -> Result<Kubeconfig, String> {
        let context = find(&self.contexts, &self.current_context, "context")?;
        let cluster = find(&self.clusters, &context.cluster, "cluster")?;
        let user = find(&self.users, &context.user, "user")?;
        if cluster.insecure_skip_tls_verify {
            return Err("insecure-skip-tls-verify is not supported; give certificate-authority-data".into());
        }
        let certificate =
            material(user.client_certificate_data.as_deref(), user.client_certificate.as_deref(), base)?;
        let key = material(user.client_key_data.as_deref(), user.client_key.as_deref(), base)?;
        Ok(Kubeconfig {
            server: cluster.server.trim_end_matches('/').to_owned(),
            namespace: context.namespace.clone(),
            ca: material(
                cluster.certificate_authority_data.as_deref(),
                cluster.certificate_authority.as_deref(),
                base,
            )?,
            identity: certificate.zip(key),
            token: user.token.clone(),
        })
    }
}

fn find<'a, T>(entries: &'a [Named<T>], name: &str, what: &str) -> Result<&'a T, String> {
    let entry = entries.iter().find(|entry| entry.name == name);
    entry.map(|entry| &entry.value).ok_or_else(|| format!("{what} {name:?} is not in the file"))
}

/// Data wins over a file, as for kubectl; files are relative to the kubeconfig.
fn material(data: Option<&str>, file: Option<&Path>, base: &Path) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = data {
        return STANDARD.decode(data.trim()).map(Some).map_err(|error| error.to_string());
    }
    let Some(file) = file else { return Ok(None) };
    let path = base.join(file);
    std::fs::read(&path).map(Some).map_err(|error| format!("read {}: {error}", path.display()))
}

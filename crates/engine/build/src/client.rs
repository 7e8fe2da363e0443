//! The one who asks for a build and stays on the line.

use crate::context::Registry;
use crate::request::Secret;
use hako_error::Result;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What a client gives when a build needs it, and not before. Blocking; called from threads that may block.
pub trait Client: Send + Sync {
    /// Brings the files into the request's context directory. Called at most once, when a step wants one of them.
    ///
    /// # Errors
    /// Why they did not come.
    fn context(&self) -> Result<()>;

    /// The secret with that id, if the client has one.
    ///
    /// # Errors
    /// Why the client could not be asked.
    fn secret(&self, id: &str) -> Result<Option<Secret>>;

    /// The socket behind which the client's ssh agent with that id answers, if it lends one.
    ///
    /// # Errors
    /// Why the client could not be asked.
    fn ssh_agent(&self, id: &str) -> Result<Option<PathBuf>>;

    /// Registries as this client may use them; `None` for as the builder does.
    fn registry(&self) -> Option<Arc<dyn Registry>>;
}

/// What a build was given, and whom it asks for the rest.
#[derive(Clone, Default)]
pub(crate) struct Lent {
    pub client: Option<Arc<dyn Client>>,
    pub secrets: std::collections::BTreeMap<String, Secret>,
    pub ssh: std::collections::BTreeMap<String, PathBuf>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("has_client", &self.client.is_some()).finish_non_exhaustive()
    }
}

impl Lent {
    pub(crate) fn secret(&self, id: &str) -> Result<Option<Secret>> {
        match (self.secrets.get(id), &self.client) {
            (Some(secret), _) => Ok(Some(secret.clone())),
            (None, Some(client)) => client.secret(id),
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn ssh_agent(&self, id: &str) -> Result<Option<PathBuf>> {
        match (self.ssh.get(id), &self.client) {
            (Some(agent), _) => Ok(Some(agent.clone())),
            (None, Some(client)) => client.ssh_agent(id),
            (None, None) => Ok(None),
        }
    }
}

//! Identities.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A user and the groups it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub user: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What tells the user apart from an earlier one of that name; empty if nothing does.
    pub uid: String,
    /// What else its credentials say.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// In whose power everything is.
pub(super) const MASTERS: &str = "system:masters";
/// In which all nodes are.
pub(super) const NODES: &str = "system:nodes";
/// Who shows nothing.
pub(super) const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";

impl Identity {
    /// A user in groups.
    #[must_use]
    pub fn new(user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { user: user.to_owned(), groups, uid: String::new(), extra: BTreeMap::new() }
    }

    /// The administrator of this platform.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("hako-admin", &[MASTERS])
    }

    /// A component in this process by its customary user name, such as `system:kube-scheduler`.
    #[must_use]
    pub fn component(user: &str) -> Self {
        Self::new(user, &["system:authenticated"])
    }

    /// A node.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::new(&format!("system:node:{name}"), &[NODES, "system:authenticated"])
    }

    /// A service account.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        let groups = ["system:serviceaccounts", of_namespace.as_str(), "system:authenticated"];
        Self::new(&format!("system:serviceaccount:{namespace}:{name}"), &groups)
    }

    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// The subject of a verified client certificate: CN is the user, each O a group.
    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> =
            subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
        groups.push("system:authenticated".to_owned());
        (!user.is_empty()).then(|| Self { groups, ..Self::new(&user, &[]) })
    }

    /// Whether it is [`Self::anonymous`], which has shown nothing.
    pub(super) fn is_nobody(&self) -> bool {
        self.user == ANONYMOUS
            && matches!(self.groups.as_slice(), [group] if group == UNAUTHENTICATED)
            && self.uid.is_empty()
            && self.extra.is_empty()
    }

    /// Whether it is nobody in particular.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS
    }

    /// Whether everything is in its power.
    pub(crate) fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|name| name == group)
    }

    /// The node this identity is of.
    pub(crate) fn node_name(&self) -> Option<&str> {
        self.user.strip_prefix("system:node:").filter(|_| self.is_in(NODES))
    }
}

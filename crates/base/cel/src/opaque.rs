//! Values of Kubernetes' libraries: addresses, URLs, quantities, versions, formats, authorization checks.

use crate::functions::format_names::NamedFormat;
use hako_names::Quantity;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";
pub(crate) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";

/// Every name above: expressions compare types with them.
pub(crate) const NAMES: &[&str] =
    &[IP, CIDR, URL, QUANTITY, SEMVER, FORMAT, AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION];

/// A value of a library.
#[derive(Clone, Debug)]
pub enum Opaque {
    Ip(IpAddr),
    Cidr(Cidr),
    Url(Arc<Url>),
    Quantity(Quantity),
    /// Build metadata takes no part in comparisons.
    Semver(Arc<semver::Version>),
    Format(&'static NamedFormat),
    Authorizer(Arc<Authorizer>),
    PathCheck(Arc<Check>),
    GroupCheck(Arc<Check>),
    ResourceCheck(Arc<Check>),
    Decision(Arc<Decision>),
}

/// An address with the length of its prefix; bits behind it are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// The parts of a URL: host with port and names unescaped, the path escaped.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    pub(crate) text: String,
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, Vec<String>)>,
}

/// Who may do what; given by the host of an expression.
pub trait Authorize: Send + Sync + std::fmt::Debug {
    /// Decides on one request.
    fn check(&self, request: &Check) -> Decision;
}

/// The subject of an authorization check: the user of the request, or a service account.
#[derive(Debug)]
pub struct Authorizer {
    pub(crate) host: Arc<dyn Authorize>,
    pub(crate) service_account: Option<(String, String)>,
}

/// An authorization check as far as an expression has described it.
#[derive(Debug, Clone)]
pub struct Check {
    pub(crate) authorizer: Arc<Authorizer>,
    /// Namespace and name of the service account, if it is not about the user of the request.
    pub service_account: Option<(String, String)>,
    /// A path, for what is no resource.
    pub path: Option<String>,
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: Option<String>,
    pub label_selector: Option<String>,
}

/// What a request is about, as far as a check of it needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    /// Why there is no decision; then it is not allowed.
    pub error: Option<String>,
}

impl Opaque {
    /// The authorizer that expressions see, deciding through `host`.
    #[must_use]
    pub fn authorizer(host: Arc<dyn Authorize>) -> Self {
        Self::Authorizer(Arc::new(Authorizer { host, service_account: None }))
    }

    /// The check of `about` that expressions see, which lacks only a verb.
    #[must_use]
    pub fn resource_check(host: Arc<dyn Authorize>, about: Resource) -> Self {
        let Resource { group, resource, subresource, namespace, name } = about;
        Self::ResourceCheck(Arc::new(Check {
            authorizer: Arc::new(Authorizer { host, service_account: None }),
            service_account: None,
            path: None,
            verb: String::new(),
            group,
            resource,
            subresource,
            namespace,
            name,
            field_selector: None,
            label_selector: None,
        }))
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Ip(_) => IP,
            Self::Cidr(_) => CIDR,
            Self::Url(_) => URL,
            Self::Quantity(_) => QUANTITY,
            Self::Semver(_) => SEMVER,
            Self::Format(_) => FORMAT,
            Self::Authorizer(_) => AUTHORIZER,
            Self::PathCheck(_) => PATH_CHECK,
            Self::GroupCheck(_) => GROUP_CHECK,
            Self::ResourceCheck(_) => RESOURCE_CHECK,
            Self::Decision(_) => DECISION,
        }
    }

    /// What costs count: octets of addresses, 1 of others.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(IpAddr::V4(_)) | Self::Cidr(Cidr { address: IpAddr::V4(_), .. }) => 4,
            Self::Ip(IpAddr::V6(_)) | Self::Cidr(Cidr { address: IpAddr::V6(_), .. }) => 16,
            _ => 1,
        }
    }
}

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(left), Self::Ip(right)) => left == right,
            (Self::Cidr(left), Self::Cidr(right)) => left == right,
            (Self::Url(left), Self::Url(right)) => left.text == right.text,
            (Self::Quantity(left), Self::Quantity(right)) => left == right,
            (Self::Semver(left), Self::Semver(right)) => left.cmp_precedence(right).is_eq(),
            (Self::Format(left), Self::Format(right)) => left.name == right.name,
            (Self::Authorizer(left), Self::Authorizer(right)) => Arc::ptr_eq(left, right),
            (Self::PathCheck(left), Self::PathCheck(right))
            | (Self::GroupCheck(left), Self::GroupCheck(right))
            | (Self::ResourceCheck(left), Self::ResourceCheck(right)) => Arc::ptr_eq(left, right),
            (Self::Decision(left), Self::Decision(right)) => left == right,
            _ => false,
        }
    }
}

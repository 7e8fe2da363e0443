//! Who may do what: masters all, components and nodes what they are for, anybody the public paths, and all what
//! roles grant them. There is one place where that is asked.

use hako_error::{Error, Kind, Result};

use super::Identity;
use super::identity::MASTERS;
use super::rbac::Index;

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attributes<'a> {
    /// Something of a kind.
    Resource {
        /// `get`, `list`, `create`, …
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// A path outside of the kinds.
    Path { verb: &'a str, path: &'a str },
}

impl<'a> Attributes<'a> {
    /// The same by another verb.
    pub(crate) fn with_verb(self, verb: &'a str) -> Self {
        match self {
            Self::Resource { group, resource, subresource, namespace, name, .. } => {
                Self::Resource { verb, group, resource, subresource, namespace, name }
            }
            Self::Path { path, .. } => Self::Path { verb, path },
        }
    }
}

/// Readable by anybody.
const PUBLIC_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

struct Rule {
    verbs: &'static [&'static str],
    /// `resource` or `resource/subresource`; `*` is any.
    resources: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch"];
const ALL: &[&str] = &["*"];

const SCHEDULER: &[Rule] = &[
    Rule { verbs: READ, resources: ALL },
    Rule { verbs: &["create"], resources: &["pods/binding", "pods/eviction"] },
    Rule { verbs: &["update", "patch"], resources: &["pods/status"] },
    Rule { verbs: &["delete"], resources: &["pods"] },
    Rule { verbs: WRITE, resources: &["events", "leases"] },
];
const PROXY: &[Rule] = &[
    Rule {
        verbs: READ,
        resources: &["services", "endpoints", "endpointslices", "nodes", "pods", "namespaces"],
    },
    Rule { verbs: WRITE, resources: &["events"] },
];
const NODE: &[Rule] = &[
    Rule {
        verbs: READ,
        resources: &[
            "services",
            "endpoints",
            "endpointslices",
            "namespaces",
            "csidrivers",
            "runtimeclasses",
            "leases",
            "events",
        ],
    },
    Rule { verbs: WRITE, resources: &["pods/status", "leases", "events"] },
    Rule { verbs: &["delete"], resources: &["pods"] },
    Rule { verbs: &["create"], resources: &["pods/eviction", "nodes"] },
];
/// A node's own Node object, and nobody else's.
const OWN_NODE: &[Rule] = &[
    Rule { verbs: READ, resources: &["nodes"] },
    Rule { verbs: &["update", "patch", "delete"], resources: &["nodes", "nodes/status"] },
];

/// Refuses what neither a fixed rule nor a role allows.
pub(crate) fn authorize(rbac: &Index, identity: &Identity, wanted: Attributes<'_>) -> Result<()> {
    if is_allowed(rbac, identity, wanted) { Ok(()) } else { Err(forbidden(identity, wanted, None)) }
}

/// Whether a fixed rule or a role allows it.
pub(crate) fn is_allowed(rbac: &Index, identity: &Identity, wanted: Attributes<'_>) -> bool {
    let is_fixed = match wanted {
        _ if identity.is_in(MASTERS) => true,
        Attributes::Path { verb, path } => is_path_allowed(verb, path),
        Attributes::Resource { verb, resource, subresource, name, .. } => {
            is_resource_allowed(identity, verb, resource, subresource, name)
        }
    };
    is_fixed || rbac.allows(identity, wanted)
}

fn is_path_allowed(verb: &str, path: &str) -> bool {
    let of = |public: &&str| {
        path.strip_prefix(*public).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    verb == "get" && PUBLIC_PATHS.iter().any(of)
}

fn is_resource_allowed(
    identity: &Identity,
    verb: &str,
    resource: &str,
    subresource: &str,
    name: &str,
) -> bool {
    let any = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(verb, resource, subresource));
    if let Some(node) = identity.node_name() {
        return any(NODE) || name == node && any(OWN_NODE);
    }
    match identity.user.as_str() {
        "system:kube-controller-manager" => true,
        "system:kube-scheduler" => any(SCHEDULER),
        "system:kube-proxy" => any(PROXY),
        _ => false,
    }
}

impl Rule {
    fn allows(&self, verb: &str, resource: &str, subresource: &str) -> bool {
        let is_it = |pattern: &&str| match pattern.split_once('/') {
            _ if *pattern == "*" => true,
            Some((of, part)) => of == resource && part == subresource,
            None => *pattern == resource && subresource.is_empty(),
        };
        self.verbs.contains(&verb) && self.resources.iter().any(is_it)
    }
}

/// The refusal that clients know, with a reason where there is one.
pub(super) fn forbidden(identity: &Identity, wanted: Attributes<'_>, why: Option<&str>) -> Error {
    let user = &identity.user;
    let text = match wanted {
        Attributes::Path { verb, path } => format!("forbidden: User {user:?} cannot {verb} path {path:?}"),
        Attributes::Resource { verb, group, resource, subresource, namespace, name } => {
            let qualified =
                if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            let object = if name.is_empty() { qualified } else { format!("{qualified} {name:?}") };
            let what = if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            format!(
                "{object} is forbidden: User {user:?} cannot {verb} resource {what:?} in API group {group:?} {place}"
            )
        }
    };
    let why = why.filter(|why| !why.is_empty()).map(|why| format!(": {why}"));
    Error::new(Kind::Forbidden, text + &why.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(identity: &Identity, verb: &str, resource: &str, subresource: &str, name: &str) -> Result<()> {
        let namespace = if resource == "nodes" { "" } else { "default" };
        let wanted = Attributes::Resource { verb, group: "", resource, subresource, namespace, name };
        authorize(&Index::default(), identity, wanted)
    }

    #[test]
    fn nodes_write_their_own_node_and_pod_status_only() {
        let node = Identity::node("a");
        assert!(ask(&node, "patch", "nodes", "status", "a").is_ok());
        assert!(ask(&node, "patch", "nodes", "status", "b").is_err());
        assert!(ask(&node, "update", "pods", "status", "p").is_ok());
        assert!(ask(&node, "update", "pods", "", "p").is_err());
        assert!(ask(&node, "create", "secrets", "", "").is_err());
        assert!(ask(&node, "get", "nodes", "", "a").is_ok() && ask(&node, "watch", "nodes", "", "a").is_ok());
        assert!(ask(&node, "get", "nodes", "", "b").is_err() && ask(&node, "list", "nodes", "", "").is_err());
    }

    #[test]
    fn refusals_are_worded_as_clients_know_them() {
        let error = ask(&Identity::new("jane", &[]), "list", "pods", "", "").unwrap_err();
        let text = "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \
                    \"default\"";
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Forbidden, text));
    }

    #[test]
    fn anonymous_sees_health_and_version_only() {
        let nobody = Identity::anonymous();
        let get = |path| authorize(&Index::default(), &nobody, Attributes::Path { verb: "get", path });
        assert!(get("/healthz").is_ok() && get("/readyz/etcd").is_ok() && get("/version").is_ok());
        assert!(get("/metrics").is_err() && get("/healthzz").is_err() && get("/api").is_err());
        assert!(ask(&nobody, "get", "pods", "", "p").is_err());
        assert!(ask(&Identity::admin(), "delete", "pods", "", "p").is_ok());
    }
}

//! The policy: how much of which requests is recorded. `audit.k8s.io/v1` `Policy`, as kube-apiserver reads it.

use std::path::Path;

use serde::Deserialize;

use super::AuditError;
use crate::auth::Identity;
use crate::http::{Info, ResourceInfo};

/// How much is recorded of a request; each more than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

/// When something is recorded of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Level {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

impl Stage {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Policy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What is recorded of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub level: Level,
    pub omitted: Vec<Stage>,
    pub omits_managed_fields: bool,
}

/// What keeps secrets in its bodies: of these a body is recorded only where a rule names them.
const SECRET: [(&str, &str); 3] =
    [("", "secrets"), ("", "serviceaccounts/token"), ("authentication.k8s.io", "tokenreviews")];

impl Policy {
    pub(super) fn load(path: &Path) -> Result<Self, AuditError> {
        let shown = path.display().to_string();
        let text = std::fs::read(path).map_err(|source| AuditError::Read { path: shown.clone(), source })?;
        let bad = |problem: String| AuditError::Policy { path: shown.clone(), problem };
        let policy: Self = serde_saphyr::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if (policy.api_version.as_str(), policy.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            let given = format!("{} {}", policy.api_version, policy.kind);
            return Err(bad(format!("it is no audit.k8s.io/v1 Policy but {given:?}")));
        }
        let faults = policy.faults();
        if faults.is_empty() { Ok(policy) } else { Err(bad(faults.join("; "))) }
    }

    /// Who asked for what and when of everything, and no bodies.
    pub(super) fn metadata() -> Self {
        let rules = vec![Rule { level: Level::Metadata, ..Rule::default() }];
        Self { rules, omit_stages: vec![Stage::RequestReceived], ..Self::default() }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.rules.is_empty() {
            faults.push("rules: there are none, so nothing would be recorded".to_owned());
        }
        for (place, rule) in self.rules.iter().enumerate() {
            let is_about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if is_about_resources && !rule.non_resource_urls.is_empty() {
                faults.push(format!(
                    "rules[{place}]: a rule is about resources or about other paths, not about both"
                ));
            }
            for url in &rule.non_resource_urls {
                let start = url.strip_suffix('*').unwrap_or(url);
                if url != "*" && (!url.starts_with('/') || start.contains('*')) {
                    faults.push(format!(
                        "rules[{place}].nonResourceURLs: {url:?} is no path that may end in '*'"
                    ));
                }
            }
        }
        faults
    }

    /// What the first rule says that a request matches; nothing is recorded if there is none.
    pub(super) fn choose(&self, identity: &Identity, info: &Info<'_>) -> Choice {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(identity, info)) else {
            return Choice::default();
        };
        let is_secret = info.resource.is_some_and(|resource| is_secret(&resource) && !rule.names(&resource));
        Choice {
            level: if is_secret { rule.level.min(Level::Metadata) } else { rule.level },
            omitted: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omits_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

fn is_secret(resource: &ResourceInfo<'_>) -> bool {
    let combined = combined(resource);
    SECRET.iter().any(|(group, plural)| *group == resource.group && *plural == combined)
}

fn combined(resource: &ResourceInfo<'_>) -> String {
    match resource.subresource {
        "" => resource.resource.to_owned(),
        part => format!("{}/{part}", resource.resource),
    }
}

impl Rule {
    fn matches(&self, identity: &Identity, info: &Info<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|one| one == wanted);
        let is_in_group = self.user_groups.is_empty()
            || self.user_groups.iter().any(|group| identity.groups.contains(group));
        has(&self.users, &identity.user) && is_in_group && has(&self.verbs, info.verb) && self.is_about(info)
    }

    fn is_about(&self, info: &Info<'_>) -> bool {
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.resource.is_some_and(|resource| self.is_about_resource(&resource));
        }
        self.non_resource_urls.is_empty()
            || info.resource.is_none() && self.non_resource_urls.iter().any(|url| is_url(url, info.path))
    }

    fn is_about_resource(&self, resource: &ResourceInfo<'_>) -> bool {
        if !self.namespaces.is_empty() && !self.namespaces.iter().any(|one| one == resource.namespace) {
            return false;
        }
        self.resources.is_empty() || self.resources.iter().any(|of| of.matches(resource))
    }

    /// Whether it means a resource by its name.
    fn names(&self, resource: &ResourceInfo<'_>) -> bool {
        let combined = combined(resource);
        self.resources.iter().any(|of| of.group == resource.group && of.resources.contains(&combined))
    }
}

impl GroupResources {
    fn matches(&self, wanted: &ResourceInfo<'_>) -> bool {
        let is_named =
            self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == wanted.name);
        let is_it = |named: &String| {
            named == "*"
                || match named.split_once('/') {
                    Some(("*", part)) => part == wanted.subresource && !part.is_empty(),
                    Some((of, "*")) => of == wanted.resource,
                    Some((of, part)) => of == wanted.resource && part == wanted.subresource,
                    None => named == wanted.resource && wanted.subresource.is_empty(),
                }
        };
        self.group == wanted.group
            && (self.resources.is_empty() || is_named && self.resources.iter().any(is_it))
    }
}

fn is_url(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Policy {
        serde_saphyr::from_str(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}"))
            .unwrap()
    }

    fn level(policy: &Policy, user: &str, verb: &'static str, place: &str) -> Level {
        let parts: Vec<&str> = place.split(' ').collect();
        let [group, namespace, resource, name, subresource] = parts[..] else { panic!("{place}") };
        let of = |part: &'static str| if part == "-" { "" } else { part };
        let leak = |part: &str| -> &'static str { of(Box::leak(part.to_owned().into_boxed_str())) };
        let resource = ResourceInfo {
            group: leak(group),
            version: "v1",
            namespace: leak(namespace),
            resource: leak(resource),
            name: leak(name),
            subresource: leak(subresource),
        };
        let info = Info { verb, path: "", resource: Some(resource) };
        policy.choose(&Identity::new(user, &["g"]), &info).level
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let policy = policy(
            "- {level: None, users: [robot], verbs: [watch]}\n\
             - {level: Request, resources: [{group: apps, resources: [deployments, '*/scale']}]}\n\
             - {level: RequestResponse, namespaces: [prod], resources: [{group: '', resources: [pods]}]}\n\
             - {level: Metadata, userGroups: [g]}\n",
        );
        assert_eq!(level(&policy, "robot", "watch", "- prod pods - -"), Level::None);
        assert_eq!(level(&policy, "jane", "watch", "- prod pods - -"), Level::RequestResponse);
        assert_eq!(level(&policy, "jane", "get", "- prod pods p log"), Level::Metadata);
        assert_eq!(level(&policy, "jane", "get", "- test pods p -"), Level::Metadata);
        assert_eq!(level(&policy, "jane", "update", "apps a deployments d -"), Level::Request);
        assert_eq!(level(&policy, "jane", "update", "apps a statefulsets s scale"), Level::Request);
        assert_eq!(level(&policy, "jane", "update", "apps a statefulsets s -"), Level::Metadata);
    }

    #[test]
    fn bodies_of_secrets_are_recorded_only_where_a_rule_names_secrets() {
        let all = policy("- {level: RequestResponse}\n");
        assert_eq!(level(&all, "jane", "get", "- a secrets s -"), Level::Metadata);
        assert_eq!(level(&all, "jane", "create", "- a serviceaccounts s token"), Level::Metadata);
        assert_eq!(level(&all, "jane", "create", "- a configmaps c -"), Level::RequestResponse);
        let star = policy("- {level: Request, resources: [{group: '', resources: ['*']}]}\n");
        assert_eq!(level(&star, "jane", "get", "- a secrets s -"), Level::Metadata);
        let named = policy("- {level: Request, resources: [{group: '', resources: [secrets]}]}\n");
        assert_eq!(level(&named, "jane", "get", "- a secrets s -"), Level::Request);
    }

    #[test]
    fn other_paths_are_matched_by_their_beginning() {
        let policy = policy("- {level: Metadata, nonResourceURLs: ['/healthz*', /version]}\n");
        let level = |path| {
            let info = Info { verb: "get", path, resource: None };
            policy.choose(&Identity::new("jane", &[]), &info).level
        };
        assert_eq!((level("/healthz/etcd"), level("/version")), (Level::Metadata, Level::Metadata));
        assert_eq!((level("/versions"), level("/metrics")), (Level::None, Level::None));
    }

    #[test]
    fn what_a_policy_gets_wrong_is_told_at_once() {
        let policy = policy("- {level: Metadata, nonResourceURLs: [x, '/a*b'], namespaces: [a]}\n");
        assert_eq!(policy.faults().len(), 3);
        assert_eq!(Policy::default().faults().len(), 1);
    }
}

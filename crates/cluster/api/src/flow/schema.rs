//! A flow schema: which requests it is about, and what tells their flows apart.

use serde::Deserialize;

use crate::auth::Identity;
use crate::http::{Info, ResourceInfo};

/// The spec, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SchemaSpec {
    pub priority_level_configuration: Reference,
    pub matching_precedence: u32,
    pub distinguisher_method: Option<Distinguisher>,
    pub rules: Vec<Rules>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reference {
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Distinguisher {
    ByUser,
    ByNamespace,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rules {
    subjects: Vec<Subject>,
    resource_rules: Vec<ResourceRule>,
    non_resource_rules: Vec<PathRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subject {
    user: Option<Reference>,
    group: Option<Reference>,
    service_account: Option<Account>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    namespace: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PathRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    urls: Vec<String>,
}

impl SchemaSpec {
    pub(super) fn matches(&self, identity: &Identity, info: &Info<'_>) -> bool {
        self.rules.iter().any(|rules| rules.matches(identity, info))
    }

    /// What tells the request's flow from others of this schema.
    pub(super) fn distinguisher<'a>(&self, identity: &'a Identity, info: &Info<'a>) -> &'a str {
        match self.distinguisher_method {
            None => "",
            Some(Distinguisher::ByUser) => &identity.user,
            Some(Distinguisher::ByNamespace) => info.resource.map_or("", |resource| resource.namespace),
        }
    }
}

impl Rules {
    fn matches(&self, identity: &Identity, info: &Info<'_>) -> bool {
        self.subjects.iter().any(|subject| subject.matches(identity))
            && match &info.resource {
                Some(resource) => self.resource_rules.iter().any(|rule| rule.matches(info.verb, resource)),
                None => self.non_resource_rules.iter().any(|rule| rule.matches(info.verb, info.path)),
            }
    }
}

impl Subject {
    fn matches(&self, identity: &Identity) -> bool {
        let is_user = |user: &Reference| user.name == "*" || user.name == identity.user;
        let is_in = |group: &Reference| group.name == "*" || identity.groups.contains(&group.name);
        self.user.as_ref().is_some_and(is_user)
            || self.group.as_ref().is_some_and(is_in)
            || self.service_account.as_ref().is_some_and(|account| account.matches(&identity.user))
    }
}

impl Account {
    fn matches(&self, user: &str) -> bool {
        let name = user
            .strip_prefix("system:serviceaccount:")
            .and_then(|rest| rest.strip_prefix(&*self.namespace)?.strip_prefix(':'));
        name.is_some_and(|name| self.name == "*" || self.name == name)
    }
}

impl ResourceRule {
    fn matches(&self, verb: &str, resource: &ResourceInfo<'_>) -> bool {
        let in_place = match resource.namespace {
            "" => self.cluster_scope,
            namespace => has(&self.namespaces, namespace),
        };
        in_place
            && has(&self.verbs, verb)
            && has(&self.api_groups, resource.group)
            && self.resources.iter().any(|named| is_resource(named, resource))
    }
}

fn is_resource(named: &str, resource: &ResourceInfo<'_>) -> bool {
    match named.split_once('/') {
        _ if named == "*" => true,
        Some((of, part)) => of == resource.resource && part == resource.subresource,
        None => named == resource.resource && resource.subresource.is_empty(),
    }
}

impl PathRule {
    fn matches(&self, verb: &str, path: &str) -> bool {
        let is_url = |url: &String| match url.strip_suffix("/*") {
            _ if url == "*" || url == path => true,
            Some(parent) => path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')),
            None => false,
        };
        has(&self.verbs, verb) && self.urls.iter().any(is_url)
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn schema(rules: Value) -> SchemaSpec {
        serde_json::from_value(json!({"matchingPrecedence": 1, "rules": [rules]})).unwrap()
    }

    fn of<'a>(verb: &'static str, namespace: &'a str, resource: &'a str, subresource: &'a str) -> Info<'a> {
        let resource = ResourceInfo { namespace, resource, subresource, ..ResourceInfo::default() };
        Info { verb, path: "", resource: Some(resource) }
    }

    #[test]
    fn subjects_are_users_groups_and_accounts_or_all_of_these() {
        let any = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
        let info = Info { verb: "get", path: "/x", resource: None };
        let is = |subject: Value, identity: &Identity| {
            schema(json!({"subjects": [subject], "nonResourceRules": any.clone()})).matches(identity, &info)
        };
        let jane = Identity::new("jane", &["ops"]);
        assert!(is(json!({"kind": "User", "user": {"name": "jane"}}), &jane));
        assert!(!is(json!({"kind": "User", "user": {"name": "joe"}}), &jane));
        assert!(is(json!({"kind": "User", "user": {"name": "*"}}), &jane));
        assert!(is(json!({"kind": "Group", "group": {"name": "ops"}}), &jane));
        assert!(!is(json!({"kind": "Group", "group": {"name": "jane"}}), &jane));
        let account = Identity::service_account("kube-system", "x");
        let named = |namespace, name| json!({"serviceAccount": {"namespace": namespace, "name": name}});
        assert!(is(named("kube-system", "*"), &account) && is(named("kube-system", "x"), &account));
        assert!(!is(named("kube", "*"), &account) && !is(named("kube-system", "y"), &account));
    }

    #[test]
    fn rules_are_about_verbs_resources_and_places() {
        let all = json!([{"kind": "User", "user": {"name": "*"}}]);
        let rule = |rule: Value| schema(json!({"subjects": all.clone(), "resourceRules": [rule]}));
        let jane = Identity::new("jane", &[]);
        let pods =
            rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]}));
        assert!(pods.matches(&jane, &of("get", "a", "pods", "")));
        assert!(!pods.matches(&jane, &of("list", "a", "pods", "")));
        assert!(!pods.matches(&jane, &of("get", "b", "pods", "")));
        assert!(!pods.matches(&jane, &of("get", "", "pods", "")), "no namespace is the scope of the cluster");
        assert!(!pods.matches(&jane, &of("get", "a", "pods", "log")));
        let nodes = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["nodes/status"],
            "clusterScope": true}));
        assert!(nodes.matches(&jane, &of("patch", "", "nodes", "status")));
        assert!(!nodes.matches(&jane, &of("patch", "", "nodes", "")));
    }

    #[test]
    fn paths_are_matched_whole_or_below_a_star() {
        let all = json!([{"kind": "User", "user": {"name": "*"}}]);
        let urls = ["/healthz", "/openapi/*"];
        let rules =
            json!({"subjects": all, "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": urls}]});
        let schema = schema(rules);
        let is =
            |path| schema.matches(&Identity::new("jane", &[]), &Info { verb: "get", path, resource: None });
        assert!(is("/healthz") && is("/openapi/v3"));
        assert!(!is("/healthz/etcd") && !is("/openapi") && !is("/openapis/x"));
    }

    #[test]
    fn flows_are_told_apart_by_user_or_namespace() {
        let method = |method: &str| -> SchemaSpec {
            serde_json::from_value(json!({"distinguisherMethod": {"type": method}})).unwrap()
        };
        let (jane, info) = (Identity::new("jane", &[]), of("get", "a", "pods", ""));
        assert_eq!(method("ByUser").distinguisher(&jane, &info), "jane");
        assert_eq!(method("ByNamespace").distinguisher(&jane, &info), "a");
        assert_eq!(SchemaSpec::default().distinguisher(&jane, &info), "");
    }
}

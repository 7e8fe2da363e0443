//! Nobody grants what they do not have: RBAC authorization, "Privilege escalation prevention and bootstrapping".

use std::collections::{BTreeSet, HashMap};

use hako_error::{Error, Kind};
use hako_kube::status::{self, Subject};
use serde_json::Value;

use crate::auth::rbac::{Rule, uncovered};
use crate::auth::{Attributes, Identity, is_allowed};
use crate::http::{Failure, Outcome};
use crate::kinds::{self, Name};
use crate::resource::{Target, head_value, registry_key};
use crate::server::Inner;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A role that a write gives rules to, or gives to somebody.
struct Given {
    /// `escalate` or `bind`: who may do that with the role need not have its rules.
    verb: &'static str,
    plural: Name,
    name: String,
    /// None where there is no such role.
    rules: Option<Vec<Rule>>,
}

/// Refuses a role with more than its writer may do, and a binding to such a role, unless the writer may `escalate` or
/// `bind` that role.
pub(crate) async fn may_grant(
    server: &Inner,
    identity: &Identity,
    target: &Target,
    object: &Value,
    old: Option<&Value>,
) -> Outcome<()> {
    if target.row.group != GROUP {
        return Ok(());
    }
    let Some(given) = given(server, target, object, old).await? else { return Ok(()) };
    let index = server.rbac.read();
    let wanted = Attributes::Resource {
        verb: given.verb,
        group: GROUP,
        resource: &given.plural,
        subresource: "",
        namespace: &target.namespace,
        name: &given.name,
    };
    if is_allowed(&index, identity, wanted) {
        return Ok(());
    }
    let Some(rules) = given.rules else {
        let role =
            Subject { group: GROUP.to_owned(), resource: given.plural.into_owned(), ..Subject::default() };
        let role = Subject { name: given.name, ..role };
        return Err(Failure::about(&status::not_found(&role), &role));
    };
    let owned: Vec<Rule> = index.rules(identity, &target.namespace).cloned().collect();
    let missing = uncovered(&owned, &rules);
    if missing.is_empty() { Ok(()) } else { Err(refusal(identity, target, &missing)) }
}

async fn given(
    server: &Inner,
    target: &Target,
    object: &Value,
    old: Option<&Value>,
) -> Outcome<Option<Given>> {
    let is_same = |name: &str| old.is_some_and(|old| old.get(name) == object.get(name));
    if matches!(&*target.row.kind, "Role" | "ClusterRole") {
        let is_unchanged = is_same("rules") && is_same("aggregationRule");
        return Ok((!is_unchanged).then(|| Given {
            verb: "escalate",
            plural: target.row.plural.clone(),
            name: head_value(object, "name").to_owned(),
            rules: Some(granted(object)),
        }));
    }
    if is_same("subjects") && is_same("roleRef") {
        return Ok(None);
    }
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    let name = text("/roleRef/name");
    let (plural, namespace) = match text("/roleRef/kind").as_str() {
        "Role" => ("roles", target.namespace.as_str()),
        _ => ("clusterroles", ""),
    };
    // From the store, not from the index: the role may have been made a moment ago.
    let rules = match kinds::by_resource(GROUP, "v1", plural) {
        Some(row) => server.config.store.get(&registry_key(row, namespace, &name)).await?.entry,
        None => None,
    };
    let rules = rules.and_then(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
    let rules = rules.map(|role| rules_of(&role));
    Ok(Some(Given { verb: "bind", plural: plural.into(), name, rules }))
}

/// What a role grants; one that is summed up from others may come to grant anything.
fn granted(object: &Value) -> Vec<Rule> {
    let any = vec!["*".to_owned()];
    if object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        let (verbs, api_groups, resources) = (any.clone(), any.clone(), any.clone());
        return vec![
            Rule { verbs, api_groups, resources, ..Rule::default() },
            Rule { verbs: any.clone(), non_resource_urls: any, ..Rule::default() },
        ];
    }
    rules_of(object)
}

fn rules_of(role: &Value) -> Vec<Rule> {
    serde_json::from_value(role.get("rules").cloned().unwrap_or_default()).unwrap_or_default()
}

fn refusal(identity: &Identity, target: &Target, missing: &[Rule]) -> Failure {
    let subject = target.subject();
    let lines: BTreeSet<String> = compact(missing).iter().map(show).collect();
    let text = format!(
        "{} {:?} is forbidden: user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        subject.group_resource(),
        subject.name,
        identity.user,
        quoted(&identity.groups),
        lines.into_iter().collect::<Vec<_>>().join("\n")
    );
    Failure::about(&Error::new(Kind::Forbidden, text), &subject)
}

/// Verbs of one resource together, where nothing else is said of it.
fn compact(missing: &[Rule]) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for rule in missing {
        let ([group], [resource], []) =
            (rule.api_groups.as_slice(), rule.resources.as_slice(), rule.resource_names.as_slice())
        else {
            all.push(rule.clone());
            continue;
        };
        let place = *places.entry((group, resource)).or_insert_with(|| {
            all.push(Rule { verbs: Vec::new(), ..rule.clone() });
            all.len() - 1
        });
        all[place].verbs.extend(rule.verbs.iter().cloned());
    }
    all
}

fn show(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let shown = parts.iter().filter(|(_, list)| !list.is_empty());
    let shown: Vec<String> = shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
    format!("{{{}}}", shown.join(", "))
}

/// As upstream shows a list of texts.
fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

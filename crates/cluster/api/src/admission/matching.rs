//! Which requests a webhook, a policy or a binding is about: rules, and selectors of objects and of namespaces
//! (`apiserver/pkg/admission/plugin/webhook/predicates`).

use std::collections::BTreeMap;

use hako_kube::status::{self, Subject};
use hako_kube::{GroupVersionResource, LabelSelector, Selector};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::attributes::{Attributes, Matched};
use super::plugin::{Change, Operation};
use crate::http::{Failure, Outcome};

/// What a request has to be like.
#[derive(Debug)]
pub(super) struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether no rules are about nothing; else they are about everything.
    needs_rule: bool,
    /// Whether other versions of what is written count.
    is_equivalent: bool,
    namespaces: Option<Selector>,
    objects: Option<Selector>,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and part.
    resources: Vec<(String, String)>,
    scope: String,
    /// All if there are none.
    names: Vec<String>,
}

/// What is there besides the object, read at most once for all who ask.
pub(super) struct Around<'a> {
    change: &'a Change<'a>,
    namespace: OnceCell<Value>,
}

impl Criteria {
    /// Of a webhook.
    pub(super) fn of_webhook(hook: &Value) -> Self {
        Self { rules: rules(hook, "rules"), needs_rule: true, ..Self::selecting(hook) }
    }

    /// Of the `matchConstraints` of a policy, or the `matchResources` of a binding, which may be missing.
    pub(super) fn of_resources(resources: Option<&Value>) -> Self {
        let resources = resources.unwrap_or(&Value::Null);
        let excluded = rules(resources, "excludeResourceRules");
        Self { rules: rules(resources, "resourceRules"), excluded, ..Self::selecting(resources) }
    }

    fn selecting(owner: &Value) -> Self {
        Self {
            rules: Vec::new(),
            excluded: Vec::new(),
            needs_rule: false,
            is_equivalent: owner.get("matchPolicy").is_none_or(|policy| policy == "Equivalent"),
            namespaces: selector(owner.get("namespaceSelector")),
            objects: selector(owner.get("objectSelector")),
        }
    }

    /// As what the request is meant, if it is.
    ///
    /// # Errors
    /// 404 where the labels of its namespace matter and there is no such namespace.
    pub(super) async fn matched(
        &self,
        attributes: &Attributes<'_>,
        around: &Around<'_>,
    ) -> Outcome<Option<Matched>> {
        if self.first(&self.excluded, attributes).is_some() {
            return Ok(None);
        }
        let is_about_all = self.rules.is_empty() && !self.needs_rule;
        let matched =
            if is_about_all { Some(attributes.as_asked()) } else { self.first(&self.rules, attributes) };
        if matched.is_none() || !self.selects_object(attributes) {
            return Ok(None);
        }
        if let Some(selector) = &self.namespaces
            && !around.is_selected(attributes, selector).await?
        {
            return Ok(None);
        }
        Ok(matched)
    }

    /// As what the first of the rules takes the request: as it is rather than in another version.
    fn first(&self, rules: &[Rule], attributes: &Attributes<'_>) -> Option<Matched> {
        if rules.is_empty() {
            return None;
        }
        let own = attributes.as_asked();
        if rules.iter().any(|rule| rule.is_about(attributes, &own.named.resource)) {
            return Some(own);
        }
        if !self.is_equivalent {
            return None;
        }
        let others = attributes.equivalents();
        let of = |rule: &Rule| others.iter().find(|other| rule.is_about(attributes, &other.named.resource));
        rules.iter().find_map(of).cloned()
    }

    /// The labels of what is written or of what it was: who takes a label off does not escape by that.
    fn selects_object(&self, attributes: &Attributes<'_>) -> bool {
        let Some(selector) = &self.objects else { return true };
        let either = [attributes.object, attributes.change.old];
        either.into_iter().flatten().any(|object| selector.matches(&labels(object)))
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let split = |text: String| match text.split_once('/') {
            Some((resource, part)) => (resource.to_owned(), part.to_owned()),
            None => (text, String::new()),
        };
        Self {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources").into_iter().map(split).collect(),
            scope: rule.get("scope").and_then(Value::as_str).unwrap_or("*").to_owned(),
            names: texts(rule, "resourceNames"),
        }
    }

    fn is_about(&self, attributes: &Attributes<'_>, resource: &GroupVersionResource) -> bool {
        let change = attributes.change;
        let is_in = |list: &[String], text: &str| list.iter().any(|one| one == "*" || one == text);
        let is_resource = |(of, part): &(String, String)| {
            (of == "*" || *of == resource.resource) && (part == "*" || part == change.part)
        };
        self.is_in_scope(attributes)
            && is_in(&self.operations, change.operation.name())
            && is_in(&self.groups, &resource.group)
            && is_in(&self.versions, &resource.version)
            && self.resources.iter().any(is_resource)
            && (self.names.is_empty() || self.names.contains(&change.target.name))
    }

    /// A namespace is no object in a namespace, though it counts as one of its own.
    fn is_in_scope(&self, attributes: &Attributes<'_>) -> bool {
        let is_cluster_wide = attributes.namespace().is_empty() || attributes.change.is_of("", "namespaces");
        match self.scope.as_str() {
            "Namespaced" => !is_cluster_wide,
            "Cluster" => is_cluster_wide,
            _ => true,
        }
    }
}

impl<'a> Around<'a> {
    pub(super) fn of(change: &'a Change<'a>) -> Self {
        Self { change, namespace: OnceCell::new() }
    }

    /// The namespace of what is written; nothing if that is cluster-wide.
    pub(super) async fn namespace(&self, attributes: &Attributes<'_>) -> Outcome<Option<&Value>> {
        let is_cluster_wide = attributes.namespace().is_empty() || attributes.change.is_of("", "namespaces");
        if is_cluster_wide { Ok(None) } else { self.stored(attributes.namespace()).await.map(Some) }
    }

    async fn stored(&self, name: &str) -> Outcome<&Value> {
        let read = async {
            let found = self.change.find("", "namespaces", "", name).await?;
            found.ok_or_else(|| {
                let subject = Subject {
                    resource: "namespaces".to_owned(),
                    kind: "Namespace".to_owned(),
                    name: name.to_owned(),
                    ..Subject::default()
                };
                Failure::about(&status::not_found(&subject), &subject)
            })
        };
        self.namespace.get_or_try_init(|| read).await
    }

    async fn is_selected(&self, attributes: &Attributes<'_>, selector: &Selector) -> Outcome<bool> {
        let change = attributes.change;
        let is_namespace = change.is_of("", "namespaces");
        if attributes.namespace().is_empty() {
            return Ok(true);
        }
        if is_namespace && change.part.is_empty() && change.operation != Operation::Delete {
            return Ok(attributes.object.is_some_and(|object| selector.matches(&labels(object))));
        }
        Ok(selector.matches(&labels(self.stored(attributes.namespace()).await?)))
    }
}

fn rules(owner: &Value, list: &str) -> Vec<Rule> {
    owner.get(list).and_then(Value::as_array).into_iter().flatten().map(Rule::read).collect()
}

/// Nothing if it selects everything.
fn selector(selector: Option<&Value>) -> Option<Selector> {
    let selector: LabelSelector = serde_json::from_value(selector?.clone()).ok()?;
    // Selectors are checked when they are written.
    let selector = selector.selector().unwrap_or_else(|_| Selector::nothing());
    (!selector.is_everything()).then_some(selector)
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(text).collect()
}

pub(super) fn texts(owner: &Value, list: &str) -> Vec<String> {
    let list = owner.get(list).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

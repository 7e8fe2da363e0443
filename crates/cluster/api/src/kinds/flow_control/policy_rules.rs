//! Which requests a flow schema is about: by whom, and for what.

use super::{Faults, Place};
use hako_kube::{field, names};

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
/// The kinds of subjects and their members.
const SUBJECTS: [(&str, &str); 3] =
    [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
const NAMESPACES: &str = "each member of this list must be '*' or a DNS-1123 label; ";

/// All faults of one rule.
pub(super) fn validate(rule: &Place<'_>, faults: &mut Faults) {
    let subjects = rule.at(&["subjects"]);
    if subjects.is_empty() {
        faults.push(subjects.required("subjects must contain at least one value"));
    }
    subjects.items().for_each(|it| subject(&it, faults));
    let (resources, others) = (rule.at(&["resourceRules"]), rule.at(&["nonResourceRules"]));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        faults.push(rule.required(detail));
    }
    resources.items().for_each(|it| resource_rule(&it, faults));
    others.items().for_each(|it| path_rule(&it, faults));
}

fn subject(subject: &Place<'_>, faults: &mut Faults) {
    let kind = subject.at(&["kind"]);
    if !SUBJECTS.iter().any(|(known, _)| *known == kind.text()) {
        faults.push(kind.not_supported(&["Group", "ServiceAccount", "User"]));
        return;
    }
    for (of, member) in SUBJECTS {
        let place = subject.at(&[member]);
        match (of == kind.text(), place.is_set()) {
            (true, false) => {
                faults.push(place.required(&format!("{member} is required when subject kind is '{of}'")));
            }
            (false, true) => {
                let detail = format!("{member} is forbidden when subject kind is not '{of}'");
                faults.push(place.forbidden(&detail));
            }
            (true, true) => named(&place, of, faults),
            (false, false) => {}
        }
    }
}

fn named(subject: &Place<'_>, kind: &str, faults: &mut Faults) {
    let (name, namespace) = (subject.at(&["name"]), subject.at(&["namespace"]));
    if name.is_empty() {
        faults.push(name.required(""));
    }
    if kind != "ServiceAccount" {
        return;
    }
    if name.text() != "*" {
        name.check_given(names::dns_subdomain, faults);
    }
    if namespace.is_empty() {
        faults.push(namespace.required("must specify namespace for service account"));
    } else {
        namespace.check(names::dns_label, faults);
    }
}

/// At least one, and nothing beside the one that means all; whether it is that one.
fn some(list: &Place<'_>, missing: &str, what: &str, faults: &mut Faults) -> bool {
    let texts = list.texts();
    if texts.is_empty() {
        faults.push(list.required(missing));
    } else if texts.len() > 1 && texts.contains(&"*") {
        faults.push(list.invalid(&format!("if '*' is present, must not specify other {what}")));
    }
    texts.contains(&"*")
}

fn verbs(rule: &Place<'_>, faults: &mut Faults) {
    let verbs = rule.at(&["verbs"]);
    let is_all = some(&verbs, "verbs must contain at least one value", "verbs", faults);
    if !is_all && verbs.texts().iter().any(|verb| !VERBS.contains(verb)) {
        faults.push(verbs.not_supported(VERBS));
    }
}

fn resource_rule(rule: &Place<'_>, faults: &mut Faults) {
    verbs(rule, faults);
    let groups = "resource rules must supply at least one api group";
    some(&rule.at(&["apiGroups"]), groups, "api groups", faults);
    let resources = "resource rules must supply at least one resource";
    some(&rule.at(&["resources"]), resources, "resources", faults);
    let namespaces = rule.at(&["namespaces"]);
    if namespaces.is_empty() && rule.at(&["clusterScope"]).is_true() {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    if some(&namespaces, missing, "namespaces", faults) {
        return;
    }
    for namespace in namespaces.items() {
        let found = names::dns_label(namespace.text());
        faults.extend(found.iter().map(|fault| namespace.invalid(&format!("{NAMESPACES}{fault}"))));
    }
}

fn path_rule(rule: &Place<'_>, faults: &mut Faults) {
    verbs(rule, faults);
    let paths = rule.at(&["nonResourceURLs"]);
    let missing = "nonResourceURLs must contain at least one value";
    if some(&paths, missing, "non-resource URLs", faults) {
        return;
    }
    for path in paths.items() {
        if let Some(fault) = path_fault(path.text()) {
            faults.push(field::invalid(path.path(), path.text(), fault));
        }
    }
}

fn path_fault(path: &str) -> Option<&'static str> {
    let stars = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || stars == 1 && !path.ends_with("/*") => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

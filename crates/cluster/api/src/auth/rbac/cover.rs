//! Whether what one has covers what one wants to give: nobody grants more than they may do.

use super::rule::{Rule, is_url};

/// The parts of `wanted` that no rule of `owned` covers, each with one verb and one resource or path.
pub(crate) fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted.iter().flat_map(parts).filter(|part| !owned.iter().any(|rule| covers(rule, part))).collect()
}

/// A rule taken apart, so that several rules may cover it together.
fn parts(rule: &Rule) -> Vec<Rule> {
    let mut all = Vec::new();
    for verb in &rule.verbs {
        let verbs = vec![verb.clone()];
        for url in &rule.non_resource_urls {
            let non_resource_urls = vec![url.clone()];
            all.push(Rule { verbs: verbs.clone(), non_resource_urls, ..Rule::default() });
        }
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let part = Rule {
                    verbs: verbs.clone(),
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    all.push(part);
                    continue;
                }
                let named = |name: &String| Rule { resource_names: vec![name.clone()], ..part.clone() };
                all.extend(rule.resource_names.iter().map(named));
            }
        }
    }
    all
}

fn covers(rule: &Rule, part: &Rule) -> bool {
    let is_in = |list: &[String], wanted: &[String]| {
        wanted.iter().all(|one| list.iter().any(|have| have == "*" || have == one))
    };
    let has_names = rule.resource_names.is_empty()
        || (!part.resource_names.is_empty()
            && part.resource_names.iter().all(|name| rule.resource_names.contains(name)));
    let has_resource = |wanted: &String| {
        rule.resources.iter().any(|have| {
            have == "*"
                || have == wanted
                || have.strip_prefix("*/").is_some_and(|part| {
                    wanted.split_once('/').is_some_and(|(_, wanted_part)| wanted_part == part)
                })
        })
    };
    let has_url = |wanted: &String| rule.non_resource_urls.iter().any(|have| is_url(have, wanted));
    is_in(&rule.verbs, &part.verbs)
        && is_in(&rule.api_groups, &part.api_groups)
        && part.resources.iter().all(has_resource)
        && (part.resources.is_empty() || has_names)
        && part.non_resource_urls.iter().all(has_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules(list: Value) -> Vec<Rule> {
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn several_rules_cover_one_together() {
        let owned = rules(json!([
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["list"], "apiGroups": ["*"], "resources": ["pods", "*/scale"]},
        ]));
        let wanted = rules(json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]));
        assert!(uncovered(&owned, &wanted).is_empty());
        let wanted = rules(json!([{"verbs": ["list"], "apiGroups": ["apps"], "resources": ["x/scale"]}]));
        assert!(uncovered(&owned, &wanted).is_empty());
    }

    #[test]
    fn a_rule_for_names_does_not_cover_one_for_all() {
        let owned = rules(
            json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]),
        );
        let all = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]));
        assert_eq!(uncovered(&owned, &all).len(), 1);
        let named = rules(
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"]}]),
        );
        assert_eq!(uncovered(&owned, &named)[0].resource_names, ["b"]);
    }

    #[test]
    fn a_star_is_covered_by_a_star_alone() {
        let owned = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}]));
        let star = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["*"]}]));
        assert_eq!(uncovered(&owned, &star).len(), 1);
        let urls = rules(json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz/x", "/metrics"]}]));
        assert_eq!(uncovered(&owned, &urls)[0].non_resource_urls, ["/metrics"]);
    }
}

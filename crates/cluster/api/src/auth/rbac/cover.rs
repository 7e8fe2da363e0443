//! Whether what one has covers what one wants to give: nobody grants more than they may do.
//!
//! A rule is a product of lists, whose parts may be billions: it is not taken apart. Members of a list that the same rules of
//! the owner have are one class, and what is compared are classes, of which somebody with few rules makes few.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::rule::Rule;

/// Comparisons of classes with each other, and of paths with patterns. What is not compared is not covered.
const STEPS_MAX: u64 = 1 << 20;
/// Bytes of the parts that are told.
const TOLD_MAX: usize = 1 << 20;

/// The parts of `wanted` that no rule of `owned` covers, each with one verb and one resource or path; the first ones if
/// they are very many.
pub(crate) fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut comparison = Comparison::default();
    comparison.run(&Owned::of(owned), wanted);
    comparison.missing.sort_unstable_by_key(|part| part.place);
    comparison.missing.iter().map(Part::rule).collect()
}

/// Which of the owner's rules, a bit each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn meet(sets: &[&Self]) -> bool {
        let Some((first, others)) = sets.split_first() else { return false };
        let word = |at: usize| others.iter().fold(first.0[at], |word, set| word & set.0[at]);
        (0..first.0.len()).any(|at| word(at) != 0)
    }
}

/// What the rules of the owner say in one of their lists: rules by member.
struct Said<'a> {
    /// Those that mean everything.
    all: Bits,
    exact: HashMap<&'a str, Vec<usize>>,
    /// `*/part`: the part of any resource.
    parts: HashMap<&'a str, Vec<usize>>,
    /// `/path*`: what begins so.
    starts: Vec<(&'a str, usize)>,
}

/// The owner's rules, list by list.
struct Owned<'a> {
    verbs: Said<'a>,
    groups: Said<'a>,
    resources: Said<'a>,
    names: Said<'a>,
    urls: Said<'a>,
}

impl<'a> Owned<'a> {
    fn of(rules: &'a [Rule]) -> Self {
        let said = || Said {
            all: Bits::none(rules.len()),
            exact: HashMap::new(),
            parts: HashMap::new(),
            starts: Vec::new(),
        };
        let mut owned =
            Self { verbs: said(), groups: said(), resources: said(), names: said(), urls: said() };
        for (at, rule) in rules.iter().enumerate() {
            rule.verbs.iter().for_each(|verb| owned.verbs.member(verb, at));
            rule.api_groups.iter().for_each(|group| owned.groups.member(group, at));
            for resource in &rule.resources {
                owned.resources.member(resource, at);
                if let Some(part) = resource.strip_prefix("*/") {
                    owned.resources.parts.entry(part).or_default().push(at);
                }
            }
            if rule.resource_names.is_empty() {
                owned.names.all.set(at);
            }
            rule.resource_names.iter().for_each(|name| owned.names.exactly(name, at));
            for url in &rule.non_resource_urls {
                match url.strip_suffix('*') {
                    Some(start) => owned.urls.starts.push((start, at)),
                    None => owned.urls.exactly(url, at),
                }
            }
        }
        owned
    }
}

impl<'a> Said<'a> {
    fn member(&mut self, member: &'a str, at: usize) {
        if member == "*" { self.all.set(at) } else { self.exactly(member, at) }
    }

    fn exactly(&mut self, member: &'a str, at: usize) {
        self.exact.entry(member).or_default().push(at);
    }

    /// The rules that have a member.
    fn having(&self, member: &str, steps: &mut u64) -> Bits {
        let mut bits = self.all.clone();
        let part = member.split_once('/').and_then(|(_, part)| self.parts.get(part));
        let found = self.exact.get(member).into_iter().chain(part).flatten();
        found.for_each(|at| bits.set(*at));
        *steps += 1 + self.starts.len() as u64;
        if *steps <= STEPS_MAX {
            let begins = self.starts.iter().filter(|(start, _)| member.starts_with(start));
            begins.for_each(|(_, at)| bits.set(*at));
        }
        bits
    }
}

/// Members of a list, with their places in it, that the same rules of the owner have.
struct Class<'a> {
    had_by: Bits,
    members: Vec<(usize, &'a str)>,
}

fn classes<'a>(list: &'a [String], said: &Said<'_>, steps: &mut u64) -> Vec<Class<'a>> {
    let (mut all, mut places, mut seen) = (Vec::<Class<'a>>::new(), HashMap::new(), HashMap::new());
    for (at, member) in list.iter().enumerate() {
        if let Entry::Vacant(new) = seen.entry(member.as_str()) {
            new.insert(at);
            let had_by = said.having(member, steps);
            let place = *places.entry(had_by.clone()).or_insert_with(|| {
                all.push(Class { had_by, members: Vec::new() });
                all.len() - 1
            });
            all[place].members.push((at, member.as_str()));
        }
    }
    all
}

/// One verb of one resource or path.
struct Part<'a> {
    /// Of the rule, and of the members in its lists: the order in which parts are told.
    place: [usize; 5],
    verb: &'a str,
    /// A group, a resource, and a name of one or empty.
    resource: Option<(&'a str, &'a str, Option<&'a str>)>,
    url: Option<&'a str>,
}

impl Part<'_> {
    fn rule(&self) -> Rule {
        let list = |member: Option<&str>| member.map(str::to_owned).into_iter().collect();
        Rule {
            verbs: list(Some(self.verb)),
            api_groups: list(self.resource.map(|(group, ..)| group)),
            resources: list(self.resource.map(|(_, resource, _)| resource)),
            resource_names: list(self.resource.and_then(|(.., name)| name)),
            non_resource_urls: list(self.url),
        }
    }

    fn bytes(&self) -> usize {
        let resource = self
            .resource
            .map_or(0, |(group, resource, name)| group.len() + resource.len() + name.map_or(0, str::len));
        size_of::<Rule>() + self.verb.len() + resource + self.url.map_or(0, str::len)
    }
}

/// What has been found, and what that has taken.
#[derive(Default)]
struct Comparison<'a> {
    missing: Vec<Part<'a>>,
    told: usize,
    steps: u64,
}

impl<'a> Comparison<'a> {
    fn run(&mut self, owned: &Owned<'_>, wanted: &'a [Rule]) {
        for (at, rule) in wanted.iter().enumerate() {
            if self.is_full() {
                return;
            }
            let verbs = classes(&rule.verbs, &owned.verbs, &mut self.steps);
            let urls = classes(&rule.non_resource_urls, &owned.urls, &mut self.steps);
            for (verb, url) in pairs(&verbs, &urls) {
                if self.is_full() {
                    return;
                }
                if self.lacks(&[&verb.had_by, &url.had_by]) {
                    self.tell_urls(at, verb, url);
                }
            }
            let groups = classes(&rule.api_groups, &owned.groups, &mut self.steps);
            let resources = classes(&rule.resources, &owned.resources, &mut self.steps);
            let names = match rule.resource_names.as_slice() {
                // Only who may have all may give all.
                [] => vec![Class { had_by: owned.names.all.clone(), members: Vec::new() }],
                list => classes(list, &owned.names, &mut self.steps),
            };
            for (group, resource) in pairs(&groups, &resources) {
                for (verb, name) in pairs(&verbs, &names) {
                    if self.is_full() {
                        return;
                    }
                    if self.lacks(&[&group.had_by, &resource.had_by, &verb.had_by, &name.had_by]) {
                        self.tell_resources(at, [group, resource, verb, name]);
                    }
                }
            }
        }
    }

    /// Whether no rule has them all.
    fn lacks(&mut self, classes: &[&Bits]) -> bool {
        self.steps += 1;
        self.steps > STEPS_MAX || !Bits::meet(classes)
    }

    /// Tells of one more part; whether there is room for another one.
    fn tell(&mut self, part: Part<'a>) -> bool {
        self.told += part.bytes();
        self.missing.push(part);
        !self.is_full()
    }

    const fn is_full(&self) -> bool {
        self.told >= TOLD_MAX
    }

    fn tell_urls(&mut self, rule: usize, verbs: &Class<'a>, urls: &Class<'a>) {
        for &(url_at, url) in &urls.members {
            for &(verb_at, verb) in &verbs.members {
                let place = [rule, 0, url_at, verb_at, 0];
                if !self.tell(Part { place, verb, resource: None, url: Some(url) }) {
                    return;
                }
            }
        }
    }

    fn tell_resources(&mut self, rule: usize, [groups, resources, verbs, names]: [&Class<'a>; 4]) {
        let each: Vec<(usize, Option<&'a str>)> = match names.members.as_slice() {
            [] => vec![(0, None)],
            members => members.iter().map(|(at, name)| (*at, Some(*name))).collect(),
        };
        for &(group_at, group) in &groups.members {
            for &(resource_at, resource) in &resources.members {
                for &(verb_at, verb) in &verbs.members {
                    for &(name_at, name) in &each {
                        // After the paths of the rule.
                        let place = [rule, 1 + group_at, resource_at, verb_at, name_at];
                        let resource = Some((group, resource, name));
                        if !self.tell(Part { place, verb, resource, url: None }) {
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn pairs<'c, 'a>(
    one: &'c [Class<'a>],
    other: &'c [Class<'a>],
) -> impl Iterator<Item = (&'c Class<'a>, &'c Class<'a>)> {
    one.iter().flat_map(move |first| other.iter().map(move |second| (first, second)))
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

    #[test]
    fn parts_are_told_one_by_one_in_the_order_of_the_rule() {
        let wanted = rules(
            json!([{"verbs": ["get", "list", "get"], "apiGroups": ["", "apps"], "resources": ["a", "b"]}]),
        );
        let owned = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["*"]}]));
        let told: Vec<String> = uncovered(&owned, &wanted)
            .iter()
            .map(|rule| format!("{}/{} {}", rule.api_groups[0], rule.resources[0], rule.verbs[0]))
            .collect();
        assert_eq!(told, ["/a list", "/b list", "apps/a get", "apps/a list", "apps/b get", "apps/b list"]);
    }

    /// The work of a comparison, and the parts that are told.
    fn work(owned: &[Rule], wanted: &[Rule]) -> (u64, usize, usize) {
        let mut comparison = Comparison::default();
        comparison.run(&Owned::of(owned), wanted);
        (comparison.steps, comparison.missing.len(), comparison.told)
    }

    fn many(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|at| format!("{prefix}{at}")).collect()
    }

    /// Lists whose product is a hundred billions.
    fn product(count: usize) -> Rule {
        Rule {
            verbs: many("v", count),
            api_groups: many("g", count),
            resources: many("r", count),
            resource_names: many("n", count),
            non_resource_urls: many("/u", count),
        }
    }

    #[test]
    fn the_work_grows_with_the_lists_and_not_with_their_product() {
        let stars = rules(json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]}]));
        let some = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]));
        for count in [100, 1000, 10_000] {
            let wanted = [product(count)];
            let (steps, missing, _) = work(&stars, &wanted);
            assert!(missing == 0 && steps <= 10 * count as u64, "{count}: {steps}");
            let (steps, missing, told) = work(&some, &wanted);
            assert!(missing > 0 && steps <= 10 * count as u64, "{count}: {steps}");
            assert!(told < 2 * TOLD_MAX, "{told}");
            assert_eq!(work(&wanted, &wanted).1, 0);
        }
    }

    #[test]
    fn what_would_take_too_long_to_compare_is_not_covered() {
        // A thousand rules for one verb each of a group each: as many classes as there are verbs and groups.
        let one = |at: usize| Rule {
            verbs: vec![format!("v{at}")],
            api_groups: vec![format!("g{at}")],
            resources: vec![format!("r{at}")],
            ..Rule::default()
        };
        let owned: Vec<Rule> = (0..1000).map(one).collect();
        let wanted = [Rule { resource_names: Vec::new(), non_resource_urls: Vec::new(), ..product(1000) }];
        let (steps, missing, told) = work(&owned, &wanted);
        assert!(missing > 0 && steps <= STEPS_MAX + 10_000 && told < 2 * TOLD_MAX, "{steps}");
        // Patterns of paths are compared one by one.
        let pattern = |at: usize| Rule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: vec![format!("/u{at}/*")],
            ..Rule::default()
        };
        let owned: Vec<Rule> = (0..10_000).map(pattern).collect();
        let wanted = [Rule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: many("/u1/", 10_000),
            ..Rule::default()
        }];
        assert!(work(&owned, &wanted).1 > 0);
    }

    #[test]
    fn long_names_are_not_copied_for_each_part() {
        let wanted =
            [Rule { resources: vec!["r".repeat(1 << 20)], non_resource_urls: Vec::new(), ..product(1000) }];
        let (_, missing, told) = work(&[], &wanted);
        assert!(missing == 1 && told < 3 * TOLD_MAX, "{missing}, {told}");
    }
}

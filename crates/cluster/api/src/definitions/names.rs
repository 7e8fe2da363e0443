//! Whose a name is: in a group no two kinds share one. Who has a name keeps it; of those who wish for it the first one
//! that is looked at gets it.

use std::collections::{BTreeMap, HashSet};

use super::known::One;
use crate::kinds::{Kinds, Names};

/// Names that are taken in a group.
#[derive(Default)]
struct Taken {
    /// Plurals, singulars and short names.
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

/// Decides for all definitions which of the names they wish for are theirs.
pub(super) fn settle(all: &mut BTreeMap<String, One>) {
    let names: Vec<String> = all.keys().cloned().collect();
    for name in names {
        let Some(one) = all.get(&name).filter(|one| !one.has_all_names()) else { continue };
        let taken = taken(all, &name, &one.definition.group);
        let (accepted, conflict) = decide(&one.definition.names, &one.accepted, &taken);
        if let Some(one) = all.get_mut(&name) {
            one.accept(accepted, conflict);
        }
    }
}

/// What others have in a group.
fn taken(all: &BTreeMap<String, One>, but: &str, group: &str) -> Taken {
    let mut taken = Taken::default();
    let others = all.iter().filter(|(name, one)| *name != but && one.definition.group == group);
    for (_, one) in others {
        let Names { plural, singular, short_names, kind, list_kind, .. } = &one.accepted;
        taken.resources.extend([plural, singular].into_iter().chain(short_names).cloned());
        taken.kinds.extend([kind, list_kind].map(String::clone));
    }
    for row in Kinds::built_in().all().iter().filter(|row| row.group == group) {
        let resources = [&row.plural, &row.singular].into_iter().chain(&row.short_names);
        taken.resources.extend(resources.map(ToString::to_string));
        taken.kinds.extend([&row.kind, &row.list_kind].map(ToString::to_string));
    }
    taken
}

/// The names that are accepted now, and the last conflict there is.
fn decide(wanted: &Names, had: &Names, taken: &Taken) -> (Names, Option<(&'static str, String)>) {
    let mut names = had.clone();
    let mut conflict = None;
    let mut take = |place: &mut String, wanted: &String, taken: &HashSet<String>, reason| {
        if wanted != place && taken.contains(wanted) {
            conflict = Some((reason, in_use(wanted)));
        } else {
            place.clone_from(wanted);
        }
    };
    take(&mut names.plural, &wanted.plural, &taken.resources, "PluralConflict");
    take(&mut names.singular, &wanted.singular, &taken.resources, "SingularConflict");
    let is_lost = |name: &&String| !had.short_names.contains(name) && taken.resources.contains(*name);
    let lost: Vec<String> = wanted.short_names.iter().filter(is_lost).map(|name| in_use(name)).collect();
    if lost.is_empty() {
        names.short_names.clone_from(&wanted.short_names);
    }
    take(&mut names.kind, &wanted.kind, &taken.kinds, "KindConflict");
    take(&mut names.list_kind, &wanted.list_kind, &taken.kinds, "ListKindConflict");
    if let [first, ..] = lost.as_slice()
        && conflict.is_none()
    {
        let message = if lost.len() == 1 { first.clone() } else { format!("[{}]", lost.join(", ")) };
        conflict = Some(("ShortNamesConflict", message));
    }
    names.categories.clone_from(&wanted.categories);
    (names, conflict)
}

fn in_use(name: &str) -> String {
    format!("{name:?} is already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: &str, short: &[&str]) -> Names {
        let lower = kind.to_lowercase();
        Names {
            plural: format!("{lower}s"),
            singular: lower,
            short_names: short.iter().map(|name| (*name).to_owned()).collect(),
            kind: kind.to_owned(),
            list_kind: format!("{kind}List"),
            categories: vec!["all".to_owned()],
        }
    }

    fn taken(resources: &[&str], kinds: &[&str]) -> Taken {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Taken { resources: of(resources), kinds: of(kinds) }
    }

    #[test]
    fn free_names_are_taken_and_names_of_others_are_not() {
        let wanted = names("Tab", &["t", "ta"]);
        assert_eq!(decide(&wanted, &Names::default(), &taken(&["other"], &[])), (wanted.clone(), None));
        for (resources, kinds, reason, name) in [
            (&["tabs"][..], &[][..], "PluralConflict", "tabs"),
            (&["tab"], &[], "SingularConflict", "tab"),
            (&["ta"], &[], "ShortNamesConflict", "ta"),
            (&[], &["Tab"], "KindConflict", "Tab"),
            (&[], &["TabList"], "ListKindConflict", "TabList"),
        ] {
            let (accepted, conflict) = decide(&wanted, &Names::default(), &taken(resources, kinds));
            assert_eq!(conflict, Some((reason, format!("{name:?} is already in use"))));
            assert_ne!(accepted, wanted);
            assert_eq!(accepted.categories, wanted.categories);
        }
    }

    #[test]
    fn who_has_a_name_keeps_it_and_keeps_the_old_one_where_the_new_is_taken() {
        let had = names("Tab", &["t"]);
        assert_eq!(decide(&had, &had, &taken(&["tabs", "t"], &["Tab"])), (had.clone(), None));
        let wanted = names("Tab", &["t", "u", "w"]);
        let (accepted, conflict) = decide(&wanted, &had, &taken(&["u", "w"], &[]));
        let message = r#"["u" is already in use, "w" is already in use]"#;
        assert_eq!(conflict, Some(("ShortNamesConflict", message.to_owned())));
        assert_eq!(accepted, had);
    }
}

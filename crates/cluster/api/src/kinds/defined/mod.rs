//! Kinds that CustomResourceDefinitions define.
//!
//! Owns: what a definition says ([`Definition`]), and the strategy of the kinds that come of it, one for each served
//! version: pruning, defaults, checks, columns, what is published, and in what form objects are kept.
//! Does not own: the definition as an object (`custom_resource`), and which definitions are in effect (`definitions`).
//!
//! Invariant: objects are kept in the one version that the definition says. What of a schema is needed to serve objects
//! is compiled when the first one is asked for.

mod columns;
mod compiled;
mod converter;
mod definition;
mod embedded;
mod integers;
mod json_path;
mod kept;
mod publish;
mod shape;
mod strategy;
#[cfg(test)]
mod tests;

pub(crate) use converter::{Converter, ReviewForm};
pub(crate) use definition::{Definition, Names};

use super::row::{PART_VERBS, Scope};
use super::served::{self, Name, Part, Served};
use super::write_rules::WriteRules;
use definition::Version;
use std::sync::Arc;
use strategy::Defined;

/// The kinds that are served of a definition, under the names that were accepted; the newest version first.
pub(crate) fn served(definition: &Arc<Definition>, names: &Names, is_ending: bool) -> Vec<Served> {
    let versions = definition.versions.iter().enumerate().filter(|(_, version)| version.is_served);
    versions.map(|(place, version)| of_version(definition, place, version, names, is_ending)).collect()
}

/// The kind in the form in which objects are kept, under the names wished for, though it may not be served.
pub(crate) fn kept(definition: &Arc<Definition>) -> Served {
    let version = &definition.versions[definition.storage];
    of_version(definition, definition.storage, version, &definition.names, true)
}

/// The kinds of a stored definition, if all the names it wishes for are its own.
///
/// # Errors
/// [`hako_error::Kind::DataLoss`] if it is no definition.
pub fn of_definition(stored: &bytes::Bytes) -> Result<Vec<Served>, hako_error::Error> {
    let definition = Arc::new(Definition::read(stored)?);
    Ok(served(&definition, &definition.names, false))
}

fn of_version(
    definition: &Arc<Definition>,
    place: usize,
    version: &Version,
    names: &Names,
    is_ending: bool,
) -> Served {
    let own = |list: &[String]| list.iter().cloned().map(Name::from).collect();
    let of_kind = served::Names {
        group: definition.group.clone().into(),
        version: version.name.clone().into(),
        kind: names.kind.clone().into(),
        list_kind: names.list_kind.clone().into(),
        plural: names.plural.clone().into(),
        singular: names.singular.clone().into(),
    };
    let scope = if definition.is_namespaced { Scope::Namespaced } else { Scope::Cluster };
    let strategy = Box::new(Defined { definition: Arc::clone(definition), place });
    Served {
        short_names: own(&names.short_names),
        categories: own(&names.categories),
        subresources: parts(definition, version, names),
        type_name: type_name(&definition.group, &version.name, &names.kind).into(),
        columns: columns::headings(version),
        selectable_fields: own(&version.selectable_names),
        knows_its_fields: true,
        is_kept: place == definition.storage,
        is_ending,
        deprecation: version.deprecation(&definition.group, &names.kind),
        edition: version.edition.clone(),
        write_rules: WriteRules { needs_version: true, refuses_unknown: false, ..WriteRules::MOST },
        ..Served::new(of_kind, scope, strategy)
    }
}

fn parts(definition: &Definition, version: &Version, names: &Names) -> Vec<Part> {
    let own = || (definition.group.clone().into(), version.name.clone().into(), names.kind.clone().into());
    let mut parts = Vec::new();
    if version.has_status {
        let (group, version, kind) = own();
        parts.push(Part { name: "status", group, version, kind, verbs: PART_VERBS });
    }
    if version.scale.is_some() {
        parts.push(Part {
            name: "scale",
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: PART_VERBS,
        });
    }
    parts
}

/// The name of a type in OpenAPI: the group from its end, the version, the kind.
fn type_name(group: &str, version: &str, kind: &str) -> String {
    let parts: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", parts.join("."))
}

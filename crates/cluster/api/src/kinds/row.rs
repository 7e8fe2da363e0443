//! What a row of the table declares, and the checks that every kind shares.

use super::addresses;
use super::columns::Column;
use super::meta;
use crate::auth::Identity;
use hako_kube::GroupVersion;
use hako_kube::field::Faults;
use jiff::Timestamp;
use serde_json::Value;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One of a name per namespace.
    Namespaced,
    /// One of a name in all.
    Cluster,
}

/// A part of an object with its own path and verbs.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// The name in the path, such as `status`.
    pub name: &'static str,
    /// The group of the kind that is exchanged.
    pub group: &'static str,
    /// The version of the kind that is exchanged.
    pub version: &'static str,
    /// The kind that is exchanged, such as `Scale`.
    pub kind: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
}

/// A kind of the program itself, as it is declared. The functions take the whole object as JSON.
#[derive(Clone, Copy, Debug)]
pub struct KindRow {
    /// The API group, empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The name in paths.
    pub plural: &'static str,
    /// The name for one object.
    pub singular: &'static str,
    /// Abbreviations that kubectl accepts.
    pub short_names: &'static [&'static str],
    /// Sets of kinds that kubectl accepts, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// Parts with their own path.
    pub subresources: &'static [Subresource],
    /// The name of the type in the schema model and in OpenAPI.
    pub type_name: &'static str,
    /// The columns of a table.
    pub columns: &'static [Column],
    /// One object's cells, one for each column.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// What is wrong with a name, nothing if it is sound.
    pub name_faults: fn(&str) -> Vec<String>,
    /// Fills in what the writer left out; idempotent.
    pub default: fn(&mut Value),
    /// What is wrong with an object, whatever it was before.
    pub validate: fn(&Value) -> Faults,
    /// What is wrong with a new object, though it would be sound in one that is there.
    pub validate_create: fn(&Value) -> Faults,
    /// What is wrong with the change from `old` (second) to `new` (first); [`Self::validate`] is separate.
    pub validate_update: fn(&Value, &Value) -> Faults,
    /// What is allowed in a new object (first), or in one that was `old` (second), and is most likely not meant.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Removes what a creator may not set (status) and sets the generation.
    pub prepare_create: fn(&mut Value),
    /// Keeps from `old` (second) what an update may not change (status), and counts the generation.
    pub prepare_update: fn(&mut Value, &Value),
    /// Keeps from `old` (second) what a change through a part may not touch: all but the status.
    pub prepare_part: fn(&mut Value, &Value, &PartWrite<'_>),
    /// What is wrong with the change from `old` (second) to `new` (first) when made through a part.
    pub validate_part: fn(&Value, &Value, &PartWrite<'_>) -> Faults,
    /// What objects can be selected by besides `metadata.name` and `metadata.namespace`: field and value.
    pub selectable: fn(&Value) -> Vec<(&'static str, String)>,
    /// The names of the fields [`Self::selectable`] yields.
    pub selectable_fields: &'static [&'static str],
    /// The form in which objects are kept, where it is another one.
    pub stored: Option<Stored>,
    /// Notes in a new object who made it.
    pub note_sender: fn(&mut Value, &Identity),
    /// Notes in an object that its deletion has begun.
    pub begin_deletion: fn(&mut Value),
    /// Since when the version is on its way out, and what takes its place, as whoever uses it is told.
    pub deprecated: Option<&'static str>,
    /// Whether objects are kept sealed: nobody reads them from a disk, from etcd or from a backup without the keys.
    pub is_sealed: bool,
    /// What creating an object asks, where nothing is kept of it.
    pub question: Option<Question>,
}

/// What a kind asks whose objects are answered, or carried out, and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// May the one named in the object do something?
    SubjectAccess,
    /// May the sender?
    SelfAccess,
    /// What may the sender do in a namespace?
    SelfRules,
    /// Who is the sender?
    SelfSubject,
    /// Whose token is it?
    Token,
    /// Is the pod to run on that node? It is from then on.
    Binding,
    /// How are the parts of the cluster?
    Components,
}

/// A change made through a part of an object.
#[derive(Clone, Copy, Debug)]
pub struct PartWrite<'a> {
    /// The name of the subresource.
    pub name: &'a str,
    /// When, for what notes since when it holds.
    pub now: &'a str,
}

/// The form in which objects of a kind with several versions or groups are kept.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// The group of the form kept.
    pub group: &'static str,
    /// The version of the form kept.
    pub version: &'static str,
    /// From the form kept to that of the row.
    pub read: fn(&mut Value),
    /// From the form of the row to that kept.
    pub write: fn(&mut Value),
}

/// The verbs of a kind that is stored like any other.
pub(super) const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a subresource that is read and written in place.
pub(super) const PART_VERBS: &[&str] = &["get", "patch", "update"];
/// The verbs that HTTP's methods stand for.
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

impl Subresource {
    /// The `status` of a kind.
    pub(super) const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        Self { name: "status", group, version, kind, verbs: PART_VERBS }
    }

    /// The way to what an object of a core kind serves.
    pub(super) const fn proxy(kind: &'static str) -> Self {
        Self { name: "proxy", group: "", version: "v1", kind, verbs: PROXY_VERBS }
    }

    /// The `scale` of a kind.
    pub(super) const SCALE: Self =
        Self { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: PART_VERBS };
}

impl KindRow {
    /// A namespaced kind without status, columns or rules: rows override what differs.
    pub(super) const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL_VERBS,
        subresources: &[],
        type_name: "",
        columns: &[Column::NAME, Column::AGE],
        cells: super::columns::name_and_age,
        name_faults: hako_kube::names::dns_subdomain,
        default: meta::nothing,
        validate: meta::any,
        validate_create: meta::any,
        validate_update: meta::any_change,
        warnings: |_, _| Vec::new(),
        prepare_create: meta::no_generation,
        prepare_update: meta::keep_nothing,
        prepare_part: meta::keep_all_but_the_part,
        validate_part: meta::any_part,
        selectable: meta::not_selectable,
        selectable_fields: &[],
        stored: None,
        note_sender: |_, _| {},
        begin_deletion: meta::nothing,
        question: None,
        deprecated: None,
        is_sealed: false,
    };

    /// What objects write as `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> String {
        GroupVersion::new(self.group, self.version).to_string()
    }

    /// Whether objects live in namespaces.
    #[must_use]
    pub const fn is_namespaced(&self) -> bool {
        matches!(self.scope, Scope::Namespaced)
    }

    /// From the form in which an object is kept to that of this row.
    pub(super) fn read_stored(&self, object: &mut Value) {
        if let Some(stored) = self.stored {
            (stored.read)(object);
            self.set_type(object, &self.api_version());
        }
    }

    /// From the form of this row to that in which an object is kept.
    pub(super) fn write_stored(&self, object: &mut Value) {
        if let Some(stored) = self.stored {
            (stored.write)(object);
            self.set_type(object, &GroupVersion::new(stored.group, stored.version).to_string());
        }
    }

    fn set_type(&self, object: &mut Value, api_version: &str) {
        if let Some(map) = object.as_object_mut() {
            map.insert("apiVersion".to_owned(), api_version.into());
            map.insert("kind".to_owned(), self.kind.into());
        }
    }

    fn check_metadata(&self, object: &Value) -> Faults {
        let rules = meta::Rules {
            is_namespaced: self.is_namespaced(),
            name_faults: self.name_faults,
            are_finalizers_qualified: !matches!(
                self.group,
                "apiextensions.k8s.io" | "apiregistration.k8s.io"
            ),
        };
        meta::validate(object, rules)
    }

    /// All faults of a new object, its name (already generated) and metadata included.
    #[must_use]
    pub fn check_create(&self, object: &Value) -> Faults {
        let mut causes = self.check_metadata(object);
        causes.extend((self.validate_create)(object));
        causes.extend((self.validate)(object));
        causes
    }

    /// All faults of a changed object and of the change.
    #[must_use]
    pub fn check_update(&self, new: &Value, old: &Value) -> Faults {
        let mut causes = self.check_metadata(new);
        causes.extend(meta::validate_update(new, old));
        causes.extend((self.validate_update)(new, old));
        causes.extend(addresses::forgive((self.validate)(new), old));
        causes
    }

    /// All faults of a changed object and of the change, which was made through a part.
    #[must_use]
    pub fn check_part(&self, new: &Value, old: &Value, part: &PartWrite<'_>) -> Faults {
        let mut causes = self.check_metadata(new);
        causes.extend(meta::validate_update(new, old));
        if !part.changes_spec() {
            causes.extend((self.validate_update)(new, old));
        }
        causes.extend(addresses::forgive((self.validate)(new), old));
        causes.extend((self.validate_part)(new, old, part));
        causes
    }
}

impl PartWrite<'_> {
    /// Whether the part is one through which more than the status changes; then it alone says what may.
    #[must_use]
    pub fn changes_spec(&self) -> bool {
        matches!(self.name, "ephemeralcontainers" | "resize")
    }
}

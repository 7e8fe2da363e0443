//! A kind as it is served: what requests hold, wherever the kind comes from.

use super::columns::Column;
use super::row::{KindRow, PartWrite, Question, Scope, Subresource};
use super::strategy::Strategy;
use super::write_rules::WriteRules;
use crate::schema::Shape;
use hako_kube::{GroupVersion, GroupVersionKind, GroupVersionResource, field::Faults};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio_util::sync::CancellationToken;

/// A name of a kind: of the program's own text, or of a definition.
pub type Name = Cow<'static, str>;

/// A part of the objects of a served kind with its own path and verbs.
#[derive(Clone, Debug)]
pub struct Part {
    /// The name in the path, such as `status`.
    pub name: &'static str,
    /// The group of the kind that is exchanged.
    pub group: Name,
    /// The version of the kind that is exchanged.
    pub version: Name,
    /// The kind that is exchanged, such as `Scale`.
    pub kind: Name,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
}

/// One column of the table of a served kind.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// The heading, which kubectl prints in capitals.
    pub name: Name,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: Name,
    /// `name` for the object's name; what else OpenAPI knows, or empty.
    pub format: Name,
    /// 0 is always printed, more only with `-o wide`.
    pub priority: i64,
    /// For people.
    pub description: Name,
}

/// How many objects of a kind there are, as it was last counted.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub objects: AtomicU64,
    /// Milliseconds after the beginning at which it was, or is being, counted; zero for never.
    pub at: AtomicU64,
}

/// One served kind. It never changes: what changes a kind puts another one in its place, and requests that hold this
/// one end with it.
#[derive(Debug)]
pub struct Served {
    /// The API group, empty for core.
    pub group: Name,
    /// The version.
    pub version: Name,
    /// The kind.
    pub kind: Name,
    /// The kind of lists.
    pub list_kind: Name,
    /// The name in paths.
    pub plural: Name,
    /// The name for one object.
    pub singular: Name,
    /// Abbreviations that kubectl accepts.
    pub short_names: Vec<Name>,
    /// Sets of kinds that kubectl accepts, such as `all`.
    pub categories: Vec<Name>,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// Parts with their own path.
    pub subresources: Vec<Part>,
    /// The name of the type in OpenAPI.
    pub type_name: Name,
    /// The columns of a table.
    pub columns: Vec<TableColumn>,
    /// The names of the fields that objects can be selected by besides those of the metadata.
    pub selectable_fields: Vec<Name>,
    /// Whether a selector by another field is refused in the words of kinds that have fields of their own.
    pub knows_its_fields: bool,
    /// The group under which objects are kept.
    pub stored_group: Name,
    /// Whether objects are kept sealed.
    pub is_sealed: bool,
    /// What creating an object asks, where nothing is kept of it.
    pub question: Option<Question>,
    /// Whether it is the kept form itself and not another form of what is kept under another name.
    pub is_kept: bool,
    /// Whether lists have keys that a strategic merge patch merges by.
    pub takes_strategic_patches: bool,
    /// Whether objects have a form in protobuf.
    pub has_protobuf: bool,
    /// Whether the kind is on its way out: no objects are made any more.
    pub is_ending: bool,
    /// What whoever uses the version is told, where it is on its way out.
    pub deprecation: Option<String>,
    /// Changes when what is published of the kind does; empty for what changes with the program only.
    pub edition: String,
    pub(crate) write_rules: WriteRules,
    pub(crate) count: Count,
    pub(super) api_version: String,
    pub(super) strategy: Box<dyn Strategy>,
    /// Cancelled when another kind, or none, is in its place; none where that never happens.
    pub(super) gone: Option<Arc<CancellationToken>>,
}

impl Part {
    fn of(part: &Subresource) -> Self {
        let Subresource { name, group, version, kind, verbs } = *part;
        Self { name, group: group.into(), version: version.into(), kind: kind.into(), verbs }
    }
}

impl TableColumn {
    /// As a row of the table declares it.
    pub(super) fn of(column: &Column) -> Self {
        let Column { name, kind, format, priority, description } = *column;
        Self {
            name: name.into(),
            kind: kind.into(),
            format: format.into(),
            priority: priority.into(),
            description: description.into(),
        }
    }
}

/// The names of a kind, for [`Served::new`].
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub group: Name,
    pub version: Name,
    pub kind: Name,
    pub list_kind: Name,
    pub plural: Name,
    pub singular: Name,
}

impl Served {
    /// A kind with a strategy and without anything else: callers fill in what it has.
    pub(super) fn new(names: Names, scope: Scope, strategy: Box<dyn Strategy>) -> Self {
        let Names { group, version, kind, list_kind, plural, singular } = names;
        Self {
            api_version: GroupVersion::new(&*group, &*version).to_string(),
            stored_group: group.clone(),
            group,
            version,
            kind,
            list_kind,
            plural,
            singular,
            scope,
            strategy,
            gone: Some(Arc::new(CancellationToken::new())),
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: super::row::ALL_VERBS,
            subresources: Vec::new(),
            type_name: Name::Borrowed(""),
            columns: Vec::new(),
            selectable_fields: Vec::new(),
            knows_its_fields: false,
            is_sealed: false,
            question: None,
            is_kept: true,
            takes_strategic_patches: false,
            has_protobuf: false,
            is_ending: false,
            deprecation: None,
            edition: String::new(),
            write_rules: WriteRules::MOST,
            count: Count::default(),
        }
    }

    /// As a row of the table declares it.
    pub(super) fn of(row: &KindRow) -> Self {
        let of = |names: &[&'static str]| names.iter().map(|name| Name::Borrowed(*name)).collect();
        let names = Names {
            group: row.group.into(),
            version: row.version.into(),
            kind: row.kind.into(),
            list_kind: format!("{}List", row.kind).into(),
            plural: row.plural.into(),
            singular: row.singular.into(),
        };
        Self {
            short_names: of(row.short_names),
            categories: of(row.categories),
            verbs: row.verbs,
            subresources: row.subresources.iter().map(Part::of).collect(),
            type_name: row.type_name.into(),
            columns: row.columns.iter().map(TableColumn::of).collect(),
            selectable_fields: of(row.selectable_fields),
            knows_its_fields: !row.selectable_fields.is_empty(),
            stored_group: row.stored.map_or(row.group, |stored| stored.group).into(),
            is_sealed: row.is_sealed,
            question: row.question,
            is_kept: row.question.is_none() && row.stored.is_none(),
            takes_strategic_patches: true,
            has_protobuf: true,
            write_rules: row.write_rules(),
            deprecation: row.deprecated.map(|since| {
                let version = GroupVersion::new(row.group, row.version);
                format!("{version} {} is deprecated in {since}", row.kind)
            }),
            gone: None,
            ..Self::new(names, row.scope, Box::new(*row))
        }
    }

    /// Group, version and kind.
    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&*self.group, &*self.version, &*self.kind)
    }

    /// Group, version and plural.
    #[must_use]
    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource::new(&*self.group, &*self.version, &*self.plural)
    }

    /// Stands for the form in which objects are kept; none where nothing is.
    #[must_use]
    pub fn storage_version_hash(&self) -> Option<String> {
        if self.question.is_some() {
            return None;
        }
        let kept = self.strategy.kept_version().and_then(|kept| GroupVersion::parse(&kept));
        let kept = kept.unwrap_or_else(|| self.gvk().group_version());
        Some(kept.kind(&*self.kind).storage_version_hash())
    }

    /// What objects write as `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// Whether objects live in namespaces.
    #[must_use]
    pub const fn is_namespaced(&self) -> bool {
        matches!(self.scope, Scope::Namespaced)
    }

    /// Whether it is the kind of that group and plural, in any version.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.plural == plural && self.group == group
    }

    /// What clients are told that may be done.
    #[must_use]
    pub fn told_verbs(&self) -> Vec<&'static str> {
        let is_told = |verb: &&str| !self.is_ending || !matches!(*verb, "create" | "patch" | "update");
        self.verbs.iter().copied().filter(is_told).collect()
    }

    /// The part of that name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Part> {
        self.subresources.iter().find(|part| part.name == name)
    }

    /// What objects look like; named types are those of the schema model.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        self.strategy.shape()
    }

    pub(crate) fn strategy(&self) -> &dyn Strategy {
        &*self.strategy
    }

    /// One object's cells, one for each column.
    pub(crate) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.strategy.cells(object, now)
    }

    /// Fills in what the writer left out; idempotent.
    pub(crate) fn default(&self, object: &mut Value) {
        self.strategy.default(object);
    }

    /// All faults of a new object, its name (already generated) and metadata included.
    #[must_use]
    pub fn check_create(&self, object: &Value) -> Faults {
        self.strategy.check_create(object)
    }

    /// All faults of a changed object and of the change.
    #[must_use]
    pub fn check_update(&self, new: &Value, old: &Value) -> Faults {
        self.strategy.check_update(new, old)
    }

    /// All faults of a changed object and of the change, which was made through a part.
    #[must_use]
    pub fn check_part(&self, new: &Value, old: &Value, part: &PartWrite<'_>) -> Faults {
        self.strategy.check_part(new, old, part)
    }

    /// From the form in which an object is kept to that which is served.
    pub(crate) fn read_stored(&self, object: &mut Value) {
        self.strategy.read_stored(object);
    }

    /// From the form that is served to that in which an object is kept.
    pub(crate) fn write_stored(&self, object: &mut Value) {
        self.strategy.write_stored(object);
    }

    /// Whether the stored bytes of an object are what is served.
    pub(crate) fn is_served_as_kept(&self, stored: &[u8]) -> bool {
        self.strategy.is_served_as_kept(stored)
    }

    /// Takes the place of `before` without an end for who watches that: the same objects go on to be told.
    pub(crate) fn succeed(&mut self, before: &Self) {
        self.gone.clone_from(&before.gone);
    }

    /// What the kind and those that succeeded it have in common.
    pub(super) fn line(&self) -> Option<*const CancellationToken> {
        self.gone.as_ref().map(Arc::as_ptr)
    }

    /// Another kind, or none, is in its place.
    pub(super) fn end(&self) {
        if let Some(gone) = &self.gone {
            gone.cancel();
        }
    }

    /// Waits until another kind, or none, is in its place.
    pub(crate) async fn gone(&self) {
        match &self.gone {
            Some(gone) => gone.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether both are the same, and not only named alike.
    pub(crate) fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

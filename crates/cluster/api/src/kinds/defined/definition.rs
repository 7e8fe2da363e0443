//! What a definition says, as far as it decides anything before there is an object.

use super::compiled::Compiled;
use super::converter::Converter;
use super::json_path::JsonPath;
use super::kept;
use crate::aside::aside;
use crate::kinds::scale;
use crate::kinds::strategy::Holder;
use bytes::Bytes;
use hako_error::{Error, Kind};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::OnceLock;

/// The names by which objects of a definition are known.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Names {
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub kind: String,
    pub list_kind: String,
    pub categories: Vec<String>,
}

/// A definition as it is stored.
#[derive(Debug)]
pub(crate) struct Definition {
    pub group: String,
    pub is_namespaced: bool,
    /// As they are wished for.
    pub names: Names,
    pub versions: Vec<Version>,
    /// The place of the version in which objects are kept.
    pub storage: usize,
    /// Who converts objects between the versions, where that is not the program.
    pub converter: Option<Converter>,
    /// The definition itself, as its objects need it.
    pub holder: Holder,
    /// At the end of what is kept in the form that the definition says now.
    pub mark: [u8; kept::MARK_BYTES],
    /// The whole object, for what is read of it later: the bytes that the store holds anyway.
    source: RwLock<Bytes>,
}

/// A version of a definition.
#[derive(Debug)]
pub(crate) struct Version {
    pub name: String,
    pub is_served: bool,
    is_deprecated: bool,
    warning: Option<String>,
    pub has_status: bool,
    pub scale: Option<scale::Paths>,
    pub columns: Vec<Column>,
    /// Paths of the fields that objects can be selected by.
    pub selectable: Vec<Vec<String>>,
    /// The same as they are written in selectors.
    pub selectable_names: Vec<String>,
    /// Stands for all that is published of the version.
    pub edition: String,
    compiled: OnceLock<Compiled>,
}

/// A column besides the name.
#[derive(Debug)]
pub(crate) struct Column {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub path: JsonPath,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    scope: String,
    names: Names,
    versions: Vec<VersionSpec>,
    #[serde(default)]
    conversion: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionSpec {
    name: String,
    #[serde(default)]
    served: bool,
    #[serde(default)]
    storage: bool,
    #[serde(default)]
    deprecated: bool,
    deprecation_warning: Option<String>,
    #[serde(default)]
    schema: Value,
    #[serde(default)]
    subresources: Subresources,
    #[serde(default)]
    additional_printer_columns: Vec<ColumnSpec>,
    #[serde(default)]
    selectable_fields: Vec<FieldSpec>,
}

#[derive(Default, Deserialize)]
struct Subresources {
    status: Option<Value>,
    scale: Option<ScaleSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleSpec {
    spec_replicas_path: String,
    status_replicas_path: String,
    label_selector_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ColumnSpec {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    priority: i64,
    json_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldSpec {
    json_path: String,
}

impl Definition {
    /// Reads a stored definition.
    ///
    /// # Errors
    /// [`Kind::DataLoss`] if it is none, or lacks what no definition is stored without.
    pub(crate) fn read(source: &Bytes) -> Result<Self, Error> {
        let damaged = |error| {
            let text = "a stored CustomResourceDefinition is damaged";
            Error::new(Kind::DataLoss, text).with_source(error)
        };
        let Object { metadata, spec } = serde_json::from_slice(source).map_err(damaged)?;
        let storage = spec.versions.iter().position(|version| version.storage).unwrap_or_default();
        let Some(kept) = spec.versions.get(storage) else {
            return Err(Error::new(Kind::DataLoss, "a stored CustomResourceDefinition has no version"));
        };
        let mark = kept::mark((&spec.group, &spec.names.kind, &kept.name, &kept.schema.to_string()));
        let named = (&spec.group, &spec.names.plural);
        Ok(Self {
            mark,
            holder: Holder { key: key_of(&spec), uid: metadata.uid },
            storage,
            converter: Converter::read(&spec.conversion),
            versions: spec.versions.iter().map(|version| Version::of(version, named)).collect(),
            is_namespaced: spec.scope == "Namespaced",
            group: spec.group,
            names: spec.names,
            source: RwLock::new(source.clone()),
        })
    }

    /// The object was written anew with the same spec: the bytes of before need not be kept.
    pub(crate) fn renew(&self, source: &Bytes) {
        *self.source.write() = source.clone();
    }

    /// What is needed to serve objects in the version at a place.
    pub(super) fn compiled(&self, place: usize) -> &Compiled {
        let compiled = &self.versions[place].compiled;
        // Whoever waits for the one that compiles it waits aside, too.
        let make = || aside(|| compiled.get_or_init(|| Compiled::of(&self.schema(place))));
        compiled.get().unwrap_or_else(make)
    }

    /// The schema of the version at a place, as written.
    pub(super) fn schema(&self, place: usize) -> Value {
        let source = self.source.read().clone();
        let whole: Value = serde_json::from_slice(&source).unwrap_or_default();
        let schema = whole.pointer(&format!("/spec/versions/{place}/schema/openAPIV3Schema"));
        schema.cloned().unwrap_or_default()
    }

    /// The place of a version.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.versions.iter().position(|version| version.name == name)
    }
}

impl Version {
    fn of(spec: &VersionSpec, named: (&String, &String)) -> Self {
        let mut hasher = DefaultHasher::new();
        (named, &spec.name, spec.schema.to_string(), spec.subresources.status.is_some()).hash(&mut hasher);
        spec.subresources.scale.is_some().hash(&mut hasher);
        let path = |text: &String| names_of(text);
        Self {
            name: spec.name.clone(),
            is_served: spec.served,
            is_deprecated: spec.deprecated,
            warning: spec.deprecation_warning.clone(),
            has_status: spec.subresources.status.is_some(),
            scale: spec.subresources.scale.as_ref().map(|scale| scale::Paths {
                wanted: path(&scale.spec_replicas_path),
                there: path(&scale.status_replicas_path),
                selector: scale.label_selector_path.as_ref().filter(|text| !text.is_empty()).map(path),
                is_checked: true,
            }),
            columns: spec.additional_printer_columns.iter().filter_map(Column::of).collect(),
            selectable: spec.selectable_fields.iter().map(|field| names_of(&field.json_path)).collect(),
            selectable_names: spec
                .selectable_fields
                .iter()
                .map(|field| names_of(&field.json_path).join("."))
                .collect(),
            edition: format!("{:016X}", hasher.finish()),
            compiled: OnceLock::new(),
        }
    }

    /// What whoever uses the version is told.
    pub(super) fn deprecation(&self, group: &str, kind: &str) -> Option<String> {
        let usual = || format!("{group}/{} {kind} is deprecated", self.name);
        self.is_deprecated.then(|| self.warning.clone().unwrap_or_else(usual))
    }
}

impl Column {
    /// None where the path cannot be read: such a definition is refused today.
    fn of(spec: &ColumnSpec) -> Option<Self> {
        Some(Self {
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            format: spec.format.clone(),
            description: spec.description.clone(),
            priority: spec.priority,
            path: JsonPath::parse(&spec.json_path).ok()?,
        })
    }
}

/// Where the definition of a spec is stored.
fn key_of(spec: &Spec) -> String {
    format!("/registry/apiextensions.k8s.io/customresourcedefinitions/{}.{}", spec.names.plural, spec.group)
}

/// The names in a path such as `.spec.replicas`.
fn names_of(path: &str) -> Vec<String> {
    path.trim_start_matches('.').split('.').map(str::to_owned).collect()
}

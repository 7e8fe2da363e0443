//! In what kinds differ besides their names: implemented for the rows of the table, and for what definitions define.

use super::defined::Converter;
use super::row::{KindRow, PartWrite};
use super::scale;
use crate::auth::Identity;
use crate::openapi::Dialect;
use crate::schema::{self, Shape};
use hako_kube::GroupVersion;
use hako_kube::field::Faults;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;

/// A stored object that others must not outlive.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// In the store.
    pub key: String,
    pub uid: String,
}

/// The functions of a kind. They take whole objects and are pure.
pub(crate) trait Strategy: fmt::Debug + Send + Sync {
    /// What objects look like; named types are those of the schema model.
    fn shape(&self) -> &Shape;

    /// Fits a decoded object to its type; answers the paths of unknown members, which are dropped.
    ///
    /// # Errors
    /// What has the wrong type, in words.
    fn fit(&self, object: &mut Value) -> Result<Vec<String>, String>;

    /// The schema it is published with, where that is none of the schema model's types.
    fn published(&self, _: Dialect) -> Option<Value> {
        None
    }

    /// One object's cells, one for each column.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// Fills in what the writer left out; idempotent.
    fn default(&self, object: &mut Value);

    /// Removes what a creator may not set (status) and sets the generation.
    fn prepare_create(&self, object: &mut Value);

    /// Keeps from `old` what an update may not change (status), and counts the generation.
    fn prepare_update(&self, new: &mut Value, old: &Value);

    /// Keeps from `old` what a change through a part may not touch.
    fn prepare_part(&self, new: &mut Value, old: &Value, part: &PartWrite<'_>);

    /// What is wrong with an object, whatever it was before, its metadata aside.
    fn check(&self, object: &Value) -> Faults;

    /// All faults of a new object.
    fn check_create(&self, object: &Value) -> Faults;

    /// All faults of a changed object and of the change.
    fn check_update(&self, new: &Value, old: &Value) -> Faults;

    /// The same, of a change that was made through a part.
    fn check_part(&self, new: &Value, old: &Value, part: &PartWrite<'_>) -> Faults;

    /// Whichever of the two a change is; `warnings` gets what is wrong and may stay, as it was so before.
    fn check_change(
        &self,
        new: &Value,
        old: &Value,
        part: Option<&PartWrite<'_>>,
        _warnings: &mut Vec<String>,
    ) -> Faults {
        match part {
            None => self.check_update(new, old),
            Some(part) => self.check_part(new, old, part),
        }
    }

    /// What is allowed in a new object, or in one that changed from `old`, and is most likely not meant.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// What objects can be selected by: field and value.
    fn selectable<'a>(&'a self, object: &Value) -> Vec<(&'a str, String)>;

    /// Notes in a new object who made it.
    fn note_sender(&self, _: &mut Value, _: &Identity) {}

    /// Whether the stored bytes of an object are what is served.
    fn is_served_as_kept(&self, stored: &[u8]) -> bool;

    /// Whether the stored bytes of an object are in the form in which it would be kept now.
    fn is_current(&self, _: &[u8]) -> bool {
        true
    }

    /// Who converts objects between the version they are kept in and that of the kind, where that is not the program.
    fn converter(&self) -> Option<&Converter> {
        None
    }

    /// The `apiVersion` in which objects are kept, where that may be another one than they are served in.
    fn kept_version(&self) -> Option<String> {
        None
    }

    /// The same kind in another version, be it served or not; none if there is no such version.
    fn in_version(&self, api_version: &str) -> Option<Box<dyn Strategy>>;

    /// What the stored bytes of an object end with, after the object.
    fn mark(&self) -> &[u8] {
        b""
    }

    /// From the form in which an object is kept to that which is served.
    fn read_stored(&self, object: &mut Value);

    /// From the form that is served to that in which an object is kept.
    fn write_stored(&self, object: &mut Value);

    /// Notes in an object that its deletion has begun.
    fn begin_deletion(&self, _: &mut Value) {}

    /// The stored object without which none of the kind may be kept.
    fn holder(&self) -> Option<&Holder> {
        None
    }

    /// Where objects keep how many replicas they want and have.
    fn scale_paths(&self) -> &scale::Paths {
        scale::Paths::usual()
    }
}

impl Strategy for KindRow {
    fn shape(&self) -> &Shape {
        schema::model().shape(self.type_name)
    }

    fn fit(&self, object: &mut Value) -> Result<Vec<String>, String> {
        schema::fit(self.type_name, object)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.cells)(object, now)
    }

    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        (self.prepare_create)(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        (self.prepare_update)(new, old);
    }

    fn prepare_part(&self, new: &mut Value, old: &Value, part: &PartWrite<'_>) {
        (self.prepare_part)(new, old, part);
    }

    fn check(&self, object: &Value) -> Faults {
        (self.validate)(object)
    }

    fn check_create(&self, object: &Value) -> Faults {
        Self::check_create(self, object)
    }

    fn check_update(&self, new: &Value, old: &Value) -> Faults {
        Self::check_update(self, new, old)
    }

    fn check_part(&self, new: &Value, old: &Value, part: &PartWrite<'_>) -> Faults {
        Self::check_part(self, new, old, part)
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        (self.warnings)(new, old)
    }

    fn selectable<'a>(&'a self, object: &Value) -> Vec<(&'a str, String)> {
        (self.selectable)(object)
    }

    fn note_sender(&self, object: &mut Value, sender: &Identity) {
        (self.note_sender)(object, sender);
    }

    fn begin_deletion(&self, object: &mut Value) {
        (self.begin_deletion)(object);
    }

    fn is_served_as_kept(&self, _: &[u8]) -> bool {
        self.stored.is_none()
    }

    fn in_version(&self, api_version: &str) -> Option<Box<dyn Strategy>> {
        let kept = |row: &Self| (row.stored.map_or(row.group, |stored| stored.group), row.plural);
        let is_it = |row: &&Self| row.api_version() == api_version && kept(row) == kept(self);
        super::table().iter().find(is_it).map(|row| Box::new(*row) as Box<dyn Strategy>)
    }

    fn kept_version(&self) -> Option<String> {
        self.stored.map(|stored| GroupVersion::new(stored.group, stored.version).to_string())
    }

    fn read_stored(&self, object: &mut Value) {
        Self::read_stored(self, object);
    }

    fn write_stored(&self, object: &mut Value) {
        Self::write_stored(self, object);
    }
}

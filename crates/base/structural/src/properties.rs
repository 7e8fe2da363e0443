//! The members that a schema describes.

use crate::schema::Schema;
use hako_kube::ByName;
use std::ops::Deref;

/// Schemas by name.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    all: ByName<Schema>,
    /// Places of those with a default.
    defaulted: Box<[u32]>,
}

impl Properties {
    /// Those with a default, in the order of names.
    pub(crate) fn defaulted(&self) -> impl ExactSizeIterator<Item = Option<(&String, &Schema)>> {
        self.defaulted.iter().map(|place| self.all.at(*place as usize))
    }
}

impl Deref for Properties {
    type Target = ByName<Schema>;

    fn deref(&self) -> &ByName<Schema> {
        &self.all
    }
}

impl FromIterator<(String, Schema)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, Schema)>>(all: I) -> Self {
        let all: ByName<Schema> = all.into_iter().collect();
        let has_default = |(_, schema): &(u32, &Schema)| schema.default.is_some();
        let defaulted = (0..).zip(all.values()).filter(has_default).map(|(place, _)| place).collect();
        Self { all, defaulted }
    }
}

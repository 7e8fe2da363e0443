//! Which kinds are served now. Whoever asks gets all of them as they are at that moment, and keeps them as long as it
//! works with them; a change puts others in their place.

use super::served::Served;
use super::table;
use crate::openapi::{Document, Documents};
use parking_lot::RwLock;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, OnceLock};

/// The served kinds at one moment.
#[derive(Debug, Default)]
pub struct Kinds {
    rows: Vec<Arc<Served>>,
    /// Places in `rows`, by plural: that alone tells nearly all apart.
    places: HashMap<Cow<'static, str>, Vec<usize>>,
    /// What is told of all of them, made when somebody asks.
    pub(crate) told: Told,
}

/// Documents about all kinds, made when first wanted.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The index of OpenAPI, version 3.
    pub index: OnceLock<Document>,
}

/// The kinds that are served, and how they are changed.
#[derive(Debug)]
pub(crate) struct Registry {
    now: RwLock<Arc<Kinds>>,
    /// Documents of OpenAPI that were asked for.
    pub documents: Documents,
}

static BUILT_IN: LazyLock<Arc<Kinds>> = LazyLock::new(|| {
    let rows = table().iter().map(|row| Arc::new(Served::of(row)));
    Arc::new(Kinds::new(rows.collect()))
});

impl Kinds {
    /// These, in this order.
    #[must_use]
    pub fn new(rows: Vec<Arc<Served>>) -> Self {
        let mut places: HashMap<_, Vec<usize>> = HashMap::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            places.entry(row.plural.clone()).or_default().push(place);
        }
        Self { rows, places, told: Told::default() }
    }

    /// Those of the program itself, which are always served.
    #[must_use]
    pub fn built_in() -> &'static Arc<Self> {
        &BUILT_IN
    }

    /// All, in the order discovery lists them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Served>] {
        &self.rows
    }

    /// Those of a group and version.
    pub fn of<'a>(&'a self, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Arc<Served>> {
        self.rows.iter().filter(move |row| row.group == group && row.version == version)
    }

    /// The kind of a collection, by the names in a request's path.
    #[must_use]
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        let mut found = self.places.get(plural)?.iter().map(|place| &self.rows[*place]);
        found.find(|row| row.group == group && row.version == version)
    }

    /// A kind by the names in an object.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Served>> {
        let is_it = |row: &&Arc<Served>| row.kind == kind && row.group == group && row.version == version;
        self.rows.iter().find(is_it)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self { now: RwLock::new(Arc::clone(Kinds::built_in())), documents: Documents::default() }
    }
}

impl Registry {
    /// The kinds as they are now.
    pub(crate) fn now(&self) -> Arc<Kinds> {
        Arc::clone(&self.now.read())
    }

    /// From now on these are served; who watches others looks again.
    pub(crate) fn serve(&self, kinds: Kinds) {
        let before = std::mem::replace(&mut *self.now.write(), Arc::new(kinds));
        let now = self.now();
        let there: HashSet<_> = now.all().iter().filter_map(|row| row.line()).collect();
        for row in before.all().iter().filter(|row| row.line().is_some_and(|line| !there.contains(&line))) {
            row.end();
        }
    }

    /// The kind of a collection now, by the names in a request's path.
    pub(crate) fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Served>> {
        self.now.read().by_resource(group, version, plural).cloned()
    }
}

/// A kind of the program itself, by the names in a request's path.
#[must_use]
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Arc<Served>> {
    Kinds::built_in().by_resource(group, version, plural)
}

/// A kind of the program itself, by the names in an object.
#[must_use]
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Arc<Served>> {
    Kinds::built_in().by_kind(group, version, kind)
}

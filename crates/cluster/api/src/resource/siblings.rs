//! The versions of a kind in which somebody writes an object, besides the one in which it is written now.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_error::Error;
use serde_json::Value;

use super::convert;
use crate::kinds::{Served, Strategy};
use crate::patch::apply::{Versions, versions_in};
use crate::schema::Shape;
use crate::server::Inner;

/// Versions of a kind.
pub(super) struct Siblings<'a> {
    server: &'a Inner,
    row: &'a Served,
    others: Vec<(String, Box<dyn Strategy>)>,
}

impl<'a> Siblings<'a> {
    /// Those in which managers write, who are listed.
    pub(super) fn of<'v>(
        server: &'a Inner,
        row: &'a Served,
        lists: impl IntoIterator<Item = &'v Value>,
    ) -> Self {
        let mut others: Vec<(String, Box<dyn Strategy>)> = Vec::new();
        for version in lists.into_iter().flat_map(versions_in) {
            let is_known = version == row.api_version() || others.iter().any(|(name, _)| name == version);
            if let Some(other) = (!is_known).then(|| row.strategy().in_version(version)).flatten() {
                others.push((version.to_owned(), other));
            }
        }
        Self { server, row, others }
    }

    fn strategy(&self, api_version: &str) -> Option<&dyn Strategy> {
        if api_version == self.row.api_version() {
            return Some(self.row.strategy());
        }
        self.others.iter().find(|(name, _)| name == api_version).map(|(_, strategy)| &**strategy)
    }
}

impl Versions for Siblings<'_> {
    fn shape(&self, api_version: &str) -> Option<&Shape> {
        self.strategy(api_version).map(Strategy::shape)
    }

    fn convert(&self, objects: Vec<Value>, api_version: &str) -> BoxFuture<'_, Result<Vec<Value>, Error>> {
        let from = objects.first().and_then(|object| self.strategy(object["apiVersion"].as_str()?));
        let pair = from.zip(self.strategy(api_version));
        let wanted = api_version.to_owned();
        async move {
            let Some((from, to)) = pair else { return Ok(objects) };
            let made = convert::across(self.server, from, to, &wanted, objects).await;
            made.map_err(|failure| failure.status().to_error())
        }
        .boxed()
    }
}

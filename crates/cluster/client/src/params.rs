//! Parameters of calls.

use serde_json::{Value, json};

use crate::query::Query;

/// What to list or watch. `ListParams::default()` is everything, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListParams {
    /// Such as `app=web,tier!=db`.
    pub label_selector: Option<String>,
    /// Such as `spec.nodeName=node-1`.
    pub field_selector: Option<String>,
    /// At most so many items a page.
    pub limit: Option<u32>,
    /// Where the previous page ended.
    pub continue_token: Option<String>,
    /// Not older than, or exactly at, this resource version.
    pub resource_version: Option<String>,
    /// `NotOlderThan` or `Exact`.
    pub resource_version_match: Option<String>,
    /// Watches only: bookmarks are asked for unless this is set.
    pub no_bookmarks: bool,
    /// Watches only: begin with the present state as ADDED events and a bookmark.
    pub send_initial_events: bool,
    /// Watches only: the server ends the watch after so many seconds.
    pub timeout_seconds: Option<u32>,
}

impl ListParams {
    /// Selects by labels.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.label_selector = Some(selector.into());
        self
    }

    /// Selects by fields.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.field_selector = Some(selector.into());
        self
    }

    /// Bounds the page.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(crate) fn list_query(&self, query: &mut Query) {
        self.selectors(query);
        query
            .opt("limit", self.limit.map(|limit| limit.to_string()).as_deref())
            .opt("continue", self.continue_token.as_deref())
            .opt("resourceVersion", self.resource_version.as_deref())
            .opt("resourceVersionMatch", self.resource_version_match.as_deref());
    }

    pub(crate) fn watch_query(&self, resource_version: &str, query: &mut Query) {
        query.add("watch", "1");
        self.selectors(query);
        if !resource_version.is_empty() {
            query.add("resourceVersion", resource_version);
        }
        if !self.no_bookmarks {
            query.add("allowWatchBookmarks", "true");
        }
        if self.send_initial_events {
            query.add("sendInitialEvents", "true").add("resourceVersionMatch", "NotOlderThan");
        }
        query.opt("timeoutSeconds", self.timeout_seconds.map(|seconds| seconds.to_string()).as_deref());
    }

    fn selectors(&self, query: &mut Query) {
        query
            .opt("labelSelector", self.label_selector.as_deref())
            .opt("fieldSelector", self.field_selector.as_deref());
    }
}

/// How to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Validate and admit, store nothing.
    pub dry_run: bool,
    /// Who owns the fields written; the client's own name when absent.
    pub field_manager: Option<String>,
    /// `Strict`, `Warn` or `Ignore`.
    pub field_validation: Option<String>,
}

impl WriteOptions {
    pub(crate) fn query(&self, manager: &str, query: &mut Query) {
        if self.dry_run {
            query.add("dryRun", "All");
        }
        query
            .add("fieldManager", self.field_manager.as_deref().unwrap_or(manager))
            .opt("fieldValidation", self.field_validation.as_deref());
    }
}

/// A partial change in one of the four formats.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902 operations.
    Json(Value),
    /// RFC 7386 merge.
    Merge(Value),
    /// Kubernetes' strategic merge.
    Strategic(Value),
    /// Server-side apply of a whole intent.
    Apply {
        /// The object with the fields the manager wants.
        object: Value,
        /// Who owns those fields.
        manager: String,
        /// Take fields from other managers.
        force: bool,
    },
}

impl Patch {
    pub(crate) const fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json-patch+json",
            Self::Merge(_) => "application/merge-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
            Self::Apply { .. } => "application/apply-patch+yaml",
        }
    }

    pub(crate) const fn body(&self) -> &Value {
        match self {
            Self::Json(value) | Self::Merge(value) | Self::Strategic(value) => value,
            Self::Apply { object, .. } => object,
        }
    }
}

/// What happens to an object's dependents when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Zero removes at once; absent leaves it to the object.
    pub grace_period_seconds: Option<i64>,
    /// Absent leaves it to the kind's default.
    pub propagation: Option<Propagation>,
    /// Only this very object.
    pub uid: Option<String>,
    /// Only at this version.
    pub resource_version: Option<String>,
    /// Check, delete nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Removes at once, without grace.
    #[must_use]
    pub fn now() -> Self {
        Self { grace_period_seconds: Some(0), ..Self::default() }
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(seconds) = self.grace_period_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(propagation) = self.propagation {
            body["propagationPolicy"] = format!("{propagation:?}").into();
        }
        if let Some(uid) = &self.uid {
            body["preconditions"]["uid"] = uid.as_str().into();
        }
        if let Some(version) = &self.resource_version {
            body["preconditions"]["resourceVersion"] = version.as_str().into();
        }
        if self.dry_run {
            body["dryRun"] = json!(["All"]);
        }
        body
    }
}

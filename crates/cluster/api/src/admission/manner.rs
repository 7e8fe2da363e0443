//! How a write was asked for: what the options of meta/v1 say, and until when somebody waits for the answer.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::plugin::Operation;
use crate::http::Request;

/// Upstream's `--request-timeout`: nobody waits longer, whatever the request says.
const TIME: Duration = Duration::from_secs(60);

/// How a write was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub is_dry_run: bool,
    /// As the query names it; empty if it does not.
    field_manager: String,
    field_validation: String,
    /// The `DeleteOptions` of a deletion.
    deletion: Option<Value>,
    pub deadline: Instant,
}

impl Manner {
    pub(crate) fn of(request: &Request) -> Self {
        let text = |key: &str| request.query.text(key).unwrap_or("").to_owned();
        let asked = request.query.text("timeout").and_then(hako_cel::parse_duration);
        let asked = asked.and_then(|nanoseconds| u64::try_from(nanoseconds).ok()).filter(|it| *it > 0);
        let time = asked.map_or(TIME, |nanoseconds| Duration::from_nanos(nanoseconds).min(TIME));
        Self {
            is_dry_run: request.query.text("dryRun").is_some(),
            field_manager: text("fieldManager"),
            field_validation: text("fieldValidation"),
            deletion: None,
            deadline: Instant::now() + time,
        }
    }

    /// That of the server itself.
    pub(crate) fn of_server() -> Self {
        Self {
            is_dry_run: false,
            field_manager: String::new(),
            field_validation: String::new(),
            deletion: None,
            deadline: Instant::now() + TIME,
        }
    }

    /// The manner of a deletion with these `DeleteOptions`.
    pub(crate) fn with_deletion(mut self, options: Value, is_dry_run: bool) -> Self {
        self.is_dry_run = is_dry_run;
        self.deletion = Some(options);
        self
    }

    /// The options as reviews show them.
    pub(super) fn options(&self, operation: Operation) -> Value {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => return self.deletion.clone().unwrap_or_else(|| typed("DeleteOptions")),
            Operation::Connect => return Value::Null,
        };
        let mut options = typed(kind);
        if self.is_dry_run {
            options["dryRun"] = json!(["All"]);
        }
        for (name, text) in
            [("fieldManager", &self.field_manager), ("fieldValidation", &self.field_validation)]
        {
            if !text.is_empty() {
                options[name] = text.as_str().into();
            }
        }
        options
    }
}

/// Options of a kind, with nothing said.
fn typed(kind: &str) -> Value {
    let mut options = Map::new();
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
    Value::Object(options)
}

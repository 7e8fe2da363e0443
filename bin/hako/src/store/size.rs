//! `hako store size`.

use crate::cli::{OutputFormat, StoreCommand};
use crate::engine::human_size;
use crate::locate::Target;
use crate::output;
use anyhow::Context;
use serde_json::Value;
use std::process::ExitCode;

pub(crate) async fn store(
    target: &Target,
    command: StoreCommand,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let StoreCommand::Size = command;
    let text = super::client(target)?.get_text("/hako/v1/store").await.context("ask for the store's size")?;
    let report: Value = serde_json::from_str(&text).context("the store's size")?;
    if format == OutputFormat::Json {
        output::json(&report);
        return Ok(ExitCode::SUCCESS);
    }
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let kinds = report["kinds"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows: Vec<Vec<String>> = kinds
        .iter()
        .map(|kind| {
            let name = match (kind["resource"].as_str(), kind["group"].as_str()) {
                (Some(resource), Some("") | None) => resource.to_owned(),
                (resource, Some(group)) => format!("{}.{group}", resource.unwrap_or_default()),
                (None, None) => String::new(),
            };
            vec![name, number(&kind["objects"]).to_string(), human_size(number(&kind["bytes"]))]
        })
        .collect();
    let sum = |name: &str, count: &Value, bytes: &Value| {
        let count = count.as_u64().map_or_else(String::new, |count| count.to_string());
        vec![name.to_owned(), count, human_size(number(bytes))]
    };
    rows.push(sum("(all)", &report["objects"], &report["bytes"]));
    if let Some(history) = report.get("history") {
        rows.push(sum("(history)", &history["events"], &history["bytes"]));
    }
    rows.push(sum("(on disk)", &Value::Null, &report["diskBytes"]));
    output::table(&["KIND", "OBJECTS", "SIZE"], &rows);
    Ok(ExitCode::SUCCESS)
}

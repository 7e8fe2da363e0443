//! `hako get`: the API's own tables.

use super::resource::{self, Resource};
use crate::cli::{GetArgs, OutputFormat};
use crate::locate::Target;
use crate::output;
use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use hako_client::{Client, ListParams, WatchEvent};
use http_body_util::BodyExt;
use hyper::{Method, Request, header};
use serde_json::{Value, json};
use std::process::ExitCode;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub(crate) async fn get(target: &Target, args: &GetArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let client = super::client(target)?;
    let resources = resource::discover(&client).await?;
    let (word, names) = resource::split_names(&args.kind, &args.names);
    let resource = resource::by_word(&resources, &word)?;
    let namespace = (!args.namespace.all_namespaces).then_some(args.namespace.namespace.as_str());
    let paths = paths(resource, namespace, &names, args.selector.as_deref());
    let accept = if format == OutputFormat::Json { "application/json" } else { TABLE };
    let mut answers = Vec::new();
    for path in &paths {
        answers.push(fetch(&client, path, accept).await?);
    }
    match format {
        OutputFormat::Json => print_json(answers),
        OutputFormat::Name => print_names(resource, &answers),
        OutputFormat::Table | OutputFormat::Wide => {
            print_table(
                &answers,
                format == OutputFormat::Wide,
                args.namespace.all_namespaces && resource.is_namespaced,
            );
        }
    }
    if args.watch {
        watch(&client, resource, namespace, args).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn paths(
    resource: &Resource,
    namespace: Option<&str>,
    names: &[String],
    selector: Option<&str>,
) -> Vec<String> {
    let base = resource.path(namespace);
    if !names.is_empty() {
        return names.iter().map(|name| format!("{base}/{name}")).collect();
    }
    match selector {
        Some(selector) => vec![format!("{base}?labelSelector={}", crate::engine::escape(selector))],
        None => vec![base],
    }
}

async fn fetch(client: &Client, path: &str, accept: &str) -> anyhow::Result<Value> {
    let request =
        Request::builder().method(Method::GET).uri(path).header(header::ACCEPT, accept).body(Bytes::new())?;
    let response = client.send(request).await?;
    let is_success = response.status().is_success();
    let body = response.into_body().collect().await?.to_bytes();
    let value: Value =
        serde_json::from_slice(&body).with_context(|| format!("{path} did not answer with JSON"))?;
    if !is_success {
        anyhow::bail!("{}", value["message"].as_str().unwrap_or("the API refused without a reason"));
    }
    Ok(value)
}

fn print_json(mut answers: Vec<Value>) {
    match answers.len() {
        1 => output::json(&answers.remove(0)),
        _ => output::json(&json!({ "apiVersion": "v1", "kind": "List", "items": answers })),
    }
}

fn rows(answers: &[Value]) -> impl Iterator<Item = &Value> {
    answers.iter().flat_map(|answer| answer["rows"].as_array().into_iter().flatten())
}

fn print_names(resource: &Resource, answers: &[Value]) {
    for row in rows(answers) {
        let name = row["object"]["metadata"]["name"].as_str().unwrap_or_default();
        output::line(&format!("{}/{name}", resource.singular));
    }
}

fn print_table(answers: &[Value], wide: bool, with_namespace: bool) {
    let Some(first) = answers.first() else { return };
    let columns: Vec<(usize, String)> = first["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, column)| wide || column["priority"].as_i64().unwrap_or(0) == 0)
        .map(|(index, column)| (index, column["name"].as_str().unwrap_or_default().to_uppercase()))
        .collect();
    let mut header: Vec<&str> = columns.iter().map(|(_, name)| name.as_str()).collect();
    let mut lines: Vec<Vec<String>> = Vec::new();
    for row in rows(answers) {
        let mut line: Vec<String> = columns.iter().map(|(index, _)| cell(&row["cells"][*index])).collect();
        if with_namespace {
            line.insert(0, row["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned());
        }
        lines.push(line);
    }
    if with_namespace {
        header.insert(0, "NAMESPACE");
    }
    if lines.is_empty() {
        output::error("no objects found");
    } else {
        output::table(&header, &lines);
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn watch(
    client: &Client,
    resource: &Resource,
    namespace: Option<&str>,
    args: &GetArgs,
) -> anyhow::Result<()> {
    let api = resource.api(client, namespace);
    let params = ListParams { label_selector: args.selector.clone(), ..ListParams::default() };
    let list = api.list(&params).await?;
    let mut events = api.watch(&params, &list.resource_version).await?;
    while let Some(event) = events.next().await {
        let (verb, object) = match event? {
            WatchEvent::Added(object) => ("added", object),
            WatchEvent::Modified(object) => ("modified", object),
            WatchEvent::Deleted(object) => ("deleted", object),
            WatchEvent::Bookmark { .. } => continue,
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        output::line(&format!("{}/{name} {verb}", resource.singular));
    }
    Ok(())
}

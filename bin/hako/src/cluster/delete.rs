//! `hako delete`: by kind and name or by file, and waits until the objects are gone.

use super::manifest;
use super::resource::{self, Resource};
use crate::cli::{DeleteArgs, OutputFormat};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use hako_client::{Client, DeleteOptions, Propagation};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) async fn delete(
    target: &Target,
    args: &DeleteArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let client = super::client(target)?;
    let resources = resource::discover(&client).await?;
    let doomed = select(&resources, args)?;
    let options = DeleteOptions {
        grace_period_seconds: args.grace_period,
        // What a job made goes with it, as kubectl has it.
        propagation: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    let mut code = ExitCode::SUCCESS;
    let mut gone = Vec::new();
    for one in doomed {
        match one.resource.api(&client, Some(&one.namespace)).delete(&one.name, &options).await {
            Ok(()) => {
                match format {
                    OutputFormat::Json => {}
                    OutputFormat::Name => output::line(&one.to_string()),
                    _ => output::line(&format!("{one} deleted")),
                }
                gone.push(one);
            }
            Err(error) => code = crate::exit::report(&error.into()),
        }
    }
    if format == OutputFormat::Json {
        output::json(&json!({ "deleted": gone.iter().map(Doomed::describe).collect::<Vec<_>>() }));
    }
    if !args.no_wait {
        for one in &gone {
            wait_until_gone(&client, one).await?;
        }
    }
    Ok(code)
}

struct Doomed<'a> {
    resource: &'a Resource,
    namespace: String,
    name: String,
}

impl Doomed<'_> {
    fn describe(&self) -> Value {
        let namespace = self.resource.is_namespaced.then_some(&self.namespace);
        json!({ "kind": self.resource.kind, "namespace": namespace, "name": self.name })
    }
}

impl std::fmt::Display for Doomed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.resource.singular, self.name)
    }
}

fn select<'a>(resources: &'a [Resource], args: &DeleteArgs) -> anyhow::Result<Vec<Doomed<'a>>> {
    if let Some(kind) = &args.kind {
        let (word, names) = resource::split_names(kind, &args.names);
        let resource = resource::by_word(resources, &word)?;
        if names.is_empty() {
            bail!("name the {} to delete", resource.resource.plural);
        }
        let namespace = args.namespace.clone();
        return Ok(names
            .into_iter()
            .map(|name| Doomed { resource, namespace: namespace.clone(), name })
            .collect());
    }
    if args.filenames.is_empty() {
        bail!("say what to delete: KIND NAME or -f FILE");
    }
    let mut doomed = Vec::new();
    // The reverse of the order in which they were applied.
    for manifest in manifest::read_all(&args.filenames)?.iter().rev() {
        let resource =
            resource::by_manifest(resources, &manifest.object).with_context(|| manifest.position("kind"))?;
        let metadata = &manifest.object["metadata"];
        let name = metadata["name"]
            .as_str()
            .with_context(|| format!("{}: metadata.name is missing", manifest.position("metadata")))?;
        let namespace = metadata["namespace"].as_str().unwrap_or(&args.namespace);
        doomed.push(Doomed { resource, namespace: namespace.into(), name: name.into() });
    }
    Ok(doomed)
}

async fn wait_until_gone(client: &Client, one: &Doomed<'_>) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_secs(300);
    let (api, began) = (one.resource.api(client, Some(&one.namespace)), Instant::now());
    loop {
        match api.get(&one.name).await {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(object) if began.elapsed() > LIMIT => {
                bail!("{one} is still there after 300 s; it waits for {}", object["metadata"]["finalizers"])
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

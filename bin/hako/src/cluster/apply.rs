//! `hako apply`: server-side apply of every object in files.

use super::manifest::{self, Manifest};
use super::resource::{self, Resource};
use crate::cli::{ApplyArgs, OutputFormat};
use crate::locate::Target;
use crate::output;
use anyhow::Context;
use hako_client::{Client, Patch, WriteOptions};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) async fn apply(
    target: &Target,
    args: &ApplyArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let manifests = manifest::read_all(&args.filenames)?;
    let client = super::client(target)?;
    let applied = apply_all(&client, &manifests, args).await?;
    match format {
        OutputFormat::Json => output::json(
            &json!({ "apiVersion": "v1", "kind": "List", "items": applied.iter().map(|one| &one.object).collect::<Vec<_>>() }),
        ),
        _ => applied.iter().for_each(|one| output::line(&one.line)),
    }
    Ok(ExitCode::SUCCESS)
}

/// An applied object and what to say of it.
#[derive(Debug)]
pub(crate) struct Applied {
    pub object: Value,
    pub line: String,
}

/// Applies objects in order: all are checked before the first is written, so that a fault leaves nothing half done.
pub(crate) async fn apply_all(
    client: &Client,
    manifests: &[Manifest],
    args: &ApplyArgs,
) -> anyhow::Result<Vec<Applied>> {
    let resources = resource::discover(client).await?;
    for manifest in manifests {
        resource::by_manifest(&resources, &manifest.object).with_context(|| manifest.position("kind"))?;
    }
    let new_namespaces: Vec<&str> = manifests
        .iter()
        .filter(|manifest| manifest.object["kind"] == "Namespace")
        .filter_map(|manifest| manifest.object["metadata"]["name"].as_str())
        .collect();
    for manifest in manifests {
        let namespace = manifest.object["metadata"]["namespace"].as_str().unwrap_or(&args.namespace);
        // What stands in a namespace that does not exist yet cannot be tried.
        let is_first = new_namespaces.contains(&namespace)
            && client.get_text(&format!("/api/v1/namespaces/{namespace}")).await.is_err();
        if !is_first || manifest.object["kind"] == "Namespace" {
            apply_one(client, &resources, manifest, args, true).await?;
        }
    }
    let mut applied = Vec::new();
    for manifest in manifests {
        applied.push(apply_one(client, &resources, manifest, args, args.dry_run).await?);
    }
    Ok(applied)
}

async fn apply_one(
    client: &Client,
    resources: &[Resource],
    manifest: &Manifest,
    args: &ApplyArgs,
    dry_run: bool,
) -> anyhow::Result<Applied> {
    let resource = resource::by_manifest(resources, &manifest.object)?;
    let name = manifest.object["metadata"]["name"].as_str();
    let name =
        name.with_context(|| format!("{}: metadata.name is missing", manifest.position("metadata")))?;
    let namespace = manifest.object["metadata"]["namespace"].as_str().unwrap_or(&args.namespace);
    let api = resource.api(client, Some(namespace));
    let before = api.get(name).await.ok();
    let patch =
        Patch::Apply { object: manifest.object.clone(), manager: "hako".into(), force: args.force_conflicts };
    let options =
        WriteOptions { dry_run, field_validation: Some("Strict".into()), ..WriteOptions::default() };
    let object = api.patch(name, None, &patch, &options).await.map_err(|error| explain(manifest, &error))?;
    let verb = match &before {
        None => "created",
        Some(before) if before["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"] => {
            "unchanged"
        }
        Some(_) => "configured",
    };
    let suffix = if dry_run { " (dry run)" } else { "" };
    let group = if resource.resource.group.is_empty() {
        String::new()
    } else {
        format!(".{}", resource.resource.group)
    };
    Ok(Applied { object, line: format!("{}{group}/{name} {verb}{suffix}", resource.singular) })
}

/// The server's refusal with the file and line of the field it is about.
fn explain(manifest: &Manifest, error: &hako_error::Error) -> anyhow::Error {
    let text = error.chain();
    let field = match error.causes().first() {
        Some(cause) => cause.field.clone(),
        None => [quoted_field, typed_field, applied_field]
            .iter()
            .find_map(|of| of(&text))
            .unwrap_or_default()
            .to_owned(),
    };
    let hint = if error.kind() == hako_error::Kind::Conflict {
        "; to take the fields over use --force-conflicts"
    } else {
        ""
    };
    // What is invalid, the API names itself.
    let name = manifest.name();
    let subject = if text.contains(&name) { String::new() } else { format!("{name}: ") };
    anyhow::anyhow!("{}: {subject}{text}{hint}", manifest.position(&field))
}

/// The path in `unknown field "spec.foo"` and its like.
fn quoted_field(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("field \"")?;
    rest.split('"').next()
}

/// The path in `json: cannot unmarshal number into Go struct field ConfigMap.data of type string (at data.a)`.
fn typed_field(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("json: cannot unmarshal ")?.1.split_once(" (at ")?;
    rest.split(')').next()
}

/// The path in `failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema`.
fn applied_field(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("failed to create typed patch object (")?.1.split_once("): .")?;
    rest.split(": ").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_read_from_a_refused_application() {
        let text = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema";
        assert_eq!(applied_field(text), Some("spec.foo"));
    }

    #[test]
    fn the_field_is_read_from_an_error_of_its_type() {
        let text =
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string (at data.a)";
        assert_eq!(typed_field(text), Some("data.a"));
    }

    #[test]
    fn the_field_is_read_from_a_strict_decoding_error() {
        let text = "strict decoding error: unknown field \"spec.template.foo\"";
        assert_eq!(quoted_field(text), Some("spec.template.foo"));
    }
}

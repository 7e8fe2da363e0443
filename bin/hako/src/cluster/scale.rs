//! `hako scale`: through the scale subresource.

use super::resource;
use crate::cli::{OutputFormat, ScaleArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use hako_client::{Patch, WriteOptions};
use serde_json::json;
use std::process::ExitCode;

pub(crate) async fn scale(
    target: &Target,
    args: &ScaleArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    if args.replicas < 0 {
        bail!("--replicas {} is negative", args.replicas);
    }
    let client = super::client(target)?;
    let (word, name) =
        args.object.split_once('/').with_context(|| format!("{:?} is not KIND/NAME", args.object))?;
    let resources = resource::discover(&client).await?;
    let resource = resource::by_word(&resources, word)?;
    let patch = Patch::Merge(json!({ "spec": { "replicas": args.replicas } }));
    let scaled = resource
        .api(&client, Some(&args.namespace))
        .patch(name, Some("scale"), &patch, &WriteOptions::default())
        .await
        .with_context(|| format!("scale {}/{name} in namespace {}", resource.singular, args.namespace))?;
    match format {
        OutputFormat::Json => output::json(&scaled),
        OutputFormat::Name => output::line(&format!("{}/{name}", resource.singular)),
        _ => output::line(&format!("{}/{name} scaled to {}", resource.singular, args.replicas)),
    }
    Ok(ExitCode::SUCCESS)
}

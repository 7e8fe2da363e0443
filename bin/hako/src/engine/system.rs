//! `hako system df` and `prune`, and the question before anything is pruned.

use super::client::{EngineClient, Payload, escape};
use super::images::human_size;
use crate::cli::{OutputFormat, SystemCommand, SystemPruneArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

pub(crate) async fn system(
    target: &Target,
    command: SystemCommand,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    match command {
        SystemCommand::Df => df(&engine, format).await?,
        SystemCommand::Prune(args) => prune(&engine, &args, format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn df(engine: &EngineClient, format: OutputFormat) -> anyhow::Result<()> {
    let usage = engine.json(Method::GET, "/system/df", Payload::Empty).await?;
    if format == OutputFormat::Json {
        output::json(&usage);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = kinds(&usage)
        .into_iter()
        .map(|(name, total, active, size, free)| {
            vec![name.to_owned(), total.to_string(), active.to_string(), human_size(size), human_size(free)]
        })
        .collect();
    output::table(&["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"], &rows);
    Ok(())
}

/// Name, number, number in use, bytes, bytes that nothing needs, of each kind of thing.
fn kinds(usage: &Value) -> [(&'static str, usize, usize, u64, u64); 4] {
    let list = |name: &str| usage[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let images = list("Images");
    let is_used = |image: &&Value| number(&image["Containers"]) > 0;
    let own = |image: &Value| number(&image["Size"]).saturating_sub(number(&image["SharedSize"]));
    let layers = number(&usage["LayersSize"]);
    // Layers that a used image shares with others are needed as well: counted once, by the largest share.
    let shared = images.iter().filter(is_used).map(|image| number(&image["SharedSize"])).max().unwrap_or(0);
    let needed = images.iter().filter(is_used).map(own).sum::<u64>() + shared;
    let containers = list("Containers");
    let runs = |one: &&Value| one["State"] == "running";
    let written = |one: &Value| number(&one["SizeRw"]);
    let volumes = list("Volumes");
    let mounted = |one: &&Value| number(&one["UsageData"]["RefCount"]) > 0;
    let filled = |one: &Value| number(&one["UsageData"]["Size"]);
    let steps = list("BuildCache");
    let alone = number(&usage["BuilderSize"]);
    [
        (
            "Images",
            images.len(),
            images.iter().filter(is_used).count(),
            layers,
            layers.saturating_sub(needed),
        ),
        (
            "Containers",
            containers.len(),
            containers.iter().filter(runs).count(),
            containers.iter().map(written).sum(),
            containers.iter().filter(|one| !runs(one)).map(written).sum(),
        ),
        (
            "Volumes",
            volumes.len(),
            volumes.iter().filter(mounted).count(),
            volumes.iter().map(filled).sum(),
            volumes.iter().filter(|one| !mounted(one)).map(filled).sum(),
        ),
        ("Build steps", steps.len(), 0, alone, alone),
    ]
}

async fn prune(engine: &EngineClient, args: &SystemPruneArgs, format: OutputFormat) -> anyhow::Result<()> {
    let images = if args.all { "images that no container has" } else { "images without a name" };
    let volumes = if args.volumes { ", volumes without a name that no container has" } else { "" };
    confirm(&format!("all ended containers, {images}{volumes}, the results of build steps"), args.force)?;
    let mut routes = vec!["/containers/prune".to_owned()];
    routes.extend(args.volumes.then(|| "/volumes/prune".to_owned()));
    routes.push(image_route(args.all));
    // Last: images that are gone leave layers that only build steps have.
    routes.push("/build/prune?all=1".to_owned());
    let mut answers = Vec::new();
    for route in routes {
        answers.push(engine.json(Method::POST, &route, Payload::Empty).await?);
    }
    report(&answers, format);
    Ok(())
}

/// The route that prunes images.
pub(super) fn image_route(all: bool) -> String {
    let filters = json!({ "dangling": [if all { "false" } else { "true" }] });
    format!("/images/prune?filters={}", escape(&filters.to_string()))
}

/// Tells what prunes removed and freed.
pub(super) fn report(answers: &[Value], format: OutputFormat) {
    let freed: u64 = answers.iter().filter_map(|answer| answer["SpaceReclaimed"].as_u64()).sum();
    let lists = ["ContainersDeleted", "VolumesDeleted", "ImagesDeleted", "CachesDeleted"];
    let all = answers
        .iter()
        .flat_map(|answer| lists.iter().flat_map(|list| answer[*list].as_array().into_iter().flatten()));
    let name = |one: &Value| {
        let name = one.as_str().or(one["Untagged"].as_str()).or(one["Deleted"].as_str());
        name.unwrap_or_default().to_owned()
    };
    let removed: Vec<String> = all.map(name).collect();
    if format == OutputFormat::Json {
        output::json(&json!({ "removed": removed, "freed": freed }));
        return;
    }
    removed.iter().for_each(|name| output::line(name));
    output::error(&format!("freed {}", human_size(freed)));
}

/// Asks before something is lost; without a terminal to ask on, only force goes on.
pub(super) fn confirm(what: &str, force: bool) -> anyhow::Result<()> {
    if force {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("this removes {what}: say --force where nobody can be asked");
    }
    output::error_bytes(format!("remove {what}? [y/N] ").as_bytes());
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_needs_can_be_reclaimed() {
        let usage = json!({
            "LayersSize": 100,
            "Images": [
                { "Size": 70, "SharedSize": 20, "Containers": 1 },
                { "Size": 50, "SharedSize": 20, "Containers": 0 },
            ],
            "Containers": [{ "State": "running", "SizeRw": 3 }, { "State": "exited", "SizeRw": 4 }],
            "Volumes": [{ "UsageData": { "Size": 5, "RefCount": 1 } }, { "UsageData": { "Size": 6, "RefCount": 0 } }],
            "BuildCache": [{}], "BuilderSize": 9,
        });
        assert_eq!(
            kinds(&usage),
            [
                ("Images", 2, 1, 100, 30),
                ("Containers", 2, 1, 7, 4),
                ("Volumes", 2, 1, 11, 6),
                ("Build steps", 1, 0, 9, 9),
            ]
        );
        assert_eq!(kinds(&json!({}))[0], ("Images", 0, 0, 0, 0));
    }
}

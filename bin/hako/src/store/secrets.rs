//! `hako secrets`: the keys that objects are kept sealed with.

use crate::cli::{OutputFormat, SecretsCommand};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use bytes::Bytes;
use hako_client::Client;
use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use serde::Deserialize;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

const PATH: &str = "/hako/v1/store/keys";
const ASK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Keys {
    /// The one that seals first.
    keys: Vec<String>,
    settled: bool,
    fault: Option<String>,
}

pub(crate) async fn secrets(
    target: &Target,
    command: SecretsCommand,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let client = super::client(target)?;
    let keys = match command {
        SecretsCommand::Keys => ask(&client, Method::GET).await?,
        SecretsCommand::RotateKey(args) => {
            let begun = ask(&client, Method::POST).await.context("change the key")?;
            if args.no_wait { begun } else { settled(&client).await? }
        }
    };
    match format {
        OutputFormat::Json => output::json(&json!({"keys": keys.keys, "settled": keys.settled})),
        OutputFormat::Name => keys.keys.iter().for_each(|id| output::line(id)),
        _ => show(&keys),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(keys: &Keys) {
    let rows: Vec<Vec<String>> = keys
        .keys
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let does = if at == 0 { "seals and opens" } else { "opens what is not sealed anew yet" };
            vec![id.clone(), does.to_owned()]
        })
        .collect();
    output::table(&["KEY", "USE"], &rows);
}

/// Waits until everything is sealed with the new key.
async fn settled(client: &Client) -> anyhow::Result<Keys> {
    loop {
        let keys = ask(client, Method::GET).await?;
        match keys.fault {
            Some(fault) => bail!(
                "the new key seals what is written from now on, but not everything is sealed with it yet (that is tried \
                 again): {fault}"
            ),
            None if keys.settled => return Ok(keys),
            None => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

async fn ask(client: &Client, method: Method) -> anyhow::Result<Keys> {
    let request = Request::builder().method(method).uri(PATH).body(Bytes::new())?;
    let response = client.send(request).await?;
    let is_good = response.status().is_success();
    let body = response.into_body().collect().await?.to_bytes();
    if !is_good {
        let status: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("{}", status["message"].as_str().unwrap_or("the API refuses"));
    }
    serde_json::from_slice(&body).context("the API's answer about keys")
}

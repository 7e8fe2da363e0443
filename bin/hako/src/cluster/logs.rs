//! `hako logs pod/NAME`.

use crate::cli::LogsArgs;
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use http_body_util::BodyExt;
use std::process::ExitCode;

pub(crate) async fn logs(target: &Target, args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let (kind, name) = args.name.split_once('/').unwrap_or(("pod", &args.name));
    if !["pod", "pods", "po"].contains(&kind) {
        bail!("{}: only a pod has a log; name it as pod/NAME", args.name);
    }
    let client = super::client(target)?;
    let mut body = client.get_stream(&path(args, name)).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.with_context(|| format!("read the log of pod {name}"))?;
        if let Some(data) = frame.data_ref() {
            output::bytes(data);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(args: &LogsArgs, name: &str) -> String {
    let mut path = format!(
        "/api/v1/namespaces/{}/pods/{name}/log?follow={}&timestamps={}&previous={}",
        args.namespace, args.follow, args.timestamps, args.previous
    );
    if let Some(container) = &args.container {
        path.push_str(&format!("&container={}", crate::engine::escape(container)));
    }
    if let Some(lines) = args.tail {
        path.push_str(&format!("&tailLines={lines}"));
    }
    if let Some(seconds) = args.since {
        path.push_str(&format!("&sinceSeconds={seconds}"));
    }
    path
}

//! `hako ps`, `logs`, `exec`, `stop` and `rm`.

use super::attach::{self, RawTerminal, SizeFollower};
use super::client::{EngineClient, Payload, escape};
use crate::cli::{ExecArgs, LogsArgs, OutputFormat, PsArgs, RmArgs, StopArgs};
use crate::locate::Target;
use crate::output;
use anyhow::Context;
use futures::TryStreamExt;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) async fn ps(target: &Target, args: &PsArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let list = engine
        .json(Method::GET, &format!("/containers/json?all={}", u8::from(args.all)), Payload::Empty)
        .await?;
    let containers = list.as_array().context("the engine gave no list")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let short = |value: &Value| text(value).chars().take(12).collect::<String>();
    match format {
        OutputFormat::Json => output::json(&list),
        _ if args.quiet || format == OutputFormat::Name => {
            containers.iter().for_each(|container| output::line(&short(&container["Id"])));
        }
        _ => {
            let rows: Vec<Vec<String>> = containers
                .iter()
                .map(|container| {
                    let name = text(&container["Names"][0]);
                    vec![
                        short(&container["Id"]),
                        text(&container["Image"]),
                        text(&container["Command"]),
                        text(&container["Status"]),
                        ports(&container["Ports"]),
                        name.trim_start_matches('/').to_owned(),
                    ]
                })
                .collect();
            output::table(&["ID", "IMAGE", "COMMAND", "STATUS", "PORTS", "NAME"], &rows);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ports(ports: &Value) -> String {
    let one = |port: &Value| {
        let inner = format!("{}/{}", port["PrivatePort"], port["Type"].as_str().unwrap_or("tcp"));
        match port["PublicPort"].as_u64() {
            Some(public) => match port["IP"].as_str().unwrap_or("0.0.0.0") {
                ip if ip.contains(':') => format!("[{ip}]:{public}->{inner}"),
                ip => format!("{ip}:{public}->{inner}"),
            },
            None => inner,
        }
    };
    ports.as_array().map(|list| list.iter().map(one).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

pub(crate) async fn logs(target: &Target, args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let name = escape(&args.name);
    let inspect = engine.json(Method::GET, &format!("/containers/{name}/json"), Payload::Empty).await?;
    let tail = args.tail.map_or("all".to_owned(), |lines| lines.to_string());
    let mut path = format!(
        "/containers/{name}/logs?stdout=1&stderr=1&follow={}&timestamps={}&tail={tail}",
        u8::from(args.follow),
        u8::from(args.timestamps)
    );
    if let Some(seconds) = args.since {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        path.push_str(&format!("&since={}", now.saturating_sub(seconds)));
    }
    let response = engine.send(Method::GET, &path, Payload::Empty).await?;
    let stream = response.into_body().into_data_stream().map_err(std::io::Error::other);
    let mut reader = tokio_util::io::StreamReader::new(stream);
    if inspect["Config"]["Tty"].as_bool() == Some(true) {
        tokio::io::copy(&mut reader, &mut tokio::io::stdout()).await.context("read the log")?;
    } else {
        attach::framed(reader).await?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn exec(target: &Target, args: ExecArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let mut body = json!({
        "AttachStdin": args.interactive,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": args.tty,
        "Env": args.env,
        "Cmd": args.command,
    });
    if let Some(user) = &args.user {
        body["User"] = json!(user);
    }
    if let Some(workdir) = &args.workdir {
        body["WorkingDir"] = json!(workdir);
    }
    let path = format!("/containers/{}/exec", escape(&args.container));
    let created = engine.json(Method::POST, &path, Payload::Json(body)).await?;
    let id = created["Id"].as_str().context("the engine gave no id")?.to_owned();
    let start = Payload::Json(json!({ "Detach": false, "Tty": args.tty }));
    let stream = engine.hijack(&format!("/exec/{id}/start"), start).await?;
    let terminal = if args.tty { RawTerminal::enter() } else { None };
    let follower = terminal.as_ref().and_then(|_| SizeFollower::start(&engine, format!("/exec/{id}")));
    let pumped = attach::pump(stream, args.tty, args.interactive).await;
    drop((follower, terminal));
    pumped?;
    let ended = engine.json(Method::GET, &format!("/exec/{id}/json"), Payload::Empty).await?;
    Ok(ExitCode::from(u8::try_from(ended["ExitCode"].as_i64().unwrap_or(1)).unwrap_or(255)))
}

pub(crate) async fn stop(target: &Target, args: &StopArgs) -> anyhow::Result<ExitCode> {
    each(target, &args.containers, Method::POST, |name| format!("/containers/{name}/stop?t={}", args.time))
        .await
}

pub(crate) async fn rm(target: &Target, args: &RmArgs) -> anyhow::Result<ExitCode> {
    each(target, &args.containers, Method::DELETE, |name| {
        format!("/containers/{name}?force={}&v=1", u8::from(args.force))
    })
    .await
}

/// Does the same to each container, prints the names that went well, and fails if any did not.
async fn each(
    target: &Target,
    names: &[String],
    method: Method,
    path: impl Fn(&str) -> String,
) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match engine.send(method.clone(), &path(&escape(name)), Payload::Empty).await {
            Ok(_) => output::line(name),
            // The engine names the container itself.
            Err(error) => code = crate::exit::report(&error),
        }
    }
    Ok(code)
}

//! `hako run`: create, attach, wait, start, in the order that loses neither output nor exit code.

use super::attach::{self, RawTerminal, SizeFollower};
use super::client::{EngineClient, Payload, escape};
use crate::cli::{OutputFormat, PullPolicy, RunArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

pub(crate) async fn run(target: &Target, args: RunArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let query = args.name.as_ref().map(|name| format!("?name={}", escape(name))).unwrap_or_default();
    let created = create(&engine, &format!("/containers/create{query}"), &args).await?;
    let id = created["Id"].as_str().context("the engine gave no id")?.to_owned();
    let ran = if args.detach {
        start(&engine, &id).await.map(|()| {
            match format {
                OutputFormat::Json => output::json(&json!({ "id": id })),
                _ => output::line(&id),
            }
            0
        })
    } else {
        run_attached(&engine, &id, &args).await
    };
    match ran {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) => {
            let code = code_of_failed_start(&engine, &id).await;
            // Nothing half done: a container that never ran is of no use to anybody.
            let _ =
                engine.send(Method::DELETE, &format!("/containers/{id}?force=1&v=1"), Payload::Empty).await;
            match code {
                Some(code) => {
                    crate::exit::report(&error);
                    Ok(ExitCode::from(code))
                }
                None => Err(error),
            }
        }
    }
}

/// Makes the container, of an image that is pulled first where the policy says so.
async fn create(engine: &EngineClient, path: &str, args: &RunArgs) -> anyhow::Result<Value> {
    let body = config(args)?;
    if args.pull == PullPolicy::Always {
        super::remote::bring(engine, &args.image, None, false).await?;
    }
    let created = engine.json(Method::POST, path, Payload::Json(body.clone())).await;
    match created {
        Err(_) if args.pull == PullPolicy::Missing && is_missing(engine, &args.image).await => {
            super::remote::bring(engine, &args.image, None, false)
                .await
                .with_context(|| format!("image {0} is not here: build it with `hako build -t {0} DIR` or import it; it could not be pulled either", args.image))?;
            engine.json(Method::POST, path, Payload::Json(body)).await
        }
        created => created,
    }
}

/// Whether an image of that name is to be looked for elsewhere: it could be a name, and is none here.
async fn is_missing(engine: &EngineClient, image: &str) -> bool {
    let path = format!("/images/{}/json", escape(image));
    image.parse::<hako_names::ImageRef>().is_ok()
        && engine.send(Method::GET, &path, Payload::Empty).await.is_err()
}

async fn start(engine: &EngineClient, id: &str) -> anyhow::Result<()> {
    engine.send(Method::POST, &format!("/containers/{id}/start"), Payload::Empty).await.map(drop)
}

/// 127 or 126 where the program does not exist or cannot be executed, as shells and Docker say it.
async fn code_of_failed_start(engine: &EngineClient, id: &str) -> Option<u8> {
    let container = engine.json(Method::GET, &format!("/containers/{id}/json"), Payload::Empty).await.ok()?;
    let code = container["State"]["ExitCode"].as_u64().and_then(|code| u8::try_from(code).ok());
    code.filter(|code| matches!(code, 126 | 127))
}

async fn run_attached(engine: &EngineClient, id: &str, args: &RunArgs) -> anyhow::Result<u8> {
    let stdin = if args.interactive { "&stdin=1" } else { "" };
    let attach = engine
        .hijack(&format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1{stdin}"), Payload::Empty)
        .await?;
    let condition = if args.rm { "removed" } else { "next-exit" };
    let wait = engine
        .send(Method::POST, &format!("/containers/{id}/wait?condition={condition}"), Payload::Empty)
        .await?;
    if let Err(error) = start(engine, id).await {
        // The engine knows by now with which code it ended, also where --rm has removed it.
        return match exit_code(wait).await {
            Ok(code @ (126 | 127)) => {
                crate::exit::report(&error);
                Ok(code)
            }
            _ => Err(error),
        };
    }
    let terminal = if args.tty { RawTerminal::enter() } else { None };
    let follower = terminal.as_ref().and_then(|_| SizeFollower::start(engine, format!("/containers/{id}")));
    let pumped = attach::pump(attach, args.tty, args.interactive).await;
    drop((follower, terminal));
    pumped?;
    exit_code(wait).await
}

/// The exit code that a wait answers with.
async fn exit_code(wait: Response<Incoming>) -> anyhow::Result<u8> {
    let body = wait.into_body().collect().await.context("wait for the container")?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).context("wait for the container")?;
    if let Some(message) = answer["Error"]["Message"].as_str().filter(|text| !text.is_empty()) {
        bail!("wait for the container: {message}");
    }
    Ok(u8::try_from(answer["StatusCode"].as_i64().unwrap_or(1)).unwrap_or(255))
}

/// The create request's body, Docker Engine API, "Create a container".
fn config(args: &RunArgs) -> anyhow::Result<Value> {
    let (bindings, exposed) = ports(&args.publish)?;
    let (restart, retries) = args.restart.split_once(':').unwrap_or((&args.restart, "0"));
    let retries: i64 = retries
        .parse()
        .with_context(|| format!("restart policy {:?}: not a number after the colon", args.restart))?;
    let mut config = json!({
        "Image": args.image,
        "Env": args.env,
        "Labels": key_values(&args.labels),
        "Tty": args.tty,
        "OpenStdin": args.interactive,
        "StdinOnce": args.interactive,
        "AttachStdin": args.interactive,
        "AttachStdout": !args.detach,
        "AttachStderr": !args.detach,
        "ExposedPorts": exposed,
        "HostConfig": {
            "AutoRemove": args.rm,
            "Binds": args.volumes,
            "NetworkMode": args.network,
            "PortBindings": bindings,
            "ReadonlyRootfs": args.read_only,
            "RestartPolicy": { "Name": restart, "MaximumRetryCount": retries },
        },
    });
    if !args.command.is_empty() {
        config["Cmd"] = json!(args.command);
    }
    if let Some(entrypoint) = &args.entrypoint {
        config["Entrypoint"] = json!([entrypoint]);
    }
    if let Some(user) = &args.user {
        config["User"] = json!(user);
    }
    if let Some(workdir) = &args.workdir {
        config["WorkingDir"] = json!(workdir);
    }
    let host = &mut config["HostConfig"];
    if let Some(memory) = &args.memory {
        host["Memory"] = json!(bytes(memory)?);
    }
    if let Some(cpus) = args.cpus {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a count of billionths of a core, far below 2^53"
        )]
        let nano_cpus = (cpus * 1e9) as i64;
        host["NanoCpus"] = json!(nano_cpus);
    }
    if let Some(limit) = args.pids_limit {
        host["PidsLimit"] = json!(limit);
    }
    Ok(config)
}

pub(super) fn key_values(pairs: &[String]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect()
}

/// `[HOST_IP:][HOST_PORT[-PORT]:]PORT[/PROTO]` as Docker's port bindings and exposed ports.
fn ports(publish: &[String]) -> anyhow::Result<(Map<String, Value>, Map<String, Value>)> {
    let (mut bindings, mut exposed) = (Map::new(), Map::new());
    for text in publish {
        let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let parts: Vec<&str> = address.rsplitn(3, ':').collect();
        let (container, host_port, host_ip) =
            (parts[0], parts.get(1).copied().unwrap_or(""), parts.get(2).copied().unwrap_or(""));
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_range =
            |text: &str| text.split_once('-').is_some_and(|(first, last)| is_port(first) && is_port(last));
        let is_host_port = matches!(host_port, "" | "0") || is_port(host_port) || is_range(host_port);
        if !is_port(container) || !is_host_port {
            bail!("published port {text:?} is not [HOST_IP:][HOST_PORT[-PORT]:]PORT[/tcp|/udp]");
        }
        let key = format!("{container}/{protocol}");
        exposed.insert(key.clone(), json!({}));
        let binding = json!({ "HostIp": host_ip, "HostPort": host_port });
        match bindings.entry(key).or_insert_with(|| json!([])) {
            Value::Array(list) => list.push(binding),
            _ => unreachable!("only lists are put in"),
        }
    }
    Ok((bindings, exposed))
}

/// `512`, `64k`, `256m`, `1g` in bytes.
pub(super) fn bytes(text: &str) -> anyhow::Result<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (number, shift) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 10),
        Some((at, 'm')) => (&lower[..at], 20),
        Some((at, 'g')) => (&lower[..at], 30),
        _ => (lower, 0),
    };
    let number: i64 =
        number.parse().with_context(|| format!("size {text:?} is not a number with k, m or g"))?;
    number
        .checked_shl(shift)
        .filter(|size| size >> shift == number)
        .with_context(|| format!("size {text:?} is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_dockers_suffixes() {
        assert_eq!(bytes("64m").unwrap(), 64 << 20);
        assert_eq!(bytes("1GB").unwrap(), 1 << 30);
        assert!(bytes("much").is_err());
        assert!(bytes("9999999999g").is_err());
    }

    #[test]
    fn published_ports_are_dockers_bindings() {
        let (bindings, exposed) = ports(&["127.0.0.1:8080:80".into(), "53/udp".into()]).unwrap();
        assert_eq!(bindings["80/tcp"], json!([{ "HostIp": "127.0.0.1", "HostPort": "8080" }]));
        assert_eq!(bindings["53/udp"], json!([{ "HostIp": "", "HostPort": "" }]));
        assert!(exposed.contains_key("53/udp"));
        let (bindings, _) = ports(&["[::1]:8000-8010:80".into()]).unwrap();
        assert_eq!(bindings["80/tcp"], json!([{ "HostIp": "[::1]", "HostPort": "8000-8010" }]));
        for bad in ["80:http", "8000-:80", "80:80-81"] {
            assert!(ports(&[bad.into()]).is_err(), "{bad}");
        }
    }
}

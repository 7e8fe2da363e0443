//! `hako build`: sends the request to the builder of this machine and shows what it says.

mod args;
mod attest;
mod cache;
mod limits;
mod request;
mod show;
mod ssh;
mod stdout;

pub(crate) use args::{BuildArgs, take_output};

use super::client::{EngineClient, Payload};
use super::images::for_each_json;
use crate::cli::OutputFormat;
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Parser;
use hako_build::BuildEvent;
use hyper::Method;
use serde_json::Value;
use show::Show;
use std::cell::RefCell;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::time::Duration;
use stdout::Stdout;
use tokio::sync::mpsc;

/// Where the platform takes builds with all that the classic route has no words for.
const ROUTE: &str = "/hako/build";

pub(crate) async fn build(
    target: &Target,
    args: &BuildArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    // Who reads them after a build that failed is not to find those of an earlier one.
    for path in args.iidfile.iter().chain(&args.metadata_file) {
        if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            std::fs::remove_file(path).with_context(|| format!("remove the old {}", path.display()))?;
        }
    }
    let mut show = Show::new(args.style());
    let built = run(&engine, args, &mut show).await;
    show.finish();
    let Done { built, has_stdout } = match (built, show.kept.take()) {
        (Err(error), Some(image)) => return enter(target, &image, &error).await,
        (built, _) => built?,
    };
    if args.check {
        return Ok(checked(&built, format));
    }
    let id = built["id"].as_str().unwrap_or_default();
    if let Some(path) = &args.iidfile {
        std::fs::write(path, id).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &args.metadata_file {
        std::fs::write(path, format!("{built:#}\n")).with_context(|| format!("write {}", path.display()))?;
    }
    match format {
        _ if has_stdout => {}
        OutputFormat::Json => output::json(&built),
        _ if id.is_empty() => {}
        _ => output::line(id),
    }
    Ok(ExitCode::SUCCESS)
}

/// What a check found, and whether it found anything.
fn checked(built: &Value, format: OutputFormat) -> ExitCode {
    let findings = built["findings"].as_array().map_or(0, Vec::len);
    match format {
        OutputFormat::Json => output::json(built),
        _ if findings == 0 => output::line("check complete, no warnings found"),
        _ => output::line(built["report"].as_str().unwrap_or_default().trim_end()),
    }
    if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds and gives the image's id.
pub(crate) async fn build_image(engine: &EngineClient, args: &BuildArgs) -> anyhow::Result<String> {
    let mut show = Show::new(args.style());
    let built = run(engine, args, &mut show).await;
    show.finish();
    built?.built["id"].as_str().map(str::to_owned).context("the builder gave no image id")
}

/// How often the times of running steps are shown anew.
const TICK: Duration = Duration::from_millis(200);

/// What to do about a step that failed.
const ENTER: &str = "\n  build with --on-error=shell to look around in what the step left";

/// What the builder answered.
struct Done {
    built: Value,
    /// Whether standard output is the result's.
    has_stdout: bool,
}

async fn run(engine: &EngineClient, args: &BuildArgs, show: &mut Show) -> anyhow::Result<Done> {
    let (mut request, is_tar) = request::request(args)?;
    let agents = ssh::Agents::lend(&args.ssh)?;
    request.ssh = agents.sockets();
    let stdout = Stdout::take(&mut request.outputs)?;
    let head = format!("{}\n", serde_json::to_string(&request)?);
    let body = Payload::Tar(body(head, is_tar));
    let response = engine.send(Method::POST, ROUTE, body).await?;
    let (mut built, mut failure) = (None, None);
    let show = RefCell::new(show);
    let reading = for_each_json(response.into_body(), |message| {
        if let Ok(event) = serde_json::from_value::<BuildEvent>(message["event"].clone()) {
            show.borrow_mut().event(&event);
        }
        built = message.get("built").cloned().or(built.take());
        failure = message["error"].as_str().map(str::to_owned).or(failure.take());
        Ok(())
    });
    ticking(reading, || show.borrow_mut().tick()).await?;
    if let Some(failure) = failure {
        let hint = if show.borrow().has_failed_run && !request.keep_failed { ENTER } else { "" };
        bail!("build {}: {failure}{hint}", args.context);
    }
    let has_stdout = stdout.is_some();
    stdout.map_or(Ok(()), Stdout::finish)?;
    Ok(Done { built: built.context("the builder ended without a result")?, has_stdout })
}

/// Waits for `work`, and calls `tick` meanwhile.
async fn ticking<T>(work: impl Future<Output = T>, mut tick: impl FnMut()) -> T {
    let mut ticks = tokio::time::interval(TICK);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => tick(),
        }
    }
}

/// A shell in what a failed step left; the image goes when it ends.
async fn enter(target: &Target, image: &str, error: &anyhow::Error) -> anyhow::Result<ExitCode> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    crate::exit::report(error);
    if !is_terminal {
        output::error(&format!(
            "the failed step's files are the image {image}: hako run --rm -it {image} /bin/sh, then hako rmi {image}"
        ));
        return Ok(ExitCode::FAILURE);
    }
    output::error("a shell in what the failed step left; leave it to end the build");
    let words = ["hako", "run", "--rm", "--interactive", "--tty", image, "/bin/sh"];
    let crate::cli::Command::Run(run) = crate::cli::Cli::parse_from(words).command else {
        bail!("there is no command run");
    };
    let entered = super::run(target, *run, OutputFormat::Table).await;
    let engine = EngineClient::new(target.engine_socket()?);
    engine.send(Method::DELETE, &format!("/images/{image}?force=1"), Payload::Empty).await?;
    entered.map(|_| ExitCode::FAILURE)
}

/// The request on a line of its own, then the context if that is standard input.
fn body(head: String, is_tar: bool) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        if sender.blocking_send(Ok(head.into())).is_err() || !is_tar {
            return;
        }
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let piece = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) => Err(error),
            };
            let is_over = piece.is_err();
            // The receiver may be gone: then the builder has answered already.
            if sender.blocking_send(piece).is_err() || is_over {
                return;
            }
        }
    });
    receiver
}

/// A build of a directory, for those who build from inside.
pub(crate) fn of_directory(context: &std::path::Path, tag: &str, build_args: Vec<String>) -> BuildArgs {
    BuildArgs {
        context: context.display().to_string(),
        tags: vec![tag.to_owned()],
        build_args,
        network: "default".into(),
        ..BuildArgs::default()
    }
}

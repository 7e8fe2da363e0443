//! `hako pull`, `push`, `login` and `logout`.

use super::client::{EngineClient, Payload, escape};
use super::credentials::{DockerConfig, Login, key};
use super::transfer;
use crate::cli::{LoginArgs, LogoutArgs, OutputFormat, PullArgs, PushArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use hako_names::ImageRef;
use hyper::Method;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

/// The credentials to send along for a registry; nothing where none are kept.
fn credentials(registry: &str) -> anyhow::Result<Option<String>> {
    let login = DockerConfig::open()?.login(registry)?;
    Ok(login.map(|login| login.header(key(registry))))
}

/// What a pull did.
pub(super) struct Brought {
    digest: String,
    /// Bytes that were moved and that need not be, `null` where nothing was to do.
    traffic: Value,
}

/// Pulls an image with the credentials that are kept for its registry.
pub(super) async fn bring(
    engine: &EngineClient,
    name: &str,
    platform: Option<&str>,
    is_quiet: bool,
) -> anyhow::Result<Brought> {
    let name: ImageRef = name.parse()?;
    let repository = format!("{}/{}", name.registry(), name.repository());
    let reference = name.digest().map(|digest| digest.to_string()).or(name.tag().map(str::to_owned));
    let reference = reference.unwrap_or_default();
    let mut path = format!("/images/create?fromImage={}&tag={}", escape(&repository), escape(&reference));
    if let Some(platform) = platform {
        path.push_str(&format!("&platform={}", escape(platform)));
    }
    let credentials = credentials(name.registry())?;
    let response = engine.send_with(Method::POST, &path, Payload::Empty, credentials.as_deref()).await?;
    let said = transfer::watch(response.into_body(), is_quiet).await?;
    let digest = said.lines.iter().find_map(|line| line.strip_prefix("Digest: ")).unwrap_or_default();
    let traffic = said.aux.iter().find(|aux| aux.get("Moved").is_some()).cloned().unwrap_or_default();
    Ok(Brought { digest: digest.to_owned(), traffic })
}

pub(crate) async fn pull(target: &Target, args: &PullArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let name: ImageRef = args.name.parse()?;
    let engine = EngineClient::new(target.engine_socket()?);
    let brought = bring(&engine, &args.name, args.platform.as_deref(), args.quiet).await?;
    match format {
        OutputFormat::Json => {
            let path = format!("/images/{}/json", escape(&name.to_string()));
            let image = engine.json(Method::GET, &path, Payload::Empty).await?;
            output::json(&json!({
                "name": name.to_string(), "id": image["Id"], "digest": brought.digest,
                "moved": brought.traffic["Moved"].as_u64().unwrap_or(0),
                "saved": brought.traffic["Saved"].as_u64(),
            }));
        }
        _ => output::line(&name.to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn push(target: &Target, args: &PushArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let name: ImageRef = args.name.parse()?;
    let Some(tag) = name.tag().filter(|_| name.digest().is_none()) else {
        bail!("cannot push {name}: a push needs a tag, not a digest");
    };
    let engine = EngineClient::new(target.engine_socket()?);
    let repository = format!("{}/{}", name.registry(), name.repository());
    let mut path = format!("/images/{}/push?tag={}", escape(&repository), escape(tag));
    if let Some(form) = args.compression {
        path.push_str(&format!("&compression={}", escape(&form.to_string())));
    }
    let credentials = credentials(name.registry())?;
    // The engine wants the header here, if only to say that there is nobody.
    let credentials = credentials.unwrap_or_else(|| "e30=".to_owned());
    let response = engine.send_with(Method::POST, &path, Payload::Empty, Some(&credentials)).await?;
    let said = transfer::watch(response.into_body(), args.quiet).await?;
    let pushed = said.aux.first().cloned().unwrap_or_default();
    match format {
        OutputFormat::Json => {
            output::json(&json!({
                "name": name.to_string(), "digest": pushed["Digest"], "size": pushed["Size"],
                "moved": pushed["Moved"], "saved": pushed["Saved"],
            }));
        }
        _ => output::line(&name.to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn login(target: &Target, args: &LoginArgs) -> anyhow::Result<ExitCode> {
    let config = DockerConfig::open()?;
    let engine = EngineClient::new(target.engine_socket()?);
    let login = ask(args)?;
    let checked = engine
        .json(Method::POST, "/auth", Payload::Json(login.json(key(&args.server))))
        .await
        .with_context(|| format!("log in to {}", args.server))?;
    // A registry may give a token to be used from now on in the password's place.
    let login = match checked["IdentityToken"].as_str().filter(|token| !token.is_empty()) {
        Some(token) => Login::IdentityToken(token.to_owned()),
        None => login,
    };
    let place = config.store(&args.server, &login)?;
    output::line(&format!("logged in to {}; the credentials are kept in {place}", args.server));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn logout(args: &LogoutArgs) -> anyhow::Result<ExitCode> {
    match DockerConfig::open()?.erase(&args.server)? {
        true => output::line(&format!("logged out of {}", args.server)),
        false => output::line(&format!("nobody is logged in to {}", args.server)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Name and password, from flags, standard input or the person at the terminal.
fn ask(args: &LoginArgs) -> anyhow::Result<Login> {
    let is_terminal = std::io::stdin().is_terminal();
    let username = match &args.username {
        Some(username) => username.clone(),
        None if args.password_stdin || !is_terminal => bail!("no user's name: give one with --username"),
        None => prompt("user name: ", true)?,
    };
    let password = match args.password_stdin {
        true => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).context("read the password")?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        false if is_terminal => prompt("password: ", false)?,
        false => bail!("standard input is no terminal to ask for a password: pass it with --password-stdin"),
    };
    if username.is_empty() || password.is_empty() {
        bail!("neither name nor password may be empty");
    }
    Ok(Login::Password { username, password })
}

/// Asks on the terminal; what is secret is not shown as it is typed.
fn prompt(question: &str, is_shown: bool) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    output::error_bytes(question.as_bytes());
    let saved = tcgetattr(&stdin).context("ask on the terminal")?;
    if !is_shown {
        let mut silent = saved.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent).context("hide the password")?;
    }
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    if !is_shown {
        tcsetattr(&stdin, OptionalActions::Flush, &saved).context("restore the terminal")?;
        output::error("");
    }
    read.context("read the answer")?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

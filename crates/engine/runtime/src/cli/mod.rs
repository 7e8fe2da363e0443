//! An OCI runtime as a command line, as Docker, Podman and containerd call one.
//!
//! Owns: the commands and flags of `hako runtime`, the state of containers under `--root`.
//! Does not own: a shim: a container's parent is whoever called `create`, as the OCI expects.
//! Invariant: every invocation is one short-lived process without an async runtime; what outlives it is the init and
//! `<root>/<id>/`.

mod args;
mod commands;
mod create;
mod events;
mod exec;
mod flags;
mod foreground;
mod hooks;
mod ps;
mod state;
mod update;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use hako_error::{Error, Kind, Result};

use args::Args;

/// The version of the runtime specification.
const OCI_VERSION: &str = "1.2.0";

const HELP: &str = "\
usage: hako runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND

  create [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] [--pidfd-socket SOCKET]
         [--preserve-fds N] [--no-pivot] [--no-new-keyring] ID   set a container up
  start ID                                         run the program of a created container
  run [--detach] [--keep] [--no-subreaper] [as create] ID   both, and wait for its end
  exec [--process FILE] [--cwd DIR] [--env K=V] [--user UID[:GID]] [--additional-gids GID] [--cap CAP]
       [--no-new-privs] [--apparmor PROFILE] [--cgroup PATH] [--ignore-paused] [--detach] [--tty]
       [--pid-file FILE] [--console-socket SOCKET] [--pidfd-socket SOCKET] [--preserve-fds N]
       ID PROGRAM [ARG...]                         run another process in it
  state ID                                         show a container as JSON
  list [--format table|json] [--quiet]             show all containers
  ps [--format table|json] ID [PS OPTION...]       show its processes
  events [--stats] [--interval TIME] ID            show its counters and out-of-memory kills as JSON
  update [--resources FILE|-] [--memory BYTES] [--cpu-quota US] [...] ID   change its limits
  kill [--all] ID [SIGNAL]                         signal it (default TERM)
  pause ID, resume ID                              freeze it, let it go on
  delete [--force] ID                              remove what is left of it
  spec [--bundle DIR] [--rootless]                 write a config.json to start from
  features                                         show what is supported, as JSON
";

/// As runc ends when it does not know a command.
const UNKNOWN_COMMAND: u8 = 3;

/// Flags before the command.
#[derive(Debug)]
struct Global {
    root: PathBuf,
    log: Option<PathBuf>,
    log_is_json: bool,
}

/// Runs a command; the arguments are those behind `hako runtime`.
pub(crate) fn main(arguments: Vec<OsString>) -> u8 {
    let mut args = match Args::new(arguments) {
        Ok(args) => args,
        Err(error) => return fail(None, &error),
    };
    let format = args.take("log-format");
    let global = Global {
        root: args.take_path("root").unwrap_or_else(|| PathBuf::from("/run/hako/runtime")),
        log: args.take_path("log"),
        log_is_json: format.as_deref() == Some("json"),
    };
    if let Some(format) = format.filter(|format| !matches!(format.as_str(), "text" | "json")) {
        let text = format!("--log-format {format:?} is not known; give text or json");
        return fail(Some(&global), &Error::new(Kind::Invalid, text));
    }
    // As runc: what goes wrong before the program of an exec runs must not be taken for the program's own code.
    let code = if args.is_command("exec") { 255 } else { 1 };
    match run(&global, &mut args) {
        Ok(code) => code,
        Err(error) => {
            fail(Some(&global), &error);
            code
        }
    }
}

fn run(global: &Global, args: &mut Args) -> Result<u8> {
    // Cgroups are always named by path, never asked of systemd, so this only changes how the path is read.
    let is_systemd = args.take_flag("systemd-cgroup");
    // More is said than an error only where there is something to say; no checkpoint needs criu.
    let _without_effect = (args.take_flag("debug"), args.take("criu"));
    let rootless = args.take("rootless");
    if rootless.as_deref().is_some_and(|word| !matches!(word, "false" | "auto")) {
        return Err(Error::new(
            Kind::Unimplemented,
            "--rootless true: containers without root are not supported",
        ));
    }
    if args.take_flag("help") {
        print(HELP)?;
        return Ok(0);
    }
    if args.take_flag("version") {
        print(&format!("hako-runtime version {}\nspec: {OCI_VERSION}\n", env!("CARGO_PKG_VERSION")))?;
        return Ok(0);
    }
    let Some(command) = args.command() else {
        print(HELP)?;
        return Ok(0);
    };
    match command.as_str() {
        "create" => create::create(global, args, is_systemd).map(|()| 0),
        "run" => create::run(global, args, is_systemd),
        "start" => commands::start(global, args).map(|()| 0),
        "exec" => exec::exec(global, args),
        "state" => commands::state(global, args).map(|()| 0),
        "list" => commands::list(global, args).map(|()| 0),
        "kill" => commands::kill(global, args).map(|()| 0),
        "pause" => commands::freeze(global, args, true).map(|()| 0),
        "resume" => commands::freeze(global, args, false).map(|()| 0),
        "ps" => ps::ps(global, args).map(|()| 0),
        "events" => events::events(global, args).map(|()| 0),
        "update" => update::update(global, args).map(|()| 0),
        "checkpoint" | "restore" => {
            let text = format!("{command} is not supported: the state of processes cannot be kept in files");
            Err(Error::new(Kind::Unimplemented, text))
        }
        "delete" => commands::delete(global, args).map(|()| 0),
        "spec" => commands::spec(args).map(|()| 0),
        "features" => args.is_done().and_then(|()| commands::features()).map(|()| 0),
        "help" => match args.command() {
            Some(topic) if flags::of(&topic).is_none() => Ok(unknown(global, &topic)),
            _ => print(HELP).map(|()| 0),
        },
        other => Ok(unknown(global, other)),
    }
}

fn unknown(global: &Global, command: &str) -> u8 {
    let text = format!("unknown command {command:?}; see hako runtime help");
    fail(Some(global), &Error::new(Kind::Invalid, text));
    UNKNOWN_COMMAND
}

fn print(text: &str) -> Result<()> {
    let write = || std::io::stdout().lock().write_all(text.as_bytes());
    write().map_err(|error| Error::new(Kind::Internal, "cannot write to standard output").with_source(error))
}

/// One line to standard error for what does not change the outcome.
fn warn(text: &str) {
    let _unheard = writeln!(std::io::stderr().lock(), "hako runtime: warning: {text}");
}

fn warn_of_capabilities(unknown: &[String]) {
    if !unknown.is_empty() {
        warn(&format!("ignored what is no capability: {}", unknown.join(", ")));
    }
}

/// One line to the log, where engines look for it, and to standard error.
fn fail(global: Option<&Global>, error: &Error) -> u8 {
    let message = error.chain();
    if let Some((global, path)) = global.and_then(|global| Some((global, global.log.as_ref()?))) {
        let time = jiff::Timestamp::now();
        let line = if global.log_is_json {
            let record = serde_json::json!({"level": "error", "msg": message, "time": time.to_string()});
            format!("{record}\n")
        } else {
            format!("time=\"{time}\" level=error msg={message:?}\n")
        };
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // Standard error has it too.
        let _unlogged = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
    let _unheard = writeln!(std::io::stderr().lock(), "hako runtime: {message}");
    1
}

fn internal(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let doing = doing.into();
    move |error| Error::new(Kind::Internal, doing).with_source(error)
}

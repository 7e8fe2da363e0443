//! The shim: the process that holds a sandbox.
//!
//! Owns: the sandbox's namespaces, its containers' processes (as their parent and subreaper), their streams, logs,
//! exits and OOM reports. One thread, one epoll loop, no async runtime: what it costs is multiplied by the number
//! of sandboxes.
//! Does not own: specs (an init reads its plan itself), groups (the engine makes and removes them), restarts.
//! Invariant: it never waits for the engine: connections come and go, containers run on.

mod attach;
mod connection;
mod container;
mod hooks;
mod io;
mod log;
mod once;
mod pause;
mod requests;
mod server;
mod setup;

pub(crate) use setup::ROOT;

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use hako_sys::{Child, CloneFlags};

use crate::wire::{Answer, Assembler, FromShim, Request, ToShim, WireKind, send_blocking};

/// A failed request: its kind and a sentence.
type Refusal = (WireKind, String);

fn refuse<T>(kind: WireKind, message: impl Into<String>) -> Result<T, Refusal> {
    Err((kind, message.into()))
}

/// The process that `hako shim` is: the control socket is its standard input.
pub(crate) fn main(args: &[OsString]) -> ! {
    let is_once = args.first().is_some_and(|arg| arg == "--once");
    crate::descriptors::take(args);
    // A shim outlives whoever started it and must not be waited for by them: what they started ends at once.
    let code = match is_once {
        true => serve(true, false),
        false => i32::from(bear(crate::shims_group::take(args)).is_err()),
    };
    hako_sys::exit_now(code)
}

/// Starts the shim, in its group if that is known and the kernel can (Linux 5.7).
fn bear(group: Option<OwnedFd>) -> std::io::Result<Child> {
    if let Some(group) = group
        && let Ok(child) = hako_sys::spawn_into(group, || serve(false, true))
    {
        return Ok(child);
    }
    hako_sys::spawn(CloneFlags::default(), None, || serve(false, false))
}

fn serve(is_once: bool, is_in_group: bool) -> i32 {
    i32::from(run(is_once, is_in_group).is_err())
}

fn run(is_once: bool, is_in_group: bool) -> std::io::Result<()> {
    use std::os::fd::AsFd;
    let control: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    let mut assembler = Assembler::default();
    let Some((first, fds)) = assembler.receive_blocking::<ToShim>(&control)? else { return Ok(()) };
    if is_once {
        return once::run(&control, first, fds);
    }
    let Request::Configure(config) = first.request else {
        return Err(std::io::ErrorKind::InvalidData.into());
    };
    let prepared = match setup::prepare(&config, fds, is_in_group) {
        Ok(prepared) => prepared,
        Err(message) => {
            let failed = FromShim::Failed { to: first.number, kind: WireKind::Internal, message };
            return send_blocking(control.as_fd(), &failed, &[]);
        }
    };
    let answer = Answer::Pid(std::process::id());
    let sockets: Vec<_> = prepared.dns.iter().flatten().map(AsFd::as_fd).collect();
    send_blocking(control.as_fd(), &FromShim::Reply { to: first.number, answer }, &sockets)?;
    let mut server = server::Server::new(*config, prepared)?;
    server.connect(control)?;
    hako_sys::trim_heap();
    server.serve()
}

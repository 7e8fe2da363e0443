//! A first process of ours, for a program that does not take orphans (`--init`).
//!
//! INVARIANT: it has given up everything the program has not: it forks behind ids, capabilities and seccomp, cannot be
//! traced, and keeps no descriptor.

use hako_sys::{SingleThreaded, Title};
use rustix::process::{DumpableBehavior, Pid, WaitOptions};

use super::error::{InitError, failed};
use crate::plan::ProcessPlan;

/// What Docker's is called, by its path there and by its name.
const PATH: &str = "/sbin/docker-init";
const NAME: &std::ffi::CStr = c"docker-init";

/// Signals that mean this process itself.
const OWN: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGTRAP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Starts the program as a child and stays until it ends; returns only why that failed. `program` says why it could
/// not be executed and gives the exit code.
pub(super) fn run(
    (word, title): (&SingleThreaded, Option<Title>),
    process: &ProcessPlan,
    program: impl FnOnce() -> i32,
) -> InitError {
    let started = hako_sys::block_signals().and_then(|()| {
        hako_sys::fork(word, || {
            lead(process.tty);
            hako_sys::reset_signals();
            program()
        })
    });
    match started {
        Ok(child) => {
            let _unnamed = rustix::thread::set_name(NAME);
            if let Some(title) = title {
                // The command line of the shim, which it is a copy of, tells of the host.
                let words = [PATH, "--"].into_iter().chain(process.args.iter().map(String::as_str));
                title.show(word, &words.collect::<Vec<_>>());
            }
            hako_sys::exit_now(guard(child))
        }
        Err(error) => {
            failed("cannot start the program below the init; does the seccomp profile allow fork?")(error)
        }
    }
}

/// The program leads a group of its own, so that a terminal's signals reach it once.
fn lead(has_terminal: bool) {
    let own = rustix::process::getpid();
    // A session leader cannot, and need not.
    let _led = rustix::process::setpgid(None, None);
    if has_terminal {
        // Without the terminal the program only loses ^C.
        let _foreground = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), own);
    }
}

fn guard(child: u32) -> i32 {
    let prepared = || -> std::io::Result<()> {
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let own = rustix::process::getpid();
        if own != Pid::INIT {
            rustix::process::set_child_subreaper(Some(own))?;
        }
        hako_sys::keep_only(&[])?;
        Ok(())
    };
    if prepared().is_err() {
        return 1;
    }
    let Some(child) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return 1 };
    loop {
        let Ok(signal) = hako_sys::wait_signal() else { return 1 };
        if signal == libc::SIGCHLD {
            if let Some(code) = reap(child) {
                return code;
            }
        } else if !OWN.contains(&signal) {
            // It may have ended just now, which SIGCHLD tells.
            let _ended = hako_sys::signal(child, signal);
        }
    }
}

/// Takes all that ended; the program's exit code when it is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        }
    }
    code
}

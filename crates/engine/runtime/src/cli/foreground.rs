//! A process in the foreground: signals and the terminal go to it, its exit code comes back.

use std::os::fd::{AsFd, OwnedFd};

use hako_error::Result;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::internal;

/// Signals that mean this command itself.
const OWN: [i32; 3] = [libc::SIGCHLD, libc::SIGTTIN, libc::SIGTTOU];

/// Ready to wait: signals are held back from before the process is started, so that none is lost.
#[derive(Debug)]
pub(super) struct Foreground {
    signals: OwnedFd,
}

impl Foreground {
    /// Takes signals from here on; as subreaper, orphans of the container come here and do not stay zombies.
    pub fn prepare(is_subreaper: bool) -> Result<Self> {
        if is_subreaper {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
                .map_err(|errno| internal("cannot become subreaper")(errno.into()))?;
        }
        Ok(Self { signals: hako_sys::all_signals().map_err(internal("cannot wait for signals"))? })
    }

    /// Until the process ends; its exit code, or 128 + signal.
    pub fn wait(self, pid: u32, terminal: Option<OwnedFd>) -> Result<u8> {
        let failed = || internal("cannot wait for the process");
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(255) };
        let mut copy = terminal.map(Relay::new);
        loop {
            // It may have ended before anybody looked.
            if let Some(code) = reap(pid) {
                if let Some(copy) = &mut copy {
                    copy.drain();
                }
                return Ok(code);
            }
            let (mut fds, order) = copy.as_ref().map_or((Vec::new(), Vec::new()), Relay::sources);
            fds.push(PollFd::new(&self.signals, PollFlags::IN));
            rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(|errno| failed()(errno.into()))?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if let Some(copy) = &mut copy {
                order.iter().zip(&ready).filter(|(_, ready)| **ready).for_each(|(way, _)| copy.one(*way));
            }
            if ready.last() == Some(&true) {
                self.pass_on(pid, copy.as_ref()).map_err(failed())?;
            }
        }
    }

    fn pass_on(&self, pid: Pid, copy: Option<&Relay>) -> std::io::Result<()> {
        while let Some(signal) = hako_sys::take_signal(self.signals.as_fd())? {
            match (signal, copy) {
                (libc::SIGWINCH, Some(copy)) => copy.resize(),
                (signal, _) if OWN.contains(&signal) => {}
                // It may have ended just now, which SIGCHLD tells.
                (signal, _) => drop(hako_sys::signal(pid, signal)),
            }
        }
        Ok(())
    }
}

/// Takes all that ended; the exit code when the process is among them.
fn reap(of: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == of {
            let number =
                status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
            code = Some(u8::try_from(number).unwrap_or(255));
        }
    }
    code
}

/// Which way something is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Our own terminal, raw while the container's is copied to it.
struct Relay {
    terminal: OwnedFd,
    saved: Option<Termios>,
    has_input: bool,
    has_output: bool,
}

impl Relay {
    fn new(terminal: OwnedFd) -> Self {
        let stdin = rustix::stdio::stdin();
        let saved = tcgetattr(stdin).ok();
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            // A terminal that cannot be raw echoes twice and works otherwise.
            let _echoes = tcsetattr(stdin, OptionalActions::Now, &raw);
        }
        let copy = Self { terminal, saved, has_input: true, has_output: true };
        copy.resize();
        copy
    }

    fn resize(&self) {
        if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
            // One that is gone has no size.
            let _gone = tcsetwinsize(&self.terminal, size);
        }
    }

    fn sources(&self) -> (Vec<PollFd<'_>>, Vec<Way>) {
        let (mut fds, mut order) = (Vec::new(), Vec::new());
        if self.has_input {
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
            order.push(Way::In);
        }
        if self.has_output {
            fds.push(PollFd::new(&self.terminal, PollFlags::IN));
            order.push(Way::Out);
        }
        (fds, order)
    }

    fn one(&mut self, way: Way) {
        let mut data = [0; 16 << 10];
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let (read, to) = match way {
            Way::In => (rustix::io::read(stdin, &mut data), self.terminal.as_fd()),
            Way::Out => (rustix::io::read(&self.terminal, &mut data), stdout),
        };
        let is_over = match read {
            Ok(0) => true,
            Ok(count) => write_all(to, &data[..count]).is_err(),
            Err(Errno::INTR | Errno::AGAIN) => false,
            // A terminal without a slave gives EIO: its end.
            Err(_) => true,
        };
        if is_over {
            match way {
                Way::In => self.has_input = false,
                Way::Out => self.has_output = false,
            }
        }
    }

    /// What the program left in its terminal.
    fn drain(&mut self) {
        let now = rustix::event::Timespec::default();
        while self.has_output {
            let mut fds = [PollFd::new(&self.terminal, PollFlags::IN)];
            if !matches!(poll(&mut fds, Some(&now)), Ok(1..)) {
                return;
            }
            self.one(Way::Out);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _as_it_is = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, saved);
        }
    }
}

fn write_all(to: std::os::fd::BorrowedFd<'_>, mut data: &[u8]) -> rustix::io::Result<()> {
    while !data.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(to, data))?;
        data = &data[written..];
    }
    Ok(())
}

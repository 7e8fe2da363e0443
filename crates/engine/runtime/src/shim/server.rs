//! The loop: descriptors become readable, processes end.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use hako_sys::Child;
use rustix::event::epoll;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::attach::Attached;
use super::connection::Connection;
use super::container::Container;
use super::setup::Prepared;
use crate::types::{ContainerStatus, Exit, ShimConfig, ShimEvent};
use crate::user::UserNamespace;
use crate::wire::{Answer, FromShim, ToShim, WireKind};

/// What a token of the epoll set stands for.
#[derive(Debug)]
pub(super) enum Source {
    Listener,
    Signals,
    Connection,
    Attached,
    /// An init's status socket.
    Init {
        container: String,
        exec: Option<String>,
    },
    /// A container's output: stream 1 or 2.
    Output {
        container: String,
        stream: u8,
        fd: OwnedFd,
        is_paused: bool,
    },
    /// A container's input, when it takes no more.
    Input {
        container: String,
    },
    Oom {
        container: String,
        fd: OwnedFd,
    },
}

#[derive(Debug)]
pub(super) struct Server {
    pub config: ShimConfig,
    epoll: OwnedFd,
    next_token: u64,
    listener: UnixListener,
    signals: OwnedFd,
    pub sources: HashMap<u64, Source>,
    pub connections: HashMap<u64, Connection>,
    pub attached: HashMap<u64, Attached>,
    pub containers: BTreeMap<String, Container>,
    /// The first process of the containers' pid namespace, where they share one.
    pub pause: Option<Child>,
    /// Where names are asked for: UDP and TCP.
    pub dns: Option<[OwnedFd; 2]>,
    /// The network namespace the shim came from, from where log daemons are reached.
    pub home_net: Option<OwnedFd>,
    /// The user namespace of the containers, where they have one.
    pub user: Option<UserNamespace>,
    pub is_done: bool,
}

/// Why something could not be watched is of no use to anybody but the next write; it is noticed there.
impl Server {
    pub fn new(config: ShimConfig, prepared: Prepared) -> io::Result<Self> {
        let Prepared { listener, pause, dns, home_net, user } = prepared;
        let mut server = Self {
            config,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            next_token: 0,
            listener,
            signals: hako_sys::child_signals()?,
            sources: HashMap::new(),
            connections: HashMap::new(),
            attached: HashMap::new(),
            containers: BTreeMap::new(),
            pause,
            dns,
            home_net,
            user,
            is_done: false,
        };
        let token = server.token();
        epoll::add(&server.epoll, &server.listener, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        server.sources.insert(token, Source::Listener);
        let token = server.token();
        epoll::add(&server.epoll, &server.signals, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        server.sources.insert(token, Source::Signals);
        Ok(server)
    }

    pub fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    pub fn watch(&self, fd: BorrowedFd<'_>, token: u64, flags: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        match epoll::add(&self.epoll, fd, data, flags) {
            Err(rustix::io::Errno::EXIST) => Ok(epoll::modify(&self.epoll, fd, data, flags)?),
            other => Ok(other?),
        }
    }

    pub fn unwatch(&self, fd: BorrowedFd<'_>) {
        // What is not watched is what is wanted.
        let _absent = epoll::delete(&self.epoll, fd);
    }

    /// Takes a connection into the loop.
    pub fn connect(&mut self, socket: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let token = self.token();
        self.watch(socket.as_fd(), token, epoll::EventFlags::IN)?;
        self.sources.insert(token, Source::Connection);
        self.connections.insert(token, Connection::new(socket));
        Ok(())
    }

    /// Runs until a shutdown.
    pub fn serve(&mut self) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(32);
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        while !self.is_done {
            events.clear();
            let timeout = self.attached.values().any(Attached::has_waiting).then_some(&second);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.handle(event.data.u64(), event.flags);
            }
            self.drop_stuck();
        }
        Ok(())
    }

    fn handle(&mut self, token: u64, flags: epoll::EventFlags) {
        match self.sources.get(&token) {
            None => {}
            Some(Source::Listener) => {
                while let Ok((socket, _)) = self.listener.accept() {
                    // One that cannot be watched is closed again.
                    let _closed = self.connect(socket.into());
                }
            }
            Some(Source::Signals) => self.reap(),
            Some(Source::Connection) => self.serve_connection(token, flags),
            Some(Source::Attached) => self.serve_attached(token, flags),
            Some(Source::Init { container, exec }) => {
                let (container, exec) = (container.clone(), exec.clone());
                self.read_init(token, &container, exec.as_deref());
            }
            Some(Source::Output { .. }) => {
                self.copy_output(token);
            }
            Some(Source::Input { container }) => {
                let container = container.clone();
                self.write_input(&container);
            }
            Some(Source::Oom { container, fd }) => {
                let mut drained = [0; 4096];
                let _spurious = rustix::io::read(fd, &mut drained);
                let container = container.clone();
                self.report_oom(&container);
            }
        }
    }

    fn serve_connection(&mut self, token: u64, flags: epoll::EventFlags) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if flags.contains(epoll::EventFlags::OUT) && connection.flush().is_err() {
            return self.disconnect(token);
        }
        let mut data = [0; 16 << 10];
        let mut requests = Vec::new();
        loop {
            let mut fds = Vec::new();
            match hako_sys::receive_nonblocking(connection.socket.as_fd(), &mut data, &mut fds) {
                Ok(0) => return self.disconnect(token),
                Ok(count) => connection.assembler.push(&data[..count], fds),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.disconnect(token),
            }
            loop {
                match connection.assembler.next::<ToShim>() {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(_) => return self.disconnect(token),
                }
            }
        }
        for (request, fds) in requests {
            self.request(token, request, fds);
        }
        self.rewatch_connection(token);
    }

    pub fn disconnect(&mut self, token: u64) {
        self.sources.remove(&token);
        if let Some(connection) = self.connections.remove(&token) {
            self.unwatch(connection.socket.as_fd());
        }
    }

    fn rewatch_connection(&mut self, token: u64) {
        let Some(connection) = self.connections.get(&token) else { return };
        let mut flags = epoll::EventFlags::IN;
        if connection.has_waiting() {
            flags |= epoll::EventFlags::OUT;
        }
        if self.watch(connection.socket.as_fd(), token, flags).is_err() {
            self.disconnect(token);
        }
    }

    pub fn reply(&mut self, to: (u64, u64), answer: Answer, fds: &[BorrowedFd<'_>]) {
        self.send(to.0, &FromShim::Reply { to: to.1, answer }, fds);
    }

    pub fn fail(&mut self, to: (u64, u64), kind: WireKind, message: String) {
        self.send(to.0, &FromShim::Failed { to: to.1, kind, message }, &[]);
    }

    fn send(&mut self, token: u64, message: &FromShim, fds: &[BorrowedFd<'_>]) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match connection.send(message, fds) {
            Ok(()) => self.rewatch_connection(token),
            Err(_) => self.disconnect(token),
        }
    }

    pub fn broadcast(&mut self, event: &ShimEvent) {
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            self.send(token, &FromShim::Event(event.clone()), &[]);
        }
    }

    /// Takes every process that ended: containers, exec'd ones, and orphans that became ours.
    fn reap(&mut self) {
        let mut drained = [0; 1024];
        let _spurious = rustix::io::read(&self.signals, &mut drained);
        // Children lead sessions of their own: this has to be any child, not any of our process group.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            let exit = exit_of(status);
            if let Some(id) = self
                .containers
                .values()
                .find(|one| one.pid == pid && one.is_alive())
                .map(|one| one.id.clone())
            {
                self.container_exited(&id, exit);
                continue;
            }
            let found = self.containers.values().find_map(|container| {
                let (exec, _) = container.execs.iter().find(|(_, exec)| exec.pid == pid)?;
                Some((container.id.clone(), exec.clone()))
            });
            if let Some((id, exec)) = found {
                self.exec_exited(&id, &exec, exit);
            }
        }
    }

    fn container_exited(&mut self, id: &str, mut exit: Exit) {
        // An init that failed said why before it died; that answer goes out first.
        self.drain_init(id, None);
        self.drain_outputs(id);
        self.report_oom(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        exit.oom_killed = container.oom.as_ref().is_some_and(|oom| oom.reported > 0);
        container.status = ContainerStatus::Stopped;
        container.exit = Some(exit.clone());
        container.input = None;
        let waiting = [container.creating.take(), container.starting.take()];
        let was_creating = waiting[0].is_some() || container.awaits_hooks;
        for to in waiting.into_iter().flatten() {
            let message =
                format!("the init of container {id} died with code {} while it was set up", exit.code);
            self.fail(to, WireKind::Internal, message);
        }
        if was_creating {
            self.forget(id);
            return;
        }
        self.record(id, &exit);
        self.end_attached(id);
        let Exit { code, signal, oom_killed, at } = exit;
        let (id, exec) = (id.to_owned(), None);
        self.broadcast(&ShimEvent::Exited { id, exec, code, signal, oom_killed, at });
        hako_sys::trim_heap();
    }

    fn exec_exited(&mut self, id: &str, exec: &str, exit: Exit) {
        self.drain_init(id, Some(exec));
        self.report_oom(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(ended) = container.execs.remove(exec) else { return };
        if let Some(to) = ended.starting {
            let message =
                format!("process {exec} in container {id} died with code {} while it was set up", exit.code);
            self.fail(to, WireKind::Internal, message);
            return;
        }
        let Exit { code, signal, oom_killed, at } = exit;
        self.broadcast(&ShimEvent::Exited {
            id: id.to_owned(),
            exec: Some(exec.to_owned()),
            code,
            signal,
            oom_killed,
            at,
        });
    }

    /// Keeps an exit as a file, for an engine that is not there now. The file appears whole or not at all; it need
    /// not outlive the machine, as no container does.
    fn record(&self, id: &str, exit: &Exit) {
        let path = self.config.state_dir.join(format!("{id}.exit"));
        let whole = path.with_extension("exit.new");
        let write = || -> io::Result<()> {
            std::fs::write(&whole, serde_json::to_vec(exit)?)?;
            std::fs::rename(&whole, &path)
        };
        // On a full disk the record stays in memory, where `State` finds it.
        let _kept_in_memory = write();
    }

    fn report_oom(&mut self, id: &str) {
        let Some(oom) = self.containers.get_mut(id).and_then(|container| container.oom.as_mut()) else {
            return;
        };
        let kills = oom.kills();
        if kills > oom.reported {
            oom.reported = kills;
            self.broadcast(&ShimEvent::Oom { id: id.to_owned(), kills });
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    let signal = status.terminating_signal();
    Exit {
        code: status.exit_status().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
        signal,
        oom_killed: false,
        at: jiff::Timestamp::now(),
    }
}

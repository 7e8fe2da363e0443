//! Streams: output to log and clients, input from clients.

use std::io;
use std::os::fd::AsFd;

use rustix::event::epoll::EventFlags;

use super::container::MAX_INPUT;
use super::server::{Server, Source};
use crate::types::ContainerStatus;

/// Reads of one stream in a row when its container has exited: more than a pipe can hold.
const DRAIN_READS: usize = 64;

impl Server {
    /// Copies one piece of output; `false` when there is none now.
    pub(super) fn copy_output(&mut self, token: u64) -> bool {
        let Some(Source::Output { container, stream, fd, .. }) = self.sources.get(&token) else {
            return false;
        };
        let (id, stream) = (container.clone(), *stream);
        let mut data = [0; 32 << 10];
        let count = match rustix::io::read(fd, &mut data) {
            Ok(count) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return false,
            // A terminal without a slave gives EIO: its end.
            Err(_) => 0,
        };
        if count == 0 {
            self.end_output(token, &id, stream);
            return false;
        }
        if let Some(container) = self.containers.get_mut(&id) {
            container.log.write(stream, &data[..count]);
        }
        let clients = self.clients_of(&id);
        for client in clients {
            if let Some(attached) = self.attached.get_mut(&client) {
                attached.push(stream, &data[..count]);
            }
            self.flush_attached(client);
        }
        true
    }

    fn end_output(&mut self, token: u64, id: &str, stream: u8) {
        if let Some(Source::Output { fd, .. }) = self.sources.remove(&token) {
            self.unwatch(fd.as_fd());
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.outputs.retain(|output| *output != token);
            container.log.finish(stream);
        }
    }

    /// Takes what a container that exited left in its pipes.
    pub(super) fn drain_outputs(&mut self, id: &str) {
        let outputs = self.containers.get(id).map(|container| container.outputs.clone()).unwrap_or_default();
        for token in outputs {
            for _ in 0..DRAIN_READS {
                if !self.copy_output(token) {
                    break;
                }
            }
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.log.finish(1);
            container.log.finish(2);
        }
    }

    fn clients_of(&self, id: &str) -> Vec<u64> {
        let of = self.attached.iter().filter(|(_, attached)| attached.container == id);
        of.map(|(token, _)| *token).collect()
    }

    /// Lets clients of a container go when they have everything.
    pub(super) fn end_attached(&mut self, id: &str) {
        for client in self.clients_of(id) {
            if let Some(attached) = self.attached.get_mut(&client) {
                attached.is_ending = true;
            }
            self.flush_attached(client);
        }
    }

    pub(super) fn flush_attached(&mut self, token: u64) {
        let Some(attached) = self.attached.get_mut(&token) else { return };
        let container = attached.container.clone();
        let is_over = attached.flush().is_err() || (attached.is_ending && !attached.has_waiting());
        if is_over {
            self.detach(token);
        } else {
            self.rewatch_attached(token);
        }
        self.pace_outputs(&container);
    }

    pub(super) fn detach(&mut self, token: u64) {
        self.sources.remove(&token);
        if let Some(attached) = self.attached.remove(&token) {
            self.unwatch(attached.socket.as_fd());
        }
    }

    fn rewatch_attached(&mut self, token: u64) {
        let Some(attached) = self.attached.get(&token) else { return };
        let has_room = self
            .containers
            .get(&attached.container)
            .is_some_and(|container| container.input_waiting.len() < MAX_INPUT);
        let mut flags = EventFlags::empty();
        if attached.has_input && has_room {
            flags |= EventFlags::IN;
        }
        if attached.has_waiting() {
            flags |= EventFlags::OUT;
        }
        if self.watch(attached.socket.as_fd(), token, flags).is_err() {
            self.detach(token);
        }
    }

    /// Holds a container's output back while a client's buffer is full.
    fn pace_outputs(&mut self, id: &str) {
        let is_full = self.attached.values().any(|attached| attached.container == id && attached.is_full());
        let outputs = self.containers.get(id).map(|container| container.outputs.clone()).unwrap_or_default();
        for token in outputs {
            let Some(Source::Output { fd, is_paused, .. }) = self.sources.get(&token) else { continue };
            if *is_paused == is_full {
                continue;
            }
            let flags = if is_full { EventFlags::empty() } else { EventFlags::IN };
            // One that cannot be watched any more ends with its container.
            let _ended = self.watch(fd.as_fd(), token, flags);
            if let Some(Source::Output { is_paused, .. }) = self.sources.get_mut(&token) {
                *is_paused = is_full;
            }
        }
    }

    pub(super) fn drop_stuck(&mut self) {
        let stuck: Vec<u64> =
            self.attached.iter().filter(|(_, one)| one.is_stuck()).map(|(token, _)| *token).collect();
        for token in stuck {
            let container =
                self.attached.get(&token).map(|attached| attached.container.clone()).unwrap_or_default();
            self.detach(token);
            self.pace_outputs(&container);
        }
    }

    pub(super) fn serve_attached(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::IN) {
            self.read_attached(token);
        } else if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return self.detach(token);
        }
        self.flush_attached(token);
    }

    fn read_attached(&mut self, token: u64) {
        let Some(attached) = self.attached.get_mut(&token) else { return };
        let id = attached.container.clone();
        let mut data = [0; 16 << 10];
        let count = match rustix::io::read(&attached.socket, &mut data) {
            Ok(count) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            Err(_) => 0,
        };
        if count == 0 {
            attached.has_input = false;
        }
        let Some(container) = self.containers.get_mut(&id) else { return };
        if count == 0 {
            container.input_ends |= container.stdin_once && !container.tty;
        } else if container.input.is_some() {
            container.input_waiting.extend_from_slice(&data[..count]);
        }
        self.write_input(&id);
    }

    /// Writes waiting input, as far as the container takes it.
    pub(super) fn write_input(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(input) = &container.input else { return };
        let mut is_blocked = false;
        while !container.input_waiting.is_empty() {
            match rustix::io::write(input, &container.input_waiting) {
                Ok(written) => drop(container.input_waiting.drain(..written)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    is_blocked = true;
                    break;
                }
                Err(_) => {
                    container.input_waiting.clear();
                    container.input_ends = true;
                }
            }
        }
        if container.input_ends && container.input_waiting.is_empty() {
            container.input_waiting = Vec::new();
            let token = container.input_token.take();
            container.input = None;
            token.map(|token| self.sources.remove(&token));
        } else {
            self.watch_input(id, is_blocked);
        }
        for client in self.clients_of(id) {
            self.rewatch_attached(client);
        }
    }

    fn watch_input(&mut self, id: &str, is_blocked: bool) {
        let token = self.token();
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.input.is_none() {
            return;
        }
        let flags = if is_blocked { EventFlags::OUT } else { EventFlags::empty() };
        match container.input_token {
            None if !is_blocked => return,
            None => container.input_token = Some(token),
            Some(_) => {}
        }
        let token = container.input_token.unwrap_or(token);
        let container = id.to_owned();
        self.sources.insert(token, Source::Input { container });
        if let Some(input) = self.containers.get(id).and_then(|container| container.input.as_ref()) {
            // Without it input waits for the next piece.
            let _later = self.watch(input.as_fd(), token, flags);
        }
    }

    /// Attaches a client.
    pub(super) fn attach(&mut self, id: &str, socket: std::os::fd::OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let token = self.token();
        self.watch(socket.as_fd(), token, EventFlags::IN)?;
        self.sources.insert(token, Source::Attached);
        self.attached.insert(token, super::attach::Attached::new(id.to_owned(), socket));
        let is_over =
            self.containers.get(id).is_none_or(|container| container.status == ContainerStatus::Stopped);
        if is_over {
            self.end_attached(id);
        }
        Ok(())
    }
}

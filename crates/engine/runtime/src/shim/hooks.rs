//! Waiting for hooks of the host. They are the engine's to run: the shim is in the sandbox's namespaces.

use std::os::fd::AsFd;

use super::requests::Outcome;
use super::server::Server;
use super::{Refusal, refuse};
use crate::init::HOOKS_RAN;
use crate::wire::{Answer, WireKind};

impl Server {
    /// The init stands still until [`Server::hooks_ran`].
    pub(super) fn init_mounted(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.awaits_hooks = true;
        let (to, pid) = (container.creating.take(), container.pid);
        if let Some(to) = to {
            self.reply(to, Answer::Mounted(pid), &[]);
        }
    }

    /// Lets it go on; who asks gets the answer that creating the container has in the end.
    pub(super) fn hooks_ran(&mut self, id: &str, to: (u64, u64)) -> Result<Outcome, Refusal> {
        let died = || (WireKind::Internal, format!("the init of container {id} died while its hooks ran"));
        let container = self.containers.get_mut(id).ok_or_else(died)?;
        if !container.awaits_hooks {
            return refuse(WireKind::FailedPrecondition, format!("container {id} waits for no hooks"));
        }
        let init = container.init.as_ref().ok_or_else(died)?;
        hako_sys::send(init.as_fd(), &[HOOKS_RAN], &[]).map_err(|_| died())?;
        container.awaits_hooks = false;
        container.creating = Some(to);
        Ok(Outcome::Later)
    }
}

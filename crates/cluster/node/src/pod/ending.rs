//! How a pod ends: its address first, then its containers, then everything else.

use super::action::Action;
use super::machine::{Machine, SandboxState, Stage, later};
use super::slot::{Role, Slot, SlotState};
use jiff::{SignedDuration, Timestamp};

impl Machine {
    /// Begins to end by `deadline`, or ends sooner than planned.
    pub(super) fn begin_stop(&mut self, deadline: Timestamp, now: Timestamp, out: &mut Vec<Action>) {
        match self.stage {
            Stage::Active => {
                let running = self.slots.iter().enumerate().filter(|(_, slot)| slot.live().is_some());
                out.extend(running.map(|(container, _)| Action::StopProbes { container }));
                self.stage = match self.ip().filter(|_| self.can_be_reached()) {
                    Some(ip) => {
                        let share = deadline.duration_since(now) / 2;
                        let until = later(now, share.max(SignedDuration::ZERO));
                        out.push(Action::Drain { ip, deadline: until });
                        Stage::Draining { deadline }
                    }
                    None => Stage::Stopping { deadline },
                };
            }
            Stage::Draining { deadline: before } if deadline < before => {
                // What is left of the time belongs to the containers.
                self.stage = Stage::Stopping { deadline };
            }
            Stage::Stopping { deadline: before } if deadline < before => {
                self.stage = Stage::Stopping { deadline };
                out.push(Action::Hasten { deadline });
            }
            Stage::Finished => self.clean_up(out),
            _ => {}
        }
    }

    /// An address of the host is not the pod's to withdraw.
    pub(super) fn can_be_reached(&self) -> bool {
        let is_host = self.spec().is_some_and(|spec| spec.host_network == Some(true));
        !is_host && self.slots.iter().any(|slot| slot.live().is_some())
    }

    pub(super) fn advance_stopping(&mut self, deadline: Timestamp, out: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            if self.slots[index].role != Role::Sidecar {
                let message = format!("Stopping container {}", self.slots[index].name);
                self.kill(index, message, deadline, out);
            }
        }
        let is_alive = |slot: &Slot| slot.role != Role::Sidecar && slot.is_alive();
        if self.slots.iter().any(is_alive) || !self.stop_sidecars(deadline, out) {
            return;
        }
        for slot in &mut self.slots {
            if slot.ended.is_some() {
                slot.state = SlotState::Ended;
            }
        }
        match self.sandbox {
            SandboxState::Making | SandboxState::Stopping => {}
            _ if self.is_to_vanish() => self.clean_up(out),
            _ => self.finish(out),
        }
    }

    pub(super) fn is_to_vanish(&self) -> bool {
        self.is_object_gone || self.is_shutdown || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Stops sidecars one after the other, the last one first; says whether all have ended.
    pub(super) fn stop_sidecars(&mut self, deadline: Timestamp, out: &mut Vec<Action>) -> bool {
        let is_alive = |slot: &Slot| slot.role == Role::Sidecar && slot.is_alive();
        let Some(index) = self.slots.iter().rposition(is_alive) else {
            return true;
        };
        let message = format!("Stopping container {}", self.slots[index].name);
        self.kill(index, message, deadline, out);
        false
    }

    pub(super) fn clean_up(&mut self, out: &mut Vec<Action>) {
        self.stage = Stage::CleaningUp;
        out.push(Action::CleanUp);
    }

    pub(super) fn cleaned_up(&mut self, out: &mut Vec<Action>) {
        let is_deleted = self.pod.metadata.deletion_timestamp.is_some();
        if self.is_object_gone || !is_deleted {
            self.stage = Stage::Gone;
            return;
        }
        self.stage = Stage::Deleting;
        out.push(Action::DeleteObject);
    }
}

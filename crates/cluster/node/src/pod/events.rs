//! What happens to the containers of a pod, and what follows.

use super::action::{Action, PodEvent, Run, StartFailure, Verdict};
use super::machine::{Machine, Stage, identity, later};
use super::slot::{Role, SlotState};
use crate::probe::ProbeKind;
use hako_container::Exit;
use jiff::{SignedDuration, Timestamp};

impl Machine {
    pub(super) fn started(&mut self, index: usize, run: Run, out: &mut Vec<Action>) {
        let (id, attempt) = (run.id.clone(), run.attempt);
        self.slots[index].started(run, &self.pod);
        out.push(Action::Watch { container: index, attempt, id });
        if self.stage != Stage::Active {
            return;
        }
        if self.slots[index].live().is_some_and(|live| !live.is_set_up) {
            out.push(Action::PostStart { container: index, attempt });
        }
        self.probe(index, out);
    }

    /// Starts the probes whose turn it is.
    pub(super) fn probe(&self, index: usize, out: &mut Vec<Action>) {
        let slot = &self.slots[index];
        let Some(live) = slot.live() else { return };
        let kinds = match live.is_started {
            true => slot.probes(&self.pod),
            false => vec![ProbeKind::Startup],
        };
        let attempt = live.run.attempt;
        out.extend(kinds.into_iter().map(|kind| Action::Probe { container: index, attempt, kind }));
    }

    pub(super) fn start_failed(
        &mut self,
        index: usize,
        attempt: u32,
        failure: StartFailure,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let slot = &mut self.slots[index];
        if slot.attempt != attempt || slot.state != SlotState::Starting {
            return;
        }
        let field = slot.field();
        match failure {
            StartFailure::Retry { reason, message } => {
                let text = format!("Error: {message}");
                slot.failed(reason, message, now);
                out.push(Action::Emit(PodEvent::warning("Failed", text).about(field)));
            }
            StartFailure::Run { ref message, .. } => {
                let text = format!("Error: {message}");
                slot.failed_to_run(failure);
                out.push(Action::Emit(PodEvent::warning("Failed", text).about(field)));
                self.decide(index, out);
            }
        }
    }

    pub(super) fn post_start_done(
        &mut self,
        index: usize,
        attempt: u32,
        result: Result<(), String>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(live) = self.slots[index].live_mut(attempt) else {
            return;
        };
        match result {
            Ok(()) => live.is_set_up = true,
            Err(why) => {
                let text = format!("PostStartHook failed: {why}");
                let event = PodEvent::warning("FailedPostStartHook", text).about(self.slots[index].field());
                out.push(Action::Emit(event));
                let message = format!("Container {} failed its postStart hook", self.slots[index].name);
                self.kill(index, message, later(now, self.grace()), out);
            }
        }
    }

    pub(super) fn exited(&mut self, index: usize, attempt: u32, exit: Exit, out: &mut Vec<Action>) {
        let Some(live) = self.slots[index].live_mut(attempt) else {
            return;
        };
        let id = live.run.id.clone();
        out.push(Action::StopProbes { container: index });
        self.slots[index].exited(Some(id), exit);
        self.decide(index, out);
    }

    /// Whether a container that ended runs again, and when.
    pub(super) fn decide(&mut self, index: usize, out: &mut Vec<Action>) {
        if self.stage != Stage::Active {
            return;
        }
        let policy = self.restart_policy().to_owned();
        let are_mains_over = self.are_mains_over();
        let slot = &mut self.slots[index];
        let failed = slot.ended.as_ref().is_some_and(|ended| ended.exit.code != 0);
        let runs_again = slot.is_replaced
            || match slot.role {
                Role::Main => policy == "Always" || (policy == "OnFailure" && failed),
                Role::Init => failed && policy != "Never",
                Role::Sidecar => !are_mains_over,
                Role::Ephemeral => false,
            };
        if !runs_again {
            return;
        }
        if !slot.back_off().is_zero() {
            let text =
                format!("Back-off restarting failed container {} in pod {}", slot.name, identity(&self.pod));
            out.push(Action::Emit(PodEvent::warning("BackOff", text).about(slot.field())));
        }
    }

    pub(super) fn probed(
        &mut self,
        index: usize,
        attempt: u32,
        kind: ProbeKind,
        verdict: Verdict,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(live) = self.slots[index].live_mut(attempt) else {
            return;
        };
        if live.is_stopping {
            return;
        }
        match (kind, &verdict) {
            (ProbeKind::Startup, Verdict::Success) => {
                live.is_started = true;
                self.probe(index, out);
            }
            (ProbeKind::Readiness, Verdict::Success) => live.passes_readiness = true,
            (ProbeKind::Readiness, Verdict::Failure(_)) => live.passes_readiness = false,
            _ => {}
        }
        if let Verdict::Failing(message) | Verdict::Failure(message) = &verdict {
            let text = format!("{} probe failed: {message}", kind.title());
            let event = PodEvent::warning("Unhealthy", text).about(self.slots[index].field());
            out.push(Action::Emit(event));
        }
        if matches!(verdict, Verdict::Failure(_)) && kind != ProbeKind::Readiness {
            self.unhealthy(index, kind, now, out);
        }
    }

    pub(super) fn unhealthy(&mut self, index: usize, kind: ProbeKind, now: Timestamp, out: &mut Vec<Action>) {
        let slot = &self.slots[index];
        let container = slot.container(&self.pod);
        let own = container.and_then(|c| kind.of(c)).and_then(|p| p.termination_grace_period_seconds);
        let grace = own.map_or(self.grace(), SignedDuration::from_secs);
        let probe = kind.title().to_lowercase();
        let message = format!("Container {} failed {probe} probe, will be restarted", slot.name);
        self.kill(index, message, later(now, grace), out);
    }

    /// Asks a living container to end.
    pub(super) fn kill(&mut self, index: usize, message: String, deadline: Timestamp, out: &mut Vec<Action>) {
        let slot = &mut self.slots[index];
        let field = slot.field();
        let SlotState::Running(live) = &mut slot.state else {
            return;
        };
        if std::mem::replace(&mut live.is_stopping, true) {
            return;
        }
        let id = live.run.id.clone();
        out.push(Action::StopProbes { container: index });
        out.push(Action::Emit(PodEvent::normal("Killing", message).about(field)));
        out.push(Action::Stop { container: index, id, deadline });
    }
}

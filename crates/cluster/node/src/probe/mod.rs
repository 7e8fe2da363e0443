//! Probes: asking a container whether it has started, is ready and lives.
//!
//! Owns: the schedule, the thresholds and the four ways of asking. Does not own: what an answer leads to; that is
//! the pod's state machine. Invariant: one probe of a container is under way at most once.

mod ask;
mod grpc;
mod http;
mod schedule;

pub(crate) use ask::{Asker, Endpoint, exec, port_of};
pub(crate) use http::{HttpRequest, get};
pub(crate) use schedule::{Schedule, run};

use k8s_openapi::api::core::v1::{Container, Probe};

/// What a probe is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProbeKind {
    /// Whether the program has come up; until then nothing else is asked.
    Startup,
    /// Whether it can take requests.
    Readiness,
    /// Whether it still works; if not it is restarted.
    Liveness,
}

impl ProbeKind {
    /// The probe of this kind in `container`.
    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }

    /// As events begin.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

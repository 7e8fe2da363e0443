//! Asking one webhook.

use std::time::Instant;

use hako_kube::Status;
use serde_json::Value;

use super::review::{self, Verdict, Version};
use super::{Hook, in_time};
use crate::admission::attributes::{Attributes, Matched};
use crate::admission::counts::Rejection;
use crate::http::Failure;

/// What a webhook that was asked says of an object that may go on.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub patch: Option<Value>,
    /// Whether it could not be asked, which does not matter.
    pub is_open: bool,
}

/// Why it may not go on.
enum Refusal {
    /// The webhook could not be asked; the code that counts.
    Calling(String, u16),
    /// It says no.
    Rejected(Box<Status>),
    /// It may not be asked at all.
    Ours(Failure),
}

impl Hook {
    /// Asks, counts, and says what follows from the answer.
    ///
    /// # Errors
    /// What the webhook says, or 500 where it cannot be asked and that matters.
    pub(super) async fn ask(
        &self,
        attributes: &Attributes<'_>,
        matched: &Matched,
    ) -> Result<Passed, Failure> {
        let (began, change) = (Instant::now(), attributes.change);
        let outcome = self.exchange(attributes, matched).await;
        let (counts, asked) = (&change.server.admission_counts, self.asked(attributes));
        let took = began.elapsed();
        match outcome {
            Ok(patch) => {
                counts.called(&asked, took, 200, false);
                Ok(Passed { patch, is_open: false })
            }
            Err(Refusal::Calling(why, code)) => {
                let why = format!("failed calling webhook {:?}: {why}", self.name);
                counts.called(&asked, took, code, !self.is_lenient);
                if self.is_lenient {
                    tracing::warn!(why, "failing open");
                    counts.failed_open(&asked);
                    in_time(change.manner.deadline)?;
                    return Ok(Passed { patch: None, is_open: true });
                }
                tracing::warn!(why, "failing closed");
                change.server.down.note(self.as_down(), Instant::now());
                counts.rejected(&asked, Rejection::CallingWebhook, code);
                Err(Failure::internal(&why))
            }
            Err(Refusal::Rejected(status)) => {
                counts.called(&asked, took, status.code, true);
                counts.rejected(&asked, Rejection::NoError, status.code);
                Err((*status).into())
            }
            Err(Refusal::Ours(failure)) => {
                counts.called(&asked, took, 0, true);
                counts.rejected(&asked, Rejection::Internal, 0);
                Err(failure)
            }
        }
    }

    async fn exchange(
        &self,
        attributes: &Attributes<'_>,
        matched: &Matched,
    ) -> Result<Option<Value>, Refusal> {
        let change = attributes.change;
        if change.manner.is_dry_run && !self.takes_dry_runs {
            let why = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(Refusal::Ours(Failure::bad_request(why)));
        }
        let Some(version) = Version::choose(&self.versions) else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(Refusal::Calling(why.to_owned(), 400));
        };
        in_time(change.manner.deadline).map_err(Refusal::Ours)?;
        let uid = uuid::Uuid::new_v4().to_string();
        let body = {
            let versioned = attributes.versioned(matched).await.map_err(Refusal::Ours)?;
            review::request(version, &uid, versioned.request(), versioned.object(), versioned.old())
                .to_string()
        };
        let left = change.manner.deadline.saturating_duration_since(Instant::now());
        let called = change.server.webhooks.post(&self.client, body.into(), self.time.min(left)).await;
        let answer = called.map_err(|error| {
            Refusal::Calling(format!("failed to call webhook: {error}"), error.code.unwrap_or(503))
        })?;
        let verdict = review::read(&answer, version, &uid, self.step == "admit")
            .map_err(|error| Refusal::Calling(error.to_string(), 503))?;
        self.note(attributes, &verdict);
        if verdict.is_allowed {
            return Ok(verdict.patch);
        }
        Err(Refusal::Rejected(Box::new(self.denial(verdict.status.unwrap_or_default()))))
    }

    /// What it has to say besides yes and no.
    fn note(&self, attributes: &Attributes<'_>, verdict: &Verdict) {
        let notes = attributes.change.notes;
        for (key, value) in &verdict.annotations {
            notes.annotate(&format!("{}/{key}", self.name), value.as_str());
        }
        for warning in verdict.warnings.iter().filter(|warning| !warning.is_empty()) {
            notes.warn(warning.as_str());
        }
    }

    /// The refusal as clients see it: the webhook's own status, which says who refused. It never looks like success,
    /// whatever the webhook says.
    fn denial(&self, mut status: Status) -> Status {
        if !(400..600).contains(&status.code) {
            status.code = 400;
        }
        "Status".clone_into(&mut status.kind);
        "v1".clone_into(&mut status.api_version);
        if matches!(status.status.as_str(), "" | "Success") {
            "Failure".clone_into(&mut status.status);
        }
        let by = format!("admission webhook {:?} denied the request", self.name);
        status.message = match (status.message.as_str(), status.reason.as_str()) {
            ("", "") => format!("{by} without explanation"),
            ("", reason) => format!("{by}: {reason}"),
            (message, _) => format!("{by}: {message}"),
        };
        status
    }
}

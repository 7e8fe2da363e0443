//! Admission webhooks: servers that are asked before an object is stored (`admissionregistration.k8s.io`,
//! `admission.k8s.io`).
//!
//! Owns: webhooks as they are registered; reviews that are sent and answers that are read ([`review`]); the two steps:
//! [`mutate`], one after the other, and [`validate`], all at once.
//! Does not own: connections (`crate::webhook_client`).
//!
//! Invariant: an answer changes nothing but what upstream lets it, and one that is wrong, late or missing is a failure
//! of the webhook, which counts as its `failurePolicy` says.
//!
//! ```text
//! webhook is about it? ─► conditions ─► AdmissionReview{request} ──HTTPS──► AdmissionReview{response} ─► allowed, patch
//!                                                             └─ no, late, wrong ─► Fail: 500 │ Ignore: go on
//! ```

mod call;
pub(super) mod down;
pub(super) mod mutate;
pub mod review;
pub(super) mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hako_kube::{Status, StatusDetails};
use serde_json::Value;

use super::attributes::{Attributes, Matched};
use super::conditions::{self, Met};
use super::counts::Asked;
use super::evaluation::{Activation, Expression};
use super::judge::Judge;
use super::matching::{Around, Criteria, texts};
use super::plugin::{items, name_of, text};
use crate::http::Outcome;
use crate::kinds::admission_expressions::Names;
use crate::webhook_client::ClientConfig;
use down::DownWebhook;

/// Upstream's default, and the most there is.
const TIME: u64 = 10;
const TIME_MAX: u64 = 30;

/// A webhook as it is registered.
#[derive(Debug)]
pub(in crate::admission) struct Hook {
    pub configuration: String,
    pub name: String,
    /// `admit` or `validating`, as metrics have it.
    step: &'static str,
    criteria: Criteria,
    conditions: Vec<Expression>,
    /// Whether it does not matter that it cannot be asked.
    is_lenient: bool,
    /// Whether it may be asked where nothing is to be stored.
    takes_dry_runs: bool,
    is_reinvoked: bool,
    time: Duration,
    client: ClientConfig,
    versions: Vec<String>,
}

impl Hook {
    /// All webhooks of a configuration, in their order.
    pub(in crate::admission) fn read_all(configuration: &Value, is_mutating: bool) -> Vec<Arc<Self>> {
        let hooks = items(configuration, "/webhooks").iter();
        hooks.map(|hook| Arc::new(Self::read(name_of(configuration), hook, is_mutating))).collect()
    }

    fn read(configuration: &str, hook: &Value, is_mutating: bool) -> Self {
        let time = hook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(TIME).clamp(1, TIME_MAX);
        Self {
            configuration: configuration.to_owned(),
            name: text(hook, "/name").to_owned(),
            step: if is_mutating { "admit" } else { "validating" },
            criteria: Criteria::of_webhook(hook),
            conditions: conditions::compile(hook, &Names::of_webhook()),
            is_lenient: text(hook, "/failurePolicy") == "Ignore",
            takes_dry_runs: matches!(text(hook, "/sideEffects"), "None" | "NoneOnDryRun"),
            is_reinvoked: text(hook, "/reinvocationPolicy") == "IfNeeded",
            time: Duration::from_secs(time),
            client: ClientConfig::read(hook.get("clientConfig").unwrap_or(&Value::Null)),
            versions: texts(hook, "admissionReviewVersions"),
        }
    }

    fn as_down(&self) -> DownWebhook {
        let kind = match self.step {
            "admit" => "MutatingWebhookConfiguration",
            _ => "ValidatingWebhookConfiguration",
        };
        DownWebhook { kind, configuration: self.configuration.clone(), webhook: self.name.clone() }
    }

    fn asked(&self, attributes: &Attributes<'_>) -> Asked {
        Asked::new(&self.name, self.step, attributes.change.operation)
    }

    /// As what the webhook is to be asked about a request, if it is.
    ///
    /// # Errors
    /// 403 where its conditions cannot be evaluated and it fails closed.
    async fn matched(&self, attributes: &Attributes<'_>, around: &Around<'_>) -> Outcome<Option<Matched>> {
        let Some(matched) = self.criteria.matched(attributes, around).await? else { return Ok(None) };
        if self.conditions.is_empty() {
            return Ok(Some(matched));
        }
        let began = Instant::now();
        let met = self.met(attributes, &matched).await?;
        let counts = &attributes.change.server.admission_counts;
        counts.conditions(self.asked(attributes), began.elapsed());
        match met {
            Met::Yes => Ok(Some(matched)),
            Met::No => {
                counts.excluded(self.asked(attributes));
                Ok(None)
            }
            Met::Unknown(why) => {
                counts.condition_failed(self.asked(attributes));
                if self.is_lenient { Ok(None) } else { Err(attributes.change.forbidden(why)) }
            }
        }
    }
}

impl Hook {
    /// How its conditions come out.
    async fn met(&self, attributes: &Attributes<'_>, matched: &Matched) -> Outcome<Met> {
        let versioned = attributes.versioned(matched).await?;
        let request = Value::Object(versioned.request());
        let judge = Arc::new(Judge::default());
        loop {
            let met = conditions::met(&self.conditions, &Activation::new(&versioned, &request, &judge));
            if !judge.is_open() {
                return Ok(met);
            }
            drop(met);
            judge.settle(attributes.change).await;
        }
    }
}

/// Whoever asked waits no longer.
fn in_time(deadline: Instant) -> Outcome<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let text = "Timeout: request did not complete within requested timeout";
    let mut status = Status::failure(504, "Timeout", text);
    status.details = Some(StatusDetails::default());
    Err(status.into())
}

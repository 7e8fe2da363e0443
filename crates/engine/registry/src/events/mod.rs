//! What happened, told to those who watch: metrics, the audit log, webhooks.
//!
//! Owns: their formats and queues. Does not own: what happens. Invariant: nobody who watches can hold up a request, and
//! no password or token is in anything that is told.

mod audit;
mod metrics;
mod webhook;

pub(crate) use metrics::Metrics;
pub(crate) use webhook::header as webhook_header;

use crate::config::Config;
use crate::name::{Reference, Repository};
use audit::Audit;
use hako_error::Result;
use hako_names::Digest;
use http::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use webhook::Webhook;

/// One answered request.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub route: &'static str,
    pub method: Method,
    pub repository: Option<Repository>,
    pub reference: Option<Reference>,
    pub digest: Option<Digest>,
    /// Of the answer's body.
    pub media_type: Option<String>,
    pub size: u64,
    /// What came with a PUT.
    pub sent: Option<Sent>,
    pub status: u16,
    pub took: Duration,
    pub who: Who,
    pub peer: Option<SocketAddr>,
    pub agent: Option<String>,
    pub host: Option<String>,
}

/// Who asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    /// Who proved to be that.
    pub user: Option<String>,
    /// Who somebody said to be; whether that is true is another matter.
    pub claimed: Option<String>,
}

impl Who {
    /// Whose name was not believed; at most 256 characters of what somebody wrote.
    pub(crate) fn tried(&self) -> Option<String> {
        let claimed = self.claimed.as_ref().filter(|_| self.user.is_none());
        claimed.map(|name| name.chars().take(256).collect())
    }
}

/// What a request brought.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub media_type: Option<String>,
    pub size: u64,
}

impl Happened {
    /// Media type and size of what it was about: a PUT brings it, a GET gets it.
    pub(crate) fn target(&self) -> (Option<&str>, u64) {
        match &self.sent {
            Some(sent) => (sent.media_type.as_deref(), sent.size),
            None => (self.media_type.as_deref(), self.size),
        }
    }

    /// What was done, in one word.
    pub(crate) fn action(&self) -> &'static str {
        match (self.route, &self.method) {
            ("manifest" | "blob", &Method::DELETE) => "delete",
            ("manifest", &Method::PUT) | ("uploads" | "upload", _) => "push",
            ("token", _) => "token",
            _ => "pull",
        }
    }
}

/// All who watch.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub metrics: Arc<Metrics>,
    audit: Option<Audit>,
    webhooks: Vec<Webhook>,
}

impl Events {
    /// Starts the writers; needs a runtime.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let audit = config.audit.as_deref().map(Audit::open).transpose()?;
        let metrics = Arc::<Metrics>::default();
        let start = |webhook| Webhook::start(webhook, Arc::clone(&metrics));
        let webhooks = config.webhooks.iter().map(start).collect::<Result<_>>()?;
        Ok(Self { metrics, audit, webhooks })
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, happened: &Happened) {
        self.metrics.count(happened);
        if happened.repository.is_some() || happened.route == "token" {
            if let Some(audit) = &self.audit {
                audit.tell(happened, &self.metrics);
            }
            for webhook in &self.webhooks {
                webhook.tell(happened, &self.metrics);
            }
        }
    }
}

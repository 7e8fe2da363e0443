//! What expressions ask an authorizer, decided as any request's access is.
//!
//! An evaluation waits for nothing, and a decision may have to be waited for. So an expression that asks what is not
//! known yet is evaluated again once that is decided; what a check costs bounds how often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use hako_cel::{Authorize, Check, Decision};
use hako_error::Kind;
use parking_lot::Mutex;

use super::plugin::Change;
use crate::auth::{Attributes, Identity, decide};

/// Two checks fill the budget of an expression and about thirty that of a policy.
const ROUNDS: usize = 64;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    service_account: Option<(String, String)>,
    path: Option<String>,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

/// The decisions that are known, and the questions that are not.
#[derive(Debug, Default)]
pub(super) struct Judge {
    known: Mutex<HashMap<Question, Decision>>,
    open: Mutex<Vec<Question>>,
    rounds: AtomicUsize,
}

impl Question {
    fn of(check: &Check) -> Self {
        Self {
            service_account: check.service_account.clone(),
            path: check.path.clone(),
            verb: check.verb.clone(),
            group: check.group.clone(),
            resource: check.resource.clone(),
            subresource: check.subresource.clone(),
            namespace: check.namespace.clone(),
            name: check.name.clone(),
        }
    }

    fn wanted(&self) -> Attributes<'_> {
        match &self.path {
            Some(path) => Attributes::Path { verb: &self.verb, path },
            None => Attributes::Resource {
                verb: &self.verb,
                group: &self.group,
                resource: &self.resource,
                subresource: &self.subresource,
                namespace: &self.namespace,
                name: &self.name,
            },
        }
    }

    async fn decide(&self, change: &Change<'_>) -> Decision {
        let account = self.service_account.as_ref();
        let account = account.map(|(namespace, name)| Identity::service_account(namespace, name));
        let identity = account.as_ref().unwrap_or(change.identity);
        let wanted = self.wanted();
        match decide(change.server, identity, wanted).await {
            Ok(()) => {
                let reason = change.server.rbac.read().reason(identity, wanted).unwrap_or_default();
                Decision { allowed: true, reason, error: None }
            }
            Err(error) => {
                let is_verdict = error.kind() == Kind::Forbidden;
                let error = (!is_verdict).then(|| error.to_string());
                Decision { allowed: false, reason: String::new(), error }
            }
        }
    }
}

impl Authorize for Judge {
    fn check(&self, request: &Check) -> Decision {
        let question = Question::of(request);
        if let Some(decision) = self.known.lock().get(&question) {
            return decision.clone();
        }
        self.open.lock().push(question);
        let error = Some("the decision is not known yet".to_owned());
        Decision { allowed: false, reason: String::new(), error }
    }
}

impl Judge {
    /// Whether something was asked that is not decided yet, so that what was evaluated has to be evaluated again once it
    /// is ([`Self::settle`]).
    pub(super) fn is_open(&self) -> bool {
        self.rounds.load(Ordering::Relaxed) < ROUNDS && !self.open.lock().is_empty()
    }

    /// Decides what was asked.
    pub(super) async fn settle(&self, change: &Change<'_>) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let open = std::mem::take(&mut *self.open.lock());
        for question in open {
            let decision = question.decide(change).await;
            self.known.lock().insert(question, decision);
        }
    }
}

//! How often webhooks and policies were asked, what they said and how long it took, in upstream's names.
//!
//! INVARIANT: names are those that administrators registered, and there are no more than `SERIES` of each metric.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::plugin::Operation;
use crate::metrics::{Histogram, Summary, Text};

/// Series of one metric; what comes later is not counted.
const SERIES: usize = 4096;
const STEPS: [&str; 2] = ["admit", "validate"];
const OPERATIONS: [Operation; 4] =
    [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];
const STEP_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const HOOK_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const CONDITION_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
const POLICY_SECONDS: &[f64] = &[0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// Codes above are counted as this one.
const CODE_MAX: u16 = 600;

/// What kind of error there was in judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ErrorType {
    None,
    Compile,
    Invalid,
    OutOfBudget,
}

/// What was done by a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Enforced {
    Allow,
    Deny,
    Warn,
    Audit,
    /// By a policy that changes objects.
    Mutation,
}

/// How a webhook comes to refuse a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Rejection {
    CallingWebhook,
    Internal,
    /// It said so.
    NoError,
}

/// Which webhook was asked, in which of the two steps, about what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Asked {
    pub name: String,
    /// `admit` or `validating`.
    pub step: &'static str,
    pub operation: &'static str,
}

type PolicyKey = (&'static str, String, String, &'static str, &'static str);

/// How long the two steps took, by operation and whether the request was refused.
#[derive(Debug)]
struct Steps(Vec<Histogram>);

/// The same, told by how long most took.
#[derive(Debug)]
struct Summaries(Vec<Summary>);

/// The same of one plugin.
#[derive(Debug)]
struct OfPlugin {
    name: &'static str,
    steps: Steps,
}

/// The same of all of them, by their names.
#[derive(Debug)]
struct Plugins(Vec<OfPlugin>);

/// What is asked besides the plugins of the list.
const OTHERS: [&str; 5] = [
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ResourceQuota",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// All counts of a server.
#[derive(Debug, Default)]
pub(crate) struct AdmissionCounts {
    steps: Steps,
    summaries: Summaries,
    plugins: Plugins,
    calls: Mutex<HashMap<(Asked, u16, bool), u64>>,
    took: Mutex<HashMap<(Asked, bool), Histogram>>,
    rejections: Mutex<HashMap<(Asked, Rejection, u16), u64>>,
    fail_open: Mutex<HashMap<(String, &'static str), u64>>,
    excluded: Mutex<HashMap<Asked, u64>>,
    condition_errors: Mutex<HashMap<Asked, u64>>,
    conditions_took: Mutex<HashMap<Asked, Histogram>>,
    policies: Mutex<HashMap<PolicyKey, (u64, Histogram)>>,
}

fn add<K: std::hash::Hash + Eq>(counts: &Mutex<HashMap<K, u64>>, key: K) {
    let mut counts = counts.lock();
    if counts.len() < SERIES || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

impl Default for Steps {
    fn default() -> Self {
        let all = OPERATIONS.len() * STEPS.len() * 2;
        Self((0..all).map(|_| Histogram::new(STEP_SECONDS)).collect())
    }
}

impl Steps {
    fn place(step: usize, operation: usize, is_rejected: bool) -> usize {
        (step * OPERATIONS.len() + operation) * 2 + usize::from(is_rejected)
    }

    fn observe(&self, is_first: bool, operation: Operation, is_rejected: bool, took: Duration) {
        let operation = OPERATIONS.iter().position(|it| *it == operation).unwrap_or_default();
        self.0[Self::place(usize::from(!is_first), operation, is_rejected)].observe(took);
    }

    /// What there is to say under labels besides the own ones.
    fn write(&self, text: &mut Text, name: &str, more: &[(&str, &str)], says_nothing: bool) {
        for (step, of_step) in STEPS.iter().enumerate() {
            for (operation, of_operation) in OPERATIONS.iter().enumerate() {
                for is_rejected in [false, true] {
                    let rejected = is_rejected.to_string();
                    let own =
                        [("operation", of_operation.name()), ("rejected", &*rejected), ("type", of_step)];
                    let labels: Vec<_> = more.iter().copied().chain(own).collect();
                    let histogram = &self.0[Self::place(step, operation, is_rejected)];
                    if says_nothing || histogram.count() > 0 {
                        histogram.write(text, name, &labels);
                    }
                }
            }
        }
    }
}

impl Default for Summaries {
    fn default() -> Self {
        Self((0..OPERATIONS.len() * STEPS.len() * 2).map(|_| Summary::default()).collect())
    }
}

impl Summaries {
    fn write(&self, text: &mut Text, name: &str) {
        for (step, of_step) in STEPS.iter().enumerate() {
            for (operation, of_operation) in OPERATIONS.iter().enumerate() {
                for (is_rejected, rejected) in [(false, "false"), (true, "true")] {
                    let labels =
                        [("operation", of_operation.name()), ("rejected", rejected), ("type", of_step)];
                    self.0[Steps::place(step, operation, is_rejected)].write(text, name, &labels);
                }
            }
        }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        let names = super::plugins::LIST.iter().map(|plugin| plugin.name).chain(OTHERS);
        let mut all: Vec<_> = names.map(|name| OfPlugin { name, steps: Steps::default() }).collect();
        all.sort_unstable_by_key(|plugin| plugin.name);
        all.dedup_by_key(|plugin| plugin.name);
        Self(all)
    }
}

impl Plugins {
    fn get(&self, name: &str) -> Option<&Steps> {
        let found = self.0.binary_search_by(|plugin| plugin.name.cmp(name));
        found.ok().and_then(|at| self.0.get(at)).map(|plugin| &plugin.steps)
    }
}

impl Asked {
    pub(super) fn new(name: &str, step: &'static str, operation: Operation) -> Self {
        Self { name: name.to_owned(), step, operation: operation.name() }
    }

    fn labels(&self) -> [(&str, &str); 3] {
        [("name", &self.name), ("operation", self.operation), ("type", self.step)]
    }
}

impl ErrorType {
    /// That of an expression without a value, by the words in which that is said.
    pub(super) fn of(why: &str) -> Self {
        if why.starts_with("compilation") { Self::Compile } else { Self::Invalid }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "no_error",
            Self::Compile => "compile_error",
            Self::Invalid => "invalid_error",
            Self::OutOfBudget => "out_of_budget",
        }
    }
}

impl Enforced {
    const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Audit => "audit",
            Self::Mutation => "",
        }
    }
}

impl Rejection {
    const fn name(self) -> &'static str {
        match self {
            Self::CallingWebhook => "calling_webhook_error",
            Self::Internal => "apiserver_internal_error",
            Self::NoError => "no_error",
        }
    }
}

impl AdmissionCounts {
    /// All had their say in a step: whether that is the first one, in which objects are changed.
    pub(super) fn step(&self, is_first: bool, operation: Operation, is_rejected: bool, took: Duration) {
        self.steps.observe(is_first, operation, is_rejected, took);
        let operation = OPERATIONS.iter().position(|it| *it == operation).unwrap_or_default();
        self.summaries.0[Steps::place(usize::from(!is_first), operation, is_rejected)].observe(took);
    }

    /// The same of one plugin.
    pub(super) fn plugin(
        &self,
        name: &str,
        is_first: bool,
        operation: Operation,
        is_rejected: bool,
        took: Duration,
    ) {
        if let Some(steps) = self.plugins.get(name) {
            steps.observe(is_first, operation, is_rejected, took);
        }
    }

    /// A webhook was asked.
    pub(super) fn called(&self, asked: &Asked, took: Duration, code: u16, is_rejected: bool) {
        add(&self.calls, (asked.clone(), code.min(CODE_MAX), is_rejected));
        let mut all = self.took.lock();
        let key = (asked.clone(), is_rejected);
        if all.len() < SERIES || all.contains_key(&key) {
            all.entry(key).or_insert_with(|| Histogram::new(HOOK_SECONDS)).observe(took);
        }
    }

    /// A request was refused because of a webhook.
    pub(super) fn rejected(&self, asked: &Asked, why: Rejection, code: u16) {
        add(&self.rejections, (asked.clone(), why, code.min(CODE_MAX)));
    }

    /// A webhook could not be asked, and that did not matter.
    pub(super) fn failed_open(&self, asked: &Asked) {
        add(&self.fail_open, (asked.name.clone(), asked.step));
    }

    /// A webhook was not asked because of its conditions.
    pub(super) fn excluded(&self, asked: Asked) {
        add(&self.excluded, asked);
    }

    /// The conditions of a webhook were evaluated.
    pub(super) fn conditions(&self, asked: Asked, took: Duration) {
        let mut all = self.conditions_took.lock();
        if all.len() < SERIES || all.contains_key(&asked) {
            all.entry(asked).or_insert_with(|| Histogram::new(CONDITION_SECONDS)).observe(took);
        }
    }

    /// The conditions of a webhook could not be evaluated.
    pub(super) fn condition_failed(&self, asked: Asked) {
        add(&self.condition_errors, asked);
    }

    /// A rule of a policy was evaluated under a binding.
    pub(super) fn policy(
        &self,
        (policy, binding): (&str, &str),
        error: ErrorType,
        enforced: Enforced,
        took: Duration,
    ) {
        let subsystem = if enforced == Enforced::Mutation { "mutating" } else { "validating" };
        let key = (subsystem, policy.to_owned(), binding.to_owned(), error.name(), enforced.name());
        let mut all = self.policies.lock();
        if all.len() < SERIES || all.contains_key(&key) {
            let (count, histogram) = all.entry(key).or_insert_with(|| (0, Histogram::new(POLICY_SECONDS)));
            *count += 1;
            histogram.observe(took);
        }
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let name = "apiserver_admission_step_admission_duration_seconds";
        text.head(name, "histogram", "How long all of a step took.");
        self.steps.write(text, name, &[], true);
        let name = "apiserver_admission_step_admission_duration_seconds_summary";
        text.head(name, "summary", "How long most of a step took.");
        self.summaries.write(text, name);
        let name = "apiserver_admission_controller_admission_duration_seconds";
        text.head(name, "histogram", "How long a plugin took.");
        for OfPlugin { name: plugin, steps } in &self.plugins.0 {
            steps.write(text, name, &[("name", plugin)], false);
        }
        self.write_calls(text);
        self.write_rejections(text);
        for (name, help, counts) in [
            ("exclusions", "Webhooks that were not asked because of their conditions.", &self.excluded),
            ("evaluation_errors", "Conditions of webhooks that have no value.", &self.condition_errors),
        ] {
            let name = format!("apiserver_admission_match_condition_{name}_total");
            text.head(&name, "counter", help);
            for (asked, count) in sorted(&counts.lock(), |count| *count) {
                let labels: Vec<_> = [("kind", "webhook")].into_iter().chain(asked.labels()).collect();
                text.value(&name, &labels, count);
            }
        }
        let name = "apiserver_admission_match_condition_evaluation_seconds";
        text.head(name, "histogram", "How long the conditions of webhooks took.");
        let took = self.conditions_took.lock();
        let mut all: Vec<_> = took.iter().collect();
        all.sort_by_key(|(asked, _)| *asked);
        for (asked, histogram) in all {
            let labels: Vec<_> = [("kind", "webhook")].into_iter().chain(asked.labels()).collect();
            histogram.write(text, name, &labels);
        }
        drop(took);
        for subsystem in ["validating", "mutating"] {
            self.write_policies(text, subsystem);
        }
    }

    fn write_calls(&self, text: &mut Text) {
        let name = "apiserver_admission_webhook_request_total";
        text.head(name, "counter", "Calls of webhooks, by the code they were answered with.");
        for ((asked, code, is_rejected), count) in sorted(&self.calls.lock(), |count| *count) {
            let (code, rejected) = (code.to_string(), is_rejected.to_string());
            let own = [("code", code.as_str()), ("rejected", rejected.as_str())];
            let labels: Vec<_> = asked.labels().into_iter().chain(own).collect();
            text.value(name, &labels, count);
        }
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        text.head(name, "histogram", "How long webhooks took.");
        let took = self.took.lock();
        let mut all: Vec<_> = took.iter().collect();
        all.sort_by_key(|(key, _)| *key);
        for ((asked, is_rejected), histogram) in all {
            let rejected = is_rejected.to_string();
            let labels: Vec<_> =
                asked.labels().into_iter().chain([("rejected", rejected.as_str())]).collect();
            histogram.write(text, name, &labels);
        }
    }

    fn write_rejections(&self, text: &mut Text) {
        let name = "apiserver_admission_webhook_rejection_count";
        text.head(name, "counter", "Requests that were refused because of webhooks.");
        for ((asked, why, code), count) in sorted(&self.rejections.lock(), |count| *count) {
            let code = code.to_string();
            let own = [("error_type", why.name()), ("rejection_code", code.as_str())];
            let labels: Vec<_> = own.into_iter().chain(asked.labels()).collect();
            text.value(name, &labels, count);
        }
        let name = "apiserver_admission_webhook_fail_open_count";
        text.head(name, "counter", "Webhooks that could not be asked, which did not matter.");
        for ((hook, step), count) in sorted(&self.fail_open.lock(), |count| *count) {
            text.value(name, &[("name", &hook), ("type", step)], count);
        }
    }

    fn write_policies(&self, text: &mut Text, subsystem: &str) {
        let all = self.policies.lock();
        let mut all: Vec<_> = all.iter().filter(|((of, ..), _)| *of == subsystem).collect();
        all.sort_by_key(|(key, _)| *key);
        let labels = |(_, policy, binding, error, enforced): &PolicyKey| {
            let mut labels = vec![("policy", policy.clone()), ("policy_binding", binding.clone())];
            labels.push(("error_type", (*error).to_owned()));
            if !enforced.is_empty() {
                labels.push(("enforcement_action", (*enforced).to_owned()));
            }
            labels
        };
        let name = format!("apiserver_{subsystem}_admission_policy_check_total");
        text.head(&name, "counter", "Rules of policies that were evaluated.");
        for (key, (count, _)) in &all {
            let labels = labels(key);
            let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            text.value(&name, &labels, count);
        }
        let name = format!("apiserver_{subsystem}_admission_policy_check_duration_seconds");
        text.head(&name, "histogram", "How long rules of policies took.");
        for (key, (_, histogram)) in &all {
            let labels = labels(key);
            let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            histogram.write(text, &name, &labels);
        }
    }
}

/// Copies of the entries by their keys' order.
fn sorted<K: Ord + Clone, V>(map: &HashMap<K, V>, of: impl Fn(&V) -> u64) -> Vec<(K, u64)> {
    let mut all: Vec<_> = map.iter().map(|(key, value)| (key.clone(), of(value))).collect();
    all.sort();
    all
}

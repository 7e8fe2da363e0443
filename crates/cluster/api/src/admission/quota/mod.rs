//! ResourceQuota: what a namespace may use in sum, charged before an object is stored.
//!
//! A charge is a compare-and-swap on the quota's status, so concurrent writers cannot exceed it together; one whose
//! object is not stored after all is given back. A controller puts right what a crash between the two leaves.

mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hako_names::Quantity;
use hako_store::{Expect, StoreError, Write};
use serde_json::Value;

use self::usage::Evaluator;
use super::amounts::{Amounts, add, amounts};
use super::plugin::{Change, Operation, name_of};
use crate::http::{Failure, Outcome};
use crate::kinds;
use crate::resource::{Target, encode_stored};
use crate::server::Inner;

/// How often the quotas are read anew when others charge them meanwhile.
const ATTEMPTS: usize = 32;

/// What was charged for an object that is about to be stored.
#[derive(Debug, Default)]
#[must_use = "an object that is not stored has to give it back"]
pub(crate) struct Charges(Vec<(Target, Amounts)>);

/// A quota as it was read.
struct Quota {
    target: Target,
    object: Value,
    at: hako_store::Revision,
}

/// Charges the quotas of the namespace for an object; refuses it where one is exceeded.
pub(crate) async fn charge(change: &Change<'_>, object: &Value, is_dry_run: bool) -> Outcome<Charges> {
    let Some(evaluator) = Evaluator::of(change) else { return Ok(Charges::default()) };
    let began = Instant::now();
    let outcome = charged(change, &evaluator, object, is_dry_run).await;
    let counts = &change.server.admission_counts;
    counts.plugin("ResourceQuota", false, change.operation, outcome.is_err(), began.elapsed());
    outcome
}

async fn charged(
    change: &Change<'_>,
    evaluator: &Evaluator<'_>,
    object: &Value,
    is_dry_run: bool,
) -> Outcome<Charges> {
    for _ in 0..ATTEMPTS {
        let quotas = read(change).await?;
        if quotas.is_empty() {
            return Ok(Charges::default());
        }
        // One of this process at a time: they would only make each other try again.
        let _turn = change.server.quota_turn.lock().await;
        let quotas = read(change).await?;
        let due = due(change, evaluator, object, &quotas)?;
        if is_dry_run || due.is_empty() {
            return Ok(Charges::default());
        }
        if let Some(charges) = pay(change.server, quotas, &due).await? {
            return Ok(charges);
        }
    }
    Err(change.target.modified())
}

async fn read(change: &Change<'_>) -> Outcome<Vec<Quota>> {
    let Some(row) = kinds::by_resource("", "v1", "resourcequotas") else { return Ok(Vec::new()) };
    let prefix = crate::resource::registry_prefix(row, change.namespace());
    let page = change.server.config.store.range(hako_store::Range::all(prefix)).await?;
    let quotas = page.entries.iter().filter_map(|entry| {
        let object: Value = serde_json::from_slice(&entry.value).ok()?;
        let target = Target {
            row: Arc::clone(row),
            namespace: change.namespace().to_owned(),
            name: name_of(&object).to_owned(),
        };
        Some(Quota { target, object, at: entry.modified })
    });
    Ok(quotas.collect())
}

/// What has to be added to the use of each quota, by its name.
fn due(
    change: &Change<'_>,
    evaluator: &Evaluator<'_>,
    object: &Value,
    quotas: &[Quota],
) -> Outcome<BTreeMap<String, Amounts>> {
    let mut concerned = Vec::new();
    for quota in quotas {
        let (name, status) = (name_of(&quota.object), &quota.object["status"]);
        let hard = amounts(&status["hard"]);
        let counted: Vec<&str> =
            hard.keys().map(String::as_str).filter(|resource| evaluator.counts(resource)).collect();
        if counted.is_empty() || !evaluator.is_selected(&quota.object, object) {
            continue;
        }
        if let Some(why) = evaluator.unsaid(&counted, object) {
            return Err(change.forbidden(format!("failed quota: {name}: {why}")));
        }
        let used = amounts(&status["used"]);
        if counted.iter().any(|resource| !used.contains_key(*resource)) {
            return Err(unknown(change, &quota.object, evaluator));
        }
        concerned.push((name, hard, used));
    }
    let mut delta = evaluator.usage(object);
    let negative: Vec<&str> =
        delta.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(
            change.forbidden(format!("quota usage is negative for resource(s): {}", negative.join(",")))
        );
    }
    if let (Operation::Update, Some(old)) = (change.operation, change.old) {
        for (name, amount) in evaluator.usage(old) {
            let is = delta.get(&name).copied().unwrap_or(Quantity::ZERO);
            delta.insert(name, is - amount);
        }
    }
    delta.retain(|_, amount| !amount.is_zero());
    let mut due = BTreeMap::new();
    for (name, hard, used) in concerned {
        let requested: Amounts = mask(&delta, &hard);
        if requested.is_empty() {
            continue;
        }
        within(change, name, &requested, &used, &hard)?;
        due.insert(name.to_owned(), requested);
    }
    Ok(due)
}

fn unknown(change: &Change<'_>, quota: &Value, evaluator: &Evaluator<'_>) -> Failure {
    let (hard, used) = (amounts(&quota["status"]["hard"]), amounts(&quota["status"]["used"]));
    let missing = hard.keys().filter(|name| evaluator.counts(name) && !used.contains_key(*name));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    let name = name_of(quota);
    change.forbidden(format!("status unknown for quota: {name}, resources: {}", missing.join(",")))
}

fn mask(amounts: &Amounts, to: &Amounts) -> Amounts {
    amounts.iter().filter(|(name, _)| to.contains_key(*name)).map(|(name, it)| (name.clone(), *it)).collect()
}

/// Less use is always fine, even where there is too much.
fn within(
    change: &Change<'_>,
    quota: &str,
    requested: &Amounts,
    used: &Amounts,
    hard: &Amounts,
) -> Outcome<()> {
    let exceeded: Amounts = requested
        .iter()
        .filter(|(name, amount)| {
            let sum = used.get(*name).copied().unwrap_or(Quantity::ZERO) + **amount;
            **amount > Quantity::ZERO && hard.get(*name).is_some_and(|hard| sum > *hard)
        })
        .map(|(name, amount)| (name.clone(), *amount))
        .collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    let show = |all: &Amounts| {
        let texts = mask(all, &exceeded).into_iter().map(|(name, amount)| format!("{name}={amount}"));
        texts.collect::<Vec<_>>().join(",")
    };
    let (requested, used, hard) = (show(requested), show(used), show(hard));
    Err(change
        .forbidden(format!("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {hard}")))
}

/// Charges all; none if a quota changed meanwhile, when what was charged so far is given back.
async fn pay(
    server: &Inner,
    quotas: Vec<Quota>,
    due: &BTreeMap<String, Amounts>,
) -> Outcome<Option<Charges>> {
    let mut charges = Charges::default();
    for mut quota in quotas {
        let Some(amounts) = due.get(&quota.target.name) else { continue };
        use_more(&mut quota.object, amounts);
        if store(server, &mut quota).await? {
            charges.0.push((quota.target, amounts.clone()));
        } else {
            charges.give_back(server).await;
            return Ok(None);
        }
    }
    Ok(Some(charges))
}

fn use_more(quota: &mut Value, more: &Amounts) {
    let mut used = amounts(&quota["status"]["used"]);
    add(&mut used, more);
    for name in more.keys() {
        let amount = used.get(name).copied().unwrap_or(Quantity::ZERO);
        quota["status"]["used"][name] = amount.to_string().into();
    }
}

/// Whether the quota is stored; not if it changed meanwhile.
async fn store(server: &Inner, quota: &mut Quota) -> Outcome<bool> {
    let bytes = encode_stored(&quota.target.row, &mut quota.object)?;
    match server.config.store.write(Write::put(quota.target.key(), bytes, Expect::At(quota.at))).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Charges {
    /// The object was not stored. What cannot be given back is put right by the controller's next count.
    pub(crate) async fn give_back(self, server: &Inner) {
        for (target, charged) in self.0 {
            let less: Amounts =
                charged.into_iter().map(|(name, amount)| (name, Quantity::ZERO - amount)).collect();
            if let Err(failure) = give_back(server, &target, &less).await {
                let why = &failure.status().message;
                tracing::warn!(quota = target.name, why, "a charge was not given back");
            }
        }
    }
}

async fn give_back(server: &Inner, target: &Target, less: &Amounts) -> Outcome<()> {
    for _ in 0..ATTEMPTS {
        let Some(entry) = server.config.store.get(&target.key()).await?.entry else { return Ok(()) };
        let object = serde_json::from_slice(&entry.value).unwrap_or_default();
        let mut quota = Quota { target: target.clone(), object, at: entry.modified };
        use_more(&mut quota.object, less);
        if store(server, &mut quota).await? {
            return Ok(());
        }
    }
    Err(target.modified())
}

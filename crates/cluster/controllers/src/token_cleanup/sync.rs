//! One round over all tokens.

use super::Controller;
use crate::tokens;
use hako_client::{Api, DeleteOptions, Patch};
use hako_error::{Kind, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const TRACKING: (&str, &str) = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking");

/// What is to become of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is in use, or might be.
    Stays,
    /// Nobody has used it for long.
    Marked,
    /// Nobody has missed it since it was marked.
    Removed,
}

/// The days by which a token is judged.
#[derive(Clone, Copy, Debug)]
struct Days {
    today: Date,
    /// What was made then or later stays.
    made: Timestamp,
    /// What was used on this day or later stays.
    keep: Date,
    /// Since when uses are noted.
    tracked: Date,
}

impl Controller {
    pub(super) async fn sync(&self) {
        let Some(days) = self.days() else { return };
        for secret in self.secrets.list() {
            if !self.is_left_alone(&secret) {
                continue;
            }
            if let Err(error) = self.carry_out(&secret, fate(&secret, days), days.today).await {
                let name = secret.metadata.name.as_deref().unwrap_or_default();
                tracing::warn!(secret = name, error = %error.chain(), "token not cleaned up, trying again");
            }
        }
    }

    /// None while nobody says since when uses are noted: then nothing is known of any token.
    fn days(&self) -> Option<Days> {
        let map = self.configs.get(TRACKING.0, TRACKING.1)?;
        let tracked = map.data.as_ref()?.get("since")?.parse().ok()?;
        let now = Timestamp::now();
        let made = now.checked_sub(SignedDuration::from_hours(24 * i64::from(self.settings.days))).ok()?;
        Some(Days { today: day(now), made, keep: day(made), tracked })
    }

    /// Whether it was made for its account, which lists it, and no pod has it mounted.
    fn is_left_alone(&self, secret: &Secret) -> bool {
        let (Some(account), Some(namespace)) =
            (tokens::account_of(secret), secret.metadata.namespace.as_deref())
        else {
            return false;
        };
        let name = secret.metadata.name.as_deref();
        let account = self.accounts.get(namespace, account);
        let listed = account.iter().flat_map(|account| account.secrets.iter().flatten());
        let is_listed = listed.into_iter().any(|one| one.name.as_deref() == name);
        is_listed
            && secret.metadata.deletion_timestamp.is_none()
            && !self.pods.list_in(namespace).iter().any(|pod| mounts(pod, name))
    }

    async fn carry_out(&self, secret: &Secret, fate: Fate, today: Date) -> Result<()> {
        let meta = &secret.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let api: Api<Secret> = self.client.namespaced(meta.namespace.as_deref().unwrap_or_default());
        let (uid, resource_version) = (meta.uid.clone(), meta.resource_version.clone());
        let done = match fate {
            Fate::Stays => return Ok(()),
            Fate::Marked => {
                let metadata = json!({
                    "uid": uid, "resourceVersion": resource_version,
                    "labels": { INVALID_SINCE: today.to_string() },
                });
                api.patch(name, &Patch::Merge(json!({ "metadata": metadata }))).await.map(drop)
            }
            Fate::Removed => {
                api.delete(name, &DeleteOptions { uid, resource_version, ..DeleteOptions::default() }).await
            }
        };
        match done {
            // Somebody used it meanwhile, or removed it: the next round sees that.
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => Ok(()),
            other => other,
        }
    }
}

fn fate(secret: &Secret, days: Days) -> Fate {
    let used = match label(secret, LAST_USED) {
        // Never since uses are noted.
        None => Some(days.tracked),
        Some(text) => text.parse::<Date>().ok(),
    };
    let is_unused = used.is_some_and(|used| used < days.keep);
    let is_young = secret.metadata.creation_timestamp.as_ref().is_none_or(|at| at.0 >= days.made);
    if is_young || !is_unused {
        return Fate::Stays;
    }
    match label(secret, INVALID_SINCE).and_then(|since| since.parse::<Date>().ok()) {
        None => Fate::Marked,
        Some(since) if since < days.keep => Fate::Removed,
        Some(_) => Fate::Stays,
    }
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn label<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    secret.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn mounts(pod: &Pod, secret: Option<&str>) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let named = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref());
    named.into_iter().any(|name| Some(name) == secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(created: &str, labels: serde_json::Value) -> Fate {
        let metadata = json!({ "creationTimestamp": format!("{created}T00:00:00Z"), "labels": labels });
        let secret = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        let date = |text: &str| text.parse::<Date>().unwrap();
        let made = "2025-01-01T00:00:00Z".parse().unwrap();
        let (today, keep, tracked) = (date("2026-01-01"), date("2025-01-01"), date("2024-06-01"));
        fate(&secret, Days { today, made, keep, tracked })
    }

    #[test]
    fn only_tokens_that_nobody_has_used_for_long_are_marked_and_removed() {
        let used = |day: &str| json!({ LAST_USED: day });
        let marked = |day: &str| json!({ INVALID_SINCE: day, LAST_USED: "2024-07-01" });
        assert_eq!(judged("2020-01-01", json!({})), Fate::Marked, "unused since uses are noted");
        assert_eq!(judged("2025-01-01", json!({})), Fate::Stays, "it is young");
        assert_eq!(judged("2020-01-01", used("2024-12-31")), Fate::Marked);
        assert_eq!(judged("2020-01-01", used("2025-01-01")), Fate::Stays);
        assert_eq!(judged("2020-01-01", used("long ago")), Fate::Stays, "nobody knows");
        assert_eq!(judged("2020-01-01", marked("2025-01-01")), Fate::Stays, "it may still be missed");
        assert_eq!(judged("2020-01-01", marked("2024-12-31")), Fate::Removed);
        let missed = json!({ INVALID_SINCE: "2024-12-31", LAST_USED: "2025-06-01" });
        assert_eq!(judged("2020-01-01", missed), Fate::Stays, "somebody misses it");
    }
}

//! Webhooks that refuse because nobody answers for them: whoever waits for what they refuse is told which they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What failed longer ago is not told: it may have been mended.
const RECENT: Duration = Duration::from_secs(30);

/// A webhook that could not be asked, and whose policy is to fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownWebhook {
    /// `MutatingWebhookConfiguration` or `ValidatingWebhookConfiguration`.
    pub kind: &'static str,
    /// Name of the configuration.
    pub configuration: String,
    /// Name of the webhook in it.
    pub webhook: String,
}

/// When each failed last.
///
/// INVARIANT: no more than were registered in the time that counts.
#[derive(Debug, Default)]
pub(crate) struct Down(Mutex<BTreeMap<DownWebhook, Instant>>);

impl Down {
    pub(super) fn note(&self, webhook: DownWebhook, now: Instant) {
        let mut all = self.0.lock();
        all.retain(|_, last| is_recent(*last, now));
        all.insert(webhook, now);
    }

    /// Those that failed lately.
    pub(crate) fn lately(&self, now: Instant) -> Vec<DownWebhook> {
        let all = self.0.lock();
        all.iter().filter(|(_, last)| is_recent(**last, now)).map(|(webhook, _)| webhook.clone()).collect()
    }
}

fn is_recent(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_failed_long_ago_is_not_told_any_more() {
        let of = |name: &str| DownWebhook {
            kind: "ValidatingWebhookConfiguration",
            configuration: name.to_owned(),
            webhook: "a.example.com".to_owned(),
        };
        let (down, began) = (Down::default(), Instant::now());
        down.note(of("a"), began);
        down.note(of("b"), began + RECENT / 2);
        assert_eq!(down.lately(began + RECENT / 2), [of("a"), of("b")]);
        assert_eq!(down.lately(began + RECENT), [of("b")]);
        down.note(of("b"), began + RECENT);
        assert_eq!(down.0.lock().len(), 1, "what is not told is not kept");
    }
}

//! A priority level's configuration, and how many seats all levels get of those there are.

use serde::Deserialize;

/// The spec of a `PriorityLevelConfiguration`, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct LevelSpec {
    #[serde(rename = "type")]
    pub kind: String,
    pub exempt: Option<Shares>,
    pub limited: Option<Limited>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Shares {
    pub nominal_concurrency_shares: u32,
    pub lendable_percent: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Limited {
    #[serde(flatten)]
    pub shares: Shares,
    pub borrowing_limit_percent: Option<u32>,
    pub limit_response: LimitResponse,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct LimitResponse {
    pub queuing: Option<Queuing>,
}

/// How requests of a level wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Queuing {
    pub queues: usize,
    pub hand_size: usize,
    pub queue_length_limit: usize,
}

/// Seats of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Its own, by its share.
    pub nominal: u32,
    /// Those that it never lends.
    pub min: u32,
    /// With all that it may borrow.
    pub max: u32,
}

/// More queues than these would only take memory: flows are kept apart well enough.
const QUEUES_MAX: usize = 4096;

impl LevelSpec {
    pub(super) fn is_exempt(&self) -> bool {
        self.kind == "Exempt"
    }

    fn shares(&self) -> Shares {
        let limited = self.limited.as_ref().map(|limited| limited.shares.clone());
        limited.or_else(|| self.exempt.clone()).unwrap_or_default()
    }

    /// Nothing if what does not fit is refused at once.
    pub(super) fn queuing(&self) -> Option<Queuing> {
        let queuing = self.limited.as_ref()?.limit_response.queuing?;
        Some(Queuing { queues: queuing.queues.clamp(1, QUEUES_MAX), ..queuing })
    }
}

/// The seats of all levels out of `total`.
pub(super) fn bounds(total: u32, levels: &[&LevelSpec]) -> Vec<Bounds> {
    let sum: u64 = levels.iter().map(|level| u64::from(level.shares().nominal_concurrency_shares)).sum();
    let of = |level: &&LevelSpec| {
        let shares = level.shares();
        let wanted = u64::from(total) * u64::from(shares.nominal_concurrency_shares);
        let nominal = narrow(wanted.div_ceil(sum.max(1)));
        let lendable =
            narrow((u64::from(nominal) * u64::from(shares.lendable_percent) + 50) / 100).min(nominal);
        let borrowed = level.limited.as_ref().and_then(|limited| limited.borrowing_limit_percent);
        let max = borrowed.map_or(u32::MAX, |percent| {
            nominal.saturating_add(narrow((u64::from(nominal) * u64::from(percent) + 50) / 100))
        });
        Bounds { nominal, min: nominal - lendable, max }
    };
    levels.iter().map(of).collect()
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn level(spec: Value) -> LevelSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn shares_are_of_the_whole_rounded_up_and_lent_by_percent() {
        let exempt =
            level(json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}));
        let half = level(
            json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 30, "lendablePercent": 33,
            "borrowingLimitPercent": 10}}),
        );
        let rest = level(json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 31}}));
        let found = bounds(600, &[&exempt, &half, &rest]);
        assert_eq!(found[0], Bounds { nominal: 0, min: 0, max: u32::MAX });
        assert_eq!(found[1], Bounds { nominal: 296, min: 198, max: 326 });
        assert_eq!(found[2], Bounds { nominal: 305, min: 305, max: u32::MAX });
    }

    #[test]
    fn a_level_queues_only_if_it_says_how() {
        let reject = level(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}));
        assert_eq!(reject.queuing(), None);
        let queuing = json!({"queues": 0, "handSize": 6, "queueLengthLimit": 50});
        let queue = level(
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}}),
        );
        assert_eq!(queue.queuing().map(|queuing| queuing.queues), Some(1));
    }
}

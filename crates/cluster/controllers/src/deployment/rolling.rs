//! How many replicas each ReplicaSet may have next. Pure: numbers in, numbers out.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What a rolling update may do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Pods wanted in the end.
    pub replicas: i32,
    /// Pods above that.
    pub surge: i32,
    /// Pods of that which may be missing.
    pub unavailable: i32,
}

impl Limits {
    /// Surge is rounded up, unavailability down; both zero would stop everything, so then one may be missing.
    pub(super) fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.clone().unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        let rolling = spec.strategy.and_then(|strategy| strategy.rolling_update).unwrap_or_default();
        let surge = resolve(rolling.max_surge.as_ref(), replicas, true);
        let unavailable = resolve(rolling.max_unavailable.as_ref(), replicas, false);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { replicas, surge, unavailable: unavailable.min(replicas) }
    }
}

fn resolve(value: Option<&IntOrString>, replicas: i32, up: bool) -> i32 {
    match value {
        Some(IntOrString::Int(number)) => (*number).max(0),
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(25);
            share(percent, replicas, up)
        }
        None => share(25, replicas, up),
    }
}

fn share(percent: i64, replicas: i32, up: bool) -> i32 {
    let product = percent.max(0) * i64::from(replicas);
    let share = if up { (product + 99) / 100 } else { product / 100 };
    i32::try_from(share).unwrap_or(i32::MAX)
}

/// A ReplicaSet as the arithmetic sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// What its spec asks for.
    pub wanted: i32,
    /// What its status says it has.
    pub have: i32,
    /// How many of these are available.
    pub available: i32,
}

/// The size of the new ReplicaSet: as many more as the surge leaves room for.
pub(super) fn grow_new(limits: Limits, new: Counts, old: &[Counts]) -> i32 {
    if new.wanted >= limits.replicas {
        return limits.replicas;
    }
    let total = new.wanted + old.iter().map(|set| set.wanted).sum::<i32>();
    let room = (limits.replicas + limits.surge - total).max(0);
    (new.wanted + room).min(limits.replicas)
}

/// The sizes of the old ReplicaSets, given oldest first: first without what does not work anyway, then as few as
/// availability allows.
pub(super) fn shrink_old(limits: Limits, new: Counts, old: &[Counts]) -> Vec<i32> {
    let mut sizes: Vec<i32> = old.iter().map(|set| set.wanted).collect();
    let total = new.wanted + sizes.iter().sum::<i32>();
    let minimum = limits.replicas - limits.unavailable;
    // Pods of the new set that are not available yet hold their place.
    let mut spare = (total - minimum - (new.wanted - new.available).max(0)).max(0);
    for (size, set) in sizes.iter_mut().zip(old) {
        let broken = (set.wanted - set.available).clamp(0, *size).min(spare);
        *size -= broken;
        spare -= broken;
    }
    let available = new.available + old.iter().map(|set| set.available).sum::<i32>();
    let mut spare = (available - minimum).max(0);
    for (size, set) in sizes.iter_mut().zip(old) {
        let fewer = (*size).min(spare).min(set.wanted);
        *size -= fewer;
        spare -= fewer;
    }
    sizes
}

/// A ReplicaSet of a deployment that is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sized {
    /// What its spec asks for.
    pub wanted: i32,
    /// How many pods all together could have when it was sized last.
    pub of: i32,
}

/// Shares a change of the total among ReplicaSets, given newest first, by their size: a deployment that is scaled in the
/// middle of an update keeps the proportion of old to new. Each share is rounded to the nearest, and what is left goes to
/// the largest.
pub(super) fn proportional(sets: &[Sized], target: i32) -> Vec<i32> {
    let mut sizes: Vec<i32> = sets.iter().map(|set| set.wanted).collect();
    let change = target - sizes.iter().sum::<i32>();
    let mut order: Vec<usize> = (0..sets.len()).collect();
    // Of equals the newest grows first, and the oldest shrinks first.
    if change < 0 {
        order.reverse();
    }
    order.sort_by_key(|at| std::cmp::Reverse(sizes[*at]));
    let mut left = change;
    for at in &order {
        let share = portion(sets[*at], target) - sizes[*at];
        let step = if change > 0 { share.min(left) } else { share.max(left) };
        sizes[*at] += step;
        left -= step;
    }
    if let Some(largest) = order.first() {
        sizes[*largest] = (sizes[*largest] + left).max(0);
    }
    sizes
}

fn portion(set: Sized, target: i32) -> i32 {
    let (wanted, of, target) = (i64::from(set.wanted), i64::from(set.of).max(1), i64::from(target));
    i32::try_from((2 * wanted * target + of) / (2 * of)).unwrap_or(set.wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { replicas: 3, surge: 1, unavailable: 0 };

    fn counts(wanted: i32, available: i32) -> Counts {
        Counts { wanted, have: wanted, available }
    }

    #[test]
    fn percentages_round_surge_up_and_unavailability_down() {
        let percent = IntOrString::String("25%".into());
        assert_eq!((resolve(Some(&percent), 3, true), resolve(Some(&percent), 3, false)), (1, 0));
        assert_eq!((resolve(None, 10, true), resolve(None, 10, false)), (3, 2));
        assert_eq!(resolve(Some(&IntOrString::Int(7)), 3, true), 7);
    }

    #[test]
    fn a_rolling_update_walks_without_ever_missing_a_pod() {
        let (mut new, mut old) = (counts(0, 0), counts(3, 3));
        let mut steps = 0;
        while new.wanted < 3 || old.wanted > 0 {
            new.wanted = grow_new(LIMITS, new, &[old]);
            assert!(new.wanted + old.wanted <= 4, "surge exceeded");
            // One new pod becomes available, then one old pod may go.
            new.available = (new.available + 1).min(new.wanted);
            old.wanted = shrink_old(LIMITS, new, &[old])[0];
            old.available = old.available.min(old.wanted);
            assert!(new.available + old.available >= 3, "a pod is missing");
            steps += 1;
            assert!(steps < 10, "no progress");
        }
    }

    #[test]
    fn new_pods_that_are_not_available_let_no_old_one_go() {
        assert_eq!(shrink_old(LIMITS, counts(1, 0), &[counts(3, 3)]), [3]);
        assert_eq!(shrink_old(LIMITS, counts(1, 1), &[counts(3, 3)]), [2]);
    }

    #[test]
    fn broken_old_pods_go_first() {
        let sizes = shrink_old(
            Limits { replicas: 4, surge: 2, unavailable: 1 },
            counts(2, 2),
            &[counts(2, 0), counts(2, 2)],
        );
        assert_eq!(sizes[0], 0);
    }

    #[test]
    fn a_change_in_the_middle_keeps_the_proportion() {
        let of = |sizes: &[i32], target: i32| {
            let total = sizes.iter().sum();
            let sets: Vec<Sized> = sizes.iter().map(|wanted| Sized { wanted: *wanted, of: total }).collect();
            proportional(&sets, target)
        };
        assert_eq!(of(&[5, 5], 20), [10, 10]);
        assert_eq!(of(&[8, 4], 6), [4, 2]);
        assert_eq!(of(&[1, 2], 4), [1, 3]);
        assert_eq!(of(&[0, 0], 4), [4, 0]);
        // To the nearest: 12.7 and 20.3.
        assert_eq!(of(&[5, 8], 33), [13, 20]);
        assert_eq!(of(&[5, 8], 0), [0, 0]);
        // What did not come up yet counts as if it had.
        let set = |wanted| Sized { wanted, of: 12 };
        assert_eq!(proportional(&[set(2), set(8)], 24), [4, 20]);
    }
}

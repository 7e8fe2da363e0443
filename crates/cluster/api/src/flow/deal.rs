//! Which queues a flow may wait in: a hand of cards, dealt by a hash. Two flows hardly ever have the same hand, so one
//! that fills its queues leaves others theirs.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// As many as fit a hash (`fits_hash` where levels are checked) and more than anybody asks for.
const HAND_MAX: usize = 60;

/// What tells flows apart.
pub(super) fn flow_hash(schema: &str, distinguisher: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schema, distinguisher).hash(&mut hasher);
    hasher.finish()
}

/// The `hand` different cards out of `deck` that belong to a hash.
pub(super) fn deal(mut hash: u64, deck: usize, hand: usize) -> impl Iterator<Item = usize> {
    let hand = hand.min(deck).min(HAND_MAX);
    let mut dealt = [0usize; HAND_MAX];
    for count in 0..hand {
        let left = (deck - count) as u64;
        let mut card = usize::try_from(hash % left).unwrap_or_default();
        hash /= left;
        // From a place among the cards that are left to the card: each lower one that is gone moves it up.
        let mut place = 0;
        while place < count && dealt[place] <= card {
            card += 1;
            place += 1;
        }
        dealt[place..=count].rotate_right(1);
        dealt[place] = card;
    }
    dealt.into_iter().take(hand)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_hand_has_different_cards_of_the_deck_and_is_always_the_same() {
        for number in 0..500 {
            let hash = flow_hash("schema", &number.to_string());
            let hand: Vec<usize> = deal(hash, 16, 4).collect();
            let cards: BTreeSet<usize> = hand.iter().copied().collect();
            assert_eq!((hand.len(), cards.len()), (4, 4), "{hand:?}");
            assert!(cards.iter().all(|card| *card < 16));
            assert_eq!(deal(hash, 16, 4).collect::<Vec<_>>(), hand);
        }
        assert_eq!(deal(7, 3, 3).collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2]));
        assert_eq!(deal(u64::MAX, 1, 1).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn every_card_is_dealt_about_as_often_as_any_other() {
        let mut counts = [0u32; 64];
        for number in 0..6400 {
            deal(flow_hash("s", &number.to_string()), 64, 6).for_each(|card| counts[card] += 1);
        }
        assert!(counts.iter().all(|count| (400..800).contains(count)), "{counts:?}");
    }
}

//! Names for containers whose makers gave none: a word for how and a word for what, of the sea.

use std::iter;

const ADJECTIVES: [&str; 96] = [
    "able", "agile", "amber", "ample", "azure", "balmy", "bold", "brave", "breezy", "bright", "brisk",
    "busy", "calm", "candid", "cheerful", "clear", "clever", "coastal", "cosy", "crisp", "curious", "daring",
    "deep", "deft", "distant", "drifting", "eager", "early", "earnest", "easy", "even", "faithful", "famous",
    "fast", "fearless", "fine", "fleet", "fluent", "fond", "frank", "free", "fresh", "gentle", "glad",
    "golden", "grand", "green", "handy", "happy", "hardy", "honest", "humble", "jolly", "keen", "kind",
    "large", "late", "light", "lively", "lone", "loyal", "lucky", "mellow", "merry", "mild", "misty",
    "modest", "neat", "nimble", "noble", "northern", "patient", "placid", "plucky", "polite", "proud",
    "quick", "quiet", "rapid", "ready", "robust", "rosy", "salty", "serene", "silver", "sincere", "snug",
    "sober", "steady", "sturdy", "sunny", "swift", "tidy", "vast", "warm", "wise",
];

const NOUNS: [&str; 96] = [
    "anchor", "atoll", "auk", "ballast", "barge", "bay", "beach", "beacon", "boom", "bow", "bridge", "brig",
    "buoy", "cabin", "canal", "canoe", "cape", "captain", "cargo", "channel", "cliff", "coast", "cod",
    "compass", "coral", "cove", "crab", "crane", "crest", "crew", "current", "cutter", "deck", "delta",
    "dinghy", "dock", "dolphin", "dory", "drift", "dune", "eddy", "ferry", "fjord", "flag", "foam", "galley",
    "gull", "harbour", "hatch", "haven", "hawser", "heron", "horizon", "hull", "island", "jetty", "junk",
    "keel", "kelp", "ketch", "lagoon", "lantern", "lugger", "mast", "mooring", "oar", "otter", "pearl",
    "pelican", "petrel", "pier", "pilot", "port", "prow", "puffin", "quay", "raft", "reef", "rigging",
    "rudder", "sail", "sailor", "schooner", "seal", "shoal", "shore", "skiff", "sloop", "spray", "squid",
    "stern", "tern", "tide", "trawler", "wave", "yawl",
];

/// Names to try for a container, one after the other. They come from its id, which is drawn at random: those after the
/// first two have a number behind them, and the last is the id's own.
pub(crate) fn of(id: &str) -> impl Iterator<Item = String> + '_ {
    let number =
        |at: usize| id.get(at..at + 4).and_then(|hex| usize::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let name = move |attempt: usize| {
        let (how, what) = (number(attempt * 8), number(attempt * 8 + 4));
        let words = format!("{}_{}", ADJECTIVES[how % ADJECTIVES.len()], NOUNS[what % NOUNS.len()]);
        match attempt {
            0 | 1 => words,
            2..6 => format!("{words}{}", (how ^ what) % 10),
            _ => format!("{words}{}", (how ^ what) % 10_000),
        }
    };
    (0..8).map(name).chain(iter::once_with(move || format!("c-{}", id.get(..12).unwrap_or(id))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_two_words_then_have_a_number_and_end_with_the_id() {
        let id = "0123456789abcdef".repeat(4);
        let names: Vec<String> = of(&id).collect();
        assert_eq!(names.len(), 9);
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
        let (how, what) = names[0].split_once('_').unwrap();
        assert!(is_word(how) && is_word(what), "{names:?}");
        for name in &names[2..8] {
            let words = name.trim_end_matches(|end: char| end.is_ascii_digit());
            assert!(words.len() < name.len() && words.split('_').all(is_word), "{name}");
        }
        assert_eq!(names[8], "c-0123456789ab");
    }

    #[test]
    fn no_word_is_there_twice() {
        assert_eq!(ADJECTIVES.iter().collect::<BTreeSet<_>>().len(), ADJECTIVES.len());
        assert_eq!(NOUNS.iter().collect::<BTreeSet<_>>().len(), NOUNS.len());
    }
}

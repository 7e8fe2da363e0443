//! Input for the harnesses of fuzz targets, the same each time. Tests of crates include this file.

use proptest::prelude::{Strategy, any, prop};
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRng, TestRunner};

/// How many times as many cases are tried, by hand.
const TIMES: &str = "HAKO_FUZZ_TIMES";

/// Hands over the seeds as they are, then copies of them that go on with the end of another one, and of which some bytes
/// are others.
pub fn run(seeds: Vec<Vec<u8>>, cases: u32, harness: impl Fn(&[u8])) {
    seeds.iter().for_each(|seed| harness(seed));
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let seed = || prop::sample::select(seeds.clone());
    let damaged =
        (seed(), seed(), any::<[Index; 2]>(), changes).prop_map(|(first, second, cuts, changes)| {
            let mut bytes = first[..cuts[0].index(first.len() + 1)].to_vec();
            bytes.extend_from_slice(&second[cuts[1].index(second.len() + 1)..]);
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        });
    let times = std::env::var(TIMES).ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let config =
        Config { cases: cases.saturating_mul(times), failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(config.rng_algorithm);
    let run = TestRunner::new_with_rng(config, random).run(&damaged, |bytes| {
        harness(&bytes);
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

//! One decision: filters over the nodes, scores over those that are left.
//!
//! In a large cluster not every node is asked: enough possible ones are, starting at another place every time.

use crate::cache::Cache;
use crate::filters::first_refusal;
use crate::message::Refusals;
use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;
use crate::scores;

/// Up to so many nodes, all are asked.
const ASK_ALL: usize = 100;

/// Where decisions go on, so that they do not all favour the same nodes.
#[derive(Debug, Default)]
pub struct Turn {
    start: usize,
    ties: usize,
}

/// The best node for a pod, or why there is none.
pub fn choose(pod: &PodInfo, cache: &Cache, turn: &mut Turn) -> Result<String, Refusals> {
    let others = Others::of(pod, cache);
    let nodes: Vec<&NodeInfo> = cache.nodes().collect();
    let enough = enough(nodes.len());
    let mut possible = Vec::new();
    let mut refusals = Refusals::default();
    let mut asked = 0;
    for node in nodes.iter().cycle().skip(turn.start % nodes.len().max(1)).take(nodes.len()) {
        asked += 1;
        let reasons = first_refusal(pod, &others, &cache.nominations.bar(pod, node));
        if reasons.is_empty() {
            possible.push(*node);
            if possible.len() == enough {
                break;
            }
        } else {
            refusals.add(reasons);
        }
    }
    turn.start = (turn.start + asked) % nodes.len().max(1);
    best(pod, &others, &possible, turn).ok_or(refusals)
}

/// How many possible nodes are enough: fewer in relation, the more there are.
fn enough(nodes: usize) -> usize {
    if nodes <= ASK_ALL {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ASK_ALL)
}

/// The highest score; equals take turns.
fn best(pod: &PodInfo, others: &Others, possible: &[&NodeInfo], turn: &mut Turn) -> Option<String> {
    let scores = match possible {
        [] => return None,
        [only] => return Some(only.name.clone()),
        several => scores::total(pod, others, several),
    };
    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
    let tied = possible.iter().zip(&scores).filter(|(_, score)| **score >= highest);
    let tied: Vec<_> = tied.map(|(node, _)| node).collect();
    turn.ties = turn.ties.wrapping_add(1);
    Some(tied[turn.ties % tied.len()].name.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{node, pod_with_cpu};

    fn decide(cache: &mut Cache, turn: &mut Turn, name: &str, cpu: &str) -> Result<String, String> {
        let info = Arc::new(PodInfo::new(pod_with_cpu(name, cpu)));
        let node = choose(&info, cache, turn).map_err(|refusals| refusals.message())?;
        cache.assume(&node, info);
        Ok(node)
    }

    #[test]
    fn room_is_given_once_and_then_refused_in_words() {
        let (mut cache, mut turn) = (Cache::default(), Turn::default());
        for name in ["a", "b", "c"] {
            cache.set_node(node(name, "2", "8Gi"));
        }
        let mut taken: Vec<_> =
            (0..6).map(|n| decide(&mut cache, &mut turn, &format!("p{n}"), "1").unwrap()).collect();
        taken.sort();
        assert_eq!(taken, ["a", "a", "b", "b", "c", "c"], "spread evenly");
        let refused = decide(&mut cache, &mut turn, "p7", "1").unwrap_err();
        assert_eq!(refused, "0/3 nodes are available: 3 Insufficient cpu.");
    }

    #[test]
    fn of_many_nodes_enough_are_asked_and_all_get_their_turn() {
        assert_eq!((enough(3), enough(100), enough(1000), enough(10_000)), (3, 100, 420, 500));
        let (mut cache, mut turn) = (Cache::default(), Turn::default());
        for n in 0..500 {
            cache.set_node(node(&format!("n{n:03}"), "1", "8Gi"));
        }
        for n in 0..500 {
            decide(&mut cache, &mut turn, &format!("p{n}"), "1").unwrap();
        }
        assert!(decide(&mut cache, &mut turn, "last", "1").is_err());
    }
}

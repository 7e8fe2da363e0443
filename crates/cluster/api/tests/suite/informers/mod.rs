//! Informers that follow for long: the server is killed, connections are cut, history is thrown away, and none of them
//! misses a change or is told one twice.
//!
//! ```text
//! writers ──────────────► server (a child, killed) ─► store
//! followers ─► cut ─────►
//! ```

pub mod bed;
mod followers;
mod told;
mod writers;

use std::time::{Duration, Instant};

use self::bed::Bed;
use self::followers::{Follower, follow_all};
use self::writers::Writers;

/// How a run goes.
#[derive(Clone, Copy)]
struct Plan {
    objects: usize,
    /// How often the server is killed.
    kills: usize,
    /// How often followers are kept away between two kills.
    cuts: usize,
    /// Changes that the server keeps for who comes back; so few are kept that followers have to list again.
    history: usize,
}

const ALL_HISTORY: usize = 1_000_000;

impl Plan {
    /// Writes after which who was away has to list again.
    fn missed(self) -> usize {
        if self.history == ALL_HISTORY { 0 } else { self.history * 2 }
    }
}

pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        match is_so().await {
            Ok(()) => return,
            Err(seen) => assert!(Instant::now() < end, "waited in vain for {what}: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs writers and followers through the plan; then every follower knows what the server knows.
async fn run(plan: Plan) {
    let mut bed = Bed::start(plan.history).await;
    let writers = Writers::start(&bed, plan.objects);
    let followers = follow_all(&bed).await;
    for _ in 0..plan.kills {
        for _ in 0..plan.cuts {
            writers.go_on(plan.objects * 3).await;
            bed.close();
            writers.go_on((plan.objects * 3).max(plan.missed())).await;
            bed.open();
        }
        writers.go_on(plan.objects * 3).await;
        bed.kill_and_restart().await;
    }
    writers.go_on(plan.objects).await;
    let acknowledged = writers.stop().await;
    let there = bed.objects().await;
    assert!(!acknowledged.is_empty() && !there.is_empty());
    for Follower { name, told, tells_of_lists, .. } in &followers {
        until(name, async || told.lock().is(&there)).await;
        let told = told.lock();
        assert!(told.faults.is_empty(), "{name}: {:#?}", told.faults);
        if plan.history == ALL_HISTORY {
            told.knows_all(name, &acknowledged);
        } else {
            let lists = told.lists.max(told.asked);
            assert!(lists > 1 || !tells_of_lists, "{name} was away for long, and did not list again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn informers_are_told_every_change_once_when_the_server_is_killed_and_connections_are_cut() {
    run(Plan { objects: 8, kills: 3, cuts: 3, history: ALL_HISTORY }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn informers_end_up_with_what_is_there_when_history_is_thrown_away() {
    run(Plan { objects: 8, kills: 3, cuts: 3, history: 20 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: minutes of kills"]
async fn informers_follow_for_long_and_are_told_every_change_once() {
    run(Plan { objects: 30, kills: 60, cuts: 5, history: ALL_HISTORY }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: minutes of kills"]
async fn informers_follow_for_long_though_history_is_thrown_away() {
    run(Plan { objects: 30, kills: 60, cuts: 5, history: 60 }).await;
}

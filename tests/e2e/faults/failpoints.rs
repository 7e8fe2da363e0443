//! The daemon dies at every step of what it does: what the next one finds is whole or not there at all, nothing is left
//! behind, and the same operation done again succeeds.
//!
//! The steps are the points in the source ([`hako_sys::failpoint!`]): one that no scenario passes fails this test.

use super::bed::Bed;
use super::scenarios::{self, SCENARIOS, Scenario};
use super::state;
use crate::platform::repository;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

/// Workers, each with a machine of its own.
const WORKERS: usize = 3;

#[test]
fn killed_at_any_step_the_daemon_leaves_what_is_whole_or_nothing() {
    let points = points();
    assert!(points.len() > 50, "the points were not found: {points:?}");
    let rows: VecDeque<(String, &Scenario)> = points
        .iter()
        .flat_map(|point| scenarios_of(point).map(|scenario| (point.clone(), scenario)))
        .collect();
    let orphans: Vec<&String> = points.iter().filter(|point| scenarios_of(point).next().is_none()).collect();
    assert!(orphans.is_empty(), "no scenario passes {orphans:?}");

    let (rows, failures) = (Mutex::new(rows), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(&rows, &failures));
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}

fn work(rows: &Mutex<VecDeque<(String, &Scenario)>>, failures: &Mutex<Vec<String>>) {
    let mut bed = None;
    loop {
        let Some((point, scenario)) = rows.lock().unwrap().pop_front() else { break };
        let own = bed.take().unwrap_or_else(new_bed);
        match catch_unwind(AssertUnwindSafe(|| row(&own, &point, scenario))) {
            Ok(()) => bed = Some(own),
            Err(panic) => {
                let reason = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let text = format!("--- {} at {point}: {reason}\n{}", scenario.name, own.log());
                failures.lock().unwrap().push(text);
            }
        }
    }
    bed.into_iter().for_each(Bed::down);
}

fn new_bed() -> Bed {
    let mut bed = Bed::new();
    let daemon = bed.up(None);
    bed.hako(&["image", "import-busybox"]);
    scenarios::warm_up(&daemon.api);
    bed.settle(&daemon.api);
    bed.clean = state::files(&bed.data());
    bed
}

fn row(bed: &Bed, point: &str, scenario: &Scenario) {
    let pass = 1 + usize::from(scenario.passed.iter().any(|passed| matches(passed, point)));
    let mut daemon = bed.up(Some(&format!("{point}@{pass}")));
    (scenario.prepare)(&daemon.api);
    assert!(daemon.lives(), "it died before the operation");
    let _ = (scenario.act)(&daemon.api);
    daemon.killed();

    let daemon = bed.up(None);
    bed.settle(&daemon.api);
    (scenario.again)(&daemon.api);
    bed.settle(&daemon.api);
    scenarios::clean(&daemon.api);
    bed.settle_empty(&daemon.api);
    daemon.kill();
}

/// The scenarios that pass a point: those that name it, else those that name its beginning.
fn scenarios_of(point: &str) -> impl Iterator<Item = &'static Scenario> {
    let is_named = SCENARIOS.iter().any(|scenario| scenario.points.contains(&point));
    let passes = move |scenario: &&Scenario| match is_named {
        true => scenario.points.contains(&point),
        false => scenario.points.iter().any(|pattern| matches(pattern, point)),
    };
    SCENARIOS.iter().filter(passes).collect::<Vec<_>>().into_iter()
}

fn matches(pattern: &str, point: &str) -> bool {
    if pattern.ends_with('.') { point.starts_with(pattern) } else { pattern == point }
}

/// Every point in the source.
fn points() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![repository().join("crates"), repository().join("bin")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(points_in(&path));
            }
        }
    }
    found
}

fn points_in(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let named =
        text.split("failpoint!(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    named.collect()
}

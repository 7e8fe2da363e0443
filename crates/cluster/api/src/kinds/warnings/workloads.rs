//! Of what makes pods.

use super::super::place::Place;
use super::{Warnings, storage, template};
use hako_kube::names;
use serde_json::Value;

/// Of a workload whose pods are called after it.
pub(in super::super) fn named(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = name(new, old, "Pod names and hostnames");
    out.extend(template(new, old, &["spec", "template"]));
    out
}

/// That a new object is called as no host can be.
pub(super) fn name(new: &Value, old: Option<&Value>, used_in: &str) -> Warnings {
    let name = Place::of(new).at(&["metadata", "name"]).text();
    let faults = names::dns_label(name);
    if old.is_some() || faults.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
        faults.join(" ")
    )]
}

/// Of a stateful set.
pub(in super::super) fn stateful_set(new: &Value, old: Option<&Value>) -> Warnings {
    let (spec, mut out) = (Place::of(new).at(&["spec"]), template(new, old, &["spec", "template"]));
    for claim in spec.at(&["volumeClaimTemplates"]).items() {
        // Upstream leaves out where the spec is.
        let path = if old.is_none() { claim.path() } else { format!("{}.Spec", claim.path()) };
        storage::of_claim(&Place::shown(claim.at(&["spec"]).value, &path), &mut out);
    }
    if spec.at(&["revisionHistoryLimit"]).number() < 0 {
        out.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .into(),
        );
    }
    out
}

/// Of a job.
pub(in super::super) fn job(new: &Value, old: Option<&Value>) -> Warnings {
    let mut out = name(new, old, "Pod names and hostnames");
    out.extend(of_job(new, old, &["spec"]));
    out
}

/// Of a cron job.
pub(in super::super) fn cron_job(new: &Value, old: Option<&Value>) -> Warnings {
    const HELP: &str = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/";
    let mut out = name(new, old, "Pod names and hostnames");
    out.extend(of_job(new, old, &["spec", "jobTemplate", "spec"]));
    let schedule = Place::of(new).at(&["spec", "schedule"]);
    if schedule.text().contains("TZ") && old.is_some() {
        out.push(format!(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see {HELP} for more details"
        ));
    }
    out
}

/// Of the spec of a job: at so many indexes what failed cannot be written down.
fn of_job(new: &Value, old: Option<&Value>, path: &[&str]) -> Warnings {
    let (spec, mut out) = (Place::of(new).at(path), Vec::new());
    let is_as_before = old.is_some_and(|old| Place::of(old).at(path).value == spec.value);
    let number = |name: &str| spec.at(&[name]).number();
    let is_large = number("completions") > 100_000 && number("parallelism") > 10_000;
    if spec.at(&["completionMode"]).text() == "Indexed" && is_large && !is_as_before {
        out.push(format!(
            "{}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
            spec.path()
        ));
    }
    let whole: Vec<&str> = path.iter().copied().chain(["template"]).collect();
    out.extend(template(new, old, &whole));
    out
}

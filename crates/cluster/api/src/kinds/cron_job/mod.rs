//! `CronJob`.
//!
//! Owns: schedules, time zones and the template of jobs as they are written. Does not own: when jobs begin.
//! Invariant: what is stored can be read as a schedule.

mod zones;

use super::columns::{Column, age, containers, name, or_none, selector, since};
use super::row::{KindRow, Subresource};
use super::value::{at, items, object_mut, set_default, text};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, default_status, default_template};
use super::{check, job, meta};
use hako_kube::cron::Schedule;
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[Subresource::status("batch", "v1", "CronJob")],
    type_name: "io.k8s.api.batch.v1.CronJob",
    columns: &[
        Column::NAME,
        Column::text("Schedule", "When jobs begin, in cron's words."),
        Column::text("Timezone", "The time zone of the schedule."),
        Column { kind: "boolean", ..Column::text("Suspend", "Whether no further jobs begin.") },
        Column::number("Active", "How many of its jobs are running."),
        Column::text("Last Schedule", "When a job was last due."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    name_faults,
    default,
    validate,
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    warnings: super::warnings::cron_job,
    ..KindRow::BASE
};

const NAME_MAX: usize = 52;

/// The name of a job is that of its cron job and eleven characters more.
fn name_faults(name: &str) -> Vec<String> {
    let mut faults = names::dns_subdomain(name);
    if name.len() > NAME_MAX {
        faults.push(format!("must be no more than {NAME_MAX} characters"));
    }
    faults
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let job = &object["spec"]["jobTemplate"]["spec"];
    let (names, images) = containers(job.get("template"));
    let last = match at(object, &["status", "lastScheduleTime"]) {
        None => "<none>".to_owned(),
        last => since(last, now),
    };
    let suspend = match &object["spec"]["suspend"] {
        Value::Bool(true) => "True",
        Value::Bool(false) => "False",
        _ => "<unset>",
    };
    vec![
        name(object),
        text(object, &["spec", "schedule"]).into(),
        or_none(text(object, &["spec", "timeZone"])),
        suspend.into(),
        items(object, &["status", "active"]).len().into(),
        last.into(),
        age(object, now),
        names,
        images,
        selector(job.get("selector")),
    ]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "concurrencyPolicy", "Allow");
        set_default(spec, "suspend", false);
        set_default(spec, "successfulJobsHistoryLimit", 3);
        set_default(spec, "failedJobsHistoryLimit", 1);
    }
    if let Some(job) = object_mut(object, &["spec", "jobTemplate", "spec"]) {
        default_template(job);
    }
    default_status(object, &[]);
}

fn validate(object: &Value) -> Faults {
    let (mut causes, spec) = (Faults::new(), &object["spec"]);
    schedule(text(spec, &["schedule"]), &mut causes);
    if let Some(zone) = spec.get("timeZone").and_then(Value::as_str) {
        zones::validate(zone, "spec.timeZone", &mut causes);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    check::required_one_of(spec, "concurrencyPolicy", &policies, "spec", &mut causes);
    let numbers = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    check::not_negative(spec, &numbers, "spec", &mut causes);
    template(&spec["jobTemplate"]["spec"], &mut causes);
    causes
}

fn schedule(schedule: &str, causes: &mut Faults) {
    const PATH: &str = "spec.schedule";
    if schedule.is_empty() {
        causes.push(field::required(PATH, ""));
        return;
    }
    let is_zoned = schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=");
    let rest = schedule.split_once(' ').filter(|_| is_zoned).map_or(schedule, |(_, rest)| rest);
    if let Err(error) = Schedule::parse(rest) {
        causes.push(field::invalid(PATH, schedule, &error.to_string()));
    }
    if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        causes.push(field::invalid(PATH, schedule, detail));
    }
}

/// A job of the template gets its selector when it is made.
fn template(spec: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.jobTemplate.spec";
    job::validate_spec(spec, PATH, causes);
    if let Some(selector) = spec.get("selector") {
        let path = field::child(PATH, "selector");
        causes.push(field::invalid(path, selector.clone(), "`selector` will be auto-generated"));
    }
    if spec["manualSelector"] == Value::Bool(true) {
        let path = field::child(PATH, "manualSelector");
        causes.push(field::not_supported(path, true, &["nil", "false"]));
    }
}

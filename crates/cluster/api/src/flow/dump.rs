//! `/debug/api_priority_and_fairness/`: how flow control is at this moment, as tables for people.
//!
//! The columns are those of upstream. Of requests those are listed that wait: of one that runs nothing is kept but its
//! seats.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::Flow;
use super::seats::QueueState;
use super::usage::{Reject, Usage};
use crate::auth::Identity;
use crate::http::Info;

/// A request as it was when it began to wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    pub schema: String,
    pub distinguisher: String,
    pub time: Timestamp,
    user: String,
    verb: &'static str,
    path: String,
    namespace: String,
    name: String,
    version: String,
    resource: String,
    subresource: String,
}

impl Arrival {
    pub(super) fn of(schema: &str, distinguisher: &str, identity: &Identity, info: &Info<'_>) -> Self {
        let resource = info.resource.unwrap_or_default();
        Self {
            schema: schema.to_owned(),
            distinguisher: distinguisher.to_owned(),
            time: Timestamp::now(),
            user: identity.user.clone(),
            verb: info.verb,
            path: info.path.to_owned(),
            namespace: resource.namespace.to_owned(),
            name: resource.name.to_owned(),
            version: resource.version.to_owned(),
            resource: resource.resource.to_owned(),
            subresource: resource.subresource.to_owned(),
        }
    }

    fn details(&self) -> [&str; 8] {
        [
            &self.user,
            self.verb,
            &self.path,
            &self.namespace,
            &self.name,
            &self.version,
            &self.resource,
            &self.subresource,
        ]
    }
}

/// What one wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dump {
    PriorityLevels,
    Queues,
    Requests {
        /// With what each is about.
        has_details: bool,
    },
}

impl Flow {
    /// A table of the state of now.
    pub(crate) fn dump(&self, what: Dump) -> String {
        match what {
            Dump::PriorityLevels => self.dump_levels(),
            Dump::Queues => self.dump_queues(),
            Dump::Requests { has_details } => self.dump_requests(has_details),
        }
    }

    fn dump_levels(&self) -> String {
        let mut table = Table::new(&[
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
            "DispatchedRequests",
            "RejectedRequests",
            "TimedoutRequests",
            "CancelledRequests",
        ]);
        let configured = self.levels.read().clone();
        let mut queues: BTreeMap<String, Vec<QueueState>> = BTreeMap::new();
        for queue in self.seats.queues() {
            queues.entry(queue.level.clone()).or_default().push(queue);
        }
        let usages = self.by_level();
        let names: std::collections::BTreeSet<&String> =
            configured.iter().chain(queues.keys()).chain(usages.keys()).collect();
        for name in names {
            let of = |count: &dyn Fn(&Usage) -> u64| -> u64 {
                usages.get(name).into_iter().flatten().map(|usage| count(usage)).sum()
            };
            let waiting =
                of(&|usage: &Usage| u64::try_from(usage.waiting.load(Ordering::Relaxed)).unwrap_or(0));
            let executing =
                of(&|usage: &Usage| u64::try_from(usage.executing.load(Ordering::Relaxed)).unwrap_or(0));
            let is_active = |queue: &&QueueState| !queue.waiting.is_empty() || queue.running > 0;
            let active = queues.get(name).map_or(0, |queues| queues.iter().filter(is_active).count());
            table.row([
                name.clone(),
                active.to_string(),
                (waiting + executing == 0).to_string(),
                (!configured.contains(name)).to_string(),
                waiting.to_string(),
                executing.to_string(),
                of(&|usage: &Usage| usage.dispatched.load(Ordering::Relaxed)).to_string(),
                of(&|usage: &Usage| {
                    usage.rejections(Reject::QueueFull) + usage.rejections(Reject::ConcurrencyLimit)
                })
                .to_string(),
                of(&|usage: &Usage| usage.rejections(Reject::TimeOut)).to_string(),
                of(&|usage: &Usage| usage.cancelled.load(Ordering::Relaxed)).to_string(),
            ]);
        }
        table.text()
    }

    fn by_level(&self) -> HashMap<String, Vec<Arc<Usage>>> {
        let mut all: HashMap<String, Vec<Arc<Usage>>> = HashMap::new();
        for ((level, _), usage) in self.usages.lock().iter() {
            all.entry(level.clone()).or_default().push(Arc::clone(usage));
        }
        all
    }

    fn dump_queues(&self) -> String {
        let mut table = Table::new(&[
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "InitialSeatsSum",
            "MaxSeatsSum",
            "TotalWorkSum",
        ]);
        for queue in self.seats.queues() {
            let seats: u32 = queue.waiting.iter().map(|(width, _)| *width).sum();
            let work = u64::from(seats) * super::seats::ASSUMED_MICROS;
            table.row([
                queue.level,
                queue.index.to_string(),
                queue.waiting.len().to_string(),
                queue.running.to_string(),
                queue.seats.to_string(),
                seat_seconds(queue.cost),
                seats.to_string(),
                seats.to_string(),
                seat_seconds(work),
            ]);
        }
        table.text()
    }

    fn dump_requests(&self, has_details: bool) -> String {
        let mut columns = vec![
            "PriorityLevelName",
            "FlowSchemaName",
            "QueueIndex",
            "RequestIndexInQueue",
            "FlowDistingsher",
            "ArriveTime",
            "InitialSeats",
            "FinalSeats",
            "AdditionalLatency",
        ];
        if has_details {
            let of_request =
                ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];
            columns.extend(of_request);
        }
        let mut table = Table::new(&columns);
        for queue in self.seats.queues() {
            for (place, (width, arrival)) in queue.waiting.iter().enumerate() {
                let mut row = vec![
                    queue.level.clone(),
                    arrival.schema.clone(),
                    queue.index.to_string(),
                    place.to_string(),
                    arrival.distinguisher.clone(),
                    arrival.time.to_string(),
                    width.to_string(),
                    "0".to_owned(),
                    "0s".to_owned(),
                ];
                if has_details {
                    row.extend(arrival.details().map(str::to_owned));
                }
                table.row(row);
            }
        }
        table.text()
    }
}

/// Upstream's unit of work: seconds on a seat.
fn seat_seconds(micros: u64) -> String {
    format!("{}.{:06}00ss", micros / 1_000_000, micros % 1_000_000)
}

/// Columns of one width each, with a comma behind all but the last, as upstream's are.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|column| (*column).to_owned()).collect()] }
    }

    /// What a client chose may hold no comma and no line of its own.
    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let plain = |cell: String| cell.replace(|letter: char| letter.is_control() || letter == ',', "_");
        self.rows.push(cells.into_iter().map(plain).collect());
    }

    fn text(self) -> String {
        let count = self.rows[0].len();
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..count).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                if at + 1 == count {
                    text.push_str(cell);
                } else {
                    let (cell, width) = (format!("{cell},"), widths[at] + 2);
                    text.push_str(&format!("{cell:<width$}"));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_no_cell_ends_its_line() {
        let mut table = Table::new(&["Name", "A", "B"]);
        table.row(["catch-all".to_owned(), "0".to_owned(), "x\ny".to_owned()]);
        table.row(["e".to_owned(), "a,b".to_owned(), String::new()]);
        assert_eq!(table.text(), "Name,      A,   B\ncatch-all, 0,   x_y\ne,         a_b, \n");
    }

    #[test]
    fn work_is_told_in_seconds_on_a_seat() {
        assert_eq!(seat_seconds(77_643_420), "77.64342000ss");
        assert_eq!(seat_seconds(5), "0.00000500ss");
    }
}

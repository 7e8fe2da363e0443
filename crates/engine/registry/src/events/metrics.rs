//! Numbers for Prometheus, in its text format 0.0.4.

use super::Happened;
use crate::registry::Collected;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The upper bounds of the histogram of times, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// What is counted. Labels are of few values: repositories are none.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    requests: BTreeMap<(&'static str, &'static str, u16), u64>,
    times: BTreeMap<&'static str, ([u64; BOUNDS.len()], u64, f64)>,
    sent_bytes: u64,
    lost: BTreeMap<&'static str, u64>,
    collected: Collected,
}

impl Metrics {
    pub(super) fn count(&self, happened: &Happened) {
        let mut numbers = self.0.lock();
        let method = match happened.method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        *numbers.requests.entry((happened.route, method, happened.status)).or_default() += 1;
        if method == "GET" && happened.status < 300 {
            numbers.sent_bytes += happened.size;
        }
        let seconds = happened.took.as_secs_f64();
        let (buckets, count, sum) = numbers.times.entry(happened.route).or_default();
        for (bucket, bound) in buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        *count += 1;
        *sum += seconds;
    }

    /// Something that nobody could be told of.
    pub(super) fn lost(&self, what: &'static str) {
        *self.0.lock().lost.entry(what).or_default() += 1;
    }

    /// What a round of the collector removed.
    pub(crate) fn collected(&self, round: Collected) {
        let sum = &mut self.0.lock().collected;
        sum.uploads += round.uploads;
        sum.links += round.links;
        sum.blobs += round.blobs;
    }

    /// The page. `uploads` are under way now.
    pub(crate) fn text(&self, uploads: usize) -> String {
        let numbers = self.0.lock();
        let mut text = String::new();
        head(&mut text, "requests_total", "counter", "Requests answered.");
        for ((route, method, status), count) in &numbers.requests {
            line(
                &mut text,
                "requests_total",
                &[("kind", route), ("method", method), ("code", &status.to_string())],
                *count,
            );
        }
        head(&mut text, "request_seconds", "histogram", "Time until the head of the answer.");
        for (route, (buckets, count, sum)) in &numbers.times {
            for (bucket, bound) in buckets.iter().zip(BOUNDS) {
                line(
                    &mut text,
                    "request_seconds_bucket",
                    &[("kind", route), ("le", &bound.to_string())],
                    *bucket,
                );
            }
            line(&mut text, "request_seconds_bucket", &[("kind", route), ("le", "+Inf")], *count);
            line(&mut text, "request_seconds_sum", &[("kind", route)], *sum);
            line(&mut text, "request_seconds_count", &[("kind", route)], *count);
        }
        head(&mut text, "sent_bytes_total", "counter", "Bytes of bodies that answers announced.");
        line(&mut text, "sent_bytes_total", &[], numbers.sent_bytes);
        head(&mut text, "uploads", "gauge", "Uploads under way.");
        line(&mut text, "uploads", &[], uploads);
        head(&mut text, "collected_total", "counter", "What the collector removed.");
        let collected = numbers.collected;
        for (what, count) in
            [("uploads", collected.uploads), ("links", collected.links), ("blobs", collected.blobs)]
        {
            line(&mut text, "collected_total", &[("what", what)], count);
        }
        head(
            &mut text,
            "lost_total",
            "counter",
            "Audit lines and webhook events that were dropped, by queue.",
        );
        for (what, count) in &numbers.lost {
            line(&mut text, "lost_total", &[("queue", what)], *count);
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP hako_registry_{name} {help}\n# TYPE hako_registry_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "hako_registry_{name}{labels} {value}");
}

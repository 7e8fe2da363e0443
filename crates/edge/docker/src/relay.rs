//! From a builder, which never waits, to a client that reads as it likes: what a slow reader leaves waiting is bounded.

use serde_json::Value;
use std::collections::VecDeque;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

/// Bytes of a build's output that wait for a reader.
pub(crate) const MOST_WAITING: usize = 4 << 20;
/// What a reader finds in the place of what was left out.
pub(crate) const CLIPPED: &str = "[output clipped: it comes faster than it is read]\n";

/// A line for a client.
pub(crate) enum Line {
    /// Always told.
    Told(Value),
    /// Output of so many bytes, left out while too much waits.
    Output(Value, usize),
}

/// What waits.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Value, usize)>,
    bytes: usize,
    is_clipped: bool,
}

impl Waiting {
    fn add(&mut self, line: Line, clipped: &impl Fn() -> Value) {
        match line {
            Line::Told(line) => self.lines.push_back((line, 0)),
            Line::Output(_, bytes) if self.bytes + bytes > MOST_WAITING => {
                if !std::mem::replace(&mut self.is_clipped, true) {
                    self.lines.push_back((clipped(), 0));
                }
            }
            Line::Output(line, bytes) => {
                self.is_clipped = false;
                self.bytes += bytes;
                self.lines.push_back((line, bytes));
            }
        }
    }

    fn take(&mut self) -> Option<Value> {
        let (line, bytes) = self.lines.pop_front()?;
        self.bytes -= bytes;
        Some(line)
    }
}

/// Passes on what comes, as lines, until there is no more, or nobody reads. `clipped` stands for output that is left out.
pub(crate) async fn relay<T>(
    mut from: UnboundedReceiver<T>,
    to: Sender<Value>,
    mut line: impl FnMut(T) -> Option<Line>,
    clipped: impl Fn() -> Value,
) {
    let mut waiting = Waiting::default();
    let mut is_open = true;
    while is_open || !waiting.lines.is_empty() {
        tokio::select! {
            one = from.recv(), if is_open => match one {
                Some(one) => line(one).into_iter().for_each(|line| waiting.add(line, &clipped)),
                None => is_open = false,
            },
            room = to.reserve(), if !waiting.lines.is_empty() => {
                let Ok(room) = room else { return };
                if let Some(line) = waiting.take() {
                    room.send(line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::sync::mpsc::{Receiver, channel, unbounded_channel};

    fn ends() -> (Sender<Value>, Receiver<Value>) {
        channel(1)
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_misses_output_and_nothing_else() {
        let (events, from) = unbounded_channel();
        let (to, mut lines) = ends();
        let count = 3 * MOST_WAITING / 1024;
        for number in 0..count {
            events.send(number).unwrap();
        }
        drop(events);
        let line = |number| {
            Some(match number % 1000 {
                0 => Line::Told(json!(number)),
                _ => Line::Output(json!("x"), 1024),
            })
        };
        let reading = async {
            // It begins when all is written.
            for _ in 0..2 * count {
                tokio::task::yield_now().await;
            }
            let mut all = Vec::new();
            while let Some(line) = lines.recv().await {
                all.push(line);
            }
            all
        };
        let ((), all) = tokio::join!(relay(from, to, line, || json!(CLIPPED)), reading);
        let told = all.iter().filter(|line| line.is_number()).count();
        assert_eq!(told, count.div_ceil(1000));
        let kept = all.iter().filter(|line| **line == "x").count();
        assert!((MOST_WAITING / 1024..count / 2).contains(&kept), "{kept} of {count}");
        assert!(all.contains(&json!(CLIPPED)));
    }

    #[tokio::test]
    async fn nobody_who_reads_ends_it() {
        let (events, from) = unbounded_channel();
        let (to, lines) = ends();
        drop(lines);
        events.send(1).unwrap();
        relay(from, to, |_| Some(Line::Told(json!(1))), || json!(CLIPPED)).await;
    }
}

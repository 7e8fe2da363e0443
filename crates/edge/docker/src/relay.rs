//! From a builder, which never waits, to a client that reads as it likes: what a slow reader leaves waiting is bounded.

use std::collections::VecDeque;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

/// Bytes of a build's output that wait for a reader, as they are sent: all that is told of one stream of a step, in JSON.
pub(crate) const MOST_WAITING: usize = 8 << 20;
/// How many lines are on their way between relay and connection: they count for nobody.
pub(crate) const ON_THE_WAY: usize = 16;
/// What a reader finds in the place of what was left out.
pub(crate) const CLIPPED: &str = "[output clipped: it comes faster than it is read]\n";

/// A line for a client.
pub(crate) enum Line {
    /// Always told.
    Told(String),
    /// Output, left out while too much waits.
    Output(String),
}

/// What waits.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<(String, usize)>,
    bytes: usize,
    is_clipped: bool,
}

impl Waiting {
    fn add(&mut self, line: Line, clipped: &impl Fn() -> String) {
        match line {
            Line::Told(line) => self.lines.push_back((line, 0)),
            Line::Output(line) if self.bytes + line.len() > MOST_WAITING => {
                if !std::mem::replace(&mut self.is_clipped, true) {
                    self.lines.push_back((clipped(), 0));
                }
            }
            Line::Output(line) => {
                self.is_clipped = false;
                let bytes = line.len();
                self.bytes += bytes;
                self.lines.push_back((line, bytes));
            }
        }
    }

    fn take(&mut self) -> Option<String> {
        let (line, bytes) = self.lines.pop_front()?;
        self.bytes -= bytes;
        Some(line)
    }
}

/// Passes on what comes, as lines, until there is no more, or nobody reads. `clipped` stands for output that is left out.
pub(crate) async fn relay<T>(
    mut from: UnboundedReceiver<T>,
    to: Sender<String>,
    mut line: impl FnMut(T) -> Option<Line>,
    clipped: impl Fn() -> String,
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
    use tokio::sync::mpsc::{Receiver, channel, unbounded_channel};

    fn ends() -> (Sender<String>, Receiver<String>) {
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
        let line = |number: usize| {
            Some(match number % 1000 {
                0 => Line::Told(number.to_string()),
                _ => Line::Output("x".repeat(1024)),
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
        let ((), all) = tokio::join!(relay(from, to, line, || CLIPPED.to_owned()), reading);
        let told = all.iter().filter(|line| line.parse::<usize>().is_ok()).count();
        assert_eq!(told, count.div_ceil(1000));
        let kept = all.iter().filter(|line| line.starts_with('x')).count();
        assert!((MOST_WAITING / 1024..count / 2).contains(&kept), "{kept} of {count}");
        assert!(all.iter().any(|line| line == CLIPPED));
    }

    #[tokio::test]
    async fn nobody_who_reads_ends_it() {
        let (events, from) = unbounded_channel();
        let (to, lines) = ends();
        drop(lines);
        events.send(1).unwrap();
        relay(from, to, |_| Some(Line::Told("1".to_owned())), || CLIPPED.to_owned()).await;
    }
}

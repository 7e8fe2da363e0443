//! What of a step's output is told: so much that nobody has to keep more, and of a step that fails its end.

use crate::request::{BuildEvent, OutputStream};
use tokio::sync::mpsc::UnboundedSender;

/// What a step may write to one stream and be told, as in BuildKit. Its rate is not limited: that would leave out
/// something else each time.
const LIMIT: usize = 2 << 20;
/// BuildKit's words.
const CLIPPED: &[u8] = b"\n[output clipped, log limit 2MiB reached]\n";
/// How much of the end of each stream a step that fails tells besides.
const END: usize = 16 << 10;

/// The output of one step.
#[derive(Debug)]
pub(crate) struct StepLog {
    step: usize,
    events: UnboundedSender<BuildEvent>,
    streams: [Told; 2],
}

/// What is known of one stream.
#[derive(Debug, Default)]
struct Told {
    bytes: usize,
    is_clipped: bool,
    /// The last of what was not told.
    end: Vec<u8>,
    /// Whether there was more before it.
    is_cut: bool,
}

impl StepLog {
    pub(crate) fn new(step: usize, events: UnboundedSender<BuildEvent>) -> Self {
        Self { step, events, streams: Default::default() }
    }

    pub(crate) fn write(&mut self, stream: OutputStream, bytes: &[u8]) {
        let told = &mut self.streams[stream as usize];
        let (first, rest) = bytes.split_at(bytes.len().min(LIMIT - told.bytes));
        told.bytes += first.len();
        let mut first = first.to_vec();
        if !rest.is_empty() {
            if !std::mem::replace(&mut told.is_clipped, true) {
                first.extend_from_slice(CLIPPED);
            }
            told.keep(rest);
        }
        self.tell(stream, first);
    }

    /// Tells why a step may have failed, where that was left out.
    pub(crate) fn fail(&mut self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let end = self.streams[stream as usize].take_end();
            self.tell(stream, end);
        }
    }

    fn tell(&self, stream: OutputStream, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            // Nobody has to listen.
            let _ = self.events.send(BuildEvent::Output { step: self.step, stream, bytes });
        }
    }
}

impl Told {
    fn keep(&mut self, bytes: &[u8]) {
        self.end.extend_from_slice(&bytes[bytes.len().saturating_sub(END)..]);
        self.is_cut |= bytes.len() > END;
        // Not at every write: each would move all of it.
        if self.end.len() > 2 * END {
            self.end.drain(..self.end.len() - END);
            self.is_cut = true;
        }
    }

    /// From the begin of a line, if the begin is not there.
    fn take_end(&mut self) -> Vec<u8> {
        let end = std::mem::take(&mut self.end);
        let kept = &end[end.len().saturating_sub(END)..];
        let is_cut = self.is_cut || kept.len() < end.len();
        let line = kept.iter().position(|byte| *byte == b'\n').filter(|_| is_cut);
        kept[line.map_or(0, |at| at + 1)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn log() -> (StepLog, UnboundedReceiver<BuildEvent>) {
        let (events, told) = unbounded_channel();
        (StepLog::new(1, events), told)
    }

    fn written(mut told: UnboundedReceiver<BuildEvent>) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(BuildEvent::Output { bytes, .. }) = told.try_recv() {
            all.extend(bytes);
        }
        all
    }

    #[test]
    fn much_output_is_clipped_once_and_the_other_stream_is_not() {
        let (mut log, told) = log();
        for _ in 0..100 {
            log.write(OutputStream::Stdout, &[b'x'; 100 << 10]);
        }
        log.write(OutputStream::Stderr, b"still told");
        drop(log);
        let all = written(told);
        assert_eq!(&all[LIMIT..], [CLIPPED, b"still told"].concat());
    }

    #[test]
    fn a_step_that_fails_tells_its_last_lines_though_it_said_too_much() {
        let (mut log, told) = log();
        log.write(OutputStream::Stdout, &vec![b'x'; LIMIT]);
        for number in 0..1_000_000 {
            log.write(OutputStream::Stdout, format!("line {number}\n").as_bytes());
        }
        log.write(OutputStream::Stdout, b"the reason\n");
        log.fail();
        drop(log);
        let all = written(told);
        let end = String::from_utf8_lossy(&all[LIMIT + CLIPPED.len()..]);
        assert!(end.len() <= END && end.starts_with("line 99"), "{} {end:.40}", end.len());
        assert!(end.ends_with("line 999999\nthe reason\n"), "{end}");
    }

    #[test]
    fn what_was_left_out_whole_comes_whole() {
        let (mut log, told) = log();
        log.write(OutputStream::Stderr, &vec![b'x'; LIMIT]);
        log.write(OutputStream::Stderr, b"one\ntwo\n");
        log.fail();
        log.fail();
        drop(log);
        assert!(written(told)[LIMIT..] == *[CLIPPED, b"one\ntwo\n"].concat());
    }
}

//! Points at which a test lets this process die as `kill -9` would, to see what the next one finds.
//!
//! `HAKO_FAILPOINT=container.create.snapshot` kills at the first pass of that point, `…@3` at the third. Release builds
//! have no points.

use rustix::process::{Signal, getpid, kill_process};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that names the point.
const VARIABLE: &str = "HAKO_FAILPOINT";

/// Marks a point at which a test may let the process die.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::pass_failpoint($name);
    };
}

/// The point that was asked for, and how often it is still to be passed.
#[derive(Debug)]
struct Armed {
    name: String,
    left: AtomicU32,
}

impl Armed {
    fn parse(text: &str) -> Option<Self> {
        let (name, left) = match text.split_once('@') {
            Some((name, left)) => (name, left.parse().ok()?),
            None => (text, 1),
        };
        Some(Self { name: name.to_owned(), left: AtomicU32::new(left) })
    }

    fn is_last_pass(&self, name: &str) -> bool {
        self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// What [`failpoint!`](crate::failpoint) calls. The environment is read once.
pub fn pass_failpoint(name: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| std::env::var(VARIABLE).ok().and_then(|text| Armed::parse(&text)));
    if armed.as_ref().is_some_and(|armed| armed.is_last_pass(name)) {
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            // The signal may be a moment away; nothing more is to be done until then.
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pass_that_was_asked_for_is_the_last() {
        let armed = Armed::parse("a.b@2").unwrap();
        assert!(!armed.is_last_pass("a.c") && !armed.is_last_pass("a.b"));
        assert!(armed.is_last_pass("a.b") && !armed.is_last_pass("a.b"));
        assert!(Armed::parse("a.b").unwrap().is_last_pass("a.b"));
        assert!(Armed::parse("a.b@x").is_none());
    }
}

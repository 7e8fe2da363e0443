//! The work that one evaluation does, beside what it costs.
//!
//! Costs are upstream's, so that what passes there passes here; they count a list within a list as one. A value that has
//! another one twice, again and again, is as large as two to the power of its depth for whoever walks it, and what makes
//! long texts of short ones costs no more than those: 500 characters were enough for hours, or for all memory. So whatever
//! walks values or makes them counts here too, and an evaluation ends when it has done too much.
//!
//! INVARIANT: an evaluation runs on one thread from its beginning to its end.

use std::cell::Cell;

/// Steps of one evaluation: a tenth of a second.
const MOST: u64 = 4_000_000;
/// Steps that are part of what is paid anyway.
const FREE: u64 = 500_000;
/// Steps for an item that is made: memory is scarcer than time.
pub(crate) const ITEM: u64 = 8;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Does some work within the limit; answers what it cost besides.
pub(crate) fn limited<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LEFT.replace(MOST);
    let done = work();
    let steps = MOST - LEFT.replace(before);
    (done, steps.saturating_sub(FREE) / 10)
}

/// Counts steps; false when there have been too many.
pub(crate) fn take(steps: u64) -> bool {
    LEFT.with(|left| {
        let rest = left.get().checked_sub(steps);
        left.set(rest.unwrap_or(0));
        rest.is_some()
    })
}

/// The steps for a text that is made.
pub(crate) const fn text(bytes: usize) -> u64 {
    1 + bytes as u64 / 4
}

/// Whether there have been too many: what was found out since then is not true.
pub(crate) fn is_spent() -> bool {
    LEFT.get() == 0
}

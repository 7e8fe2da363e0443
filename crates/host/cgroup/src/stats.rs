//! What a group used.

/// A reading of a group's counters; what a machine does not count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory in use, page cache included, in bytes.
    pub memory_usage: u64,
    /// Memory that cannot be reclaimed at once: usage without inactive file pages.
    pub memory_working_set: u64,
    /// The limit of memory in bytes, if there is one.
    pub memory_limit: Option<u64>,
    /// CPU time used in nanoseconds.
    pub cpu_ns: u64,
    /// Tasks.
    pub pids: u64,
}

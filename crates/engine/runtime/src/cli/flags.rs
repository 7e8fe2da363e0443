//! Which flags each command takes: runc's. What is not in a table is refused, never skipped.

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    pub name: &'static str,
    /// Its one-letter form; empty when it has none.
    pub short: &'static str,
    pub takes_value: bool,
}

const fn valued(name: &'static str, short: &'static str) -> Flag {
    Flag { name, short, takes_value: true }
}

const fn switch(name: &'static str, short: &'static str) -> Flag {
    Flag { name, short, takes_value: false }
}

/// Flags that stand before and behind every command.
pub(super) static OF_ALL: [Flag; 1] = [switch("help", "h")];

/// Flags before the command.
pub(super) const GLOBAL: &[Flag] = &[
    valued("root", ""),
    valued("log", ""),
    valued("log-format", ""),
    valued("rootless", ""),
    valued("criu", ""),
    switch("debug", ""),
    switch("systemd-cgroup", ""),
    switch("version", "v"),
];

const CREATE: &[Flag] = &[
    valued("bundle", "b"),
    valued("console-socket", ""),
    valued("pidfd-socket", ""),
    valued("pid-file", ""),
    valued("preserve-fds", ""),
    switch("no-pivot", ""),
    switch("no-new-keyring", ""),
];

const RUN: &[Flag] = &[
    valued("bundle", "b"),
    valued("console-socket", ""),
    valued("pidfd-socket", ""),
    valued("pid-file", ""),
    valued("preserve-fds", ""),
    switch("no-pivot", ""),
    switch("no-new-keyring", ""),
    switch("no-subreaper", ""),
    switch("detach", "d"),
    switch("keep", ""),
];

const EXEC: &[Flag] = &[
    valued("console-socket", ""),
    valued("pidfd-socket", ""),
    valued("pid-file", ""),
    valued("cwd", ""),
    valued("env", "e"),
    valued("user", "u"),
    valued("additional-gids", "g"),
    valued("process", "p"),
    valued("process-label", ""),
    valued("apparmor", ""),
    valued("cap", "c"),
    valued("preserve-fds", ""),
    valued("cgroup", ""),
    switch("tty", "t"),
    switch("detach", "d"),
    switch("no-new-privs", ""),
    switch("ignore-paused", ""),
];

/// Limits by flag: what they are in a spec is in `update`.
const UPDATE: &[Flag] = &[
    valued("resources", "r"),
    valued("blkio-weight", ""),
    valued("cpu-period", ""),
    valued("cpu-quota", ""),
    valued("cpu-burst", ""),
    valued("cpu-share", ""),
    valued("cpu-idle", ""),
    valued("cpu-rt-period", ""),
    valued("cpu-rt-runtime", ""),
    valued("cpuset-cpus", ""),
    valued("cpuset-mems", ""),
    valued("kernel-memory", ""),
    valued("kernel-memory-tcp", ""),
    valued("memory", ""),
    valued("memory-reservation", ""),
    valued("memory-swap", ""),
    valued("pids-limit", ""),
    valued("l3-cache-schema", ""),
    valued("mem-bw-schema", ""),
];

/// The flags of a command; `None` when there is no such command.
pub(super) fn of(command: &str) -> Option<&'static [Flag]> {
    Some(match command {
        "create" => CREATE,
        "run" => RUN,
        "exec" => EXEC,
        "update" => UPDATE,
        "list" => const { &[valued("format", "f"), switch("quiet", "q")] },
        "ps" => const { &[valued("format", "f")] },
        "events" => const { &[valued("interval", ""), switch("stats", "")] },
        "kill" => const { &[switch("all", "a")] },
        "delete" => const { &[switch("force", "f")] },
        "spec" => const { &[valued("bundle", "b"), switch("rootless", "")] },
        "start" | "state" | "pause" | "resume" | "features" | "help" => &[],
        // Refused with a reason, whatever comes with them.
        "checkpoint" | "restore" => &[],
        _ => return None,
    })
}

/// The commands behind whose container everything belongs to another program.
pub(super) fn is_program(command: &str) -> bool {
    matches!(command, "exec" | "ps")
}

/// The commands whose flags are not looked at.
pub(super) fn is_refused(command: &str) -> bool {
    matches!(command, "checkpoint" | "restore")
}

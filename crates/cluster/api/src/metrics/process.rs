//! What the kernel says about this process, in the names that all exporters have.

use std::fs;
use std::path::Path;

use super::text::Text;

/// Clock ticks a second in what the kernel tells, whatever it uses itself (proc(5)).
const TICKS: f64 = 100.0;

/// What cannot be read is left out.
pub(super) fn write(text: &mut Text) {
    let own = Path::new("/proc/self");
    let read = |name: &str| fs::read_to_string(own.join(name)).unwrap_or_default();
    let stat = read("stat");
    // The second field is a name in parentheses that may hold anything.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |place: usize| fields.get(place - 3).and_then(|field| field.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (ticks(14), ticks(15)) {
        let help = "User and system CPU time in seconds.";
        text.single("process_cpu_seconds_total", "counter", help, (user + system) / TICKS);
    }
    let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
    if let (Some(started), Some(booted)) = (ticks(22), number(&booted, "btime ")) {
        let help = "When the process began, in seconds since 1970.";
        text.single("process_start_time_seconds", "gauge", help, booted + started / TICKS);
    }
    let status = read("status");
    for (name, line, help) in [
        ("process_resident_memory_bytes", "VmRSS:", "Resident memory in bytes."),
        ("process_virtual_memory_bytes", "VmSize:", "Virtual memory in bytes."),
    ] {
        if let Some(kib) = number(&status, line) {
            text.single(name, "gauge", help, kib * 1024.0);
        }
    }
    if let Ok(open) = fs::read_dir(own.join("fd")) {
        text.single("process_open_fds", "gauge", "Open file descriptors.", open.count());
    }
    if let Some(most) = number(&read("limits"), "Max open files") {
        text.single("process_max_fds", "gauge", "Most file descriptors that may be open.", most);
    }
}

/// The first number after the start of a line.
fn number(text: &str, start: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    rest.split_whitespace().next()?.parse().ok()
}

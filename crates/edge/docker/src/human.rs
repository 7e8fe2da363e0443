//! Durations and sizes as people read them.

use hako_container::{Container, ContainerState};
use jiff::Timestamp;

/// `Up 3 seconds`, `Exited (1) 2 hours ago`, `Created`.
pub(crate) fn status(container: &Container, now: Timestamp) -> String {
    let since = |then: &Timestamp| duration(now.as_second() - then.as_second());
    match &container.state {
        _ if container.restarting => {
            let exit = container.state.exit();
            let when = exit.map(|exit| since(&exit.finished_at)).unwrap_or_default();
            format!("Restarting ({}) {when} ago", exit.map_or(0, |exit| exit.code))
        }
        ContainerState::Created => "Created".into(),
        ContainerState::Running { started_at, .. } if container.paused => {
            format!("Up {} (Paused)", since(started_at))
        }
        ContainerState::Running { started_at, .. } => format!("Up {}", since(started_at)),
        ContainerState::Exited(exit) if exit.started_at.is_none() => "Created".into(),
        ContainerState::Exited(exit) => format!("Exited ({}) {} ago", exit.code, since(&exit.finished_at)),
    }
}

/// One word for the state.
pub(crate) fn state(container: &Container) -> &'static str {
    match &container.state {
        _ if container.restarting => "restarting",
        ContainerState::Created => "created",
        ContainerState::Running { .. } if container.paused => "paused",
        ContainerState::Running { .. } => "running",
        // Its starts have failed.
        ContainerState::Exited(exit) if exit.started_at.is_none() => "created",
        ContainerState::Exited(_) => "exited",
    }
}

fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Four digits and a decimal unit: `512B`, `1.5MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1000.0, unit + 1);
    }
    let decimals = match size {
        ..10.0 => 3,
        10.0..100.0 => 2,
        100.0..1000.0 => 1,
        _ => 0,
    };
    let text = format!("{size:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_as_people_do() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (90, "About a minute"),
            (600, "10 minutes"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(4000), "About an hour");
        assert_eq!(duration(3600 * 30), "30 hours");
        assert_eq!(duration(3600 * 24 * 3), "3 days");
    }

    #[test]
    fn sizes_have_four_digits() {
        let sizes = [0, 512, 1000, 1_500_000, 12_345_678, 999_999].map(size);
        assert_eq!(sizes, ["0B", "512B", "1kB", "1.5MB", "12.35MB", "1000kB"]);
    }
}

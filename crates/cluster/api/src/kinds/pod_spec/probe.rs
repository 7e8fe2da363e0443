//! Probes and hooks: each has exactly one handler.

use super::super::place::{Faults, Place};
use hako_kube::names;
use serde_json::Value;

const OF_PROBES: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const OF_HOOKS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const SIGNALS: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// All faults of the probes and hooks of a container of a pod with that spec.
pub(super) fn validate(container: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(&[name]);
        if probe.is_set() {
            self::probe(&probe, name, faults);
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = container.at(&["lifecycle", name]);
        if hook.is_set() {
            handler(&hook, &OF_HOOKS, faults);
            sleep(&hook, spec, faults);
        }
    }
    stop_signal(&container.at(&["lifecycle", "stopSignal"]), spec, faults);
}

fn stop_signal(signal: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    if !signal.is_set() {
        return;
    }
    match spec.at(&["os", "name"]).text() {
        "" => faults.push(signal.forbidden("may not be set for containers with empty `spec.os.name`")),
        "windows" => signal.one_of(&["SIGKILL", "SIGTERM"], faults),
        _ => signal.one_of(&SIGNALS, faults),
    }
}

fn probe(probe: &Place<'_>, name: &str, faults: &mut Faults) {
    handler(probe, &OF_PROBES, faults);
    for part in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        probe.at(&[part]).not_negative(faults);
    }
    let (successes, seconds) =
        (probe.at(&["successThreshold"]), probe.at(&["terminationGracePeriodSeconds"]));
    if name != "readinessProbe" && successes.number() != 1 {
        faults.push(successes.invalid_number("must be 1"));
    }
    if seconds.is_set() && seconds.number() <= 0 {
        faults.push(seconds.invalid("must be greater than 0"));
    }
    if seconds.is_set() && name == "readinessProbe" {
        faults.push(seconds.invalid("must not be set for readinessProbes"));
    }
}

fn handler(holder: &Place<'_>, kinds: &[&str], faults: &mut Faults) {
    let given: Vec<&&str> = kinds.iter().filter(|kind| holder.at(&[kind]).is_set()).collect();
    match given.as_slice() {
        [] => faults.push(holder.required("must specify a handler type")),
        [first, more @ ..] => {
            one(&holder.at(&[first]), first, faults);
            let detail = "may not specify more than 1 handler type";
            faults.extend(more.iter().map(|kind| holder.at(&[kind]).forbidden(detail)));
        }
    }
}

fn one(handler: &Place<'_>, kind: &str, faults: &mut Faults) {
    match kind {
        "exec" => {
            let command = handler.at(&["command"]);
            if command.is_empty() {
                faults.push(command.required(""));
            }
        }
        "httpGet" => {
            let path = handler.at(&["path"]);
            if path.is_empty() {
                faults.push(path.required(""));
            }
            port(&handler.at(&["port"]), faults);
            handler.at(&["scheme"]).one_of(&["HTTP", "HTTPS"], faults);
            for header in handler.at(&["httpHeaders"]).items() {
                let name = header.at(&["name"]);
                let headers = handler.at(&["httpHeaders"]).path();
                let of = |fault: &String| hako_kube::field::invalid(headers.as_str(), name.text(), fault);
                faults.extend(names::header_name(name.text()).iter().map(of));
            }
        }
        "tcpSocket" | "grpc" => port(&handler.at(&["port"]), faults),
        _ => {}
    }
}

/// A pod sleeps no longer than it has left.
fn sleep(hook: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    let sleep = hook.at(&["sleep"]);
    let (seconds, grace) = (sleep.at(&["seconds"]).number(), spec.at(&["terminationGracePeriodSeconds"]));
    if sleep.is_set() && grace.is_set() && !(0..=grace.number()).contains(&seconds) {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({})", grace.number());
        faults.push(hako_kube::field::invalid(sleep.path(), seconds, &detail));
    }
}

/// A port by number or by name.
pub(in super::super) fn port(port: &Place<'_>, faults: &mut Faults) {
    match port.value {
        Value::String(_) => port.check(names::port_name, faults),
        _ => faults.extend(names::port_number(port.number()).iter().map(|fault| port.invalid_number(fault))),
    }
}

//! The containers of a pod.

use super::super::place::{Faults, Place};
use super::beside::Beside;
use super::{Owner, claims, env, mounts, probe, resources, restart, security};
use hako_kube::{field, names};
use std::collections::HashSet;

/// One list of containers: what is allowed in one is not in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Running,
    Init,
    Ephemeral,
}

/// All faults of the containers of a spec.
pub(super) fn validate(spec: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    let containers = spec.at(&["containers"]);
    if containers.is_empty() {
        faults.push(containers.required(""));
    }
    let (mut names, mut ports) = (HashSet::new(), HashSet::new());
    let beside = Beside::of(spec);
    for (role, list) in [
        (Role::Running, "containers"),
        (Role::Init, "initContainers"),
        (Role::Ephemeral, "ephemeralContainers"),
    ] {
        for container in spec.at(&[list]).items() {
            if faults.is_full() {
                return;
            }
            common(&container, spec, &beside, faults);
            unique_name(&container, &mut names, faults);
            let image = container.at(&["image"]);
            if (owner.is_pod || role == Role::Ephemeral) && image.text().trim() != image.text() {
                faults.push(image.invalid("must not have leading or trailing whitespace"));
            }
            match role {
                Role::Running => running(&container, spec, &mut ports, faults),
                Role::Init => init(&container, spec, faults),
                Role::Ephemeral => super::ephemeral::validate(&container, &beside, faults),
            }
        }
    }
}

fn unique_name<'a>(container: &Place<'a>, seen: &mut HashSet<&'a str>, faults: &mut Faults) {
    let name = container.at(&["name"]);
    if !name.is_empty() && !seen.insert(name.text()) {
        faults.push(name.duplicate());
    }
}

/// What holds for every container.
fn common(container: &Place<'_>, spec: &Place<'_>, beside: &Beside<'_>, faults: &mut Faults) {
    container.at(&["name"]).check_required(names::dns_label, faults);
    let image = container.at(&["image"]);
    if image.is_empty() {
        faults.push(image.required(""));
    }
    for (name, allowed) in [
        ("terminationMessagePolicy", &["File", "FallbackToLogsOnError"][..]),
        ("imagePullPolicy", &["Always", "IfNotPresent", "Never"][..]),
    ] {
        let policy = container.at(&[name]);
        if policy.is_empty() {
            faults.push(policy.required(""));
        } else {
            policy.one_of(allowed, faults);
        }
    }
    ports(&container.at(&["ports"]), faults);
    env::validate(container, beside, faults);
    mounts::validate(container, beside, faults);
    let required = container.at(&["resources"]);
    resources::validate(&required, resources::Of::Container, faults);
    claims::of_container(&required.at(&["claims"]), &beside.claims, faults);
    let restart = spec.at(&["restartPolicy"]).text();
    resources::resize_policy(&container.at(&["resizePolicy"]), restart, faults);
    security::container(container, spec, faults);
}

fn running<'a>(
    container: &Place<'a>,
    spec: &Place<'_>,
    host_ports: &mut HashSet<(i64, &'a str, &'a str)>,
    faults: &mut Faults,
) {
    probe::validate(container, spec, faults);
    restart::validate(container, faults);
    unique_host_ports(container, host_ports, faults);
}

fn init(container: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    restart::validate(container, faults);
    // They run one after the other, so that each has the host's ports to itself.
    unique_host_ports(container, &mut HashSet::new(), faults);
    if container.at(&["restartPolicy"]).text() == "Always" {
        return probe::validate(container, spec, faults);
    }
    let detail = "may not be set for init containers without restartPolicy=Always";
    let given =
        ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"].map(|it| container.at(&[it]));
    faults.extend(given.iter().filter(|place| place.is_set()).map(|place| place.forbidden(detail)));
}

fn ports(ports: &Place<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    for port in ports.items() {
        if faults.is_full() {
            return;
        }
        let name = port.at(&["name"]);
        name.check_given(names::port_name, faults);
        if !seen.insert(name.text()) && !name.is_empty() {
            faults.push(name.duplicate());
        }
        let (inner, host) = (port.at(&["containerPort"]), port.at(&["hostPort"]));
        if inner.number() == 0 {
            faults.push(inner.required(""));
        }
        for number in [&inner, &host].iter().filter(|place| place.number() != 0) {
            faults.extend(names::port_number(number.number()).iter().map(|fault| number.invalid(fault)));
        }
        let protocol = port.at(&["protocol"]);
        if protocol.is_empty() {
            faults.push(protocol.required(""));
        } else {
            protocol.one_of(&["SCTP", "TCP", "UDP"], faults);
        }
    }
}

fn unique_host_ports<'a>(
    container: &Place<'a>,
    seen: &mut HashSet<(i64, &'a str, &'a str)>,
    faults: &mut Faults,
) {
    for port in container.at(&["ports"]).items() {
        if faults.is_full() {
            return;
        }
        let host = port.at(&["hostPort"]);
        let key = (host.number(), port.at(&["protocol"]).text(), port.at(&["hostIP"]).text());
        if !seen.insert(key) && host.number() != 0 {
            faults.push(field::duplicate(host.path(), format!("{}/{}/{}", key.1, key.2, key.0)));
        }
    }
}

//! What a pod's operating system allows: Windows' own options, and what they exclude.

use super::super::place::{Faults, Place};
use super::all_containers;
use hako_kube::{field, names};

const SPEC_MAX: usize = 64 << 10;
const DOMAIN_MAX: usize = 255;
const USER_MAX: usize = 104;

/// All faults of Windows' options, of a pod or a container.
pub(super) fn options(options: &Place<'_>, faults: &mut Faults) {
    let name = options.at(&["gmsaCredentialSpecName"]);
    if name.is_set() {
        name.check(names::dns_subdomain, faults);
    }
    let spec = options.at(&["gmsaCredentialSpec"]);
    if spec.is_set() && spec.is_empty() {
        faults.push(spec.invalid("gmsaCredentialSpec cannot be an empty string"));
    } else if spec.text().len() > SPEC_MAX {
        faults.push(spec.invalid("gmsaCredentialSpec size must be under 64 KiB"));
    }
    let user = options.at(&["runAsUserName"]);
    if user.is_set() {
        faults.extend(user_faults(user.text()).into_iter().map(|fault| user.invalid(fault)));
    }
}

/// What is wrong with the name of a user, perhaps after a domain and a backslash.
fn user_faults(text: &str) -> Vec<&'static str> {
    if text.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if text.chars().any(char::is_control) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    if text.matches('\\').count() > 1 {
        return vec!["runAsUserName cannot contain more than one backslash"];
    }
    let (domain, user) = text.split_once('\\').map_or((None, text), |(domain, user)| (Some(domain), user));
    let mut faults = Vec::new();
    if domain.is_some_and(|domain| domain.len() > DOMAIN_MAX) {
        faults.push("runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns(domain)) {
        faults.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        faults.push("runAsUserName's User cannot be empty");
    } else if user.len() > USER_MAX {
        faults.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|char| matches!(char, '.' | ' ')) {
        faults.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        faults.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    faults
}

fn is_net_bios(domain: &str) -> bool {
    let is_foreign = |char: char| matches!(char, '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    (1..=15).contains(&domain.chars().count()) && !domain.starts_with('.') && !domain.chars().any(is_foreign)
}

fn is_dns(domain: &str) -> bool {
    domain.to_lowercase().split('.').all(|label| names::dns_label(label).is_empty())
}

/// Containers that are processes of the host: all of a pod's or none, and on the host's network.
pub(super) fn host_process(spec: &Place<'_>, faults: &mut Faults) {
    const OPTION: [&str; 3] = ["securityContext", "windowsOptions", "hostProcess"];
    let of_pod = spec.at(&OPTION);
    let containers = all_containers(spec);
    let mut count = 0;
    for container in &containers {
        let own = container.at(&OPTION);
        if own.is_set() && of_pod.is_set() && own.value != of_pod.value {
            let was = of_pod.is_true();
            let detail = format!("pod hostProcess value must be identical if both are specified, was {was}");
            faults.push(own.invalid(&detail));
        }
        count += usize::from(own.is_true() || (!own.is_set() && of_pod.is_true()));
    }
    if count == 0 {
        return;
    }
    if count != containers.len() {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        faults.push(field::invalid(spec.path(), "", detail));
    }
    if !spec.at(&["hostNetwork"]).is_true() {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        faults.push(field::invalid(field::child(&spec.path(), "hostNetwork"), false, detail));
    }
}

/// A pod with users of its own shares no other namespace with the host.
pub(super) fn host_users(spec: &Place<'_>, faults: &mut Faults) {
    if super::has_host_users(spec) {
        return;
    }
    for (name, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.at(&[name]).is_true() {
            let path = field::child(&spec.path(), shown);
            faults.push(field::forbidden(path, "when `pod.Spec.HostUsers` is false"));
        }
    }
}

const OF_POD: [&str; 4] = ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];
const OF_POD_CONTEXT: [&str; 11] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const OF_CONTAINER_CONTEXT: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// All faults of the operating system that a pod names, and of what it does not have.
pub(super) fn system(spec: &Place<'_>, faults: &mut Faults) {
    let (system, name) = (spec.at(&["os"]), spec.at(&["os", "name"]));
    if !system.is_set() {
        return;
    }
    match name.text() {
        "" => faults.push(name.required("cannot be empty")),
        "linux" => of_linux(spec, faults),
        "windows" => of_windows(spec, faults),
        other => faults.push(field::not_supported(system.path(), other, &["linux", "windows"])),
    }
}

fn of_linux(spec: &Place<'_>, faults: &mut Faults) {
    let holders = std::iter::once(spec.clone()).chain(all_containers(spec));
    let options = holders.map(|holder| holder.at(&["securityContext", "windowsOptions"]));
    faults.extend(
        options
            .filter(Place::is_set)
            .map(|options| options.forbidden("windows options cannot be set for a linux pod")),
    );
}

fn of_windows(spec: &Place<'_>, faults: &mut Faults) {
    let own = OF_POD.iter().map(|name| spec.at(&[name]));
    let context = OF_POD_CONTEXT.iter().map(|name| spec.at(&["securityContext", name]));
    let containers = all_containers(spec);
    let of = |container: &Place<'_>| {
        OF_CONTAINER_CONTEXT.map(|name| {
            let place = container.at(&["securityContext", name]);
            (place.is_set(), place.path())
        })
    };
    let is_given = |place: &Place<'_>| match place.path().rsplit('.').next() {
        Some("hostPID" | "hostIPC") => place.is_true(),
        Some("sysctls") => !place.is_empty(),
        _ => place.is_set(),
    };
    let paths: Vec<String> = own
        .chain(context)
        .filter(is_given)
        .map(|place| place.path())
        .chain(containers.iter().flat_map(of).filter_map(|(is_set, path)| is_set.then_some(path)))
        .collect();
    faults.extend(paths.into_iter().map(|path| field::forbidden(path, "cannot be set for a windows pod")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_users_are_told_apart() {
        for sound in ["ContainerUser", "NT AUTHORITY\\Local Service", "example.com\\me"] {
            assert_eq!(user_faults(sound), [""; 0], "{sound}");
        }
        for (faulty, fault) in [
            ("", "runAsUserName cannot be an empty string"),
            ("a\\b\\c", "runAsUserName cannot contain more than one backslash"),
            ("a\nb", "runAsUserName cannot contain control characters"),
            ("dom\\", "runAsUserName's User cannot be empty"),
            (". .", "runAsUserName's User cannot contain only periods or spaces"),
            ("a?", "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"),
            (
                "a very long domain here/\\u",
                "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
            ),
        ] {
            assert_eq!(user_faults(faulty), [fault], "{faulty:?}");
        }
    }
}

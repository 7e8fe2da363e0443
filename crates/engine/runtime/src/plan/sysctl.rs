//! Which kernel parameters a container may set: those that belong to a namespace of its own. All others are the
//! host's, written through the host's /proc (CVE-2022-0811).

use std::path::PathBuf;

use hako_error::Result;

use super::PlanError;
use crate::types::{NamespaceMode, Namespaces};

/// Which namespaces are not the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Network.
    pub net: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host and domain name.
    pub uts: bool,
}

impl From<&Namespaces> for Own {
    fn from(namespaces: &Namespaces) -> Self {
        let is_own = |mode| mode != NamespaceMode::Host;
        Self { net: is_own(namespaces.net), ipc: is_own(namespaces.ipc), uts: is_own(namespaces.uts) }
    }
}

/// Parameters of System V IPC.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses a parameter that is the host's.
pub fn check(name: &str, own: Own) -> Result<()> {
    let parts = parts(name)?;
    let dotted = parts.join(".");
    let (is_own, namespace) = if parts[0] == "net" && parts.len() > 1 {
        (own.net, "network")
    } else if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        (own.ipc, "ipc")
    } else if dotted == "kernel.hostname" && own.uts {
        return Err(PlanError::FieldSysctl { name: dotted, field: "hostname" }.into());
    } else if matches!(dotted.as_str(), "kernel.domainname" | "kernel.hostname") {
        // Unlike the name of the host, that of the domain has no older field.
        (own.uts, "uts")
    } else {
        return Err(PlanError::HostSysctl { name: dotted }.into());
    };
    if is_own { Ok(()) } else { Err(PlanError::SharedSysctl { name: dotted, namespace }.into()) }
}

/// The file of a parameter, below /proc/sys.
pub(crate) fn file(name: &str) -> Result<PathBuf> {
    Ok(parts(name)?.iter().collect())
}

/// The parts of a name. As in sysctl(8), whichever of `.` and `/` comes first separates, and the other stands for it
/// inside a part: `net.ipv4.conf.eth0/100.forwarding` is of link `eth0.100`.
fn parts(name: &str) -> Result<Vec<String>> {
    let separator = name.chars().find(|one| matches!(one, '.' | '/')).unwrap_or('.');
    let parts: Vec<String> = match separator {
        '/' => name.split('/').map(str::to_owned).collect(),
        _ => name.split('.').map(|part| part.replace('/', ".")).collect(),
    };
    let is_bad = |part: &String| matches!(part.as_str(), "" | "." | "..") || part.contains(['/', '\0']);
    if parts.iter().any(is_bad) {
        let expected = "name it as in net.ipv4.ip_forward";
        return Err(PlanError::Bad { field: "linux.sysctl", value: name.to_owned(), expected }.into());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const ALL: Own = Own { net: true, ipc: true, uts: true };

    /// CVE-2022-0811: `kernel.core_pattern` runs a program of the attacker's choice on the host.
    #[test]
    fn cve_2022_0811_a_parameter_of_the_host_is_refused_by_name() {
        for name in
            ["kernel.core_pattern", "kernel/core_pattern", "vm.panic_on_oom", "fs.file-max", "net", "user.x"]
        {
            let error = check(name, ALL).unwrap_err();
            assert_eq!(error.kind(), hako_error::Kind::Invalid);
            assert!(error.to_string().contains(&name.replace('/', ".")), "{error}");
        }
    }

    #[test]
    fn a_parameter_of_a_namespace_takes_one_that_is_not_the_hosts() {
        for name in [
            "net.core.somaxconn",
            "net/ipv4/ip_forward",
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "kernel.domainname",
        ] {
            assert!(check(name, ALL).is_ok(), "{name}");
            let error = check(name, Own::default()).unwrap_err();
            assert!(error.to_string().contains("namespace"), "{error}");
        }
    }

    #[test]
    fn the_name_of_the_host_is_the_spec_s_own_field() {
        let error = check("kernel/hostname", ALL).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field"#
        );
        assert!(check("kernel.hostname", Own::default()).is_err());
    }

    #[test]
    fn names_do_not_lead_out_of_their_directory() {
        for name in ["net.../x", "net/../kernel/core_pattern", "net..ipv4", "", "net/"] {
            assert!(check(name, ALL).is_err(), "{name:?}");
        }
        let link = file("net.ipv4.conf.eth0/100.forwarding").unwrap();
        assert_eq!(link, Path::new("net/ipv4/conf/eth0.100/forwarding"));
        assert_eq!(file("net/ipv4/conf/eth0.100/forwarding").unwrap(), link);
    }
}

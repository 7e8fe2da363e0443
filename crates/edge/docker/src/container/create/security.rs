//! Security options.

use super::super::host::HostConfig;
use crate::error::{Failure, invalid, unimplemented};
use hako_container::{Seccomp, SeccompProfile};

/// `NAME=VALUE`, in old requests `NAME:VALUE`.
pub(super) fn security(options: &[String]) -> Result<(Seccomp, bool), Failure> {
    let (mut seccomp, mut no_new_privs) = (Seccomp::Default, false);
    for option in options {
        // The value may be a profile, which has colons: the first sign decides.
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("seccomp", "unconfined") => seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => seccomp = Seccomp::Default,
            ("seccomp", profile) => seccomp = own_profile(profile)?,
            ("no-new-privileges", "" | "true" | "1") => no_new_privs = true,
            ("no-new-privileges", "false" | "0") => no_new_privs = false,
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor" | "label" | "writable-cgroups", _) => {
                return Err(unimplemented(format!("SecurityOpt {option:?} is unimplemented")));
            }
            _ => return Err(invalid(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    Ok((seccomp, no_new_privs))
}

/// Whether the container's users are not the host's, where the engine has others. In the host's namespaces, and with all
/// rights over the host, they have to be: Docker's rules, in its words.
pub(super) fn is_remapped(host: &HostConfig, has_users: bool) -> Result<bool, Failure> {
    match host.userns_mode.as_str() {
        "host" => return Ok(false),
        "" if !has_users => return Ok(false),
        "" => {}
        mode => {
            return Err(invalid(format!("invalid user namespace mode: {mode}: use host or leave it out")));
        }
    }
    let refusals = [
        (
            host.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (
            host.network_mode == "host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (host.pid_mode == "host", "cannot share the host PID namespace when user namespaces are enabled"),
    ];
    match refusals.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, text)) => Err(invalid(text)),
        None => Ok(true),
    }
}

/// The client sends the profile itself, not its path.
fn own_profile(text: &str) -> Result<Seccomp, Failure> {
    let profile: SeccompProfile = serde_json::from_str(text)
        .map_err(|error| invalid(format!("Decoding seccomp profile failed: {error}")))?;
    profile.check()?;
    Ok(Seccomp::Profile(Box::new(profile)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<(Seccomp, bool), Failure> {
        security(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn both_spellings_are_read_and_the_last_one_counts() {
        assert_eq!(read(&["seccomp:unconfined"]).unwrap(), (Seccomp::Unconfined, false));
        assert!(!read(&["no-new-privileges=true", "no-new-privileges:false"]).unwrap().1);
        assert!(read(&["no-new-privileges"]).unwrap().1);
        assert!(read(&["selinux"]).is_err() && read(&["apparmor=mine"]).is_err());
    }

    #[test]
    fn a_profile_comes_as_its_text() {
        let profile = r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[]}]}"#;
        assert!(matches!(read(&[profile]).unwrap().0, Seccomp::Profile(_)));
        assert!(read(&["seccomp=/etc/profile.json"]).is_err());
    }
}

//! System call filters in Docker's dialect: the runtime spec's profile with rules that hold for some capabilities,
//! architectures and kernels only. What holds is known when the container starts.

use crate::error::EngineError;
use hako_oci::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::{Deserialize, Serialize};

/// A profile as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompProfile {
    default_action: LinuxSeccompAction,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
    #[serde(default)]
    listener_path: Option<String>,
}

/// An architecture with those whose calls its kernel also takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// What conditions are asked about.
struct Here<'a> {
    capabilities: &'a Capabilities,
    kernel: (u32, u32),
}

impl SeccompProfile {
    /// Faults that do not depend on where it is used.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong.
    pub fn check(&self) -> hako_error::Result<()> {
        let is_given = |list: Option<usize>| list.is_some_and(|length| length > 0);
        let bad = |expected| EngineError::Value { what: "seccomp profile", value: String::new(), expected };
        if is_given(self.architectures.as_ref().map(Vec::len))
            && is_given(self.arch_map.as_ref().map(Vec::len))
        {
            return Err(bad("use either architectures or archMap").into());
        }
        if self
            .rules()
            .any(|rule| rule.name.as_ref().is_some_and(|name| !name.is_empty()) && rule.names.is_some())
        {
            return Err(bad("a rule has either name or names").into());
        }
        let is_told = |action| action == LinuxSeccompAction::ScmpActNotify;
        if is_told(self.default_action)
            || self.rules().any(|rule| is_told(rule.action))
            || self.listener_path.is_some()
        {
            return Err(bad("SCMP_ACT_NOTIFY and listenerPath are unimplemented").into());
        }
        Ok(())
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.syscalls.iter().flatten()
    }

    /// What of it holds on this machine for a process that has these capabilities.
    ///
    /// # Errors
    /// `Invalid` if the runtime specification has no place for it.
    pub fn resolve(&self, capabilities: &Capabilities) -> hako_error::Result<LinuxSeccomp> {
        Ok(self.resolved(capabilities)?)
    }

    pub(crate) fn resolved(&self, capabilities: &Capabilities) -> Result<LinuxSeccomp, EngineError> {
        let here = Here {
            capabilities,
            kernel: kernel(rustix::system::uname().release().to_string_lossy().as_ref()),
        };
        let bad = || EngineError::Value {
            what: "seccomp profile",
            value: String::new(),
            expected: "a profile that the OCI runtime spec can hold",
        };
        let rules = self.rules().filter(|rule| here.takes(rule)).map(Rule::resolve);
        let mut profile = LinuxSeccompBuilder::default()
            .default_action(self.default_action)
            .architectures(self.architectures())
            .syscalls(rules.collect::<Option<Vec<_>>>().ok_or_else(bad)?);
        if let Some(code) = self.default_errno_ret {
            profile = profile.default_errno_ret(code);
        }
        if let Some(flags) = &self.flags {
            profile = profile.flags(flags.clone());
        }
        profile.build().map_err(|_| bad())
    }

    fn architectures(&self) -> Vec<Arch> {
        let maps = self.arch_map.iter().flatten();
        let mine = maps.into_iter().find(|map| map.architecture == native());
        match mine {
            Some(map) => std::iter::once(map.architecture)
                .chain(map.sub_architectures.iter().flatten().copied())
                .collect(),
            None => self.architectures.clone().unwrap_or_default(),
        }
    }
}

impl Rule {
    fn resolve(&self) -> Option<LinuxSyscall> {
        let names = self.name.iter().filter(|name| !name.is_empty()).chain(self.names.iter().flatten());
        let mut call =
            LinuxSyscallBuilder::default().names(names.cloned().collect::<Vec<_>>()).action(self.action);
        if let Some(code) = self.errno_ret {
            call = call.errno_ret(code);
        }
        if let Some(args) = &self.args {
            call = call.args(args.clone());
        }
        call.build().ok()
    }
}

impl Here<'_> {
    /// Every condition of `includes` holds, and none of `excludes`.
    fn takes(&self, rule: &Rule) -> bool {
        let includes = rule.includes.as_ref().is_none_or(|wanted| {
            wanted.arches.as_ref().is_none_or(|arches| arches.is_empty() || is_native(arches))
                && wanted.caps.iter().flatten().all(|name| self.has(name))
                && wanted.min_kernel.as_ref().is_none_or(|least| kernel(least) <= self.kernel)
        });
        let excludes = rule.excludes.as_ref().is_some_and(|hindered| {
            hindered.arches.as_ref().is_some_and(|arches| is_native(arches))
                || hindered.caps.iter().flatten().any(|name| self.has(name))
                || hindered.min_kernel.as_ref().is_some_and(|least| kernel(least) <= self.kernel)
        });
        includes && !excludes
    }

    fn has(&self, name: &str) -> bool {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        name.parse().is_ok_and(|capability| self.capabilities.contains(&capability))
    }
}

/// Docker's names of architectures are Go's.
fn is_native(arches: &[String]) -> bool {
    let name = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    arches.iter().any(|arch| arch == name)
}

fn native() -> Arch {
    match std::env::consts::ARCH {
        "aarch64" => Arch::ScmpArchAarch64,
        _ => Arch::ScmpArchX86_64,
    }
}

/// The first two numbers of a kernel's release.
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers =
        release.split(|other: char| !other.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_oci::runtime::Capability;

    fn names(profile: &SeccompProfile, capabilities: &[Capability]) -> Vec<String> {
        let resolved = profile.resolve(&capabilities.iter().copied().collect()).unwrap();
        resolved.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn rules_hold_by_capability_architecture_and_kernel() {
        let profile: SeccompProfile = serde_json::from_value(serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] },
                        { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] }],
            "syscalls": [
                { "names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "" },
                { "names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } },
                { "names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "999.0" } },
                { "name": "s390", "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["s390"] } },
            ],
        }))
        .unwrap();
        profile.check().unwrap();
        assert_eq!(names(&profile, &[]), ["read", "write", "clone", "ptrace"]);
        assert_eq!(names(&profile, &[Capability::SysAdmin]), ["read", "write", "mount", "ptrace"]);
        let resolved = profile.resolve(&Capabilities::new()).unwrap();
        assert_eq!(resolved.architectures().as_ref().unwrap().len(), 2);
        assert_eq!(resolved.default_errno_ret(), Some(1));
    }

    #[test]
    fn a_profile_that_contradicts_itself_is_refused() {
        let both: SeccompProfile = serde_json::from_value(serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "archMap": [{ "architecture": "SCMP_ARCH_X86_64" }],
        }))
        .unwrap();
        assert!(both.check().is_err());
        let named: SeccompProfile = serde_json::from_value(serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW" }],
        }))
        .unwrap();
        assert!(named.check().is_err());
    }
}

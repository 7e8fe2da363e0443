//! Capabilities.
#![expect(unsafe_code, reason = "capset and prctl on raw bit sets")]

use std::ffi::c_long;
use std::fs;
use std::io;

/// All capabilities by number, without their `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The five sets, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What the process and its children can ever gain.
    pub bounding: u64,
    /// What counts now.
    pub effective: u64,
    /// What is kept over exec of files that ask for it.
    pub inheritable: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What is kept over exec of any file.
    pub ambient: u64,
}

/// The bit of a capability by its name, with or without `CAP_`.
#[must_use]
pub fn capability_bit(name: &str) -> Option<u64> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

/// What no process started from here can exceed, by names without their `CAP_`; all when proc(5) does not say.
#[must_use]
pub fn own_bounding_names() -> Vec<&'static str> {
    let own = own_set("CapBnd:").unwrap_or(u64::MAX);
    names_of(own).collect()
}

fn names_of(set: u64) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(number, _)| set & (1 << number) != 0).map(|(_, name)| name)
}

/// A set of this process by its field in /proc/self/status.
pub(crate) fn own_set(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let text = status.lines().find_map(|line| line.strip_prefix(field))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// Every capability this kernel knows, by names without their `CAP_`.
pub fn capability_names() -> impl Iterator<Item = &'static str> {
    names_of(known_capabilities())
}

/// The set of every capability this kernel knows.
#[must_use]
pub fn known_capabilities() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    let last: usize = text.trim().parse().unwrap_or(NAMES.len() - 1);
    u64::MAX >> 63_usize.saturating_sub(last)
}

/// Drops everything not in `keep` from the bounding set; needs CAP_SETPCAP, so it comes before the ids change.
pub fn drop_bounding(keep: u64) -> io::Result<()> {
    for number in 0..64_u64 {
        if keep & (1 << number) != 0 {
            continue;
        }
        // SAFETY: plain numbers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } == -1 {
            let error = io::Error::last_os_error();
            // EINVAL: the kernel's last capability is behind us.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets effective, permitted, inheritable and ambient; the bounding set is [`drop_bounding`]'s.
pub fn apply_capabilities(sets: &CapabilitySets) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes two data structures; both objects outlive the call.
    if unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    // A capability can be ambient only while it is permitted and inheritable (capabilities(7)); runc and crun pass over
    // the rest, which the configurations that they generate ask for.
    let possible = sets.ambient & sets.permitted & sets.inheritable;
    (0..64)
        .filter(|number| possible & (1 << number) != 0)
        .try_for_each(|number| ambient(libc::PR_CAP_AMBIENT_RAISE, number))
}

/// Makes effective what is permitted.
pub(crate) fn raise_permitted() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: version 3 takes two data structures; both objects outlive the calls.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) == -1 {
            return Err(io::Error::last_os_error());
        }
        for half in &mut data {
            half.effective = half.permitted;
        }
        if libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn ambient(operation: i32, number: c_long) -> io::Result<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::prctl(libc::PR_CAP_AMBIENT, c_long::from(operation), number, 0_i64, 0_i64) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(capability_bit("CAP_CHOWN"), Some(1));
        assert_eq!(capability_bit("SYS_ADMIN"), Some(1 << 21));
        assert_eq!(capability_bit("CAP_CHECKPOINT_RESTORE"), Some(1 << 40));
        assert_eq!(capability_bit("CAP_NONE"), None);
    }

    #[test]
    fn a_set_has_the_names_whose_bits_it_has() {
        let names = ["CHOWN", "SYS_ADMIN", "CHECKPOINT_RESTORE"];
        let set = names.iter().filter_map(|name| capability_bit(name)).fold(0, |set, bit| set | bit);
        assert_eq!(names_of(set).collect::<Vec<_>>(), names);
        assert_eq!(names_of(u64::MAX).count(), NAMES.len());
        assert_eq!(names_of(known_capabilities()).count(), capability_names().count());
        assert!(capability_names().count() >= 38, "Linux 5.12 has these at least");
        let own = own_set("CapBnd:").unwrap();
        assert!(own_bounding_names().iter().all(|name| own & capability_bit(name).unwrap() != 0));
    }
}

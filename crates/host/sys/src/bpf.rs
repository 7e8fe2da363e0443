//! Device filters of cgroup version 2.
#![expect(unsafe_code, reason = "bpf(2) takes unions of pointers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One eBPF instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BpfInstruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Offset, of memory or of a jump.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

#[repr(C, align(8))]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    length: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 12],
}

#[repr(C, align(8))]
#[derive(Default)]
struct ProgramAttach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    rest: [u64; 12],
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i64> {
    // SAFETY: `attributes` is a zero-padded prefix of the kernel's `union bpf_attr` of the size given, and the
    // pointers inside it are to live objects.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    }
}

/// Loads a device program and attaches it to a group of version 2.
pub fn attach_device_filter(group: BorrowedFd<'_>, program: &[BpfInstruction]) -> io::Result<()> {
    let load = ProgramLoad {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        length: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..ProgramLoad::default()
    };
    let fd = i32::try_from(bpf(BPF_PROG_LOAD, &load)?).map_err(io::Error::other)?;
    // SAFETY: the kernel returned a new descriptor.
    let loaded = unsafe { OwnedFd::from_raw_fd(fd) };
    let attach = ProgramAttach {
        target: group.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
        ..ProgramAttach::default()
    };
    bpf(BPF_PROG_ATTACH, &attach).map(drop)
}

//! Programs that the kernel runs for groups of version 2, and the tables that they look things up in.
#![expect(unsafe_code, reason = "bpf(2) takes unions of pointers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// When the kernel runs a program for the processes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BpfHook {
    /// A device node is opened or made.
    Device,
    /// A socket of IPv4 is about to be connected.
    Connect4,
    /// Somebody asks for the peer of a socket of IPv4.
    PeerName4,
}

impl BpfHook {
    /// `BPF_PROG_TYPE_*`.
    fn program(self) -> u32 {
        match self {
            Self::Device => 15,
            Self::Connect4 | Self::PeerName4 => 18,
        }
    }

    /// `BPF_CGROUP_*`.
    fn attachment(self) -> u32 {
        match self {
            Self::Device => 6,
            Self::Connect4 => 10,
            Self::PeerName4 => 29,
        }
    }
}

/// What a full table does with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BpfMapKind {
    /// It refuses.
    Hash,
    /// It forgets the one that was not asked for longest.
    LruHash,
}

#[repr(C, align(8))]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    length: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attachment: u32,
    rest: [u64; 6],
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

#[repr(C, align(8))]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    target: u32,
    kind: u32,
    flags: u32,
    rest: [u64; 4],
}

#[repr(C, align(8))]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    rest: [u32; 13],
}

#[repr(C, align(8))]
#[derive(Default)]
struct MapElement {
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
}

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_MAP_DELETE_ELEM: i32 = 3;
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_LINK_CREATE: i32 = 28;

const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_LRU_HASH: u32 = 9;
/// Memory is taken with the keys.
const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_F_ALLOW_MULTI: u32 = 2;

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i64> {
    // SAFETY: `attributes` is a zero-padded prefix of the kernel's `union bpf_attr` of the size given, and the
    // pointers inside it are to live objects.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    }
}

fn bpf_descriptor<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    let fd = i32::try_from(bpf(command, attributes)?).map_err(io::Error::other)?;
    // SAFETY: the kernel returned a new descriptor; it closes at exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a program; the kernel refuses one that could do harm.
///
/// # Errors
/// What the kernel says to it.
pub fn load_bpf(hook: BpfHook, program: &[BpfInstruction]) -> io::Result<OwnedFd> {
    let load = ProgramLoad {
        kind: hook.program(),
        length: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        // Programs of devices have one place only, and old kernels know no other field for it.
        attachment: if hook == BpfHook::Device { 0 } else { hook.attachment() },
        ..ProgramLoad::default()
    };
    bpf_descriptor(BPF_PROG_LOAD, &load)
}

/// Loads a device program and attaches it to a group of version 2, for as long as the group lives.
pub fn attach_device_filter(group: BorrowedFd<'_>, program: &[BpfInstruction]) -> io::Result<()> {
    let loaded = load_bpf(BpfHook::Device, program)?;
    let attach = ProgramAttach {
        target: group.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: BpfHook::Device.attachment(),
        flags: BPF_F_ALLOW_MULTI,
        ..ProgramAttach::default()
    };
    bpf(BPF_PROG_ATTACH, &attach).map(drop)
}

/// Attaches a program to a group of version 2, beside those of others, for as long as what this returns is open: it goes
/// with the last process that has it, however that ends.
///
/// # Errors
/// What the kernel says to it; kernels before 5.7 know no such attachment.
pub fn link_bpf(group: BorrowedFd<'_>, hook: BpfHook, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let link = LinkCreate {
        program: program.as_raw_fd() as u32,
        target: group.as_raw_fd() as u32,
        kind: hook.attachment(),
        ..LinkCreate::default()
    };
    bpf_descriptor(BPF_LINK_CREATE, &link)
}

/// A table that programs look things up in, of keys and values of one size each.
#[derive(Debug)]
pub struct BpfMap {
    map: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl BpfMap {
    /// Makes an empty one for at most `entries` keys.
    ///
    /// # Errors
    /// What the kernel says to it.
    pub fn new(kind: BpfMapKind, key_size: usize, value_size: usize, entries: u32) -> io::Result<Self> {
        let size = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
        let (kind, flags) = match kind {
            BpfMapKind::Hash => (BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC),
            BpfMapKind::LruHash => (BPF_MAP_TYPE_LRU_HASH, 0),
        };
        let (key, value) = (size(key_size)?, size(value_size)?);
        let create =
            MapCreate { kind, key_size: key, value_size: value, entries, flags, ..MapCreate::default() };
        Ok(Self { map: bpf_descriptor(BPF_MAP_CREATE, &create)?, key_size, value_size })
    }

    /// Puts a value in the place of what the key had.
    ///
    /// # Errors
    /// `InvalidInput` for another size of either, and what the kernel says to it.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() != self.value_size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let element = MapElement { value: value.as_ptr() as u64, ..self.element(key)? };
        bpf(BPF_MAP_UPDATE_ELEM, &element).map(drop)
    }

    /// Takes a key out; one that is not there is a success.
    ///
    /// # Errors
    /// `InvalidInput` for a key of another size, and what the kernel says to it.
    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        match bpf(BPF_MAP_DELETE_ELEM, &self.element(key)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn element(&self, key: &[u8]) -> io::Result<MapElement> {
        if key.len() != self.key_size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let map = self.map.as_raw_fd() as u64;
        Ok(MapElement { map, key: key.as_ptr() as u64, ..MapElement::default() })
    }
}

impl AsFd for BpfMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

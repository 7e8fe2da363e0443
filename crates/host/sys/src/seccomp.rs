//! Loading seccomp filters.
#![expect(unsafe_code, reason = "seccomp(2) takes a pointer to a program")]

use std::io;

/// One classic BPF instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeccompInstruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const SeccompInstruction,
}

/// Puts this process under a filter; `flags` are `SECCOMP_FILTER_FLAG_*`.
pub fn load_seccomp(program: &[SeccompInstruction], flags: u32) -> io::Result<()> {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    let program = Program {
        length: u16::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr(),
    };
    // SAFETY: the program's pointer and length describe a live slice of the kernel's `struct sock_filter`.
    match unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

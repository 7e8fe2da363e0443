//! The kernel calls a container runtime needs and `rustix` does not offer in safe form.
//!
//! Owns: starting children with clone3, executing, mounting by descriptors, resolving paths inside a root,
//! capabilities, seccomp and BPF loading, descriptors over sockets, terminals, the read-only view of our own
//! executable, and the check for kernel features.
//! Does not own: any policy; what is mounted where, who may do what, is decided by the callers.
//!
//! Invariant: `unsafe` for processes lives here only, and every function is safe to call from a single-threaded
//! process; what needs that says so.

mod bpf;
mod caps;
mod exe;
mod failpoint;
mod fds;
mod features;
mod mount;
mod parameters;
mod process;
mod resolve;
mod schedule;
mod seccomp;
mod socket;
mod title;
mod tty;
mod writeback;

pub use bpf::{BpfHook, BpfInstruction, BpfMap, BpfMapKind, attach_device_filter, link_bpf, load_bpf};
pub use caps::{
    CapabilitySets, apply_capabilities, capability_bit, capability_names, drop_bounding, known_capabilities,
    own_bounding_names,
};
pub use exe::{is_read_only_exe, read_only_exe};
pub use failpoint::pass_failpoint;
pub use fds::{
    MAX_FDS, close_on_exec_from, inherited, keep_on_exec, keep_only, receive, receive_nonblocking, send,
    socket_pair, spawn_apart,
};
pub use features::{Feature, FeatureError, Features};
pub use mount::{MountAttributes, Propagation, map_ids, mount_sysfs, set_attributes};
pub use parameters::{parameters, write_parameter, write_parameter_in};
pub use process::{
    Child, CloneFlags, SingleThreaded, all_signals, become_root, block_signals, child_signals, exec,
    exit_now, fork, join_session_keyring, reset_signals, set_domain_name, set_fs_ids, set_ids, set_rlimit,
    set_up_loopback, signal, spawn, spawn_into, spawn_sibling, take_signal, trim_heap, unshare, wait_signal,
};
pub use resolve::{open_in_root, open_or_create_in_root, open_resolved};
pub use schedule::{SchedulerAttributes, set_io_priority, set_personality, set_scheduler};
pub use seccomp::{SeccompInstruction, load_seccomp};
pub use socket::{network_namespace_cookie, unread_by_peer};
pub use title::Title;
pub use tty::{open_terminal, set_controlling_terminal};
pub use writeback::begin_writeback;

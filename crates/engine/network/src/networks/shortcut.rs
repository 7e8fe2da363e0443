//! Published ports of 127.0.0.1 by the short way: a program of ours that the kernel runs as a socket of the host is connected
//! puts the sandbox's address in the place of the host's.
//!
//! ```text
//! connect(127.0.0.1:8080) ──▶ LED: port 8080 ──▶ connect(172.17.0.2:80), and MADE: this socket asked for 8080
//! getpeername()           ──▶ MADE ──▶ 127.0.0.1:8080
//! ```
//! No packet is translated then, which is a tenth of a small request's time. It is for TCP over IPv4, from the host's network
//! namespace, of sockets that chose neither address nor link; all else goes by the rules, as all does while no daemon is there
//! to hold the program, or where the kernel has none: the rules lead the same ports. See docs/decisions/0019.

use hako_sys::{BpfHook, BpfInstruction, BpfMap, BpfMapKind, link_bpf, load_bpf};
use rustix::fs::{FsWord, Mode, OFlags, fstatfs, open};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

/// All ports that there are.
const PORTS_MAX: u32 = 1 << 16;
/// How many sockets are remembered, to say whom they asked for.
const SOCKETS_MAX: u32 = 1 << 13;

/// A port of 127.0.0.1 and where it leads.
pub(super) type Way = (u16, SocketAddrV4);

/// The short ways of an instance.
#[derive(Debug, Default)]
pub(super) struct Shortcuts {
    known: HashMap<u16, SocketAddrV4>,
    programs: Programs,
}

#[derive(Debug, Default)]
enum Programs {
    /// Nobody publishes yet.
    #[default]
    Unneeded,
    /// The kernel, or who started us, lets us have none.
    None,
    Attached(Attached),
}

impl Shortcuts {
    /// Leads these ports and no others.
    pub(super) fn replace(&mut self, ways: &HashMap<u16, SocketAddrV4>) {
        let gone: Vec<u16> = self.known.keys().filter(|port| !ways.contains_key(port)).copied().collect();
        self.forget(&gone);
        self.lead(ways.iter().map(|(port, to)| (*port, *to)));
    }

    pub(super) fn forget(&mut self, ports: &[u16]) {
        for port in ports {
            let Programs::Attached(attached) = &self.programs else { return };
            self.known.remove(port);
            if let Err(error) = attached.led.remove(&padded(*port)) {
                // Who holds a way that cannot be closed closes all.
                tracing::warn!(port, %error, "published ports of 127.0.0.1 are led by rules alone from now on");
                self.programs = Programs::None;
            }
        }
    }

    pub(super) fn lead(&mut self, ways: impl IntoIterator<Item = Way>) {
        let mut ways = ways.into_iter().peekable();
        if ways.peek().is_none() {
            return;
        }
        if matches!(self.programs, Programs::Unneeded) {
            self.programs = Attached::open().map_or_else(
                |error| {
                    tracing::debug!(%error, "published ports of 127.0.0.1 are led by rules alone");
                    Programs::None
                },
                Programs::Attached,
            );
        }
        let Programs::Attached(attached) = &self.programs else { return };
        for (port, to) in ways {
            if self.known.get(&port) == Some(&to) {
                continue;
            }
            match attached.led.insert(&padded(port), &[to.ip().octets(), padded(to.port())].concat()) {
                Ok(()) => drop(self.known.insert(port, to)),
                Err(error) => tracing::debug!(port, %error, "a published port is led by rules alone"),
            }
        }
    }
}

/// The programs in their place; they go with this.
#[derive(Debug)]
struct Attached {
    /// Port of the host to address and port of a sandbox, all in network order.
    led: BpfMap,
    _links: [OwnedFd; 2],
}

impl Attached {
    fn open() -> io::Result<Self> {
        let led = BpfMap::new(BpfMapKind::Hash, KEY_SIZE, VALUE_SIZE, PORTS_MAX)?;
        let made = BpfMap::new(BpfMapKind::LruHash, COOKIE_SIZE, MADE_SIZE, SOCKETS_MAX)?;
        let group = root_group()?;
        let attach = |hook, program: &[BpfInstruction]| {
            link_bpf(group.as_fd(), hook, load_bpf(hook, program)?.as_fd())
        };
        // Who connects by it can be told whom it asked for.
        let names = attach(BpfHook::PeerName4, &name_peer(&made))?;
        let connects = attach(BpfHook::Connect4, &connect(&led, &made, own_namespace()?))?;
        Ok(Self { led, _links: [connects, names] })
    }
}

/// A port as it is in the kernel's context of a socket.
fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// The group that every process is in, by a mount that is there: one of ours would give the only hierarchy there is its own
/// options, for the whole machine.
fn root_group() -> io::Result<OwnedFd> {
    /// `CGROUP2_SUPER_MAGIC`.
    const GROUPS: FsWord = 0x6367_7270;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found = mounts.lines().filter_map(root_mount).filter_map(|place| {
        let group = open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        // Something else may be mounted over it.
        (fstatfs(&group).ok()?.f_type == GROUPS).then_some(group)
    });
    let missing = || io::Error::new(io::ErrorKind::NotFound, "the root of cgroup2 is mounted nowhere");
    found.next().ok_or_else(missing)
}

/// The place of a line of mountinfo, proc_pid_mountinfo(5), if the root of version 2 is mounted there.
fn root_mount(line: &str) -> Option<PathBuf> {
    let (mount, system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let is_root = fields.next()? == "/" && system.starts_with("cgroup2 ");
    let place = fields.next()?.replace("\\040", " ");
    is_root.then(|| place.into())
}

/// The number by which programs know our network namespace.
fn own_namespace() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    hako_sys::network_namespace_cookie(socket.as_fd())
}

const KEY_SIZE: usize = 4;
const VALUE_SIZE: usize = 8;
const COOKIE_SIZE: usize = 8;
/// Address and port of the sandbox, and the port that was asked for.
const MADE_SIZE: usize = 12;

/// What the kernel gives a program of either hook (`struct bpf_sock_addr`), and of its socket (`struct bpf_sock`).
mod context {
    pub(super) const IP: i16 = 4;
    pub(super) const PORT: i16 = 24;
    pub(super) const PROTOCOL: i16 = 36;
    pub(super) const SOCKET: i16 = 64;
    pub(super) const SOCKET_LINK: i16 = 0;
    pub(super) const SOCKET_SOURCE: i16 = 24;
}

/// Functions of the kernel.
mod call {
    pub(super) const LOOK_UP: i32 = 1;
    pub(super) const UPDATE: i32 = 2;
    pub(super) const COOKIE: i32 = 46;
    pub(super) const NAMESPACE: i32 = 122;
}

/// 127.0.0.1 as it is in memory.
const LOOPBACK: i32 = i32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets());
const TCP: i32 = 6;
/// The frame: below it is the program's own memory.
const FRAME: u8 = 10;

/// A program in the making. Register 6 is the kernel's context throughout; 1 to 5 are a call's, and lost by it.
struct Program {
    code: Vec<BpfInstruction>,
    /// Jumps to the end.
    leaving: Vec<usize>,
}

impl Program {
    fn new() -> Self {
        let mut program = Self { code: Vec::new(), leaving: Vec::new() };
        program.copy(6, 1);
        program
    }

    fn op(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> &mut Self {
        self.code.push(BpfInstruction { code, registers: from << 4 | to, offset, immediate });
        self
    }

    fn copy(&mut self, to: u8, from: u8) -> &mut Self {
        self.op(0xbf, to, from, 0, 0)
    }

    fn load(&mut self, to: u8, from: u8, offset: i16) -> &mut Self {
        self.op(0x61, to, from, offset, 0)
    }

    fn load_pointer(&mut self, to: u8, from: u8, offset: i16) -> &mut Self {
        self.op(0x79, to, from, offset, 0)
    }

    fn store(&mut self, to: u8, offset: i16, from: u8) -> &mut Self {
        self.op(0x63, to, from, offset, 0)
    }

    fn store_long(&mut self, to: u8, offset: i16, from: u8) -> &mut Self {
        self.op(0x7b, to, from, offset, 0)
    }

    fn long(&mut self, to: u8, value: u64) -> &mut Self {
        let half = |value: u64| i32::from_ne_bytes((value as u32).to_ne_bytes());
        self.op(0x18, to, 0, 0, half(value)).op(0, 0, 0, 0, half(value >> 32))
    }

    fn map(&mut self, to: u8, map: &BpfMap) -> &mut Self {
        self.op(0x18, to, 1, 0, map.as_fd().as_raw_fd()).op(0, 0, 0, 0, 0)
    }

    /// The address of the program's own memory at an offset.
    fn memory(&mut self, to: u8, offset: i16) -> &mut Self {
        self.copy(to, FRAME).op(0x07, to, 0, 0, offset.into())
    }

    fn call(&mut self, function: i32) -> &mut Self {
        self.op(0x85, 0, 0, 0, function)
    }

    fn leave_unless(&mut self, register: u8, is: i32) -> &mut Self {
        self.leaving.push(self.code.len());
        self.op(0x55, register, 0, 0, is)
    }

    fn leave_unless_same(&mut self, register: u8, other: u8) -> &mut Self {
        self.leaving.push(self.code.len());
        self.op(0x5d, register, other, 0, 0)
    }

    fn leave_if_zero(&mut self, register: u8) -> &mut Self {
        self.leaving.push(self.code.len());
        self.op(0x15, register, 0, 0, 0)
    }

    /// Ends with 1: the call goes on, with what the context says now.
    fn finish(mut self) -> Vec<BpfInstruction> {
        let end = self.code.len();
        for jump in self.leaving.drain(..) {
            // From the instruction after it; programs are far shorter than a jump may be.
            self.code[jump].offset = i16::try_from(end - jump - 1).unwrap_or(i16::MAX);
        }
        self.op(0xb7, 0, 0, 0, 1).op(0x95, 0, 0, 0, 0);
        self.code
    }
}

/// Leads a socket that is about to be connected, and remembers it.
fn connect(led: &BpfMap, made: &BpfMap, namespace: u64) -> Vec<BpfInstruction> {
    const PORT: i16 = -4;
    const COOKIE: i16 = -16;
    const MADE: i16 = -32;
    let mut program = Program::new();
    program
        .load(2, 6, context::IP)
        .leave_unless(2, LOOPBACK)
        .load(2, 6, context::PROTOCOL)
        .leave_unless(2, TCP)
        // Another namespace has a loopback of its own.
        .copy(1, 6)
        .call(call::NAMESPACE)
        .long(2, namespace)
        .leave_unless_same(0, 2)
        // Who chose where packets come from or go by gets that, from the rules.
        .load_pointer(1, 6, context::SOCKET)
        .load(2, 1, context::SOCKET_LINK)
        .leave_unless(2, 0)
        .load(2, 1, context::SOCKET_SOURCE)
        .leave_unless(2, 0)
        .load(2, 6, context::PORT)
        .store(FRAME, PORT, 2)
        .store(FRAME, MADE + 8, 2)
        .map(1, led)
        .memory(2, PORT)
        .call(call::LOOK_UP)
        .leave_if_zero(0)
        .load(7, 0, 0)
        .load(8, 0, 4)
        .store(FRAME, MADE, 7)
        .store(FRAME, MADE + 4, 8)
        .copy(1, 6)
        .call(call::COOKIE)
        .store_long(FRAME, COOKIE, 0)
        .map(1, made)
        .memory(2, COOKIE)
        .memory(3, MADE)
        .op(0xb7, 4, 0, 0, 0)
        .call(call::UPDATE)
        .store(6, context::IP, 7)
        .store(6, context::PORT, 8);
    program.finish()
}

/// Says of a socket that was led whom it asked for.
fn name_peer(made: &BpfMap) -> Vec<BpfInstruction> {
    const COOKIE: i16 = -8;
    let mut program = Program::new();
    program
        .copy(1, 6)
        .call(call::COOKIE)
        .store_long(FRAME, COOKIE, 0)
        .map(1, made)
        .memory(2, COOKIE)
        .call(call::LOOK_UP)
        .leave_if_zero(0)
        // It may have been connected to somebody else since.
        .load(2, 0, 0)
        .load(3, 6, context::IP)
        .leave_unless_same(2, 3)
        .load(2, 0, 4)
        .load(3, 6, context::PORT)
        .leave_unless_same(2, 3)
        .load(2, 0, 8)
        .store(6, context::PORT, 2)
        .op(0xb4, 2, 0, 0, LOOPBACK)
        .store(6, context::IP, 2);
    program.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    fn listen(address: &str) -> (TcpListener, SocketAddrV4) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4 was asked for") };
        (listener, address)
    }

    /// Connects, and says whether it was to this listener.
    fn reaches(listener: &TcpListener, asked: SocketAddrV4) -> bool {
        let client = TcpStream::connect(asked).unwrap();
        assert_eq!(client.peer_addr().unwrap(), SocketAddr::V4(asked), "the peer is who was asked for");
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_ok_and(|(_, from)| from == client.local_addr().unwrap())
    }

    #[test]
    fn a_socket_of_the_host_is_led_as_long_as_the_port_is_published() {
        let (server, to) = listen("127.0.0.2");
        // Stands for the rules' way.
        let (kept, asked) = listen("127.0.0.1");
        let (mut shortcuts, mut others) = (Shortcuts::default(), Shortcuts::default());
        assert!(reaches(&kept, asked));
        shortcuts.lead([(asked.port(), to)]);
        assert!(reaches(&server, asked));
        // As another instance on this machine does.
        others.lead([(to.port(), to)]);
        assert!(reaches(&server, asked));
        shortcuts.replace(&[(1, to)].into());
        assert!(reaches(&kept, asked));
        shortcuts.replace(&[(asked.port(), to)].into());
        assert!(reaches(&server, asked));
        shortcuts.forget(&[asked.port()]);
        assert!(reaches(&kept, asked));
        shortcuts.lead([(asked.port(), to)]);
        drop(shortcuts);
        assert!(reaches(&kept, asked), "the programs go with who holds them");
    }

    #[test]
    fn the_root_of_groups_is_found_among_mounts() {
        let place = |root: &str, kind: &str| {
            root_mount(&format!("41 31 0:38 {root} /run/my\\040groups rw,relatime shared:9 - {kind} none rw"))
        };
        assert_eq!(place("/", "cgroup2"), Some("/run/my groups".into()));
        assert_eq!(place("/system.slice", "cgroup2"), None);
        assert_eq!(place("/..", "cgroup2"), None, "as seen from a namespace of groups");
        assert_eq!(place("/", "cgroup"), None);
    }

    /// The options of all groups of version 2, as they are on this machine.
    fn group_options() -> (PathBuf, Vec<String>) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let (place, line) = mounts.lines().find_map(|line| Some((root_mount(line)?, line))).unwrap();
        let options =
            line.rsplit(' ').next().unwrap().split(',').filter(|it| !matches!(*it, "rw" | "ro" | "seclabel"));
        (place, options.map(str::to_owned).collect())
    }

    /// Sets them as they were when it goes.
    struct GroupOptions(Vec<String>);

    impl GroupOptions {
        fn with(option: &str) -> Self {
            let before = Self(group_options().1);
            if !before.0.iter().any(|it| it == option) {
                Self::set(before.0.iter().map(String::as_str).chain([option]));
            }
            before
        }

        fn set<'a>(options: impl Iterator<Item = &'a str>) {
            use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};
            let context = fspick(rustix::fs::CWD, group_options().0, FsPickFlags::FSPICK_CLOEXEC).unwrap();
            options.for_each(|option| fsconfig_set_flag(&context, option).unwrap());
            fsconfig_reconfigure(&context).unwrap();
        }
    }

    impl Drop for GroupOptions {
        fn drop(&mut self) {
            if group_options().1 != self.0 {
                Self::set(self.0.iter().map(String::as_str));
            }
        }
    }

    #[test]
    fn the_options_of_the_machine_s_groups_stay_as_they_are() {
        // One that means nothing to who sets no memory.low.
        let option = "memory_recursiveprot";
        let _before = GroupOptions::with(option);
        let set = group_options();
        assert!(set.1.iter().any(|it| it == option), "{set:?}: not in the first namespace of groups?");
        let attached = Attached::open().unwrap();
        assert_eq!(group_options(), set);
        drop(attached);
        assert_eq!(group_options(), set);
    }

    #[test]
    fn who_chose_a_source_or_another_address_of_the_host_is_left_to_the_rules() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let (server, to) = listen("127.0.0.2");
        let (kept, asked) = listen("127.0.0.1");
        let mut shortcuts = Shortcuts::default();
        shortcuts.lead([(asked.port(), to)]);
        let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&client, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        connect(&client, &asked).unwrap();
        kept.set_nonblocking(true).unwrap();
        assert!(kept.accept().is_ok());
        let other = TcpListener::bind(("127.0.0.3", asked.port())).unwrap();
        assert!(reaches(&other, SocketAddrV4::new([127, 0, 0, 3].into(), asked.port())));
        drop(server);
    }

    #[test]
    fn another_namespace_has_its_own_loopback() {
        let (_server, to) = listen("127.0.0.2");
        let mut shortcuts = Shortcuts::default();
        // Attached from here.
        shortcuts.lead([(1, to)]);
        let inside = std::thread::spawn(move || {
            hako_sys::unshare(hako_sys::CloneFlags::NEWNET).unwrap();
            hako_sys::set_up_loopback().unwrap();
            let (own, asked) = listen("127.0.0.1");
            shortcuts.lead([(asked.port(), to)]);
            assert!(reaches(&own, asked));
        });
        inside.join().unwrap();
    }
}

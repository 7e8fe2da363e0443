//! A netlink socket: requests, dumps and batches with their acknowledgements.
#![expect(unsafe_code, reason = "two options of netlink sockets have no safe wrapper")]

use crate::error::{Errno, NetlinkError};
use crate::message::{Attributes, Message, Writer, messages, u32_at};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    sockopt,
};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A dump's datagrams are at most 32 KiB. Twice as much would make the allocator tidy up all it has at each release.
const RECEIVE_LEN: usize = 32 << 10;
/// How large a batch may get; also bounds the acknowledgements that wait to be read.
const BUFFER_LEN: usize = 32 << 20;
/// The kernel answers within the call; a longer silence means that it never will.
const SILENCE: Duration = Duration::from_secs(10);

const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
const FLAG_DUMP_INTERRUPTED: u16 = 0x10;
/// Of an error: the request is not repeated in full.
const FLAG_CAPPED: u16 = 0x100;
/// Of an error: attributes follow.
const FLAG_TLVS: u16 = 0x200;

const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
/// How often a dump is begun again when the table changed under it.
const DUMP_ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    seq: u32,
    buf: Vec<u8>,
}

/// What came of listening to groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Messages,
    /// More than there was room for: anything may have been told.
    Lost,
    Stop,
}

/// An error message: for which request, and what.
struct Verdict {
    seq: u32,
    errno: Errno,
    detail: String,
}

impl Socket {
    /// Opens a socket of a netlink protocol in the thread's network namespace, where it then stays.
    pub(crate) fn open(protocol: u32) -> io::Result<Self> {
        let protocol = NonZeroU32::new(protocol).map(Protocol::from_raw);
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            enable(&fd, option)?;
        }
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(SILENCE))?;
        Ok(Self { fd, seq: 0, buf: vec![0; RECEIVE_LEN] })
    }

    /// Makes room for large batches and for the errors they may cause.
    pub(crate) fn enlarge(&self) -> io::Result<()> {
        sockopt::set_socket_send_buffer_size_force(&self.fd, BUFFER_LEN)?;
        sockopt::set_socket_recv_buffer_size_force(&self.fd, BUFFER_LEN)?;
        Ok(())
    }

    /// From here on it is told what groups are told, which are bits. A socket without an address of its own would not be: it
    /// would be taken for the sender.
    pub(crate) fn join(&self, groups: u32) -> io::Result<()> {
        Ok(bind(&self.fd, &SocketAddrNetlink::new(0, groups))?)
    }

    /// Waits until its groups are told something, and hands it over; or until somebody writes to or closes what `stop`
    /// reads.
    pub(crate) fn hear(
        &mut self,
        stop: BorrowedFd<'_>,
        mut data: impl FnMut(Message<'_>),
    ) -> io::Result<Heard> {
        loop {
            let mut waiting =
                [PollFd::new(&self.fd, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
            match poll(&mut waiting, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled?,
            };
            if !waiting[1].revents().is_empty() {
                return Ok(Heard::Stop);
            }
            match recv(&self.fd, &mut self.buf[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => {
                    messages(&self.buf[..len]).for_each(&mut data);
                    return Ok(Heard::Messages);
                }
                Err(rustix::io::Errno::NOBUFS) => return Ok(Heard::Lost),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    pub(crate) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Sends one request and waits for its acknowledgement; `answer` gets what comes before it.
    pub(crate) fn request(
        &mut self,
        action: &dyn Fn() -> String,
        kind: u16,
        flags: u16,
        header: &[u8],
        write: impl FnOnce(&mut Writer),
    ) -> Result<Option<Vec<u8>>, NetlinkError> {
        let mut writer = Writer::default();
        let seq = self.next_seq();
        writer.begin(kind, flags | FLAG_REQUEST | FLAG_ACK, seq, header);
        write(&mut writer);
        self.send(action, writer.as_bytes())?;
        let mut answer = None;
        loop {
            let verdict = self.receive(action, |message| {
                if message.seq == seq {
                    answer = Some(message.payload.to_vec());
                }
            })?;
            if let Some(verdict) = verdict.into_iter().find(|verdict| verdict.seq == seq) {
                refuse(action, &verdict)?;
                return Ok(answer);
            }
        }
    }

    /// Sends a batch of which only the last message asks for an acknowledgement. Returns the first refusal.
    pub(crate) fn batch(
        &mut self,
        action: &dyn Fn(u32) -> String,
        bytes: &[u8],
        first: u32,
        last: u32,
    ) -> Result<(), NetlinkError> {
        self.send(&|| action(first), bytes)?;
        let mut refused: Option<Verdict> = None;
        loop {
            let verdicts = self.receive(&|| action(first), |_| ())?;
            let mut is_over = false;
            for verdict in verdicts {
                let is_of_batch = verdict.seq.wrapping_sub(first) <= last.wrapping_sub(first);
                // The opening message is refused alone when the batch as a whole is, without an end.
                is_over |= is_of_batch && (verdict.seq == last || verdict.seq == first);
                if is_of_batch && verdict.errno.0 != 0 {
                    refused.get_or_insert(verdict);
                }
            }
            if is_over {
                return refused.map_or(Ok(()), |verdict| refuse(&|| action(verdict.seq), &verdict));
            }
        }
    }

    /// Asks for a list; begins again when it changed while it was read.
    pub(crate) fn dump<T>(
        &mut self,
        action: &dyn Fn() -> String,
        kind: u16,
        header: &[u8],
        write: impl Fn(&mut Writer),
        mut item: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut items = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            items.clear();
            if self.dump_once(action, (kind, header), &write, |payload| items.extend(item(payload)))? {
                break;
            }
        }
        Ok(items)
    }

    /// Whether the list was whole.
    fn dump_once(
        &mut self,
        action: &dyn Fn() -> String,
        (kind, header): (u16, &[u8]),
        write: impl Fn(&mut Writer),
        mut item: impl FnMut(&[u8]),
    ) -> Result<bool, NetlinkError> {
        let mut writer = Writer::default();
        let seq = self.next_seq();
        writer.begin(kind, FLAG_REQUEST | FLAG_DUMP, seq, header);
        write(&mut writer);
        self.send(action, writer.as_bytes())?;
        let (mut is_whole, mut is_over) = (true, false);
        while !is_over {
            let verdicts = self.receive(action, |message| {
                if message.seq != seq {
                    return;
                }
                is_whole &= message.flags & FLAG_DUMP_INTERRUPTED == 0;
                if message.kind == KIND_DONE {
                    is_over = true;
                } else {
                    item(message.payload);
                }
            })?;
            for verdict in verdicts.iter().filter(|verdict| verdict.seq == seq) {
                refuse(action, verdict)?;
                is_over = true;
            }
        }
        Ok(is_whole)
    }

    fn send(&self, action: &dyn Fn() -> String, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(broken(action, errno.into())),
            }
        }
    }

    /// Reads one datagram: hands over its data messages and returns its verdicts.
    fn receive(
        &mut self,
        action: &dyn Fn() -> String,
        mut data: impl FnMut(Message<'_>),
    ) -> Result<Vec<Verdict>, NetlinkError> {
        let len = loop {
            match recv(&self.fd, &mut self.buf[..], RecvFlags::empty()) {
                Ok((len, _)) => break len,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(broken(action, errno.into())),
            }
        };
        let mut verdicts = Vec::new();
        for message in messages(&self.buf[..len]) {
            match message.kind {
                KIND_ERROR => verdicts
                    .push(verdict(message).ok_or_else(|| NetlinkError::Malformed { action: action() })?),
                _ => data(message),
            }
        }
        Ok(verdicts)
    }
}

fn verdict(message: Message<'_>) -> Option<Verdict> {
    /// `NLMSGERR_ATTR_MSG`
    const TEXT: u16 = 1;
    let code = u32_at(message.payload, 0)?.cast_signed();
    let request_len =
        if message.flags & FLAG_CAPPED == 0 { u32_at(message.payload, 4)? as usize } else { 16 };
    let detail = (message.flags & FLAG_TLVS != 0)
        .then(|| message.payload.get(4 + request_len.next_multiple_of(4)..))
        .flatten()
        .and_then(|rest| Attributes(rest).text(TEXT))
        .map(|text| format!(": {text}"))
        .unwrap_or_default();
    Some(Verdict { seq: message.seq, errno: Errno(-code), detail })
}

fn refuse(action: &dyn Fn() -> String, verdict: &Verdict) -> Result<(), NetlinkError> {
    if verdict.errno.0 == 0 {
        return Ok(());
    }
    Err(NetlinkError::Refused { action: action(), errno: verdict.errno, detail: verdict.detail.clone() })
}

pub(crate) fn broken(action: &dyn Fn() -> String, source: io::Error) -> NetlinkError {
    NetlinkError::Socket { action: action(), source }
}

fn enable(fd: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the pointer and length describe the integer above, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! Output as messages to a log daemon.

use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Stream;
use crate::types::{SyslogAddress, SyslogFormat, SyslogTarget};

/// How long connecting may take: a container is created or a message is lost after it.
const CONNECT: Duration = Duration::from_secs(1);

/// How long nobody tries again after a connection failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes kept for a daemon that does not read; what exceeds them is lost.
const MAX_WAITING: usize = 256 << 10;

/// How long the end of a container waits for a daemon that does not read.
const FAREWELL: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Socket {
    Datagram(UnixDatagram),
    Udp(UdpSocket),
    Stream(UnixStream),
    Tcp(TcpStream),
}

/// A log daemon.
#[derive(Debug)]
pub(super) struct Syslog {
    target: SyslogTarget,
    home_net: Option<OwnedFd>,
    zone: TimeZone,
    socket: Option<Socket>,
    /// When it may be tried again.
    next_try: Instant,
    waiting: Vec<u8>,
    pub dropped: u64,
}

impl Syslog {
    /// Connects; a daemon that is not there is an error now, and only lost messages later.
    pub fn open(target: SyslogTarget, home_net: Option<&OwnedFd>) -> io::Result<Self> {
        let mut syslog = Self {
            target,
            home_net: home_net.map(OwnedFd::try_clone).transpose()?,
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
            socket: None,
            next_try: Instant::now(),
            waiting: Vec::new(),
            dropped: 0,
        };
        syslog.socket = Some(syslog.connect()?);
        Ok(syslog)
    }

    /// A socket belongs to the network namespace it is made in; the daemon is in the one the shim came from.
    fn connect(&self) -> io::Result<Socket> {
        let Some(home) = &self.home_net else { return self.connect_here() };
        let own = std::fs::File::open("/proc/self/ns/net")?;
        let enter = |namespace| move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network));
        enter(home.as_fd())?;
        let connected = self.connect_here();
        enter(own.as_fd())?;
        connected
    }

    fn connect_here(&self) -> io::Result<Socket> {
        let socket = match &self.target.address {
            SyslogAddress::Datagram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Socket::Datagram(socket)
            }
            SyslogAddress::Udp(address) => {
                let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                Socket::Udp(socket)
            }
            SyslogAddress::Stream(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_nonblocking(true)?;
                Socket::Stream(socket)
            }
            SyslogAddress::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, CONNECT)?;
                socket.set_nonblocking(true)?;
                Socket::Tcp(socket)
            }
        };
        Ok(socket)
    }

    /// Sends one line.
    pub fn line(&mut self, stream: Stream, text: &[u8]) {
        let mut message = self.head(stream, Timestamp::now()).into_bytes();
        message.extend_from_slice(text);
        message.push(b'\n');
        if self.send(&message).is_err() {
            self.socket = None;
            self.next_try = Instant::now() + PAUSE;
            // What waited went to a daemon that is gone.
            self.dropped += self.waiting.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            self.waiting = Vec::new();
        }
    }

    fn head(&self, stream: Stream, now: Timestamp) -> String {
        let severity = if stream == Stream::Stderr { 3 } else { 6 };
        let priority = u32::from(self.target.facility) * 8 + severity;
        let (tag, host, pid) = (&self.target.tag, &self.target.hostname, std::process::id());
        let local = || now.to_zoned(self.zone.clone());
        match self.target.format {
            SyslogFormat::Local => {
                format!("<{priority}>{} {tag}[{pid}]: ", local().strftime("%b %e %H:%M:%S"))
            }
            SyslogFormat::Rfc3164 => {
                format!("<{priority}>{} {host} {tag}[{pid}]: ", local().strftime("%b %e %H:%M:%S"))
            }
            SyslogFormat::Rfc5424 => {
                format!(
                    "<{priority}>1 {} {host} {tag} {pid} {tag} - ",
                    local().strftime("%Y-%m-%dT%H:%M:%S%:z")
                )
            }
            SyslogFormat::Rfc5424Micro => {
                format!(
                    "<{priority}>1 {} {host} {tag} {pid} {tag} - ",
                    local().strftime("%Y-%m-%dT%H:%M:%S%.6f%:z")
                )
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            if Instant::now() < self.next_try {
                return Err(io::ErrorKind::NotConnected.into());
            }
            self.socket = Some(self.connect()?);
        }
        match &self.socket {
            Some(Socket::Datagram(socket)) => socket.send(message).map(drop),
            Some(Socket::Udp(socket)) => socket.send(message).map(drop),
            _ => {
                if self.waiting.len() + message.len() > MAX_WAITING {
                    return Err(io::ErrorKind::QuotaExceeded.into());
                }
                self.waiting.extend_from_slice(message);
                self.flush()
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let written = match &mut self.socket {
                Some(Socket::Stream(socket)) => socket.write(&self.waiting),
                Some(Socket::Tcp(socket)) => socket.write(&self.waiting),
                _ => return Ok(()),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.waiting = Vec::new();
        Ok(())
    }

    /// Gives a daemon that is slow a last chance.
    pub fn finish(&mut self) {
        let until = Instant::now() + FAREWELL;
        while !self.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let fd = match &self.socket {
                Some(Socket::Stream(socket)) => socket.as_fd(),
                Some(Socket::Tcp(socket)) => socket.as_fd(),
                _ => return,
            };
            let Ok(timeout) = Timespec::try_from(left) else { return };
            let ready = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&timeout));
            if left.is_zero() || !matches!(ready, Ok(1..)) || self.flush().is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(format: SyslogFormat, stream: Stream) -> String {
        let syslog = Syslog {
            target: SyslogTarget {
                address: SyslogAddress::Datagram("/dev/log".into()),
                format,
                facility: 3,
                tag: "web".to_owned(),
                hostname: "box".to_owned(),
            },
            home_net: None,
            zone: TimeZone::UTC,
            socket: None,
            next_try: Instant::now(),
            waiting: Vec::new(),
            dropped: 0,
        };
        let now = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        syslog.head(stream, now).replace(&std::process::id().to_string(), "PID")
    }

    #[test]
    fn heads_are_those_of_their_formats() {
        assert_eq!(head(SyslogFormat::Local, Stream::Stdout), "<30>Jan  2 03:04:05 web[PID]: ");
        assert_eq!(head(SyslogFormat::Rfc3164, Stream::Stderr), "<27>Jan  2 03:04:05 box web[PID]: ");
        let new = head(SyslogFormat::Rfc5424, Stream::Stdout);
        assert_eq!(new, "<30>1 2026-01-02T03:04:05+00:00 box web PID web - ");
        let micro = head(SyslogFormat::Rfc5424Micro, Stream::Stdout);
        assert_eq!(micro, "<30>1 2026-01-02T03:04:05.678901+00:00 box web PID web - ");
    }
}

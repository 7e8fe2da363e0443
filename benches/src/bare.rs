//! What the machine gives at best: a loop of sendfile(2) that knows one file and no HTTP but a head.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;

/// How much one call sends at most.
const SEND_BYTES: usize = 1 << 20;
const HEAD_BYTES: usize = 16 << 10;

/// A listener in the network namespace of a process.
pub fn listen_beside(pid: u64, port: u16) -> anyhow::Result<TcpListener> {
    let listening = std::thread::spawn(move || -> anyhow::Result<TcpListener> {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?)
    });
    listening.join().map_err(|_| anyhow::anyhow!("the thread that listens panicked"))?
}

/// Serves a file of `bytes` zeros for every request, each connection on a thread of its own, for as long as the bench
/// runs.
pub fn serve(listener: TcpListener, bytes: u64) -> anyhow::Result<SocketAddr> {
    let mut file = tempfile::tempfile()?;
    let piece = vec![0; SEND_BYTES];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(SEND_BYTES).min(SEND_BYTES);
        file.write_all(&piece[..count])?;
        left -= count as u64;
    }
    let file = Arc::new(file);
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let file = file.clone();
            // Ends with its connection.
            std::thread::spawn(move || answer(stream, &file, bytes));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, file: &File, bytes: u64) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = vec![0; HEAD_BYTES];
    // The client asks for one thing at a time: what comes at once is one request.
    while stream.read(&mut head)? > 0 {
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes())?;
        let mut at = 0;
        while at < bytes {
            rustix::fs::sendfile(&stream, file, Some(&mut at), SEND_BYTES)?;
        }
    }
    Ok(())
}

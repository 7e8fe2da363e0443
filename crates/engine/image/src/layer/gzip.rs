//! gzip by several threads.
//!
//! The stream is cut every [`MEMBER`] bytes and each piece becomes a gzip member of its own, which RFC 1952, section
//! 2.2 allows and every reader of layers takes. Where it is cut depends on the content alone, so that the same
//! content gives the same bytes whatever the number of threads.

use libdeflater::{CompressionLvl, Compressor};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::available_parallelism;

/// What goes into one member: a fresh window for each costs 0.3 % in size.
const MEMBER: usize = 512 << 10;
/// A Debian root filesystem of 121 MB by levels 1, 2 and 3 takes 550, 690 and 750 ms of one core, and becomes 51.9, 49.7 and
/// 49.3 MB; podman makes 51.1 MB of it, `gzip -6` 48.8 MB in 3.9 s.
const LEVEL: i32 = 1;
/// No more memory than for twice that many members, also on a machine of many cores.
const MOST_THREADS: usize = 16;

/// Compresses on as many threads as there are processors and writes in order.
pub(super) struct ParallelGzip<W> {
    writer: W,
    current: Member,
    /// Members under way, the oldest first.
    waiting: VecDeque<Receiver<io::Result<Member>>>,
    /// Those that were written: fresh memory would cost a fault for each of its pages.
    free: Vec<Member>,
    threads: Threads,
    is_begun: bool,
}

impl<W: Write> ParallelGzip<W> {
    pub(super) fn new(writer: W) -> Self {
        let most = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        Self {
            writer,
            current: Member::default(),
            waiting: VecDeque::new(),
            free: Vec::new(),
            threads: Threads::new(most),
            is_begun: false,
        }
    }

    /// Ends the stream; an empty one is one empty member.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.is_begun {
            // What is this small is not worth a thread.
            self.current.compress(&mut compressor()?)?;
            self.writer.write_all(self.current.compressed())?;
            return Ok(self.writer);
        }
        if !self.current.plain.is_empty() {
            self.start()?;
        }
        while let Some(oldest) = self.waiting.pop_front() {
            let member = oldest.recv().map_err(|_| panicked())?;
            self.write_out(member)?;
        }
        Ok(self.writer)
    }

    fn start(&mut self) -> io::Result<()> {
        // As many again as are at work wait for a thread, so that none is idle while this one reads and writes.
        if self.waiting.len() >= 2 * self.threads.most
            && let Some(oldest) = self.waiting.pop_front()
        {
            let member = oldest.recv().map_err(|_| panicked())?;
            self.write_out(member)?;
        }
        self.is_begun = true;
        let full = std::mem::replace(&mut self.current, self.free.pop().unwrap_or_default());
        self.waiting.push_back(self.threads.compress(full)?);
        self.write_ready()
    }

    /// Nobody who sends on what is written waits for what is ready.
    fn write_ready(&mut self) -> io::Result<()> {
        while let Some(oldest) = self.waiting.front() {
            match oldest.try_recv() {
                Ok(member) => self.write_out(member)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(panicked()),
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn write_out(&mut self, member: io::Result<Member>) -> io::Result<()> {
        let mut member = member?;
        self.writer.write_all(member.compressed())?;
        member.plain.clear();
        self.free.push(member);
        Ok(())
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let plain = &mut self.current.plain;
        let count = bytes.len().min(MEMBER - plain.len());
        plain.reserve_exact(MEMBER - plain.len());
        plain.extend_from_slice(&bytes[..count]);
        if plain.len() == MEMBER {
            self.start()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One member, before and after.
#[derive(Default)]
struct Member {
    plain: Vec<u8>,
    /// As long as the longest that there may be.
    space: Vec<u8>,
    length: usize,
}

impl Member {
    fn compress(&mut self, compressor: &mut Compressor) -> io::Result<()> {
        let most = compressor.gzip_compress_bound(self.plain.len());
        if self.space.len() < most {
            self.space.resize(most, 0);
        }
        self.length = compressor.gzip_compress(&self.plain, &mut self.space).map_err(io::Error::other)?;
        Ok(())
    }

    fn compressed(&self) -> &[u8] {
        &self.space[..self.length]
    }
}

/// Threads that compress; they end with this.
struct Threads {
    most: usize,
    begun: usize,
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
}

type Job = (Member, SyncSender<io::Result<Member>>);

impl Threads {
    fn new(most: usize) -> Self {
        let (jobs, queue) = channel();
        Self { most, begun: 0, jobs, queue: Arc::new(Mutex::new(queue)) }
    }

    /// Begins a thread more for it as long as there are fewer than wanted.
    fn compress(&mut self, member: Member) -> io::Result<Receiver<io::Result<Member>>> {
        if self.begun < self.most {
            let (queue, mut compressor) = (self.queue.clone(), compressor()?);
            std::thread::Builder::new().name("layer-gzip".into()).spawn(move || {
                while let Some((mut member, done)) = next(&queue) {
                    let compressed = member.compress(&mut compressor);
                    let _ = done.send(compressed.map(|()| member));
                }
            })?;
            self.begun += 1;
        }
        let (done, compressed) = sync_channel(1);
        self.jobs.send((member, done)).map_err(|_| panicked())?;
        Ok(compressed)
    }
}

/// A thread waits for its next job while it holds the lock; the others wait for the lock.
fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().recv().ok()
}

fn compressor() -> io::Result<Compressor> {
    let level = CompressionLvl::new(LEVEL).map_err(|_| io::Error::other("gzip has no such level"))?;
    Ok(Compressor::new(level))
}

fn panicked() -> io::Error {
    io::Error::other("a thread that compresses panicked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn compressed(content: &[u8], step: usize, threads: usize) -> Vec<u8> {
        let mut gzip = ParallelGzip::new(Vec::new());
        gzip.threads.most = threads;
        content.chunks(step).for_each(|part| gzip.write_all(part).unwrap());
        gzip.finish().unwrap()
    }

    #[test]
    fn the_same_content_gives_the_same_bytes_however_it_comes() {
        for size in [0, 1, MEMBER - 1, MEMBER, MEMBER + 1, 3 * MEMBER + 7] {
            let content: Vec<u8> = (0..size).map(|i| (i * i / 977) as u8).collect();
            let one = compressed(&content, 1 << 16, 1);
            assert_eq!(one, compressed(&content, 70_001, 5), "{size}");
            let mut back = Vec::new();
            flate2::read::MultiGzDecoder::new(one.as_slice()).read_to_end(&mut back).unwrap();
            assert!(back == content, "{size}");
        }
    }

    #[test]
    fn members_leave_while_more_comes_and_no_more_than_are_wanted_are_kept() {
        let mut gzip = ParallelGzip::new(Vec::new());
        gzip.threads.most = 3;
        let content = vec![7; MEMBER];
        for count in 1..=20 {
            gzip.write_all(&content).unwrap();
            assert!(gzip.waiting.len() <= 6, "{count}");
            assert!(gzip.waiting.len() + gzip.free.len() <= 7, "{count}");
            assert!(count < 7 || !gzip.writer.is_empty(), "{count}");
        }
        assert_eq!(gzip.threads.begun, 3);
        let mut back = Vec::new();
        flate2::read::MultiGzDecoder::new(gzip.finish().unwrap().as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back.len(), 20 * MEMBER);
    }

    #[test]
    fn who_cannot_write_is_told_so() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = ParallelGzip::new(Full);
        gzip.threads.most = 1;
        let content = vec![7; 3 * MEMBER];
        assert_eq!(gzip.write_all(&content).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut small = ParallelGzip::new(Full);
        small.write_all(b"small").unwrap();
        assert_eq!(small.finish().map(drop).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

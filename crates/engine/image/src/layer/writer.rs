//! Writes tar: ustar headers, PAX where ustar is too narrow. Equal entries give equal bytes.

use super::compress::Tee;
use super::reader::{Entry, EntryKind};
use std::io::{self, Read, Write};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// What eleven and seven octal digits hold.
const MAX_SIZE: u64 = 0o777_7777_7777;
const MAX_ID: u32 = 0o777_7777;

/// A tar stream being written.
#[derive(Debug)]
pub struct TarWriter<W> {
    writer: W,
}

impl<W: Write> TarWriter<W> {
    /// An empty archive.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }

    /// Writes an entry whose data is exactly `entry.size` bytes of `data`.
    pub fn append(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        self.begin(entry)?;
        let copied = copy(&mut data.take(entry.size), &mut self.writer, entry.size)?;
        self.end(entry, copied)
    }

    /// The same with `take` reading the data, all of it unless it fails: it goes into the archive on the way.
    pub fn append_through<T>(
        &mut self,
        entry: &Entry,
        data: impl Read,
        take: impl FnOnce(&mut dyn Read) -> T,
    ) -> io::Result<T> {
        self.begin(entry)?;
        let mut data = Tee::new(Whole { data, left: entry.size }, &mut self.writer);
        let taken = take(&mut data);
        self.pad(entry.size)?;
        Ok(taken)
    }

    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let (header, pax) = headers(entry);
        if !pax.is_empty() {
            let mut extended = Header::new_ustar();
            set_name(&mut extended, b"PaxHeaders");
            extended.set_entry_type(EntryType::XHeader);
            set_numbers(&mut extended, 0o644, pax.len() as u64);
            extended.set_cksum();
            self.writer.write_all(extended.as_bytes())?;
            self.writer.write_all(&pax)?;
            self.pad(pax.len() as u64)?;
        }
        self.writer.write_all(header.as_bytes())
    }

    fn end(&mut self, entry: &Entry, copied: u64) -> io::Result<()> {
        if copied != entry.size {
            return Err(shrank());
        }
        self.pad(copied)
    }

    /// Ends the archive with its two zero blocks.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(&[0; 2 * BLOCK as usize])?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.next_multiple_of(BLOCK) - size;
        self.writer.write_all(&[0; BLOCK as usize][..usize::try_from(padding).unwrap_or(0)])
    }
}

/// So many bytes of a file, and an error where there are fewer.
struct Whole<R> {
    data: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.data.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(shrank());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn shrank() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was read")
}

/// Files up to this size are copied by hand.
const SMALL: u64 = 1 << 14;

/// Copies a file's `size` bytes; how many there were. The standard library's way empties the writer's buffer to hand the
/// kernel both ends, which pays for large files alone: a small one would cost four system calls more.
fn copy(data: &mut impl Read, writer: &mut impl Write, size: u64) -> io::Result<u64> {
    if size > SMALL {
        return io::copy(data, writer);
    }
    let (mut buffer, mut copied) = ([0; SMALL as usize], 0);
    while copied < size {
        match data.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                writer.write_all(&buffer[..count])?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// The ustar header of an entry and the PAX records for what it cannot hold.
fn headers(entry: &Entry) -> (Header, Vec<u8>) {
    let mut header = Header::new_ustar();
    let mut pax = Vec::new();
    set_numbers(&mut header, entry.mode, entry.size.min(MAX_SIZE));
    if entry.size > MAX_SIZE {
        record(&mut pax, b"size", entry.size.to_string().as_bytes());
    }
    if !set_name(&mut header, &entry.path) {
        record(&mut pax, b"path", &entry.path);
    }
    set_kind(&mut header, &entry.kind, &mut pax);
    for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        let held = if id > MAX_ID { 0 } else { u64::from(id) };
        if key == "uid" {
            header.set_uid(held)
        } else {
            header.set_gid(held)
        }
        if id > MAX_ID {
            record(&mut pax, key.as_bytes(), id.to_string().as_bytes());
        }
    }
    let whole = u64::try_from(entry.mtime_s).unwrap_or(0);
    header.set_mtime(whole.min(MAX_SIZE));
    if entry.mtime_ns != 0 || whole > MAX_SIZE || entry.mtime_s < 0 {
        record(&mut pax, b"mtime", time(entry.mtime_s, entry.mtime_ns).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut pax, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    header.set_cksum();
    (header, pax)
}

fn set_kind(header: &mut Header, kind: &EntryKind, pax: &mut Vec<u8>) {
    let mut set_link = |header: &mut Header, link: &[u8]| {
        if let Some(ustar) = header.as_ustar_mut().filter(|_| link.len() <= 100) {
            ustar.linkname[..link.len()].copy_from_slice(link);
        } else {
            record(pax, b"linkpath", link);
        }
    };
    let entry_type = match kind {
        EntryKind::File => EntryType::Regular,
        EntryKind::Directory => EntryType::Directory,
        EntryKind::Symlink(link) => {
            set_link(header, link);
            EntryType::Symlink
        }
        EntryKind::HardLink(link) => {
            set_link(header, link);
            EntryType::Link
        }
        EntryKind::Character { major, minor } | EntryKind::Block { major, minor } => {
            if let Some(ustar) = header.as_ustar_mut() {
                ustar.set_device_major(*major);
                ustar.set_device_minor(*minor);
            }
            if matches!(kind, EntryKind::Block { .. }) { EntryType::Block } else { EntryType::Char }
        }
        EntryKind::Fifo => EntryType::Fifo,
    };
    header.set_entry_type(entry_type);
}

/// Whether the name fits; names are never split over ustar's prefix, so that there is one way to write each.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    let cut = &name[..name.len().min(100)];
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.name[..cut.len()].copy_from_slice(cut);
    }
    name.len() <= 100
}

fn set_numbers(header: &mut Header, mode: u32, size: u64) {
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
}

/// Appends `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits.
fn record(pax: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    pax.extend_from_slice(format!("{length} ").as_bytes());
    pax.extend_from_slice(key);
    pax.push(b'=');
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

fn time(seconds: i64, nanos: u32) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    // Before 1970 the fraction counts away from zero.
    let (sign, whole, fraction) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos)
    } else {
        ("", seconds.unsigned_abs(), nanos)
    };
    let fraction = format!("{fraction:09}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

//! Reads tar: ustar, PAX (POSIX.1-2001) and GNU, sparse files included.
//!
//! Every length that comes from the stream is bounded before memory is taken for it.

use std::io::{self, Read};
use tar::Header;

const BLOCK: usize = 512;
/// The PAX headers and GNU long names of one entry may take so much; Linux allows 64 KiB for all xattrs of a file's name list.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to that target.
    Symlink(Vec<u8>),
    /// Another name of an earlier entry.
    HardLink(Vec<u8>),
    /// A character device.
    Character {
        /// Its driver.
        major: u32,
        /// Its number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// Its number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One entry with all extensions taken into account.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it changed, in whole seconds since 1970.
    pub mtime_s: i64,
    /// The nanoseconds on top.
    pub mtime_ns: u32,
    /// Bytes of data in the stream.
    pub size: u64,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Where its data goes, if it has holes.
    pub sparse: Option<Sparse>,
}

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the data of a sparse file goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// The file's size with its holes.
    pub real_size: u64,
    /// Offset and length, ascending.
    pub segments: Vec<(u64, u64)>,
}

/// Iterates over the entries of a tar stream; between two entries it reads as the data of the first.
pub(crate) struct TarReader<R> {
    reader: R,
    remaining: u64,
    padding: u64,
}

/// What `x`, `L` and `K` blocks said about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: PaxSparse,
}

/// The `GNU.sparse.*` records of the formats 0.0, 0.1 and 1.0.
#[derive(Default)]
struct PaxSparse {
    is_v1: bool,
    name: Option<Vec<u8>>,
    real_size: Option<u64>,
    numbers: Vec<u64>,
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, remaining: 0, padding: 0 }
    }

    /// What follows the archive's end.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    /// The next entry; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        let mut taken = 0_u64;
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size().map_err(|_| invalid("a header has an unreadable size"))?;
            let flag = header.as_bytes()[156];
            if matches!(flag, b'x' | b'g' | b'L' | b'K') {
                taken = taken.saturating_add(size);
                if taken > EXTENSION_LIMIT {
                    return Err(invalid("the extended headers of an entry are larger than 1 MiB"));
                }
            }
            match flag {
                b'x' => extensions.parse_pax(&self.extension(size)?)?,
                b'g' => drop(self.extension(size)?),
                b'L' => extensions.path = Some(until_nul(self.extension(size)?)),
                b'K' => extensions.link = Some(until_nul(self.extension(size)?)),
                flag => match self.entry(&header, flag, size, std::mem::take(&mut extensions))? {
                    Some(entry) => return Ok(Some(entry)),
                    None => (extensions, taken) = (Extensions::default(), 0),
                },
            }
        }
    }

    /// Reads a header block and verifies its checksum; `None` at a zero block or the end of the stream.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(i, byte)| if (148..156).contains(&i) { u32::from(b' ') } else { u32::from(*byte) })
            .sum();
        match header.cksum() {
            Ok(said) if said == sum => Ok(Some(header)),
            _ => Err(invalid("a header's checksum is wrong, this is no tar or it is damaged")),
        }
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        self.begin_data(size, b"an extended header")?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// `path` is the entry in errors.
    fn begin_data(&mut self, size: u64, path: &[u8]) -> io::Result<()> {
        let whole = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| {
            let path: String = String::from_utf8_lossy(path).chars().take(256).collect();
            let reason = format!("entry {path:?} is said to have {size} bytes, more than a tar can hold");
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
        (self.remaining, self.padding) = (size, whole - size);
        Ok(())
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let (data, left) = (self.remaining, self.remaining + self.padding);
        let skipped = io::copy(&mut (&mut self.reader).take(left), &mut io::sink())?;
        (self.remaining, self.padding) = (0, 0);
        // The docker command line leaves the archive's end away where it replaces a Dockerfile, and the padding before it.
        if skipped >= data { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The entry of a header; `None` for types that describe no file, whose data is skipped.
    fn entry(
        &mut self,
        header: &Header,
        flag: u8,
        size: u64,
        mut ext: Extensions,
    ) -> io::Result<Option<Entry>> {
        let size = ext.size.unwrap_or(size);
        let mut path = ext.path.take().unwrap_or_else(|| header.path_bytes().into_owned());
        if let Some(name) = ext.sparse.name.take() {
            path = name;
        }
        let link = ext
            .link
            .take()
            .unwrap_or_else(|| header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default());
        let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
        let (major, minor) = (device(header.device_major()), device(header.device_minor()));
        let kind = match flag {
            b'0' | 0 | b'7' if path.ends_with(b"/") => EntryKind::Directory,
            b'0' | 0 | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::Character { major, minor },
            b'4' => EntryKind::Block { major, minor },
            b'5' | b'D' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            _ => {
                self.begin_data(size, &path)?;
                return Ok(None);
            }
        };
        // Only files have data; a size in other headers tells something else.
        let has_data = kind == EntryKind::File || flag == b'D';
        let mut sparse = if flag == b'S' { Some(self.gnu_sparse(header)?) } else { None };
        self.begin_data(if has_data { size } else { 0 }, &path)?;
        if kind == EntryKind::File && sparse.is_none() {
            sparse = self.pax_sparse(&ext.sparse)?;
        }
        let (mtime_s, mtime_ns) = ext.mtime.unwrap_or_else(|| (header_mtime(header), 0));
        let entry = Entry {
            path,
            kind,
            mode: header.mode().unwrap_or(0o644) & 0o7777,
            uid: id(ext.uid, header.uid())?,
            gid: id(ext.gid, header.gid())?,
            mtime_s,
            mtime_ns,
            size: self.remaining,
            xattrs: ext.xattrs,
            sparse,
        };
        entry.check_sparse()?;
        Ok(Some(entry))
    }

    /// The map of an old GNU sparse file: four segments in the header, 21 in each block behind it.
    fn gnu_sparse(&mut self, header: &Header) -> io::Result<Sparse> {
        let bytes = header.as_bytes();
        let mut sparse = Sparse { real_size: number(&bytes[483..495]), segments: segments(&bytes[386..482]) };
        let mut is_extended = bytes[482] != 0;
        while is_extended {
            let mut block = [0; BLOCK];
            self.reader.read_exact(&mut block)?;
            sparse.segments.extend(segments(&block[..504]));
            is_extended = block[504] != 0;
            if sparse.segments.len() > 1 << 20 {
                return Err(invalid("a sparse file has too many segments"));
            }
        }
        Ok(sparse)
    }

    /// The map of a PAX sparse file: in the extended header, or (1.0) as decimal lines in front of the data.
    fn pax_sparse(&mut self, pax: &PaxSparse) -> io::Result<Option<Sparse>> {
        let Some(real_size) = pax.real_size else {
            return Ok(None);
        };
        let pairs = |numbers: &[u64]| numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        if !pax.is_v1 {
            return Ok(Some(Sparse { real_size, segments: pairs(&pax.numbers) }));
        }
        let (mut numbers, mut read) = (Vec::new(), 0_u64);
        let mut left = self.decimal_line(&mut read)?;
        if left > 1 << 20 {
            return Err(invalid("a sparse file has too many segments"));
        }
        while left > 0 {
            numbers.push(self.decimal_line(&mut read)?);
            numbers.push(self.decimal_line(&mut read)?);
            left -= 1;
        }
        let padding = read.next_multiple_of(BLOCK as u64) - read;
        io::copy(&mut self.take(padding), &mut io::sink())?;
        Ok(Some(Sparse { real_size, segments: pairs(&numbers) }))
    }

    fn decimal_line(&mut self, read: &mut u64) -> io::Result<u64> {
        let (mut byte, mut value) = ([0], 0_u64);
        loop {
            self.read_exact(&mut byte)?;
            *read += 1;
            match byte[0] {
                b'\n' => return Ok(value),
                digit @ b'0'..=b'9' => {
                    value = value
                        .checked_mul(10)
                        .and_then(|value| value.checked_add(u64::from(digit - b'0')))
                        .ok_or_else(|| invalid("a sparse map has a number out of range"))?;
                }
                _ => return Err(invalid("a sparse map is malformed")),
            }
        }
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        match self.reader.read(&mut buffer[..want])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.remaining -= count as u64;
                Ok(count)
            }
        }
    }
}

impl Entry {
    /// One of that name without data or anything else.
    pub(crate) fn bare(path: Vec<u8>, kind: EntryKind) -> Self {
        Self {
            path,
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            size: 0,
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    /// Its name in errors.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).chars().take(256).collect()
    }

    /// Whether its name, or the one that it is a hard link to, begins with `/`.
    pub(crate) fn is_absolute(&self) -> bool {
        let target = match &self.kind {
            EntryKind::HardLink(target) => target.as_slice(),
            _ => b"",
        };
        self.path.starts_with(b"/") || target.starts_with(b"/")
    }

    /// The map must be ascending, end within the file and account for all data.
    fn check_sparse(&self) -> io::Result<()> {
        let Some(sparse) = &self.sparse else { return Ok(()) };
        let (mut end, mut data) = (0_u64, 0_u64);
        for (offset, length) in &sparse.segments {
            if *offset < end {
                return Err(invalid("a sparse map is not ascending"));
            }
            end = offset.checked_add(*length).ok_or_else(|| invalid("a sparse map is out of range"))?;
            // No overflow: what ascends and does not overlap is no longer than its end.
            data += length;
        }
        if end > sparse.real_size || sparse.real_size > i64::MAX as u64 || data != self.size {
            return Err(invalid("a sparse map does not fit its file"));
        }
        Ok(())
    }
}

impl Extensions {
    /// `LENGTH KEY=VALUE\n`, where LENGTH counts itself; values may hold any byte.
    fn parse_pax(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let malformed = || invalid("an extended header is malformed");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize =
                text(&bytes[..space]).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
            if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &bytes[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let decimal = || text(value).and_then(|text| text.parse::<u64>().ok());
        let needed = || decimal().ok_or_else(|| invalid("an extended header has a malformed number"));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(needed()?),
            b"uid" => self.uid = Some(needed()?),
            b"gid" => self.gid = Some(needed()?),
            b"mtime" => self.mtime = text(value).and_then(parse_time),
            b"GNU.sparse.major" => self.sparse.is_v1 = value == b"1",
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = Some(needed()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.numbers.push(needed()?),
            b"GNU.sparse.map" => {
                let numbers = text(value).unwrap_or("").split(',').filter_map(|number| number.parse().ok());
                self.sparse.numbers = numbers.collect();
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// `[-]SECONDS[.FRACTION]`, with the nanoseconds counting forward from the whole second below.
fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

/// Octal, or with the top bit set a big-endian number of two's complement.
fn header_mtime(header: &Header) -> i64 {
    let field = &header.as_bytes()[136..148];
    if field[0] & 0x80 == 0 {
        return i64::try_from(number(field)).unwrap_or(0);
    }
    field[4..].iter().fold(0_i64, |value, byte| (value << 8) | i64::from(*byte))
}

fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[field.len() - 8..].iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    }
    let digits =
        field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold(0_u64, |value, digit| value.wrapping_mul(8).wrapping_add(u64::from(digit - b'0')))
}

fn segments(bytes: &[u8]) -> Vec<(u64, u64)> {
    let used = bytes.chunks_exact(24).take_while(|chunk| chunk[0] != 0);
    used.map(|chunk| (number(&chunk[..12]), number(&chunk[12..]))).collect()
}

fn id(extended: Option<u64>, header: io::Result<u64>) -> io::Result<u32> {
    let id = extended.unwrap_or_else(|| header.unwrap_or(0));
    u32::try_from(id).map_err(|_| invalid("an owner's id is out of range"))
}

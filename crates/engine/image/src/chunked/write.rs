//! Writing a layer in chunks. Equal tars give equal blobs.

use super::runs;
use super::table::{
    CHECKSUM_ANNOTATION, Entry as Row, FOOTER_MAGIC, POSITION_ANNOTATION, TABLE_TYPE, Table, skippable,
};
use crate::layer::{ApplyError, Entry, EntryKind, Permits, TarReader};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hako_names::{Digest, Hasher};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};
use std::rc::Rc;

const LEVEL: i32 = 3;
/// No chunk is smaller, except a file's last.
const SMALLEST: usize = 32 << 10;
/// Nor larger.
const LARGEST: usize = 512 << 10;
/// A cut where so many bits of the rolling hash are zero: after 64 KiB on average beyond the smallest.
const CUT_MASK: u64 = 0xffff << 40;

/// Bytes of frames that are written at once.
const PIECE: usize = 1 << 16;

/// Longer layers are not listed: some 200 bytes an entry.
const MOST_LISTED: usize = 65_536;

/// An entry of a layer that was written.
#[derive(Clone, Debug)]
pub struct Listed {
    /// As the layer has it.
    pub entry: Entry,
    /// The digest of its content, where it has any.
    pub content: Option<Digest>,
}

/// What was written.
pub(crate) struct Written<W> {
    pub(crate) writer: W,
    pub(crate) diff_id: Digest,
    pub(crate) listing: Vec<Listed>,
    /// For the layer's descriptor.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Writes the tar, whose entries have to be permitted, as zstd:chunked.
pub(crate) fn write<W: Write>(
    tar: impl Read,
    writer: W,
    what: &str,
    permits: Permits,
) -> Result<Written<W>, ApplyError> {
    let refused = |entry: &Entry| {
        let reason = permits.refuse(entry)?.into();
        Some(io::Error::other(ApplyError::Hostile { layer: what.to_owned(), entry: entry.shown(), reason }))
    };
    let broken = |source: io::Error| {
        let stream = |source| ApplyError::Stream { layer: what.to_owned(), source };
        source.downcast::<ApplyError>().unwrap_or_else(stream)
    };
    write_all(tar, writer, refused).map_err(broken)
}

fn write_all<W: Write>(
    tar: impl Read,
    writer: W,
    refused: impl Fn(&Entry) -> Option<io::Error>,
) -> io::Result<Written<W>> {
    let recorded = Rc::new(RefCell::new(Vec::new()));
    let mut hashed = crate::layer::HashingReader::new(tar);
    let writer = BufWriter::with_capacity(PIECE, writer);
    let compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let frames = RefCell::new(Frames { writer, offset: 0, compressor, gear: gear() });
    let (mut rows, mut listing) = (Vec::new(), Vec::new());
    {
        let recording = Recording { reader: &mut hashed, recorded: recorded.clone(), frames: &frames };
        let mut tar = TarReader::new(recording);
        while let Some(entry) = tar.next()? {
            refused(&entry).map_or(Ok(()), Err)?;
            let content = if entry.kind == EntryKind::File && entry.size > 0 && entry.sparse.is_none() {
                frames.borrow_mut().frame(&std::mem::take(&mut *recorded.borrow_mut()))?;
                Some(frames.borrow_mut().file(&entry, &mut tar, &recorded, &mut rows)?)
            } else {
                io::copy(&mut tar, &mut io::sink())?;
                rows.push(row(&entry));
                None
            };
            if listing.len() <= MOST_LISTED {
                listing.push(Listed { entry, content });
            }
            // Headers of many small entries share a frame, of a bounded size.
            if recorded.borrow().len() > LARGEST {
                frames.borrow_mut().frame(&std::mem::take(&mut *recorded.borrow_mut()))?;
            }
        }
        io::copy(&mut tar.into_inner(), &mut io::sink())?;
    }
    let mut frames = frames.into_inner();
    frames.frame(&std::mem::take(&mut *recorded.borrow_mut()))?;
    let annotations = frames.finish(rows)?;
    if listing.len() > MOST_LISTED {
        listing = Vec::new();
    }
    let writer = frames.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Written { writer, diff_id: hashed.finish(), listing, annotations })
}

/// Keeps what is read through it, as long as it is not much: what no file's content is may be very long too.
struct Recording<'a, R, W: Write> {
    reader: R,
    recorded: Rc<RefCell<Vec<u8>>>,
    frames: &'a RefCell<Frames<W>>,
}

impl<R: Read, W: Write> Read for Recording<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let mut recorded = self.recorded.borrow_mut();
        recorded.extend_from_slice(&buffer[..count]);
        // Of a file's content never so much is kept at once: who writes that has the frames.
        if recorded.len() > 2 * LARGEST
            && let Ok(mut frames) = self.frames.try_borrow_mut()
        {
            frames.frame(&std::mem::take(&mut *recorded))?;
        }
        Ok(count)
    }
}

struct Frames<W: Write> {
    /// A file of a few bytes is two frames of a few bytes.
    writer: BufWriter<W>,
    offset: u64,
    compressor: zstd::bulk::Compressor<'static>,
    gear: [u64; 256],
}

impl<W: Write> Frames<W> {
    /// Writes the bytes as a frame of their own; returns where it begins.
    fn frame(&mut self, plain: &[u8]) -> io::Result<u64> {
        let start = self.offset;
        if !plain.is_empty() {
            let frame = match runs::frame(plain) {
                Some(frame) => frame,
                None => self.compressor.compress(plain)?,
            };
            self.raw(&frame)?;
        }
        Ok(start)
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.offset += bytes.len() as u64;
        self.writer.write_all(bytes)
    }

    /// Cuts a file's content into chunks, each a frame and a row; returns the digest of all of it.
    fn file(
        &mut self,
        entry: &Entry,
        data: &mut impl Read,
        recorded: &Rc<RefCell<Vec<u8>>>,
        rows: &mut Vec<Row>,
    ) -> io::Result<Digest> {
        let (first, mut whole, mut at) = (rows.len(), Hasher::new(), 0);
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let want = (LARGEST - pending.len()) as u64;
            let count = data.take(want).read_to_end(&mut pending)?;
            recorded.borrow_mut().clear();
            if pending.is_empty() {
                break;
            }
            let is_last = count == 0 || at + pending.len() as u64 == entry.size;
            let cut = self.cut(&pending).unwrap_or(pending.len());
            let cut = if is_last && cut > pending.len() { pending.len() } else { cut };
            let chunk: Vec<u8> = pending.drain(..cut).collect();
            whole.update(&chunk);
            let offset = self.frame(&chunk)?;
            let mut row = if rows.len() == first {
                row(entry)
            } else {
                Row { kind: "chunk".into(), name: text(&entry.path), ..Row::default() }
            };
            row.offset = offset;
            row.end_offset = self.offset;
            row.chunk_offset = at;
            row.chunk_size = chunk.len() as u64;
            row.chunk_digest = (row.chunk_size != entry.size).then(|| Digest::of(&chunk));
            at += chunk.len() as u64;
            rows.push(row);
        }
        if at != entry.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let digest = whole.finish();
        let is_single = rows.len() == first + 1;
        if let Some(row) = rows.get_mut(first) {
            row.digest = Some(digest);
            row.end_offset = if is_single { row.end_offset } else { self.offset };
            if is_single {
                // The usual form of a file of one chunk: its own digest is the chunk's.
                row.chunk_size = 0;
            }
        }
        Ok(digest)
    }

    /// Where the content says that a chunk ends; `None` if it does not.
    fn cut(&self, bytes: &[u8]) -> Option<usize> {
        let mut hash = 0_u64;
        // Only the last 64 bytes before a place matter to it.
        let from = SMALLEST.saturating_sub(64);
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            hash = (hash << 1).wrapping_add(self.gear[usize::from(*byte)]);
            if at >= SMALLEST && hash & CUT_MASK == 0 {
                return Some(at + 1);
            }
        }
        None
    }

    /// Table and footer; returns the annotations.
    fn finish(&mut self, entries: Vec<Row>) -> io::Result<BTreeMap<String, String>> {
        let plain = serde_json::to_vec(&Table { version: 1, entries })?;
        let table = self.compressor.compress(&plain)?;
        // The position is that of the payload, behind the frame's own eight bytes.
        let position = self.offset + 8;
        self.raw(&skippable(&table))?;
        let numbers = [position, table.len() as u64, plain.len() as u64, TABLE_TYPE, 0, 0, 0];
        let mut footer: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        footer.extend_from_slice(FOOTER_MAGIC);
        self.raw(&skippable(&footer))?;
        self.writer.flush()?;
        Ok(BTreeMap::from([
            (CHECKSUM_ANNOTATION.to_owned(), Digest::of(&table).to_string()),
            (POSITION_ANNOTATION.to_owned(), format!("{position}:{}:{}:1", table.len(), plain.len())),
        ]))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn row(entry: &Entry) -> Row {
    let (kind, link, device) = match &entry.kind {
        EntryKind::File => ("reg", None, (0, 0)),
        EntryKind::Directory => ("dir", None, (0, 0)),
        EntryKind::Symlink(target) => ("symlink", Some(target), (0, 0)),
        EntryKind::HardLink(target) => ("hardlink", Some(target), (0, 0)),
        EntryKind::Character { major, minor } => ("char", None, (*major, *minor)),
        EntryKind::Block { major, minor } => ("block", None, (*major, *minor)),
        EntryKind::Fifo => ("fifo", None, (0, 0)),
    };
    let nanos = i32::try_from(entry.mtime_ns).unwrap_or(0);
    let time = jiff::Timestamp::new(entry.mtime_s, nanos).ok();
    let xattrs = entry.xattrs.iter().map(|(name, value)| (text(name), STANDARD.encode(value))).collect();
    Row {
        kind: kind.into(),
        name: text(&entry.path),
        link_name: link.map(|target| text(target)).unwrap_or_default(),
        mode: entry.mode.into(),
        size: if entry.kind == EntryKind::File { entry.size } else { 0 },
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        modtime: time.map(|time| time.to_string()),
        dev_major: device.0.into(),
        dev_minor: device.1.into(),
        xattrs,
        ..Row::default()
    }
}

/// A fixed table of random numbers: splitmix64 from zero. Another one would cut elsewhere and find nothing again.
fn gear() -> [u64; 256] {
    let mut state = 0_u64;
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    })
}

//! The database's file: what a commit writes goes out with its sync.
//!
//! redb hands over one page at a time. Here the pages of a commit are gathered, and neighbours go to the kernel in one
//! call. Where the file has grown it has no blocks yet, and each sync would also wait for the file system to record
//! those that its pages were given; so zeros are written a step ahead, while nobody waits ([`CommitFile::prepare`]).
//! Only where there was no such moment, the sync that meets a new step waits for that.
//!
//! INVARIANT: everything that was written is in the file before a sync begins, in the order it was written wherever
//! writes overlap, and reads see it. Zeros only go where the file has nothing.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::ops::{Bound, Range};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use rustix::fs::SeekFrom;

/// More than this is sent before its sync.
const GATHER_BYTES: usize = 1 << 20;
/// A buffer that is larger becomes this small once it is empty.
const KEPT_BYTES: usize = 128 << 10;
/// How much of the file is given blocks at once. Of a commit with 17 pages, `fdatasync` took 230 us where pages are given
/// blocks one by one and 110 where they have some; steps of 256 KiB bring the mean to 170, larger ones make single syncs long.
const STEP_BYTES: u64 = 256 << 10;
/// What one call of pwritev(2) takes: `IOV_MAX`.
const SLICES: usize = 1024;
static ZEROS: [u8; 4096] = [0; 4096];

/// A file whose writes are gathered until it is synced. Clones are the same file.
#[derive(Clone)]
pub struct CommitFile(Arc<Opened>);

struct Opened {
    backend: FileBackend,
    /// The same open file.
    file: File,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Where in the file, and which of `bytes`; they do not overlap.
    writes: BTreeMap<u64, Range<usize>>,
    /// Steps of the file that need no zeros.
    has_blocks: Vec<bool>,
    /// The step after the last one that anything was written to, as long as the file ends after it.
    next_step: usize,
    /// Gathered writes are lost, so that nothing may be made durable any more.
    failed: Option<(Option<i32>, ErrorKind)>,
}

// redb prints its backend where it logs.
impl Debug for CommitFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitFile").field("file", &self.0.file).finish_non_exhaustive()
    }
}

impl CommitFile {
    /// Opens a file, making it if it is missing.
    pub fn open(path: &Path) -> std::result::Result<Self, DatabaseError> {
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let opened = open().and_then(|file| Ok((file.try_clone()?, file)));
        let (file, same) = opened.map_err(redb::StorageError::Io)?;
        let backend = FileBackend::new(same)?;
        Ok(Self(Arc::new(Opened { backend, file, gathered: Mutex::default() })))
    }

    /// Gives blocks to the step that comes next. For when nobody waits for a sync: it takes one itself.
    pub fn prepare(&self) -> Result<()> {
        let mut gathered = self.0.gathered.lock();
        gathered.check()?;
        let next = gathered.next_step;
        if next == 0 || gathered.has_blocks.get(next) == Some(&true) {
            return Ok(());
        }
        let start = next as u64 * STEP_BYTES;
        let end = (start + STEP_BYTES).min(self.0.file.metadata()?.len());
        if start >= end {
            return Ok(());
        }
        gathered.has_blocks.resize(next + 1, false);
        gathered.has_blocks[next] = true;
        if !self.0.fill_holes(start..end) {
            return Ok(());
        }
        // The kernel tells of what it lost only once.
        self.0.backend.sync_data().inspect_err(|error| gathered.fail(error))
    }
}

impl Opened {
    /// Writes what was gathered.
    fn send(&self, gathered: &mut Gathered) -> Result<()> {
        gathered.check()?;
        let result = self.send_runs(gathered);
        gathered.writes.clear();
        gathered.bytes.clear();
        gathered.bytes.shrink_to(KEPT_BYTES);
        result.inspect_err(|error| gathered.fail(error))
    }

    fn send_runs(&self, gathered: &mut Gathered) -> Result<()> {
        let Gathered { bytes, writes, has_blocks, next_step, .. } = gathered;
        let mut writes = writes.iter().peekable();
        let mut slices = Vec::with_capacity(writes.len());
        while let Some((&start, range)) = writes.next() {
            slices.clear();
            slices.push(IoSlice::new(&bytes[range.clone()]));
            let mut end = start + range.len() as u64;
            while slices.len() < SLICES
                && let Some((_, range)) = writes.next_if(|(offset, _)| **offset == end)
            {
                slices.push(IoSlice::new(&bytes[range.clone()]));
                end += range.len() as u64;
            }
            self.give_blocks(has_blocks, start..end)?;
            *next_step = usize::try_from(end.div_ceil(STEP_BYTES)).map_err(Error::other)?.max(*next_step);
            write_all(&self.file, &mut slices, start)?;
        }
        Ok(())
    }

    /// Writes zeros to the steps that a write is about to be the first in.
    fn give_blocks(&self, has_blocks: &mut Vec<bool>, written: Range<u64>) -> Result<()> {
        for step in written.start / STEP_BYTES..written.end.div_ceil(STEP_BYTES) {
            let at = usize::try_from(step).map_err(Error::other)?;
            if has_blocks.get(at) == Some(&true) {
                continue;
            }
            if has_blocks.len() <= at {
                has_blocks.resize(at + 1, false);
            }
            has_blocks[at] = true;
            let start = step * STEP_BYTES;
            let end = (start + STEP_BYTES).min(self.file.metadata()?.len());
            let is_all_written = written.start <= start && end <= written.end;
            if start < end && !is_all_written {
                self.fill_holes(start..end);
            }
        }
        Ok(())
    }

    /// Writes zeros where the file has nothing. Gives whether it did.
    fn fill_holes(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        let mut is_filled = false;
        while at < range.end {
            // These move the file's position, which nobody here uses.
            let Ok(hole) = rustix::fs::seek(&self.file, SeekFrom::Hole(at)) else { break };
            if hole >= range.end {
                break;
            }
            at = match rustix::fs::seek(&self.file, SeekFrom::Data(hole)) {
                Ok(data) => data.min(range.end),
                Err(rustix::io::Errno::NXIO) => range.end,
                Err(_) => break,
            };
            // Where there is no room for them, there may be for the pages.
            if write_zeros(&self.file, hole..at).is_err() {
                break;
            }
            is_filled = true;
        }
        is_filled
    }
}

impl Gathered {
    fn check(&self) -> Result<()> {
        match self.failed {
            Some((Some(code), _)) => Err(Error::from_raw_os_error(code)),
            Some((None, kind)) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: &Error) {
        self.failed = Some((error.raw_os_error(), error.kind()));
    }

    fn overlaps(&self, offset: u64, length: usize) -> bool {
        let before_end = self.writes.range(..offset + length as u64).next_back();
        before_end.is_some_and(|(start, range)| start + range.len() as u64 > offset)
    }
}

fn write_zeros(file: &File, range: Range<u64>) -> Result<()> {
    let left = usize::try_from(range.end - range.start).map_err(Error::other)?;
    let mut slices = vec![IoSlice::new(&ZEROS); left / ZEROS.len()];
    slices.push(IoSlice::new(&ZEROS[..left % ZEROS.len()]));
    write_all(file, &mut slices, range.start)
}

/// Writes slices one after the other.
fn write_all(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> Result<()> {
    while !slices.is_empty() {
        match rustix::io::pwritev(file, slices, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl StorageBackend for CommitFile {
    fn len(&self) -> Result<u64> {
        self.0.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut gathered = self.0.gathered.lock();
        if gathered.overlaps(offset, out.len()) {
            self.0.send(&mut gathered)?;
        }
        self.0.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut gathered = self.0.gathered.lock();
        self.0.send(&mut gathered)?;
        // The step in which the file ends has blocks only up to there.
        let kept = len.min(self.0.backend.len()?) / STEP_BYTES;
        let kept = usize::try_from(kept).map_err(Error::other)?;
        gathered.has_blocks.truncate(kept);
        gathered.next_step = gathered.next_step.min(kept);
        self.0.backend.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.0.send(&mut self.0.gathered.lock())?;
        self.0.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut gathered = self.0.gathered.lock();
        gathered.check()?;
        if gathered.bytes.len() + data.len() > GATHER_BYTES || gathered.overlaps(offset, data.len()) {
            self.0.send(&mut gathered)?;
        }
        if data.len() > GATHER_BYTES {
            return self.0.file.write_all_at(data, offset);
        }
        let from = gathered.bytes.len();
        gathered.bytes.extend_from_slice(data);
        gathered.writes.insert(offset, from..from + data.len());
        Ok(())
    }

    fn close(&self) -> Result<()> {
        let sent = self.0.send(&mut self.0.gathered.lock());
        self.0.backend.close().and(sent)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, BackendError> {
        self.0.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.0.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.0.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.0.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.0.backend.unlock_range(start, end)
    }

    fn query_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.0.backend.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;
    use std::os::unix::fs::MetadataExt as _;

    const PAGE: usize = 4096;

    fn open(len: u64) -> (CommitFile, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = CommitFile::open(&dir.path().join("file")).unwrap();
        file.set_len(len).unwrap();
        (file, dir)
    }

    /// Bytes of the file that have blocks.
    fn blocks(dir: &tempfile::TempDir) -> u64 {
        std::fs::metadata(dir.path().join("file")).unwrap().blocks() * 512
    }

    fn content(dir: &tempfile::TempDir) -> Vec<u8> {
        std::fs::read(dir.path().join("file")).unwrap()
    }

    #[test]
    fn what_is_written_is_read_at_once_and_in_the_file_when_it_was_synced() {
        let (file, dir) = open(4 * PAGE as u64);
        for page in [3, 1, 2] {
            file.write(page * PAGE as u64, &[page as u8; PAGE]).unwrap();
        }
        assert!(content(&dir).iter().all(|byte| *byte == 0), "it waits for its sync");
        let mut read = [0; PAGE];
        file.read(2 * PAGE as u64, &mut read).unwrap();
        assert_eq!(read, [2; PAGE]);
        file.write(0, &[4; PAGE]).unwrap();
        file.sync_data().unwrap();
        assert_eq!(content(&dir).chunks(PAGE).map(|page| page[7]).collect::<Vec<_>>(), [4, 1, 2, 3]);
    }

    #[test]
    fn where_the_file_has_grown_a_step_of_it_gets_blocks_with_its_first_page() {
        let (file, dir) = open(3 * STEP_BYTES + PAGE as u64);
        let blocks = |pages: Range<u64>| {
            for page in pages {
                file.write(page * PAGE as u64, &[1; PAGE]).unwrap();
            }
            file.sync_data().unwrap();
            blocks(&dir)
        };
        let pages = STEP_BYTES / PAGE as u64;
        let before = blocks(0..0);
        assert_eq!(blocks(3..4) - before, STEP_BYTES);
        assert_eq!(blocks(1..pages) - before, STEP_BYTES, "nothing new is needed");
        assert_eq!(
            blocks(3 * pages..3 * pages + 1) - before,
            STEP_BYTES + PAGE as u64,
            "no more than the file"
        );
        assert_eq!(content(&dir).len() as u64, 3 * STEP_BYTES + PAGE as u64);
        let written = content(&dir).iter().filter(|byte| **byte == 1).count() as u64;
        assert_eq!(written, STEP_BYTES, "the rest is zeros");
    }

    #[test]
    fn what_is_in_a_step_stays_and_the_rest_of_it_gets_blocks() {
        let (file, dir) = open(2 * STEP_BYTES);
        let middle = STEP_BYTES + STEP_BYTES / 2;
        let plain = std::fs::File::options().write(true).open(dir.path().join("file")).unwrap();
        plain.write_all_at(&[9; PAGE], middle).unwrap();
        file.write(STEP_BYTES, &[1; PAGE]).unwrap();
        file.sync_data().unwrap();
        assert_eq!(blocks(&dir), STEP_BYTES);
        let content = content(&dir);
        let count = |byte: u8| content.iter().filter(|one| **one == byte).count();
        let middle = usize::try_from(middle).unwrap();
        assert!(content[middle..middle + PAGE].iter().all(|byte| *byte == 9));
        assert_eq!((count(1), count(9)), (PAGE, PAGE));
    }

    #[test]
    fn the_next_step_gets_blocks_before_anything_is_written_there() {
        let (file, dir) = open(3 * STEP_BYTES + PAGE as u64);
        file.prepare().unwrap();
        assert_eq!(blocks(&dir), 0, "nothing says yet where it goes on");
        file.write(0, &[1; PAGE]).unwrap();
        file.sync_data().unwrap();
        for _ in 0..3 {
            file.prepare().unwrap();
            assert_eq!(blocks(&dir), 2 * STEP_BYTES, "one step ahead");
        }
        file.write(2 * STEP_BYTES, &[2; PAGE]).unwrap();
        file.sync_data().unwrap();
        file.prepare().unwrap();
        file.prepare().unwrap();
        assert_eq!(blocks(&dir), 3 * STEP_BYTES + PAGE as u64, "no more than the file");
        assert_eq!(content(&dir).iter().filter(|byte| **byte != 0).count(), 2 * PAGE);
    }

    #[test]
    fn where_a_file_ended_within_a_step_the_rest_of_it_gets_blocks_once_it_has_grown() {
        let (file, dir) = open(STEP_BYTES + PAGE as u64);
        file.write(STEP_BYTES, &[1; PAGE]).unwrap();
        file.sync_data().unwrap();
        file.set_len(4 * STEP_BYTES).unwrap();
        file.prepare().unwrap();
        assert_eq!(blocks(&dir), STEP_BYTES, "all of that step");
        file.write(STEP_BYTES + PAGE as u64, &[2; PAGE]).unwrap();
        file.sync_data().unwrap();
        assert_eq!(blocks(&dir), STEP_BYTES);
        file.prepare().unwrap();
        assert_eq!(blocks(&dir), 2 * STEP_BYTES, "the next one");
        assert_eq!(content(&dir).iter().filter(|byte| **byte != 0).count(), 2 * PAGE);
    }

    #[test]
    fn after_lost_writes_nothing_is_made_durable_any_more() {
        let (mut file, dir) = open(PAGE as u64);
        Arc::get_mut(&mut file.0).unwrap().file = File::open(dir.path().join("file")).unwrap();
        file.write(0, &[1; PAGE]).unwrap();
        let first = file.sync_data().unwrap_err();
        for error in [file.sync_data().unwrap_err(), file.write(0, &[1; PAGE]).unwrap_err()] {
            assert_eq!(error.raw_os_error(), first.raw_os_error());
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, usize, u8),
        Read(u64, usize),
        SetLen(u64),
        Sync,
        Prepare,
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = || (0_u64..900, 1_usize..60);
        prop_oneof![
            8 => (place(), any::<u8>()).prop_map(|((at, length), byte)| Step::Write(at, length, byte)),
            3 => place().prop_map(|(at, length)| Step::Read(at, length)),
            1 => (200_u64..1000).prop_map(Step::SetLen),
            2 => Just(Step::Sync),
            1 => Just(Step::Prepare),
        ]
    }

    proptest! {
        // Each waits for the disk some ten times.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_file_like_any_other(steps in proptest::collection::vec(step(), 1..80)) {
            // Of 1 KiB each, so that some cross steps and some are more than is gathered.
            const UNIT: u64 = 1 << 10;
            let (file, dir) = open(1000 * UNIT);
            let plain = InMemoryBackend::new();
            plain.set_len(1000 * UNIT).unwrap();
            for step in steps {
                let fits = |at: u64, length: usize| (at + length as u64) * UNIT <= plain.len().unwrap();
                match step {
                    Step::Write(at, length, byte) if fits(at, length) => {
                        let data = vec![byte; length * UNIT as usize];
                        file.write(at * UNIT, &data).unwrap();
                        plain.write(at * UNIT, &data).unwrap();
                    }
                    Step::Read(at, length) if fits(at, length) => {
                        let mut read = [vec![0; length * UNIT as usize], vec![0; length * UNIT as usize]];
                        file.read(at * UNIT, &mut read[0]).unwrap();
                        plain.read(at * UNIT, &mut read[1]).unwrap();
                        prop_assert!(read[0] == read[1], "read {length} at {at}");
                    }
                    Step::SetLen(len) => {
                        file.set_len(len * UNIT).unwrap();
                        plain.set_len(len * UNIT).unwrap();
                    }
                    Step::Sync => {
                        file.sync_data().unwrap();
                        let mut all = vec![0; usize::try_from(plain.len().unwrap()).unwrap()];
                        plain.read(0, &mut all).unwrap();
                        prop_assert!(content(&dir) == all, "not in the file after its sync");
                    }
                    Step::Prepare => file.prepare().unwrap(),
                    Step::Write(..) | Step::Read(..) => {}
                }
            }
        }
    }
}

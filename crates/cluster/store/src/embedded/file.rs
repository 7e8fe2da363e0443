//! The database's file: what a commit writes goes out with its sync.
//!
//! redb hands over one page at a time. Here the pages of a commit are gathered, and neighbours go to the kernel in one
//! call. Where the file has grown it has no blocks yet, and each sync would also wait for the file system to record
//! those that its pages were given; so zeros are written a step ahead, and only the sync that meets a new step waits
//! for that.
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

/// A file whose writes are gathered until it is synced.
pub struct CommitFile {
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
    /// Gathered writes are lost, so that nothing may be made durable any more.
    failed: Option<(Option<i32>, ErrorKind)>,
}

// redb prints its backend where it logs.
impl Debug for CommitFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitFile").field("file", &self.file).finish_non_exhaustive()
    }
}

impl CommitFile {
    /// Opens a file, making it if it is missing.
    pub fn open(path: &Path) -> std::result::Result<Self, DatabaseError> {
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let opened = open().and_then(|file| Ok((file.try_clone()?, file)));
        let (file, same) = opened.map_err(redb::StorageError::Io)?;
        Ok(Self { backend: FileBackend::new(same)?, file, gathered: Mutex::default() })
    }

    /// Writes what was gathered.
    fn send(&self, gathered: &mut Gathered) -> Result<()> {
        gathered.check()?;
        let result = self.send_runs(gathered);
        gathered.writes.clear();
        gathered.bytes.clear();
        gathered.bytes.shrink_to(KEPT_BYTES);
        result.inspect_err(|error| gathered.failed = Some((error.raw_os_error(), error.kind())))
    }

    fn send_runs(&self, gathered: &mut Gathered) -> Result<()> {
        let Gathered { bytes, writes, has_blocks, .. } = gathered;
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
            if start < end && !is_all_written && self.is_hole(start..end) {
                let slices = usize::try_from((end - start) / ZEROS.len() as u64).map_err(Error::other)?;
                // Where there is no room for them, there may be for the pages.
                let _ = write_all(&self.file, &mut vec![IoSlice::new(&ZEROS); slices], start);
            }
        }
        Ok(())
    }

    /// Whether the file has nothing there.
    fn is_hole(&self, range: Range<u64>) -> bool {
        // This moves the file's position, which nobody here uses.
        match rustix::fs::seek(&self.file, SeekFrom::Data(range.start)) {
            Ok(next) => next >= range.end,
            Err(error) => error == rustix::io::Errno::NXIO,
        }
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

    fn overlaps(&self, offset: u64, length: usize) -> bool {
        let before_end = self.writes.range(..offset + length as u64).next_back();
        before_end.is_some_and(|(start, range)| start + range.len() as u64 > offset)
    }
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
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut gathered = self.gathered.lock();
        if gathered.overlaps(offset, out.len()) {
            self.send(&mut gathered)?;
        }
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut gathered = self.gathered.lock();
        self.send(&mut gathered)?;
        gathered.has_blocks.truncate(usize::try_from(len / STEP_BYTES).map_err(Error::other)?);
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.send(&mut self.gathered.lock())?;
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut gathered = self.gathered.lock();
        gathered.check()?;
        if gathered.bytes.len() + data.len() > GATHER_BYTES || gathered.overlaps(offset, data.len()) {
            self.send(&mut gathered)?;
        }
        if data.len() > GATHER_BYTES {
            return self.file.write_all_at(data, offset);
        }
        let from = gathered.bytes.len();
        gathered.bytes.extend_from_slice(data);
        gathered.writes.insert(offset, from..from + data.len());
        Ok(())
    }

    fn close(&self) -> Result<()> {
        let sent = self.send(&mut self.gathered.lock());
        self.backend.close().and(sent)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
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
            std::fs::metadata(dir.path().join("file")).unwrap().blocks() * 512
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
    fn a_step_with_anything_in_it_is_left_as_it_is() {
        let (file, dir) = open(2 * STEP_BYTES);
        let last = 2 * STEP_BYTES - PAGE as u64;
        std::fs::File::options()
            .write(true)
            .open(dir.path().join("file"))
            .unwrap()
            .write_all_at(&[9; PAGE], last)
            .unwrap();
        file.write(STEP_BYTES, &[1; PAGE]).unwrap();
        file.sync_data().unwrap();
        assert!(content(&dir)[usize::try_from(last).unwrap()..].iter().all(|byte| *byte == 9));
    }

    #[test]
    fn after_lost_writes_nothing_is_made_durable_any_more() {
        let (mut file, dir) = open(PAGE as u64);
        file.file = File::open(dir.path().join("file")).unwrap();
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
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = || (0_u64..900, 1_usize..60);
        prop_oneof![
            8 => (place(), any::<u8>()).prop_map(|((at, length), byte)| Step::Write(at, length, byte)),
            3 => place().prop_map(|(at, length)| Step::Read(at, length)),
            1 => (200_u64..1000).prop_map(Step::SetLen),
            2 => Just(Step::Sync),
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
                    Step::Write(..) | Step::Read(..) => {}
                }
            }
        }
    }
}

//! What the machine gives at best: a program that writes and syncs as many pages as the store's commits do, and nothing
//! else. Its longest waits are those of the disk, and of whoever else uses the cores.

use hako_benches::ms;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const FILE_PAGES: u64 = 4096;
/// Neighbouring pages in each of the writes of a commit: 32 KiB in six pieces, as the store's were in the mean.
const WRITES: [usize; 6] = [1, 1, 2, 1, 2, 1];
/// Writes that come together need two: the first is on its way when the others arrive.
const COMMITS: usize = 2;

pub struct Floor {
    file: File,
    seed: u64,
}

impl Floor {
    /// In a file of its own that has all its blocks.
    pub fn new(directory: &Path) -> anyhow::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        for page in 0..FILE_PAGES {
            file.write_all_at(&[0; PAGE], page * PAGE as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, seed: 1 })
    }

    /// Milliseconds of each of so many turns, one in each period.
    pub fn measure(&mut self, turns: usize, period: Duration) -> anyhow::Result<Vec<f64>> {
        let mut next = Instant::now();
        let mut took = Vec::with_capacity(turns);
        for _ in 0..turns {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            for _ in 0..COMMITS {
                self.commit()?;
            }
            took.push(ms(began.elapsed()));
            next = began + period;
        }
        Ok(took)
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        for pages in WRITES {
            // Any place does, as long as the pages are not neighbours.
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let page = (self.seed >> 33) % (FILE_PAGES - 2);
            self.file.write_all_at(&[1; 2 * PAGE][..pages * PAGE], page * PAGE as u64)?;
        }
        Ok(self.file.sync_data()?)
    }
}

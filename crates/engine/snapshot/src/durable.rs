//! Committed snapshots reach the disk behind the caller's back.
//!
//! A commit is visible at once and bears the id of the running boot. One thread syncs the file system and takes
//! the mark away. What bears the mark of an earlier boot when the store is opened may have lost bytes in a power
//! cut and is removed: the blobs that it was unpacked from are on disk, so it can be made again. A killed process
//! loses nothing, since the page cache is the kernel's.
//!
//! Measured: syncfs(2) waits for everybody's dirty pages, on a busy machine for seconds, and a pull must not. Nor does it
//! run while snapshots are made one after the other: the journal that it commits is the one that they write to.

use parking_lot::Mutex;
use rustix::fs::syncfs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long commits are collected before a sync; a power cut costs what was unpacked meanwhile.
const PAUSE: Duration = Duration::from_secs(2);

/// The id of the running boot; empty where the kernel tells none, so that nothing is ever taken for lost.
pub(crate) fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

/// Puts committed snapshots on disk, as many as there are with each sync.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syncer(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<PathBuf>,
    is_running: bool,
}

impl Syncer {
    /// Syncs the snapshot in `dir` soon and then calls `settled` with it.
    pub(crate) fn later(&self, dir: PathBuf, settled: fn(&Path) -> std::io::Result<()>) {
        let mut state = self.0.lock();
        state.waiting.push(dir);
        if state.is_running {
            return;
        }
        let own = self.clone();
        let started =
            std::thread::Builder::new().name("snapshot-sync".into()).spawn(move || own.run(settled));
        // Without a thread the mark stays, which is safe; the next commit tries again.
        state.is_running = started.is_ok();
    }

    fn run(&self, settled: fn(&Path) -> std::io::Result<()>) {
        loop {
            std::thread::sleep(PAUSE);
            let batch = {
                let mut state = self.0.lock();
                if state.waiting.is_empty() {
                    state.is_running = false;
                    return;
                }
                std::mem::take(&mut state.waiting)
            };
            let Some(dir) = batch.iter().find_map(|dir| File::open(dir).ok()) else {
                continue;
            };
            if let Err(error) = syncfs(dir) {
                tracing::warn!(%error, "snapshots are not known to be on disk");
                continue;
            }
            for dir in &batch {
                match settled(dir) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(?dir, %error, "a snapshot is on disk and still marked as if not");
                    }
                    _ => {}
                }
            }
        }
    }
}

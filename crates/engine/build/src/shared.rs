//! What all stages of one build share: events, cancelling, the bound on parallel steps.

use crate::ahead::Aheads;
use crate::cache::Cache;
use crate::caches::Caches;
use crate::client::Lent;
use crate::context::Registry;
use crate::digests::{Digests, Selections};
use crate::error::BuildError;
use crate::exchange::Imports;
use crate::listings::Listings;
use crate::request::BuildEvent;
use crate::run::Runner;
use crate::settling::Settling;
use hako_cgroup::CgroupRoot;
use hako_content::Lease;
use hako_error::Result;
use hako_image::ImageStore;
use hako_image::transfer::Stop;
use hako_network::Network;
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// One build's surroundings.
pub(crate) struct Shared {
    pub images: ImageStore,
    pub cache: Cache,
    pub caches: Caches,
    /// What is known of the files of layers.
    pub digests: Digests,
    pub selections: Selections,
    pub listings: Listings,
    /// Results of others that the build may use.
    pub imports: Imports,
    pub runner: Arc<dyn Runner>,
    pub permits: Arc<Permits>,
    pub cancel: Arc<Cancel>,
    pub events: mpsc::UnboundedSender<BuildEvent>,
    /// Before the lease, as their layers are under it.
    pub aheads: Aheads,
    pub settling: Settling,
    pub lease: Arc<Lease>,
    /// The Dockerfile's name in errors.
    pub file: String,
    pub lent: Lent,
    pub keep_failed: bool,
    pub bridge: Option<Arc<Network>>,
    pub registry: Option<Arc<dyn Registry>>,
    pub cgroup: String,
    /// Where devices are described.
    pub cdi: hako_cdi::Directories,
    /// Where steps keep files that end with them.
    pub scratch: PathBuf,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch_unix_s: Option<i64>,
}

/// How many steps may run at the same time.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Mutex<usize>,
    changed: Condvar,
}

/// Leave to run one step.
pub(crate) struct Permit<'a>(&'a Permits);

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count.max(1)), changed: Condvar::new() }
    }

    pub(crate) fn acquire(&self) -> Permit<'_> {
        let mut free = self.free.lock();
        self.changed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Permit(self)
    }

    /// Leave if nobody has to wait for it.
    pub(crate) fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut free = self.free.lock();
        *free = free.checked_sub(1)?;
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.changed.notify_one();
    }
}

/// The wish to end a build early, and the groups whose processes have to end for it.
#[derive(Default)]
pub(crate) struct Cancel {
    is_cancelled: AtomicBool,
    /// The same wish, for those who wait for a server.
    stop: Stop,
    groups: Mutex<HashSet<String>>,
}

/// A step that runs in a group.
pub(crate) struct Entered<'a> {
    cancel: &'a Cancel,
    group: String,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled.load(Ordering::SeqCst))
    }
}

impl Cancel {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.is_cancelled.load(Ordering::SeqCst) { Err(BuildError::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn enter(&self, group: &str) -> Result<Entered<'_>, BuildError> {
        self.groups.lock().insert(group.to_owned());
        let entered = Entered { cancel: self, group: group.to_owned() };
        // After the insertion: either this sees the wish, or the killer sees the group.
        self.check()?;
        Ok(entered)
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends the build: no further step starts, and what runs is killed until it is gone.
    pub(crate) fn cancel(self: &Arc<Self>) {
        self.stop.stop();
        if self.is_cancelled.swap(true, Ordering::SeqCst) || self.groups.lock().is_empty() {
            return;
        }
        let cancel = self.clone();
        std::thread::spawn(move || {
            // A step may still be on its way into its group, hence again and again.
            while cancel.kill_once() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    fn kill_once(&self) -> bool {
        let groups: Vec<String> = self.groups.lock().iter().cloned().collect();
        let Ok(root) = CgroupRoot::detect() else {
            return false;
        };
        for group in &groups {
            if let Ok(group) = root.open(group) {
                let _ = group.kill_all();
            }
        }
        !groups.is_empty()
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.cancel.groups.lock().remove(&self.group);
    }
}

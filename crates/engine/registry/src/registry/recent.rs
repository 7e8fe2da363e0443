//! Manifests that were asked for lately, in memory.
//!
//! Owns: their bytes. Does not own: who may have them; the records are asked before. Invariant: at most
//! [`LIMIT_BYTES`] are held, and what is held under a digest hashes to it.

use bytes::Bytes;
use hako_names::Digest;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};

/// A manifest is a few KiB: thousands fit.
const LIMIT_BYTES: usize = 16 << 20;
/// Larger ones are read from the storage each time, so that one does not push out all others.
const ONE_BYTES: usize = 256 << 10;

/// The cache; the manifest that came first goes first.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    manifests: HashMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, digest: Digest) -> Option<Bytes> {
        self.0.lock().manifests.get(&digest).cloned()
    }

    /// Keeps bytes that were verified against `digest`.
    pub(super) fn keep(&self, digest: Digest, bytes: &Bytes) {
        if bytes.len() > ONE_BYTES {
            return;
        }
        let mut held = self.0.lock();
        if held.manifests.insert(digest, bytes.clone()).is_some() {
            return;
        }
        held.order.push_back(digest);
        held.bytes += bytes.len();
        while held.bytes > LIMIT_BYTES
            && let Some(oldest) = held.order.pop_front()
        {
            held.bytes -= held.manifests.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_the_newest_stays() {
        let recent = Recent::default();
        let bytes = Bytes::from(vec![0; ONE_BYTES]);
        let digests: Vec<Digest> = (0..100_u32).map(|at| Digest::of(&at.to_le_bytes())).collect();
        for digest in &digests {
            recent.keep(*digest, &bytes);
        }
        assert!(recent.get(digests[0]).is_none());
        assert_eq!(recent.get(digests[99]), Some(bytes));
        let held = recent.0.lock();
        assert_eq!((held.bytes, held.manifests.len(), held.order.len()), (LIMIT_BYTES, 64, 64));
    }

    #[test]
    fn a_large_manifest_is_not_held() {
        let recent = Recent::default();
        let digest = Digest::of(b"large");
        recent.keep(digest, &Bytes::from(vec![0; ONE_BYTES + 1]));
        assert!(recent.get(digest).is_none());
    }
}

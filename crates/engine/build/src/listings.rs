//! Layers that a build has written, entry by entry: what is copied from a step that has just run need not be read for its
//! digest.

use crate::files::{clean, describe};
use crate::pattern;
use hako_image::Listed;
use hako_image::layer::{Entry, EntryKind};
use hako_names::{Digest, Hasher};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Entries of all listings of a build, some 200 bytes each.
const MOST: usize = 262_144;

/// By diff id.
#[derive(Default)]
pub(crate) struct Listings(Mutex<HashMap<Digest, Arc<Vec<Listed>>>>);

impl Listings {
    pub(crate) fn keep(&self, layer: Digest, listing: Vec<Listed>) {
        let mut known = self.0.lock();
        let entries: usize = known.values().map(|listing| listing.len()).sum();
        if !listing.is_empty() && entries + listing.len() <= MOST {
            known.insert(layer, Arc::new(listing));
        }
    }

    /// The digest over what a source argument names of a layer, as [`Source::digest_all`] has it of the files, where they
    /// lie in no other. `None` where the files have to say.
    ///
    /// [`Source::digest_all`]: crate::files::Source::digest_all
    pub(crate) fn digest(&self, layer: Digest, argument: &str) -> Option<Digest> {
        let listing = self.0.lock().get(&layer).cloned()?;
        if pattern::is_pattern(argument) {
            return None;
        }
        let name = clean(argument);
        let mut files = Hasher::new();
        let (mut is_whole, mut count) = (true, 0_usize);
        for listed in listing.iter() {
            let Some(below) = below(&listed.entry.path, name.as_bytes()) else { continue };
            // The first is what was named itself.
            is_whole &= below.is_empty() == (count == 0) && is_plain(&listed.entry);
            count += 1;
            let mut file = Hasher::new();
            file.update(below);
            describe(Entry { path: below.to_vec(), ..listed.entry.clone() }, listed.content, &mut file);
            files.update(file.finish().hex().as_bytes());
        }
        if !is_whole || count == 0 {
            return None;
        }
        let mut all = Hasher::new();
        all.update(name.as_bytes());
        all.update(files.finish().hex().as_bytes());
        Some(all.finish())
    }
}

/// Where an entry lies below what is named; empty for that itself.
fn below<'a>(path: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let rest = path.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// Whether the entry is a file by itself: no mark, and not another name of one that may lie elsewhere.
fn is_plain(entry: &Entry) -> bool {
    let base = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    !matches!(entry.kind, EntryKind::HardLink(_)) && !base.starts_with(b".wh.")
}

//! COPY to where nothing is, from what lies in one place.
//!
//! A directory that is copied to a new one replaces nothing, and nothing below has a part in it. So its files go into the
//! snapshot's own directory without a mount, and into the layer at the same time: neither is read back from the other. In
//! the same way, what only one layer of a stack has is read where that layer lies.

use crate::copy::Job;
use crate::error::BuildError;
use crate::files::{Dress, Found, Source, clean};
use crate::links::Links;
use crate::pattern;
use crate::shared::Shared;
use hako_error::Result;
use hako_image::NewLayer;
use hako_image::layer::{Entry, EntryKind, Placing, TarWriter, make_directories};
use hako_snapshot::Mounts;
use rustix::fs::{AtFlags, OFlags, ResolveFlags, Timespec, Timestamps, utimensat};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The only directory of a stack that has anything of what a source argument can name: what is there is what the stack
/// shows. `None` where there is none such, or where a link may lead elsewhere.
pub(crate) fn only_place<'a>(lower: &'a [PathBuf], argument: &str) -> Option<&'a PathBuf> {
    let path = clean(argument);
    let top = path.split('/').next().filter(|top| !top.is_empty())?;
    if pattern::is_pattern(argument) {
        return None;
    }
    let mut places = lower.iter().filter(|place| !is_absent(&place.join(top)));
    let (place, others) = (places.next()?, places.next());
    let is_whiteout =
        place.join(top).symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    if others.is_some() || is_whiteout {
        return None;
    }
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let root = File::open(place).ok()?;
    hako_sys::open_resolved(&root, &path, OFlags::PATH, resolve).ok()?;
    Some(place)
}

/// Whether it is known that nothing has this name.
fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether nothing of a stack has a part in what is copied to `destination`, which is clean.
pub(crate) fn is_new(lower: &[PathBuf], destination: &str) -> bool {
    let top = destination.split('/').next().unwrap_or_default();
    lower.iter().all(|lower| is_absent(&lower.join(top)))
}

/// Copies a directory to where nothing is, with its layer, as long as it is wanted. `None` where anything else is asked
/// for, and nothing was done.
pub(crate) fn carry_out(
    shared: &Shared,
    job: &Job,
    mounts: &Mounts,
    text: &str,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Option<NewLayer>> {
    let op = job.op();
    let destination = clean(&op.destination);
    // Names are looked up in the files below. With an epoch times are settled when all is written.
    let is_plain =
        op.chown.as_deref().is_none_or(|owner| owner.split(':').all(|part| part.parse::<u32>().is_ok()));
    if !is_plain || shared.epoch_unix_s.is_some() || destination.is_empty() {
        return Ok(None);
    }
    let is_new = is_new(&mounts.lower, &destination);
    let (Some(upper), Some((source, files)), true) = (&mounts.upper, job.contents()?, is_new) else {
        return Ok(None);
    };
    let root = File::open(upper).map_err(BuildError::io("open", upper))?;
    let dress = job.dress(&root)?;
    let made = make_directories(&root, destination.as_bytes(), dress.owner);
    let directory = File::from(made.map_err(BuildError::io("make the directory", &destination))?);
    let above = directories(upper, &destination)?;
    let (new, ()) = shared.images.write_tar(&format!("layer of {text}"), &shared.lease, |sink| {
        let mut layer = TarWriter::new(sink);
        let failed = || BuildError::io("write", "a layer");
        for entry in &above {
            layer.append(entry, io::empty()).map_err(failed())?;
        }
        let files = files.iter().map(|file| is_wanted().then_some(file).ok_or(BuildError::Cancelled));
        copy(source, files, &dress, (&directory, &destination), &mut layer)?;
        layer.finish().map(drop).map_err(failed())?;
        Ok(())
    })?;
    // As the layer has it: each file has changed it.
    if let Some(own) = above.last() {
        let time = Timespec { tv_sec: own.mtime_s, tv_nsec: own.mtime_ns.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(&directory, ".", &times, AtFlags::empty())
            .map_err(|error| BuildError::io("set the time of", &destination)(error.into()))?;
    }
    Ok(Some(new))
}

/// The directories that were made, outermost first.
fn directories(upper: &Path, destination: &str) -> Result<Vec<Entry>, BuildError> {
    let ends = destination.match_indices('/').map(|(end, _)| end).chain([destination.len()]);
    let entry = |end: usize| {
        let path = &destination[..end];
        let metadata = fs::symlink_metadata(upper.join(path)).map_err(BuildError::io("read", path))?;
        Ok(Entry {
            path: format!("{path}/").into_bytes(),
            kind: EntryKind::Directory,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime_s: metadata.mtime(),
            mtime_ns: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            size: 0,
            xattrs: Vec::new(),
            sparse: None,
        })
    };
    ends.map(entry).collect()
}

/// Copies a directory's contents into another one and into the layer, where that lies at `prefix`.
fn copy<'a>(
    source: &Source,
    files: impl Iterator<Item = Result<&'a Found, BuildError>>,
    dress: &Dress,
    (directory, prefix): (&File, &str),
    layer: &mut TarWriter<impl Write>,
) -> Result<()> {
    let mut links = Links::default();
    let mut placing = Placing::new(directory, "the copied files");
    for file in files {
        let file = file?;
        // That itself is there.
        if file.below.as_os_str().is_empty() {
            continue;
        }
        let data = file.open()?;
        let mut entry = source.entry(file, data.as_ref(), dress, b"")?;
        links.settle(&mut entry, &file.metadata);
        let there = placed(&entry, prefix);
        let mut place = |mut data: &mut dyn Read| placing.place(&entry, &mut data);
        let copied = match data {
            Some(data) => layer.append_through(&there, data, &mut place),
            None => layer.append_through(&there, io::empty(), &mut place),
        };
        copied.map_err(BuildError::io("copy", &file.path))??;
    }
    placing.finish()
}

/// The entry as a layer has it: by its whole name, of a directory with a slash behind.
fn placed(entry: &Entry, prefix: &str) -> Entry {
    let below = |path: &[u8]| [prefix.as_bytes(), b"/", path].concat();
    let mut placed = Entry { path: below(&entry.path), ..entry.clone() };
    match &mut placed.kind {
        EntryKind::Directory => placed.path.push(b'/'),
        EntryKind::HardLink(target) => *target = below(target),
        _ => {}
    }
    placed
}

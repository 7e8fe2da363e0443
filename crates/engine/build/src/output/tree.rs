//! Results as files: a directory or a tar, one directory a platform where there are several.

use super::Part;
use crate::attest::{self, Said};
use crate::copy;
use crate::dest;
use crate::error::BuildError;
use crate::files::{Dress, Source};
use crate::shared::Shared;
use hako_error::{Error, Kind, Result};
use hako_image::layer::{Entry, EntryKind, TarWriter};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Each root's files as a directory, and what is said about them.
pub(super) fn local(shared: &Shared, parts: &[Part<'_>], dest: &Path) -> Result<()> {
    for part in parts {
        let dest = dest.join(&part.directory);
        let view = copy::View::open(shared, &part.new.layers)?;
        let notes = notes(&view.source, &part.said)?;
        fs::create_dir_all(&dest).map_err(BuildError::io("create", &dest))?;
        let directory = File::open(&dest).map_err(BuildError::io("open", &dest))?;
        let files = view.source.walk("")?;
        copy::send(&directory, |tar| {
            view.source.pack(&files, &Dress::default(), b"", tar)?;
            append(shared, &notes, "", tar).map_err(BuildError::io("write", &dest))
        })?;
    }
    Ok(())
}

/// The same as a tar; it appears when it is whole.
pub(super) fn tar(shared: &Shared, parts: &[Part<'_>], dest: &Path) -> Result<()> {
    dest::write(dest, |file| {
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 17, file));
        for part in parts {
            let view = copy::View::open(shared, &part.new.layers)?;
            let (notes, files) = (notes(&view.source, &part.said)?, view.source.walk("")?);
            view.source.pack(&files, &Dress::default(), part.directory.as_bytes(), &mut tar)?;
            append(shared, &notes, &part.directory, &mut tar).map_err(BuildError::io("write", dest))?;
        }
        tar.finish().map_err(BuildError::io("write", dest))?;
        Ok(())
    })
}

/// Files with what is said about the files of a root.
fn notes(source: &Source, said: &[Said]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    if said.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(taken) = said.iter().find(|one| source.resolve(one.file).is_ok()) {
        let message =
            format!("the result has a file {:?} of its own, the attestation has no place", taken.file);
        return Err(Error::new(Kind::FailedPrecondition, message));
    }
    let subjects = attest::subjects_of_files(source)?;
    Ok(said.iter().map(|one| (one.file, one.of_files(&subjects))).collect())
}

fn append(
    shared: &Shared,
    notes: &[(&str, Vec<u8>)],
    below: &str,
    tar: &mut TarWriter<impl Write>,
) -> io::Result<()> {
    for (name, bytes) in notes {
        let entry = Entry {
            path: Path::new(below).join(name).as_os_str().as_bytes().to_vec(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: shared.epoch_unix_s.unwrap_or(0),
            mtime_ns: 0,
            size: bytes.len() as u64,
            xattrs: Vec::new(),
            sparse: None,
        };
        tar.append(&entry, bytes.as_slice())?;
    }
    Ok(())
}

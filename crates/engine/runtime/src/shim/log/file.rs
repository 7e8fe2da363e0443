//! A container's log file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use serde::Serialize;

use super::Stream;
use crate::types::{LogFile, LogFormat};

/// One line of Docker's json-file.
#[derive(Serialize)]
struct JsonLine<'a> {
    log: &'a str,
    stream: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: &'a BTreeMap<String, String>,
    time: String,
}

/// Writes lines and rotates.
///
/// INVARIANT: nothing here fails or blocks the container: what cannot be written (a full disk) is counted, and a
/// line says so when writing works again.
#[derive(Debug)]
pub(super) struct FileLog {
    pub(super) config: LogFile,
    pub(super) file: Option<File>,
    size: u64,
    pub dropped: u64,
    unreported: u64,
    out: Vec<u8>,
}

impl FileLog {
    pub fn open(config: LogFile) -> io::Result<Self> {
        if let Some(directory) = config.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self { config, file: Some(file), size, dropped: 0, unreported: 0, out: Vec::new() })
    }

    /// Takes one piece of a line. `is_whole` says that it ends one.
    pub fn line(&mut self, stream: Stream, is_whole: bool, text: &[u8]) {
        let start = self.out.len();
        match self.config.format {
            LogFormat::Cri => self.cri(stream, is_whole, text),
            LogFormat::Json => self.json(stream, is_whole, text),
        }
        if self.size + self.out.len() as u64 > self.config.max_size && self.size + start as u64 > 0 {
            let line = self.out.split_off(start);
            self.flush();
            self.rotate();
            self.out.extend(line);
        }
    }

    fn cri(&mut self, stream: Stream, is_whole: bool, text: &[u8]) {
        let tag = if is_whole { 'F' } else { 'P' };
        let head = format!("{:.9} {} {tag} ", jiff::Timestamp::now(), stream.name());
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(text);
        self.out.push(b'\n');
    }

    fn json(&mut self, stream: Stream, is_whole: bool, text: &[u8]) {
        let mut log = String::from_utf8_lossy(text).into_owned();
        if is_whole {
            log.push('\n');
        }
        let line = JsonLine {
            log: &log,
            stream: stream.name(),
            attrs: &self.config.attrs,
            time: format!("{:.9}", jiff::Timestamp::now()),
        };
        // Strings and maps of strings: nothing that could fail.
        let _never = serde_json::to_writer(&mut self.out, &line);
        self.out.push(b'\n');
    }

    /// Writes what was taken.
    pub fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if self.unreported > 0 {
            let out = std::mem::take(&mut self.out);
            let note =
                format!("hako: {} lines were lost here, the log could not be written", self.unreported);
            self.line(Stream::Stderr, true, note.as_bytes());
            let note = std::mem::replace(&mut self.out, out);
            if self.append(&note).is_ok() {
                self.unreported = 0;
            }
        }
        let out = std::mem::take(&mut self.out);
        if self.unreported > 0 || self.append(&out).is_err() {
            let lines = out.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.dropped += lines;
            self.unreported += lines;
        }
        // The buffer is kept between writes if it is of ordinary size.
        if out.capacity() <= 4096 {
            self.out = out;
            self.out.clear();
        }
    }

    /// Appends all or nothing, so that a line is never cut in two.
    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(OpenOptions::new().append(true).create(true).open(&self.config.path)?),
        };
        match file.write_all(data) {
            Ok(()) => {
                self.size += data.len() as u64;
                Ok(())
            }
            Err(error) => {
                // If even this fails, the next line starts behind half a line.
                let _still_cut = file.set_len(self.size);
                Err(error)
            }
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.config.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// `log` becomes `log.1`, that becomes `log.2`, and so on; the oldest goes.
    fn rotate(&mut self) {
        let keep = self.config.max_files.max(1);
        for number in (1..keep.saturating_sub(1)).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            // Missing ones are the first rotations, or in the other form.
            let _missing = (fs::remove_file(&to), fs::remove_file(gzipped(&to)));
            let _missing = (fs::rename(&from, &to), fs::rename(gzipped(&from), gzipped(&to)));
        }
        // With two files there is nothing to move on, and the older one goes in either form.
        let _missing = fs::remove_file(gzipped(&self.numbered(1)));
        let moved = if keep == 1 {
            fs::remove_file(&self.config.path)
        } else {
            fs::rename(&self.config.path, self.numbered(1))
        };
        if moved.is_ok() {
            self.file = None;
            self.size = 0;
            if self.config.compress && keep > 1 {
                let path = self.numbered(1);
                // One that could not be compressed is as good as it was.
                let _left_as_it_is = compress(&path);
            }
        } else {
            // Growing beyond its size is better than losing lines; it is tried again after another full size.
            self.config.max_size = self.config.max_size.saturating_mul(2);
        }
    }
}

fn gzipped(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".gz");
    name.into()
}

/// Puts a compressed file in the place of one that is complete. Its comment says which file it was, for readers that
/// have that one open. Level 1 is quick enough to be done between two writes.
fn compress(path: &Path) -> io::Result<()> {
    let mut plain = File::open(path)?;
    let found = plain.metadata()?;
    let (whole, mut part) = (gzipped(path), gzipped(path).into_os_string());
    part.push(".part");
    let written = File::create(&part).and_then(|file| {
        let comment = format!("{}:{}", found.dev(), found.ino());
        let mut out = GzBuilder::new().comment(comment).write(file, Compression::fast());
        io::copy(&mut plain, &mut out)?;
        out.finish()?;
        fs::rename(&part, &whole)
    });
    match written {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            let _not_there = fs::remove_file(&part);
            Err(error)
        }
    }
}

//! A container's log file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::types::LogFile;

/// The longest line written in one piece; longer ones come in parts marked `P`, as the CRI has it.
const MAX_LINE: usize = 16 << 10;

/// Writes lines as `<time> <stream> <F|P> <text>`.
///
/// INVARIANT: nothing here fails or blocks the container: what cannot be written (a full disk) is counted, and a
/// line says so when writing works again.
#[derive(Debug)]
pub(super) struct Log {
    config: LogFile,
    file: Option<File>,
    size: u64,
    /// Bytes of unfinished lines, of stdout and stderr.
    partial: [Vec<u8>; 2],
    pub dropped: u64,
    unreported: u64,
    out: Vec<u8>,
}

impl Log {
    pub fn open(config: LogFile) -> io::Result<Self> {
        if let Some(directory) = config.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            config,
            file: Some(file),
            size,
            partial: [Vec::new(), Vec::new()],
            dropped: 0,
            unreported: 0,
            out: Vec::new(),
        })
    }

    /// Takes output of stream 1 or 2 as it came.
    pub fn write(&mut self, stream: u8, mut data: &[u8]) {
        let now = format!("{:.9}", jiff::Timestamp::now());
        let index = usize::from(stream == 2);
        while !data.is_empty() {
            let room = MAX_LINE - self.partial[index].len();
            let window = &data[..data.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let (line, rest) = data.split_at(end);
                    self.line(&now, index, b'F', line);
                    data = &rest[1..];
                }
                None if window.len() == room => {
                    let (part, rest) = data.split_at(room);
                    self.line(&now, index, b'P', part);
                    data = rest;
                }
                None => {
                    self.partial[index].extend_from_slice(data);
                    data = &[];
                }
            }
        }
        self.flush();
    }

    /// Writes what has no end of line, when its stream ended.
    pub fn finish(&mut self, stream: u8) {
        let index = usize::from(stream == 2);
        if !self.partial[index].is_empty() {
            let now = format!("{:.9}", jiff::Timestamp::now());
            self.line(&now, index, b'F', b"");
        }
        self.flush();
    }

    fn line(&mut self, now: &str, index: usize, tag: u8, text: &[u8]) {
        let stream = if index == 1 { "stderr" } else { "stdout" };
        let length = now.len() + stream.len() + 5 + self.partial[index].len() + text.len();
        if self.size + (self.out.len() + length) as u64 > self.config.max_size
            && self.size + self.out.len() as u64 > 0
        {
            self.flush();
            self.rotate();
        }
        self.out.extend_from_slice(now.as_bytes());
        self.out.push(b' ');
        self.out.extend_from_slice(stream.as_bytes());
        self.out.extend_from_slice(&[b' ', tag, b' ']);
        self.out.append(&mut self.partial[index]);
        self.out.extend_from_slice(text);
        self.out.push(b'\n');
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if self.unreported > 0 {
            let note = format!(
                "{:.9} stderr F hako: {} lines were lost here, the log could not be written\n",
                jiff::Timestamp::now(),
                self.unreported
            );
            if self.append(note.as_bytes()).is_ok() {
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
            // Missing ones are the first rotations.
            let _missing = fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        let moved = if keep == 1 {
            fs::remove_file(&self.config.path)
        } else {
            fs::rename(&self.config.path, self.numbered(1))
        };
        if moved.is_ok() {
            self.file = None;
            self.size = 0;
        } else {
            // Growing beyond its size is better than losing lines; it is tried again after another full size.
            self.config.max_size = self.config.max_size.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(directory: &std::path::Path, max_size: u64) -> Log {
        let path = directory.join("log");
        Log::open(LogFile { path, max_size, max_files: 3 }).unwrap()
    }

    fn texts(path: &std::path::Path) -> Vec<String> {
        let all = fs::read_to_string(path).unwrap();
        all.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_whole_or_marked_as_parts() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 1 << 20);
        log.write(1, b"one\ntw");
        log.write(2, b"err\n");
        log.write(1, b"o\nrest");
        log.finish(1);
        let path = directory.path().join("log");
        assert_eq!(texts(&path), ["stdout F one", "stderr F err", "stdout F two", "stdout F rest"]);
        let time = fs::read_to_string(&path).unwrap();
        assert_eq!(time.find(' '), Some("2026-01-01T00:00:00.000000000Z".len()));
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 1 << 20);
        log.write(1, &[b'x'; MAX_LINE + 1]);
        log.write(1, b"\n");
        let texts = texts(&directory.path().join("log"));
        assert_eq!(texts[0].len(), "stdout P ".len() + MAX_LINE);
        assert_eq!(texts[1], "stdout F x");
    }

    #[test]
    fn a_full_log_is_rotated_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 100);
        for number in 0..20 {
            log.write(1, format!("line number {number}\n").as_bytes());
        }
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        for name in names {
            assert!(fs::metadata(directory.path().join(name)).unwrap().len() <= 100);
        }
    }

    #[test]
    fn what_a_full_disk_loses_is_counted_and_noted() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 1 << 20);
        log.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.write(1, b"lost\nlost too\n");
        assert_eq!(log.dropped, 2);
        log.file = None;
        log.write(1, b"kept\n");
        let texts = texts(&directory.path().join("log"));
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("2 lines were lost"));
        assert_eq!(texts[1], "stdout F kept");
    }
}

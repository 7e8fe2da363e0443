//! Where a container's output is kept: a file, a log daemon, both or nowhere.
//!
//! Owns: cutting output into lines, and lines that are too long into parts.
//! INVARIANT: nothing here fails or blocks the container; what cannot be written is counted.

mod file;
mod syslog;

use std::io;
use std::os::fd::OwnedFd;

use crate::types::Stdio;
use file::FileLog;
use syslog::Syslog;

/// The longest line written in one piece; longer ones come in parts.
const MAX_LINE: usize = 16 << 10;

/// Which stream a line came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn of(number: u8) -> Self {
        if number == 2 { Self::Stderr } else { Self::Stdout }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A container's log.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<FileLog>,
    syslog: Option<Syslog>,
    /// Bytes of unfinished lines, of stdout and stderr.
    partial: [Vec<u8>; 2],
}

impl Log {
    /// Opens what the streams ask for. `home_net` is the network namespace a log daemon is reached from, unless it is
    /// the present one.
    pub fn open(stdio: &Stdio, home_net: Option<&OwnedFd>) -> io::Result<Self> {
        let syslog = stdio.syslog.clone().map(|target| Syslog::open(target, home_net)).transpose()?;
        let file = stdio.log.clone().map(FileLog::open).transpose()?;
        Ok(Self { file, syslog, partial: [Vec::new(), Vec::new()] })
    }

    /// Lines lost because they could not be written.
    pub fn dropped(&self) -> u64 {
        let file = self.file.as_ref().map_or(0, |file| file.dropped);
        file + self.syslog.as_ref().map_or(0, |syslog| syslog.dropped)
    }

    fn is_none(&self) -> bool {
        self.file.is_none() && self.syslog.is_none()
    }

    /// Takes output of stream 1 or 2 as it came.
    pub fn write(&mut self, stream: u8, mut data: &[u8]) {
        if self.is_none() {
            return;
        }
        let (stream, index) = (Stream::of(stream), usize::from(stream == 2));
        while !data.is_empty() {
            let room = MAX_LINE - self.partial[index].len();
            let window = &data[..data.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let (line, rest) = data.split_at(end);
                    self.line(stream, index, true, line);
                    data = &rest[1..];
                }
                None if window.len() == room => {
                    let (part, rest) = data.split_at(room);
                    self.line(stream, index, false, part);
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
            // Who reads it is not told of an end of line that there was none of.
            self.line(Stream::of(stream), index, false, b"");
        }
        self.flush();
        if let Some(syslog) = &mut self.syslog {
            syslog.finish();
        }
    }

    fn line(&mut self, stream: Stream, index: usize, is_whole: bool, text: &[u8]) {
        let mut whole = std::mem::take(&mut self.partial[index]);
        // Without a beginning that waited there is nothing to copy.
        let line = if whole.is_empty() {
            text
        } else {
            whole.extend_from_slice(text);
            &whole
        };
        if let Some(file) = &mut self.file {
            file.line(stream, is_whole, line);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.line(stream, line);
        }
        if whole.capacity() <= MAX_LINE {
            whole.clear();
            self.partial[index] = whole;
        }
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            file.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogFile, LogFormat};
    use std::fs;

    fn log(directory: &std::path::Path, max_size: u64) -> Log {
        log_as(directory, max_size, LogFormat::Cri)
    }

    fn log_as(directory: &std::path::Path, max_size: u64, format: LogFormat) -> Log {
        let path = directory.join("log");
        let log = LogFile { path, max_size, max_files: 3, format, ..LogFile::default() };
        Log::open(&Stdio { log: Some(log), ..Stdio::default() }, None).unwrap()
    }

    fn file(log: &mut Log) -> &mut FileLog {
        log.file.as_mut().unwrap()
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
        assert_eq!(texts(&path), ["stdout F one", "stderr F err", "stdout F two", "stdout P rest"]);
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
    fn older_files_are_compressed_where_that_is_wanted() {
        use std::io::Read;
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 100);
        file(&mut log).config.compress = true;
        for number in 0..20 {
            log.write(1, format!("line number {number:02}\n").as_bytes());
        }
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1.gz", "log.2.gz"]);
        let mut text = String::new();
        for name in ["log.2.gz", "log.1.gz"] {
            let file = fs::File::open(directory.path().join(name)).unwrap();
            flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        }
        text.push_str(&fs::read_to_string(directory.path().join("log")).unwrap());
        let numbers: Vec<&str> = text.lines().map(|line| &line[line.len() - 2..]).collect();
        assert_eq!(numbers, ["17", "18", "19"], "whole files, in their order");
    }

    #[test]
    fn what_a_full_disk_loses_is_counted_and_noted() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log(directory.path(), 1 << 20);
        file(&mut log).file = Some(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.write(1, b"lost\nlost too\n");
        assert_eq!(log.dropped(), 2);
        file(&mut log).file = None;
        log.write(1, b"kept\n");
        let texts = texts(&directory.path().join("log"));
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("2 lines were lost"));
        assert_eq!(texts[1], "stdout F kept");
    }

    #[test]
    fn lines_of_json_are_dockers() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_as(directory.path(), 1 << 20, LogFormat::Json);
        log.write(1, b"one \"quoted\" \xff\n");
        log.write(2, &[b'x'; MAX_LINE + 1]);
        log.finish(2);
        let text = fs::read_to_string(directory.path().join("log")).unwrap();
        assert!(
            text.starts_with(
                "{\"log\":\"one \\\"quoted\\\" \u{fffd}\\n\",\"stream\":\"stdout\",\"time\":\"20"
            ),
            "{text}"
        );
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1]["log"].as_str().unwrap().len(), MAX_LINE, "a part has no end of line");
        assert_eq!((lines[2]["log"].as_str(), lines[2]["stream"].as_str()), (Some("x"), Some("stderr")));
    }

    #[test]
    fn attributes_stand_in_every_line_of_json() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_as(directory.path(), 1 << 20, LogFormat::Json);
        file(&mut log).config.attrs.insert("tag".to_owned(), "web".to_owned());
        log.write(1, b"x\n");
        let text = fs::read_to_string(directory.path().join("log")).unwrap();
        assert!(text.contains(r#""attrs":{"tag":"web"}"#), "{text}");
    }
}

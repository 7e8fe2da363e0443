//! Reading a container's log files, which its shim writes in the CRI's format
//! (`<RFC 3339 with nanoseconds> stdout|stderr F|P <text>`) or in Docker's JSON, one entry a line, rotated by size to
//! `.1`, `.2`, …, or compressed to `.1.gz`, `.2.gz`, ….
//!
//! A reader holds a descriptor, so rotation never cuts it off: at the end of a file that was renamed it goes on
//! with the next newer one, found by inode. Nothing is held in memory but one chunk.

use crate::container::Life;
use crate::error::{EngineError, io};
use crate::{LogLine, LogOptions, LogStream, Stream};
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use futures::{StreamExt, stream};
use hako_error::Result;
use jiff::Timestamp;
use rustix::fs::inotify;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

const CHUNK: usize = 64 << 10;
/// How often a follower looks where the kernel gives no inotify instance.
const POLL: Duration = Duration::from_millis(100);

/// The lines that `options` ask for. `state` tells a follower when the container has exited; after that it reads
/// what is left and ends.
pub(crate) fn read(path: PathBuf, options: LogOptions, state: watch::Receiver<Life>) -> Result<LogStream> {
    let position = Position::start(&path, options.tail)?;
    let notify = if options.follow { Notify::new(&path) } else { Notify::Poll };
    let left = options.limit_bytes;
    let reader =
        Reader { path, options, state, position, notify, pending: VecDeque::new(), left, done: false };
    Ok(stream::try_unfold(
        reader,
        |mut reader| async move { Ok(reader.next().await?.map(|line| (line, reader))) },
    )
    .boxed())
}

/// A place in the files.
struct Position {
    file: Option<Open>,
    offset: u64,
    rest: BytesMut,
}

struct Reader {
    path: PathBuf,
    options: LogOptions,
    state: watch::Receiver<Life>,
    position: Position,
    notify: Notify,
    pending: VecDeque<LogLine>,
    left: Option<u64>,
    done: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Ok(self.within_limit(line));
            }
            if self.done {
                return Ok(None);
            }
            // Read before looking for data: what was written before an exit is seen after it.
            let left = self.until_the_end();
            let is_over = !self.options.follow
                || left == Some(Duration::ZERO)
                || self.state.borrow().is_over()
                || self.state.has_changed().is_err();
            if self.fill()? {
                continue;
            }
            if is_over {
                self.done = true;
                continue;
            }
            tokio::select! {
                () = self.notify.wait() => {}
                _ = self.state.changed() => {}
                () = tokio::time::sleep(left.unwrap_or(Duration::MAX)) => {}
            }
        }
    }

    /// How long lines may still come that are wanted; `None` where that has no end.
    fn until_the_end(&self) -> Option<Duration> {
        let left = Timestamp::now().duration_until(self.options.until?);
        // Rounded up, so that who waits for it does not wake before it.
        Some(Duration::try_from(left).map_or(Duration::ZERO, |left| left + Duration::from_millis(1)))
    }

    fn within_limit(&mut self, mut line: LogLine) -> Option<LogLine> {
        let Some(left) = &mut self.left else {
            return Some(line);
        };
        if *left == 0 {
            self.done = true;
            self.pending.clear();
            return None;
        }
        let take = usize::try_from(*left).unwrap_or(usize::MAX).min(line.bytes.len());
        line.bytes.truncate(take);
        *left -= take as u64;
        Some(line)
    }

    /// Reads one chunk into `pending`; false at the end of everything that is there.
    fn fill(&mut self) -> Result<bool, EngineError> {
        let (read, lines) = self.position.read(&self.path)?;
        for line in lines {
            let Some(line) = parse(&line) else { continue };
            if self.options.until.is_some_and(|until| line.time > until) {
                self.done = true;
                break;
            }
            let wanted = match line.stream {
                Stream::Stdout => self.options.stdout,
                Stream::Stderr => self.options.stderr,
            };
            if wanted && self.options.since.is_none_or(|since| line.time >= since) {
                self.pending.push_back(line);
            }
        }
        Ok(read)
    }
}

impl Position {
    /// The oldest line there is, or the first of the last `tail` ones.
    fn start(path: &Path, tail: Option<u64>) -> Result<Self, EngineError> {
        let files = files(path)?;
        let mut at = Self { file: None, offset: 0, rest: BytesMut::new() };
        let Some(tail) = tail else {
            at.file = files.into_iter().next().map(|part| part.open(path)).transpose()?;
            return Ok(at);
        };
        let mut wanted = tail;
        for file in files.into_iter().rev() {
            let file = file.open(path)?;
            let (offset, found) = last_lines(&file.text, wanted).map_err(io("read", path))?;
            at = Self { file: Some(file), offset, rest: BytesMut::new() };
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        Ok(at)
    }

    /// One chunk's complete lines, and whether anything was read or the file changed.
    fn read(&mut self, path: &Path) -> Result<(bool, Vec<Bytes>), EngineError> {
        if self.file.is_none() {
            self.file = files(path)?.into_iter().next().map(|part| part.open(path)).transpose()?;
        }
        let Some(file) = &self.file else {
            return Ok((false, Vec::new()));
        };
        let mut chunk = vec![0; CHUNK];
        let mut read = file.text.read_at(&mut chunk, self.offset).map_err(io("read", path))?;
        if read == 0 {
            let Some(next) = successor(path, file)? else {
                return Ok((false, Vec::new()));
            };
            // The shim may have written between our read and its rename: the old file is final only now.
            read = file.text.read_at(&mut chunk, self.offset).map_err(io("read", path))?;
            if read == 0 {
                self.file = Some(next);
                self.offset = 0;
                return Ok((true, Vec::new()));
            }
        }
        self.offset += read as u64;
        self.rest.extend_from_slice(&chunk[..read]);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            lines.push(self.rest.split_to(end + 1).freeze());
        }
        Ok((true, lines))
    }
}

/// Device and inode of a file.
type Identity = (u64, u64);

/// One of a log's files, open and not read.
struct Part {
    file: File,
    /// Its own.
    identity: Identity,
    /// Of the file that was compressed to it; its own where it is not compressed.
    written_as: Identity,
    is_compressed: bool,
}

/// A file that is being read, as text.
struct Open {
    text: File,
    /// Held, so that its inode is nobody else's.
    part: Part,
}

impl Part {
    fn find(name: &Path) -> std::io::Result<Self> {
        let file = File::open(name)?;
        let is_compressed = name.extension().is_some_and(|extension| extension == "gz");
        let identity = inode(&file)?;
        let written_as = if is_compressed { written_as(&file)? } else { identity };
        Ok(Self { file, identity, written_as, is_compressed })
    }

    /// A compressed one becomes text in memory, for as long as it is read.
    fn open(self, path: &Path) -> Result<Open, EngineError> {
        let text = || -> std::io::Result<File> {
            if !self.is_compressed {
                return self.file.try_clone();
            }
            let mut text = File::from(rustix::fs::memfd_create("log", rustix::fs::MemfdFlags::CLOEXEC)?);
            (&self.file).seek(std::io::SeekFrom::Start(0))?;
            std::io::copy(&mut GzDecoder::new(&self.file), &mut text)?;
            Ok(text)
        };
        Ok(Open { text: text().map_err(io("read", path))?, part: self })
    }
}

/// What the comment of a compressed file says.
fn written_as(file: &File) -> std::io::Result<Identity> {
    let mut decoder = GzDecoder::new(file);
    // The header is read with the first byte.
    let _first = decoder.read(&mut [0])?;
    let comment = decoder.header().and_then(|header| header.comment()).unwrap_or_default();
    let numbers = std::str::from_utf8(comment).ok().and_then(|text| text.split_once(':'));
    let numbers = numbers.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    numbers.map_or_else(|| inode(file), Ok)
}

/// All files of a log, oldest first. A rotation while they are opened could hide one between two others, so what was
/// opened counts only if the names still lead to the same files afterwards.
fn files(path: &Path) -> Result<Vec<Part>, EngineError> {
    loop {
        let names = names(path);
        let mut open = Vec::new();
        let mut is_stable = true;
        for name in &names {
            match Part::find(name) {
                Ok(part) => open.push((name, part)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => is_stable &= name == path,
                Err(error) => return Err(io("open", name)(error)),
            }
        }
        let is_same = |(name, part): &(&PathBuf, Part)| {
            let now =
                std::fs::metadata(name).and_then(|meta| Ok((meta.dev(), meta.ino()) == inode(&part.file)?));
            now.unwrap_or(false)
        };
        if is_stable && open.iter().all(is_same) && self::names(path) == names {
            return Ok(open.into_iter().map(|(_, part)| part).collect());
        }
    }
}

fn inode(file: &File) -> std::io::Result<Identity> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}

/// The names of a log's files, oldest first, the one that is written now last.
fn names(path: &Path) -> Vec<PathBuf> {
    let mut numbers = BTreeMap::new();
    let (dir, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default().to_string_lossy());
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(rest) = file.to_str().and_then(|file| file.strip_prefix(&*name)?.strip_prefix('.')) else {
            continue;
        };
        let plain = rest.strip_suffix(".gz").unwrap_or(rest);
        if let Ok(number) = plain.parse::<u32>() {
            // While a file is compressed it is there in both forms.
            let is_plain = numbers.entry(number).or_insert(plain == rest);
            *is_plain |= plain == rest;
        }
    }
    let named = |(number, is_plain): (u32, bool)| {
        PathBuf::from(format!("{}.{number}{}", path.display(), if is_plain { "" } else { ".gz" }))
    };
    numbers.into_iter().rev().map(named).chain([path.to_owned()]).collect()
}

/// The next newer file than `file`, the oldest one when `file` is no longer there, `None` when it is the newest.
fn successor(path: &Path, file: &Open) -> Result<Option<Open>, EngineError> {
    let newest = std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let own = file.part.identity;
    if newest == Some(own) {
        return Ok(None);
    }
    let mut all = files(path)?;
    // A file that was compressed meanwhile is the newest that says so: inodes of those before it are used again.
    let is_same = |part: &Part| match file.part.is_compressed {
        true => part.identity == own,
        false => part.written_as == own,
    };
    let at = all.iter().rposition(is_same);
    let next = at.map_or(0, |at| at + 1);
    (next < all.len()).then(|| all.swap_remove(next)).map(|part| part.open(path)).transpose()
}

/// Where the last `wanted` lines begin, and how many there are.
fn last_lines(file: &File, wanted: u64) -> std::io::Result<(u64, u64)> {
    let size = file.metadata()?.len();
    let (mut end, mut found) = (size, 0);
    if wanted == 0 {
        return Ok((size, 0));
    }
    let mut chunk = vec![0; CHUNK];
    while end > 0 {
        let begin = end.saturating_sub(CHUNK as u64);
        let part = usize::try_from(end - begin).unwrap_or(CHUNK);
        file.read_exact_at(&mut chunk[..part], begin)?;
        for at in (0..part).rev() {
            let place = begin + at as u64;
            if chunk[at] == b'\n' && place + 1 < size {
                found += 1;
                if found == wanted {
                    return Ok((place + 1, found));
                }
            }
        }
        end = begin;
    }
    Ok((0, found + u64::from(size > 0)))
}

/// One line of Docker's json-file.
#[derive(Deserialize)]
struct JsonLine {
    log: String,
    stream: Stream,
    time: Timestamp,
}

/// One entry. A line that is not in the format is skipped: the disk was full while it was written.
fn parse(line: &Bytes) -> Option<LogLine> {
    let text: &[u8] = line;
    if text.starts_with(b"{") {
        let JsonLine { log, stream, time } = serde_json::from_slice(text).ok()?;
        let partial = !log.ends_with('\n');
        return Some(LogLine { time, stream, partial, bytes: log.into() });
    }
    let space = |from: usize| Some(from + text.get(from..)?.iter().position(|byte| *byte == b' ')?);
    let first = space(0)?;
    let second = space(first + 1)?;
    let third = space(second + 1)?;
    let time: Timestamp = std::str::from_utf8(&text[..first]).ok()?.parse().ok()?;
    let stream = match &text[first + 1..second] {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = text[second + 1..third].starts_with(b"P");
    let end = if partial { line.len() - 1 } else { line.len() };
    Some(LogLine { time, stream, partial, bytes: line.slice(third + 1..end) })
}

/// Wakes a follower when something in the log's directory changed.
enum Notify {
    Inotify(AsyncFd<OwnedFd>),
    Poll,
}

impl Notify {
    fn new(path: &Path) -> Self {
        Self::inotify(path.parent().unwrap_or(path)).unwrap_or(Self::Poll)
    }

    fn inotify(dir: &Path) -> std::io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, dir, what | inotify::WatchFlags::ONLYDIR)?;
        #[expect(deprecated, reason = "sound for an OwnedFd, and its successor is unsafe")]
        let watched = AsyncFd::new(fd)?;
        Ok(Self::Inotify(watched))
    }

    async fn wait(&mut self) {
        let Self::Inotify(fd) = self else {
            return tokio::time::sleep(POLL).await;
        };
        let mut events = [0_u8; 4096];
        let drained = match fd.readable().await {
            Ok(mut guard) => guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut events)?)).map(drop),
            Err(_) => return tokio::time::sleep(POLL).await,
        };
        // A false alarm is as good as a change: the caller looks.
        drop(drained);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(second: u32, stream: &str, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000001Z {stream} F {text}\n")
    }

    fn texts(lines: &[LogLine]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).trim_end().to_owned()).collect()
    }

    async fn collect(path: &Path, options: LogOptions) -> Vec<LogLine> {
        let (_state, state) = watch::channel(Life::new(crate::ContainerState::Created));
        read(path.to_owned(), options, state).unwrap().map(|line| line.unwrap()).collect().await
    }

    fn three_files(dir: &Path) -> PathBuf {
        let path = dir.join("container.log");
        std::fs::write(dir.join("container.log.2"), line(1, "stdout", "a") + &line(2, "stderr", "b"))
            .unwrap();
        std::fs::write(dir.join("container.log.1"), line(3, "stdout", "c")).unwrap();
        std::fs::write(&path, line(4, "stdout", "d") + "garbage\n" + &line(5, "stdout", "e")).unwrap();
        path
    }

    #[tokio::test]
    async fn all_files_are_read_oldest_first_and_filters_hold() {
        let tmp = tempfile::tempdir().unwrap();
        let path = three_files(tmp.path());
        let all = LogOptions::default();
        assert_eq!(texts(&collect(&path, all.clone()).await), ["a", "b", "c", "d", "e"]);
        let tail = |count| LogOptions { tail: Some(count), ..all.clone() };
        assert_eq!(texts(&collect(&path, tail(1)).await), ["e"]);
        assert_eq!(texts(&collect(&path, tail(4)).await), ["c", "d", "e"]);
        assert_eq!(texts(&collect(&path, tail(0)).await), Vec::<String>::new());
        assert_eq!(texts(&collect(&path, tail(100)).await).len(), 5);
        let stderr = LogOptions { stdout: false, ..all.clone() };
        assert_eq!(texts(&collect(&path, stderr).await), ["b"]);
        let since = LogOptions { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..all.clone() };
        assert_eq!(texts(&collect(&path, since).await), ["c", "d", "e"]);
        let until = LogOptions { until: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..all.clone() };
        assert_eq!(texts(&collect(&path, until).await), ["a", "b"]);
        let limited = LogOptions { limit_bytes: Some(3), ..all };
        assert_eq!(texts(&collect(&path, limited).await), ["a", "b"]);
    }

    #[tokio::test]
    async fn a_follower_survives_rotation_and_ends_after_the_exit() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("container.log");
        let (state, watching) = watch::channel(Life::new(crate::ContainerState::Created));
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut lines = read(path.clone(), options, watching).unwrap();
        let writer = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                for round in 0..20 {
                    let mut file = File::options().create(true).append(true).open(&path).unwrap();
                    for second in 0..3 {
                        file.write_all(line(second, "stdout", &format!("{round}-{second}")).as_bytes())
                            .unwrap();
                    }
                    for number in (1..30).rev() {
                        let name = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
                        let _ = std::fs::rename(name(number), name(number + 1));
                    }
                    std::fs::rename(&path, format!("{}.1", path.display())).unwrap();
                }
            })
        };
        let mut seen = Vec::new();
        for _ in 0..60 {
            seen.push(lines.next().await.unwrap().unwrap());
        }
        writer.await.unwrap();
        let expected: Vec<String> =
            (0..20).flat_map(|round| (0..3).map(move |second| format!("{round}-{second}"))).collect();
        assert_eq!(texts(&seen), expected);
        state.send_modify(|life| life.removed = true);
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn compressed_files_are_read_and_known_to_who_had_them_open() {
        let tmp = tempfile::tempdir().unwrap();
        let path = three_files(tmp.path());
        let older = tmp.path().join("container.log.2");
        let open = Part::find(&older).unwrap().open(&path).unwrap();
        let file = File::create(tmp.path().join("container.log.2.gz")).unwrap();
        let comment = format!("{}:{}", open.part.identity.0, open.part.identity.1);
        let mut out = flate2::GzBuilder::new().comment(comment).write(file, flate2::Compression::fast());
        out.write_all(&std::fs::read(&older).unwrap()).unwrap();
        out.finish().unwrap();
        assert_eq!(
            texts(&collect(&path, LogOptions::default()).await),
            ["a", "b", "c", "d", "e"],
            "both forms"
        );
        std::fs::remove_file(&older).unwrap();
        assert_eq!(texts(&collect(&path, LogOptions::default()).await), ["a", "b", "c", "d", "e"]);
        let tail = LogOptions { tail: Some(5), ..LogOptions::default() };
        assert_eq!(texts(&collect(&path, tail).await), ["b", "c", "d", "e"]);
        let next = successor(&path, &open).unwrap().unwrap();
        assert_eq!(next.part.identity, Part::find(&tmp.path().join("container.log.1")).unwrap().identity);
    }

    #[test]
    fn lines_of_json_are_entries_too() {
        let line =
            br#"{"log":"a \"b\"\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-01-01T00:00:00.5Z"}"#;
        let whole = parse(&Bytes::from_static(line)).unwrap();
        assert_eq!(
            (whole.stream, whole.partial, &whole.bytes[..]),
            (Stream::Stderr, false, &b"a \"b\"\n"[..])
        );
        let part = br#"{"log":"a","stream":"stdout","time":"2026-01-01T00:00:00Z"}"#;
        assert!(parse(&Bytes::from_static(part)).unwrap().partial);
        assert_eq!(parse(&Bytes::from_static(b"{\"log\":\"cut")), None);
    }

    #[test]
    fn partial_entries_lose_their_newline_and_full_ones_keep_it() {
        let full = parse(&Bytes::from_static(b"2026-01-01T00:00:00Z stderr F a b\n")).unwrap();
        assert_eq!(
            (full.stream, full.partial, full.bytes),
            (Stream::Stderr, false, Bytes::from_static(b"a b\n"))
        );
        let part = parse(&Bytes::from_static(b"2026-01-01T00:00:00Z stdout P x\n")).unwrap();
        assert_eq!((part.partial, part.bytes), (true, Bytes::from_static(b"x")));
        assert_eq!(parse(&Bytes::from_static(b"nonsense\n")), None);
    }
}

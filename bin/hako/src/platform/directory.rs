//! The data directory: its lock, its instance, and the file by which commands find the process.

use crate::locate::{HOME_LINK, Running};
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A data directory that this process alone works on.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    instance: String,
    /// Held as long as the process lives; the kernel lets go of it after `kill -9` too.
    _lock: File,
}

impl DataDir {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        refuse_foreign(path)?;
        make_private(path)?;
        let lock = lock(path)?;
        let instance = instance(path)?;
        let directory = Self { path: path.into(), instance, _lock: lock };
        make_private(&directory.run())?;
        directory.point_back()?;
        Ok(directory)
    }

    /// Six hex digits that name the platform's links, table and cgroups.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// A file or directory below.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where sockets and secrets are.
    pub(super) fn run(&self) -> PathBuf {
        run_dir(&self.instance)
    }

    /// Lets commands that know the socket find the directory.
    fn point_back(&self) -> anyhow::Result<()> {
        let link = self.run().join(HOME_LINK);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&self.path, &link).with_context(|| format!("make {}", link.display()))
    }

    /// Says that the platform is ready and where.
    pub(super) fn publish(&self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(running)?;
        let path = self.join("server.json");
        write_atomic(&path, &text).or_else(|error| match is_full(&error) {
            true => overwrite(&path, &text).map_err(|_| error),
            false => Err(error),
        })
    }
}

/// Where a restore prepares what it brings back.
pub(crate) const RESTORING: &str = "restoring";

/// A directory with other people's files would lose them to `hako down --purge`.
pub(crate) fn refuse_foreign(path: &Path) -> anyhow::Result<()> {
    /// What there may be before the instance is drawn.
    const FIRST: [&str; 4] = ["lock", "hako.log", "instance.new", "lost+found"];
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let is_ours = names.iter().any(|name| name == "instance");
    if !is_ours && names.iter().any(|name| name == RESTORING) {
        bail!("a restore into {} was not finished: run `hako restore` again", path.display());
    }
    match names.iter().find(|name| !FIRST.iter().any(|first| name == first)) {
        Some(foreign) if !is_ours => bail!(
            "{} is not empty and no data directory of hako (it has {}): choose an empty or a new one with --data-dir",
            path.display(),
            foreign.display()
        ),
        _ => Ok(()),
    }
}

/// Whether there is nothing yet: whatever a first start leaves behind is its own. One that starts in the background
/// has found its log, which is not its own to remove.
pub(crate) fn is_unused(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().all(|entry| entry.file_name() == "lost+found"),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn run_dir(instance: &str) -> PathBuf {
    Path::new("/run/hako").join(instance)
}

/// Makes a directory that only root may enter: images hold set-uid programs, objects hold secrets. An older one gets
/// the mode too.
pub(crate) fn make_private(path: &Path) -> anyhow::Result<()> {
    const OWNER_ONLY: u32 = 0o700;
    let made = std::fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path);
    made.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(OWNER_ONLY)))
        .with_context(|| format!("create directory {}", path.display()))
}

fn is_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let source = error.downcast_ref::<std::io::Error>();
    source.is_some_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded))
}

/// Writes into the blocks that a file has: on a full disk there are no others, and what fills it is only removed by a
/// platform that runs.
fn overwrite(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    tracing::warn!(path = %path.display(), "the disk is full: remove what is not needed");
    Ok(())
}

/// Writes beside and renames: readers see the old file or the new one.
fn write_atomic(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        std::fs::rename(&beside, path)
    };
    let written = write().inspect_err(|_| {
        let _part = std::fs::remove_file(&beside);
    });
    written.with_context(|| format!("write {}", path.display()))
}

fn lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join("lock");
    let open = File::options().create(true).read(true).write(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.with_context(|| format!("open {}", path.display()))?;
    let began = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = pid_in(&mut file);
        let patience = if holder.is_some_and(lives) { PATIENCE } else { PATIENCE_WITH_THE_DEAD };
        if began.elapsed() > patience {
            let holder = holder.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            bail!(
                "another hako{holder} runs on {0}: stop it with `hako down --data-dir {0}` or choose another --data-dir",
                directory.display()
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    file.rewind()?;
    file.set_len(0)?;
    write!(file, "{}", std::process::id()).with_context(|| format!("write {}", path.display()))?;
    Ok(file)
}

/// A killed process keeps its lock until the kernel has taken it apart, which waits for its writes to end; a
/// command that asks who holds the lock has it for a moment.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_secs(10);

/// Whether the process still has its memory: one that is being taken apart has none.
fn lives(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The process that works on a data directory, if one does.
pub(crate) fn lock_holder(directory: &Path) -> anyhow::Result<Option<u32>> {
    let path = directory.join("lock");
    let Ok(mut file) = File::open(&path) else { return Ok(None) };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let pid =
        pid_in(&mut file).with_context(|| format!("{} is held, but names no process", path.display()))?;
    Ok(Some(pid))
}

/// Gives back what a directory holds of the machine's address space, when it is to be removed for good.
pub(crate) fn release(directory: &Path) {
    if let Ok(instance) = instance(directory) {
        hako_network::release_ranges(&instance, &directory.join("network"));
    }
}

/// Makes a directory one of ours.
pub(crate) fn claim(directory: &Path) -> anyhow::Result<()> {
    instance(directory).map(drop)
}

/// The directory's instance, drawn at its first start.
fn instance(directory: &Path) -> anyhow::Result<String> {
    let path = directory.join("instance");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let text = text.trim().to_owned();
        let is_instance = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_instance {
            bail!("{} is damaged: expected six hex digits, found {text:?}", path.display());
        }
        return Ok(text);
    }
    let mut random = [0; 3];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .context("draw an instance")?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_atomic(&path, text.as_bytes())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_instance_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let first = instance(directory.path()).unwrap();
        assert_eq!(instance(directory.path()).unwrap(), first);
        std::fs::write(directory.path().join("instance"), "../../x").unwrap();
        assert!(instance(directory.path()).is_err());
    }

    /// A file system of two blocks.
    struct Small(tempfile::TempDir);

    impl Small {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (flags, options) = (rustix::mount::MountFlags::empty(), c"size=8k");
            rustix::mount::mount("tmpfs", directory.path(), "tmpfs", flags, options).unwrap();
            Self(directory)
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
        }
    }

    #[test]
    fn a_platform_says_where_it_is_also_on_a_full_disk() {
        let small = Small::new();
        let path = small.0.path();
        let directory = DataDir {
            path: path.to_owned(),
            instance: "aaaaaa".to_owned(),
            _lock: File::open("/dev/null").unwrap(),
        };
        let running = |pid, socket: &str| Running {
            pid,
            instance: "aaaaaa".to_owned(),
            engine_socket: socket.into(),
            docker_sockets: Vec::new(),
            cluster: None,
        };
        directory.publish(&running(123_456, "/run/a/long/way/off.sock")).unwrap();
        let filled = std::fs::write(path.join("filler"), vec![1; 1 << 20]).unwrap_err();
        assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
        directory.publish(&running(7, "/run/x.sock")).unwrap();
        let told: Running =
            serde_json::from_slice(&std::fs::read(path.join("server.json")).unwrap()).unwrap();
        assert_eq!((told.pid, told.engine_socket), (7, "/run/x.sock".into()));
        assert!(!path.join("server.new").exists());
        // Without blocks of its own it cannot be told.
        std::fs::remove_file(path.join("server.json")).unwrap();
        std::fs::write(path.join("filler"), vec![1; 8192]).unwrap();
        let error = directory.publish(&running(7, "/run/x.sock")).unwrap_err();
        assert!(is_full(&error), "{error:#}");
    }

    #[test]
    fn only_root_enters_a_directory_also_one_that_was_open_before() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        make_private(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn the_lock_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(lock_holder(directory.path()).unwrap(), None);
        let held = lock(directory.path()).unwrap();
        assert_eq!(lock_holder(directory.path()).unwrap(), Some(std::process::id()));
        let error = lock(directory.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("hako down"), "{error}");
        drop(held);
        assert_eq!(lock_holder(directory.path()).unwrap(), None);
    }
}

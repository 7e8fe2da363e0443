//! The corpus, built here and by buildah from the same files: trees and configurations entry by entry.

use crate::bed::Bed;
use hako_build::BuildRequest;
use hako_image::transfer::Progress;
use hako_image::{Image, SaveFormat};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What needs more than buildah 1.28 knows; README.md of the corpus says what.
const BEYOND: [&str; 9] = [
    "case-does-not-matter",
    "copy-patterns",
    "env-modifiers",
    "go-cache-mounts",
    "python-pip-cache",
    "mount-secret-env",
    "mount-tmpfs-and-cache",
    "onbuild-within",
    "run-network",
];
/// Words of files that only a newer BuildKit reads.
const BEYOND_WORDS: [&str; 6] = ["<<", "--link", "--parents", "--exclude", "--unpack", "--chmod=u"];
/// Where programs that run containers put something of their own.
const STUBS: [&str; 7] = ["dev", "proc", "sys", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// Where buildah 1.28 does something else than the Dockerfile reference says: file, entry or field.
const KNOWN: [(&str, &str); 7] = [
    // Reference, SHELL: it counts for the shell form of RUN, CMD and ENTRYPOINT alike; buildah takes the default for
    // CMD.
    ("commands-shell-forms", "Cmd"),
    // Reference, escape: with a backtick the backslash is a character like others; buildah's ENV still eats it.
    ("escape-backtick", "Env"),
    // Reference, VOLUME: a mount point is declared, and BuildKit leaves files as they are; buildah makes the
    // directory.
    ("nginx-spa", "var/cache"),
    ("nginx-spa", "var/cache/nginx"),
    ("stage-inherits", "v"),
    // Reference, ARG, scope: a stage has the arguments of the stage that it stands on; in buildah they end with it.
    ("stage-inherits", "tmp/values"),
    // Ports are given one by one in an image's configuration (image specification, `ExposedPorts`: `port/protocol`);
    // buildah leaves the range of the file.
    ("volumes-and-ports", "ExposedPorts"),
];
const FIELDS: [&str; 11] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Shell",
    "OnBuild",
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Every entry below `root` with what copying must keep; times are not compared.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if STUBS.contains(&name.as_str()) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).unwrap();
            let kind = metadata.file_type();
            let content = if kind.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if kind.is_file() {
                hako_names::Digest::of(&fs::read(&path).unwrap()).short()
            } else if kind.is_fifo() {
                "fifo".to_owned()
            } else {
                "dir".to_owned()
            };
            let mode = if kind.is_symlink() { 0 } else { metadata.mode() & 0o7777 };
            found.insert(name, format!("{mode:o} {}:{} {content}", metadata.uid(), metadata.gid()));
            if kind.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

fn config(image: &Image) -> BTreeMap<&'static str, Value> {
    let mut fields = BTreeMap::new();
    for name in FIELDS {
        let mut value = image.raw_config["config"][name].clone();
        if let Some(labels) = value.as_object_mut() {
            labels.remove("io.buildah.version");
        }
        let is_empty = match &value {
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::String(text) => text.is_empty() || name == "WorkingDir" && text == "/",
            _ => value.is_null(),
        };
        if !is_empty {
            fields.insert(name, value);
        }
    }
    fields
}

/// Buildah with a store of its own in memory: on a disk it spends its time on syncing.
struct Buildah {
    dir: tempfile::TempDir,
}

impl Buildah {
    fn new(busybox: &Path) -> Self {
        let buildah = Self { dir: tempfile::tempdir_in("/dev/shm").unwrap() };
        buildah.run(&["pull", "-q", &format!("oci-archive:{}", busybox.display())]).unwrap();
        buildah
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.dir.path().join("root"));
        command.arg("--runroot").arg(self.dir.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments).env("TMPDIR", self.dir.path());
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The same file by buildah, taken into our store to be looked at.
    fn build(&self, bed: &Bed, file: &Path) -> Result<Image, String> {
        let archive = self.dir.path().join("built.tar");
        let _ = fs::remove_file(&archive);
        let (file, context) = (file.display().to_string(), corpus().join("context").display().to_string());
        let bud = ["bud", "--isolation", "chroot", "--network", "host", "--format", "docker", "--pull-never"];
        self.run(&[&bud[..], &["-t", "peer", "-f", &file, &context]].concat())?;
        self.run(&["push", "-q", "peer", &format!("docker-archive:{}:peer:latest", archive.display())])?;
        let loaded = bed.images.load(File::open(&archive).unwrap(), &Progress::none()).unwrap();
        Ok(loaded[0].clone())
    }
}

/// What comparing found.
#[derive(Default)]
struct Found {
    compared: usize,
    differences: Vec<String>,
    /// What the peer cannot build says nothing about us.
    unbuilt: Vec<String>,
}

/// Where two descriptions of the same thing differ without that being known.
fn differences<K: Ord + AsRef<str>, V: PartialEq + std::fmt::Debug>(
    name: &str,
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
    let differs =
        |key: &&K| ours.get(*key) != theirs.get(*key) && !KNOWN.contains(&(name, AsRef::as_ref(*key)));
    let say =
        |key: &K| format!("{name}: {}: {:?}, buildah {:?}", key.as_ref(), ours.get(key), theirs.get(key));
    keys.into_iter().filter(differs).map(say).collect()
}

fn compare(bed: &Bed, buildah: &Buildah, file: &Path, found: &mut Found) {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let request = BuildRequest {
        context: corpus().join("context"),
        dockerfile: Some(file.to_owned()),
        ..bed.request()
    };
    let ours = bed.run(request).result.map(|built| built.image.unwrap());
    match (ours, buildah.build(bed, file)) {
        (Ok(ours), Ok(theirs)) => {
            found.compared += 1;
            found.differences.extend(differences(&name, &bed.look(&ours, tree), &bed.look(&theirs, tree)));
            found.differences.extend(differences(&name, &config(&ours), &config(&theirs)));
        }
        (Ok(_), Err(error)) => found.unbuilt.push(format!("{name}: {error}")),
        (ours, theirs) => {
            let ours = ours.err().map(|error| error.chain());
            found.differences.push(format!("{name}: {ours:?}, buildah {:?}", theirs.err()));
        }
    }
}

/// The files of the corpus that buildah knows all of.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let is_dockerfile = path.extension().is_some_and(|extension| extension == "Dockerfile");
        let name = path.file_stem().unwrap().to_string_lossy();
        is_dockerfile && !BEYOND.contains(&&*name) && {
            let text = fs::read_to_string(path).unwrap();
            !BEYOND_WORDS.iter().any(|word| text.contains(word))
        }
    });
    files.sort();
    files
}

#[test]
fn the_corpus_comes_out_as_buildah_makes_it() {
    let (todo, found) = (Mutex::new(files()), Mutex::new(Found::default()));
    let work = || {
        let bed = Bed::new("");
        let base = bed.dir.path().join("busybox.tar");
        let busybox = bed.images.find("busybox").unwrap();
        let named = [(busybox, vec!["localhost/busybox:latest".parse().unwrap()])];
        bed.images.save(&named, SaveFormat::Oci, File::create(&base).unwrap()).unwrap();
        let buildah = Buildah::new(&base);
        loop {
            let Some(file) = todo.lock().unwrap().pop() else { break };
            let mut of_file = Found::default();
            compare(&bed, &buildah, &file, &mut of_file);
            let mut found = found.lock().unwrap();
            found.compared += of_file.compared;
            found.differences.extend(of_file.differences);
            found.unbuilt.extend(of_file.unbuilt);
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
    let Found { compared, differences, unbuilt } = found.into_inner().unwrap();
    assert!(differences.is_empty(), "{compared} compared\n{}", differences.join("\n"));
    assert!(unbuilt.is_empty(), "buildah failed at\n{}", unbuilt.join("\n"));
    assert!(compared >= 40, "{compared} compared");
}

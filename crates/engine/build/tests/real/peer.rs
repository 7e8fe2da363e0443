//! The corpus, built here and by buildah from the same files: trees and configurations entry by entry.

use crate::bed::Bed;
use hako_build::BuildRequest;
use hako_image::transfer::Progress;
use hako_image::{Image, SaveFormat};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What needs more than buildah 1.28 knows; README.md of the corpus says what.
const BEYOND: [&str; 7] = [
    "case-does-not-matter",
    "copy-patterns",
    "env-modifiers",
    "go-cache-mounts",
    "python-pip-cache",
    "onbuild-within",
    "run-network",
];
/// Words of files that only a newer BuildKit reads.
const BEYOND_WORDS: [&str; 6] = ["<<", "--link", "--parents", "--exclude", "--unpack", "--chmod=u"];
/// Where programs that run containers put something of their own.
const STUBS: [&str; 7] = ["dev", "proc", "sys", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// Where buildah 1.28 does something else than BuildKit: file, entry or field.
const KNOWN: [(&str, &str); 7] = [
    // The shell of a later SHELL does not count for CMD.
    ("commands-shell-forms", "Cmd"),
    // A backslash escapes also where `# escape` names another character.
    ("escape-backtick", "Env"),
    // VOLUME makes the directory.
    ("nginx-spa", "var/cache"),
    ("nginx-spa", "var/cache/nginx"),
    // What id(1) says within chroot isolation.
    ("user-by-name", "tmp/u"),
    ("user-by-name", "tmp/u-root"),
    // A range of ports stays a range.
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

struct Buildah<'a> {
    bed: &'a Bed,
}

impl Buildah<'_> {
    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let root = self.bed.dir.path().join("buildah");
        let mut command = Command::new("buildah");
        command.arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments).env("TMPDIR", self.bed.dir.path());
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The same file by buildah, taken into our store to be looked at.
    fn build(&self, file: &Path) -> Result<Image, String> {
        let archive = self.bed.dir.path().join("built.tar");
        let _ = fs::remove_file(&archive);
        let (file, context) = (file.display().to_string(), corpus().join("context").display().to_string());
        let bud = ["bud", "--isolation", "chroot", "--network", "host", "--format", "docker", "--pull-never"];
        self.run(&[&bud[..], &["-t", "peer", "-f", &file, &context]].concat())?;
        self.run(&["push", "-q", "peer", &format!("docker-archive:{}:peer:latest", archive.display())])?;
        let loaded = self.bed.images.load(File::open(&archive).unwrap(), &Progress::none()).unwrap();
        Ok(loaded[0].clone())
    }
}

#[test]
fn the_corpus_comes_out_as_buildah_makes_it() {
    let bed = Bed::new("");
    let buildah = Buildah { bed: &bed };
    let base = bed.dir.path().join("busybox.tar");
    let busybox = bed.images.find("busybox").unwrap();
    let named = [(busybox, vec!["localhost/busybox:latest".parse().unwrap()])];
    bed.images.save(&named, SaveFormat::Oci, File::create(&base).unwrap()).unwrap();
    buildah.run(&["pull", "-q", &format!("oci-archive:{}", base.display())]).unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    files.sort();
    let (mut compared, mut differences, mut unbuilt) = (0, Vec::new(), Vec::new());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        if BEYOND.contains(&name.as_str()) || BEYOND_WORDS.iter().any(|word| text.contains(word)) {
            continue;
        }
        let request = BuildRequest {
            context: corpus().join("context"),
            dockerfile: Some(file.clone()),
            ..bed.request()
        };
        let ours = bed.run(request).result.map(|built| built.image.unwrap());
        match (ours, buildah.build(&file)) {
            (Ok(ours), Ok(theirs)) => {
                compared += 1;
                let (a, b) = (bed.look(&ours, tree), bed.look(&theirs, tree));
                for path in a.keys().chain(b.keys()).collect::<std::collections::BTreeSet<_>>() {
                    if a.get(path) != b.get(path) && !KNOWN.contains(&(&*name, &**path)) {
                        differences.push(format!(
                            "{name}: {path}: {:?}, buildah {:?}",
                            a.get(path),
                            b.get(path)
                        ));
                    }
                }
                let (a, b) = (config(&ours), config(&theirs));
                let differs =
                    |field: &&&str| a.get(**field) != b.get(**field) && !KNOWN.contains(&(&*name, **field));
                for field in FIELDS.iter().filter(differs) {
                    differences.push(format!(
                        "{name}: {field}: {:?}, buildah {:?}",
                        a.get(field),
                        b.get(field)
                    ));
                }
            }
            // What the peer cannot do says nothing about us.
            (Ok(_), Err(error)) => unbuilt.push(format!("{name}: {error}")),
            (ours, theirs) => {
                let ours = ours.err().map(|error| error.chain());
                differences.push(format!("{name}: {ours:?}, buildah {:?}", theirs.err()));
            }
        }
    }
    assert!(differences.is_empty(), "{compared} compared\n{}", differences.join("\n"));
    assert!(compared >= 40, "{compared} compared, buildah failed at\n{}", unbuilt.join("\n"));
}

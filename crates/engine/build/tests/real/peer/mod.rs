//! The corpus, built here and by others from the same files: trees and configurations entry by entry.

mod buildah;
mod buildkit;
mod tree;

use crate::bed::Bed;
use buildah::Buildah;
use buildkit::BuildKit;
use hako_build::BuildRequest;
use hako_image::Image;
use hako_image::transfer::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Another program that builds images.
trait Peer: Sync {
    fn name(&self) -> &'static str;
    /// Whether it understands all of a file.
    fn knows(&self, name: &str, text: &str) -> bool;
    /// The image that it builds, taken into our store to be looked at.
    fn build(&self, bed: &Bed, file: &Path) -> Result<Image, String>;
}

/// Where a peer does something else than the Dockerfile reference says: peer, file, entry or field.
const KNOWN: [(&str, &str, &str); 22] = [
    // Reference, SHELL: it counts for the shell form of RUN, CMD and ENTRYPOINT alike; buildah takes the default for
    // CMD.
    ("buildah", "commands-shell-forms", "Cmd"),
    // Reference, escape: with a backtick the backslash is a character like others; buildah's ENV still eats it.
    ("buildah", "escape-backtick", "Env"),
    // Reference, VOLUME: a mount point is declared, and BuildKit leaves files as they are; buildah makes the
    // directory.
    ("buildah", "nginx-spa", "var/cache"),
    ("buildah", "nginx-spa", "var/cache/nginx"),
    ("buildah", "stage-inherits", "v"),
    // Reference, ARG, scope: a stage has the arguments of the stage that it stands on; in buildah they end with it.
    ("buildah", "stage-inherits", "tmp/values"),
    // Of an ENV and an ARG of one name the one below counts in BuildKit of every version; in buildah the ENV does, which
    // is another way to read the reference.
    ("buildah", "args-and-env", "Env"),
    ("buildah", "args-and-env", "seen"),
    // Ports are given one by one in an image's configuration (image specification, `ExposedPorts`: `port/protocol`);
    // buildah leaves the range of the file.
    ("buildah", "volumes-and-ports", "ExposedPorts"),
    // `ln` makes a file of the base and its new name one file that is no longer the base's; buildah's differences of
    // layers have only the new name.
    ("buildah", "special-files", "bin/busybox"),
    ("buildah", "special-files", "hardlink"),
    // A process is in its primary group too, so `id` prints it (CVE-2022-36109); docker 20.10 leaves it out.
    ("BuildKit", "user-by-name", "tmp/u"),
    ("BuildKit", "user-by-name", "tmp/u-root"),
    // Directories that were only made to mount something on; BuildKit takes them away since 0.9.
    ("BuildKit", "go-cache-mounts", "go"),
    ("BuildKit", "go-cache-mounts", "go/pkg"),
    ("BuildKit", "go-cache-mounts", "go/pkg/mod"),
    ("BuildKit", "go-cache-mounts", "root/.cache"),
    ("BuildKit", "go-cache-mounts", "root/.cache/go-build"),
    ("BuildKit", "mount-from-stage", "all"),
    ("BuildKit", "mount-from-stage", "t"),
    ("BuildKit", "python-pip-cache", "root/.cache"),
    ("BuildKit", "python-pip-cache", "root/.cache/pip"),
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn load(bed: &Bed, archive: &Path) -> Image {
    bed.images.load(File::open(archive).unwrap(), &Progress::none()).unwrap()[0].clone()
}

/// What comparing found.
#[derive(Default)]
struct Found {
    /// Files that at least one peer built too.
    compared: BTreeSet<String>,
    differences: Vec<String>,
}

/// Where two descriptions of the same thing differ without that being known.
fn differences<K: Ord + AsRef<str>, V: PartialEq + std::fmt::Debug>(
    peer: &str,
    name: &str,
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
    let differs =
        |key: &&K| ours.get(*key) != theirs.get(*key) && !KNOWN.contains(&(peer, name, AsRef::as_ref(*key)));
    let say =
        |key: &K| format!("{name}: {}: {:?}, {peer} {:?}", key.as_ref(), ours.get(key), theirs.get(key));
    keys.into_iter().filter(differs).map(say).collect()
}

/// The same file here and by those who know all of it.
fn compare(bed: &Bed, peers: &[&dyn Peer], file: &Path) -> Found {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(file).unwrap();
    let mut found = Found::default();
    let knowing: Vec<_> = peers.iter().filter(|peer| peer.knows(&name, &text)).collect();
    if knowing.is_empty() {
        return found;
    }
    let request = BuildRequest {
        context: corpus().join("context"),
        dockerfile: Some(file.to_owned()),
        ..bed.request()
    };
    let ours = match bed.run(request).result {
        Ok(built) => built.image.unwrap(),
        Err(error) => {
            found.differences.push(format!("{name}: {}", error.chain()));
            return found;
        }
    };
    let (our_tree, our_config) = (bed.look(&ours, tree::tree), tree::config(&ours));
    for peer in knowing {
        match peer.build(bed, file) {
            Ok(theirs) => {
                found.compared.insert(name.clone());
                let their_tree = bed.look(&theirs, tree::tree);
                found.differences.extend(differences(peer.name(), &name, &our_tree, &their_tree));
                let their_config = tree::config(&theirs);
                found.differences.extend(differences(peer.name(), &name, &our_config, &their_config));
            }
            Err(error) => found.differences.push(format!("{name}: {} cannot: {error}", peer.name())),
        }
    }
    found
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    files.sort();
    files
}

#[test]
fn the_corpus_comes_out_as_others_make_it() {
    let (todo, found) = (Mutex::new(files()), Mutex::new(Found::default()));
    let buildkit = BuildKit::start(&Bed::new(""));
    let work = || {
        let bed = Bed::new("");
        let buildah = Buildah::new(&bed);
        loop {
            let Some(file) = todo.lock().unwrap().pop() else { break };
            let of_file = compare(&bed, &[&buildah, &buildkit], &file);
            let mut found = found.lock().unwrap();
            found.compared.extend(of_file.compared);
            found.differences.extend(of_file.differences);
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
    drop(buildkit);
    let Found { compared, differences } = found.into_inner().unwrap();
    let count = compared.len();
    assert!(differences.is_empty(), "{count} compared\n{}", differences.join("\n"));
    assert!(count >= 60, "only {count} compared: {compared:?}");
}

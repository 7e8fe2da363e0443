//! Stores with images to move.

use hako_content::ContentStore;
use hako_image::layer::{Entry, EntryKind, TarWriter};
use hako_image::transfer::Platform;
use hako_image::{Image, ImageStore, Layer, NewImage, layer::Encoder};
use hako_names::ImageRef;
use hako_oci::image::ImageConfiguration;
use hako_oci::media_type::{self, Compression};
use hako_snapshot::Overlay;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store in a directory of its own.
pub struct Store {
    pub dir: tempfile::TempDir,
    pub images: ImageStore,
}

impl Store {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = open(dir.path());
        Self { dir, images }
    }

    /// Files of the content store that are neither blobs nor leases of somebody alive.
    pub fn ingests(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("content/ingest")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Nothing is there that was not before a pull that failed.
    pub fn assert_empty(&self) {
        assert!(self.images.list().unwrap().is_empty());
        assert!(self.ingests().is_empty(), "{:?}", self.ingests());
        // A good layer may have been whole, and unpacked, before a bad one was found out.
        self.images.gc().unwrap();
        assert_eq!(self.images.snapshots().list(), []);
        assert_eq!(self.images.content().list().unwrap(), []);
    }

    /// What a file of the unpacked image holds.
    pub fn read(&self, image: &Image, path: &str) -> Option<String> {
        let top = self.images.unpack(image).unwrap().unwrap();
        let key = format!("look-{}", path.len());
        let mounts = self.images.snapshots().view(&key, Some(&top)).unwrap();
        let tree = self.images.snapshots().mounted(&mounts).unwrap();
        let text = std::fs::read_to_string(tree.path().join(path)).ok();
        drop(tree);
        self.images.snapshots().remove(&key).unwrap();
        text
    }

    /// An image of several layers, each with its own file, and the last without the first one's.
    pub fn image(&self, name: &str, compression: Compression, sizes: &[usize]) -> Image {
        self.image_for(Platform::host().architecture.as_str(), name, compression, sizes)
    }

    /// The same for another architecture.
    pub fn image_for(&self, arch: &str, name: &str, compression: Compression, sizes: &[usize]) -> Image {
        let tars: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(at, size)| {
                let hides = (at > 0).then_some("dir/file0");
                tar(&format!("dir/file{at}"), &noise(*size, at as u64), hides)
            })
            .collect();
        self.commit(arch, name, compression, &tars)
    }

    /// An image of these layers.
    pub fn image_of(&self, name: &str, tars: &[Vec<u8>]) -> Image {
        self.commit(&Platform::host().architecture, name, Compression::Zstd, tars)
    }

    /// The same, stored in this form.
    pub fn image_from(&self, name: &str, compression: Compression, tars: &[Vec<u8>]) -> Image {
        self.commit(&Platform::host().architecture, name, compression, tars)
    }

    fn commit(&self, arch: &str, name: &str, compression: Compression, tars: &[Vec<u8>]) -> Image {
        let lease = self.images.lease("test").unwrap();
        let mut layers = Vec::new();
        for tar in tars {
            let writer = self.images.content().writer("a layer").unwrap().under(&lease);
            let mut encoder = Encoder::new(writer, compression).unwrap();
            encoder.write_all(tar).unwrap();
            let (writer, diff_id) = encoder.finish().unwrap();
            let blob = writer.commit(hako_content::Expected::default()).unwrap();
            let media_type = match compression {
                Compression::None => media_type::LAYER_TAR,
                Compression::Gzip => media_type::LAYER_GZIP,
                Compression::Zstd => media_type::LAYER_ZSTD,
            };
            layers.push(Layer {
                digest: blob.digest,
                size: blob.size,
                media_type: media_type.into(),
                diff_id,
                annotations: Default::default(),
            });
        }
        let names = vec![name.parse().unwrap()];
        let mut config = ImageConfiguration::default();
        config.set_architecture(arch.into());
        self.images.commit_image(NewImage { config, layers, names, ..NewImage::default() }).unwrap()
    }
}

pub fn open(dir: &Path) -> ImageStore {
    let content = ContentStore::open(dir.join("content")).unwrap();
    let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
    ImageStore::open(content, snapshots, dir.join("images")).unwrap()
}

pub fn name(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// Letters that no compression makes small: three quarters of a byte of entropy each.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 32) as usize % 64]
    };
    (0..length).map(|_| next()).collect()
}

fn entry(path: &str, kind: EntryKind, size: u64) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_s: 1_000_000_000,
        mtime_ns: 0,
        size,
        xattrs: Vec::new(),
        sparse: None,
    }
}

/// A layer with a directory, one file in it, and a whiteout.
pub fn tar(path: &str, content: &[u8], hides: Option<&str>) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    tar.append(&entry("dir/", EntryKind::Directory, 0), std::io::empty()).unwrap();
    tar.append(&entry(path, EntryKind::File, content.len() as u64), content).unwrap();
    if let Some(hidden) = hides {
        let whiteout = hidden.replacen("dir/", "dir/.wh.", 1);
        tar.append(&entry(&whiteout, EntryKind::File, 0), std::io::empty()).unwrap();
    }
    tar.finish().unwrap()
}

/// A layer with entries that each are refused in what comes from elsewhere, each with what is said of it.
pub fn hostile_layers() -> Vec<(Vec<u8>, [&'static str; 2])> {
    let one = |path: &str, kind: EntryKind| {
        let mut tar = TarWriter::new(Vec::new());
        tar.append(&entry("dir/", EntryKind::Directory, 0), std::io::empty()).unwrap();
        tar.append(&entry(path, kind, 0), std::io::empty()).unwrap();
        tar.finish().unwrap()
    };
    let (disk, memory) =
        (EntryKind::Block { major: 8, minor: 0 }, EntryKind::Character { major: 1, minor: 2 });
    let ghost = EntryKind::Character { major: 0, minor: 0 };
    vec![
        (one("/etc/cron.d/x", EntryKind::File), ["\"/etc/cron.d/x\"", "begins with"]),
        (one("passwd", EntryKind::HardLink(b"/etc/passwd".to_vec())), ["\"passwd\"", "hard link to"]),
        (one("dev/sda", disk), ["\"dev/sda\"", "block device 8:0"]),
        (one("dev/kmem", memory), ["\"dev/kmem\"", "character device 1:2"]),
        (one("dir/ghost", ghost), ["\"dir/ghost\"", "whiteout"]),
    ]
}

/// Two layers of which the second needs the first: it writes through its link, and into its directories without
/// naming them.
pub fn leaning_layers() -> (Vec<u8>, Vec<u8>) {
    let file = |tar: &mut TarWriter<Vec<u8>>, path: &str| {
        tar.append(&entry(path, EntryKind::File, path.len() as u64), path.as_bytes()).unwrap();
    };
    let mut first = TarWriter::new(Vec::new());
    for directory in ["usr/", "usr/lib/", "old/", "data/"] {
        first.append(&entry(directory, EntryKind::Directory, 0), std::io::empty()).unwrap();
    }
    first.append(&entry("lib", EntryKind::Symlink(b"usr/lib".to_vec()), 0), std::io::empty()).unwrap();
    file(&mut first, "old/kept");
    file(&mut first, "data/stale");
    let mut second = TarWriter::new(Vec::new());
    file(&mut second, "lib/new");
    second.append(&entry(".wh.data", EntryKind::File, 0), std::io::empty()).unwrap();
    second.append(&entry("data/", EntryKind::Directory, 0), std::io::empty()).unwrap();
    file(&mut second, "data/fresh");
    (first.finish().unwrap(), second.finish().unwrap())
}

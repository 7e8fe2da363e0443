//! Archives and layout directories, with skopeo and podman as the other side.

use crate::stores::{Store, hostile_layers, leaning_layers, name, tar};
use hako_error::Kind;
use hako_image::layer::Encoder;
use hako_image::transfer::{Progress, Stop};
use hako_image::{Image, SaveFormat, SaveOptions};
use hako_oci::media_type::{self, Compression};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn skopeo(args: &[&str]) -> String {
    String::from_utf8(run("skopeo", args).stdout).unwrap()
}

fn saved(store: &Store, image: &Image, format: SaveFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.images.save(&[(image.clone(), image.names.clone())], format, &mut bytes).unwrap();
    bytes
}

fn load(store: &Store, archive: &[u8]) -> Vec<Image> {
    store.images.load(archive, &Progress::none()).unwrap()
}

fn image(store: &Store, compression: Compression) -> Image {
    store.image("example.com/app:1", compression, &[50_000, 3000])
}

fn assert_same(there: &Store, loaded: &[Image], image: &Image) {
    assert_eq!(loaded.len(), 1);
    assert_eq!((loaded[0].id, loaded[0].chain_id()), (image.id, image.chain_id()));
    assert_eq!(there.images.resolve(&name("example.com/app:1")).unwrap().id, image.id);
    assert!(there.read(&loaded[0], "dir/file1").is_some());
    assert_eq!(there.read(&loaded[0], "dir/file0"), None);
    assert!(there.ingests().is_empty());
}

#[test]
fn what_is_saved_loads_again_the_same() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let here = Store::new();
        let image = image(&here, compression);
        for format in [SaveFormat::Docker, SaveFormat::Oci, SaveFormat::DockerLegacy] {
            let archive = saved(&here, &image, format);
            assert_eq!(archive, saved(&here, &image, format), "equal images give equal archives");
            let there = Store::new();
            let loaded = load(&there, &archive);
            assert_same(&there, &loaded, &image);
            let is_as_stored = match format {
                SaveFormat::Docker => compression != Compression::Zstd,
                SaveFormat::Oci => true,
                SaveFormat::DockerLegacy => false,
            };
            if is_as_stored {
                assert_eq!(loaded[0].manifest_digest, image.manifest_digest);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        here.images
            .save_layout(&[(image.clone(), image.names.clone())], None, &dir.path().join("x"))
            .unwrap();
        let there = Store::new();
        let loaded = there.images.load_layout(&dir.path().join("x"), &Progress::none()).unwrap();
        assert_same(&there, &loaded, &image);
    }
}

#[test]
fn layers_are_saved_in_the_form_that_is_wanted_and_zstd_is_for_none_of_dockers_archives() {
    let here = Store::new();
    let image = image(&here, Compression::Zstd);
    let save = |format, form: Option<&str>| {
        let form = form.map(|form| form.parse().unwrap());
        let mut bytes = Vec::new();
        let options = SaveOptions { format, form };
        here.images.save(&[(image.clone(), image.names.clone())], options, &mut bytes).unwrap();
        let there = Store::new();
        let loaded = load(&there, &bytes);
        assert_same(&there, &loaded, &image);
        (loaded[0].layers[0].media_type.clone(), loaded[0].layers[0].digest)
    };
    let plain = (media_type::LAYER_TAR.to_owned(), image.layers[0].diff_id);
    assert_eq!(save(SaveFormat::Docker, None), plain);
    assert_eq!(save(SaveFormat::Oci, Some("uncompressed")), plain);
    assert_eq!(save(SaveFormat::Docker, Some("gzip")).0, media_type::LAYER_GZIP);
    assert_eq!(save(SaveFormat::Oci, Some("stored")).1, image.layers[0].digest);
    let chunked = save(SaveFormat::Oci, Some("zstd:chunked"));
    assert!(chunked.0 == media_type::LAYER_ZSTD && chunked.1 != image.layers[0].digest, "{chunked:?}");
    here.images.gc().unwrap();
    let blobs = here.images.content().list().unwrap().len();
    assert_eq!(blobs, 2 + image.layers.len(), "nothing that was only saved stays");
    // What is here already is not stored a second time in another form.
    let loaded = load(&here, &saved(&here, &image, SaveFormat::Docker));
    assert_eq!(loaded[0].manifest_digest, image.manifest_digest);
    assert_eq!(here.images.list().unwrap().len(), 1);
}

#[test]
fn of_an_image_in_two_forms_that_with_a_name_is_meant_and_the_other_goes_by_itself() {
    let here = Store::new();
    let stored = image(&here, Compression::Zstd);
    let mut archive = Vec::new();
    let options = SaveOptions { format: SaveFormat::Oci, form: Some("gzip".parse().unwrap()) };
    here.images.save(&[(stored.clone(), stored.names.clone())], options, &mut archive).unwrap();
    // The name goes back and forth, so that each of the two is once the first of its kind.
    let stored_again = saved(&here, &stored, SaveFormat::Oci);
    for archive in [archive, stored_again] {
        let named = load(&here, &archive).remove(0);
        let listed = here.images.list().unwrap();
        let nameless = listed.iter().find(|image| image.names.is_empty()).unwrap();
        assert!(
            listed.len() == 2 && nameless.id == named.id && nameless.manifest_digest != named.manifest_digest
        );
        for text in [named.id.to_string(), named.id.hex(), named.id.short()] {
            assert_eq!(here.images.find(&text).unwrap().manifest_digest, named.manifest_digest, "{text}");
        }
        let removed = here.images.remove_listed(nameless).unwrap();
        assert_eq!((removed.untagged.len(), removed.deleted), (0, Some(named.id)));
        let left = here.images.list().unwrap();
        assert!(left.len() == 1 && left[0].names == [name("example.com/app:1")], "{left:?}");
        assert!(here.read(&left[0], "dir/file1").is_some());
    }
    // Whoever gives it a name before it is removed keeps it.
    let listed = here.images.list().unwrap().remove(0);
    here.images.tag(&listed, &name("example.com/other:1")).unwrap();
    assert!(here.images.remove_listed(&listed).unwrap_err().is_not_found());
    assert_eq!(here.images.find(&listed.id.to_string()).unwrap().names.len(), 2);
}

#[test]
fn compressed_archives_are_recognised() {
    let here = Store::new();
    let image = image(&here, Compression::None);
    let archive = saved(&here, &image, SaveFormat::Docker);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        encoder.write_all(&archive).unwrap();
        let there = Store::new();
        assert_same(&there, &load(&there, &encoder.finish().unwrap().0), &image);
    }
}

#[test]
fn skopeo_reads_what_is_saved_and_its_archives_load() {
    let here = Store::new();
    let image = image(&here, Compression::Gzip);
    let dir = tempfile::tempdir().unwrap();
    let path = |file: &str| dir.path().join(file).to_string_lossy().into_owned();
    for format in [SaveFormat::Docker, SaveFormat::DockerLegacy] {
        std::fs::write(path("saved.tar"), saved(&here, &image, format)).unwrap();
        let from = format!("docker-archive:{}", path("saved.tar"));
        let config: serde_json::Value =
            serde_json::from_str(&skopeo(&["inspect", "--config", &from])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], image.layers[0].diff_id.to_string());
    }
    std::fs::write(path("saved.tar"), saved(&here, &image, SaveFormat::Oci)).unwrap();
    let from = format!("oci-archive:{}:1", path("saved.tar"));
    assert!(skopeo(&["inspect", &from]).contains(&image.manifest_digest.to_string()));
    let to = [
        format!("docker-archive:{}:example.com/app:1", path("docker.tar")),
        format!("oci-archive:{}:example.com/app:1", path("oci.tar")),
    ];
    for (to, file) in to.iter().zip(["docker.tar", "oci.tar"]) {
        skopeo(&["copy", &from, to]);
        let there = Store::new();
        assert_same(&there, &load(&there, &std::fs::read(path(file)).unwrap()), &image);
    }
    skopeo(&["copy", &from, &format!("oci:{}:example.com/app:1", path("layout"))]);
    let there = Store::new();
    let loaded = there.images.load_layout(Path::new(&path("layout")), &Progress::none()).unwrap();
    assert_same(&there, &loaded, &image);
    assert_eq!(loaded[0].manifest_digest, image.manifest_digest);
}

#[test]
fn podman_loads_and_saves_the_same_image() {
    let here = Store::new();
    let image = image(&here, Compression::Gzip);
    let dir = tempfile::tempdir().unwrap();
    let path = |file: &str| dir.path().join(file).to_string_lossy().into_owned();
    let (root, runroot, tmp) = (path("root"), path("run"), path("tmp"));
    let podman = |args: &[&str]| {
        let own = ["--storage-driver", "vfs", "--root", &root, "--runroot", &runroot, "--tmpdir", &tmp];
        String::from_utf8(run("podman", &[&own, args].concat()).stdout).unwrap()
    };
    for format in [SaveFormat::Docker, SaveFormat::DockerLegacy, SaveFormat::Oci] {
        std::fs::write(path("saved.tar"), saved(&here, &image, format)).unwrap();
        podman(&["load", "-q", "-i", &path("saved.tar")]);
        let id = podman(&["images", "--no-trunc", "-q"]);
        assert_eq!(id.lines().next().unwrap(), image.id.to_string(), "{format:?}");
        if format != SaveFormat::Oci {
            for theirs in ["docker-archive", "oci-archive"] {
                podman(&["save", "-q", "--format", theirs, "-o", &path("theirs.tar"), "example.com/app:1"]);
                let there = Store::new();
                let loaded = load(&there, &std::fs::read(path("theirs.tar")).unwrap());
                // Between the formats podman writes another configuration.
                assert_eq!(loaded[0].chain_id(), image.chain_id());
                assert_eq!(loaded[0].names, image.names);
                std::fs::remove_file(path("theirs.tar")).unwrap();
            }
        }
        podman(&["rmi", "-f", &image.id.hex()]);
    }
}

#[test]
fn layers_that_lean_on_those_below_load_too() {
    let here = Store::new();
    let (first, second) = leaning_layers();
    let image = here.image_of("example.com/app:1", &[first, second]);
    let there = Store::new();
    let loaded = load(&there, &saved(&here, &image, SaveFormat::Docker));
    for file in ["usr/lib/new", "lib/new", "old/kept", "data/fresh"] {
        assert_eq!(there.read(&loaded[0], file), here.read(&image, file), "{file}");
    }
    assert_eq!(there.read(&loaded[0], "data/stale"), None);
}

/// Paths and contents.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A tar of these files.
fn archive(files: Files<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in files {
        let one = tar(path, content, None);
        // Without the directory in front and the end behind.
        bytes.extend_from_slice(&one[512..one.len() - 1024]);
    }
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn a_name_that_an_archive_may_not_give_is_refused_by_name() {
    let here = Store::new();
    let image = image(&here, Compression::Gzip);
    let digest = format!("sha256:{}", "7".repeat(64));
    let foreign = format!("debian@{digest}");
    let tagged = |tag: &str| {
        let layer = tar("dir/x", b"x", None);
        let diff_id = hako_names::Digest::of(&layer);
        let config = format!(
            r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let manifest = format!(r#"[{{"Config":"c.json","RepoTags":["{tag}"],"Layers":["layer.tar"]}}]"#);
        let (manifest, config) = (manifest.as_bytes(), config.as_bytes());
        archive(&[("manifest.json", manifest), ("c.json", config), ("layer.tar", layer.as_slice())])
    };
    let annotated = |name: &str| {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": media_type::MANIFEST,
                "digest": image.manifest_digest,
                "size": here.images.content().size(image.manifest_digest).unwrap(),
                "annotations": { "io.containerd.image.name": name },
            }],
        });
        let mut blobs = vec![("index.json".to_owned(), index.to_string().into_bytes())];
        let layers = image.layers.iter().map(|layer| layer.digest);
        for digest in layers.chain([image.manifest_digest, image.id]) {
            let path = format!("blobs/sha256/{}", digest.hex());
            blobs.push((path, here.images.content().read(digest).unwrap()));
        }
        let files: Vec<(&str, &[u8])> =
            blobs.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        archive(&files)
    };
    let bad = [tagged(&foreign), tagged("BAD NAME:1"), annotated(&foreign), annotated("BAD NAME")];
    for (archive, name) in bad.iter().zip([&*foreign, "BAD NAME:1", &*foreign, "BAD NAME"]) {
        let store = Store::new();
        let error = store.images.load(archive.as_slice(), &Progress::none()).unwrap_err();
        let said = error.chain().contains("invalid tag") && error.chain().contains(name);
        assert!(said && error.kind() == Kind::Invalid, "{error:?}");
        assert!(store.images.resolve(&self::name(&foreign)).unwrap_err().is_not_found());
        store.assert_empty();
    }
    let own = name("example.com/app").with_digest(image.manifest_digest);
    let store = Store::new();
    let loaded = load(&store, &annotated(&own.to_string()));
    assert!(loaded[0].names.is_empty());
    assert_eq!(loaded[0].repo_digests, [own]);
    assert_eq!(load(&Store::new(), &tagged("x:1"))[0].names, [name("x:1")]);
}

#[test]
fn a_load_whose_client_has_gone_stops_and_leaves_nothing() {
    /// Its client goes when all has been sent.
    struct Leaving<'a>(&'a [u8], Stop);
    impl Read for Leaving<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            if self.0.len() < 1024 {
                self.1.stop();
            }
            Ok(count)
        }
    }
    let here = Store::new();
    let image = image(&here, Compression::Gzip);
    let archive = saved(&here, &image, SaveFormat::Docker);
    let (store, stop) = (Store::new(), Stop::default());
    let progress = Progress::none().until(&stop);
    let error = store.images.load(Leaving(&archive, stop), &progress).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error:?}");
    store.assert_empty();
    // The wish was for that load alone.
    load(&store, &archive);
}

#[test]
fn saving_a_damaged_image_names_what_is_damaged() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for format in [SaveFormat::Docker, SaveFormat::Oci, SaveFormat::DockerLegacy] {
            let here = Store::new();
            let image = image(&here, compression);
            here.images.verify(&image).unwrap();
            let damaged = image.layers[0].digest;
            let path = here.images.content().path(damaged);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let mut out = Vec::new();
            let images = [(image.clone(), image.names.clone())];
            for error in [
                here.images.save(&images, format, &mut out).unwrap_err(),
                here.images.save_layout(&images, None, &here.dir.path().join("out")).unwrap_err(),
                here.images.verify(&image).unwrap_err(),
            ] {
                assert_eq!(error.kind(), Kind::DataLoss, "{compression:?} {format:?}: {error:?}");
                assert!(error.chain().contains(&damaged.to_string()), "{error:?}");
            }
        }
    }
}

#[test]
fn absolute_names_and_devices_in_a_loaded_layer_are_refused_by_name_and_leave_nothing() {
    for (layer, expected) in hostile_layers() {
        let (maker, there) = (Store::new(), Store::new());
        let image = maker.image_from("bad", Compression::Gzip, &[tar("dir/x", b"x", None), layer]);
        let layout = maker.dir.path().join("layout");
        let images = [(image.clone(), image.names.clone())];
        maker.images.save_layout(&images, None, &layout).unwrap();
        for format in [SaveFormat::Docker, SaveFormat::Oci] {
            let archive = saved(&maker, &image, format);
            let error = there.images.load(archive.as_slice(), &Progress::none()).unwrap_err();
            assert!(expected.iter().all(|part| error.chain().contains(part)), "{expected:?}: {error:?}");
            assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
            there.assert_empty();
        }
        let error = there.images.load_layout(&layout, &Progress::none()).unwrap_err();
        assert!(expected.iter().all(|part| error.chain().contains(part)), "{expected:?}: {error:?}");
        there.assert_empty();
        // Not even where it is here already, as one that an earlier version took.
        let error = maker.images.unpack(&image).unwrap_err();
        assert!(expected.iter().all(|part| error.chain().contains(part)), "{expected:?}: {error:?}");
    }
}

#[test]
fn archives_that_lie_are_refused_and_leave_nothing() {
    let config = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
    let layer = tar("dir/x", b"x", None);
    let wrong = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"sha256:{}","size":2}}]}}"#,
        media_type::MANIFEST,
        "0".repeat(64)
    );
    let manifest = br#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["layer.tar"]}]"#.as_slice();
    let other = format!("blobs/sha256/{}", "0".repeat(64));
    let escape = tar("dir/../../x", b"x", None);
    let cases: [(Files<'_>, &str); 7] = [
        (&[("etc/passwd", b"root")], "neither index.json nor manifest.json"),
        (&[("manifest.json", manifest)], "lacks c.json"),
        (&[("manifest.json", manifest), ("c.json", config)], "lacks the layer layer.tar"),
        (&[("manifest.json", manifest), ("c.json", config), ("layer.tar", &layer)], "unpacked it hashes to"),
        (&[("manifest.json", manifest), ("c.json", config), ("layer.tar", &escape)], "leave the root"),
        (&[("index.json", wrong.as_bytes()), (&other, b"{}")], "its bytes hash to"),
        (&[("manifest.json", b"[{}]")], "manifest.json of the archive is not valid"),
    ];
    for (files, expected) in cases {
        let store = Store::new();
        let error = store.images.load(archive(files).as_slice(), &Progress::none()).unwrap_err();
        assert!(error.chain().contains(expected), "{expected}: {error:?}");
        assert_ne!(error.kind(), Kind::Internal, "{error:?}");
        store.assert_empty();
    }
    let here = Store::new();
    let image = image(&here, Compression::Gzip);
    let mut cut = saved(&here, &image, SaveFormat::Docker);
    cut.truncate(30_000);
    let store = Store::new();
    let error = store.images.load(cut.as_slice(), &Progress::none()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
    store.assert_empty();
}

#[test]
fn an_archive_of_several_images_names_all_of_them_or_none() {
    let config = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
    let layer = tar("dir/x", b"x", None);
    let diff_id = hako_names::Digest::of(&layer);
    let good = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let one = |config: &str, tag: &str| {
        format!(r#"{{"Config":"{config}","RepoTags":["{tag}"],"Layers":["layer.tar"]}}"#)
    };
    for configs in [["good.json", "c.json"], ["good.json", "good.json"]] {
        let manifest = format!("[{},{}]", one(configs[0], "x:1"), one(configs[1], "y:1"));
        let files: Files<'_> = &[
            ("manifest.json", manifest.as_bytes()),
            ("good.json", good.as_bytes()),
            ("c.json", config),
            ("layer.tar", &layer),
        ];
        let store = Store::new();
        let loaded = store.images.load(archive(files).as_slice(), &Progress::none());
        if configs[0] == configs[1] {
            // Each with the name that the archive gives it there, though both point to one image.
            let loaded = loaded.unwrap();
            assert_eq!(
                (loaded[0].names.as_slice(), &loaded[1].names),
                (&[name("x:1")][..], &vec![name("y:1")])
            );
            let both = store.images.resolve(&name("x:1")).unwrap().names;
            assert_eq!(both, [name("x:1"), name("y:1")]);
        } else {
            loaded.unwrap_err();
            store.assert_empty();
        }
    }
}

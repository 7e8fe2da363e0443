//! Images for several platforms under one name: here, at a registry, in a layout.

use crate::bed::Bed;
use crate::distribution::Distribution;
use hako_build::{BuildRequest, CacheExport, CacheMode, CacheSource, CacheTarget, Output, StepOutcome};
use hako_error::Kind;
use hako_image::{Image, Sibling};
use hako_names::{Digest, ImageRef};
use serde_json::Value;
use std::fs;
use std::process::Command;

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];
const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM busybox AS build\n\
    RUN cat /proc/sys/kernel/random/uuid > /once\nARG TARGETARCH\nRUN echo $TARGETARCH > /who\n\
    FROM scratch\nCOPY --from=build /once /who /\n";

fn of(bed: &Bed, name: &ImageRef) -> BuildRequest {
    BuildRequest {
        platforms: PLATFORMS.map(str::to_owned).into(),
        tags: vec![name.clone()],
        args: [("SOURCE_DATE_EPOCH".to_owned(), "7".to_owned())].into(),
        ..bed.request()
    }
}

fn sibling(bed: &Bed, image: &Image) -> Option<Image> {
    match bed.images.sibling(image, &"linux/arm64".parse().unwrap()).unwrap() {
        Sibling::Here(image) => Some(*image),
        _ => None,
    }
}

/// The platforms of an index's images, and how many of its manifests say something of one of them.
fn listed(index: &str) -> (Vec<String>, usize) {
    let index: Value = serde_json::from_str(index).unwrap();
    let (mut platforms, mut said) = (Vec::new(), 0);
    let manifests = index["manifests"].as_array().unwrap();
    for manifest in manifests {
        let platform = &manifest["platform"];
        let (os, architecture) =
            (platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap());
        if os == "unknown" {
            let of = &manifest["annotations"]["vnd.docker.reference.digest"];
            assert!(manifests.iter().any(|it| &it["digest"] == of), "{index}");
            said += 1;
        } else {
            platforms.push(format!("{os}/{architecture}"));
        }
    }
    (platforms, said)
}

#[test]
fn every_client_finds_its_own_image_at_the_registry_and_builds_go_on_from_it() {
    let registry = Distribution::start();
    let name = registry.name("team/app:v1");
    let bed = Bed::new(DOCKERFILE);
    let outputs = vec![Output::Image { push: true, compression: None }];
    let image = bed.run(BuildRequest { outputs, sbom: true, ..of(&bed, &name) }).image();
    let once = bed.read(&image, "once");
    let other = sibling(&bed, &image).unwrap();
    assert_eq!((bed.read(&other, "once"), bed.read(&other, "who")), (once.clone(), "arm64\n".into()));

    assert_eq!(listed(&registry.inspect("team/app:v1")), (PLATFORMS.map(str::to_owned).into(), 2));
    for (architecture, digest) in [("amd64", image.id), ("arm64", other.id)] {
        let output = Command::new("skopeo")
            .args(["--override-arch", architecture, "inspect", "--config", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{name}"))
            .output()
            .unwrap();
        assert_eq!(Digest::of(&output.stdout), digest, "{}", String::from_utf8_lossy(&output.stderr));
    }

    let next = Bed::new(&format!("FROM {name}\nCOPY more /more\n"));
    next.write("more", "more");
    let built = next.run(of(&next, &"app".parse().unwrap())).image();
    assert_eq!(next.read(&built, "who"), "amd64\n");
    let other = sibling(&next, &built).unwrap();
    assert_eq!((next.read(&other, "who"), next.read(&other, "more")), ("arm64\n".into(), "more".into()));
    let base = next.images.resolve(&name).unwrap();
    assert_eq!(base.config.architecture().to_string(), "amd64", "the name stays this machine's");
    // What was fetched for the other machine is found again, also without the registry.
    drop(registry);
    next.write("more", "most");
    let built = next.run(of(&next, &"app".parse().unwrap())).image();
    assert_eq!(next.read(&sibling(&next, &built).unwrap(), "more"), "most");
}

#[test]
fn a_name_keeps_what_it_has_for_other_machines_and_takes_it_along_when_it_goes() {
    let bed = Bed::new(DOCKERFILE);
    let name: ImageRef = "app".parse().unwrap();
    let layout = bed.dir.path().join("oci");
    let outputs = vec![Output::Oci { dest: layout.clone(), tar: false, compression: None }];
    let ran = bed.run(BuildRequest { outputs, ..of(&bed, &name) });
    let built = ran.result.unwrap();
    let (id, image) = (built.id().unwrap(), built.image.unwrap());
    assert_eq!(Some(id), image.index);
    assert_eq!(
        bed.images.find(&id.to_string()).unwrap().id,
        image.id,
        "the index's digest means this machine's"
    );
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(top["manifests"][0]["digest"].as_str().unwrap(), id.to_string());
    let index = fs::read_to_string(layout.join("blobs/sha256").join(id.hex())).unwrap();
    assert_eq!(listed(&index), (PLATFORMS.map(str::to_owned).into(), 0));

    let based = Bed::new("FROM base\nLABEL a=b\n");
    let contexts = [("base".to_owned(), format!("oci-layout://{}", layout.display()))].into();
    let next = based.run(BuildRequest { contexts, ..of(&based, &name) }).image();
    assert_eq!(based.read(&next, "who"), "amd64\n");
    assert_eq!(based.read(&sibling(&based, &next).unwrap(), "who"), "arm64\n");

    bed.builder.prune().unwrap();
    let other = sibling(&bed, &image).unwrap();
    assert_eq!(bed.read(&other, "who"), "arm64\n", "unpacked anew from what the name keeps");
    // Built on here, for the other machine.
    bed.write("Dockerfile", "FROM app\nCOPY more /more\n");
    bed.write("more", "more");
    let next = BuildRequest { platforms: vec!["linux/arm64".into()], ..of(&bed, &"next".parse().unwrap()) };
    let next = bed.run(next).image();
    assert_eq!(
        (bed.read(&next, "who"), next.config.architecture().to_string()),
        ("arm64\n".into(), "arm64".into())
    );
    bed.images.remove("next", false).unwrap();
    bed.images.remove("app", false).unwrap();
    bed.builder.prune().unwrap();
    for blob in [other.manifest_digest, other.id, other.layers[0].digest, id] {
        assert!(!bed.images.content().exists(blob), "{blob}");
    }
}

#[test]
fn the_cache_of_a_build_for_several_platforms_serves_all_of_them() {
    let registry = Distribution::start();
    let name = registry.name("team/app:v1");
    let dir = tempfile::tempdir().unwrap();
    let exports =
        [CacheTarget::Inline, CacheTarget::Local { path: dir.path().to_owned(), tag: "latest".into() }];
    let warm = Bed::new(DOCKERFILE);
    let cache_to = exports
        .map(|target| CacheExport { target, mode: CacheMode::Min, mounts: false, ignore_error: false })
        .into();
    let outputs = vec![Output::Image { push: true, compression: None }];
    let image = warm.run(BuildRequest { outputs, cache_to, ..of(&warm, &name) }).image();
    for from in [
        CacheSource::Registry { reference: name.clone() },
        CacheSource::Local { path: dir.path().to_owned(), tag: "latest".into(), digest: None },
    ] {
        let cold = Bed::new(DOCKERFILE);
        let ran = cold.run(BuildRequest { cache_from: vec![from], ..of(&cold, &name) });
        assert_eq!(ran.counts(StepOutcome::Cached), 2, "a COPY for each platform: {:?}", ran.events);
        let built = ran.image();
        assert_eq!(cold.read(&built, "once"), warm.read(&image, "once"));
        assert_eq!(cold.read(&sibling(&cold, &built).unwrap(), "who"), "arm64\n");
    }
}

/// The header of a program for s390x, and what of it counts.
const HEADER: &str = "7f454c4602020100000000000000000000020016";
const MASK: &str = "ffffffffffffff00fffffffffffffffffffeffff";

/// An emulator that the kernel has for programs of s390x, as long as this lives: the busybox of this machine, which takes
/// a program's name for what it is to do.
struct Emulator {
    table: tempfile::TempDir,
    name: String,
}

impl Emulator {
    fn register() -> Self {
        // The table is mounted for this test alone; what is in it is the kernel's.
        hako_sys::unshare(hako_sys::CloneFlags::NEWNS).unwrap();
        let table = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).status().unwrap();
            assert!(done.success(), "mount {arguments:?}");
        };
        run(&["--make-rprivate", "/"]);
        run(&["-t", "binfmt_misc", "none", table.path().to_str().unwrap()]);
        let emulator = Self { table, name: format!("hako-test-{}", std::process::id()) };
        let bytes = |hex: &str| -> String {
            (0..hex.len()).step_by(2).map(|at| format!("\\x{}", &hex[at..at + 2])).collect()
        };
        let entry = format!(":{}:M::{}:{}:/bin/busybox:F", emulator.name, bytes(HEADER), bytes(MASK));
        fs::write(emulator.table.path().join("register"), entry).unwrap();
        emulator
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = fs::write(self.table.path().join(&self.name), "-1");
        let _ = Command::new("umount").arg(self.table.path()).status();
    }
}

#[test]
fn the_kernel_runs_a_steps_foreign_program_by_its_emulator() {
    let emulator = Emulator::register();
    let bed = Bed::with("FROM scratch\nCOPY sh /bin/\nRUN echo $0 was here > /seen\n", |config| {
        config.binfmt = Some(emulator.table.path().to_owned());
    });
    // A program that no machine runs: what makes it one of s390x, and nothing else.
    let header = (0..HEADER.len()).step_by(2).map(|at| u8::from_str_radix(&HEADER[at..at + 2], 16).unwrap());
    bed.write("sh", header.chain([0; 64]).collect::<Vec<u8>>());
    let path = bed.context().join("sh");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let image = bed.run(BuildRequest { platforms: vec!["linux/s390x".into()], ..bed.request() }).image();
    assert_eq!(image.config.architecture().to_string(), "s390x");
    assert!(bed.read(&image, "seen").ends_with("was here\n"));
}

#[test]
fn an_image_of_a_layout_is_found_by_its_tag_and_renames_none_that_is_here() {
    let bed = Bed::new("FROM base\nCOPY --from=base /which /copied\n");
    let layout = bed.dir.path().join("layout");
    let mut entries = Vec::new();
    for tag in ["one", "two"] {
        let other = Bed::new(&format!("FROM scratch\nCOPY <<E /which\n{tag}\nE\n"));
        let tags: Vec<ImageRef> = vec!["busybox".parse().unwrap()];
        let image = other.run(BuildRequest { tags: tags.clone(), ..other.request() }).image();
        other.images.save_layout(&[(image, tags)], None, &layout).unwrap();
        let index = fs::read(layout.join("index.json")).unwrap();
        let mut index: Value = serde_json::from_slice(&index).unwrap();
        // As skopeo writes it for one, and containerd for the other.
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
        entries.push(index["manifests"][0].clone());
    }
    assert_eq!(entries[0]["annotations"]["io.containerd.image.name"], "docker.io/library/busybox:latest");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let before = bed.images.resolve(&"busybox".parse().unwrap()).unwrap();
    let from = |suffix: &str| {
        let contexts = [("base".to_owned(), format!("oci-layout://{}{suffix}", layout.display()))].into();
        BuildRequest { contexts, ..bed.request() }
    };
    for tag in ["one", "two"] {
        let image = bed.run(from(&format!(":{tag}"))).image();
        assert_eq!(bed.read(&image, "copied"), format!("{tag}\n"));
    }
    let digest = entries[1]["digest"].as_str().unwrap();
    let image = bed.run(from(&format!("@{digest}"))).image();
    assert_eq!(bed.read(&image, "copied"), "two\n");
    assert_eq!(bed.fails(from(":three")).kind(), Kind::NotFound);
    let error = bed.fails(from("")).chain();
    assert!(error.contains("several images"), "{error}");
    let after = bed.images.resolve(&"busybox".parse().unwrap()).unwrap();
    assert_eq!(after.id, before.id, "the name of an image of this machine is still its own");
}

//! Results of steps that go from one machine to another. Each bed is a machine that has never built anything.

use crate::bed::{Bed, Ran};
use crate::distribution::Distribution;
use hako_build::{
    BuildEvent, BuildRequest, CacheExport, CacheMode, CacheSource, CacheTarget, Output, StepOutcome,
};
use hako_names::Digest;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What each RUN and each COPY of the file gives differs from machine to machine, unless it is taken over.
const DOCKERFILE: &str = "FROM busybox AS a\nRUN cat /proc/uptime /proc/sys/kernel/random/uuid > /a\n\
    FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /b\nCOPY f /f\nCOPY --from=a /a /a\n\
    COPY --link f /linked/\nWORKDIR /w\n";
/// Those of its steps that make files.
const STEPS: usize = 6;

fn bed() -> Bed {
    let bed = Bed::new(DOCKERFILE);
    bed.write("f", "one");
    bed
}

fn export(target: CacheTarget, mode: CacheMode) -> Vec<CacheExport> {
    vec![CacheExport { target, mode, mounts: true, ignore_error: false }]
}

fn to_directory(path: &Path, mode: CacheMode) -> Vec<CacheExport> {
    export(CacheTarget::Local { path: path.into(), tag: "latest".into() }, mode)
}

fn of_directory(path: &Path) -> Vec<CacheSource> {
    vec![CacheSource::Local { path: path.into(), tag: "latest".into(), digest: None }]
}

impl Ran {
    fn warnings(&self) -> Vec<&str> {
        let mut warnings = Vec::new();
        for event in &self.events {
            if let BuildEvent::Warning { message, .. } = event {
                warnings.push(message.as_str());
            }
        }
        warnings
    }

    /// How many steps made files anew.
    fn made(&self) -> usize {
        let makes = |text: &&String| !text.starts_with("FROM") && !text.starts_with("exporting");
        self.texts(StepOutcome::Done).iter().filter(makes).count()
    }

    fn texts(&self, wanted: StepOutcome) -> Vec<String> {
        let is_wanted = |number: usize| {
            self.events.iter().any(
                |event| matches!(event, BuildEvent::StepEnded { step, outcome, .. } if *step == number && *outcome == wanted),
            )
        };
        let text = |event: &BuildEvent| match event {
            BuildEvent::StepStarted { step, text, .. } if is_wanted(*step) => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

/// Builds on a warm machine with its cache in a directory; gives both.
fn warm(mode: CacheMode) -> (Bed, PathBuf, Digest) {
    let warm = bed();
    let path = warm.dir.path().join("cache");
    let ran = warm.run(BuildRequest { cache_to: to_directory(&path, mode), ..warm.request() });
    assert_eq!(ran.warnings(), [""; 0]);
    let exported = format!("exporting cache to {}", path.display());
    assert_eq!(ran.texts(StepOutcome::Done).last(), Some(&exported));
    (warm, path, ran.image().id)
}

#[test]
fn a_cold_machine_takes_every_step_from_a_directory_and_runs_none() {
    let (_warm, path, id) = warm(CacheMode::Max);
    let cold = bed();
    let ran = cold.run(BuildRequest { cache_from: of_directory(&path), ..cold.request() });
    assert_eq!((ran.made(), ran.warnings().len()), (0, 0), "{:?}", ran.events);
    assert_eq!(ran.image().id, id, "the same image, made elsewhere");
    let again = cold.run(cold.request());
    assert_eq!(again.made(), 0, "what was taken over is the machine's own");
    assert_eq!(cold.read(&again.image(), "linked/f"), "one");
}

#[test]
fn only_changed_steps_run_and_stages_that_the_image_does_not_show_are_in_mode_max_only() {
    let (_warm, path, _) = warm(CacheMode::Max);
    let cold = bed();
    cold.write("f", "two");
    let ran = cold.run(BuildRequest { cache_from: of_directory(&path), ..cold.request() });
    let ran_anew: Vec<String> =
        ran.texts(StepOutcome::Done).into_iter().filter(|text| text.starts_with("RUN")).collect();
    assert_eq!(ran_anew, [""; 0], "{:?}", ran.events);
    assert_eq!(cold.read(&ran.image(), "f"), "two");

    let (_warm, path, _) = warm(CacheMode::Min);
    let cold = bed();
    cold.write("f", "two");
    let ran = cold.run(BuildRequest { cache_from: of_directory(&path), ..cold.request() });
    let ran_anew = ran.texts(StepOutcome::Done).into_iter().filter(|text| text.starts_with("RUN")).count();
    assert_eq!(ran_anew, 1, "the first stage's, which is not in the image: {:?}", ran.events);
}

#[test]
fn a_registry_keeps_a_cache_and_passes_on_what_the_middle_machine_did_not_need() {
    let registry = Distribution::start();
    let reference = registry.name("team/app:cache");
    let to = export(CacheTarget::Registry { reference: reference.clone() }, CacheMode::Max);
    let warm = bed();
    let id = warm.run(BuildRequest { cache_to: to.clone(), ..warm.request() }).image().id;
    let manifest: Value = serde_json::from_str(&registry.inspect("team/app:cache")).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.hakobune.buildcache.config.v1+json");
    let from = vec![CacheSource::Registry { reference }];
    let middle = bed();
    let both = BuildRequest { cache_to: to, cache_from: from.clone(), ..middle.request() };
    let ran = middle.run(both);
    assert_eq!(ran.made(), 0, "{:?}", ran.events);
    assert_eq!(ran.image().id, id);
    let again: Value = serde_json::from_str(&registry.inspect("team/app:cache")).unwrap();
    assert_eq!(again["layers"].as_array().unwrap().len(), manifest["layers"].as_array().unwrap().len());
    let cold = bed();
    cold.write("Dockerfile", format!("{DOCKERFILE}RUN true\n"));
    let ran = cold.run(BuildRequest { cache_from: from, ..cold.request() });
    assert_eq!(ran.made(), 1, "{:?}", ran.events);
}

#[test]
fn an_image_carries_its_own_cache_and_is_found_here_or_at_its_registry() {
    let registry = Distribution::start();
    let reference = registry.name("team/app:v1");
    let warm = bed();
    let inline =
        CacheExport { target: CacheTarget::Inline, mode: CacheMode::Min, mounts: false, ignore_error: false };
    let request = BuildRequest {
        tags: vec![reference.clone()],
        outputs: vec![Output::Image { push: true, compression: None }],
        cache_to: vec![inline.clone()],
        ..warm.request()
    };
    let id = warm.run(request.clone()).image().id;
    assert_eq!(warm.run(request).image().id, id, "records have the same bytes each time");
    warm.builder.prune().unwrap();
    let from = vec![CacheSource::Inline { reference: reference.clone() }];
    assert_eq!(warm.run(BuildRequest { cache_from: from, ..warm.request() }).made(), 0);
    for from in [
        CacheSource::Inline { reference: reference.clone() },
        CacheSource::Registry { reference: reference.clone() },
    ] {
        let cold = bed();
        let ran = cold.run(BuildRequest {
            cache_from: vec![from],
            cache_to: vec![inline.clone()],
            ..cold.request()
        });
        assert_eq!(ran.made(), 0, "{:?}", ran.events);
        assert_eq!(ran.image().id, id);
    }
    let plain = bed();
    plain.build();
    let from = vec![CacheSource::Inline { reference: registry.name("team/none:v1") }];
    let ran = plain.run(BuildRequest { cache_from: from, no_cache: true, ..plain.request() });
    assert!(ran.warnings()[0].contains("team/none:v1 is not used"), "{:?}", ran.warnings());
    assert_eq!(ran.made(), STEPS);
}

#[test]
fn a_new_cache_mount_starts_with_what_the_old_machine_had_in_its_own() {
    let mount = "RUN --mount=type=cache,id=m,target=/c ";
    let warm = Bed::new(&format!(
        "FROM busybox\n{mount}mkdir /c/d && echo warm > /c/d/x && ln /c/d/x /c/y && chown 7 /c/d\n"
    ));
    let path = warm.dir.path().join("cache");
    warm.run(BuildRequest { cache_to: to_directory(&path, CacheMode::Min), ..warm.request() }).image();
    let dockerfile =
        format!("FROM busybox\n{mount}cat /c/d/x > /seen; stat -c %u /c/d >> /seen; ls /c >> /seen\n");
    let cold = Bed::new(&dockerfile);
    let image = cold.run(BuildRequest { cache_from: of_directory(&path), ..cold.request() }).image();
    assert_eq!(cold.read(&image, "seen"), "warm\n7\nd\ny\n");
    // What is there already is newer.
    cold.write("Dockerfile", format!("FROM busybox\n{mount}echo own > /c/d/x\n{mount}cat /c/d/x > /seen\n"));
    let image = cold.run(BuildRequest { cache_from: of_directory(&path), ..cold.request() }).image();
    assert_eq!(cold.read(&image, "seen"), "own\n");
}

/// A cache in a directory, to be spoilt.
struct Spoilt(PathBuf);

impl Spoilt {
    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    }

    fn json(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        fs::write(self.blob(&digest.to_string()), bytes).unwrap();
        digest
    }

    /// Changes manifest and configuration, with digests that fit.
    fn edit(&self, edit: impl FnOnce(&mut Value, &mut Value)) {
        let path = self.0.join("index.json");
        let mut index = Self::json(&path);
        let mut manifest = Self::json(&self.blob(index["manifests"][0]["digest"].as_str().unwrap()));
        let mut config = Self::json(&self.blob(manifest["config"]["digest"].as_str().unwrap()));
        edit(&mut manifest, &mut config);
        let config = serde_json::to_vec(&config).unwrap();
        manifest["config"]["digest"] = serde_json::json!(self.put(&config));
        manifest["config"]["size"] = config.len().into();
        index["manifests"][0]["digest"] =
            serde_json::json!(self.put(&serde_json::to_vec(&manifest).unwrap()));
        fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
    }

    fn layer(manifest: &Value) -> String {
        manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
    }
}

/// A tar whose only file leaves the root.
fn escaping() -> Vec<u8> {
    let mut header = [0; 512];
    header[..14].copy_from_slice(b"../../../evil\0");
    for (at, field) in [
        (100, "0000644\0"),
        (108, "0000000\0"),
        (116, "0000000\0"),
        (124, "00000000000\0"),
        (136, "00000000000\0"),
    ] {
        header[at..at + field.len()].copy_from_slice(field.as_bytes());
    }
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend([0; 1024]);
    tar
}

type Spoil = fn(&Spoilt);

/// What is done to a cache, and what the warning says of it.
fn spoils() -> [(&'static str, Spoil, &'static str); 6] {
    [
        (
            "bytes",
            |spoilt| {
                let mut layer = String::new();
                spoilt.edit(|manifest, _| layer = Spoilt::layer(manifest));
                let path = spoilt.blob(&layer);
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            "sha256:",
        ),
        ("size", |spoilt| spoilt.edit(|manifest, _| manifest["layers"][0]["size"] = 7.into()), "7"),
        (
            "diff id",
            |spoilt| {
                spoilt.edit(|_, config| config["diff_ids"][0] = serde_json::json!(Digest::of(b"other")));
            },
            "unpack",
        ),
        (
            "escape",
            |spoilt| {
                let tar = escaping();
                let digest = spoilt.put(&tar);
                spoilt.edit(|manifest, config| {
                manifest["layers"][0] = serde_json::json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": tar.len(),
                });
                config["diff_ids"][0] = serde_json::json!(digest);
            });
            },
            "..",
        ),
        ("number", |spoilt| spoilt.edit(|_, config| config["records"][0]["layer"] = 9.into()), "layer 9"),
        (
            "link",
            |spoilt| {
                let mut layer = String::new();
                spoilt.edit(|manifest, _| layer = Spoilt::layer(manifest));
                fs::remove_file(spoilt.blob(&layer)).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", spoilt.blob(&layer)).unwrap();
            },
            "no file",
        ),
    ]
}

#[test]
fn hostile_caches_are_refused_by_their_fault_and_the_build_does_the_work_itself() {
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /x\n";
    for (what, spoil, part) in spoils() {
        let warm = Bed::new(dockerfile);
        let path = warm.dir.path().join("cache");
        warm.run(BuildRequest { cache_to: to_directory(&path, CacheMode::Max), ..warm.request() }).image();
        spoil(&Spoilt(path.clone()));
        let cold = Bed::new(dockerfile);
        let ran = cold.run(BuildRequest { cache_from: of_directory(&path), ..cold.request() });
        let warnings = ran.warnings().join("\n");
        assert!(warnings.contains("not used"), "{what}: {warnings}");
        let shown = part == "unpack" && warnings.contains("diff") || warnings.contains(part);
        assert!(shown, "{what}: {warnings}");
        assert_eq!(ran.made(), 1, "{what}");
        assert_eq!(cold.read(&ran.image(), "x").len(), 37);
    }
}

#[test]
fn a_layer_that_a_registry_lost_costs_one_run_of_its_step() {
    let registry = Distribution::start();
    let reference = registry.name("team/app:cache");
    let warm = bed();
    let to = export(CacheTarget::Registry { reference: reference.clone() }, CacheMode::Max);
    warm.run(BuildRequest { cache_to: to, ..warm.request() }).image();
    let manifest: Value = serde_json::from_str(&registry.inspect("team/app:cache")).unwrap();
    registry.lose(Spoilt::layer(&manifest).parse().unwrap());
    let cold = bed();
    let ran =
        cold.run(BuildRequest { cache_from: vec![CacheSource::Registry { reference }], ..cold.request() });
    assert!(ran.warnings().iter().any(|text| text.contains("not used")), "{:?}", ran.warnings());
    assert!(ran.made() >= 1);
    assert_eq!(cold.read(&ran.image(), "linked/f"), "one");
}

#[test]
fn a_cache_that_cannot_be_written_fails_the_build_unless_that_is_allowed() {
    let bed = bed();
    let target = CacheTarget::Local { path: "/proc/nowhere".into(), tag: "latest".into() };
    let to = export(target, CacheMode::Max);
    let error = bed.fails(BuildRequest { cache_to: to.clone(), ..bed.request() });
    assert!(error.chain().contains("the cache was not written"), "{error:?}");
    let to = to.into_iter().map(|to| CacheExport { ignore_error: true, ..to }).collect();
    let ran = bed.run(BuildRequest { cache_to: to, ..bed.request() });
    assert!(ran.warnings()[0].contains("the cache was not written"), "{:?}", ran.warnings());
    assert_eq!(ran.texts(StepOutcome::Failed).len(), 1, "the step that says so: {:?}", ran.events);
    let inline = export(CacheTarget::Inline, CacheMode::Max);
    let error = bed.fails(BuildRequest { cache_to: inline, ..bed.request() });
    assert!(error.chain().contains("mode=max"), "{error:?}");
}

//! Builds for machines other than this one.

use super::{Bench, config};
use crate::{BuildEvent, BuildRequest, Builder, BuilderConfig, Output, StepOutcome};
use hako_image::{Image, Sibling};
use std::fs;

/// A root whose programs are this machine's, whatever platform it is said to be for.
const FOREIGN: &str = "FROM --platform=$BUILDPLATFORM busybox AS tools\nFROM scratch\nCOPY --from=tools / /\n\
    ARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n";

fn of(bench: &Bench, platforms: &[&str]) -> BuildRequest {
    BuildRequest { platforms: platforms.iter().map(ToString::to_string).collect(), ..bench.request() }
}

/// A bench on a machine whose kernel has that table of emulators.
fn with_emulators(entries: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(FOREIGN);
    let dir = bench.dir.path().join("binfmt");
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in entries {
        fs::write(dir.join(name), text).unwrap();
    }
    let config = BuilderConfig { binfmt: Some(dir), ..config() };
    bench.builder = Builder::with_runner(bench.images.clone(), config, bench.runner.clone()).unwrap();
    bench
}

fn sibling(bench: &Bench, image: &Image, platform: &str) -> Image {
    match bench.images.sibling(image, &platform.parse().unwrap()).unwrap() {
        Sibling::Here(image) => *image,
        other => panic!("{platform}: {other:?}"),
    }
}

#[test]
fn a_foreign_program_runs_where_the_kernel_has_an_emulator() {
    let entry = "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: F\noffset 0\n\
        magic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n";
    let bench = with_emulators(&[("status", "enabled\n"), ("qemu-s390x", entry)]);
    let (image, events) = bench.try_build(of(&bench, &["linux/amd64", "linux/s390x"]));
    let image = image.unwrap_or_else(|error| panic!("{}: {events:?}", error.chain()));
    assert_eq!(bench.read(&image, "arch"), "amd64\n");
    let other = sibling(&bench, &image, "linux/s390x");
    assert_eq!(other.config.architecture().to_string(), "s390x");
    assert_eq!(bench.read(&other, "arch"), "s390x\n");
}

#[test]
fn a_foreign_program_is_refused_by_platform_place_and_what_would_help() {
    let bench = with_emulators(&[("status", "enabled\n")]);
    let error = bench.try_build(of(&bench, &["linux/s390x"])).0.unwrap_err();
    for part in ["Dockerfile:5: ", "linux/s390x", "no emulator", "$BUILDPLATFORM", "binfmt_misc", "flag F"] {
        assert!(error.chain().contains(part), "{part}: {}", error.chain());
    }
    bench.is_clean();
    let unknown = with_emulators(&[]);
    let error = unknown.try_build(of(&unknown, &["linux/amd64", "linux/s390x"])).0.unwrap_err();
    assert!(error.chain().contains("binfmt_misc is not mounted on /"), "{}", error.chain());
}

#[test]
fn what_platforms_have_in_common_is_made_once_and_counted_once() {
    let bench = Bench::new(
        "FROM --platform=$BUILDPLATFORM busybox AS build\nWORKDIR /w\nRUN echo once > once\n\
         ARG TARGETARCH\nRUN echo $TARGETARCH > who\nFROM scratch\nCOPY --from=build /w /\nENV A=b\n",
    );
    let (image, events) = bench.try_build(of(&bench, &["linux/arm64", "linux/amd64", "linux/arm/v7"]));
    let image = image.unwrap();
    let count = |text: &str| {
        let is_it = |event: &&BuildEvent| matches!(event, BuildEvent::StepStarted { text: it, .. } if it.contains(text));
        events.iter().filter(is_it).count()
    };
    assert_eq!((count("once > once"), count("> who"), count("ENV")), (1, 3, 3));
    let stages: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::StepStarted { stage, text, .. } if text.starts_with("ENV") => Some(stage.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(stages, ["linux/arm64 1", "linux/amd64 1", "linux/arm/v7 1"]);
    let steps = |event: &BuildEvent| match event {
        BuildEvent::StepEnded { step, outcome, .. } => Some((*step, *outcome)),
        _ => None,
    };
    let ended: Vec<(usize, StepOutcome)> = events.iter().filter_map(steps).collect();
    let mut numbers: Vec<usize> = ended.iter().map(|(step, _)| *step).collect();
    numbers.sort_unstable();
    assert!(events.contains(&BuildEvent::Planned { steps: numbers.len() }));
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    assert_eq!(
        image.config.architecture().to_string(),
        "amd64",
        "what this machine runs, whatever comes first"
    );
    for (platform, architecture) in [("linux/arm64", "arm64"), ("linux/arm/v7", "arm")] {
        let other = sibling(&bench, &image, platform);
        assert_eq!(bench.read(&other, "who"), format!("{architecture}\n"));
    }
    let (again, events) = bench.try_build(of(&bench, &["linux/arm64", "linux/amd64", "linux/arm/v7"]));
    assert_eq!(again.unwrap().index, image.index);
    let runs = events.iter().filter_map(|event| match event {
        BuildEvent::StepStarted { step, text, .. } if text.starts_with("RUN") => Some(*step),
        _ => None,
    });
    let runs: Vec<usize> = runs.collect();
    let again = events.iter().filter_map(steps).filter(|(step, _)| runs.contains(step));
    assert!(
        again.clone().count() == 0 || again.into_iter().all(|(_, outcome)| outcome == StepOutcome::Cached)
    );
}

#[test]
fn each_platform_has_its_own_words_for_target_and_all_the_same_for_build() {
    let bench = Bench::new(
        "FROM scratch\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM\n\
         LABEL is=\"$TARGETPLATFORM|$TARGETOS|$TARGETARCH|$TARGETVARIANT|$BUILDPLATFORM\"\nCOPY Dockerfile /\n",
    );
    let image = bench.try_build(of(&bench, &["linux/amd64", "linux/arm/v7"])).0.unwrap();
    let label = |image: &Image| image.raw_config["config"]["Labels"]["is"].as_str().unwrap().to_owned();
    assert_eq!(label(&image), "linux/amd64|linux|amd64||linux/amd64");
    let other = sibling(&bench, &image, "linux/arm/v7");
    assert_eq!(label(&other), "linux/arm/v7|linux|arm|v7|linux/amd64");
    assert_eq!(other.raw_config["variant"], "v7");
}

#[test]
fn a_stage_is_for_what_the_stage_that_it_starts_from_is_for() {
    let bench = Bench::new(
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nFROM tools AS cross\nARG TARGETARCH\n\
         RUN echo $TARGETARCH > /who\nFROM scratch\nCOPY --from=cross /who /\n",
    );
    let image = bench.try_build(of(&bench, &["linux/s390x"])).0.unwrap();
    assert_eq!(
        (bench.read(&image, "who"), image.config.architecture().to_string()),
        ("s390x\n".into(), "s390x".into())
    );
}

#[test]
fn files_for_several_platforms_have_a_directory_each() {
    let bench = Bench::new("FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /who\n");
    for architecture in ["amd64", "arm64"] {
        bench.write(architecture, architecture);
    }
    let (dir, tar) = (bench.dir.path().join("out"), bench.dir.path().join("out.tar"));
    let outputs = vec![Output::Local { dest: dir.clone() }, Output::Tar { dest: tar.clone() }];
    let request = BuildRequest { outputs, sbom: true, ..of(&bench, &["linux/amd64", "linux/arm64"]) };
    assert!(bench.try_build_to(request).0.unwrap().image.is_none());
    assert_eq!(fs::read_to_string(dir.join("linux_arm64/who")).unwrap(), "arm64");
    assert_eq!(fs::read_to_string(dir.join("linux_amd64/who")).unwrap(), "amd64");
    assert!(dir.join("linux_arm64/sbom.spdx.json").is_file());
    let listed = std::process::Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in ["linux_amd64/who", "linux_arm64/who", "linux_arm64/sbom.spdx.json"] {
        assert!(listed.lines().any(|line| line == name), "{name}: {listed}");
    }
    let outputs = vec![Output::Docker { dest: tar, compression: None }];
    let request = BuildRequest { outputs, ..of(&bench, &["linux/amd64", "linux/arm64"]) };
    let error = bench.try_build_to(request).0.unwrap_err();
    assert!(error.chain().contains("several platforms: write type=oci"), "{}", error.chain());
}

/// The image `strange` has a program of this machine and says that it is for arm64.
fn foreign(bench: &Bench) {
    says(bench, hako_oci::image::Arch::ARM64);
}

/// The image `strange` says that it is for that.
fn says(bench: &Bench, architecture: hako_oci::image::Arch) {
    let tar = hako_image::busybox_rootfs(std::path::Path::new("/bin/busybox")).unwrap();
    let config = hako_oci::image::ImageConfigurationBuilder::default().architecture(architecture);
    let rootfs =
        hako_oci::image::RootFsBuilder::default().typ("layers").diff_ids(Vec::<String>::new()).build();
    let config = config.os(hako_oci::image::Os::Linux).rootfs(rootfs.unwrap()).build().unwrap();
    bench.images.import_rootfs(tar.as_slice(), &"strange".parse().unwrap(), config).unwrap();
}

fn checked(events: &[BuildEvent]) -> Vec<(&'static str, usize, String)> {
    let reports = events.iter().filter_map(|event| match event {
        BuildEvent::Checked { report } => Some(report),
        _ => None,
    });
    let findings = reports.flat_map(|report| report.findings.clone());
    findings.map(|finding| (finding.rule.name(), finding.line, finding.message)).collect()
}

#[test]
fn a_base_image_for_another_platform_is_built_on_and_told_of() {
    let bench = Bench::new(
        "FROM busybox AS tools\nFROM strange AS base\nFROM base\nENV A=b\nCOPY --from=tools /bin/sh /own\n",
    );
    foreign(&bench);
    let (image, events) = bench.try_build(bench.request());
    assert_eq!(image.unwrap().config.architecture().to_string(), "arm64", "its programs are for that");
    let told = "strange:latest is for linux/arm64, and linux/amd64 is built".to_owned();
    assert_eq!(checked(&events), [("InvalidBaseImagePlatform", 2, told)]);
    let last = |event: &BuildEvent| matches!(event, BuildEvent::StepEnded { .. });
    let at = events.iter().position(|event| matches!(event, BuildEvent::Checked { .. })).unwrap();
    assert!(events[..at].iter().any(last), "it is told below what the steps write: {events:?}");
    // Who asks for that platform is told of nothing, nor who only takes files.
    let (image, events) = bench.try_build(of(&bench, &["linux/arm64"]));
    image.unwrap();
    assert_eq!(checked(&events).len(), 1, "busybox is for this machine: {events:?}");
    bench.write("Dockerfile", "FROM scratch\nCOPY --from=strange /bin/busybox /\n");
    let (image, events) = bench.try_build(bench.request());
    assert_eq!(image.unwrap().config.architecture().to_string(), "amd64");
    assert_eq!(checked(&events), []);
}

#[test]
fn what_is_for_another_platform_runs_only_by_an_emulator_and_is_refused_where_no_finding_may_be() {
    let bench = with_emulators(&[("status", "enabled\n")]);
    foreign(&bench);
    bench.write("Dockerfile", "FROM strange\nRUN true\n");
    let error = bench.try_build(bench.request()).0.unwrap_err().chain();
    assert!(error.contains("Dockerfile:2: ") && error.contains("linux/arm64"), "{error}");
    bench.write("Dockerfile", "# check=error=true\nFROM strange\nENV A=b\n");
    let error = bench.try_build(bench.request()).0.unwrap_err().chain();
    assert!(
        error.contains("Dockerfile:2: InvalidBaseImagePlatform: strange:latest is for linux/arm64"),
        "{error}"
    );
    bench.is_clean();
}

#[test]
fn what_an_image_says_of_its_platform_is_read_like_what_is_asked_for_and_shown_by_nobody_if_it_is_none() {
    let bench = Bench::new("FROM strange\nRUN echo here > /here\n");
    says(&bench, hako_oci::image::Arch::Other("x86_64".into()));
    let (image, events) = bench.try_build(bench.request());
    assert_eq!(bench.read(&image.unwrap(), "here"), "here\n");
    assert_eq!(checked(&events), [], "that is another word for amd64");
    says(&bench, hako_oci::image::Arch::Other("arm\u{1b}[2J\nwarning: all is well".into()));
    let error = bench.try_build(bench.request()).0.unwrap_err().chain();
    assert!(error.contains("Dockerfile:1: ") && !error.contains('\u{1b}'), "{error}");
}

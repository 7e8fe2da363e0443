//! Builds beside those of the peers that are installed: `builds HAKO [ROUNDS]`.
//!
//! Three stages that do not need each other stand on a Debian of debootstrap's minbase; each waits a second and
//! writes 2,000 small files, and the last stage copies from each. What a stage's input says is in all of its files:
//! otherwise builders that know a copy by its content would copy in the first round alone. A round builds that with inputs
//! that nobody has seen (cold), again (cached), and with one line of one stage's input changed. What the programs of the stages take without
//! any builder is measured too: no share below theirs can be reached.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

mod builders;
mod floor;

use anyhow::Context as _;
use builders::{Buildah, Builder, Docker, Hako};
use floor::{Floor, Times};
use hako_benches::{Row, Target, has, median, time};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STAGES: [&str; 3] = ["a", "b", "c"];

/// What a stage runs; `mark` sets what its files have in common.
fn script(stage: &str, mark: &str) -> String {
    let files = format!("while [ $i -lt 2000 ]; do echo $mark $i > /{stage}/$i; i=$((i+1)); done");
    format!("sleep 1; {mark}; mkdir /{stage}; i=0; {files}")
}

/// The mark of a program that has no input.
const NO_INPUT: &str = "mark=none";

fn dockerfile() -> String {
    let mut text = String::new();
    for stage in STAGES {
        let script = script(stage, "read mark < /input");
        text += &format!("FROM localhost/debian-base AS {stage}\nCOPY {stage} /input\nRUN {script}\n");
    }
    text += "FROM localhost/debian-base\n";
    for stage in STAGES {
        text += &format!("COPY --from={stage} /{stage} /{stage}\n");
    }
    text
}

/// The base's files as a tar, made once and kept beside the program.
fn base() -> anyhow::Result<PathBuf> {
    let tar = std::env::current_exe()?.with_file_name("bench-debian.tar");
    if !tar.is_file() {
        anyhow::ensure!(has("debootstrap"), "debootstrap is not installed: it makes the base image");
        let scratch = tempfile::tempdir()?;
        let root = scratch.path().join("root");
        time(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&root))?;
        let new = tar.with_extension("new");
        time(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&new).arg("."))?;
        fs::rename(new, &tar)?;
    }
    Ok(tar)
}

/// What was measured of one builder, in milliseconds.
struct Measured {
    name: &'static str,
    /// Cold, cached, changed.
    samples: [Vec<f64>; 3],
}

fn round(
    builder: &dyn Builder,
    context: &Path,
    samples: &mut [Vec<f64>; 3],
    mark: &str,
) -> anyhow::Result<()> {
    for stage in STAGES {
        fs::write(context.join(stage), format!("{mark} {stage}\n"))?;
    }
    samples[0].push(time(&mut builder.build(context))?);
    samples[1].push(time(&mut builder.build(context))?);
    fs::write(context.join(STAGES[0]), format!("{mark} changed\n"))?;
    samples[2].push(time(&mut builder.build(context))?);
    Ok(())
}

/// What of the fastest peer's time is left without a builder: `floor` are the programs, on their own and with what else there is.
fn rows(ours: &Measured, peers: &[Measured], floor: &Times, contained: f64) -> Vec<Row> {
    let whats = [
        ("build of three stages, cold", Target::RatioAtMost(0.7)),
        ("build of three stages, fully cached", Target::AtMost(30.0)),
        ("build of three stages, one line of one changed", Target::RatioAtMost(0.6)),
    ];
    let mut rows = Vec::new();
    for (at, (what, target)) in whats.into_iter().enumerate() {
        let figure = |measured: &Measured| median(measured.samples[at].clone());
        for peer in peers {
            println!("{what}: {} {:.0} ms", peer.name, figure(peer));
        }
        let fastest = peers.iter().min_by(|a, b| figure(a).total_cmp(&figure(b)));
        let peer = fastest.map(|peer| (peer.name.to_owned(), figure(peer)));
        let share = |took: f64| match &peer {
            Some((name, figure)) => format!("{took:.0} ms, {:.2} of {name}", took / figure),
            None => format!("{took:.0} ms"),
        };
        let why = match at {
            0 => format!(
                "without any builder the three programs at once take {}; with cp of their files {}",
                share(floor.programs),
                share(floor.with_copies)
            ),
            2 => format!(
                "without any builder the stage's program takes {}, in a container of ours {}",
                share(floor.one),
                share(contained)
            ),
            _ => String::new(),
        };
        if !why.is_empty() {
            println!("{what}: {why}");
        }
        rows.push(Row { what: what.into(), ours: figure(ours), peer, unit: "ms", target, why });
    }
    rows
}

/// The medians of the programs without a builder, and of one in a container of ours.
fn floors(scratch: &Path, base: &Path, ours: &Hako, rounds: usize) -> anyhow::Result<(Times, f64)> {
    let floor = Floor::new(scratch, base)?;
    let programs = STAGES.map(|stage| (stage, script(stage, NO_INPUT)));
    // The first warms up.
    floor.round(&programs)?;
    let times = (0..rounds).map(|_| floor.round(&programs)).collect::<anyhow::Result<Vec<_>>>()?;
    let middle = |of: fn(&Times) -> f64| median(times.iter().map(of).collect());
    let contained = (0..rounds)
        .map(|_| ours.alone(&script(STAGES[0], NO_INPUT)))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    let times = Times {
        programs: middle(|times| times.programs),
        with_copies: middle(|times| times.with_copies),
        one: middle(|times| times.one),
    };
    Ok((times, median(contained)))
}

fn main() -> anyhow::Result<()> {
    let hako =
        PathBuf::from(std::env::args_os().nth(1).context("usage: builds HAKO [ROUNDS]")?).canonicalize()?;
    let rounds = std::env::args().nth(2).map_or(Ok(5), |text| text.parse::<usize>())?;
    let base = base()?;
    let scratch = tempfile::Builder::new().prefix("hako-bench-builds-").tempdir()?;
    let context = scratch.path().join("context");
    fs::create_dir(&context)?;
    fs::write(context.join("Dockerfile"), dockerfile())?;

    let ours = Hako::start(&hako, scratch.path(), &base)?;
    let archive = ours.save(scratch.path())?;
    let docker = Docker::start(scratch.path(), &base);
    let mut builders: Vec<(&'static str, Box<dyn Builder + '_>)> = vec![("hako", Box::new(&ours))];
    match &docker {
        Ok(docker) => {
            builders.push(("docker (classic)", Box::new(docker.classic())));
            builders.push(("docker (BuildKit)", Box::new(docker.buildkit())));
        }
        Err(error) => println!("docker: {error:#}"),
    }
    match Buildah::new(scratch.path(), &archive) {
        Ok(buildah) => builders.push(("buildah", Box::new(buildah))),
        Err(error) => println!("buildah: {error:#}"),
    }
    let mut measured = Vec::new();
    for (name, builder) in &builders {
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        // The first round warms up and is not counted; a peer that cannot do it says why.
        let mut done = round(&**builder, &context, &mut samples, &format!("{name} first"));
        samples = [Vec::new(), Vec::new(), Vec::new()];
        for count in 0..rounds {
            done = done.and_then(|()| round(&**builder, &context, &mut samples, &format!("{name} {count}")));
        }
        match done {
            Ok(()) => measured.push(Measured { name, samples }),
            Err(error) if measured.is_empty() => return Err(error),
            Err(error) => println!("{name}: could not be measured: {error:#}"),
        }
    }
    let (floor, contained) = floors(scratch.path(), &base, &ours, rounds)?;
    let (ours, peers) = measured.split_first().context("nothing was measured")?;
    rows(ours, peers, &floor, contained).iter().for_each(Row::print);
    Ok(())
}

//! Moving images beside the peers that are installed: `images HAKO [ROUNDS]`.
//!
//! A Debian root filesystem of debootstrap's minbase, without package lists and caches, is one gzip layer in
//! Debian's registry on loopback. The limits are shares of the fastest engine's median of the same run.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

mod base;
mod engines;
mod registry;

use anyhow::Context as _;
use engines::Engine;
use hako_benches::{Row, Target, median, time};
use registry::{Counting, Registry};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the image in archives.
const LOADED: &str = "localhost/bench:1";

/// Medians in milliseconds, by engine; the first is ours.
type Figures = Vec<(String, f64)>;

struct Bench<'a> {
    engines: &'a [Engine],
    scratch: &'a Path,
    rounds: usize,
    registry: Registry,
    /// A docker-archive with one plain layer.
    archive: PathBuf,
}

impl Bench<'_> {
    /// Measures every engine in turn in each round, so that what else the machine does meets all alike.
    fn each(&self, mut sample: impl FnMut(&Engine) -> anyhow::Result<f64>) -> anyhow::Result<Figures> {
        let mut samples = vec![Vec::new(); self.engines.len()];
        for _ in 0..self.rounds {
            for (engine, samples) in self.engines.iter().zip(&mut samples) {
                samples.push(sample(engine).with_context(|| engine.name)?);
            }
        }
        let names = self.engines.iter().map(|engine| engine.name.to_owned());
        Ok(names.zip(samples.into_iter().map(median)).collect())
    }

    fn image(&self) -> String {
        format!("{}/debian:gzip", self.registry.host)
    }

    fn pull(&self) -> anyhow::Result<Figures> {
        let image = self.image();
        self.each(|engine| {
            let took = engine.pull(&image)?;
            engine.remove(&image)?;
            Ok(took)
        })
    }

    fn up_to_date(&self) -> anyhow::Result<Figures> {
        let image = self.image();
        for engine in self.engines {
            engine.pull(&image)?;
        }
        self.each(|engine| engine.pull(&image))
    }

    fn load(&self) -> anyhow::Result<Figures> {
        self.each(|engine| {
            let took = engine.load(&self.archive)?;
            engine.remove(LOADED)?;
            Ok(took)
        })
    }

    /// To a registry that has nothing, in each round another. An image that was loaded has a plain layer, that is
    /// compressed on the way.
    fn push(&self, is_loaded: bool) -> anyhow::Result<Figures> {
        self.each(|engine| {
            let registry = Registry::start(self.scratch)?;
            let (from, name) = (self.image(), format!("{}/pushed:1", registry.host));
            let from = if is_loaded { LOADED.to_owned() } else { from };
            if is_loaded {
                engine.load(&self.archive)?;
            } else {
                engine.pull(&from)?;
            }
            engine.tag(&from, &name)?;
            let took = engine.push(&name)?;
            engine.remove(&name)?;
            engine.remove(&from)?;
            Ok(took)
        })
    }

    /// `gzip -dc | tar -x` of the same layer.
    fn tar(&self, gzip: &Path) -> anyhow::Result<f64> {
        let mut samples = Vec::new();
        for _ in 0..self.rounds {
            let dir = tempfile::tempdir_in(self.scratch)?;
            let script = "gzip -dc \"$1\" | tar -C \"$2\" -x";
            samples.push(time(Command::new("sh").args(["-c", script, "sh"]).arg(gzip).arg(dir.path()))?);
        }
        Ok(median(samples))
    }

    /// The share of a second version's bytes that its pull moved, in percent; both are in chunks.
    fn chunked(&self, roots: [&Path; 2]) -> anyhow::Result<Row> {
        // Where nothing of it is known: no chunk that is here is fetched. podman 4.3 writes chunks that are cut short.
        let hako = &self.engines[0];
        let registry = Registry::start(self.scratch)?;
        time(hako.command().args(["system", "prune", "--all", "--force"]))?;
        let way = Counting::start(&registry.host)?;
        let mut whole = 0;
        for (version, root) in (1..).zip(roots) {
            let name = format!("{}/chunked:{version}", registry.host);
            time(hako.command().args(["image", "import"]).arg(root).arg(&name))?;
            time(hako.command().args(["push", "--compression", "zstd:chunked", &name]))?;
            hako.remove(&name)?;
            let before = way.received();
            hako.pull(&format!("{}/chunked:{version}", way.host))?;
            let moved = way.received() - before;
            println!("zstd:chunked, version {version}: {moved} bytes received");
            whole = if version == 1 { moved } else { whole };
            // Else a layer was known here or there already, and the share would be of nothing.
            anyhow::ensure!(whole > 10_000_000, "the first version's pull moved {whole} bytes only");
            if version == 2 {
                let what = "pull of a version with 1 % of the files changed".into();
                let ours = 100.0 * moved as f64 / whole as f64;
                let target = Target::AtMost(5.0);
                return Ok(Row { what, ours, peer: None, unit: "%", target, why: String::new() });
            }
        }
        anyhow::bail!("there are two versions")
    }
}

fn row(what: &str, figures: &Figures, target: Target) -> Row {
    let all: Vec<String> = figures.iter().map(|(name, figure)| format!("{name} {figure:.0} ms")).collect();
    println!("{what}: {}", all.join(", "));
    let peer = figures[1..].iter().min_by(|one, other| one.1.total_cmp(&other.1)).cloned();
    Row { what: what.to_owned(), ours: figures[0].1, peer, unit: "ms", target, why: String::new() }
}

fn main() -> anyhow::Result<()> {
    let hako = PathBuf::from(std::env::args_os().nth(1).context("usage: images HAKO [ROUNDS]")?);
    let rounds = std::env::args().nth(2).map_or(Ok(5), |text| text.parse())?;
    let scratch = tempfile::Builder::new().prefix("hako-bench-images-").tempdir()?;
    let scratch = scratch.path();
    let podman = Engine::podman(scratch).context("podman is not installed: it makes the archives")?;
    let files = base::make(scratch, &podman, LOADED)?;
    let mut engines = vec![Engine::hako(&hako.canonicalize()?, scratch)?, podman];
    engines.extend(Engine::docker(scratch));
    let registry = Registry::start(scratch)?;
    let bench = Bench { engines: &engines, scratch, rounds, registry, archive: files.archive.clone() };
    let skopeo = |to: &str| {
        let from = format!("docker-archive:{}", files.archive.display());
        time(Command::new("skopeo").args([
            "copy",
            "--dest-tls-verify=false",
            &from,
            &format!("docker://{to}"),
        ]))
    };
    skopeo(&bench.image())?;
    println!("load average before: {}", std::fs::read_to_string("/proc/loadavg")?.trim());

    let mut rows = vec![row("pull into a snapshot", &bench.pull()?, Target::RatioAtMost(0.55))];
    println!("gzip -dc | tar -x alone: {:.0} ms", bench.tar(&files.gzip)?);
    rows.push(row("push of what was pulled", &bench.push(false)?, Target::RatioAtMost(0.5)));
    rows.push(row("push of what was loaded", &bench.push(true)?, Target::RatioAtMost(0.5)));
    let empty = Registry::start(scratch)?;
    println!(
        "skopeo from the archive to an empty registry: {:.0} ms",
        skopeo(&format!("{}/a:1", empty.host))?
    );
    rows.push(row("load of a docker-archive", &bench.load()?, Target::RatioAtMost(0.5)));
    rows.push(row("pull of what is up to date", &bench.up_to_date()?, Target::AtMost(10.0)));
    match bench.chunked([&files.tar, &files.changed]) {
        Ok(row) => rows.push(row),
        Err(error) => println!("pull in chunks: could not be measured: {error}"),
    }
    println!("load average after: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    rows.iter().for_each(Row::print);
    Ok(())
}

//! Our registry beside Debian's docker-registry: `registry HAKO [ROUNDS]`.
//!
//! Both keep their blobs in files below one temporary directory and speak plain HTTP on the loopback. In each round
//! the same requests go over 32 connections to one and then to the other. The load generator discards bodies in the
//! kernel; as it shares the processors with the server, the server's processor time is printed too.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

mod push;
mod servers;

use anyhow::Context as _;
use hako_benches::bare;
use hako_benches::load::{self, Measured};
use hako_benches::{Row, Target, has, median};
use servers::Server;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

const CONNECTIONS: usize = 32;
const WINDOW: Duration = Duration::from_millis(1500);
const MIB: u64 = 1 << 20;
/// What the whole process may take while it sends a blob of any size: program, runtime, recent manifests and buffers.
const MEMORY_MIB: f64 = 48.0;

/// One kind of request.
struct Case {
    what: &'static str,
    path: String,
    /// Whether the rate is told in MiB/s instead of requests.
    is_bulk: bool,
    /// Where a bare loop serves as many bytes.
    bare: Option<SocketAddr>,
}

/// The figures of one case for both servers, a sample a round.
#[derive(Default)]
struct Samples {
    rates: [Vec<f64>; 2],
    cpu: [Vec<f64>; 2],
    /// Of a bare loop of sendfile(2), where the case is bulk.
    bare: Vec<f64>,
}

/// Puts the same content into a registry; the requests that will be measured, and the path of a blob of 500 MB.
fn fill(server: &Server) -> anyhow::Result<(Vec<Case>, String)> {
    let mut paths = Vec::new();
    for bytes in [MIB, 50_000_000, 500_000_000] {
        let digest = push::blob(server.address, bytes)?;
        paths.push(format!("/v2/bench/blobs/{digest}"));
    }
    let digest = push::manifest(server.address, MIB)?;
    let case = |what, path: &str, bare: Option<SocketAddr>| Case {
        what,
        path: path.to_owned(),
        is_bulk: bare.is_some(),
        bare,
    };
    let cases = vec![
        case("manifest GET by tag", "/v2/bench/manifests/v1", None),
        case("manifest GET by digest", &format!("/v2/bench/manifests/{digest}"), None),
        case("blob GET, 1 MiB", &paths[0], Some(bare::serve(TcpListener::bind("127.0.0.1:0")?, MIB)?)),
        case("blob GET, 50 MB", &paths[1], Some(bare::serve(TcpListener::bind("127.0.0.1:0")?, 50_000_000)?)),
    ];
    Ok((cases, paths.swap_remove(2)))
}

fn sample(case: &Case, server: &Server, samples: &mut Samples, at: usize) -> anyhow::Result<()> {
    let before = server.cpu_seconds()?;
    let Measured { requests, bytes, took } = load::run(server.address, &case.path, CONNECTIONS, WINDOW)
        .with_context(|| format!("{} of {}", case.what, server.name))?;
    let cpu = server.cpu_seconds()? - before;
    anyhow::ensure!(requests > 0.0 && bytes > 0, "{}: {} answered nothing", case.what, server.name);
    let mib = bytes as f64 / MIB as f64;
    let (rate, unit_cost) =
        if case.is_bulk { (mib, cpu * 1e3 / mib) } else { (requests, cpu * 1e6 / requests) };
    samples.rates[at].push(rate / took.as_secs_f64());
    samples.cpu[at].push(unit_cost);
    Ok(())
}

/// Peak resident memory in MiB while one blob of 500 MB is fetched.
fn memory(server: &Server, path: &str) -> anyhow::Result<f64> {
    server.reset_peak()?;
    load::run(server.address, path, 1, Duration::ZERO)?;
    server.peak_mib()
}

fn rows(cases: &[Case], samples: Vec<Samples>, peer: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, samples) in cases.iter().zip(samples) {
        let why = why(&samples);
        let mut row = |what: String, [ours, peers]: [Vec<f64>; 2], unit, target| {
            let peer = Some((peer.to_owned(), median(peers)));
            rows.push(Row { what, ours: median(ours), peer, unit, target, why: why.clone() });
        };
        let (rate, cost) = if case.is_bulk { ("MiB/s", "ms/MiB") } else { ("req/s", "us/req") };
        row(format!("registry {}", case.what), samples.rates, rate, Target::RatioAtLeast(2.0));
        row(format!("registry {}, server's CPU", case.what), samples.cpu, cost, Target::None);
    }
    rows
}

/// What a bare loop reaches says how much of the rate is the machine's.
fn why(samples: &Samples) -> String {
    if samples.bare.is_empty() {
        return String::new();
    }
    let (bare, ours) = (median(samples.bare.clone()), median(samples.rates[0].clone()));
    format!(
        "a bare loop of sendfile(2), without HTTP, rights or a log, gives this client {bare:.0} MiB/s; ours is {:.2} \
         of that: the loopback and the client on the same processors are the bound",
        ours / bare
    )
}

fn main() -> anyhow::Result<()> {
    let hako =
        PathBuf::from(std::env::args_os().nth(1).context("usage: registry HAKO [ROUNDS]")?).canonicalize()?;
    let rounds = std::env::args().nth(2).map_or(Ok(3), |text| text.parse::<usize>())?;
    if !has("docker-registry") {
        println!("registry: docker-registry is not installed, nothing to compare with");
        return Ok(());
    }
    let scratch = tempfile::Builder::new().prefix("hako-bench-registry-").tempdir()?;
    let servers = [Server::hako(&hako, scratch.path())?, Server::docker(scratch.path())?];
    let (cases, large) = fill(&servers[0])?;
    fill(&servers[1])?;
    let mut samples: Vec<Samples> = cases.iter().map(|_| Samples::default()).collect();
    for _ in 0..rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            for (at, server) in servers.iter().enumerate() {
                sample(case, server, samples, at)?;
            }
            if let Some(address) = case.bare {
                let measured = load::run(address, &case.path, CONNECTIONS, WINDOW)?;
                samples.bare.push(measured.bytes as f64 / MIB as f64 / measured.took.as_secs_f64());
            }
        }
    }
    let peer = servers[1].name;
    rows(&cases, samples, peer).iter().for_each(Row::print);
    Row {
        what: "registry peak memory while 500 MB are fetched".into(),
        ours: memory(&servers[0], &large)?,
        peer: Some((peer.into(), memory(&servers[1], &large)?)),
        unit: "MiB",
        target: Target::AtMost(MEMORY_MIB),
        why: String::new(),
    }
    .print();
    Ok(())
}

//! `kill -9` at any moment: nothing acknowledged is lost, every container is adopted or cleanly reaped, and the
//! service answers all the while.

mod writer;

use crate::platform::{Platform, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use writer::{Acknowledged, Random, Writer};

const KILLS: u32 = 200;

/// Pods that come and go, so that kills meet every step of their lives.
const TIDE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: tide, namespace: hello}
spec:
  replicas: 0
  selector: {matchLabels: {app: tide}}
  template:
    metadata: {labels: {app: tide}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: busybox, command: [sleep, '100000']}
";

#[test]
fn two_hundred_kills_under_load_lose_nothing() {
    let mut platform = Platform::start();
    let service = deploy(&platform);
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "100000"]);
    let steady = platform.container_processes();
    assert_eq!(steady.len(), 4, "three pods and a single container");
    let pods = pods(&platform);

    let mut random = Random(seed());
    println!("HAKO_SEED={}", random.0);
    let load = Load::start(&platform, &mut random);
    for kill in 0..KILLS {
        kill_at_a_random_moment(&mut platform, kill, service, &mut random);
        let lost: Vec<_> = steady.difference(&platform.container_processes()).copied().collect();
        assert!(lost.is_empty(), "kill {kill}: of {steady:?} are gone: {lost:?}");
    }
    let (acknowledged, known) = load.stop();

    println!("{acknowledged:?} over {KILLS} kills");
    for count in [acknowledged.created, acknowledged.updated, acknowledged.deleted] {
        assert!(count > KILLS as usize / 2, "too few writes were acknowledged: {acknowledged:?}");
    }
    assert_same(&known, &stored(&platform));
    settle_the_tide(&platform, &steady);
    assert_eq!(self::pods(&platform), pods, "a pod was replaced or restarted");
    pods_are_still_ours(&platform, &pods);
    platform.down();
}

fn seed() -> u64 {
    let given = std::env::var("HAKO_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1)
}

/// Deploys the example and the tide; gives the example's service.
fn deploy(platform: &Platform) -> SocketAddr {
    platform.deploy_example();
    let manifest = platform.data_dir().with_file_name("tide.yaml");
    std::fs::write(&manifest, TIDE).unwrap();
    platform.kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
    let path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    let service = platform.kubectl(&["-n", "hello", "get", "service", "hello", "-o", path]).parse().unwrap();
    wait_until("the service", || ask(service).is_ok());
    service
}

/// One request on a connection of its own.
fn ask(service: SocketAddr) -> std::io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut connection = TcpStream::connect_timeout(&service, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The example's pods with their ids, Ready, and with the number of their restarts.
fn pods(platform: &Platform) -> String {
    let columns = "custom-columns=NAME:.metadata.name,ID:.metadata.uid,\
                   READY:.status.containerStatuses[0].ready,RESTARTS:.status.containerStatuses[0].restartCount";
    platform.kubectl(&["-n", "hello", "get", "pods", "-l", "app=hello", "--no-headers", "-o", columns])
}

/// While containers and pods come and go; the service answers with nobody at home and after the return.
fn kill_at_a_random_moment(platform: &mut Platform, kill: u32, service: SocketAddr, random: &mut Random) {
    let replicas = random.below(4).to_string();
    let churn = [
        spawn(platform, &["run", "--rm", "busybox", "true"]),
        spawn(platform, &["scale", "deployment/tide", "-n", "hello", "--replicas", &replicas]),
    ];
    std::thread::sleep(Duration::from_micros(random.below(60_000)));
    platform.kill();
    for mut command in churn {
        command.wait().unwrap();
    }
    assert_answers(service, kill, "while nothing of hako runs");
    platform.up();
    assert_answers(service, kill, "after the return");
}

/// Starts a command that a kill may cut off: how it ends does not count.
fn spawn(platform: &Platform, arguments: &[&str]) -> Child {
    platform.hako().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[track_caller]
fn assert_answers(service: SocketAddr, kill: u32, when: &str) {
    let answer = ask(service).unwrap_or_else(|error| panic!("kill {kill}, {when}: the service: {error}"));
    assert!(answer.contains("hello v1"), "kill {kill}, {when}: {answer:?}");
}

/// Writers in threads of their own.
struct Load {
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Writer>>,
}

impl Load {
    fn start(platform: &Platform, random: &mut Random) -> Self {
        let runtime = runtime();
        let stop = Arc::new(AtomicBool::new(false));
        let start = |index: u64| {
            let (kubeconfig, stop) = (platform.kubeconfig(), Arc::clone(&stop));
            let random = Random(random.below(u64::MAX) | 1);
            runtime.spawn(async move {
                Writer::new(&kubeconfig, format!("writer-{index}"), random).await.run(&stop).await
            })
        };
        let writers = (0..8).map(start).collect();
        Self { runtime, stop, writers }
    }

    /// What was acknowledged, and what has to be stored.
    fn stop(self) -> (Acknowledged, BTreeMap<String, String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut acknowledged, mut known) = (Acknowledged::default(), BTreeMap::new());
        for writer in self.writers {
            let writer = self.runtime.block_on(writer).unwrap();
            acknowledged.add(writer.acknowledged);
            known.extend(writer.known);
        }
        (acknowledged, known)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn stored(platform: &Platform) -> BTreeMap<String, String> {
    runtime().block_on(writer::stored(&platform.kubeconfig()))
}

/// Objects lost, brought back or with another value.
fn assert_same(known: &BTreeMap<String, String>, stored: &BTreeMap<String, String>) {
    let names: BTreeSet<&String> = known.keys().chain(stored.keys()).collect();
    let wrong: Vec<_> = names
        .into_iter()
        .map(|name| (name, known.get(name), stored.get(name)))
        .filter(|(_, known, stored)| known != stored)
        .collect();
    assert!(wrong.is_empty(), "{} of {} (name, acknowledged, stored): {wrong:?}", wrong.len(), known.len());
}

/// All that kills have cut off is reaped; only what was there before is left, with the same processes.
fn settle_the_tide(platform: &Platform, steady: &BTreeSet<(i32, u64)>) {
    platform.run(&["scale", "deployment/tide", "-n", "hello", "--replicas", "0"]);
    wait_until("the leftovers of cut runs to be reaped", || platform.container_processes() == *steady);
}

/// What was adopted two hundred times can still be entered, and goes when it is told to.
fn pods_are_still_ours(platform: &Platform, pods: &str) {
    for name in pods.lines().filter_map(|line| line.split_whitespace().next()) {
        let said = platform.kubectl(&["-n", "hello", "exec", name, "--", "/bin/busybox", "hostname"]);
        assert_eq!(said.trim(), name);
    }
    platform.kubectl(&["delete", "namespace", "hello", "--timeout=60s"]);
    assert_eq!(platform.container_processes().len(), 1, "the single container");
}

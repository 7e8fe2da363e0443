//! `kill -9` at any moment: nothing acknowledged is lost, every container is adopted or cleanly reaped.

use crate::platform::{Platform, wait_until};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KILLS: u32 = 200;

/// A small generator, seeded and printed, so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn two_hundred_kills_under_load_lose_nothing() {
    let mut platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "100000"]);
    let steady = platform.container_processes();
    assert_eq!(steady.len(), 1);

    let seed = std::env::var("HAKO_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    println!("HAKO_SEED={seed}");
    let mut random = Random(seed);
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let serial = Arc::new(AtomicU32::new(0));
    let writers: Vec<_> = (0..8)
        .map(|_| {
            runtime.spawn(write(
                platform.kubeconfig(),
                Arc::clone(&serial),
                Arc::clone(&acknowledged),
                Arc::clone(&stop),
            ))
        })
        .collect();

    kill_again_and_again(&mut platform, &steady, &mut random);

    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        runtime.block_on(writer).unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > KILLS as usize, "only {} writes were acknowledged", acknowledged.len());
    let stored: BTreeSet<String> = platform
        .kubectl(&["get", "configmaps", "-o", "name"])
        .lines()
        .map(|line| line.trim_start_matches("configmap/").to_owned())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    println!("{} writes acknowledged over {KILLS} kills, none lost", acknowledged.len());
    wait_until("the leftovers of cut runs to be reaped", || platform.container_processes() == steady);
    drop(runtime);
    platform.down();
}

/// Kills the platform at random moments; the steady container lives through each.
fn kill_again_and_again(platform: &mut Platform, steady: &BTreeSet<(i32, u64)>, random: &mut Random) {
    for kill in 0..KILLS {
        // Containers come and go meanwhile, so that kills meet every step of their lives.
        let mut churn = platform
            .hako()
            .args(["run", "--rm", "busybox", "true"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        platform.kill();
        churn.wait().unwrap();
        platform.up();
        assert!(
            platform.container_processes().is_superset(steady),
            "kill {kill}: the steady container is gone"
        );
    }
}

async fn write(
    kubeconfig: std::path::PathBuf,
    serial: Arc<AtomicU32>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
) {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let configs: Api<ConfigMap> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
    while !stop.load(Ordering::Relaxed) {
        let name = format!("w{}", serial.fetch_add(1, Ordering::Relaxed));
        let mut config = ConfigMap::default();
        config.metadata.name = Some(name.clone());
        match configs.create(&PostParams::default(), &config).await {
            Ok(_) => {
                acknowledged.lock().unwrap().insert(name);
            }
            // The server is away: what was not acknowledged may or may not be there.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

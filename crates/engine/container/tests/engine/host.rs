//! A throw-away machine: directories, a network namespace as "the host", an instance id of its own.

use futures::{Future, TryStreamExt};
use hako_cgroup::CgroupRoot;
use hako_container::{
    Action, ContainerEngine, ContainerSpec, ContainerState, Engine, EngineConfig, Event, ExecSession,
    ImageSource, LogOptions, NetworkMode, SandboxSpec, Stream, Subject,
};
use hako_content::ContentStore;
use hako_image::ImageStore;
use hako_names::ContainerId;
use hako_netlink::Links;
use hako_network::{Firewall, Network, NetworkConfig, Networks, NetworksConfig};
use hako_snapshot::Overlay;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;

pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Host {
    dir: tempfile::TempDir,
    pub instance: String,
    pub images: ImageStore,
    network: Arc<Network>,
}

/// Runs a test on a machine of its own and checks that it leaves nothing.
pub fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Arc<Host>) -> F + Send + 'static) {
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        Links::open().unwrap().set_up("lo").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let host = Arc::new(Host::new());
            tokio::time::timeout(Duration::from_secs(60), test(Arc::clone(&host)))
                .await
                .expect("the test takes too long");
            host.take_down().await;
        });
    };
    std::thread::spawn(run).join().unwrap();
}

impl Host {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let number = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let instance = format!("{:06x}", number & 0xff_ffff);
        let snapshots = Arc::new(Overlay::open(dir.path().join("snapshots")).unwrap());
        let content = ContentStore::open(dir.path().join("content")).unwrap();
        let images = ImageStore::open(content, snapshots, dir.path().join("images")).unwrap();
        let tar = hako_image::busybox_rootfs(Path::new("/bin/busybox")).unwrap();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "FROM_IMAGE=yes"] },
        });
        let config = serde_json::from_value(config).unwrap();
        images.import_rootfs(&tar[..], &"busybox".parse().unwrap(), config).unwrap();
        let network = NetworkConfig {
            instance: instance.clone(),
            state_dir: dir.path().join("network"),
            subnet: Some("10.77.0.0/24".parse().unwrap()),
            firewall: hako_network::Firewall::Own,
        };
        let network = Arc::new(Network::open(network).unwrap());
        Self { dir, instance, images, network }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub async fn open(&self) -> Engine {
        let config = EngineConfig {
            data_dir: self.dir.path().join("engine"),
            run_dir: self.dir.path().join("run"),
            instance: self.instance.clone(),
            exe: hako_testkit::shim_exe(),
            images: self.images.clone(),
            network: Some(Arc::clone(&self.network)),
            networks: Some(Arc::new(self.networks())),
            cgroups: CgroupRoot::detect().unwrap(),
            cdi: hako_cdi::Directories::new(vec![self.dir.path().join("cdi")]),
            users: None,
        };
        Engine::open(config).await.unwrap()
    }

    /// The networks as a process that starts now finds them.
    pub fn networks(&self) -> Networks {
        let config = NetworksConfig {
            instance: self.instance.clone(),
            state_dir: self.dir.path().join("network"),
            pools: hako_network::default_pools(),
            firewall: Firewall::Own,
        };
        Networks::open(config).unwrap()
    }

    /// Removes everything and checks that it is gone.
    async fn take_down(&self) {
        let engine = self.open().await;
        for container in engine.containers(&Default::default()).await.unwrap() {
            let _ = engine.remove(&container.id, KILL).await;
        }
        for sandbox in engine.sandboxes(&Default::default()).await.unwrap() {
            engine.remove_sandbox(&sandbox.id).await.unwrap();
        }
        drop(engine);
        self.assert_nothing_left();
        self.network.teardown().unwrap();
        self.networks().teardown().unwrap();
        let parent = format!("/hako-{}", self.instance);
        if let Ok(group) = CgroupRoot::detect().unwrap().open(&parent) {
            group.delete().unwrap();
        }
    }

    /// What a removal gives back behind its answer is waited for.
    pub fn assert_nothing_left(&self) {
        let start = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "left: {left:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for dir in ["engine/containers", "engine/sandboxes", "engine/trash", "engine/volumes", "run/s"] {
            let entries = std::fs::read_dir(self.dir.path().join(dir)).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
        let snapshots = self.images.snapshots().list().into_iter().map(|one| one.name);
        left.extend(snapshots.filter(|name| name.starts_with("container-")));
        let parent = format!("/hako-{}", self.instance);
        let root = CgroupRoot::detect().unwrap();
        if let Ok(group) = root.open(&parent) {
            left.extend(group.processes().unwrap().iter().map(|pid| format!("process {pid}")));
            for hierarchy in root.hierarchies() {
                let children =
                    std::fs::read_dir(hierarchy.mount.join(&parent[1..])).into_iter().flatten().flatten();
                let children = children
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir() && !path.ends_with("shims"));
                left.extend(children.map(|path| path.display().to_string()));
            }
        }
        let links = Links::open().unwrap().list().unwrap();
        left.extend(
            links
                .into_iter()
                .map(|link| link.name)
                .filter(|name| name.starts_with("hv") || name.starts_with("hn")),
        );
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(
            mounts.lines().filter(|line| line.contains(self.dir.path().to_str().unwrap())).map(str::to_owned),
        );
        left
    }
}

pub fn busybox(script: &str) -> ContainerSpec {
    ContainerSpec {
        image: ImageSource::Name("busybox".parse().unwrap()),
        command: vec!["sh".into(), "-c".into(), script.into()],
        ..ContainerSpec::default()
    }
}

pub fn no_network() -> SandboxSpec {
    SandboxSpec { network: NetworkMode::None, ..SandboxSpec::default() }
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything the container has logged.
pub async fn logged(engine: &Engine, id: &ContainerId, options: LogOptions) -> String {
    let lines: Vec<_> = engine.logs(id, options).await.unwrap().try_collect().await.unwrap();
    lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
}

pub async fn state(engine: &Engine, id: &ContainerId) -> ContainerState {
    engine.container(id).await.unwrap().state
}

pub async fn pid(engine: &Engine, id: &ContainerId) -> u32 {
    match state(engine, id).await {
        ContainerState::Running { pid, .. } => pid,
        other => panic!("not running: {other:?}"),
    }
}

pub async fn finish(session: ExecSession) -> (i32, String, String) {
    let pieces: Vec<_> = session.output.try_collect().await.unwrap();
    let text = |wanted: Stream| {
        let bytes: Vec<u8> = pieces
            .iter()
            .filter(|(stream, _)| *stream == wanted)
            .flat_map(|(_, bytes)| bytes.to_vec())
            .collect();
        String::from_utf8(bytes).unwrap()
    };
    (session.exit.await.unwrap(), text(Stream::Stdout), text(Stream::Stderr))
}

/// The actions of one container until it is destroyed.
pub async fn actions(events: &mut Receiver<Arc<Event>>, wanted: &ContainerId) -> Vec<Action> {
    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
        if matches!(&event.subject, Subject::Container { id, .. } if id == wanted) {
            seen.push(event.action.clone());
            if event.action == Action::Destroy {
                return seen;
            }
        }
    }
}

/// Kills it first and takes its volumes along.
pub const KILL: hako_container::Removal = hako_container::Removal { force: true, volumes: true };
/// Takes its volumes along.
pub const WITH_VOLUMES: hako_container::Removal = hako_container::Removal { force: false, volumes: true };

//! An engine with its API on a socket, driven by the docker command line.

use crate::seen::Seen;
use hako_build::{Builder, BuilderConfig};
use hako_cgroup::CgroupRoot;
use hako_container::{ContainerEngine, Engine, EngineConfig, Filter, IdMap, Removal};
use hako_content::ContentStore;
use hako_docker::DockerState;
use hako_image::ImageStore;
use hako_network::{Firewall, Network, NetworkConfig, Networks, NetworksConfig};
use hako_snapshot::Overlay;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// An engine with its API on a socket, in a network namespace of its own.
pub struct Daemon {
    pub socket: PathBuf,
    pub dir: PathBuf,
    /// The docker command line that the calls below run.
    cli: PathBuf,
}

/// A docker command line newer than Debian's.
pub const NEWER_CLI: &str = "/usr/local/bin/docker";

/// Names the socket of a dockerd that is to be tested in place of our engine.
pub const PEER: &str = "HAKO_TEST_DOCKERD";

/// Runs a test against a daemon and checks that nothing is left when its containers are removed.
pub fn with_daemon(test: impl FnOnce(&Daemon) + Send + 'static) {
    match std::env::var_os(PEER) {
        Some(socket) => crate::peer::with_peer(Path::new(&socket), test),
        None => with_daemon_of(None, test),
    }
}

/// The same, always for our engine, whose containers have these ids.
pub fn with_daemon_of(users: Option<IdMap>, test: impl FnOnce(&Daemon) + Send + 'static) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let seen = Seen::default();
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let mut links = hako_netlink::Links::open().unwrap();
        links.set_up("lo").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (engine, network, networks, instance) = runtime.block_on(serve(dir.path(), seen.clone(), users));
        let daemon = Daemon::new(dir.path().join("engine.sock"), dir.path().to_owned());
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&daemon)));
        runtime.block_on(async {
            for container in engine.containers(&Filter::default()).await.unwrap() {
                let _ = engine.remove(&container.id, Removal { force: true, volumes: true }).await;
            }
        });
        let is_clean = || {
            ["containers", "sandboxes", "trash"]
                .iter()
                .all(|dir| std::fs::read_dir(daemon.dir.join("engine").join(dir)).unwrap().next().is_none())
        };
        if result.is_ok() {
            daemon.until("everything is given back", is_clean);
        }
        network.teardown().unwrap();
        networks.teardown().unwrap();
        let left: Vec<String> = links.list().unwrap().into_iter().map(|link| link.name).collect();
        let is_own = |name: &String| name != "lo" && !name.starts_with("hp") && !name.starts_with("parent");
        assert!(!left.iter().any(is_own), "links are left: {left:?}");
        if let Ok(group) = CgroupRoot::detect().unwrap().open(&format!("/hako-{instance}")) {
            group.delete().unwrap();
        }
        match result {
            Ok(()) => seen.write(&name),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    };
    std::thread::spawn(run).join().unwrap();
}

async fn serve(
    dir: &Path,
    seen: Seen,
    users: Option<IdMap>,
) -> (Arc<Engine>, Arc<Network>, Arc<Networks>, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0x80_0000);
    let number = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let instance = format!("{:06x}", number & 0xff_ffff);
    let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
    let content = ContentStore::open(dir.join("content")).unwrap();
    let images = ImageStore::open(content, snapshots, dir.join("images")).unwrap();
    let subnet = Some("10.78.0.0/24".parse().unwrap());
    let (state_dir, firewall) = (dir.join("network"), Firewall::Own);
    let config = NetworkConfig { instance: instance.clone(), state_dir, subnet, firewall };
    let network = Arc::new(Network::open(config).unwrap());
    let config = NetworksConfig {
        instance: instance.clone(),
        state_dir: dir.join("network"),
        pools: hako_network::default_pools(),
        firewall: Firewall::Own,
    };
    let networks = Arc::new(Networks::open(config).unwrap());
    let engine = Engine::open(EngineConfig {
        data_dir: dir.join("engine"),
        run_dir: dir.join("run"),
        instance: instance.clone(),
        exe: hako_testkit::shim_exe(),
        images: images.clone(),
        network: Some(Arc::clone(&network)),
        networks: Some(Arc::clone(&networks)),
        cgroups: CgroupRoot::detect().unwrap(),
        cdi: hako_cdi::Directories::new(vec![dir.join("cdi")]),
        users,
    });
    let engine = Arc::new(engine.await.unwrap());
    let builder = Builder::new(
        images.clone(),
        BuilderConfig {
            cgroup: format!("/hako-{instance}/build"),
            parallel: 0,
            network: Some(Arc::clone(&network)),
            cdi: hako_cdi::Directories::new(vec![dir.join("cdi")]),
            ..BuilderConfig::default()
        },
    )
    .unwrap();
    let state = DockerState::new(Arc::clone(&engine), images, builder, "0.0-test")
        .with_recorder(move |exchange| seen.note(&exchange));
    let listener = tokio::net::UnixListener::bind(dir.join("engine.sock")).unwrap();
    tokio::spawn(hako_docker::serve(listener, state));
    (engine, network, networks, instance)
}

impl Daemon {
    pub fn new(socket: PathBuf, dir: PathBuf) -> Self {
        Self { socket, dir, cli: "docker".into() }
    }

    /// Does the same with every docker command line of this machine: 20.10 and newer ones read other fields.
    pub fn with_each_cli(&self, mut test: impl FnMut(&Daemon)) {
        let known = ["/usr/bin/docker", NEWER_CLI].map(PathBuf::from);
        let present: Vec<PathBuf> = known.into_iter().filter(|cli| cli.exists()).collect();
        assert!(!present.is_empty(), "no docker command line: install the package docker.io");
        for cli in present {
            test(&Daemon { socket: self.socket.clone(), dir: self.dir.clone(), cli });
        }
    }

    /// Whether this is Debian's dockerd, not ours. What it does otherwise is in the table of docs/from-docker.md.
    pub fn is_peer(&self) -> bool {
        std::env::var_os(PEER).is_some()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.cli);
        command.args(args).env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
            .env("DOCKER_CONFIG", self.dir.join("docker-config"))
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    /// `docker build` by BuildKit's protocol. Debian's command line has it built in; newer ones want a plugin.
    pub fn buildkit(&self, args: &[&str]) -> Command {
        let command = self.command(&[]);
        let mut built = Command::new("/usr/bin/docker");
        built.arg("build").args(args).stdin(Stdio::null());
        built.envs(command.get_envs().map(|(name, value)| (name, value.unwrap())));
        built.env("DOCKER_BUILDKIT", "1").env("BUILDKIT_PROGRESS", "plain");
        built
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Exit code, standard output, standard error.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.output(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "docker {args:?}: {out}{err}");
        out
    }

    /// A request of the API without a client; its answer must be a success.
    pub fn post(&self, path: &str, body: &str) -> String {
        let answer = self.ask("POST", path, body);
        assert!(answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2')), "{path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Head and body of the answer to a request without a client.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(&self.socket).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn import_busybox(&self) {
        let tar = hako_image::busybox_rootfs(Path::new("/bin/busybox")).unwrap();
        let file = self.dir.join("busybox.tar");
        std::fs::write(&file, tar).unwrap();
        let changes = ["--change", "CMD [\"sh\"]", "--change", "ENV PATH=/bin:/sbin:/usr/bin:/usr/sbin"];
        let id = self.ok(&[
            "import",
            changes[0],
            changes[1],
            changes[2],
            changes[3],
            file.to_str().unwrap(),
            "busybox:latest",
        ]);
        assert!(id.starts_with("sha256:"), "{id}");
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

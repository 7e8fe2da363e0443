//! What RUN steps reach, with real processes on this machine's kernel; needs root and a static busybox.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

use hako_build::{BuildEvent, BuildRequest, Builder, BuilderConfig, RunNetwork};
use hako_content::ContentStore;
use hako_image::{ImageStore, busybox_rootfs};
use hako_netlink::{Links, in_namespace};
use hako_network::{Network, NetworkConfig};
use hako_oci::image::ImageConfiguration;
use hako_snapshot::Overlay;
// Linked in so that this executable can be a runtime's process.
use hako_testkit as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

struct Bench {
    dir: PathBuf,
    builder: Builder,
    network: Arc<Network>,
}

/// Runs a test with a fresh namespace as the host; every thread it starts lives there.
fn on_host(test: impl FnOnce(Bench) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let namespace = std::thread::spawn(|| {
        hako_sys::unshare(hako_sys::CloneFlags::NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    let namespace = namespace.join().unwrap();
    let group = format!("/hako-test-{}", std::process::id());
    in_namespace(namespace.as_fd(), || {
        Links::open().unwrap().set_up("lo").unwrap();
        test(Bench::open(dir.path(), &group));
    })
    .unwrap();
    hako_cgroup::CgroupRoot::detect().unwrap().open(&group).unwrap().delete().unwrap();
}

impl Bench {
    fn open(dir: &Path, group: &str) -> Self {
        let content = ContentStore::open(dir.join("content")).unwrap();
        let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
        let images = ImageStore::open(content, snapshots, dir.join("images")).unwrap();
        let tar = busybox_rootfs(Path::new("/bin/busybox")).unwrap();
        let name = "busybox".parse().unwrap();
        images.import_rootfs(tar.as_slice(), &name, ImageConfiguration::default()).unwrap();
        let subnet = Some("10.244.0.0/24".parse().unwrap());
        let config = NetworkConfig {
            instance: "abc123".into(),
            state_dir: dir.join("network"),
            subnet,
            firewall: hako_network::Firewall::Own,
        };
        let network = Arc::new(Network::open(config).unwrap());
        let config = BuilderConfig {
            cgroup: format!("{group}/build"),
            parallel: 2,
            network: Some(network.clone()),
            ..BuilderConfig::default()
        };
        let builder = Builder::new(images, config).unwrap();
        Self { dir: dir.to_owned(), builder, network }
    }

    fn request(&self, command: &str, network: RunNetwork) -> BuildRequest {
        let context = self.dir.join("context");
        fs::create_dir_all(&context).unwrap();
        fs::write(context.join("Dockerfile"), format!("FROM busybox\nRUN {command}\n")).unwrap();
        BuildRequest { context, network, no_cache: true, ..BuildRequest::default() }
    }

    /// Whether the step succeeded, and what it wrote.
    fn run(&self, command: &str, network: RunNetwork) -> (bool, String) {
        let request = self.request(command, network);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(self.builder.build(request, sender));
        let mut output = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            if let BuildEvent::Output { bytes, .. } = event {
                output.extend(bytes);
            }
        }
        let output = String::from_utf8(output).unwrap();
        assert!(
            result.is_ok() || result.as_ref().is_err_and(|e| e.to_string().contains("exit code")),
            "{result:?}"
        );
        (result.is_ok(), output)
    }

    /// Host ends of steps that are still there after a while, and recorded attachments.
    fn leftovers(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let links = Links::open().unwrap().list().unwrap();
            let mut left: Vec<String> =
                links.into_iter().map(|link| link.name).filter(|name| name.starts_with("hv")).collect();
            let recorded = fs::read_dir(self.dir.join("network/attachments")).unwrap();
            left.extend(recorded.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

const LINKS: &str = "sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev | sort | tr '\\n' ' '";

#[test]
fn a_step_has_a_link_of_its_own_and_leaves_none_even_when_it_fails() {
    on_host(|bench| {
        let (is_ok, links) = bench.run(LINKS, RunNetwork::Bridge);
        assert!(is_ok);
        assert_eq!(links, "eth0 lo ");
        let gateway = bench.network.gateway();
        let (is_ok, output) = bench.run(&format!("ping -c 1 -W 2 {gateway} && exit 7"), RunNetwork::Bridge);
        assert!(!is_ok && output.contains("1 packets received"), "{output}");
        assert_eq!(bench.leftovers(), Vec::<String>::new());
    });
}

#[test]
fn a_dropped_build_leaves_no_link() {
    on_host(|bench| {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let request = bench.request("echo started; sleep 60", RunNetwork::Bridge);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let started =
                async { while !matches!(receiver.recv().await, None | Some(BuildEvent::Output { .. })) {} };
            tokio::select! {
                result = bench.builder.build(request, sender) => panic!("it ended: {result:?}"),
                () = started => {}
            }
        });
        drop(runtime);
        assert_eq!(bench.leftovers(), Vec::<String>::new());
    });
}

#[test]
fn a_step_reaches_what_listens_on_the_loopback_of_the_host_only_when_it_has_the_hosts_network() {
    on_host(|bench| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ask = format!("nc -w 2 127.0.0.1 {port} </dev/null");
        std::thread::spawn(move || listener.incoming().for_each(drop));
        assert!(!bench.run(&ask, RunNetwork::Bridge).0);
        assert!(!bench.run(&ask, RunNetwork::None).0);
        assert!(bench.run(&ask, RunNetwork::Host).0);
        let alias = format!("nc -w 2 {} {port} </dev/null", bench.network.gateway());
        assert!(!bench.run(&alias, RunNetwork::Bridge).0);
    });
}

#[test]
fn without_a_network_a_step_has_a_loopback_that_works() {
    on_host(|bench| {
        let command = format!("{LINKS}; ping -c 1 -W 2 127.0.0.1 >/dev/null && echo works");
        assert_eq!(bench.run(&command, RunNetwork::None), (true, "lo works\n".to_owned()));
    });
}

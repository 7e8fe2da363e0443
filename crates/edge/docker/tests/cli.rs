//! The docker command line against the real router, engine and builder. Needs root and the docker CLI.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

use hako_build::{Builder, BuilderConfig};
use hako_cgroup::CgroupRoot;
use hako_container::{ContainerEngine, Engine, EngineConfig, Filter};
use hako_content::ContentStore;
use hako_docker::DockerState;
use hako_image::ImageStore;
use hako_network::{Network, NetworkConfig};
use hako_snapshot::Overlay;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// An engine with its API on a socket, in a network namespace of its own.
struct Daemon {
    socket: PathBuf,
    dir: PathBuf,
}

/// Runs a test against a daemon and checks that nothing is left when its containers are removed.
fn with_daemon(test: impl FnOnce(&Daemon) + Send + 'static) {
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let mut links = hako_netlink::Links::open().unwrap();
        links.set_up("lo").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (engine, network, instance) = runtime.block_on(serve(dir.path()));
        let daemon = Daemon { socket: dir.path().join("engine.sock"), dir: dir.path().to_owned() };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&daemon)));
        runtime.block_on(async {
            for container in engine.containers(&Filter::default()).await.unwrap() {
                let _ = engine.remove(&container.id, true).await;
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
        if let Ok(group) = CgroupRoot::detect().unwrap().open(&format!("/hako-{instance}")) {
            group.delete().unwrap();
        }
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    };
    std::thread::spawn(run).join().unwrap();
}

async fn serve(dir: &Path) -> (Arc<Engine>, Arc<Network>, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0x80_0000);
    let number = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let instance = format!("{:06x}", number & 0xff_ffff);
    let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
    let content = ContentStore::open(dir.join("content")).unwrap();
    let images = ImageStore::open(content, snapshots, dir.join("images")).unwrap();
    let subnet = Some("10.78.0.0/24".parse().unwrap());
    let config = NetworkConfig { instance: instance.clone(), state_dir: dir.join("network"), subnet };
    let network = Arc::new(Network::open(config).unwrap());
    let engine = Engine::open(EngineConfig {
        data_dir: dir.join("engine"),
        run_dir: dir.join("run"),
        instance: instance.clone(),
        exe: hako_testkit::shim_exe(),
        images: images.clone(),
        network: Some(Arc::clone(&network)),
        cgroups: CgroupRoot::detect().unwrap(),
    });
    let engine = Arc::new(engine.await.unwrap());
    let builder = Builder::new(
        images.clone(),
        BuilderConfig {
            cgroup: format!("/hako-{instance}/build"),
            parallel: 0,
            network: Some(Arc::clone(&network)),
        },
    )
    .unwrap();
    let state = DockerState::new(Arc::clone(&engine), images, builder, "0.0-test");
    let listener = tokio::net::UnixListener::bind(dir.join("engine.sock")).unwrap();
    tokio::spawn(hako_docker::serve(listener, state));
    (engine, network, instance)
}

impl Daemon {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
            .env("DOCKER_CONFIG", self.dir.join("docker-config"))
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Exit code, standard output, standard error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.output(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "docker {args:?}: {out}{err}");
        out
    }

    fn import_busybox(&self) {
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

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn run_gives_output_and_exit_codes_and_removes_with_rm() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (code, out, err) =
            docker.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!((code, out.as_str(), err.as_str()), (7, "out\n", "err\n"));
        assert_eq!(docker.ok(&["ps", "-aq"]), "");
        let (code, _, err) = docker.run(&["run", "--rm", "busybox", "no-such-program"]);
        assert_eq!(code, 127, "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "busybox", "/etc/passwd"]);
        assert_eq!(code, 126, "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "nothing:here", "true"]);
        assert_eq!(code, 125, "{err}");
        assert!(err.contains("nothing:here"), "{err}");
        let (code, _, err) = docker.run(&["run", "--rm", "--init", "busybox", "true"]);
        assert_eq!(code, 125);
        assert!(err.contains("HostConfig.Init is unimplemented"), "{err}");
        assert_eq!(docker.ok(&["ps", "-aq"]), "");
    });
}

#[test]
fn standard_input_goes_through_run_and_exec() {
    with_daemon(|docker| {
        docker.import_busybox();
        let through = |args: &[&str]| {
            let mut child =
                docker.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
            let output = child.wait_with_output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(
            through(&["run", "-i", "--rm", "busybox", "sh", "-c", "cat; exit 3"]),
            (3, "typed\n".into())
        );
        docker.ok(&["run", "-d", "--name", "up", "busybox", "sleep", "100"]);
        assert_eq!(through(&["exec", "-i", "up", "sh", "-c", "cat; exit 4"]), (4, "typed\n".into()));
        let big = docker.ok(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done",
        ]);
        assert_eq!(big.lines().count(), 3000);
    });
}

#[test]
fn ps_inspect_logs_exec_stop_and_rm_work_on_a_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "trap 'echo asked; exit 0' TERM; echo started; while :; do sleep 0.05; done";
        let id = docker.ok(&[
            "run", "-d", "--name", "web", "-e", "A=b", "--label", "tier=one", "-w", "/tmp", "busybox", "sh",
            "-c", script,
        ]);
        docker.until("it has started", || docker.ok(&["logs", "web"]) == "started\n");
        assert_eq!(docker.ok(&["ps", "--no-trunc", "-q"]), id);
        let row = docker.ok(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}} {{.Status}}"]);
        assert!(row.starts_with("web busybox running Up "), "{row}");
        assert_eq!(docker.ok(&["ps", "-q", "--filter", "label=tier=two"]), "");
        let inspected = docker.ok(&[
            "inspect",
            "-f",
            "{{.State.Running}} {{.Config.WorkingDir}} {{.Name}} {{index .Config.Labels \"tier\"}}",
            "web",
        ]);
        assert_eq!(inspected, "true /tmp /web one\n");
        assert_eq!(
            docker.run(&["exec", "web", "sh", "-c", "echo $A; pwd; exit 5"]),
            (5, "b\n/tmp\n".into(), String::new())
        );
        let (code, out, err) = docker.run(&["exec", "web", "no-such-program"]);
        assert_eq!(code, 127, "{out}{err}");
        let (code, _, err) = docker.run(&["rm", "web"]);
        assert_eq!(code, 1);
        assert!(err.contains("is running"), "{err}");
        let (code, _, err) = docker.run(&["run", "--name", "web", "busybox", "true"]);
        assert_eq!(code, 125);
        assert!(err.contains("already in use by container"), "{err}");
        let follow = docker.command(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
        docker.ok(&["stop", "web"]);
        assert_eq!(String::from_utf8(follow.wait_with_output().unwrap().stdout).unwrap(), "started\nasked\n");
        assert_eq!(docker.ok(&["wait", "web"]), "0\n");
        assert_eq!(docker.ok(&["logs", "--tail", "1", "web"]), "asked\n");
        assert!(docker.ok(&["logs", "-t", "--tail", "1", "web"]).starts_with("20"));
        docker.ok(&["start", "web"]);
        docker.ok(&["restart", "-t", "1", "web"]);
        docker.ok(&["rename", "web", "renamed"]);
        docker.ok(&["kill", "-s", "KILL", "renamed"]);
        assert_eq!(docker.ok(&["wait", "renamed"]), "137\n");
        docker.ok(&["rm", "renamed"]);
        let (code, _, err) = docker.run(&["inspect", "renamed"]);
        assert_eq!(code, 1);
        assert!(err.contains("No such object: renamed"), "{err}");
    });
}

#[test]
fn a_terminal_is_a_terminal() {
    with_daemon(|docker| {
        docker.import_busybox();
        // script(1) gives the CLI the terminal that it insists on.
        let host = format!("DOCKER_HOST=unix://{}", docker.socket.display());
        let script = format!(
            "{host} docker run --rm -it busybox sh -c 'tty; test -t 0 && echo is-a-terminal; exit 6'"
        );
        let output = Command::new("script")
            .args(["-qec", &script, "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("/dev/pts/") || text.contains("/dev/console"), "{text}");
        assert!(text.contains("is-a-terminal"), "{text}");
        assert_eq!(output.status.code(), Some(6), "{text}");
    });
}

#[test]
fn options_reach_the_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        let shared = docker.dir.join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("file"), "from the host\n").unwrap();
        let bind = format!("{}:/data:ro", shared.display());
        let script = "cat /data/file; touch /data/x 2>/dev/null || echo ro; touch /t/x /vol/x && echo rw; id -u; hostname; touch /x 2>/dev/null || echo ro; \
                      cat /sys/class/net/*/operstate | wc -l";
        let out = docker.ok(&[
            "run",
            "--rm",
            "-v",
            &bind,
            "-v",
            "data:/vol",
            "--tmpfs",
            "/t",
            "-u",
            "12",
            "--hostname",
            "named",
            "--read-only",
            "--network",
            "none",
            "--memory",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "20",
            "--cap-drop",
            "ALL",
            "--entrypoint",
            "sh",
            "busybox",
            "-c",
            // The volume's directory belongs to root.
            &script.replace("/vol/x", "/t/y"),
        ]);
        assert_eq!(out, "from the host\nro\nrw\n12\nnamed\nro\n1\n");
        assert_eq!(docker.ok(&["volume", "ls", "-q"]), "data\n");
        docker.ok(&["volume", "rm", "data"]);
        let networks = docker.ok(&["network", "ls", "--format", "{{.Name}}"]);
        assert_eq!(networks.lines().collect::<Vec<_>>(), ["bridge", "host", "none"]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "on-failure:1",
            "busybox",
            "sh",
            "-c",
            "echo run; exit 1",
        ]);
        docker.until("it gave up", || {
            docker.ok(&["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "again"]) == "exited 1\n"
        });
        assert_eq!(docker.ok(&["logs", "again"]), "run\nrun\n");
    });
}

#[test]
fn published_ports_are_shown_and_answer() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "127.0.0.1::80",
            "busybox",
            "sh",
            "-c",
            "echo hello >/index.html; exec httpd -f -h /",
        ]);
        let port = docker.ok(&["port", "web", "80/tcp"]);
        let address = port.trim().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        docker.until("it answers", || {
            let Ok(mut stream) = std::net::TcpStream::connect(&address) else { return false };
            let mut answer = String::new();
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.contains("hello")
        });
    });
}

#[test]
fn build_makes_an_image_that_runs_and_a_failing_step_says_why() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("greeting"), "hello from the context\n").unwrap();
        let dockerfile = "FROM busybox AS first\nCOPY greeting /greeting\nRUN echo made by run >> /greeting\nFROM busybox\n\
                          COPY --from=first /greeting /g\nENV WHO=me\nENTRYPOINT [\"cat\"]\nCMD [\"/g\"]\n";
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let out = docker.ok(&["build", "-t", "greeter:v1", context.to_str().unwrap()]);
        assert!(out.contains("Successfully tagged greeter:v1"), "{out}");
        assert_eq!(docker.ok(&["run", "--rm", "greeter:v1"]), "hello from the context\nmade by run\n");
        let again = docker.ok(&["build", "-t", "greeter:v2", context.to_str().unwrap()]);
        assert!(again.contains("Using cache"), "{again}");
        let ids = docker.ok(&["images", "-q", "--no-trunc", "greeter"]);
        let ids: Vec<&str> = ids.lines().collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[0], ids[1]);
        assert_eq!(docker.ok(&["inspect", "-f", "{{json .Config.Entrypoint}}", "greeter:v1"]), "[\"cat\"]\n");
        assert!(docker.ok(&["history", "greeter:v1"]).contains("ENTRYPOINT"));
        docker.ok(&["tag", "greeter:v1", "other/name:x"]);
        assert!(docker.ok(&["rmi", "other/name:x"]).contains("Untagged: other/name:x"));
        std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN echo before; exit 9\n").unwrap();
        let (code, out, err) = docker.run(&["build", context.to_str().unwrap()]);
        assert_ne!(code, 0);
        assert!(out.contains("before"), "{out}");
        assert!(err.contains('9'), "{err}");
        std::fs::write(context.join("Dockerfile"), "FROM missing-base\n").unwrap();
        let (code, _, err) = docker.run(&["build", context.to_str().unwrap()]);
        assert_ne!(code, 0);
        assert!(err.contains("missing-base"), "{err}");
        let contexts = docker.dir.join("images/contexts");
        assert!(std::fs::read_dir(contexts).unwrap().next().is_none(), "build contexts are left");
    });
}

#[test]
fn an_image_in_use_stays_and_events_tell_what_happened() {
    with_daemon(|docker| {
        docker.import_busybox();
        let mut events = docker
            .command(&["events", "--filter", "container=told", "--format", "{{.Action}}"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The stream begins when the daemon answers; a container that is made before is not on it.
        let mut seen = String::new();
        let reader = events.stdout.take().unwrap();
        docker.until("the events are connected", || {
            docker.ok(&["create", "--name", "told", "busybox", "true"]);
            docker.ok(&["rm", "told"]);
            let ready = rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN);
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut [ready], Some(&timeout)).unwrap() > 0
        });
        docker.ok(&["run", "--name", "told", "busybox", "true"]);
        let (code, _, err) = docker.run(&["rmi", "busybox"]);
        assert_eq!(code, 1);
        assert!(err.contains("is being used by container"), "{err}");
        docker.ok(&["rm", "told"]);
        docker.ok(&["rmi", "busybox"]);
        std::thread::sleep(Duration::from_millis(100));
        events.kill().unwrap();
        events.wait().unwrap();
        let mut reader = reader;
        reader.read_to_string(&mut seen).unwrap();
        assert!(seen.contains("create\nattach\nstart\ndie\ndestroy\n"), "{seen}");
        assert!(docker.ok(&["images", "-q"]).is_empty());
    });
}

#[test]
fn version_info_and_unknown_routes_answer() {
    with_daemon(|docker| {
        assert_eq!(
            docker.ok(&["version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}"]),
            "0.0-test 1.45\n"
        );
        assert_eq!(
            docker.ok(&["info", "--format", "{{.ContainersRunning}} {{.Swarm.LocalNodeState}}"]),
            "0 inactive\n"
        );
        docker.ok(&["system", "df"]);
        let (code, _, err) = docker.run(&["swarm", "init"]);
        assert_ne!(code, 0);
        assert!(err.contains("unimplemented"), "{err}");
        let (code, _, err) = docker.run(&["network", "create", "mine"]);
        assert_ne!(code, 0);
        assert!(err.contains("unimplemented"), "{err}");
    });
}

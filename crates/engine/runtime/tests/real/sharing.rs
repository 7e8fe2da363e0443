//! Namespaces of another sandbox, sockets for names, the init of ours, logs in other forms.

use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use hako_error::Kind;
use hako_runtime::{
    LogFormat, NamespaceMode, SharedNamespace, Shim, ShimConfig, SyslogAddress, SyslogFormat, SyslogTarget,
};

use crate::bed::{Bed, eventually, shell, wait_exit};

/// A second sandbox beside a bed's, in namespaces of it.
async fn joined(bed: &Bed) -> (Shim, ShimConfig) {
    let mut config = bed.config.clone();
    config.socket = bed.path("t");
    config.state_dir = bed.path("state2");
    config.cgroup = format!("{}/second", bed.instance);
    config.hostname = String::new();
    config.namespaces.net = NamespaceMode::Join;
    config.namespaces.ipc = NamespaceMode::Join;
    config.namespaces.uts = NamespaceMode::Join;
    let of = |kind| bed.shim.namespace(kind).unwrap();
    let namespaces = vec![of(SharedNamespace::Net), of(SharedNamespace::Ipc), of(SharedNamespace::Uts)];
    (Shim::spawn_joining(config.clone(), namespaces).await.unwrap(), config)
}

#[tokio::test]
async fn a_sandbox_joins_the_namespaces_of_another_and_outlives_it() {
    let bed = Bed::new().await;
    let (second, _) = joined(&bed).await;
    let link = |pid: u32, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(link(bed.shim.pid(), kind), link(second.pid(), kind), "{kind}");
        assert_ne!(link(second.pid(), kind), link(std::process::id(), kind), "{kind}");
    }
    let mut events = second.events();
    let mut container = bed.container("c", shell("hostname; ip -o link | wc -l"));
    container.cgroup = format!("{}/second/c", bed.instance);
    second.create(container).await.unwrap();
    bed.shim.shutdown(true).await.unwrap();
    // Its connection ends a moment before its process does.
    eventually("the first shim is gone", || bed.shim.namespace(SharedNamespace::Net).is_err()).await;
    let gone = bed.shim.namespace(SharedNamespace::Net).unwrap_err();
    assert_eq!(gone.kind(), Kind::FailedPrecondition);
    second.start("c").await.unwrap();
    assert_eq!(wait_exit(&mut events, "c", None).await.code, 0);
    assert_eq!(bed.log("c"), "inside\n1\n");
    second.delete("c", false).await.unwrap();
    second.shutdown(false).await.unwrap();
}

#[tokio::test]
async fn a_container_joins_the_pid_namespace_of_another() {
    let bed = Bed::new().await;
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("first", shell("exec sleep 1000"))).await.unwrap();
    bed.shim.start("first").await.unwrap();
    let namespace = Arc::new(bed.shim.pid_namespace("first").await.unwrap());
    let mut spec = shell("cat /proc/1/cmdline; kill 1; kill -9 1; echo alive");
    let linux = spec.linux_mut().as_mut().unwrap();
    linux
        .namespaces_mut()
        .as_mut()
        .unwrap()
        .retain(|one| one.typ() != hako_oci::runtime::LinuxNamespaceType::Pid);
    let mut container = bed.container("second", spec);
    container.pid_namespace = Some(namespace);
    bed.shim.create(container).await.unwrap();
    bed.shim.start("second").await.unwrap();
    wait_exit(&mut events, "second", None).await;
    assert!(bed.log("second").starts_with("sleep\u{0}1000\u{0}"), "{:?}", bed.log("second"));
    bed.shim.kill("first", 9, false).await.unwrap();
    wait_exit(&mut events, "first", None).await;
    assert_eq!(bed.shim.pid_namespace("first").await.unwrap_err().kind(), Kind::FailedPrecondition);
    bed.finish().await;
}

/// CVE-2022-0811: with `kernel.core_pattern` a container would choose what the host runs.
#[tokio::test]
async fn cve_2022_0811_a_sandbox_cannot_set_what_is_the_hosts() {
    let bed = Bed::new().await;
    let refused = async |change: &dyn Fn(&mut ShimConfig)| {
        let mut config = bed.config.clone();
        config.socket = bed.path("other");
        change(&mut config);
        Shim::spawn(config).await.unwrap_err()
    };
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for name in ["kernel.core_pattern", "kernel/core_pattern", "vm.overcommit_memory"] {
        let error = refused(&|config| drop(config.sysctls.insert(name.to_owned(), "1".to_owned()))).await;
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
    let error = refused(&|config| {
        config.namespaces.net = NamespaceMode::Host;
        config.sysctls.insert("net.ipv4.ip_forward".to_owned(), "0".to_owned());
    })
    .await;
    assert!(error.to_string().contains("net.ipv4.ip_forward"), "{error}");
    // In a container's own spec too.
    let mut spec = shell("true");
    let sysctls = [("kernel.core_pattern".to_owned(), "|/bin/true".to_owned())];
    spec.linux_mut().as_mut().unwrap().set_sysctl(Some(sysctls.into_iter().collect()));
    let error = bed.shim.create(bed.container("c", spec)).await.unwrap_err();
    assert!(error.to_string().contains("kernel.core_pattern"), "{error}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
    bed.finish().await;
}

#[tokio::test]
async fn names_are_asked_for_at_the_shims_own_sockets_which_an_adopting_engine_gets_too() {
    let bed = Bed::with(|config| config.dns = true).await;
    let (udp, tcp) = bed.shim.dns_sockets().unwrap().unwrap();
    let address = udp.local_addr().unwrap();
    assert_eq!(address.ip(), Ipv4Addr::new(127, 0, 0, 11));
    assert_eq!(tcp.local_addr().unwrap().ip(), address.ip());
    let netns = std::fs::File::open(bed.shim.netns()).unwrap();
    let ask = std::thread::spawn(move || {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), Some(LinkNameSpaceType::Network))
            .unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"question", address).unwrap();
    });
    ask.join().unwrap();
    // Nobody read it so far: the engine that asked for it may be gone.
    let adopted = Shim::connect(&bed.config.socket).await.unwrap();
    let (udp, _) = adopted.dns_sockets().unwrap().unwrap();
    udp.set_nonblocking(true).unwrap();
    let mut data = [0; 64];
    let (count, from) = udp.recv_from(&mut data).unwrap();
    assert_eq!(&data[..count], b"question");
    assert!(from.ip().is_loopback());
    bed.finish().await;
}

#[tokio::test]
async fn the_init_takes_orphans_passes_signals_on_and_ends_with_the_program() {
    let bed = Bed::new().await;
    let mut events = bed.shim.events();
    let script = "trap 'echo got; exit 7' TERM; (sleep 0.01 & exit); \
                  for i in $(seq 200); do (true & ); done; cat /proc/1/comm; readlink /proc/1/exe || echo hidden; \
                  cat /proc/1/cmdline; echo; echo ready; while :; do sleep 0.05; done";
    let mut container = bed.container("c", shell(script));
    container.init = true;
    bed.shim.create(container).await.unwrap();
    bed.shim.start("c").await.unwrap();
    eventually("the program runs", || bed.log("c").contains("ready\n")).await;
    let said = bed.log("c").replace('\0', " ");
    assert!(said.starts_with("docker-init\nhidden\n/sbin/docker-init -- sh -c trap"), "{said}");
    let line = said.lines().nth(2).unwrap();
    assert!(!line.contains(bed.path("").to_str().unwrap()) && !line.contains("cgroup"), "{line}");
    let group = hako_cgroup::CgroupRoot::detect().unwrap().open(&bed.cgroup("c")).unwrap();
    eventually("orphans are taken", || group.processes().unwrap().len() <= 3).await;
    bed.shim.kill("c", 15, false).await.unwrap();
    assert_eq!(wait_exit(&mut events, "c", None).await.code, 7);
    assert!(bed.log("c").ends_with("got\n"), "{}", bed.log("c"));
    // A program that is not there is told as without an init.
    let mut spec = shell("");
    crate::bed::set_args(&mut spec, &["nonesuch"]);
    let mut container = bed.container("d", spec);
    container.init = true;
    assert_eq!(bed.shim.create(container).await.unwrap_err().kind(), Kind::NotFound);
    bed.finish().await;
}

#[tokio::test]
async fn output_is_logged_as_dockers_json_when_that_is_asked_for() {
    let bed = Bed::new().await;
    let mut container = bed.container("c", shell("echo out; echo err >&2; printf rest"));
    container.stdio.log.as_mut().unwrap().format = LogFormat::Json;
    bed.run(container).await;
    let text = std::fs::read_to_string(bed.path("c.log")).unwrap();
    let mut lines: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["stream"].as_str().unwrap().to_owned(), line["log"].as_str().unwrap().to_owned())
        })
        .collect();
    lines.sort();
    let want = [("stderr", "err\n"), ("stdout", "out\n"), ("stdout", "rest")];
    assert_eq!(lines, want.map(|(stream, log)| (stream.to_owned(), log.to_owned())));
    bed.finish().await;
}

fn target(address: SyslogAddress) -> SyslogTarget {
    let (tag, hostname) = ("web".to_owned(), "box".to_owned());
    SyslogTarget { address, format: SyslogFormat::Rfc3164, facility: 3, tag, hostname }
}

#[tokio::test]
async fn output_goes_to_a_log_daemon_of_the_host() {
    let bed = Bed::new().await;
    let path = bed.path("log.sock");
    let unix = UnixDatagram::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [
        SyslogAddress::Datagram(path.clone()),
        SyslogAddress::Udp(udp.local_addr().unwrap()),
        SyslogAddress::Tcp(tcp.local_addr().unwrap()),
    ];
    for (number, address) in addresses.into_iter().enumerate() {
        let mut container = bed.container(&format!("c{number}"), shell("echo out; sleep 0.05; echo err >&2"));
        container.stdio.log = None;
        container.stdio.syslog = Some(target(address));
        bed.run(container).await;
    }
    let mut data = [0; 512];
    let check = |text: &[u8], priority: &str, end: &str| {
        let text = String::from_utf8_lossy(text);
        assert!(text.starts_with(priority) && text.ends_with(end) && text.contains(" box web["), "{text}");
    };
    for (priority, end) in [("<30>", "out\n"), ("<27>", "err\n")] {
        let count = unix.recv(&mut data).unwrap();
        check(&data[..count], priority, end);
        let count = udp.recv(&mut data).unwrap();
        check(&data[..count], priority, end);
    }
    let mut text = Vec::new();
    bed.shim.delete("c2", false).await.unwrap();
    tcp.accept().unwrap().0.read_to_end(&mut text).unwrap();
    check(&text, "<30>", "err\n");
    // One that is not there is said before the container runs.
    let mut container = bed.container("none", shell("true"));
    container.stdio.syslog = Some(target(SyslogAddress::Datagram(bed.path("nobody"))));
    let error = bed.shim.create(container).await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
    bed.finish().await;
}

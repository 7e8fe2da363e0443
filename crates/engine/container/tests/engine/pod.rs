//! Several containers in one sandbox.

use crate::host::*;
use hako_container::{
    ContainerEngine, ContainerSpec, ContainerState, Dns, Filter, MemoryVolume, Mount, MountSource,
    NetworkMode, SandboxSpec, SandboxState, WaitCondition,
};
use hako_error::Kind;
use std::collections::BTreeMap;

#[test]
fn containers_of_a_sandbox_share_its_network_name_files_and_memory_volumes() {
    on_host(|host| async move {
        let engine = host.open().await;
        let shared = host.path().join("memory");
        std::fs::create_dir(&shared).unwrap();
        let spec = SandboxSpec {
            name: "pod".into(),
            hostname: "pod-0".into(),
            dns: Dns {
                servers: vec!["10.77.0.1".parse().unwrap()],
                search: vec!["x.local".into()],
                options: vec![],
            },
            memory_volumes: vec![MemoryVolume { path: shared.clone(), size: Some(1 << 20), mode: None }],
            labels: BTreeMap::from([("app".into(), "a".into())]),
            ..SandboxSpec::default()
        };
        let sandbox = engine.create_sandbox(spec).await.unwrap();
        let (ip, shim) = (sandbox.ip.unwrap(), sandbox.shim_pid.unwrap());
        let bind = MountSource::Bind { path: shared.clone(), propagation: Default::default(), create: false };
        let mount = Mount {
            target: "/mem".into(),
            source: bind,
            read_only: false,
            below: Default::default(),
            subpath: String::new(),
        };
        let make = |script: &str| ContainerSpec { mounts: vec![mount.clone()], ..busybox(script) };
        let first = engine
            .create_container(&sandbox.id, make("hostname >/mem/x; exec httpd -f -p 127.0.0.1:99 -h /etc"))
            .await
            .unwrap();
        engine.start(&first).await.unwrap();
        let script = "while ! wget -q -O- http://127.0.0.1:99/resolv.conf; do sleep 0.02; done; until [ -s /mem/x ]; do sleep 0.02; done; \
                      cat /mem/x /etc/hosts; exit 4";
        let second = engine.create_container(&sandbox.id, make(script)).await.unwrap();
        engine.start(&second).await.unwrap();
        assert_eq!(engine.wait(&second, WaitCondition::NotRunning).await.unwrap().code, 4);
        let log = logged(&engine, &second, Default::default()).await;
        assert!(log.contains("nameserver 10.77.0.1\nsearch x.local\n"), "{log}");
        assert!(log.contains("pod-0\n127.0.0.1\tlocalhost"), "{log}");
        assert!(log.contains(&format!("{ip}\tpod-0")), "{log}");
        assert!(std::fs::read_dir(&shared).unwrap().next().is_none(), "the host sees an empty directory");
        assert_eq!(engine.start(&second).await.unwrap_err().kind(), Kind::FailedPrecondition);
        let labelled = Filter { labels: BTreeMap::from([("app".into(), "a".into())]), ..Filter::default() };
        assert_eq!(engine.sandboxes(&labelled).await.unwrap().len(), 1);
        engine.stop_sandbox(&sandbox.id).await.unwrap();
        assert_eq!(engine.sandbox(&sandbox.id).await.unwrap().state, SandboxState::NotReady);
        assert_eq!(state(&engine, &first).await.exit().unwrap().code, 137);
        until("the shim is reaped", async || !std::path::Path::new(&format!("/proc/{shim}")).exists()).await;
        assert_eq!(
            engine.create_container(&sandbox.id, busybox("true")).await.unwrap_err().kind(),
            Kind::FailedPrecondition
        );
        engine.remove_sandbox(&sandbox.id).await.unwrap();
        engine.remove_sandbox(&sandbox.id).await.unwrap();
        host.assert_nothing_left();
    });
}

#[test]
fn the_death_of_a_shim_is_the_death_of_its_containers_and_is_noticed() {
    on_host(|host| async move {
        let engine = host.open().await;
        let sandbox = engine.create_sandbox(SandboxSpec::default()).await.unwrap();
        let id = engine.create_container(&sandbox.id, busybox("exec sleep 100")).await.unwrap();
        engine.start(&id).await.unwrap();
        let process = pid(&engine, &id).await;
        let shim = rustix::process::Pid::from_raw(i32::try_from(sandbox.shim_pid.unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        let exit = tokio::time::timeout(DEADLINE, engine.wait(&id, WaitCondition::NotRunning))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(exit.code, 137);
        assert!(exit.error.is_some());
        assert_eq!(engine.sandbox(&sandbox.id).await.unwrap().state, SandboxState::NotReady);
        until("its process is gone", async || !std::path::Path::new(&format!("/proc/{process}")).exists())
            .await;
        assert!(matches!(state(&engine, &id).await, ContainerState::Exited(_)));
    });
}

#[test]
fn fifty_sandboxes_at_once_get_fifty_addresses() {
    on_host(|host| async move {
        let engine = host.open().await;
        let start = std::time::Instant::now();
        let made = futures::future::join_all((0..50).map(|_| async {
            let sandbox = engine.create_sandbox(SandboxSpec::default()).await.unwrap();
            let id = engine.create_container(&sandbox.id, busybox("exec sleep 100")).await.unwrap();
            engine.start(&id).await.unwrap();
            sandbox.ip.unwrap()
        }))
        .await;
        eprintln!("50 sandboxes with a container each: {:?}", start.elapsed());
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), 50);
    });
}

#[test]
fn containers_that_share_a_pid_namespace_see_each_other_and_end_one_by_one() {
    on_host(|host| async move {
        let engine = host.open().await;
        let spec = SandboxSpec { shared_pid: true, network: NetworkMode::None, ..SandboxSpec::default() };
        let sandbox = engine.create_sandbox(spec).await.unwrap();
        let start = async |script: &str| {
            let id = engine.create_container(&sandbox.id, busybox(script)).await.unwrap();
            engine.start(&id).await.unwrap();
            id
        };
        // Its child is orphaned in the namespace, and goes with the container all the same.
        let first = start("(sleep 4711 &); exec sleep 4712").await;
        let second = start(
            "until pidof sleep | grep -q ' '; do sleep 0.02; done; echo me $$; cat /proc/1/comm; tr -d '\\0' </proc/1/cmdline; echo; ls -A /proc/1/root/; \
             kill -0 1; for p in $(pidof sleep); do grep -q 4712 /proc/$p/cmdline && kill $p; done; exec sleep 4713",
        )
        .await;
        assert_eq!(engine.wait(&first, WaitCondition::NotRunning).await.unwrap().code, 143);
        let log = logged(&engine, &second, Default::default()).await;
        assert!(log.contains("hako-pause\n/pause\n") && !log.contains("me 1\n"), "{log}");
        assert!(!log.contains("etc"), "the host's files are out of reach: {log}");
        until("what the first left is gone", async || {
            let script = "for p in $(pidof sleep); do grep 4711 /proc/$p/cmdline; done; exit 0";
            let third = start(script).await;
            engine.wait(&third, WaitCondition::NotRunning).await.unwrap();
            logged(&engine, &third, Default::default()).await.is_empty()
        })
        .await;
        assert!(state(&engine, &second).await.is_running());
        let shim = sandbox.shim_pid.unwrap();
        engine.remove_sandbox(&sandbox.id).await.unwrap();
        until("nothing is left", async || !std::path::Path::new(&format!("/proc/{shim}")).exists()).await;
    });
}

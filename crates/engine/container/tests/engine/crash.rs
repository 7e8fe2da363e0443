//! The engine's process ends at any moment: what the next one finds.

use crate::host::*;
use hako_container::{
    ContainerEngine, ContainerSpec, ContainerState, RestartPolicy, SandboxSpec, SandboxState, WaitCondition,
};
use std::time::Duration;

#[test]
fn running_containers_are_adopted_with_their_process_address_log_and_exec() {
    on_host(|host| async move {
        let engine = host.open().await;
        let alone = ContainerSpec {
            name: "alone".into(),
            ..busybox("echo before; while [ ! -e /go ]; do sleep 0.02; done; echo after; exit 6")
        };
        let alone = engine.create_standalone(SandboxSpec::default(), alone).await.unwrap();
        engine.start(&alone).await.unwrap();
        let pod = engine.create_sandbox(SandboxSpec::default()).await.unwrap();
        let member = engine.create_container(&pod.id, busybox("exec sleep 100")).await.unwrap();
        engine.start(&member).await.unwrap();
        let pids = (pid(&engine, &alone).await, pid(&engine, &member).await);
        drop(engine);
        let engine = host.open().await;
        assert_eq!((pid(&engine, &alone).await, pid(&engine, &member).await), pids);
        let adopted = engine.sandbox(&pod.id).await.unwrap();
        assert_eq!(
            (adopted.state, adopted.ip, adopted.shim_pid),
            (SandboxState::Ready, pod.ip, pod.shim_pid)
        );
        assert_eq!(engine.resolve("alone").await.unwrap(), alone);
        let spec =
            hako_container::ExecSpec { argv: vec!["touch".into(), "/go".into()], ..Default::default() };
        assert_eq!(finish(engine.exec(&alone, spec).await.unwrap()).await.0, 0);
        let exit = tokio::time::timeout(DEADLINE, engine.wait(&alone, WaitCondition::NotRunning))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(exit.code, 6);
        assert_eq!(logged(&engine, &alone, Default::default()).await, "before\nafter\n");
    });
}

#[test]
fn an_exit_while_nobody_listened_is_known_after_the_open() {
    on_host(|host| async move {
        let engine = host.open().await;
        let wait = "while [ ! -e /mem/go ]; do sleep 0.02; done;";
        let gate = host.path().join("gate");
        std::fs::create_dir(&gate).unwrap();
        let bind = hako_container::MountSource::Bind {
            path: gate.clone(),
            propagation: Default::default(),
            create: false,
        };
        let mounts = vec![hako_container::Mount {
            target: "/mem".into(),
            source: bind,
            read_only: false,
            below: Default::default(),
            subpath: String::new(),
        }];
        let spec = |code: i32| ContainerSpec {
            mounts: mounts.clone(),
            ..busybox(&format!("{wait} echo bye; touch /mem/{code}; exit {code}"))
        };
        let alone = engine.create_standalone(no_network(), spec(11)).await.unwrap();
        let removed = engine
            .create_standalone(no_network(), ContainerSpec { auto_remove: true, ..spec(12) })
            .await
            .unwrap();
        let pod = engine.create_sandbox(no_network()).await.unwrap();
        let member = engine.create_container(&pod.id, spec(13)).await.unwrap();
        let restarted = ContainerSpec { restart: RestartPolicy::Always, ..spec(14) };
        let restarted = engine.create_standalone(no_network(), restarted).await.unwrap();
        let mut pids = Vec::new();
        for id in [&alone, &removed, &member, &restarted] {
            engine.start(id).await.unwrap();
            pids.push(pid(&engine, id).await);
        }
        drop(engine);
        std::fs::write(gate.join("go"), "").unwrap();
        until("all have exited", async || {
            pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
        })
        .await;
        std::fs::remove_file(gate.join("go")).unwrap();
        let engine = host.open().await;
        for (id, code) in [(&alone, 11), (&member, 13)] {
            let exit = state(&engine, id).await.exit().cloned().unwrap();
            assert_eq!((exit.code, exit.error), (code, None));
            assert_eq!(logged(&engine, id, Default::default()).await, "bye\n");
        }
        assert_eq!(engine.sandbox(&pod.id).await.unwrap().state, SandboxState::Ready);
        assert!(engine.container(&removed).await.is_err());
        until("it was started again", async || {
            matches!(state(&engine, &restarted).await, ContainerState::Running { .. })
        })
        .await;
    });
}

#[test]
fn who_starts_again_because_the_engine_begins_has_restarted_no_time() {
    on_host(|host| async move {
        let engine = host.open().await;
        let spec = ContainerSpec { restart: RestartPolicy::Always, ..busybox("exec sleep 100") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        engine.start(&id).await.unwrap();
        let sandbox = engine.container(&id).await.unwrap().sandbox;
        let shim = engine.sandbox(&sandbox).await.unwrap().shim_pid.unwrap();
        drop(engine);
        // As after a start of the machine: nobody is left to tell of an end.
        kill_shim(shim).await;
        let engine = host.open().await;
        until("it was started again", async || {
            matches!(state(&engine, &id).await, ContainerState::Running { .. })
        })
        .await;
        assert_eq!(engine.container(&id).await.unwrap().restart_count, 0);
    });
}

#[test]
fn half_made_and_half_removed_objects_are_gone_after_the_open() {
    on_host(|host| async move {
        let engine = host.open().await;
        let dead = engine.create_sandbox(SandboxSpec::default()).await.unwrap();
        let member = engine.create_container(&dead.id, busybox("exec sleep 100")).await.unwrap();
        engine.start(&member).await.unwrap();
        let half = engine.create_sandbox(SandboxSpec::default()).await.unwrap();
        let removed = engine.create_standalone(no_network(), busybox("true")).await.unwrap();
        drop(engine);
        let data = host.path().join("engine");
        // Killed while bringing a sandbox up, while removing a container, after the rename; a shim killed with the engine.
        std::fs::remove_file(data.join(format!("sandboxes/{}/state.json", half.id))).unwrap();
        std::fs::rename(data.join(format!("containers/{removed}")), data.join(format!("trash/c-{removed}")))
            .unwrap();
        host.images.snapshots().prepare(&format!("container-{}", "a".repeat(64)), None).unwrap();
        kill_shim(dead.shim_pid.unwrap()).await;
        let engine = host.open().await;
        assert!(engine.sandbox(&half.id).await.is_err());
        assert!(!std::path::Path::new(&format!("/proc/{}/ns/net", half.shim_pid.unwrap())).exists());
        assert!(engine.container(&removed).await.is_err());
        assert_eq!(engine.sandbox(&dead.id).await.unwrap().state, SandboxState::NotReady);
        assert_eq!(state(&engine, &member).await.exit().unwrap().code, 137);
        engine.remove_sandbox(&dead.id).await.unwrap();
        host.assert_nothing_left();
    });
}

#[test]
fn a_container_that_goes_with_its_end_goes_at_the_open_although_it_never_began() {
    on_host(|host| async move {
        let engine = host.open().await;
        let named = |name: &str| ContainerSpec { name: name.into(), ..busybox("true") };
        let lost = ContainerSpec { auto_remove: true, ..named("lost") };
        let lost = engine.create_standalone(no_network(), lost).await.unwrap();
        let kept = engine.create_standalone(no_network(), named("kept")).await.unwrap();
        drop(engine);
        let engine = host.open().await;
        assert!(engine.container(&lost).await.is_err());
        assert_eq!(state(&engine, &kept).await, ContainerState::Created);
        let again = engine.create_standalone(no_network(), named("lost")).await.unwrap();
        for id in [kept, again] {
            engine.remove(&id, KILL).await.unwrap();
        }
        host.assert_nothing_left();
    });
}

/// A device whose hook writes down which containers have ended.
fn describe_ending(host: &Host) {
    let script = "cat >>HOST/ended; echo >>HOST/ended".replace("HOST", host.path().to_str().unwrap());
    let hook = serde_json::json!({"hookName": "poststop", "path": "/bin/sh", "args": ["sh", "-c", script]});
    let device = serde_json::json!({"name": "one", "containerEdits": {"hooks": [hook]}});
    let spec = serde_json::json!({"cdiVersion": "0.5.0", "kind": "acme.com/camera", "devices": [device]});
    std::fs::create_dir_all(host.path().join("cdi")).unwrap();
    std::fs::write(host.path().join("cdi/camera.json"), spec.to_string()).unwrap();
}

#[test]
fn hooks_that_follow_a_container_s_end_run_although_nobody_lived_to_see_it() {
    on_host(|host| async move {
        describe_ending(&host);
        let engine = host.open().await;
        let mut ids = Vec::new();
        for script in ["exec sleep 100", "while [ ! -e /go ]; do sleep 0.02; done", "exec sleep 100"] {
            let device =
                hako_container::CdiDevice { name: "acme.com/camera=one".into(), ..Default::default() };
            let spec = ContainerSpec { cdi_devices: vec![device], ..busybox(script) };
            let id = engine.create_standalone(no_network(), spec).await.unwrap();
            engine.start(&id).await.unwrap();
            ids.push(id);
        }
        let exiting = pid(&engine, &ids[1]).await;
        let mut shims = Vec::new();
        for id in &ids {
            let sandbox = engine.container(id).await.unwrap().sandbox;
            shims.push((sandbox.clone(), engine.sandbox(&sandbox).await.unwrap().shim_pid.unwrap()));
        }
        drop(engine);
        // One dies with its shim, one by itself, one is killed with its removal cut off after the renames.
        kill_shim(shims[0].1).await;
        std::fs::write(format!("/proc/{exiting}/root/go"), "").unwrap();
        until("it has exited", async || !std::path::Path::new(&format!("/proc/{exiting}")).exists()).await;
        let data = host.path().join("engine");
        let trash =
            |from: String, to: String| std::fs::rename(data.join(from), data.join("trash").join(to)).unwrap();
        trash(format!("containers/{}", ids[2]), format!("c-{}", ids[2]));
        trash(format!("sandboxes/{}", shims[2].0), format!("s-{}", shims[2].0));
        let engine = host.open().await;
        let ended = || std::fs::read_to_string(host.path().join("ended")).unwrap_or_default();
        until("all hooks have run", async || ended().lines().count() >= 3).await;
        let ended = ended();
        for id in &ids {
            assert_eq!(ended.lines().filter(|line| line.contains(id.as_str())).count(), 1, "{ended}");
        }
        for id in &ids[..2] {
            engine.remove(id, KILL).await.unwrap();
        }
        host.assert_nothing_left();
        assert_eq!(std::fs::read_to_string(host.path().join("ended")).unwrap(), ended);
    });
}

#[test]
fn a_group_below_the_callers_goes_although_nobody_lived_to_remove_it() {
    on_host(|host| async move {
        let engine = host.open().await;
        let parent = format!("hako-parent-{}", host.instance);
        let spec = SandboxSpec { cgroup_parent: parent.clone(), ..no_network() };
        let id = engine.create_standalone(spec, busybox("exec sleep 100")).await.unwrap();
        let status = host.path().join(format!("engine/containers/{id}/state.json"));
        let before = std::fs::read(&status).unwrap();
        engine.start(&id).await.unwrap();
        let sandbox = engine.sandboxes(&Default::default()).await.unwrap().remove(0);
        drop(engine);
        kill_shim(sandbox.shim_pid.unwrap()).await;
        // Killed on the way up, before anything was written down.
        std::fs::write(&status, before).unwrap();
        std::fs::remove_file(host.path().join(format!("engine/sandboxes/{}/state.json", sandbox.id)))
            .unwrap();
        let root = hako_cgroup::CgroupRoot::detect().unwrap();
        let own = format!("/{parent}/hako-{}", host.instance);
        assert!(root.open(&own).is_ok());
        let engine = host.open().await;
        assert!(root.open(&own).is_err(), "the group is still there");
        assert!(root.open(&format!("/{parent}")).is_err(), "the group that was made for it is still there");
        engine.remove(&id, KILL).await.unwrap();
        host.assert_nothing_left();
    });
}

async fn kill_shim(pid: u32) {
    let shim = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    until("the shim is gone", async || !std::path::Path::new(&format!("/proc/{pid}/ns/net")).exists()).await;
}

/// Starts containers and gives up on all of them after a while, whatever they are at.
async fn crash_under_load(host: &Host, after: Duration) {
    let engine = host.open().await;
    let tasks = (0..6_u64).map(|number| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let sandbox = if number % 2 == 0 { no_network() } else { SandboxSpec::default() };
            let id = engine.create_standalone(sandbox, busybox("sleep 0.05")).await.unwrap();
            if engine.start(&id).await.is_ok() && number % 3 == 0 {
                let _ = engine.remove(&id, KILL).await;
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::time::sleep(after).await;
    for task in tasks {
        task.abort();
    }
}

#[test]
fn opening_again_and_again_under_load_loses_nothing() {
    on_host(|host| async move {
        for round in 0..8_u64 {
            // A runtime of its own: with it ends what works on blocking threads, as it does with a process. The next
            // engine never shares the directory with leftovers of this one.
            tokio::task::block_in_place(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
                runtime.block_on(crash_under_load(&host, Duration::from_millis(3 + 7 * round)));
            });
        }
        let engine = host.open().await;
        for container in engine.containers(&Default::default()).await.unwrap() {
            let _ = tokio::time::timeout(DEADLINE, engine.wait(&container.id, WaitCondition::NotRunning))
                .await
                .unwrap();
            let _ = engine.remove(&container.id, KILL).await;
        }
        host.assert_nothing_left();
    });
}

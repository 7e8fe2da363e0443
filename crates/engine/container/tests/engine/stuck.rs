//! Shims that do not do what they are there for.

use crate::host::*;
use hako_cgroup::CgroupRoot;
use hako_container::{ContainerEngine, NetworkMode, SandboxSpec, SandboxState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

#[test]
fn a_container_is_stopped_and_removed_though_somebody_has_stopped_its_shim() {
    on_host(|host| async move {
        let engine = host.open().await;
        let stop = async |id: &_| {
            let sandbox = engine.container(id).await.unwrap().sandbox;
            let shim = engine.sandbox(&sandbox).await.unwrap().shim_pid.unwrap();
            kill(Pid::from_raw(i32::try_from(shim).unwrap()), Signal::SIGSTOP).unwrap();
        };
        let id = engine.create_standalone(no_network(), busybox("exec sleep 100000")).await.unwrap();
        engine.start(&id).await.unwrap();
        stop(&id).await;
        engine.stop(&id, None, Duration::ZERO).await.unwrap();
        assert!(!state(&engine, &id).await.is_running());
        engine.start(&id).await.unwrap();
        stop(&id).await;
        engine.remove(&id, KILL).await.unwrap();
        host.assert_nothing_left();
    });
}

#[test]
fn a_pod_that_somebody_has_frozen_is_stopped_and_leaves_nothing() {
    on_host(|host| async move {
        let engine = host.open().await;
        let spec = SandboxSpec { network: NetworkMode::None, ..SandboxSpec::default() };
        let sandbox = engine.create_sandbox(spec).await.unwrap();
        let id = engine.create_container(&sandbox.id, busybox("exec sleep 100000")).await.unwrap();
        engine.start(&id).await.unwrap();
        let path = format!("/hako-{}/{}", host.instance, sandbox.id);
        CgroupRoot::detect().unwrap().open(&path).unwrap().freeze(true).unwrap();
        engine.stop_sandbox(&sandbox.id).await.unwrap();
        assert!(!state(&engine, &id).await.is_running());
        assert_eq!(engine.sandbox(&sandbox.id).await.unwrap().state, SandboxState::NotReady);
        engine.remove_sandbox(&sandbox.id).await.unwrap();
        host.assert_nothing_left();
    });
}

//! Shims that do not do what they are there for.

use crate::host::*;
use hako_container::ContainerEngine;
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

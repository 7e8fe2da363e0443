//! One container from creation to removal.

use crate::host::*;
use hako_container::{
    Action, ContainerEngine, ContainerSpec, ContainerState, Mount, MountSource, Resources, RestartPolicy,
    SandboxSpec, SandboxState, Update, WaitCondition,
};
use hako_error::Kind;
use std::time::{Duration, Instant};

#[test]
fn a_container_runs_to_its_exit_code_and_tells_so_in_order() {
    on_host(|host| async move {
        let engine = host.open().await;
        let mut events = engine.events();
        let spec = ContainerSpec { name: "one".into(), ..busybox("echo out; echo err >&2; exit 7") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        assert_eq!(state(&engine, &id).await, ContainerState::Created);
        let next = engine.wait(&id, WaitCondition::NextExit);
        engine.start(&id).await.unwrap();
        let exit = tokio::time::timeout(DEADLINE, engine.wait(&id, WaitCondition::NotRunning))
            .await
            .unwrap()
            .unwrap();
        drop(next);
        assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
        assert_eq!(logged(&engine, &id, Default::default()).await, "out\nerr\n");
        assert_eq!(engine.resolve("one").await.unwrap(), id);
        assert_eq!(engine.resolve(&id.as_str()[..6]).await.unwrap(), id);
        engine.remove(&id, WITH_VOLUMES).await.unwrap();
        let seen = actions(&mut events, &id).await;
        assert_eq!(seen, [Action::Create, Action::Start, Action::Die { code: 7 }, Action::Destroy]);
        assert_eq!(engine.container(&id).await.unwrap_err().kind(), Kind::NotFound);
        host.assert_nothing_left();
    });
}

#[test]
fn a_container_shows_that_it_is_one_without_having_changed_anything() {
    on_host(|host| async move {
        let engine = host.open().await;
        let script = "stat -c '%a %s' /.dockerenv; readlink /etc/mtab; grep -c ' /proc ' /etc/mtab";
        let id = engine.create_standalone(no_network(), busybox(script)).await.unwrap();
        engine.start(&id).await.unwrap();
        engine.wait(&id, WaitCondition::NotRunning).await.unwrap();
        let expected = "755 0\n/proc/mounts\n1\n";
        assert_eq!(logged(&engine, &id, Default::default()).await, expected);
        assert!(engine.changes(&id).await.unwrap().is_empty());
        let root = engine.root_mounts(&id).unwrap();
        assert!(root.lower.last().unwrap().join(".dockerenv").exists());
        assert!(!root.upper.unwrap().join(".dockerenv").exists());
        // What it does to them is its own, and nobody else's.
        let script = "rm /.dockerenv; ln -sf /own /etc/mtab; mkdir /etc/new";
        let other = engine.create_standalone(no_network(), busybox(script)).await.unwrap();
        engine.start(&other).await.unwrap();
        engine.wait(&other, WaitCondition::NotRunning).await.unwrap();
        let changed = engine.changes(&other).await.unwrap();
        let paths: Vec<_> = changed.iter().map(|change| change.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/.dockerenv", "/etc", "/etc/mtab", "/etc/new"]);
        engine.start(&id).await.unwrap();
        engine.wait(&id, WaitCondition::NotRunning).await.unwrap();
        assert_eq!(logged(&engine, &id, Default::default()).await, expected.repeat(2));
        let pod = engine.create_sandbox(no_network()).await.unwrap();
        let member = busybox("ls -d /.dockerenv /etc/mtab 2>/dev/null || echo none");
        let member = engine.create_container(&pod.id, member).await.unwrap();
        engine.start(&member).await.unwrap();
        engine.wait(&member, WaitCondition::NotRunning).await.unwrap();
        assert_eq!(logged(&engine, &member, Default::default()).await, "none\n");
    });
}

#[test]
fn an_exec_has_the_home_of_its_user() {
    on_host(|host| async move {
        let engine = host.open().await;
        let script = "echo web:x:33:33::/srv:/bin/sh >>/etc/passwd; echo ready; exec sleep 100";
        let id = engine.create_standalone(no_network(), busybox(script)).await.unwrap();
        let given = ContainerSpec { env: vec!["HOME=/given".into()], ..busybox("exec sleep 100") };
        let given = engine.create_standalone(no_network(), given).await.unwrap();
        for container in [&id, &given] {
            engine.start(container).await.unwrap();
        }
        until("it is ready", async || logged(&engine, &id, Default::default()).await == "ready\n").await;
        for (container, user, env, home) in [
            (&id, "", "", "/root"),
            (&id, "web", "", "/srv"),
            (&id, "33", "HOME=", "/srv"),
            (&id, "4242", "", "/"),
            (&id, "web", "HOME=/asked", "/asked"),
            (&given, "nobody", "", "/given"),
        ] {
            let spec = hako_container::ExecSpec {
                argv: ["sh", "-c", "echo $HOME"].map(str::to_owned).to_vec(),
                user: user.into(),
                env: vec![env.to_owned()],
                ..Default::default()
            };
            let (code, out, err) = finish(engine.exec(container, spec).await.unwrap()).await;
            assert_eq!((code, out.trim()), (0, home), "{user} {env}: {err}");
        }
    });
}

#[test]
fn a_name_is_taken_once_and_free_again_after_removal() {
    on_host(|host| async move {
        let engine = host.open().await;
        let named = || ContainerSpec { name: "same".into(), ..busybox("true") };
        let id = engine.create_standalone(no_network(), named()).await.unwrap();
        let error = engine.create_standalone(no_network(), named()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert!(error.chain().contains("\"/same\" is already in use"), "{error:?}");
        let other = engine
            .create_standalone(no_network(), ContainerSpec { name: "other".into(), ..busybox("true") })
            .await
            .unwrap();
        assert_eq!(engine.rename(&other, "same").await.unwrap_err().kind(), Kind::AlreadyExists);
        engine.remove(&id, WITH_VOLUMES).await.unwrap();
        engine.rename(&other, "same").await.unwrap();
        assert_eq!(engine.resolve("same").await.unwrap(), other);
    });
}

#[test]
fn of_two_who_remove_a_container_at_once_one_has_removed_it() {
    on_host(|host| async move {
        let engine = host.open().await;
        for is_started in [false, true] {
            let id = engine.create_standalone(no_network(), busybox("sleep 1000")).await.unwrap();
            if is_started {
                engine.start(&id).await.unwrap();
            }
            let (one, other) = tokio::join!(engine.remove(&id, KILL), engine.remove(&id, KILL));
            assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
            let refused = one.and(other).unwrap_err();
            assert!(refused.is_not_found() || refused.kind() == Kind::FailedPrecondition, "{refused:?}");
            assert!(engine.remove(&id, KILL).await.unwrap_err().is_not_found());
        }
    });
}

#[test]
fn stop_asks_then_kills_and_a_stopped_container_starts_again_with_its_files() {
    on_host(|host| async move {
        let engine = host.open().await;
        let script = "trap 'echo asked; exit 3' TERM; echo $(cat /count 2>/dev/null)x >/count; cat /count; while :; do sleep 0.02; done";
        let id = engine.create_standalone(no_network(), busybox(script)).await.unwrap();
        for round in ["x\n", "xx\n"] {
            engine.start(&id).await.unwrap();
            assert_eq!(engine.start(&id).await.unwrap_err().kind(), Kind::FailedPrecondition);
            until("the trap is set", async || {
                logged(&engine, &id, Default::default()).await.ends_with(round)
            })
            .await;
            engine.stop(&id, None, Duration::from_secs(10)).await.unwrap();
            assert_eq!(state(&engine, &id).await.exit().unwrap().code, 3);
        }
        let stubborn = engine
            .create_standalone(no_network(), busybox("trap '' TERM; echo up; while :; do sleep 0.02; done"))
            .await
            .unwrap();
        engine.start(&stubborn).await.unwrap();
        until("it runs", async || logged(&engine, &stubborn, Default::default()).await == "up\n").await;
        let start = Instant::now();
        engine.stop(&stubborn, None, Duration::from_millis(300)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(300));
        let exit = state(&engine, &stubborn).await.exit().cloned().unwrap();
        assert_eq!((exit.code, exit.signal), (137, Some(9)));
        engine.stop(&stubborn, None, Duration::ZERO).await.unwrap();
        assert_eq!(engine.kill(&stubborn, 15).await.unwrap_err().kind(), Kind::FailedPrecondition);
    });
}

#[test]
fn a_program_that_is_missing_or_not_executable_leaves_the_shells_codes() {
    on_host(|host| async move {
        let engine = host.open().await;
        for (program, kind, code) in [
            ("/no/such", Kind::NotFound, 127),
            ("nothing", Kind::NotFound, 127),
            ("/etc/passwd", Kind::Forbidden, 126),
        ] {
            let spec = ContainerSpec { command: vec![program.into()], ..busybox("") };
            let id = engine.create_standalone(no_network(), spec).await.unwrap();
            let error = engine.start(&id).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{program}: {error:?}");
            assert_eq!(state(&engine, &id).await.exit().unwrap().code, code, "{program}");
            engine.remove(&id, WITH_VOLUMES).await.unwrap();
        }
        host.assert_nothing_left();
    });
}

#[test]
fn auto_remove_leaves_nothing_once_removed_is_told() {
    on_host(|host| async move {
        let engine = host.open().await;
        let spec = ContainerSpec { auto_remove: true, ..busybox("exit 5") };
        let id = engine.create_standalone(SandboxSpec::default(), spec).await.unwrap();
        let waiting = tokio::spawn({
            let (engine, id) = (engine.clone(), id.clone());
            async move { engine.wait(&id, WaitCondition::Removed).await.unwrap() }
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        engine.start(&id).await.unwrap();
        let exit = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
        eprintln!("start to removed: {:?}", start.elapsed());
        assert_eq!(exit.code, 5);
        host.assert_nothing_left();
    });
}

#[test]
fn a_start_by_a_caller_gives_a_container_all_its_restarts_again_and_the_last_end_stays_known() {
    on_host(|host| async move {
        let engine = host.open().await;
        let restart = RestartPolicy::OnFailure { max_retries: 1 };
        let id = engine
            .create_standalone(no_network(), ContainerSpec { restart, ..busybox("echo run; exit 1") })
            .await
            .unwrap();
        let mut ended_at = None;
        for runs in ["run\nrun\n", "run\nrun\nrun\nrun\n"] {
            engine.start(&id).await.unwrap();
            tokio::time::timeout(DEADLINE, engine.wait(&id, WaitCondition::NotRunning))
                .await
                .unwrap()
                .unwrap();
            let container = engine.container(&id).await.unwrap();
            assert_eq!(container.restart_count, 1);
            assert!(container.ended_at > ended_at, "{:?} after {ended_at:?}", container.ended_at);
            ended_at = container.ended_at;
            assert_eq!(logged(&engine, &id, Default::default()).await, runs);
        }
    });
}

#[test]
fn a_failing_container_is_started_again_as_often_as_its_policy_says() {
    on_host(|host| async move {
        let engine = host.open().await;
        let restart = RestartPolicy::OnFailure { max_retries: 2 };
        let id = engine
            .create_standalone(no_network(), ContainerSpec { restart, ..busybox("echo run; exit 1") })
            .await
            .unwrap();
        engine.start(&id).await.unwrap();
        let exit = tokio::time::timeout(DEADLINE, engine.wait(&id, WaitCondition::NotRunning))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(exit.code, 1);
        assert_eq!(engine.container(&id).await.unwrap().restart_count, 2);
        assert_eq!(logged(&engine, &id, Default::default()).await, "run\nrun\nrun\n");
    });
}

#[test]
fn user_environment_directory_mounts_and_limits_are_what_was_asked_for() {
    on_host(|host| async move {
        let engine = host.open().await;
        let shared = host.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("file"), "from the host\n").unwrap();
        let script = "id -u; id -g; id -G; pwd; echo $FROM_IMAGE $MINE; cat /data/file; touch /data/x 2>&1; cat /tmpfs/x /vol/x 2>&1; \
                      touch /tmpfs/x /vol/x && echo written; hostname; ulimit -n; grep CapEff /proc/self/status";
        let bind = MountSource::Bind { path: shared.clone(), propagation: Default::default(), create: false };
        let mounts = vec![
            Mount {
                target: "/data".into(),
                source: bind,
                read_only: true,
                below: Default::default(),
                subpath: String::new(),
            },
            Mount {
                target: "/tmpfs".into(),
                source: MountSource::Tmpfs { size: Some(1 << 20), mode: None, options: vec![] },
                read_only: false,
                below: Default::default(),
                subpath: String::new(),
            },
            Mount {
                target: "/vol".into(),
                source: MountSource::volume(""),
                read_only: false,
                below: Default::default(),
                subpath: String::new(),
            },
        ];
        let spec = ContainerSpec {
            user: "0:7".into(),
            additional_gids: vec![99],
            working_dir: "/new/dir".into(),
            env: vec!["MINE=too".into()],
            mounts,
            cap_drop: vec!["ALL".into()],
            cap_add: vec!["net_raw".into()],
            rlimits: vec![hako_container::Rlimit { name: "nofile".into(), soft: 100, hard: 200 }],
            resources: Resources { memory: Some(64 << 20), pids: Some(20), ..Resources::default() },
            ..busybox(script)
        };
        let sandbox = SandboxSpec { hostname: "named".into(), ..no_network() };
        let id = engine.create_standalone(sandbox, spec).await.unwrap();
        engine.start(&id).await.unwrap();
        engine.wait(&id, WaitCondition::NotRunning).await.unwrap();
        let log = logged(&engine, &id, Default::default()).await;
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[..5], ["0", "7", "7 99", "/new/dir", "yes too"], "{log}");
        assert_eq!(lines[5], "from the host", "{log}");
        assert!(lines[6].contains("Read-only file system"), "{log}");
        assert!(log.contains("written\nnamed\n100\n"), "{log}");
        assert!(log.contains("CapEff:\t0000000000002000"), "{log}");
        assert_eq!(engine.volumes().unwrap().len(), 1);
        engine.remove(&id, WITH_VOLUMES).await.unwrap();
        assert!(engine.volumes().unwrap().is_empty(), "an anonymous volume goes with its container");
    });
}

#[test]
fn a_read_only_root_cannot_be_written_and_an_unknown_user_is_refused() {
    on_host(|host| async move {
        let engine = host.open().await;
        let spec = ContainerSpec { read_only_rootfs: true, ..busybox("touch /x 2>&1") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        engine.start(&id).await.unwrap();
        assert_eq!(engine.wait(&id, WaitCondition::NotRunning).await.unwrap().code, 1);
        assert!(logged(&engine, &id, Default::default()).await.contains("Read-only file system"));
        let spec = ContainerSpec { user: "ghost".into(), ..busybox("true") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        let error = engine.start(&id).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(
            error.chain().contains("unable to find user ghost: no matching entries in passwd file"),
            "{error:?}"
        );
        let spec = ContainerSpec { run_as_non_root: true, ..busybox("true") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        assert_eq!(engine.start(&id).await.unwrap_err().kind(), Kind::FailedPrecondition);
    });
}

#[test]
fn memory_over_the_limit_is_an_oom_kill_and_limits_can_change() {
    on_host(|host| async move {
        let engine = host.open().await;
        let resources =
            Resources { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Resources::default() };
        let spec = ContainerSpec { resources, ..busybox("sleep 0.2; x=x; while :; do x=$x$x; done") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        engine.start(&id).await.unwrap();
        assert_eq!(engine.stats(&id).await.unwrap().memory_limit, Some(16 << 20));
        engine
            .update(
                &id,
                Update {
                    resources: Resources { memory: Some(15 << 20), ..Resources::default() },
                    restart: None,
                },
            )
            .await
            .unwrap();
        assert_eq!(engine.stats(&id).await.unwrap().memory_limit, Some(15 << 20));
        assert_eq!(engine.container(&id).await.unwrap().spec.resources.memory, Some(15 << 20));
        let exit = tokio::time::timeout(DEADLINE, engine.wait(&id, WaitCondition::NotRunning))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((exit.code, exit.oom_killed), (137, true));
    });
}

#[test]
fn the_bridge_gives_an_address_and_published_ports() {
    on_host(|host| async move {
        let engine = host.open().await;
        let port = hako_container::PortMapping {
            host_ip: std::net::Ipv4Addr::UNSPECIFIED.into(),
            host_port_last: 0,
            host_port: 0,
            container_port: 80,
            protocol: hako_container::Protocol::Tcp,
        };
        let sandbox = SandboxSpec { ports: vec![port], ..SandboxSpec::default() };
        let id = engine
            .create_standalone(sandbox, busybox("echo hello > /index.html; exec httpd -f -p 80 -h /"))
            .await
            .unwrap();
        engine.start(&id).await.unwrap();
        let container = engine.container(&id).await.unwrap();
        let sandbox = engine.sandbox(&container.sandbox).await.unwrap();
        assert_eq!(sandbox.state, SandboxState::Ready);
        let ip = sandbox.ip.unwrap();
        let published = sandbox.ports[0].host_port;
        assert_ne!(published, 0);
        // Connections from this thread's namespace: the tests' "host".
        let get = move |address: (std::net::Ipv4Addr, u16)| {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).ok()?;
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer.contains("hello"))
        };
        for address in [(ip, 80), (std::net::Ipv4Addr::LOCALHOST, published)] {
            until("the server answers", async || {
                tokio::task::spawn_blocking(move || get(address)).await.unwrap() == Some(true)
            })
            .await;
        }
        engine.remove(&id, KILL).await.unwrap();
        host.assert_nothing_left();
    });
}

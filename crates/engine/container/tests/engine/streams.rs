//! Logs, exec and attach.

use crate::host::*;
use futures::{StreamExt, TryStreamExt};
use hako_container::{
    AttachOptions, ContainerEngine, ContainerSpec, ExecSpec, LogOptions, Stream, TerminalSize, WaitCondition,
};
use hako_error::Kind;
use tokio::io::AsyncWriteExt;

fn exec(script: &str) -> ExecSpec {
    ExecSpec { argv: vec!["sh".into(), "-c".into(), script.into()], ..ExecSpec::default() }
}

#[test]
fn exec_has_streams_environment_user_and_exit_code() {
    on_host(|host| async move {
        let engine = host.open().await;
        let id = engine.create_standalone(no_network(), busybox("exec sleep 100")).await.unwrap();
        assert_eq!(engine.exec(&id, exec("true")).await.unwrap_err().kind(), Kind::FailedPrecondition);
        engine.start(&id).await.unwrap();
        let plain = engine.exec(&id, exec("echo $FROM_IMAGE; echo err >&2; exit 9")).await.unwrap();
        assert_eq!(finish(plain).await, (9, "yes\n".into(), "err\n".into()));
        let spec = ExecSpec {
            env: vec!["A=b".into()],
            user: "12:34".into(),
            working_dir: "/tmp".into(),
            ..exec("echo $A; id -u; id -g; pwd")
        };
        assert_eq!(finish(engine.exec(&id, spec).await.unwrap()).await.1, "b\n12\n34\n/tmp\n");
        let mut session = engine.exec(&id, ExecSpec { stdin: true, ..exec("cat; exit 2") }).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"through").await.unwrap();
        drop(stdin);
        assert_eq!(finish(session).await, (2, "through".into(), String::new()));
        let missing =
            engine.exec(&id, ExecSpec { argv: vec!["nothing-here".into()], ..ExecSpec::default() }).await;
        assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);
        let codes: Vec<_> = engine.execs(&id).await.unwrap().into_iter().map(|exec| exec.code).collect();
        assert_eq!(codes, [Some(9), Some(0), Some(2)]);
        engine.remove(&id, KILL).await.unwrap();
    });
}

#[test]
fn exec_with_a_terminal_has_a_size_that_can_change() {
    on_host(|host| async move {
        let engine = host.open().await;
        let id = engine.create_standalone(no_network(), busybox("exec sleep 100")).await.unwrap();
        engine.start(&id).await.unwrap();
        let spec = ExecSpec {
            tty: true,
            stdin: true,
            size: Some(TerminalSize { rows: 12, columns: 34 }),
            ..exec("stty size; read x; stty size; echo got $x")
        };
        let mut session = engine.exec(&id, spec).await.unwrap();
        let first = session.output.next().await.unwrap().unwrap();
        assert_eq!(&first.1[..], b"12 34\r\n");
        session.resize.as_ref().unwrap()(TerminalSize { rows: 56, columns: 78 }).unwrap();
        session.stdin.as_mut().unwrap().write_all(b"line\n").await.unwrap();
        let (code, out, _) = finish(session).await;
        assert_eq!(code, 0);
        assert!(out.contains("56 78\r\ngot line\r\n"), "{out:?}");
    });
}

#[test]
fn attaching_before_the_start_misses_nothing_and_input_reaches_the_container() {
    on_host(|host| async move {
        let engine = host.open().await;
        let spec =
            ContainerSpec { stdin: true, stdin_once: true, ..busybox("echo first; cat; echo last >&2") };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        let options = AttachOptions { stdin: true, stdout: true, stderr: true };
        let mut session = engine.attach(&id, options).await.unwrap();
        engine.start(&id).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"typed\n").await.unwrap();
        stdin.shutdown().await.unwrap();
        let pieces: Vec<_> =
            tokio::time::timeout(DEADLINE, session.output.try_collect()).await.unwrap().unwrap();
        let text = |wanted: Stream| -> Vec<u8> {
            pieces
                .iter()
                .filter(|(stream, _): &&(Stream, bytes::Bytes)| *stream == wanted)
                .flat_map(|(_, bytes)| bytes.to_vec())
                .collect()
        };
        assert_eq!(String::from_utf8(text(Stream::Stdout)).unwrap(), "first\ntyped\n");
        assert_eq!(String::from_utf8(text(Stream::Stderr)).unwrap(), "last\n");
        assert_eq!(engine.wait(&id, WaitCondition::NotRunning).await.unwrap().code, 0);
        assert_eq!(logged(&engine, &id, LogOptions { stdout: false, ..Default::default() }).await, "last\n");
    });
}

#[test]
fn logs_follow_until_the_exit_and_survive_rotation() {
    on_host(|host| async move {
        let engine = host.open().await;
        let log = hako_container::LogSettings { max_size: 4096, max_files: 100, ..Default::default() };
        let spec = ContainerSpec {
            log,
            ..busybox("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; printf end")
        };
        let id = engine.create_standalone(no_network(), spec).await.unwrap();
        let following = tokio::spawn({
            let (engine, id) = (engine.clone(), id.clone());
            async move { logged(&engine, &id, LogOptions { follow: true, ..Default::default() }).await }
        });
        engine.start(&id).await.unwrap();
        let seen = tokio::time::timeout(DEADLINE, following).await.unwrap().unwrap();
        let mut expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        expected.push_str("end");
        assert_eq!(seen.trim_end(), expected);
        assert_eq!(logged(&engine, &id, Default::default()).await, seen);
        let tail = logged(&engine, &id, LogOptions { tail: Some(3), ..Default::default() }).await;
        assert_eq!(tail.trim_end(), "line 998\nline 999\nend");
        let since = engine.container(&id).await.unwrap().state.exit().unwrap().finished_at;
        let none =
            LogOptions { since: Some(since + jiff::SignedDuration::from_secs(1)), ..Default::default() };
        assert_eq!(logged(&engine, &id, none).await, "");
    });
}

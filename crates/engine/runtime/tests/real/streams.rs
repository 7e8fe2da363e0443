//! Logs, attached clients and terminals.

use std::io::Read;

use hako_runtime::{ExecIo, OutputStream, TtySize};

use crate::bed::{Bed, process, shell, wait_exit};

#[tokio::test]
async fn an_attached_client_gets_both_streams_and_gives_input() {
    let bed = Bed::new().await;
    let mut container = bed.container("c", shell("cat; echo err >&2; echo done"));
    container.stdio.stdin = true;
    container.stdio.stdin_once = true;
    bed.shim.create(container).await.unwrap();
    let mut io = bed.shim.attach("c").await.unwrap();
    bed.shim.start("c").await.unwrap();
    assert!(!io.tty);
    io.input.write(b"typed\n").await.unwrap();
    io.input.close().await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((stream, data)) = io.output.next().await.unwrap() {
        match stream {
            OutputStream::Stdout => out.extend(data),
            OutputStream::Stderr => err.extend(data),
        }
    }
    assert_eq!((out.as_slice(), err.as_slice()), (&b"typed\ndone\n"[..], &b"err\n"[..]));
    bed.finish().await;
}

#[tokio::test]
async fn a_great_deal_of_output_arrives_whole_in_log_and_client() {
    let bed = Bed::new().await;
    let mut container = bed.container("c", shell("seq 1 200000"));
    container.stdio.log.as_mut().unwrap().max_size = 1 << 30;
    let mut events = bed.shim.events();
    bed.shim.create(container).await.unwrap();
    let mut io = bed.shim.attach("c").await.unwrap();
    bed.shim.start("c").await.unwrap();
    let mut received = Vec::new();
    while let Some((_, data)) = io.output.next().await.unwrap() {
        received.extend(data);
    }
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(received == expected.as_bytes(), "{} of {} bytes", received.len(), expected.len());
    wait_exit(&mut events, "c", None).await;
    assert!(bed.log("c") == expected);
    bed.finish().await;
}

#[tokio::test]
async fn a_container_with_a_terminal_has_one() {
    let bed = Bed::new().await;
    let mut container = bed.container(
        "c",
        shell("tty; stty size; read line; echo got $line; stty size; test -t 0 && ls -l /dev/console"),
    );
    container.stdio.tty = true;
    container.stdio.stdin = true;
    container.stdio.size = Some(TtySize { width: 80, height: 24 });
    bed.shim.create(container).await.unwrap();
    let mut io = bed.shim.attach("c").await.unwrap();
    bed.shim.start("c").await.unwrap();
    assert!(io.tty);
    bed.shim.resize("c", None, TtySize { width: 100, height: 30 }).await.unwrap();
    io.input.write(b"word\n").await.unwrap();
    let mut text = Vec::new();
    while let Some((_, data)) = io.output.next().await.unwrap() {
        text.extend(data);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("/dev/pts/0\r\n"), "{text}");
    assert!(text.contains("got word\r\n30 100\r\n"), "{text}");
    bed.finish().await;
}

#[tokio::test]
async fn an_exec_with_a_terminal_returns_its_master() {
    let bed = Bed::new().await;
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("c", shell("sleep 1000"))).await.unwrap();
    bed.shim.start("c").await.unwrap();
    let size = TtySize { width: 120, height: 40 };
    let started =
        bed.shim.exec("c", process(&["sh", "-c", "stty size; exit 4"]), ExecIo::Tty { size }).await.unwrap();
    let mut master = std::fs::File::from(started.tty_master.unwrap());
    // A terminal may hand a line over in parts.
    let (mut text, mut part) = (Vec::new(), [0; 64]);
    while !text.ends_with(b"\n") {
        let count = master.read(&mut part).unwrap();
        text.extend_from_slice(&part[..count]);
    }
    assert_eq!(text, b"40 120\r\n");
    assert_eq!(wait_exit(&mut events, "c", Some(&started.exec_id)).await.code, 4);
    bed.finish().await;
}

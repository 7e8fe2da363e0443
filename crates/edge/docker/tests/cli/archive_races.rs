//! docker cp while whoever lives in the tree swaps links for directories and files (CVE-2018-15664 and its kin): asked for
//! by requests of its own, and swapped by renameat2(2), as often as the kernel lets both.

use crate::daemon::{Daemon, with_daemon};
use hako_image::layer::Encoder;
use hako_oci::media_type::Compression;
use hako_testkit::while_swapped;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// How often each is asked for.
const ROUNDS: usize = 40;
/// What is in the file of the host, and in that of the container.
const HOST: &str = "of the host, and nobody else's\n";
const MINE: &str = "mine\n";

/// Status and body of an answer.
fn ask(docker: &Daemon, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = UnixStream::connect(&docker.socket).unwrap();
    let head = format!("{method} {target} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // It may be refused before all of it is sent.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { panic!("{method} {target}: {}", String::from_utf8_lossy(&answer)) };
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).unwrap().parse().unwrap();
    if method == "HEAD" {
        return (status, answer);
    }
    (status, answer.split_off(end + 4))
}

fn archive(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for name in [format!("{name}/"), format!("{name}/inner"), format!("{name}-file")] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_entry_type(if name.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_size(0);
        tar.append_data(&mut header, &name, std::io::empty()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// What is asked for is inside, or is refused in words: by the path, or by the entry that the tree had no place for any more.
fn is_usual(status: u16, answer: &[u8]) -> bool {
    let lost = ["No such file", "Not a directory", "File exists"];
    let text = String::from_utf8_lossy(answer);
    [200, 400, 403, 404].contains(&status)
        || (status == 500
            && text.contains("the archive: cannot ")
            && lost.iter().any(|why| text.contains(why)))
}

/// Asks for everything below `/data` of a container while `a` and `b` there are swapped.
fn ask_for_all(docker: &Daemon, name: &str, outside: &Path) {
    let text = |answer: &[u8]| String::from_utf8_lossy(answer).into_owned();
    for round in 0..ROUNDS {
        for path in ["/data/a/secret", "/data/a/", "/data/a", "/data/way/a/secret", "/data"] {
            let target = format!("/containers/{name}/archive?path={path}");
            let (status, answer) = ask(docker, "GET", &target, b"");
            assert!(is_usual(status, &answer), "{path}: {status} {}", text(&answer));
            assert!(!text(&answer).contains(HOST), "{path} led to the host");
            let (status, head) = ask(docker, "HEAD", &target, b"");
            assert!(is_usual(status, &head), "{path}: {status}");
            assert_eq!(told_size(&head).is_some(), status == 200, "{}", text(&head));
            assert_ne!(told_size(&head), Some(HOST.len() as u64), "{path} was the host's");
        }
        for path in ["/data/a", "/data/way/a"] {
            let target = format!("/containers/{name}/archive?path={path}");
            let (status, answer) = ask(docker, "PUT", &target, &archive(&format!("evil-{round}")));
            assert!(is_usual(status, &answer), "{path}: {status} {}", text(&answer));
        }
    }
    let names: Vec<_> = std::fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"], "something was written on the host");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), HOST);
}

/// The size that a head tells of what the path is.
fn told_size(head: &[u8]) -> Option<u64> {
    use base64::Engine as _;
    let head =
        String::from_utf8_lossy(head).to_lowercase().find("x-docker-container-path-stat: ").map(|at| {
            let line = &head[at + "x-docker-container-path-stat: ".len()..];
            line.split(|byte| *byte == b'\r').next().unwrap().to_vec()
        })?;
    let stat = base64::engine::general_purpose::STANDARD.decode(head).unwrap();
    serde_json::from_slice::<serde_json::Value>(&stat).unwrap()["size"].as_u64()
}

/// A directory with a file, and a link beside it that would lead to the host if it were followed there.
fn prepare(data: &Path, outside: &Path) -> [PathBuf; 2] {
    let [a, b] = ["a", "b"].map(|name| data.join(name));
    std::fs::create_dir(&a).unwrap();
    std::fs::write(a.join("secret"), MINE).unwrap();
    symlink(outside, &b).unwrap();
    std::fs::create_dir(data.join("deep")).unwrap();
    // A way with `..` in it: the kernel looks again when a rename comes in between.
    symlink("deep/../../data", data.join("way")).unwrap();
    [a, b]
}

fn outside(docker: &Daemon) -> PathBuf {
    let outside = docker.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), HOST).unwrap();
    outside
}

#[test]
fn cve_2018_15664_a_container_that_runs_may_swap_as_it_likes() {
    with_daemon(|docker| {
        docker.import_busybox();
        let outside = outside(docker);
        let script =
            format!("mkdir -p {0} /data; echo mine >{0}/secret; touch /ready; sleep 1000", outside.display());
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", &script]);
        docker.until("it is ready", || docker.run(&["exec", "box", "test", "-e", "/ready"]).0 == 0);
        let pid = docker.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
        let data = PathBuf::from(format!("/proc/{}/root/data", pid.trim()));
        let [a, b] = prepare(&data, &outside);
        while_swapped(&a, &b, || ask_for_all(docker, "box", &outside));
        docker.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn cve_2018_15664_a_volume_that_others_swap_leads_out_of_no_container_at_rest() {
    with_daemon(|docker| {
        docker.import_busybox();
        let outside = outside(docker);
        docker.ok(&["create", "--name", "rest", "-v", "data:/data", "busybox", "true"]);
        let data = docker.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
        let [a, b] = prepare(Path::new(data.trim()), &outside);
        while_swapped(&a, &b, || ask_for_all(docker, "rest", &outside));
        docker.ok(&["rm", "-f", "rest"]);
        docker.ok(&["volume", "rm", "data"]);
    });
}

#[test]
fn a_name_that_is_now_a_file_and_now_a_pipe_keeps_nobody_waiting() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "rest", "-v", "data:/data", "busybox", "true"]);
        let data = docker.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
        let [a, b] = ["a", "b"].map(|name| Path::new(data.trim()).join(name));
        std::fs::write(&a, MINE).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &b,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        while_swapped(&a, &b, || {
            for _ in 0..ROUNDS {
                for target in ["/data/a", "/data"] {
                    let path = format!("/containers/rest/archive?path={target}");
                    let (status, _) = ask(docker, "GET", &path, b"");
                    assert_eq!(status, 200, "{target}");
                }
            }
        });
        docker.ok(&["rm", "-f", "rest"]);
        docker.ok(&["volume", "rm", "data"]);
    });
}

/// An archive of one empty file `times` times, each made anew on no more room, and of `last`.
fn archive_of(times: usize) -> Vec<u8> {
    let header = |name: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_path(name).unwrap();
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let mut encoder = Encoder::new(Vec::new(), Compression::Zstd).unwrap();
    encoder.write_all(&[header("again").repeat(times), header("last"), vec![0; 1024]].concat()).unwrap();
    encoder.finish().unwrap().0
}

#[test]
fn an_archive_whose_client_has_gone_is_not_unpacked_to_its_end() {
    const DATA: &str = "/containers/box/archive?path=/data";
    fn has_last(docker: &Daemon) -> bool {
        let (status, head) = ask(docker, "HEAD", &format!("{DATA}/last"), b"");
        assert!([200, 404].contains(&status), "{}", String::from_utf8_lossy(&head));
        status == 200
    }
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "box", "-v", "data:/data", "busybox"]);
        let data = docker.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
        let again = Path::new(data.trim()).join("again");
        let archive = archive_of(1 << 17);
        let head =
            format!("PUT {DATA} HTTP/1.1\r\nHost: docker\r\nContent-Length: {}\r\n\r\n", archive.len());
        let request = [head.as_bytes(), &archive].concat();
        // The server takes this much at once. Of what it has not taken, the end would be missing in any case.
        assert!(request.len() < 8 << 10, "{} bytes", request.len());
        let mut client = UnixStream::connect(&docker.socket).unwrap();
        client.write_all(&request).unwrap();
        docker.until("it is being unpacked", || again.exists());
        drop(client);
        // Whoever asks waits for the end of what is done to the files of a container that does not run.
        assert!(!has_last(docker));
        // All of it is unpacked for a client that stays.
        assert_eq!(ask(docker, "PUT", DATA, &archive_of(2)).0, 200);
        assert!(has_last(docker));
    });
}

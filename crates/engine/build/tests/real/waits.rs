//! A build whose client has gone waits for no server.

use crate::bed::Bed;
use hako_build::BuildRequest;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Far longer than a build takes to see that it is over.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that begins an answer and never ends it.
struct Silent {
    address: SocketAddr,
    asked: oneshot::Receiver<()>,
    /// Whether who asked went away.
    is_left: JoinHandle<bool>,
}

impl Silent {
    fn that_says(beginning: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = oneshot::channel();
        let is_left = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut request = [0; 1024];
            assert!(client.read(&mut request).unwrap() > 0);
            client.write_all(beginning.as_bytes()).unwrap();
            tell.send(()).unwrap();
            loop {
                match client.read(&mut request) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
                }
            }
        });
        Self { address, asked, is_left }
    }
}

/// Builds until the server is asked; then the client goes.
fn leaves(server: Silent, request: impl FnOnce(&Bed, SocketAddr) -> BuildRequest) {
    let bed = Bed::new("FROM scratch\nCOPY Dockerfile /\n");
    let request = request(&bed, server.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (events, _) = mpsc::unbounded_channel();
    runtime.block_on(async {
        tokio::select! {
            built = bed.builder.build(request, events) => panic!("{built:?}"),
            asked = server.asked => asked.unwrap(),
        }
    });
    assert!(server.is_left.join().unwrap(), "the build still waits");
    // Waits for the thread of the build.
    drop(runtime);
    bed.is_clean();
}

const BEGUN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc";

#[test]
fn who_gives_up_waits_for_no_download() {
    for beginning in ["", BEGUN] {
        leaves(Silent::that_says(beginning), |bed, address| {
            bed.write("Dockerfile", format!("FROM scratch\nADD http://{address}/file /\n"));
            bed.request()
        });
    }
}

#[test]
fn who_gives_up_waits_for_no_context_from_elsewhere() {
    for path in ["context.tar", "context.git"] {
        leaves(Silent::that_says(""), |bed, address| BuildRequest {
            remote: Some(format!("http://{address}/{path}")),
            ..bed.request()
        });
    }
}

#[test]
fn who_gives_up_waits_for_no_registry() {
    leaves(Silent::that_says(""), |bed, address| {
        bed.write("Dockerfile", format!("FROM {address}/base:1\n"));
        bed.request()
    });
}

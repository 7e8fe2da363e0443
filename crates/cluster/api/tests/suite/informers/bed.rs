//! The server, as a child that can be killed, and the way to it, which can be cut.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hako_api::pki::{Pki, ServerNames, write_kubeconfig};
use hako_api::{Server, ServerConfig};
use hako_client::{Client, ListParams};
use hako_store::{Embedded, EmbeddedConfig, HistoryLimits};
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::told::Objects;
use super::until;

const DIR: &str = "HAKO_INFORMERS_DIR";
const PORT: &str = "HAKO_INFORMERS_PORT";
const HISTORY: &str = "HAKO_INFORMERS_HISTORY";

/// Not a test by itself: what the child does, until it is killed or whoever started it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_child_serves_until_it_is_killed() {
    let (Ok(dir), Ok(port), Ok(history)) = (std::env::var(DIR), std::env::var(PORT), std::env::var(HISTORY))
    else {
        return;
    };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    // The plan's number alone bounds it: on a busy machine a run writes more than the default's bytes, and lasts longer.
    let max_events = history.parse().unwrap();
    let history = HistoryLimits { max_events, max_bytes: usize::MAX, max_age: Duration::MAX };
    let store = EmbeddedConfig { history, ..EmbeddedConfig::new(Path::new(&dir).join("store")) };
    let store = Arc::new(Embedded::open_with(store).unwrap());
    let pki = Arc::new(Pki::open(&Path::new(&dir).join("pki"), &ServerNames::default()).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).await.unwrap();
    let server = Server::new(ServerConfig::new(store, pki)).await.unwrap();
    server.serve(listener).await.unwrap();
}

pub struct Bed {
    dir: tempfile::TempDir,
    port: u16,
    history: usize,
    child: Child,
    way: Arc<Way>,
}

/// The way through, which can be closed.
#[derive(Default)]
struct Way {
    is_closed: AtomicBool,
    /// Cuts the connections of now.
    cut: Mutex<CancellationToken>,
}

impl Bed {
    pub async fn start(history: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap();
        // The child listens where nobody does now, each time anew.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kubeconfig = |name: &str, port: u16| {
            let url = format!("https://127.0.0.1:{port}");
            write_kubeconfig(&dir.path().join(name), "hako", &url, pki.ca(), pki.admin()).unwrap();
        };
        kubeconfig("straight", port);
        kubeconfig("through", way.local_addr().unwrap().port());
        let ways = Arc::new(Way::default());
        tokio::spawn(pass(way, port, Arc::clone(&ways)));
        let child = child(dir.path(), port, history);
        let bed = Self { dir, port, history, child, way: ways };
        bed.answers().await;
        bed
    }

    /// The kubeconfig of the way that is cut.
    pub fn through(&self) -> PathBuf {
        self.dir.path().join("through")
    }

    /// A client whose connections are not cut.
    pub fn straight(&self) -> Client {
        Client::from_kubeconfig(&self.dir.path().join("straight")).unwrap()
    }

    /// Cuts all connections that lead through, and lets no more in.
    pub fn close(&self) {
        self.way.is_closed.store(true, Ordering::SeqCst);
        std::mem::take(&mut *self.way.cut.lock()).cancel();
    }

    pub fn open(&self) {
        self.way.is_closed.store(false, Ordering::SeqCst);
    }

    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.restart().await;
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The store, while the server is killed.
    pub fn store(&self) -> Embedded {
        Embedded::open(self.dir.path().join("store")).unwrap()
    }

    pub async fn restart(&mut self) {
        self.child = child(self.dir.path(), self.port, self.history);
        self.answers().await;
    }

    async fn answers(&self) {
        let client = self.straight();
        until("the server", async || client.get_text("/readyz").await.map(drop).map_err(|e| e.to_string()))
            .await;
    }

    /// The objects that are there.
    pub async fn objects(&self) -> Objects {
        let params = ListParams::default().labels("counts");
        let list = self.straight().namespaced::<ConfigMap>("default").list_all(&params).await.unwrap();
        list.items.iter().map(counted).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An object's name and counter.
pub fn counted(object: &ConfigMap) -> (String, u64) {
    let counter = object.data.as_ref().and_then(|data| data.get("n")?.parse().ok());
    (object.metadata.name.clone().unwrap(), counter.unwrap())
}

fn child(dir: &Path, port: u16, history: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "informers::bed::the_child_serves_until_it_is_killed", "--nocapture"])
        .env(DIR, dir)
        .env(PORT, port.to_string())
        .env(HISTORY, history.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Passes connections on until they are cut.
async fn pass(listener: TcpListener, port: u16, way: Arc<Way>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let cut = way.cut.lock().clone();
        if way.is_closed.load(Ordering::SeqCst) {
            continue;
        }
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
            tokio::select! {
                () = cut.cancelled() => {}
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            }
        });
    }
}

//! Debian's registry on loopback, and a way to it that counts bytes.

use anyhow::Context as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An empty registry; it ends when dropped.
pub struct Registry {
    child: Child,
    _dir: tempfile::TempDir,
    pub host: String,
}

impl Registry {
    pub fn start(scratch: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let config = dir.path().join("config.yml");
        let data = dir.path().join("data");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: \
                 {{addr: 127.0.0.1:0}}\n",
                data.display()
            ),
        )?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("docker-registry")?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on 127.0.0.1:")?;
            let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u16>().ok()
        });
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.context("the registry does not say where it listens")?;
        Ok(Self { child, _dir: dir, host: format!("127.0.0.1:{port}") })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Forwards connections and counts what comes back: what a client says that it moved is not taken on trust.
pub struct Counting {
    pub host: String,
    received: Arc<AtomicU64>,
}

impl Counting {
    pub fn start(upstream: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let received = Arc::new(AtomicU64::new(0));
        let (upstream, counter) = (upstream.to_owned(), received.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect(&upstream) {
                    let _ = join(client, server, &counter);
                }
            }
        });
        Ok(Self { host, received })
    }

    /// Bytes received by clients so far, headers included.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

fn join(client: TcpStream, server: TcpStream, counter: &Arc<AtomicU64>) -> std::io::Result<()> {
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || copy(from_client, to_server, &AtomicU64::new(0)));
    let counter = counter.clone();
    std::thread::spawn(move || copy(server, client, &counter));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

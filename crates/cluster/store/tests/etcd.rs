//! The store on Debian's etcd passes the suite that every store passes, and outlives what happens to a cluster.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hako_error::{Classify, Kind};
use hako_store::snapshot::{Parts, Snapshot, restore};
use hako_store::{
    Along, Embedded, Etcd, EtcdConfig, Event, Expect, Op, Range, Revision, Sealed, Store, StoreError, Watch,
    Write,
};

const START: Duration = Duration::from_secs(30);

/// A cluster of one, ended with the test.
struct Server {
    process: Child,
    dir: tempfile::TempDir,
    ports: [u16; 2],
    options: Vec<String>,
}

impl Server {
    /// Ports are free when they are chosen; who is faster gets them, and the other tries again.
    fn start(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        loop {
            let dir = tempfile::tempdir().unwrap();
            let free = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let ports = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
            drop(free);
            let process = spawn(dir.path(), ports, &options);
            let mut server = Self { process, dir, ports, options: options.clone() };
            if server.answers() {
                return server;
            }
        }
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < START, "etcd does not start");
            let health = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &self.endpoint(), "endpoint", "health", "--command-timeout", "1s"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            match health {
                Ok(status) if status.success() => return true,
                Err(error) => panic!("etcdctl: {error}; install the package etcd-client"),
                Ok(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        false
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    fn config(&self) -> EtcdConfig {
        let progress_interval = Duration::from_millis(20);
        EtcdConfig { progress_interval, ..EtcdConfig::new(vec![self.endpoint()]) }
    }

    /// As if the machine had gone, and come again with its disk.
    fn kill_and_start(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(self.dir.path(), self.ports, &self.options);
        assert!(self.answers());
    }

    /// What an operator would type.
    fn etcdctl(&self, args: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint()]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, ports: [u16; 2], options: &[String]) -> Child {
    let [client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let log = std::fs::File::create(dir.join("log")).unwrap();
    Command::new("etcd")
        .args(["--data-dir", dir.join("data").to_str().unwrap(), "--name", "one"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}"), "--unsafe-no-fsync"])
        .args(options)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("etcd: {error}; install the package etcd-server"))
}

async fn store() -> (Etcd, Server) {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    (Etcd::connect(server.config()).await.unwrap(), server)
}

hako_store::contract_suite!(store());

async fn put(store: &Etcd, key: &str, value: &str) -> Revision {
    store.write(Write::put(key.to_owned(), value.to_owned(), Expect::Any)).await.unwrap().revision
}

async fn values(watch: &mut Watch, count: usize) -> Vec<Bytes> {
    let mut seen: Vec<Bytes> = Vec::new();
    while seen.len() < count {
        let batch =
            tokio::time::timeout(Duration::from_secs(60), watch.next()).await.unwrap().unwrap().unwrap();
        let value = |event: &std::sync::Arc<Event>| event.entry.value.clone();
        seen.extend(batch.events.iter().map(value));
    }
    seen
}

fn numbers(range: std::ops::Range<usize>) -> Vec<Bytes> {
    range.map(|n| Bytes::from(n.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_a_kill_of_the_cluster_and_misses_and_repeats_nothing() {
    let (store, mut server) = store().await;
    let after = store.revision().await.unwrap();
    let mut watch = store.watch("a/".into(), after).await.unwrap();
    for n in 0..10 {
        put(&store, "a/x", &n.to_string()).await;
    }
    assert_eq!(values(&mut watch, 10).await, numbers(0..10));
    server.kill_and_start();
    let mut written = 10;
    while written < 20 {
        // A connection that was cut is made again by a later try.
        let write = Write::put("a/x", written.to_string(), Expect::Any);
        match store.write(write).await {
            Ok(_) => written += 1,
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error}"),
        }
    }
    assert_eq!(values(&mut watch, 10).await, numbers(10..20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_is_behind_what_is_kept_catches_up_from_the_cluster() {
    let (writer, server) = store().await;
    let first = put(&writer, "a/x", "0").await;
    for n in 1..300 {
        put(&writer, "a/x", &n.to_string()).await;
        put(&writer, "b/x", "other").await;
    }
    // One that came later knows nothing of that by itself, and one that keeps little has forgotten it.
    let late = Etcd::connect(server.config()).await.unwrap();
    let small = Etcd::connect(EtcdConfig { history_bytes: 1000, ..server.config() }).await.unwrap();
    let mut watches = Vec::new();
    for store in [&late, &small] {
        let mut watch = store.watch("a/".into(), first).await.unwrap();
        assert_eq!(values(&mut watch, 299).await, numbers(1..300));
        watches.push(watch);
    }
    put(&writer, "a/x", "last").await;
    for watch in &mut watches {
        assert_eq!(values(watch, 1).await, ["last"]);
    }
    let mut slow = small.watch("a/".into(), first).await.unwrap();
    let now = small.revision().await.unwrap();
    server.etcdctl(&["compact", &now.to_string()]);
    let error = loop {
        match slow.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Compacted { compacted, .. } if compacted == now), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_others_in_the_cluster_are_neither_seen_nor_touched() {
    let (store, server) = store().await;
    server.etcdctl(&["put", "/other/k/a", "theirs"]);
    server.etcdctl(&["put", "/hako/x", "beside"]);
    let after = put(&store, "a", "ours").await;
    let page = store.range(Range::all("")).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| &entry.key[..]).collect::<Vec<_>>(), [b"a"]);
    let mut watch = store.watch(Bytes::new(), after).await.unwrap();
    server.etcdctl(&["put", "/hako/x", "again"]);
    put(&store, "a", "1").await;
    assert_eq!(values(&mut watch, 1).await, ["1"]);
    let tenant = EtcdConfig { prefix: "/tenant/".to_owned(), ..server.config() };
    let tenant = Etcd::connect(tenant).await.unwrap();
    assert!(tenant.get(b"a").await.unwrap().entry.is_none());
    assert_eq!(server.etcdctl(&["get", "/hako/k/a", "--print-value-only"]), "1\n");
    assert_eq!(server.etcdctl(&["get", "/other/k/a", "--print-value-only"]), "theirs\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_refuses_is_told_with_its_name_and_the_way_out() {
    let start = || Server::start(&["--quota-backend-bytes", "1000000"]);
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let store = Etcd::connect(server.config()).await.unwrap();
    let large = store.write(Write::put("a", vec![0; 2 << 20], Expect::Any)).await.unwrap_err();
    assert!(matches!(large, StoreError::TooLarge { .. }), "{large}");
    let full = loop {
        if let Err(error) = store.write(Write::put("a", vec![0; 100_000], Expect::Any)).await {
            break error;
        }
    };
    assert_eq!(full.kind(), Kind::Exhausted, "{full}");
    assert!(full.to_string().contains(&server.endpoint()) && full.to_string().contains("compact"), "{full}");
    assert!(store.status().await.unwrap().refusing.unwrap().contains("quota"));
    assert!(store.get(b"a").await.unwrap().entry.is_some(), "reads go on");
    let endpoint = server.endpoint();
    drop(server);
    let gone = store.get(b"a").await.unwrap_err();
    assert!(gone.kind() == Kind::Unavailable && gone.to_string().contains(&endpoint), "{gone}");
    let nobody = Etcd::connect(EtcdConfig::new(vec![endpoint])).await.unwrap_err();
    assert_eq!(nobody.kind(), Kind::Unavailable, "{nobody}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_longer_than_an_answer_may_be_is_whole_and_of_one_revision() {
    let (store, _server) = store().await;
    let value = "x".repeat(12_000);
    for n in 0..1100 {
        put(&store, &format!("k/{n:04}"), &value).await;
    }
    let before = store.revision().await.unwrap();
    let writing = async {
        for n in (0..1100).rev().take(50) {
            put(&store, &format!("k/{n:04}"), "changed").await;
        }
    };
    let (page, ()) = tokio::join!(store.range(Range::all("k/")), writing);
    let page = page.unwrap();
    assert_eq!((page.entries.len(), page.more, page.remaining), (1100, false, 0));
    let changed = page.entries.iter().filter(|entry| entry.value == "changed").count() as u64;
    assert_eq!(page.revision.0 - before.0, changed, "as many changes as revisions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_lies_sealed_in_the_cluster_and_its_keys_change() {
    let (etcd, server) = store().await;
    let keys = server.dir.path().join("pki/sealing.keys");
    let etcd: std::sync::Arc<dyn Store> = std::sync::Arc::new(etcd);
    let sealed = Sealed::open(std::sync::Arc::clone(&etcd), keys, vec!["s/".into()]).await.unwrap();
    let mut watch = sealed.watch("s/".into(), sealed.revision().await.unwrap()).await.unwrap();
    for n in 0..20 {
        sealed.write(Write::create(format!("s/{n}"), "the-plain-text")).await.unwrap();
    }
    assert_eq!(values(&mut watch, 20).await, vec![Bytes::from("the-plain-text"); 20]);
    let raw = || {
        let dump = server.etcdctl(&["get", "/hako/k/s/", "--prefix", "--write-out=json"]);
        assert!(!dump.contains("dGhlLXBsYWluLXRleHQ"), "the plain text in base64");
        dump
    };
    let before = raw();
    sealed.add_key().await.unwrap();
    assert_eq!(sealed.settle().await.unwrap().rewritten, 20);
    assert_eq!(sealed.key_ids().await.unwrap().len(), 1);
    assert_ne!(raw(), before);
    assert_eq!(sealed.get(b"s/7").await.unwrap().entry.unwrap().value, "the-plain-text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_cluster_becomes_an_embedded_store() {
    let (store, server) = store().await;
    let lease = store.lease_grant(Duration::from_secs(600)).await.unwrap().id;
    let op = Op::Put { value: "x".into(), lease: Some(lease) };
    store
        .write(Write {
            key: "leased".into(),
            expect: Expect::Absent,
            op,
            guards: Vec::new(),
            along: Vec::new(),
        })
        .await
        .unwrap();
    put(&store, "a", "1").await;
    let restored = async |name: &str| {
        let bytes: Vec<u8> = Snapshot::take(&store).await.unwrap().into_chunks().flatten().collect();
        let dir = server.dir.path().join(name);
        let begin = restore(&dir, Parts::new(&bytes[..])).unwrap();
        let embedded = Embedded::open(&dir).unwrap();
        let entries = embedded.range(Range::all("")).await.unwrap().entries;
        assert!(entries.iter().all(|entry| entry.modified < begin));
        (embedded, entries)
    };
    let (embedded, entries) = restored("one").await;
    assert_eq!(entries, store.range(Range::all("")).await.unwrap().entries);
    assert_eq!(embedded.lease_keepalive(lease).await.unwrap().ttl, Duration::from_secs(600));

    // The cluster gives one revision to what is written at once; an embedded store has one for each.
    let change =
        |key: &'static str| Along { key: key.into(), expect: Expect::Absent, op: Write::create(key, "3").op };
    store.write(Write::create("c", "3").along(vec![change("d"), change("b")])).await.unwrap();
    put(&store, "e", "4").await;
    let (_, entries) = restored("two").await;
    let texts: Vec<_> = entries.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
    let of = |key: &'static str, value: &'static str| (key.as_bytes(), value.as_bytes());
    assert_eq!(
        texts,
        [of("a", "1"), of("b", "3"), of("c", "3"), of("d", "3"), of("e", "4"), of("leased", "x")]
    );
    let modified: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.modified).collect();
    assert_eq!(modified.len(), entries.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_compacted_every_so_often_if_that_is_asked_for() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let config = EtcdConfig { compact_every: Some(Duration::from_millis(20)), ..server.config() };
    let store = Etcd::connect(config).await.unwrap();
    let first = put(&store, "a", "1").await;
    let began = Instant::now();
    while store.status().await.unwrap().compacted <= first {
        assert!(began.elapsed() < START, "not compacted");
        put(&store, "a", "2").await;
    }
    assert!(store.get(b"a").await.unwrap().entry.is_some());
}

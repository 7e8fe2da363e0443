//! Constant load on a service: a new connection for each request, as impolite clients do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a load saw.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Requests answered with status 200.
    pub answered: u64,
    /// Every failure with how often it came.
    pub failures: BTreeMap<String, u64>,
    /// Who answered: the first words of the bodies.
    pub answers: BTreeMap<String, u64>,
    /// The slowest answer.
    pub slowest: Duration,
}

impl Report {
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn merge(&mut self, other: Self) {
        self.answered += other.answered;
        self.slowest = self.slowest.max(other.slowest);
        for (key, count) in other.failures {
            *self.failures.entry(key).or_default() += count;
        }
        for (key, count) in other.answers {
            *self.answers.entry(key).or_default() += count;
        }
    }

    /// The distinct words at `index` of the answers, such as the versions or the hosts.
    pub(crate) fn words(&self, index: usize) -> BTreeSet<String> {
        let word =
            |answer: &String| answer.split(' ').nth(index).map(|word| word.trim_end_matches(':').to_owned());
        self.answers.keys().filter_map(word).collect()
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Report>,
    started: Instant,
}

impl Load {
    /// `clients` clients, each with one request at a time and a short pause between.
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(client(address, Arc::clone(&stop)));
        }
        Self { stop, clients: tasks, started: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) async fn finish(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Report::default();
        while let Some(report) = self.clients.join_next().await {
            total.merge(report.unwrap_or_default());
        }
        total
    }
}

async fn client(address: SocketAddr, stop: Arc<AtomicBool>) -> Report {
    let mut report = Report::default();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match request(address, "/").await {
            Ok(body) => {
                report.answered += 1;
                let who: String = body.split(' ').take(4).collect::<Vec<_>>().join(" ");
                *report.answers.entry(who).or_default() += 1;
            }
            Err(error) => *report.failures.entry(error.to_string()).or_default() += 1,
        }
        report.slowest = report.slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    report
}

/// One GET over a new connection; gives the body.
pub(crate) async fn request(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer =
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| anyhow::anyhow!("no answer in 10 s"))??;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        Some((head, _)) => anyhow::bail!("{}", head.lines().next().unwrap_or_default()),
        None => anyhow::bail!("the answer was cut off"),
    }
}

//! The platform that the demo plays on, and its first steps: start, build, deploy, answer.

use super::load;
use crate::cli::{ApplyArgs, DemoArgs, OutputFormat};
use crate::cluster;
use crate::engine::{self, EngineClient};
use crate::locate::{Running, Target};
use crate::output;
use anyhow::{Context, bail};
use hako_client::{Api, Client};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const NAMESPACE: &str = "hello";

/// A platform of its own in a directory of its own.
pub(super) struct Stage {
    pub example: PathBuf,
    pub load_seconds: u64,
    directory: PathBuf,
    target: Target,
    running: Option<Running>,
    client: Option<Client>,
    instance: String,
    timings: Vec<Vec<String>>,
    format: OutputFormat,
    /// Held while a command of ours runs: an interrupted demo takes nothing down before that has ended.
    command: Arc<tokio::sync::Mutex<()>>,
}

impl Stage {
    pub(super) fn new(args: &DemoArgs, format: OutputFormat) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("hako-demo-{}", std::process::id()));
        std::fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
        Ok(Self {
            example: args.example.clone(),
            load_seconds: args.load_seconds,
            target: Target::new(directory.join("data"), None),
            directory,
            running: None,
            client: None,
            instance: String::new(),
            timings: Vec::new(),
            format,
            command: Arc::default(),
        })
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn running(&self) -> anyhow::Result<&Running> {
        self.running.as_ref().context("the platform is not running")
    }

    pub(super) fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the platform is not running")
    }

    pub(super) fn pods(&self) -> anyhow::Result<Api<Pod>> {
        Ok(self.client()?.namespaced(NAMESPACE))
    }

    pub(super) fn deployments(&self) -> anyhow::Result<Api<Deployment>> {
        Ok(self.client()?.namespaced(NAMESPACE))
    }

    fn engine(&self) -> anyhow::Result<EngineClient> {
        Ok(EngineClient::new(&self.running()?.engine_socket))
    }

    /// Says what a step did and notes it for the table.
    pub(super) fn record(&mut self, step: &str, what: &str, took: Duration) {
        let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
        self.say(&format!("{step:<9} {what}: {took}"));
        self.timings.push(vec![step.to_owned(), what.to_owned(), took]);
    }

    /// Something observed that is no duration.
    pub(super) fn observe(&mut self, step: &str, what: &str, value: &str) {
        self.say(&format!("{step:<9} {what}: {value}"));
        self.timings.push(vec![step.to_owned(), what.to_owned(), value.to_owned()]);
    }

    /// A line for people; where a script reads, only the table is printed.
    pub(super) fn say(&self, text: &str) {
        if !matches!(self.format, OutputFormat::Json) {
            output::line(text);
        }
    }

    pub(super) fn print_table(&self) {
        if matches!(self.format, OutputFormat::Json) {
            let row =
                |row: &Vec<String>| serde_json::json!({ "step": row[0], "what": row[1], "result": row[2] });
            output::json(&self.timings.iter().map(row).collect());
            return;
        }
        output::line("");
        output::table(&["STEP", "WHAT", "RESULT"], &self.timings);
        output::line("");
    }

    /// Starts the platform as a user would; also the second time, after a crash.
    pub(super) async fn up(&mut self) -> anyhow::Result<String> {
        let listen = self
            .running
            .as_ref()
            .and_then(|running| running.cluster.as_ref()?.api.strip_prefix("https://"))
            .unwrap_or("127.0.0.1:0")
            .to_owned();
        let said = self.hako(&["up", "--detach", "--listen", &listen]).await?;
        let running = self.target.running()?;
        self.instance.clone_from(&running.instance);
        self.client = Some(Client::from_kubeconfig(&self.target.kubeconfig()?)?.named("hako-demo"));
        self.running = Some(running);
        Ok(said.trim().to_owned())
    }

    /// Runs this program with the stage's data directory; gives its standard output.
    async fn hako(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let exe = std::env::current_exe().context("find this program")?;
        let mut command = tokio::process::Command::new(exe);
        command.arg("--data-dir").arg(self.target.data_dir()).args(arguments);
        // A group of its own: an interrupt from the terminal is for the demo, which then takes everything down.
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).process_group(0);
        let turn = Arc::clone(&self.command);
        // A task of its own: it goes on when this step is given up half-way.
        let ran = tokio::spawn(async move {
            let _turn = turn.lock().await;
            command.output().await
        });
        let child = ran.await.context("run hako")?.context("run hako")?;
        if !child.status.success() {
            bail!("`hako {}` failed with {}", arguments.join(" "), child.status);
        }
        Ok(String::from_utf8_lossy(&child.stdout).into_owned())
    }

    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let said = self.up().await?;
        self.observe("start", "hako up says", &said);
        self.record("start", "command to a Ready node", began.elapsed());
        Ok(())
    }

    pub(super) async fn build(&mut self) -> anyhow::Result<()> {
        let engine = self.engine()?;
        let began = Instant::now();
        engine::import_busybox(&engine, "/bin/busybox".as_ref(), "busybox").await?;
        self.record("build", "base image busybox imported", began.elapsed());
        for version in ["v1", "v2"] {
            let began = Instant::now();
            engine::build_image(&engine, &self.build_args(version)).await?;
            self.record("build", &format!("hello:{version} built"), began.elapsed());
        }
        let began = Instant::now();
        engine::build_image(&engine, &self.build_args("v2")).await?;
        self.record("build", "hello:v2 again, from cache", began.elapsed());
        Ok(())
    }

    fn build_args(&self, version: &str) -> engine::BuildArgs {
        engine::of_directory(&self.example, &format!("hello:{version}"), vec![format!("VERSION={version}")])
    }

    pub(super) async fn deploy(&mut self) -> anyhow::Result<()> {
        let manifests = cluster::read_all(std::slice::from_ref(&self.example))?;
        let args = ApplyArgs {
            filenames: Vec::new(),
            namespace: "default".into(),
            dry_run: false,
            force_conflicts: false,
        };
        let began = Instant::now();
        for applied in cluster::apply_all(self.client()?, &manifests, &args).await? {
            self.say(&format!("deploy    {}", applied.line));
        }
        self.wait_for_replicas(3).await?;
        self.record("deploy", "applied to 3 replicas Ready", began.elapsed());
        Ok(())
    }

    /// Waits until exactly `count` pods are there, all Ready, and the Deployment says so.
    pub(super) async fn wait_for_replicas(&self, count: usize) -> anyhow::Result<()> {
        let (pods, deployments) = (self.pods()?, self.deployments()?);
        wait(&format!("{count} replicas"), async || {
            let status = deployments.get("hello").await?.status.unwrap_or_default();
            let pods = pods.list(&Default::default()).await?.items;
            let wanted = i32::try_from(count)?;
            Ok(status.ready_replicas.unwrap_or(0) == wanted
                && status.replicas == Some(wanted)
                && pods.len() == count
                && pods.iter().all(is_ready))
        })
        .await
    }

    /// The addresses of the service: its cluster address, and the node's port from outside.
    pub(super) async fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let services: Api<Service> = self.client()?.namespaced(NAMESPACE);
        let spec = services.get("hello").await?.spec.context("the service has no spec")?;
        let port = spec.ports.unwrap_or_default().into_iter().next().context("the service has no port")?;
        let cluster_ip = spec.cluster_ip.context("the service has no address")?;
        let nodes: Api<Node> = self.client()?.all();
        let node =
            nodes.list(&Default::default()).await?.items.into_iter().next().context("there is no node")?;
        let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
        let internal = addresses
            .into_iter()
            .find(|address| address.type_ == "InternalIP")
            .context("the node has no address")?;
        let node_port = u16::try_from(port.node_port.context("the service has no node port")?)?;
        Ok((
            SocketAddr::new(cluster_ip.parse()?, u16::try_from(port.port)?),
            SocketAddr::new(internal.address.parse()?, node_port),
        ))
    }

    pub(super) async fn answer(&mut self) -> anyhow::Result<()> {
        let (cluster, node) = self.addresses().await?;
        let mut hosts = BTreeSet::new();
        let began = Instant::now();
        for _ in 0..300 {
            let body = load::request(cluster, "/").await.context("ask the service")?;
            hosts.extend(body.split(' ').nth(3).map(|host| host.trim_end_matches(':').to_owned()));
        }
        let took = began.elapsed() / 300;
        if hosts.len() != 3 {
            bail!("only {} of 3 replicas answered: {hosts:?}", hosts.len());
        }
        self.observe("answer", "replicas that answered 300 requests", &hosts.len().to_string());
        self.record("answer", "one request through the service, mean", took);
        let loopback = SocketAddr::from(([127, 0, 0, 1], node.port()));
        for (address, which) in [(node, "node port"), (loopback, "node port on 127.0.0.1")] {
            let body = load::request(address, "/config")
                .await
                .with_context(|| format!("ask the {which} {address}"))?;
            self.observe("answer", &format!("mounted config through the {which}"), body.trim());
        }
        Ok(())
    }

    /// Takes everything down, also after a failure half-way.
    pub(super) async fn down(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        drop(self.command.lock().await);
        let Ok(instance) = std::fs::read_to_string(self.target.data_dir().join("instance")) else {
            // It never came so far as to have anything to take down.
            std::fs::remove_dir_all(&self.directory)?;
            return Ok(());
        };
        instance.trim().clone_into(&mut self.instance);
        self.hako(&["down", "--purge"]).await?;
        std::fs::remove_dir_all(&self.directory)
            .with_context(|| format!("remove {}", self.directory.display()))?;
        self.record("down", "everything taken down", began.elapsed());
        Ok(())
    }
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Asks until it is so, every 2 ms, for at most a minute.
pub(super) async fn wait(
    what: &str,
    mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_secs(60);
    let began = Instant::now();
    while !is_so().await? {
        if began.elapsed() > LIMIT {
            bail!("waited 60 s in vain for {what}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

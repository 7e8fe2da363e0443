//! The ways of asking: HTTP, TCP, a program inside, gRPC.

use super::{HttpRequest, get, grpc, http};
use futures::StreamExt;
use hako_container::{ContainerEngine, ExecSpec};
use hako_names::ContainerId;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::net::IpAddr;
use std::sync::Arc;

/// So much of a program's output is kept for the message.
const MAX_OUTPUT: usize = 10 * 1024;

/// Whom a probe or hook speaks to.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// The engine, for programs inside.
    pub(crate) engine: Arc<dyn ContainerEngine>,
    /// The container.
    pub(crate) id: ContainerId,
    /// The pod's address; the node's own with the host's network.
    pub(crate) ip: IpAddr,
}

/// One probe's question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Http(HttpRequest),
    Tcp {
        host: String,
        port: u16,
    },
    Exec(Vec<String>),
    Grpc {
        port: u16,
        service: String,
    },
    /// The question makes no sense; the answer is always this.
    Wrong(String),
}

/// Asks one probe's question.
pub(crate) struct Asker {
    endpoint: Endpoint,
    question: Question,
}

impl Asker {
    /// The question of `probe`, with ports named in `container`.
    pub(crate) fn new(endpoint: Endpoint, container: &Container, probe: &Probe) -> Self {
        let question = question(&endpoint, container, probe).unwrap_or_else(Question::Wrong);
        Self { endpoint, question }
    }

    /// Asks once.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        match &self.question {
            Question::Http(request) => get(request).await,
            Question::Tcp { host, port } => http::connect(host, *port).await.map(drop),
            Question::Exec(command) => exec(&self.endpoint, command).await,
            Question::Grpc { port, service } => {
                grpc::check(&self.endpoint.ip.to_string(), *port, service).await
            }
            Question::Wrong(why) => Err(why.clone()),
        }
    }
}

fn question(endpoint: &Endpoint, container: &Container, probe: &Probe) -> Result<Question, String> {
    let ip = endpoint.ip.to_string();
    if let Some(exec) = &probe.exec {
        return Ok(Question::Exec(exec.command.clone().unwrap_or_default()));
    }
    if let Some(http) = &probe.http_get {
        return http_request(http, container, &ip).map(Question::Http);
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = tcp.host.clone().filter(|host| !host.is_empty()).unwrap_or(ip);
        let port = port_of(&tcp.port, container)?;
        return Ok(Question::Tcp { host, port });
    }
    if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).map_err(|_| format!("invalid port number: {}", grpc.port))?;
        let service = grpc.service.clone().unwrap_or_default();
        return Ok(Question::Grpc { port, service });
    }
    Err("probe has no handler, set one of httpGet, tcpSocket, exec or grpc".into())
}

fn http_request(http: &HTTPGetAction, container: &Container, ip: &str) -> Result<HttpRequest, String> {
    let headers = http.http_headers.iter().flatten();
    Ok(HttpRequest {
        host: host_of(http.host.as_deref(), ip),
        port: port_of(&http.port, container)?,
        path: http.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into()),
        is_https: http.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
    })
}

/// The host of an action, the pod's address by default.
fn host_of(host: Option<&str>, ip: &str) -> String {
    host.filter(|host| !host.is_empty()).unwrap_or(ip).to_owned()
}

/// A port by number or by its name in the container.
pub(crate) fn port_of(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("port {port:?} is neither a number nor the name of a port of the container"))
}

impl HttpRequest {
    /// The request of a hook's `httpGet`.
    pub(crate) fn of_action(http: &HTTPGetAction, container: &Container, ip: IpAddr) -> Result<Self, String> {
        http_request(http, container, &ip.to_string())
    }
}

/// Runs a program in the container; exit code 0 is success. It is killed when the caller stops waiting.
pub(crate) async fn exec(endpoint: &Endpoint, command: &[String]) -> Result<(), String> {
    let spec = ExecSpec { argv: command.to_vec(), ..ExecSpec::default() };
    let started = endpoint.engine.exec(&endpoint.id, spec).await;
    let mut session = started.map_err(|error| error.chain())?;
    let mut guard = KillOnDrop::new(session.pid);
    let mut output = Vec::new();
    while let Some(piece) = session.output.next().await {
        let Ok((_, bytes)) = piece else { break };
        let room = MAX_OUTPUT.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let code = session.exit.await;
    guard.disarm();
    match code {
        Ok(0) => Ok(()),
        Ok(code) if output.is_empty() => Err(format!("command exited with code {code}")),
        Ok(_) => Err(String::from_utf8_lossy(&output).trim_end().to_owned()),
        Err(error) => Err(error.chain()),
    }
}

/// Kills a program that nobody waits for any more, by a handle that cannot mean another process.
struct KillOnDrop(Option<std::os::fd::OwnedFd>);

impl KillOnDrop {
    fn new(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Self(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.0 {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

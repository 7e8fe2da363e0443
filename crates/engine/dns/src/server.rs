//! The listening side of DNS.

use crate::forward::{Carrier, forward, read_framed, write_framed};
use crate::{Answer, Zone};
use hako_error::{Error, Kind, Result};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const PORT: u16 = 53;
/// Questions that wait for an upstream; more are dropped, and asked again by whoever asked.
const FORWARDED_MAX: usize = 1024;
const CONNECTIONS_MAX: usize = 256;
/// Questions are short; a longer one is cut, and so malformed.
const QUESTION_LEN: usize = 4096;
const IDLE: Duration = Duration::from_secs(10);
/// The largest datagram that passes everywhere in one piece.
const PAYLOAD_MAX: u16 = 1232;
const PAYLOAD_MIN: u16 = 512;

/// The DNS server.
#[derive(Clone, Debug)]
pub struct Dns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    zone: Arc<dyn Zone>,
    forwarded: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// Turns the order of addresses with each answer.
    turn: AtomicUsize,
}

/// The sockets that are served.
#[derive(Debug)]
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Sockets that somebody else has bound; they do not block.
    ///
    /// # Errors
    /// When they cannot be waited for.
    pub fn from_std(udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> Result<Self> {
        let failed = |source: io::Error| {
            Error::new(Kind::Internal, "wait for questions about names").with_source(source)
        };
        let udp = UdpSocket::from_std(udp).map_err(failed)?;
        Ok(Self { udp, tcp: TcpListener::from_std(tcp).map_err(failed)? })
    }
}

/// Listens on an address.
///
/// # Errors
/// `AlreadyExists` if somebody else does, `Forbidden` without the right to.
pub async fn bind(gateway: Ipv4Addr) -> Result<Sockets> {
    let failed = |source: io::Error| {
        let (kind, hint) = match source.kind() {
            io::ErrorKind::AddrInUse => {
                (Kind::AlreadyExists, ", stop the name server that listens on all addresses")
            }
            io::ErrorKind::PermissionDenied => (Kind::Forbidden, ", run as root"),
            _ => (Kind::Internal, ""),
        };
        Error::new(kind, format!("listen for DNS on {gateway}:{PORT}{hint}")).with_source(source)
    };
    let udp = UdpSocket::bind((gateway, PORT)).await.map_err(failed)?;
    let tcp = TcpListener::bind((gateway, PORT)).await.map_err(failed)?;
    Ok(Sockets { udp, tcp })
}

/// What to do with a question.
enum Reply {
    Now(Message),
    /// It is not ours: ask upstream as it is.
    Forward,
    /// Look up this name upstream too, and put what is found behind what we have.
    Chase(Message, Name, RecordType),
    Ignore,
}

impl Dns {
    /// A server that answers from a zone.
    #[must_use]
    pub fn new(zone: Arc<dyn Zone>) -> Self {
        let shared = Shared {
            zone,
            forwarded: Arc::new(Semaphore::new(FORWARDED_MAX)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            turn: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What a question in a datagram gets, if anything.
    pub async fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let reply = self.shared.reply(query);
        self.shared.later(query, reply, Carrier::Udp).await
    }

    /// Serves until the tasks are dropped.
    pub fn serve(self, sockets: Sockets, tasks: &mut JoinSet<()>) {
        tasks.spawn(self.clone().serve_udp(Arc::new(sockets.udp)));
        tasks.spawn(self.serve_tcp(sockets.tcp));
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut buf = vec![0; QUESTION_LEN];
        loop {
            let (len, client) = match socket.recv_from(&mut buf).await {
                Ok(received) => received,
                Err(error) => {
                    // Such as the ICMP answer of a client that has gone.
                    tracing::debug!(%error, "receive a question");
                    continue;
                }
            };
            let query = &buf[..len];
            match self.shared.reply(query) {
                Reply::Ignore => {}
                Reply::Now(message) => send(&socket, client, encode(query, &message, Carrier::Udp)).await,
                later => {
                    let Ok(permit) = Arc::clone(&self.shared.forwarded).try_acquire_owned() else {
                        continue;
                    };
                    let (dns, socket, query) = (self.clone(), Arc::clone(&socket), query.to_vec());
                    tokio::spawn(async move {
                        let answer = dns.shared.later(&query, later, Carrier::Udp).await;
                        send(&socket, client, answer).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.shared.connections).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let dns = self.clone();
                    tokio::spawn(async move {
                        dns.serve_connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve_connection(self, mut stream: TcpStream) {
        while let Ok(Ok(query)) = tokio::time::timeout(IDLE, read_framed(&mut stream)).await {
            let answer = match self.shared.reply(&query) {
                Reply::Ignore => return,
                reply => self.shared.later(&query, reply, Carrier::Tcp).await,
            };
            let Some(answer) = answer else { return };
            if !matches!(tokio::time::timeout(IDLE, write_framed(&mut stream, &answer)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

impl Shared {
    fn reply(&self, query: &[u8]) -> Reply {
        let Ok(query) = Message::from_vec(query) else {
            let Some(id) = query.first_chunk::<2>() else {
                return Reply::Ignore;
            };
            let id = u16::from_be_bytes(*id);
            return Reply::Now(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr));
        };
        if query.metadata.message_type != MessageType::Query {
            return Reply::Ignore;
        }
        let mut message = respond_to(&query);
        let [question] = &query.queries[..] else {
            message.metadata.response_code = ResponseCode::FormErr;
            return Reply::Now(message);
        };
        if query.metadata.op_code != OpCode::Query {
            message.metadata.response_code = ResponseCode::NotImp;
            return Reply::Now(message);
        }
        if question.query_class() != DNSClass::IN {
            return Reply::Forward;
        }
        self.answer(message, question)
    }

    fn answer(&self, mut message: Message, question: &Query) -> Reply {
        let kind = question.query_type();
        let answer = self.zone.answer(question.name(), kind);
        message.metadata.authoritative = true;
        match answer {
            Answer::Elsewhere => return Reply::Forward,
            Answer::Records { mut answers, additionals } => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                // An alias has to stay in front of what it leads to.
                let fixed =
                    usize::from(answers.first().is_some_and(|it| it.record_type() == RecordType::CNAME));
                let count = answers.len() - fixed;
                answers[fixed..].rotate_left(turn % count.max(1));
                message.add_answers(answers).add_additionals(additionals);
            }
            Answer::Empty => {
                message.add_authorities(self.zone.soa());
            }
            Answer::NoSuchName => {
                message.metadata.response_code = ResponseCode::NXDomain;
                message.add_authorities(self.zone.soa());
            }
            Answer::Alias { record, target } => {
                message.add_answer(*record);
                return Reply::Chase(message, target, kind);
            }
        }
        Reply::Now(message)
    }

    /// Answers with the help of an upstream.
    async fn later(&self, query: &[u8], reply: Reply, carrier: Carrier) -> Option<Vec<u8>> {
        match reply {
            Reply::Now(message) => encode(query, &message, carrier),
            Reply::Ignore => None,
            Reply::Forward => {
                if let Some(answer) = forward(query, carrier, &self.zone.upstreams()).await {
                    return Some(answer);
                }
                let mut message = respond_to(&Message::from_vec(query).ok()?);
                message.metadata.response_code = ResponseCode::ServFail;
                message.to_vec().ok()
            }
            Reply::Chase(mut message, target, kind) => {
                let mut question = Message::query();
                question.metadata.recursion_desired = true;
                question.add_query(Query::query(target, kind));
                let found = forward(&question.to_vec().ok()?, Carrier::Udp, &self.zone.upstreams()).await;
                if let Some(found) = found.and_then(|found| Message::from_vec(&found).ok()) {
                    message.add_answers(found.answers);
                }
                encode(query, &message, carrier)
            }
        }
    }
}

fn respond_to(query: &Message) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_MAX);
        message.set_edns(edns);
    }
    message
}

/// Encodes for a connection, or for a datagram as large as the client takes; what does not fit there makes it ask by TCP.
fn encode(query: &[u8], message: &Message, carrier: Carrier) -> Option<Vec<u8>> {
    if matches!(carrier, Carrier::Tcp) {
        return message.to_vec().ok();
    }
    let payload = Message::from_vec(query).map_or(PAYLOAD_MIN, |query| query.max_payload());
    let len_max = usize::from(payload.clamp(PAYLOAD_MIN, PAYLOAD_MAX));
    let encoded = message.to_vec().ok()?;
    if encoded.len() <= len_max { Some(encoded) } else { message.truncate().to_vec().ok() }
}

async fn send(socket: &UdpSocket, client: SocketAddr, answer: Option<Vec<u8>>) {
    if let Some(answer) = answer
        && let Err(error) = socket.send_to(&answer, client).await
    {
        tracing::debug!(%client, %error, "send an answer");
    }
}

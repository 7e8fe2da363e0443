//! A message of a client, and what an upstream says to one that is handed on: what the client gets is a message, an answer to
//! what it asked, and no longer than a datagram may be.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, LazyLock, Mutex};

use hako_dns::{Answer, Dns, Zone};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::runtime::{Builder, Runtime};

/// What goes on in a datagram everywhere.
const LONGEST: usize = 1232;
const HEAD: usize = 12;

pub fn run(data: &[u8]) {
    let Some((what, message)) = data.split_first() else { return };
    if what % 2 == 0 {
        question(message);
    } else {
        answered(*what, message);
    }
}

fn question(query: &[u8]) {
    // What is not ours is asked elsewhere, where nobody answers.
    let Some(answer) = BED.runtime.block_on(BED.silent.answer(query)) else { return };
    assert!(answer.len() <= LONGEST, "{} bytes", answer.len());
    assert_eq!(answer[..2], query[..2]);
    let answer = Message::from_vec(&answer).expect("an answer is a message");
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    let asked = Message::from_vec(query);
    if let (Ok(asked), false) = (asked, answer.queries.is_empty()) {
        assert_eq!(answer.queries, asked.queries);
    }
}

/// An upstream's answer: to a name that is not ours, or to an alias of ours that leads there.
fn answered(what: u8, tail: &[u8]) {
    let name = if what % 4 == 1 { "elsewhere.example." } else { "alias.here." };
    let mut question = Message::query();
    question.add_query(hickory_proto::op::Query::query(name.parse().expect("a name"), RecordType::A));
    let question = question.to_vec().expect("a question");
    *BED.told.lock().expect("nobody panicked") = tail.to_vec();
    let Some(answer) = BED.runtime.block_on(BED.heard.answer(&question)) else { return };
    assert_eq!(answer[..2], question[..2]);
    if name == "alias.here." {
        assert!(answer.len() <= LONGEST, "{} bytes", answer.len());
        let answer = Message::from_vec(&answer).expect("an answer is a message");
        let is_cut = answer.metadata.truncation;
        assert!(is_cut || answer.answers.first().is_some_and(|it| it.record_type() == RecordType::CNAME));
    }
}

struct Bed {
    runtime: Runtime,
    /// Whose upstreams are none.
    silent: Dns,
    /// Whose upstream says what it is told to say.
    heard: Dns,
    told: Arc<Mutex<Vec<u8>>>,
}

static BED: LazyLock<Bed> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let told = Arc::new(Mutex::new(Vec::new()));
    let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let here = upstream.local_addr().expect("an address");
    let says = Arc::clone(&told);
    std::thread::spawn(move || say(&upstream, &says));
    let dns = |upstreams| Dns::new(Arc::new(Here { upstreams }));
    Bed { runtime, silent: dns(Vec::new()), heard: dns(vec![here]), told }
});

/// Answers every question with its own head and words, then what is told: counts of records and what follows.
fn say(upstream: &UdpSocket, told: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, client)) = upstream.recv_from(&mut buffer) {
        let told = told.lock().expect("nobody panicked").clone();
        let (counts, tail) = told.split_at(told.len().min(6));
        let mut answer = buffer[..length].to_vec();
        answer[2] |= 0x80;
        answer[HEAD - 6..][..counts.len()].copy_from_slice(counts);
        answer.extend_from_slice(tail);
        let _ = upstream.send_to(&answer, client);
    }
}

#[derive(Debug)]
struct Here {
    upstreams: Vec<SocketAddr>,
}

impl Zone for Here {
    fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let address = |last| Record::from_rdata(name.clone(), 5, RData::A(A::new(10, 0, 0, last)));
        let first = name.iter().next().unwrap_or_default().to_ascii_lowercase();
        match (first.as_slice(), kind) {
            (b"many", RecordType::A) => {
                Answer::Records { answers: (0..200).map(address).collect(), additionals: Vec::new() }
            }
            (b"one", RecordType::A) => {
                Answer::Records { answers: vec![address(1)], additionals: vec![address(2)] }
            }
            (b"one" | b"many", _) => Answer::Empty,
            (b"alias", _) => {
                let target: Name = "elsewhere.example.".parse().expect("a name");
                let record = Record::from_rdata(name.clone(), 5, RData::CNAME(CNAME(target.clone())));
                Answer::Alias { record: Box::new(record), target }
            }
            (b"none", _) => Answer::NoSuchName,
            _ => Answer::Elsewhere,
        }
    }

    fn soa(&self) -> Option<Record> {
        None
    }

    fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.clone()
    }
}

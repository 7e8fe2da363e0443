//! A session: what its client offers, and the calls for it.

use super::files::{self, Wish};
use super::peer::{Peer, metadata, refusal};
use super::wire::{Login, Named, Nothing, Piece, SecretData};
use futures::Stream;
use hako_build::Secret;
use hako_error::Result;
use hako_image::remote::Credentials;
use std::collections::HashSet;
use std::path::PathBuf;
use tokio::sync::watch;
use tonic::{Code, Streaming};

const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";
pub(crate) const FILE_SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD_AGENT: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const PULL: &str = "/moby.upload.v1.Upload/Pull";

/// A client that is on the line.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: Peer,
    /// Methods that it serves, as [`plain`] spells them.
    methods: HashSet<String>,
    /// Its other end is held by who drives the connection.
    end: watch::Receiver<()>,
}

impl Session {
    /// A session that ends when the other end of `end` is dropped.
    pub(crate) fn new(
        peer: Peer,
        methods: impl IntoIterator<Item = String>,
        end: watch::Receiver<()>,
    ) -> Self {
        let methods = methods.into_iter().map(|method| plain(&method)).collect();
        Self { peer, methods, end }
    }

    /// Waits until the client has left.
    pub(crate) async fn ended(&self) {
        let mut end = self.end.clone();
        while end.changed().await.is_ok() {}
    }

    pub(crate) fn serves(&self, method: &str) -> bool {
        self.methods.contains(&plain(method))
    }

    /// Whether the client answers at all. One without this service does, by saying so.
    pub(crate) async fn is_there(&self) -> bool {
        match self.peer.ask::<_, Nothing>(HEALTH, Nothing {}).await {
            Ok(Nothing {}) => true,
            Err(status) => status.code() == Code::Unimplemented,
        }
    }

    /// Brings a directory of the client into an empty one here.
    pub(crate) async fn fetch(
        &self,
        wish: &Wish,
        dest: PathBuf,
        seen: impl Fn(u64) + Send + 'static,
    ) -> Result<()> {
        let doing = format!("fetch the client's directory {:?}", wish.name);
        if !self.serves(DIFF_COPY) {
            let text = format!("{doing}: the session offers no files");
            return Err(hako_error::Error::new(hako_error::Kind::FailedPrecondition, text));
        }
        let (asks, asked) = tokio::sync::mpsc::unbounded_channel();
        let metadata = wish.metadata().map_err(|status| refusal(&doing, &status))?;
        let asked = tokio_stream::wrappers::UnboundedReceiverStream::new(asked);
        let packets = self.peer.talk(DIFF_COPY, metadata, asked).await;
        let packets = packets.map_err(|status| refusal(&doing, &status))?;
        files::receive(packets, asks, dest, seen, &doing).await
    }

    /// Credentials for a registry; without any, nobody.
    pub(crate) async fn credentials(&self, host: &str) -> Result<Credentials> {
        if !self.serves(CREDENTIALS) {
            return Ok(Credentials::Anonymous);
        }
        let login: Login = self
            .peer
            .ask(CREDENTIALS, Named { name: host.to_owned() })
            .await
            .map_err(|status| refusal(&format!("ask for the credentials of {host}"), &status))?;
        Ok(match login {
            Login { secret, .. } if secret.is_empty() => Credentials::Anonymous,
            Login { username, secret } if username.is_empty() => Credentials::Identity(secret),
            Login { username, secret } => Credentials::Basic { username, password: secret },
        })
    }

    pub(crate) async fn secret(&self, id: &str) -> Result<Option<Secret>> {
        if !self.serves(GET_SECRET) {
            return Ok(None);
        }
        match self.peer.ask::<_, SecretData>(GET_SECRET, Named { name: id.to_owned() }).await {
            Ok(secret) => Ok(Some(Secret(secret.data))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(refusal(&format!("ask for the secret {id}"), &status)),
        }
    }

    /// Whether the client lends an ssh agent with that id. Go's code for one that it has not is `Unknown`.
    pub(crate) async fn has_agent(&self, id: &str) -> Result<bool> {
        if !self.serves(CHECK_AGENT) || !self.serves(FORWARD_AGENT) {
            return Ok(false);
        }
        match self.peer.ask::<_, Nothing>(CHECK_AGENT, Named { name: id.to_owned() }).await {
            Ok(Nothing {}) => Ok(true),
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unknown) => Ok(false),
            Err(status) => Err(refusal(&format!("ask for the ssh agent {id}"), &status)),
        }
    }

    /// A conversation with the client's ssh agent.
    pub(crate) async fn agent(
        &self,
        id: &str,
        out: impl Stream<Item = Piece> + Send + 'static,
    ) -> Result<Streaming<Piece>, tonic::Status> {
        self.peer.talk(FORWARD_AGENT, metadata([("buildkit.ssh.id", id)])?, out).await
    }

    /// What the client has behind an address of `http://buildkit-session/`.
    pub(crate) async fn pull(&self, path: &str) -> Result<Streaming<Piece>> {
        let doing = "fetch the uploaded context";
        let pairs = [("urlpath", path), ("urlhost", "buildkit-session")];
        let metadata = metadata(pairs).map_err(|status| refusal(doing, &status))?;
        // The client ends its side when it has sent everything, not when we have.
        let nothing = futures::stream::pending::<Piece>();
        self.peer.talk(PULL, metadata, nothing).await.map_err(|status| refusal(doing, &status))
    }
}

/// A method without the differences in how clients spell it: `DiffCopy`, `diffcopy`, `diff_copy`.
fn plain(method: &str) -> String {
    method.chars().filter(|letter| *letter != '_').map(|letter| letter.to_ascii_lowercase()).collect()
}

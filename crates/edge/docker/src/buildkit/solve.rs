//! A build for a client: its files in, the result out.

use super::client::Remote;
use super::files::{self, Wish, patterns};
use super::peer::{metadata, piece};
use super::progress::{self, Progress, Task};
use super::session::{FILE_SEND, Session};
use super::wire::{Packet, Piece};
use super::wish::Asked;
use crate::DockerState;
use crate::build::Context;
use ::hako_build::{BuildRequest, Built, Client, Output};
use hako_error::{Error, Kind, Result};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A Dockerfile or .dockerignore is no longer than this.
const LONGEST_FILE: u64 = 4 << 20;
/// What the Dockerfile's directory may be asked for is small.
const PIECE: usize = 1 << 20;
/// Where a client offers what it was given on standard input.
const UPLOADED_AT: &str = "http://buildkit-session";
const UPLOADED: &str = "http://buildkit-session/";

/// Where the context comes from.
pub(crate) enum Source {
    /// The client's directory.
    Client,
    /// An address, or what the client uploads under one.
    Address(String),
    /// A tar that is here.
    Unpacked(Context),
}

/// Builds as long as the client is on the line; the directory of the build and all that is in it are gone afterwards.
pub(crate) async fn solve(
    state: &DockerState,
    session: Option<Arc<Session>>,
    asked: &Asked,
    source: Source,
    progress: &Progress,
) -> Result<Built> {
    let Some(line) = session.clone() else {
        return build(state, session, asked, source, progress).await;
    };
    tokio::select! {
        built = build(state, session, asked, source, progress) => built,
        () = line.ended() => Err(Error::new(Kind::Cancelled, "the client has left")),
    }
}

async fn build(
    state: &DockerState,
    session: Option<Arc<Session>>,
    asked: &Asked,
    source: Source,
    progress: &Progress,
) -> Result<Built> {
    let place = Context::empty(&crate::build::contexts(&state.images))?;
    let mut request = asked.request(&place.path().join("out"))?;
    make(&place.path().join("out"))?;
    let file = progress.begin(&format!("[internal] load build definition from {}", asked.filename()));
    let files = settle(&session, asked, source, &place, &mut request).await;
    let files = match files {
        Ok(files) => files,
        Err(error) => return file.ends(Err(error)),
    };
    let client = session.clone().map(|session| -> Arc<dyn Client> {
        let dir = place.path().to_owned();
        Arc::new(Remote::new(state, session, dir, files.fetch.clone(), progress.clone()))
    });
    let (events, heard) = mpsc::unbounded_channel();
    let told = progress::follow(progress.clone(), file, heard);
    let (outputs, names) = (request.outputs.clone(), request.tags.clone());
    let (built, file) = tokio::join!(state.builder.build_for(client, request, events), told);
    if let Some(file) = file {
        let error = built.as_ref().err().map(Error::chain);
        file.end(false, error.as_deref());
    }
    let built = built?;
    if let Some(image) = &built.image {
        state.events.built(image, &names);
    }
    export(progress, session.as_deref(), asked, &outputs, &built).await?;
    Ok(built)
}

/// What stays until the build has ended, and what comes when it is needed.
struct Files {
    fetch: Option<(PathBuf, Wish)>,
    _unpacked: Option<Context>,
}

/// Says in the request where the files are, and brings the Dockerfile.
async fn settle(
    session: &Option<Arc<Session>>,
    asked: &Asked,
    source: Source,
    place: &Context,
    request: &mut BuildRequest,
) -> Result<Files> {
    named_contexts(session, asked, place, request).await?;
    match source {
        Source::Client => {
            let session = session.as_ref().ok_or_else(no_session)?;
            let fetch = from_client(session, asked, place, request).await?;
            Ok(Files { fetch: Some(fetch), _unpacked: None })
        }
        Source::Address(address) if address.starts_with(UPLOADED) => {
            let session = session.as_ref().ok_or_else(no_session)?;
            let parent = place.path().join("uploaded");
            let context = pull(session, address.trim_start_matches(UPLOADED_AT), parent).await?;
            inside(context.path(), asked, request)?;
            Ok(Files { fetch: None, _unpacked: Some(context) })
        }
        Source::Address(address) => {
            request.remote = Some(address);
            request.dockerfile = asked.get("filename").map(PathBuf::from);
            Ok(Files { fetch: None, _unpacked: None })
        }
        Source::Unpacked(context) => {
            inside(context.path(), asked, request)?;
            Ok(Files { fetch: None, _unpacked: Some(context) })
        }
    }
}

fn no_session() -> Error {
    Error::new(Kind::Invalid, "a context of the client needs its session")
}

/// The Dockerfile of a context that is here whole.
fn inside(context: &Path, asked: &Asked, request: &mut BuildRequest) -> Result<()> {
    // Relative: no link of the context leads the builder out of it.
    let dockerfile = PathBuf::from(asked.filename().trim_start_matches('/'));
    crate::build::check_inside(context, &dockerfile).map_err(|failure| failure.0)?;
    request.context = context.to_owned();
    request.dockerfile = Some(dockerfile);
    Ok(())
}

/// Fetches the Dockerfile and what the context leaves out; the context itself comes when a step needs it.
async fn from_client(
    session: &Arc<Session>,
    asked: &Asked,
    place: &Context,
    request: &mut BuildRequest,
) -> Result<(PathBuf, Wish)> {
    let mut name = asked.filename().to_owned();
    let lower = hako_build::in_lower_case(Path::new(&name)).map(|lower| lower.display().to_string());
    let dir = place.path().join("dockerfile");
    let key = asked.get("dockerfilekey").unwrap_or("dockerfile");
    let spellings: Vec<&str> = std::iter::once(name.as_str()).chain(lower.as_deref()).collect();
    let rules: Vec<String> = spellings.iter().map(|name| beside(name)).collect();
    let names: Vec<&str> = spellings.into_iter().chain(rules.iter().map(String::as_str)).collect();
    fetch(session, key, &names, &dir).await?;
    let mut found = text(&dir, &name)?;
    if let (None, Some(lower)) = (&found, lower) {
        found = text(&dir, &lower)?;
        if found.is_some() {
            name = lower;
        }
    }
    let text = found.ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!("failed to read dockerfile: open {name}: no such file or directory"),
        )
    })?;
    request.dockerfile_text = Some(text);
    request.dockerfile = Some(PathBuf::from(&name));
    let key = asked.get("contextkey").unwrap_or("context").to_owned();
    let ignore = match self::text(&dir, &beside(&name))? {
        Some(text) => text,
        None => ignored(session, &key, &place.path().join("ignore")).await?,
    };
    let wish = Wish { name: key, excludes: patterns(&ignore), ..Wish::default() };
    request.ignore_text = Some(ignore);
    request.context = place.path().join("context");
    make(&request.context)?;
    Ok((request.context.clone(), wish))
}

/// The rules of one Dockerfile alone.
fn beside(dockerfile: &str) -> String {
    format!("{dockerfile}.dockerignore")
}

/// The text of the .dockerignore of a directory; empty if it has none.
async fn ignored(session: &Session, key: &str, dir: &Path) -> Result<String> {
    const NAME: &str = ".dockerignore";
    fetch(session, key, &[NAME], dir).await?;
    Ok(text(dir, NAME)?.unwrap_or_default())
}

/// Only these files of a directory of the client, and what they lead to where they are links.
async fn fetch(session: &Session, key: &str, names: &[&str], dir: &Path) -> Result<()> {
    make(dir)?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let wish = Wish { name: key.to_owned(), includes: names.clone(), follow: names, ..Wish::default() };
    session.fetch(&wish, dir.to_owned(), |_| {}).await
}

/// Other contexts of the client, and those that are somewhere else. None is a directory of this machine.
async fn named_contexts(
    session: &Option<Arc<Session>>,
    asked: &Asked,
    place: &Context,
    request: &mut BuildRequest,
) -> Result<()> {
    const ELSEWHERE: [&str; 5] = ["docker-image://", "https://", "http://", "git://", "git@"];
    for (number, (name, value)) in asked.contexts().enumerate() {
        let place_of_it = match value.strip_prefix("local:") {
            Some(key) => {
                let session = session.as_ref().ok_or_else(no_session)?;
                let dir = place.path().join(format!("named-{number}"));
                let ignore = ignored(session, key, &place.path().join(format!("ignore-{number}"))).await?;
                let wish = Wish { name: key.to_owned(), excludes: patterns(&ignore), ..Wish::default() };
                make(&dir)?;
                session.fetch(&wish, dir.clone(), |_| {}).await?;
                dir.to_string_lossy().into_owned()
            }
            None if ELSEWHERE.iter().any(|prefix| value.starts_with(prefix)) => value.to_owned(),
            None => {
                let text = format!("the build context {name}={value} is unimplemented");
                return Err(Error::new(Kind::Unimplemented, text));
            }
        };
        request.contexts.insert(name.to_owned(), place_of_it);
    }
    Ok(())
}

/// What the client was given on standard input, unpacked.
async fn pull(session: &Session, path: &str, parent: PathBuf) -> Result<Context> {
    use futures::TryStreamExt;
    let pieces = session.pull(path).await?;
    let bytes = pieces.map_ok(|piece| piece.data).map_err(std::io::Error::other);
    let reader = tokio_util::io::SyncIoBridge::new(tokio_util::io::StreamReader::new(Box::pin(bytes)));
    Context::receive(parent, reader).await.map_err(|failure| failure.0)
}

fn make(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)
        .map_err(|source| Error::new(Kind::Internal, format!("create {}", dir.display())).with_source(source))
}

/// A small file that a client sent, also by way of a link inside `dir`; `None` if it has none.
fn text(dir: &Path, name: &str) -> Result<Option<String>> {
    let failed = |source| Error::new(Kind::Internal, format!("read {name}")).with_source(source);
    let root = dir.canonicalize().map_err(failed)?;
    let Ok(real) = dir.join(name.trim_start_matches('/')).canonicalize() else { return Ok(None) };
    if !real.starts_with(&root) || !real.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(&real).map_err(failed)?;
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(Error::new(Kind::Invalid, format!("{name} is larger than 4 MiB")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Brings the result to where the client wants it.
async fn export(
    progress: &Progress,
    session: Option<&Session>,
    asked: &Asked,
    outputs: &[Output],
    built: &Built,
) -> Result<()> {
    for (number, (export, output)) in asked.exports.iter().zip(outputs).enumerate() {
        let task =
            progress.begin(if export.is_image() { "exporting to image" } else { "exporting to client" });
        let done = deliver(&task, session, output, number, built).await;
        task.ends(done)?;
    }
    Ok(())
}

async fn deliver(
    task: &Task,
    session: Option<&Session>,
    output: &Output,
    number: usize,
    built: &Built,
) -> Result<()> {
    let to_client = || session.filter(|session| session.serves(FILE_SEND)).ok_or_else(no_receiver);
    match output {
        Output::Cache => Ok(()),
        Output::Image { .. } => {
            if let Some(image) = &built.image {
                task.counted(&format!("writing image {}", image.id), 0);
                for name in &image.names {
                    let tag = name.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
                    let name = format!("naming to {}/{}{tag}", name.registry(), name.repository());
                    task.counted(&name, 0);
                }
            }
            Ok(())
        }
        Output::Local { dest } => {
            send_tree(to_client()?, dest, number).await?;
            task.counted("copying files", 0);
            Ok(())
        }
        Output::Tar { dest } | Output::Oci { dest, .. } | Output::Docker { dest, .. } => {
            send_file(to_client()?, dest, number).await?;
            task.counted("sending tarball", 0);
            Ok(())
        }
    }
}

fn no_receiver() -> Error {
    Error::new(
        Kind::FailedPrecondition,
        "the session takes no files, the result cannot be given to the client",
    )
}

/// The number of the output, by which a client with several tells them apart.
fn exporter(number: usize) -> Result<tonic::metadata::MetadataMap> {
    let number = number.to_string();
    metadata([("buildkit-attachable-exporter-id", number.as_str())])
        .map_err(|status| super::peer::refusal("send the result", &status))
}

async fn send_tree(session: &Session, dir: &Path, number: usize) -> Result<()> {
    let (out, packets) = mpsc::channel::<Packet>(16);
    let incoming = session.peer.talk(FILE_SEND, exporter(number)?, ReceiverStream::new(packets));
    files::send(dir.to_owned(), out, incoming).await
}

/// A file as pieces; the client has it when it ends the call.
async fn send_file(session: &Session, path: &Path, number: usize) -> Result<()> {
    let (out, pieces) = mpsc::channel::<Piece>(4);
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut file = fs::File::open(path)?;
        loop {
            let mut buffer = vec![0; PIECE];
            let read = file.read(&mut buffer)?;
            buffer.truncate(read);
            // A client that is gone says so on the other stream.
            if read == 0 || out.blocking_send(piece(buffer)).is_err() {
                return Ok(());
            }
        }
    });
    let failed = |status: tonic::Status| super::peer::refusal("send the result", &status);
    let metadata = exporter(number)?;
    let mut answer = session
        .peer
        .talk::<_, Piece>(FILE_SEND, metadata, ReceiverStream::new(pieces))
        .await
        .map_err(failed)?;
    while answer.message().await.map_err(failed)?.is_some() {}
    match reading.await {
        Ok(read) => read.map_err(|source| Error::new(Kind::Internal, "read the result").with_source(source)),
        Err(source) => Err(Error::new(Kind::Internal, "a task ended early").with_source(source)),
    }
}

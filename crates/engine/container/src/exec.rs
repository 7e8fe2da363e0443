//! Further processes in running containers.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::create::snapshot_key;
use crate::error::{EngineError, blocking, io};
use crate::layers::Layers;
use crate::terminal::Terminal;
use crate::{
    Action, ContainerState, ExecInfo, ExecSession, ExecSpec, Output, Resize, Stream, TerminalSize, oci, users,
};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Process;
use hako_runtime::{ExecIo, Shim, TtySize};
use parking_lot::Mutex;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;

/// Execs remembered after their end, for those who ask for the exit code later.
const REMEMBERED: usize = 64;
/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// The execs of a container. An exit may be reported before the start's answer has arrived.
#[derive(Debug, Default)]
pub(crate) struct ExecTable(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    id: String,
    pid: u32,
    code: watch::Sender<Option<i32>>,
}

impl ExecTable {
    fn with<T>(&self, id: &str, use_it: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.0.lock();
        let at = entries.iter().position(|entry| entry.id == id).unwrap_or_else(|| {
            if entries.len() >= REMEMBERED
                && let Some(old) = entries.iter().position(|entry| entry.code.borrow().is_some())
            {
                entries.remove(old);
            }
            entries.push_back(Entry { id: id.to_owned(), pid: 0, code: watch::Sender::new(None) });
            entries.len() - 1
        });
        use_it(&mut entries[at])
    }

    fn started(&self, id: &str, pid: u32) -> watch::Receiver<Option<i32>> {
        self.with(id, |entry| {
            entry.pid = pid;
            entry.code.subscribe()
        })
    }

    pub(crate) fn finish(&self, id: &str, code: i32) {
        self.with(id, |entry| entry.code.send_replace(Some(code)));
    }

    /// The container ended and took its execs with it.
    pub(crate) fn finish_all(&self, code: i32) {
        for entry in self.0.lock().iter().filter(|entry| entry.code.borrow().is_none()) {
            entry.code.send_replace(Some(code));
        }
    }

    /// Ids of execs are a shim's own: those of the next one begin anew, and must not find the codes of these.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    pub(crate) fn list(&self) -> Vec<ExecInfo> {
        let info =
            |entry: &Entry| ExecInfo { id: entry.id.clone(), pid: entry.pid, code: *entry.code.borrow() };
        self.0.lock().iter().map(info).collect()
    }
}

impl Core {
    pub(crate) async fn exec(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        spec: ExecSpec,
    ) -> Result<ExecSession> {
        let ContainerState::Running { .. } = container.state() else {
            return Err(container.not_running().into());
        };
        if container.status.read().paused {
            return Err(EngineError::Paused { id: container.id.to_string() }.into());
        }
        let live = container.sandbox.live().ok_or_else(|| container.not_running())?;
        let (core, object, wanted) = (Arc::clone(self), Arc::clone(container), spec.clone());
        let process = blocking(move || core.exec_process(&object, &wanted)).await?;
        hako_sys::failpoint!("container.exec.prepared");
        let session = match spec.tty {
            true => exec_terminal(container, &live.shim, process, &spec).await?,
            false => exec_pipes(container, &live.shim, process, &spec).await?,
        };
        hako_sys::failpoint!("container.exec.started");
        self.container_event(container, Action::ExecStart { exec: session.id.clone() });
        Ok(session)
    }

    fn exec_process(&self, container: &ContainerObject, spec: &ExecSpec) -> Result<Process> {
        let base = self.process(container)?;
        let given = &container.record.resolved.env;
        if spec.user.is_empty() {
            return Ok(oci::exec_process(&base, given, spec, None)?);
        }
        let mounts = self.config.images.snapshots().mounts(&snapshot_key(container.id.as_str()))?;
        let layers = Layers::new(mounts.upper.iter().chain(&mounts.lower).map(std::path::PathBuf::as_path));
        let identity = users::resolve(&layers, &spec.user, &[], &[])?;
        Ok(oci::exec_process(&base, given, spec, Some(&identity))?)
    }
}

async fn exec_terminal(
    container: &Arc<ContainerObject>,
    shim: &Shim,
    process: Process,
    spec: &ExecSpec,
) -> Result<ExecSession> {
    let size = spec.size.unwrap_or(TerminalSize { rows: 24, columns: 80 });
    let started = shim.exec(container.id.as_str(), process, ExecIo::Tty { size: tty_size(size) }).await?;
    let Some(master) = started.tty_master else {
        return Err(Error::new(Kind::Internal, "the shim gave no terminal for an exec with one"));
    };
    let terminal = Terminal::new(master).map_err(io("open the terminal of", container.short()))?;
    let resized = terminal.clone();
    let resize: Resize =
        Box::new(move |size| Ok(resized.resize(size).map_err(io("resize", "a terminal"))?));
    Ok(ExecSession {
        exit: exit(container, &started.exec_id, started.pid),
        id: started.exec_id,
        pid: started.pid,
        stdin: spec.stdin.then(|| Box::new(terminal.clone()) as crate::Input),
        output: chunks(terminal, Stream::Stdout),
        resize: Some(resize),
    })
}

async fn exec_pipes(
    container: &Arc<ContainerObject>,
    shim: &Shim,
    process: Process,
    spec: &ExecSpec,
) -> Result<ExecSession> {
    let (stdin, input) = match spec.stdin {
        true => {
            let (read, write) = new_pipe()?;
            (read, Some(pipe::Sender::from_owned_fd(write).map_err(io("open", "a pipe"))?))
        }
        false => (std::fs::File::open("/dev/null").map_err(io("open", "/dev/null"))?.into(), None),
    };
    let (out_read, out_write) = new_pipe()?;
    let (err_read, err_write) = new_pipe()?;
    let receiver = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd).map_err(io("open", "a pipe"));
    let (out, err) = (receiver(out_read)?, receiver(err_read)?);
    let started =
        shim.exec(container.id.as_str(), process, ExecIo::Fds([stdin, out_write, err_write])).await?;
    Ok(ExecSession {
        exit: exit(container, &started.exec_id, started.pid),
        id: started.exec_id,
        pid: started.pid,
        stdin: input.map(|input| Box::new(input) as crate::Input),
        output: stream::select(chunks(out, Stream::Stdout), chunks(err, Stream::Stderr)).boxed(),
        resize: None,
    })
}

fn new_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let made = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from);
    Ok(made.map_err(io("make", "a pipe"))?)
}

pub(crate) fn tty_size(size: TerminalSize) -> TtySize {
    TtySize { width: size.columns, height: size.rows }
}

fn exit(
    container: &Arc<ContainerObject>,
    id: &str,
    pid: u32,
) -> futures::future::BoxFuture<'static, Result<i32>> {
    let mut code = container.execs.started(id, pid);
    let container = Arc::clone(container);
    async move {
        let known = code.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        known.ok_or_else(|| container.not_running().into())
    }
    .boxed()
}

/// What comes out of `reader`, until it ends. A terminal ends with EIO when its last user closes it.
fn chunks(reader: impl AsyncRead + Send + Unpin + 'static, stream: Stream) -> Output {
    stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match reader.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok((stream, Bytes::from(chunk))), Some(reader))),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => None,
            Err(error) => Some((Err(io("read from", "a process")(error).into()), None)),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exit_that_comes_before_the_answer_is_not_lost() {
        let table = ExecTable::default();
        table.finish("a", 3);
        let mut code = table.started("a", 7);
        assert_eq!(*code.wait_for(Option::is_some).await.unwrap(), Some(3));
        let mut open = table.started("b", 8);
        table.finish_all(137);
        assert_eq!(*open.wait_for(Option::is_some).await.unwrap(), Some(137));
        assert_eq!(
            table.list().iter().map(|exec| (exec.pid, exec.code)).collect::<Vec<_>>(),
            [(7, Some(3)), (8, Some(137))]
        );
    }

    #[test]
    fn finished_execs_are_forgotten_first() {
        let table = ExecTable::default();
        drop(table.started("runs", 1));
        for number in 0..200 {
            table.finish(&number.to_string(), 0);
        }
        assert_eq!(table.list().len(), REMEMBERED);
        assert!(table.list().iter().any(|exec| exec.id == "runs"));
    }
}

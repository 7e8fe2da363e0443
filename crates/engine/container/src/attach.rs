//! A container's own streams. Who attaches before the start is connected between creation in the shim and start.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::{Action, AttachOptions, AttachSession, ContainerState, Stream};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hako_error::Result;
use hako_runtime::{AttachInput, AttachIo, AttachOutput, OutputStream, Shim};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc;

/// Pieces of output on their way to a slow client before the shim is held back.
const BACKLOG: usize = 16;
/// Bytes of input on their way into the container.
const INPUT: usize = 64 << 10;

/// A client that waits for the container to start.
#[derive(Debug)]
pub(crate) struct PendingAttach {
    options: AttachOptions,
    output: mpsc::Sender<Result<(Stream, Bytes)>>,
    input: Option<DuplexStream>,
}

impl Core {
    pub(crate) async fn attach(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        options: AttachOptions,
    ) -> Result<AttachSession> {
        let spec = &container.record.spec;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let (stdin, input) = match options.stdin && spec.stdin {
            true => {
                let (ours, theirs) = tokio::io::duplex(INPUT);
                (Some(Box::new(ours) as crate::Input), Some(theirs))
            }
            false => (None, None),
        };
        let pending = PendingAttach { options, output: sender, input };
        let _op = container.op.lock().await;
        match container.state() {
            ContainerState::Running { .. } => {
                let live = container.sandbox.live().ok_or_else(|| container.not_running())?;
                pending.connect(live.shim.attach(container.id.as_str()).await?);
            }
            ContainerState::Exited(_) if !container.standalone() => {
                return Err(container.not_running().into());
            }
            _ => container.attaching.lock().push(pending),
        }
        self.container_event(container, Action::Attach);
        let output = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Ok(AttachSession { stdin, output: output.boxed(), tty: spec.tty })
    }

    /// Connects everybody who waits; the container is created and does not run yet.
    pub(crate) async fn connect_attaching(&self, container: &ContainerObject, shim: &Shim) -> Result<()> {
        let waiting = std::mem::take(&mut *container.attaching.lock());
        for pending in waiting {
            pending.connect(shim.attach(container.id.as_str()).await?);
        }
        Ok(())
    }
}

impl PendingAttach {
    fn connect(self, io: AttachIo) {
        let AttachIo { output, input, .. } = io;
        let idle = match self.input {
            Some(source) => {
                tokio::spawn(pump_input(source, input));
                None
            }
            None => Some(input),
        };
        tokio::spawn(pump_output(output, self.options, self.output, idle));
    }
}

/// Copies until the container or the client is gone. An unused input stays open as long: closing it would be an end of file.
async fn pump_output(
    mut output: AttachOutput,
    options: AttachOptions,
    sender: mpsc::Sender<Result<(Stream, Bytes)>>,
    idle: Option<AttachInput>,
) {
    loop {
        let next = tokio::select! {
            next = output.next() => next,
            () = sender.closed() => break,
        };
        let piece = match next {
            Ok(Some((OutputStream::Stdout, data))) if options.stdout => {
                Ok((Stream::Stdout, Bytes::from(data)))
            }
            Ok(Some((OutputStream::Stderr, data))) if options.stderr => {
                Ok((Stream::Stderr, Bytes::from(data)))
            }
            Ok(Some(_)) => continue,
            Ok(None) => break,
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if sender.send(piece).await.is_err() || is_last {
            break;
        }
    }
    drop(idle);
}

async fn pump_input(mut source: DuplexStream, mut input: AttachInput) {
    let mut chunk = vec![0; 16 << 10];
    loop {
        match source.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                if let Err(error) = input.write(&chunk[..read]).await {
                    tracing::debug!(error = %error.chain(), "a container's input is closed");
                    return;
                }
            }
        }
    }
    if let Err(error) = input.close().await {
        tracing::debug!(error = %error.chain(), "a container's input was closed before");
    }
}

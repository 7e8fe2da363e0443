//! The streams of remote commands over SPDY, `v4.channel.k8s.io`: each is a stream of its own, told apart by its
//! header `streamtype`: error, stdin, stdout, stderr, resize.

use super::channels;
use super::sessions::{Shown, Streams};
use super::spdy::{Session, Stream};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::OptionFuture;
use hako_container::{Input, Resize, Stream as Which};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long a client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// Bytes of one size of the terminal.
const SIZE_LIMIT: usize = 1024;

/// Which streams a client opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opens {
    pub has_stdin: bool,
    pub shown: Shown,
    pub is_tty: bool,
}

impl Opens {
    /// How many they are: that of the end is always among them.
    fn count(self) -> usize {
        let others = [self.has_stdin, self.shown.has_stdout, self.shown.has_stderr, self.is_tty];
        1 + others.into_iter().filter(|is_wanted| *is_wanted).count()
    }
}

/// Joins a process to the streams of a client, until it has ended or the client is gone.
pub(super) async fn join(mut session: Session, opens: Opens, streams: Streams) {
    let Streams { stdin, output, resize, exit, shown } = streams;
    let Ok(mut opened) = tokio::time::timeout(OPENING, accept(&mut session, opens.count())).await else {
        return tracing::debug!("client did not open all streams of its command");
    };
    let mut take = |kind: &str| opened.remove(kind);
    let Some(error) = take("error") else { return };
    let input = take("stdin").zip(stdin).map(|(stream, stdin)| to_process(stream, stdin));
    let sizes = take("resize").zip(resize).map(|(stream, resize)| to_terminal(stream, resize));
    let outputs = Outputs { stdout: take("stdout"), stderr: take("stderr") };
    let running = async {
        outputs.copy(output, shown).await;
        exit.await
    };
    // Neither the end of the input nor more streams than there should be mean anything; the client's end does.
    let listening = async {
        let gone = async { while session.accept().await.is_some() {} };
        tokio::join!(OptionFuture::from(input), OptionFuture::from(sizes), gone);
    };
    let code = tokio::select! {
        code = running => code,
        () = listening => return,
    };
    let status = channels::status(code).to_string();
    // A client that is gone needs no status.
    let _ = error.output.send(Bytes::from(status)).await;
}

async fn accept(session: &mut Session, count: usize) -> HashMap<String, Stream> {
    let mut opened = HashMap::new();
    while opened.len() < count {
        let Some(stream) = session.accept().await else { break };
        opened.insert(stream.headers.get("streamtype").to_owned(), stream);
    }
    opened
}

struct Outputs {
    stdout: Option<Stream>,
    stderr: Option<Stream>,
}

impl Outputs {
    /// Copies until the output ends; the streams end with it.
    async fn copy(self, mut output: hako_container::Output, shown: Shown) {
        while let Some(piece) = output.next().await {
            let (which, bytes) = match piece {
                Ok(piece) => piece,
                Err(error) => return tracing::debug!(error = %error.chain(), "output broke off"),
            };
            let (stream, is_wanted) = match which {
                Which::Stdout => (&self.stdout, shown.has_stdout),
                Which::Stderr => (&self.stderr, shown.has_stderr),
            };
            let Some(stream) = stream.as_ref().filter(|_| is_wanted) else { continue };
            if stream.output.send(bytes).await.is_err() {
                return;
            }
        }
    }
}

/// The stream stays open as long as the program reads: its end tells the client that nobody does.
async fn to_process(mut stream: Stream, mut stdin: Input) {
    while let Some(bytes) = stream.input.recv().await {
        let written = async {
            stdin.write_all(&bytes).await?;
            stdin.flush().await
        };
        // A program that closed its input goes on without it.
        if written.await.is_err() {
            return;
        }
    }
}

/// Sizes come as JSON objects, one after the other, however they are cut.
async fn to_terminal(mut stream: Stream, resize: Resize) {
    let mut text = Vec::new();
    while let Some(bytes) = stream.input.recv().await {
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|byte| *byte == b'}') {
            let one: Vec<u8> = text.drain(..=end).collect();
            if let Some(size) = channels::size(&one)
                && let Err(error) = resize(size)
            {
                tracing::debug!(error = %error.chain(), "terminal not resized");
            }
        }
        if text.len() > SIZE_LIMIT {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spdy::client::Client;
    use super::*;
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test]
    async fn input_output_sizes_and_exit_code_travel_on_their_streams() {
        let (near, far) = duplex(1024);
        let mut client = Client::new(near);
        let (stdin, mut program) = duplex(64);
        let (mut output, pieces) = futures::channel::mpsc::channel(0);
        let (exit, exited) = oneshot::channel();
        let (sized, mut sizes) = mpsc::unbounded_channel();
        let streams = Streams {
            stdin: Some(Box::new(stdin)),
            output: pieces.boxed(),
            resize: Some(Box::new(move |size| {
                sized.send((size.columns, size.rows)).unwrap();
                Ok(())
            })),
            exit: async move { Ok(exited.await.unwrap_or(-1)) }.boxed(),
            shown: Shown { has_stdout: true, has_stderr: false },
        };
        let opens = Opens { has_stdin: true, shown: streams.shown, is_tty: true };
        let joined = tokio::spawn(join(Session::start(far), opens, streams));
        for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")] {
            client.open(stream, &[("streamtype", kind)]).await;
            assert_eq!(client.next().await.unwrap(), format!("reply {stream}"));
        }
        client.send(7, "{\"Width\":80,", false).await;
        client.send(7, "\"Height\":24}\n{\"Width\":1,\"Height\":2}", false).await;
        assert_eq!(sizes.recv().await, Some((80, 24)));
        assert_eq!(sizes.recv().await, Some((1, 2)));
        client.send(3, "in", true).await;
        let mut got = String::new();
        program.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "in");
        assert_eq!(client.next().await.unwrap(), "3:  end", "nobody reads any more");
        futures::SinkExt::send(&mut output, Ok((Which::Stdout, Bytes::from_static(b"out")))).await.unwrap();
        assert_eq!(client.next().await.unwrap(), "5: out");
        exit.send(3).unwrap();
        drop(output);
        assert_eq!(client.next().await.unwrap(), "5:  end");
        assert_eq!(client.next().await.unwrap(), "7:  end");
        let status = client.next().await.unwrap();
        assert!(status.starts_with("1: ") && status.contains("\"NonZeroExitCode\""), "{status}");
        joined.await.unwrap();
    }
}

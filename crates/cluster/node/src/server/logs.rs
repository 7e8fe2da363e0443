//! A container's log as plain text.

use super::query::{LogQuery, Query};
use super::{Body, text};
use crate::context::Context;
use crate::node::Pods;
use crate::pod::Shared;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use hako_container::LogLine;
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

/// Lines on their way to the client at a time.
const CHUNK_LINES: usize = 64;

/// Answers `/containerLogs/{namespace}/{pod}/{container}`.
pub(super) async fn serve(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    query: &Query,
) -> Result<Response<Body>> {
    let wanted = LogQuery::new(query, context.clock.now())?;
    let id = container(context, pods, path, wanted.is_previous).await?;
    let lines = context.config.engine.logs(&id, wanted.options()).await?;
    let mut writer = Writer::new(&wanted);
    // What is there already goes out in large pieces; a line that comes alone goes out alone.
    let chunks = lines.ready_chunks(CHUNK_LINES).map(move |lines| writer.write(lines));
    let frames = chunks.flat_map(|(bytes, is_over)| {
        let frame = bytes.map(|bytes| Ok(Frame::data(bytes)));
        let end = is_over.map(|error| match error {
            Some(error) => Err(error),
            None => Err(Error::new(Kind::Cancelled, "limit reached")),
        });
        stream::iter(frame.into_iter().chain(end))
    });
    // The limit's end is no error: the stream just ends there.
    let frames = frames.take_while(|frame| {
        let goes_on = !matches!(frame, Err(error) if error.kind() == Kind::Cancelled);
        futures::future::ready(goes_on)
    });
    let mut response = text(StatusCode::OK, "");
    *response.body_mut() = StreamBody::new(frames).boxed_unsync();
    Ok(response)
}

/// The engine's container that is meant.
pub(super) async fn container(
    context: &Context,
    pods: &Pods,
    [namespace, pod, name]: [&str; 3],
    is_previous: bool,
) -> Result<ContainerId> {
    let found = pods.find(namespace, pod);
    let Some(found) = found else {
        // A pod that was over when the node started has no worker, and its containers are still there.
        return finished(context, namespace, pod, name).await;
    };
    if !found.container_names().iter().any(|known| known == name) {
        return Err(unknown_container(&found, pod, name));
    }
    found.container_id(name, is_previous).ok_or_else(|| {
        let text = match is_previous {
            true => format!("previous terminated container \"{name}\" in pod \"{pod}\" not found"),
            false => format!("container \"{name}\" in pod \"{pod}\" is waiting to start"),
        };
        Error::new(Kind::Invalid, text)
    })
}

fn unknown_container(pod: &Shared, pod_name: &str, name: &str) -> Error {
    let names = pod.container_names().join(" ");
    Error::new(
        Kind::Invalid,
        format!("container {name} is not valid for pod {pod_name}, choose one of: [{names}]"),
    )
}

async fn finished(context: &Context, namespace: &str, pod: &str, name: &str) -> Result<ContainerId> {
    use crate::pod::labels;
    let mut filter = labels::filter(None);
    filter.labels.insert(labels::POD_NAMESPACE.to_owned(), namespace.to_owned());
    filter.labels.insert(labels::POD_NAME.to_owned(), pod.to_owned());
    filter.labels.insert(labels::CONTAINER_NAME.to_owned(), name.to_owned());
    let containers = context.config.engine.containers(&filter).await?;
    let newest = containers.last().map(|container| container.id.clone());
    newest.ok_or_else(|| Error::new(Kind::NotFound, format!("pod \"{namespace}/{pod}\" is not on this node")))
}

/// Turns lines into text, up to the limit.
struct Writer {
    has_timestamps: bool,
    left: Option<u64>,
    is_inside_line: bool,
}

impl Writer {
    fn new(query: &LogQuery) -> Self {
        Self { has_timestamps: query.has_timestamps, left: query.limit_bytes, is_inside_line: false }
    }

    /// The text, and whether it ends there: because of an error or of the limit.
    fn write(&mut self, lines: Vec<Result<LogLine>>) -> (Option<Bytes>, Option<Option<Error>>) {
        let mut out = BytesMut::new();
        let mut end = None;
        for line in lines {
            match line {
                Ok(line) => self.line(&mut out, &line),
                Err(error) => {
                    end = Some(Some(error));
                    break;
                }
            }
            if let Some(left) = self.left
                && out.len() as u64 >= left
            {
                out.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                end = Some(None);
                break;
            }
        }
        self.left = self.left.map(|left| left.saturating_sub(out.len() as u64));
        ((!out.is_empty()).then(|| out.freeze()), end)
    }

    fn line(&mut self, out: &mut BytesMut, line: &LogLine) {
        if self.has_timestamps && !self.is_inside_line {
            out.extend_from_slice(line.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
        }
        out.extend_from_slice(&line.bytes);
        self.is_inside_line = line.partial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_container::Stream;

    fn line(text: &'static str, partial: bool) -> Result<LogLine> {
        Ok(LogLine {
            time: "2026-11-20T20:00:00.5Z".parse().unwrap(),
            stream: Stream::Stdout,
            partial,
            bytes: Bytes::from_static(text.as_bytes()),
        })
    }

    #[test]
    fn timestamps_stand_before_whole_lines_only() {
        let mut writer = Writer::new(&LogQuery { has_timestamps: true, ..LogQuery::default() });
        let (text, end) = writer.write(vec![line("a", true), line("b\n", false), line("c\n", false)]);
        let stamp = "2026-11-20T20:00:00.500000000Z";
        assert_eq!(text.unwrap(), format!("{stamp} ab\n{stamp} c\n"));
        assert!(end.is_none());
    }

    #[test]
    fn the_limit_cuts_inside_a_line() {
        let mut writer = Writer::new(&LogQuery { limit_bytes: Some(5), ..LogQuery::default() });
        assert_eq!(writer.write(vec![line("abc\n", false)]).0.unwrap(), "abc\n");
        let (text, end) = writer.write(vec![line("def\n", false)]);
        assert_eq!(text.unwrap(), "d");
        assert!(matches!(end, Some(None)));
    }
}

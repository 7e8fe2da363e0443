//! News on their way to a client: those who tell never wait, so what waits for a slow reader is bounded.

use super::wire::News;
use crate::relay::{CLIPPED, MOST_WAITING};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The end of those who tell. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    out: UnboundedSender<(News, usize)>,
    waiting: Arc<AtomicUsize>,
    is_clipped: Arc<AtomicBool>,
}

/// The end of the reader.
#[derive(Debug)]
pub(crate) struct Heard {
    news: UnboundedReceiver<(News, usize)>,
    waiting: Arc<AtomicUsize>,
}

pub(crate) fn channel() -> (Teller, Heard) {
    let (out, news) = unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let heard = Heard { news, waiting: Arc::clone(&waiting) };
    (Teller { out, waiting, is_clipped: Arc::default() }, heard)
}

impl Teller {
    /// Whoever listened may be gone. That a step begins or ends is always told; output and numbers are left out while
    /// too much waits.
    pub(crate) fn tell(&self, mut news: News) {
        let bytes = news.encoded_len();
        let is_needed = !news.vertexes.is_empty();
        if !is_needed && self.waiting.load(Ordering::Relaxed) + bytes > MOST_WAITING {
            if news.logs.is_empty() || self.is_clipped.swap(true, Ordering::Relaxed) {
                return;
            }
            for log in &mut news.logs {
                log.message = CLIPPED.into();
            }
        } else if !news.logs.is_empty() {
            self.is_clipped.store(false, Ordering::Relaxed);
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let _ = self.out.send((news, bytes));
    }
}

impl futures::Stream for Heard {
    type Item = News;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<News>> {
        let next = self.news.poll_recv(context);
        next.map(|next| {
            let (news, bytes) = next?;
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            Some(news)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Vertex, VertexLog};
    use super::*;
    use futures::StreamExt;

    #[tokio::test]
    async fn a_reader_that_is_slow_misses_output_and_no_step() {
        let (teller, heard) = channel();
        let count = 3 * MOST_WAITING / 1024;
        for _ in 0..count {
            let log = VertexLog { message: vec![b'x'; 1024], ..VertexLog::default() };
            teller.tell(News { logs: vec![log], ..News::default() });
        }
        teller.tell(News { vertexes: vec![Vertex::default()], ..News::default() });
        assert!(teller.waiting.load(Ordering::Relaxed) < MOST_WAITING + 4096);
        drop(teller);
        let all: Vec<News> = heard.collect().await;
        assert!(all.len() < count / 2);
        let last = &all[all.len() - 2].logs[0].message;
        assert_eq!(last.as_slice(), CLIPPED.as_bytes());
        assert_eq!(all.last().unwrap().vertexes.len(), 1);
    }
}

//! The pieces of a transfer, as many at a time as there are places.

use super::pipe::gone;
use hako_error::Result;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Pieces on their way. Those that are left end with this.
pub(super) struct Places<T> {
    free: Arc<Semaphore>,
    running: JoinSet<T>,
}

impl<T: Send + 'static> Places<T> {
    /// With so many places, at least one.
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count.max(1))), running: JoinSet::new() }
    }

    /// Begins a piece as soon as it has a place.
    pub(super) fn begin(&mut self, piece: impl Future<Output = T> + Send + 'static) {
        let free = Arc::clone(&self.free);
        self.running.spawn(async move {
            let _place = free.acquire_owned().await;
            piece.await
        });
    }

    /// What the next piece to end came to; `None` when all have.
    pub(super) async fn next(&mut self) -> Option<Result<T>> {
        Some(self.running.join_next().await?.map_err(|_| gone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_pieces_are_on_their_way_than_there_are_places() {
        for (count, expected) in [(0, 1), (1, 1), (3, 3)] {
            let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let mut places = Places::new(count);
            for piece in 0..12 {
                let (running, most) = (running.clone(), most.clone());
                places.begin(async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    piece
                });
            }
            let mut ended = Vec::new();
            while let Some(piece) = places.next().await {
                ended.push(piece.unwrap());
            }
            ended.sort_unstable();
            assert_eq!(ended, (0..12).collect::<Vec<_>>());
            assert_eq!(most.load(Ordering::SeqCst), expected, "{count} places");
        }
    }

    #[tokio::test]
    async fn a_piece_that_ends_by_itself_is_told_and_gives_its_place_back() {
        let mut places = Places::new(1);
        places.begin(async { panic!("a piece that breaks") });
        assert!(places.next().await.unwrap().is_err());
        places.begin(async { 1 });
        assert_eq!(places.next().await.unwrap().unwrap(), 1);
        assert!(places.next().await.is_none());
    }
}

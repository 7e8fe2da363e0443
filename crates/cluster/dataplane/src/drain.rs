//! Waiting until connections to a withdrawn address have ended.

use crate::programme::TCP;
use hako_error::{Error, Kind, Result};
use hako_netlink::{Conntrack, Filter, NetlinkError, TcpState};
use rustix::thread::{MembarrierCommand, membarrier};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LAST: Duration = Duration::from_millis(250);

/// Lets one wait at a time read the kernel's table of connections; many pods leave at once in a roll-out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Arc<Mutex<()>>);

impl Drain {
    /// Waits until no connection that was translated to `ip` is open, or `deadline`; returns how many are.
    ///
    /// The transaction that withdrew the address is committed. A packet that was on its way through the rules at that
    /// moment may still open a connection that the table does not show yet; the barrier returns when each processor
    /// has left the code it was in, thus after every such packet.
    pub(crate) async fn wait(&self, ip: Ipv4Addr, deadline: Instant) -> Result<usize> {
        blocking(move || {
            membarrier(MembarrierCommand::Global)
                .map_err(|errno| Error::new(Kind::Unimplemented, format!("membarrier: {errno}")))
        })
        .await?;
        loop {
            let started = Instant::now();
            let open = {
                let _turn = self.0.lock().await;
                blocking(move || Ok(open_connections(ip)?)).await?
            };
            let now = Instant::now();
            if open == 0 || now >= deadline {
                return Ok(open);
            }
            // Four fifths of the time are left to others, however long a look takes and however many wait.
            let pause = (now - started).saturating_mul(4).clamp(PAUSE_FIRST, PAUSE_LAST);
            tokio::time::sleep(pause.min(deadline - now)).await;
        }
    }
}

/// Counts what is open, and forgets what was reset: the client may use the same port again at once, and would be sent
/// here again.
fn open_connections(ip: Ipv4Addr) -> Result<usize, NetlinkError> {
    let mut conntrack = Conntrack::open()?;
    let connections = conntrack.translated_to(Filter { answers_from: ip, protocol: TCP })?;
    for connection in connections.iter().filter(|connection| connection.state == TcpState::Close) {
        conntrack.delete(connection)?;
    }
    Ok(connections.iter().filter(|connection| connection.is_open()).count())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(Kind::Cancelled, "the wait was cut short").with_source(error)),
    }
}

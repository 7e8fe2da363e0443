//! Waiting for a server ends with the build: a link of ureq's chain of connectors.

use hako_image::transfer::Stop;
use std::io;
use std::time::{Duration, Instant};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How long a build that is over may still wait.
const LOOK: Duration = Duration::from_millis(100);

/// Ends what waits for bytes when it is wished.
#[derive(Debug)]
pub(crate) struct Until(pub Stop);

/// A connection that somebody may end.
#[derive(Debug)]
pub(crate) struct Interruptible<Below> {
    below: Below,
    stop: Stop,
}

impl<Below: Transport> Connector<Below> for Until {
    type Out = Interruptible<Below>;

    fn connect(&self, _: &ConnectionDetails<'_>, below: Option<Below>) -> Result<Option<Self::Out>, Error> {
        Ok(below.map(|below| Interruptible { below, stop: self.0.clone() }))
    }
}

impl<Below: Transport> Transport for Interruptible<Below> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.below.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let began = Instant::now();
        loop {
            if self.stop.is_wanted() {
                return Err(
                    io::Error::new(io::ErrorKind::ConnectionAborted, "the build was cancelled").into()
                );
            }
            let left = timeout.after.saturating_sub(began.elapsed());
            let after = left.min(LOOK).into();
            match self.below.await_input(NextTimeout { after, ..timeout }) {
                // Nothing came, and nothing is lost.
                Err(Error::Timeout(_)) if left > LOOK => {}
                done => return done,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}

//! TLS for what a build fetches: a link of ureq's chain of connectors.
//!
//! Owns: the handshake, and bytes through it. Does not own: sockets and proxies, which are ureq's, and which servers are
//! believed ([`hako_trust`]).

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Encrypts the connections to addresses of https.
#[derive(Debug)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Believes whom the machine believes.
    pub(crate) fn of_the_machine() -> Self {
        let verifier = hako_trust::machine_and(&[]);
        Self(Arc::new(hako_trust::client(verifier).with_no_client_auth()))
    }

    fn encrypt(&self, details: &ConnectionDetails<'_>, below: impl Transport) -> Result<Encrypted, Error> {
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| Error::Other(error.into()))?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| Error::Other(error.into()))?;
        let mut below = TransportAdapter::new(below.boxed(), details.current_time.clone());
        below.set_timeout(details.timeout);
        connection.complete_io(&mut below)?;
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Encrypted {
            buffers: LazyBuffers::new(input, output),
            stream: StreamOwned::new(connection, below),
        })
    }
}

impl<Below: Transport> Connector<Below> for Tls {
    type Out = Either<Below, Encrypted>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        below: Option<Below>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(below) = below else { return Ok(None) };
        if !details.needs_tls() || below.is_tls() {
            return Ok(Some(Either::A(below)));
        }
        self.encrypt(details, below).map(|encrypted| Some(Either::B(encrypted)))
    }
}

/// Whether a connection failed because the server showed a certificate that nobody vouches for.
pub(crate) fn is_distrust(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// A connection that is encrypted.
pub(crate) struct Encrypted {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encrypted").finish_non_exhaustive()
    }
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

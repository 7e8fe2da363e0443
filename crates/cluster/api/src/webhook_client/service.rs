//! Connections to services of this cluster: to a ready endpoint, without going through the dataplane.

use std::io;
use std::sync::Weak;

use futures::FutureExt as _;
use hako_client::Dial;
use tokio::net::TcpStream;

use crate::proxy;
use crate::server::Inner;

/// Opens connections to a port of a service, each to the next of its ready endpoints.
pub(crate) fn dial(server: Weak<Inner>, namespace: String, name: String, port: u16) -> Dial {
    std::sync::Arc::new(move || {
        let (server, namespace, name) = (server.clone(), namespace.clone(), name.clone());
        async move {
            let server = server.upgrade().ok_or_else(|| io::Error::other("the server is stopping"))?;
            let address = proxy::endpoint(&server, &namespace, &name, port).await;
            let address = address.map_err(|failure| io::Error::other(failure.status().message.clone()))?;
            drop(server);
            match address {
                proxy::Endpoint::Address(address) => TcpStream::connect(address).await,
                proxy::Endpoint::Host(host) => TcpStream::connect((host.as_str(), port)).await,
            }
        }
        .boxed()
    })
}

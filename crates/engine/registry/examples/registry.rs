//! The smallest program with a registry in it: `registry DIR [CONFIG-TEXT]`. Prints where it listens.

use hako_registry::{Config, Service};
use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: registry DIR [CONFIG-TEXT]")?;
    let config = Config::parse(&arguments.next().unwrap_or_else(|| "listen: 127.0.0.1:0".into()))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let service = Service::start(config, dir.into()).await?;
        writeln!(std::io::stdout(), "{}", service.address())?;
        std::future::pending().await
    })
}

//! `run --rm IMAGE true` on the default network, beside docker's.

use crate::docker::Docker;
use crate::process::Platform;
use hako_benches::{Row, Target, median, time};
use std::path::Path;

pub fn run(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let platform = Platform::start(hako)?;
    platform.import_busybox()?;
    let docker = Docker::start();
    if let Some(docker) = &docker {
        docker.import_busybox()?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..25 {
        ours.push(time(platform.command().args(["run", "--rm", "busybox", "true"]))?);
        if let Some(docker) = &docker {
            theirs.push(time(docker.command().args(["run", "--rm", "busybox", "true"]))?);
        }
    }
    let peer = (!theirs.is_empty()).then(|| ("docker".to_owned(), median(theirs)));
    let target = if peer.is_some() { Target::RatioAtMost(0.1) } else { Target::AtMost(25.5) };
    Ok(vec![Row {
        what: "hako run --rm busybox true, network of its own".into(),
        ours: median(ours),
        peer,
        unit: "ms",
        target,
        why: String::new(),
    }])
}
